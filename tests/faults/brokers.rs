//! Scenario: brokers are restarted, cleanly and hard, and one of three is lost, while events come in.
//! Guarantees: workers wait for them and go on by themselves; nothing lost, nothing twice.

use std::time::Duration;

use crate::cluster::{Cluster, Stop};
use crate::deployment::{Deployment, Plan, pause};
use crate::dice::Dice;
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::size;

#[test]
fn the_only_broker_is_restarted() {
    let test = "broker-restarts";
    let rounds = size(1, 5);
    let Some(cluster) = Cluster::start(test, 1, None) else { return };
    let plan = Plan { partitions: 4, events: size(60_000, 800_000), kafka: Some(&cluster.brokers), ..Plan::default() };
    let Some(mut deployment) = Deployment::new(test, &plan) else { return };
    // What the replay sends again after a hard restart may be in the log twice; the log is what counts.
    deployment.is_plain = false;
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(size(1_000, 2_000));
    Recoveries::default().measure(&mut fleet, &follower, now());
    let mut recoveries = Recoveries::default();
    for _ in 0..rounds {
        for how in [Stop::Clean, Stop::Hard] {
            pause(dice.pause(500..2_000));
            cluster.halt(1, how);
            cluster.resume(1);
            let back = now();
            recoveries.measure(&mut fleet, &follower, back);
        }
    }
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: after the broker was back, {recoveries}");
    judge(&deployment, follower).check(test);
}

#[test]
fn one_of_three_brokers_is_lost() {
    let test = "broker-loss";
    let rounds = size(1, 6);
    let Some(cluster) = Cluster::start(test, 3, None) else { return };
    let plan = Plan { partitions: 6, events: size(60_000, 600_000), kafka: Some(&cluster.brokers), replicas: Some(3), ..Plan::default() };
    let Some(mut deployment) = Deployment::new(test, &plan) else { return };
    // What the replay sends again after a hard restart may be in the log twice; the log is what counts.
    deployment.is_plain = false;
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(1_000);
    Recoveries::default().measure(&mut fleet, &follower, now());
    let mut recoveries = Recoveries::default();
    for _ in 0..rounds {
        let node = dice.within(1..4) as usize;
        let lost = now();
        cluster.halt(node, Stop::Hard);
        println!("{test}: broker {node} lost");
        // The two others go on without it.
        recoveries.measure(&mut fleet, &follower, lost);
        cluster.resume(node);
        pause(Duration::from_secs(1));
        recoveries.measure(&mut fleet, &follower, now());
    }
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {rounds} losses, each measured when a broker went and when it was back, {recoveries}: {:.1?}", recoveries.all());
    judge(&deployment, follower).check(test);
}
