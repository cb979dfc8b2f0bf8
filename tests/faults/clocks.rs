//! Scenario: two workers whose clocks are almost an hour before and behind, change places on the way, and are then a day ahead, which
//! no broker takes records from.
//! Guarantees: what is published and stored does not depend on the host's clock; a clock that the brokers refuse is named.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause};
use crate::fleet::{Fleet, Recoveries, Worker, last, now};
use crate::judge::judge;
use crate::length::size;
use crate::process::Running;
use crate::workbench::PACKAGE;

/// Brokers take records from up to an hour ahead.
const SKEW: i64 = 3_300;
const DAY: i64 = 86_400;

/// Builds what is preloaded; none, said plainly, without a C compiler.
fn library(test: &str, deployment: &Deployment) -> Option<PathBuf> {
    let file = deployment.bench.path("clock_skew.so");
    let source = Path::new(PACKAGE).join("tests/faults/clock_skew.c");
    match Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&file).arg(source).output() {
        Ok(done) if done.status.success() => Some(file),
        Ok(done) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
        Err(_) => {
            println!("{test}: skipped, there is no C compiler");
            None
        }
    }
}

/// In place: who has it mapped must never find it shorter.
fn set(file: &Path, seconds: i64) {
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(file).unwrap();
    open.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
}

#[test]
fn skewed_and_jumping_clocks_change_nothing() {
    let test = "clocks";
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 4, events: size(30_000, 200_000), ..Plan::default() }) else { return };
    let Some(library) = library(test, &deployment) else { return };
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &[]);
    let start = |name: &str, file: &Path| Running::start(deployment.command(name, &[]).env("LD_PRELOAD", &library).env("CLOCK_SKEW", file));
    let clocks = [("a", SKEW), ("b", -SKEW)].map(|(name, skew)| {
        let file = deployment.bench.path(&format!("clock-{name}"));
        set(&file, skew);
        fleet.workers.push(Worker::named(name, start(name, &file)));
        (name, file)
    });
    let feed = deployment.feed(1_500);
    let mut recoveries = Recoveries::default();
    recoveries.measure(&mut fleet, &follower, now());
    for skew in [-SKEW, SKEW] {
        pause(Duration::from_secs(1));
        clocks.iter().for_each(|(_, file)| set(file, skew));
        recoveries.measure(&mut fleet, &follower, now());
    }
    for (number, (name, file)) in clocks.iter().enumerate() {
        set(file, DAY);
        let ended = crate::process::wait(&mut fleet.workers[number].running.child, Duration::from_secs(60));
        let said = last(fleet.workers[number].running.heard()).join("\n");
        assert!(ended.is_some_and(|status| status.code() == Some(2)) && said.contains("set this host's clock"), "{ended:?}: {said}");
        set(file, 0);
        fleet.workers[number] = Worker::named(name, start(name, file));
    }
    recoveries.measure(&mut fleet, &follower, now());
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {recoveries}");
    judge(&deployment, follower).check(test);
}
