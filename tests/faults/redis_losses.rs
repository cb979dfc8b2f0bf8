//! Scenario: Redis loses what it had acknowledged: killed with its append-only file cut at a random byte, or emptied under the
//! workers, while events come in.
//! Guarantees: the loss is noticed at the next write; the state is built anew by replay of the log, or the workers stop and name the
//! command that mends it. Never does a known entity silently look new.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause};
use crate::dice::Dice;
use crate::fleet::{Fleet, Recoveries, last, now};
use crate::judge::judge;
use crate::length::size;
use crate::redis_state::connect;

const AOF: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
/// What a stop has to name: a verb that mends.
const RECOVERY: [&str; 2] = ["threatguard state", "--from"];

/// The file that grows.
fn append_only_file(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder.join("appendonlydir")).unwrap();
    entries.map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().ends_with(".incr.aof")).unwrap()
}

/// Cuts off up to `most` bytes of its end.
fn cut(file: &Path, most: u64, dice: &mut Dice) -> (u64, u64) {
    let length = std::fs::metadata(file).unwrap().len();
    let left = length - dice.below(length.min(most) + 1);
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(left).unwrap();
    (length, left)
}

#[test]
fn redis_is_killed_and_its_append_only_file_is_cut() {
    let test = "redis-cut";
    let rounds = size(4, 40);
    let plan = Plan { partitions: 4, events: size(60_000, 2_400_000), redis: &AOF, ..Plan::default() };
    let Some(mut deployment) = Deployment::new(test, &plan) else { return };
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let feed = deployment.feed(1_500);
    let mut recoveries = Recoveries::default();
    for round in 0..rounds {
        let mut fleet = Fleet::start(&deployment, &["a", "b"]);
        recoveries.measure(&mut fleet, &follower, now());
        pause(dice.pause(500..2_000));
        // Every other time nobody is left who remembers what was stored.
        let survives = round % 2 == 0;
        let mut workers = std::mem::take(&mut fleet.workers);
        drop(fleet);
        if !survives {
            workers.clear();
        }
        deployment.redis.kill();
        // All of it, or about what a second's fsync loses.
        let most = if dice.below(2) == 0 { u64::MAX } else { 500_000 };
        let (length, left) = cut(&append_only_file(deployment.redis.folder()), most, &mut dice);
        println!("{test}: cut at {left} of {length}, workers {}", if survives { "go on" } else { "start anew" });
        deployment.redis.start_again();
        let mut fleet = Fleet::start(&deployment, &[]);
        fleet.workers = workers;
        if fleet.workers.is_empty() {
            fleet.add("a", &[]);
            fleet.add("b", &[]);
        }
        recoveries.measure(&mut fleet, &follower, now());
        fleet.stop();
    }
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    feed.finish(Duration::from_secs(size(180, 1_800)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {rounds} losses, {recoveries}");
    judge(&deployment, follower).forgive_uncounted(test).check(test);
}

#[test]
fn redis_is_emptied_while_workers_run() {
    let test = "redis-flushed";
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 4, events: 30_000, ..Plan::default() }) else { return };
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(1_500);
    Recoveries::default().measure(&mut fleet, &follower, now());
    pause(Duration::from_secs(3));
    redis::cmd("FLUSHALL").exec(&mut connect(&deployment.redis)).unwrap();
    pause(Duration::from_secs(3));
    feed.finish(Duration::from_secs(120));
    let stopped = fleet.workers.iter_mut().any(|worker| worker.running.child.try_wait().unwrap().is_some());
    if !stopped {
        fleet.consume_all();
        fleet.stop();
        println!("{test}: built anew by replay");
        return judge(&deployment, follower).check(test);
    }
    for worker in &mut fleet.workers {
        let status = crate::process::wait(&mut worker.running.child, Duration::from_secs(60));
        let said = last(worker.running.heard()).join("\n");
        assert!(status.is_some_and(|status| status.code().is_some_and(|code| code > 0)), "{status:?}: {said}");
        assert!(RECOVERY.iter().any(|verb| said.contains(verb)), "a stop that does not say how to go on: {said}");
    }
    println!("{test}: stopped and said how to go on");
}
