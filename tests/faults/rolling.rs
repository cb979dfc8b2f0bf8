//! Scenario: three workers are restarted one after the other, as for a new version, while events come in.
//! Guarantees: each ends well within its time; nothing lost, nothing twice, state as if nothing had happened.

use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause};
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::size;

#[test]
fn three_workers_are_restarted_in_turn() {
    let test = "rolling";
    let (events, per_second, rounds) = size((60_000, 2_000, 2), (1_200_000, 5_000, 16));
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 6, events, ..Plan::default() }) else { return };
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b", "c"]);
    let feed = deployment.feed(per_second);
    Recoveries::default().measure(&mut fleet, &follower, now());
    let mut recoveries = Recoveries::default();
    for _ in 0..rounds {
        for number in 0..3 {
            let begun = now();
            fleet.workers[number].end();
            fleet.restart(number);
            recoveries.measure(&mut fleet, &follower, begun);
            pause(Duration::from_millis(300));
        }
    }
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {} restarts, {recoveries}", recoveries.count());
    judge(&deployment, follower).check(test);
}
