//! Scenario: every few seconds a worker joins or leaves, so that partitions move all the time.
//! Guarantees: each event is settled by one owner; nothing lost, nothing twice, states move with their partitions.

use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause};
use crate::dice::Dice;
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::size;

#[test]
fn workers_join_and_leave_all_the_time() {
    let test = "rebalances";
    let (events, per_second, rounds) = size((60_000, 1_500, 10), (1_600_000, 5_000, 60));
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 12, events, ..Plan::default() }) else { return };
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(per_second);
    Recoveries::default().measure(&mut fleet, &follower, now());
    for round in 0..rounds {
        // Sometimes before the group has come to rest.
        pause(dice.pause(size(500..2_500, 3_000..6_000)));
        let count = fleet.workers.len() as u64;
        if count >= 4 || (count > 1 && dice.below(2) == 0) {
            fleet.retire(dice.below(count) as usize);
        } else {
            fleet.add(&format!("joined-{round}"), &[]);
        }
    }
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {rounds} workers joined or left");
    judge(&deployment, follower).check(test);
}
