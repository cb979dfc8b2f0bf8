//! Scenario: a worker is stopped (SIGSTOP) for longer than its session, so that others take its partitions over, and then goes on in
//! the belief that it still owns them.
//! Guarantees: the zombie changes nothing: its commit and its checkpoint are refused, and it finds its way back into the group.
//! Two workers under one name throw each other's transactions out, but nothing is lost or doubled.

use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause, session};
use crate::dice::Dice;
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::size;

#[test]
fn a_stopped_worker_comes_back_as_a_zombie() {
    let test = "zombie";
    let (events, per_second, rounds) = size((60_000, 1_000, 2), (1_000_000, 2_000, 4));
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 4, events, ..Plan::default() }) else { return };
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(per_second);
    Recoveries::default().measure(&mut fleet, &follower, now());
    let mut recoveries = Recoveries::default();
    for _ in 0..rounds {
        let zombie = dice.below(2) as usize;
        let stopped = now();
        fleet.workers[zombie].running.signal("STOP");
        // The rest goes on without it, before it wakes up.
        recoveries.measure(&mut fleet, &follower, stopped);
        pause(size(session(), Duration::from_secs(60)));
        fleet.workers[zombie].running.signal("CONT");
        pause(dice.pause(500..2_000));
        recoveries.measure(&mut fleet, &follower, now());
    }
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {rounds} zombies, {recoveries}");
    judge(&deployment, follower).check(test);
}

/// What a worker takes that ends because its name is somebody else's too.
const ENDING: Duration = Duration::from_secs(8);

#[test]
fn two_workers_share_one_name_for_a_while() {
    let test = "twins";
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 4, events: size(30_000, 200_000), ..Plan::default() }) else { return };
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a"]);
    let feed = deployment.feed(1_500);
    Recoveries::default().measure(&mut fleet, &follower, now());
    fleet.add("a", &[]);
    pause(session() * 2);
    // By now one of them may have given up, as it may, or be about to end for that.
    let mut twin = fleet.workers.remove(1);
    twin.running.kill();
    drop(twin);
    pause(ENDING);
    if fleet.workers[0].running.child.try_wait().unwrap().is_some() {
        fleet.restart(0);
    }
    let mut recoveries = Recoveries::default();
    recoveries.measure(&mut fleet, &follower, now());
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {recoveries}");
    judge(&deployment, follower).check(test);
}
