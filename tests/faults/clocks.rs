//! Scenario: two workers whose clocks are an hour before and behind, and jump to the other side on the way.
//! Guarantees: what is published and stored does not depend on the host's clock.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause};
use crate::fleet::{Fleet, Recoveries, Worker, now};
use crate::judge::judge;
use crate::process::Running;

/// Debian's package `faketime` puts it there.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    folders.filter_map(Result::ok).map(|entry| entry.path().join("faketime/libfaketime.so.1")).find(|path| path.is_file())
}

/// Its clock is off by what the file says; durations are not.
fn skewed<'c>(command: &'c mut Command, library: &Path, file: &Path) -> &'c mut Command {
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1")
}

#[test]
fn skewed_and_jumping_clocks_change_nothing() {
    let test = "clocks";
    let Some(library) = library() else {
        println!("{test}: skipped, faketime is not installed; tests/run installs it where it can");
        return;
    };
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 4, events: 30_000, ..Plan::default() }) else { return };
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &[]);
    let files = [("a", "+3600\n"), ("b", "-3600\n")].map(|(name, skew)| {
        let file = deployment.bench.path(&format!("clock-{name}"));
        std::fs::write(&file, skew).unwrap();
        let mut command = deployment.command(name, &[]);
        let running = Running::start(skewed(&mut command, &library, &file));
        fleet.workers.push(Worker::named(name, running));
        file
    });
    let feed = deployment.feed(1_500);
    let mut recoveries = Recoveries::default();
    recoveries.measure(&mut fleet, &follower, now());
    for skew in ["-3600\n", "+86400\n", "+0\n"] {
        pause(Duration::from_secs(1));
        files.iter().for_each(|file| std::fs::write(file, skew).unwrap());
        recoveries.measure(&mut fleet, &follower, now());
    }
    feed.finish(Duration::from_secs(120));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {recoveries}");
    judge(&deployment, follower).check(test);
}
