//! Scenario: a worker ends at each step of its commit sequence, as by a power cut, and is started again.
//! Guarantees: whatever was committed when it ended is there once, whatever was not is done again.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use threatguard::edge::clock::Deadline;

use crate::deployment::{Deployment, Plan};
use crate::dice::Dice;
use crate::fleet::{Fleet, last};
use crate::judge::judge;
use crate::length::size;
use crate::process::Running;

/// Steps by their names in `run/stream`, and how often each may have been passed before.
const POINTS: [(&str, u64); 6] =
    [("after_claim", 2), ("after_publish", 8), ("before_commit", 8), ("after_commit", 8), ("before_store", 8), ("after_store", 8)];

#[test]
fn a_worker_crashes_at_each_step() {
    let test = "crash-points";
    let rounds = size(1, 10);
    let plan = Plan { partitions: 4, events: size(60_000, 2_000_000), ..Plan::default() };
    let Some(deployment) = Deployment::new(test, &plan) else { return };
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let feed = deployment.feed(size(1_000, 1_500));
    for round in 0..rounds {
        for (point, times) in POINTS {
            let nth = dice.within(1..times + 1);
            let mut command = deployment.command("a", &[]);
            let mut running = Running::start(command.env("THREATGUARD_CRASH_AT", format!("{point}:{nth}")));
            let deadline = Deadline::after(Duration::from_secs(60));
            let status = loop {
                if let Some(status) = running.child.try_wait().unwrap() {
                    break status;
                }
                assert!(!deadline.passed(), "{point}:{nth} was never reached: {:#?}", last(running.heard()));
                std::thread::sleep(Duration::from_millis(10));
            };
            const ABORTED: i32 = 6;
            assert_eq!(status.signal(), Some(ABORTED), "{point}:{nth} in round {round}: {:#?}", last(running.heard()));
        }
    }
    let mut fleet = Fleet::start(&deployment, &["a"]);
    feed.finish(Duration::from_secs(size(120, 1_800)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {} crashes at {} steps", rounds * POINTS.len(), POINTS.len());
    judge(&deployment, follower).check(test);
}
