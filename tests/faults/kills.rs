//! Scenario: three workers, one after the other killed without a goodbye and started again, while events come in.
//! Guarantees: nothing lost, nothing twice, order per entity kept, state as if nothing had happened; everything goes on within 15 s.
//! At least once, the same kills repeat outputs, and the oracle sees it.

use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause};
use crate::dice::Dice;
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::{is_long, kills as kills_of, size};

/// From a kill to the verdict of an event that came in after it, on every partition, the session's end included.
const RECOVERY_GOAL: Duration = Duration::from_secs(15);

#[test]
fn three_workers_are_killed_again_and_again() {
    let test = "kill-9";
    let (events, per_second, whole) = size((100_000, 2_500, 6), (5_600_000, 3_500, 100));
    let kills = kills_of(whole);
    let events = events * kills as u64 / whole as u64;
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 6, events, ..Plan::default() }) else { return };
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b", "c"]);
    let mut feed = deployment.feed(per_second);
    let mut recoveries = Recoveries::default();
    let begun = now();
    recoveries.measure(&mut fleet, &follower, begun);
    println!("{test}: first verdicts on every partition after {}", recoveries);
    let mut recoveries = Recoveries::default();
    while recoveries.count() < kills {
        assert!(!feed.is_over(), "{} kills only before the end of the events", recoveries.count());
        pause(dice.pause(200..1_500));
        let killed = now();
        fleet.kill_and_restart(dice.below(3) as usize, dice.pause(0..800));
        recoveries.measure(&mut fleet, &follower, killed);
    }
    feed.finish(Duration::from_secs(size(180, 3_600)));
    fleet.consume_all();
    fleet.stop();
    let judgement = judge(&deployment, follower);
    println!("{test}: {} kills over {} events, {recoveries}", recoveries.count(), judgement.events);
    judgement.check(test);
    assert!(!is_long() || judgement.events >= 50_000 * kills as i64, "{} events", judgement.events);
    assert!(recoveries.worst() < RECOVERY_GOAL, "{recoveries}");
}

#[test]
fn at_least_once_repeats_what_a_kill_left_uncommitted() {
    let test = "kill-9-at-least-once";
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 3, events: size(25_000, 120_000), ..Plan::default() }) else { return };
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &[]);
    // Outputs show at once, and a second's worth of them is not committed.
    fleet.add("a", &["--delivery", "at_least_once", "--commit-interval", "1s"]);
    let feed = deployment.feed(1_500);
    for _ in 0..3 {
        Recoveries::default().measure(&mut fleet, &follower, now());
        fleet.kill_and_restart(0, Duration::ZERO);
    }
    feed.finish(Duration::from_secs(120));
    fleet.consume_all();
    fleet.stop();
    let judgement = judge(&deployment, follower);
    judgement.check_apart_from_repetitions(test);
    assert!(judgement.twice > 0, "the oracle does not see repetitions");
}
