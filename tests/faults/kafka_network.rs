//! Scenario: the way to Kafka is slow, blocked for longer than the session, half open, and cut in the middle of frames.
//! Guarantees: workers come back by themselves; nothing lost, nothing twice.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::deployment::{Deployment, Plan, pause, session};
use crate::dice::Dice;
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::size;
use crate::proxy::{Mode, Proxy};

#[test]
fn the_way_to_kafka_is_slow_blocked_half_open_and_cut() {
    let test = "kafka-network";
    let (listener, port) = Proxy::bind();
    let Some(cluster) = Cluster::start(test, 1, Some(port)) else { return };
    let proxy = Proxy::lead(listener, &cluster.behind());
    let plan = Plan { partitions: 4, events: size(80_000, 1_200_000), kafka: Some(&cluster.brokers), ..Plan::default() };
    let Some(mut deployment) = Deployment::new(test, &plan) else { return };
    deployment.services.brokers = format!("127.0.0.1:{port}");
    let mut dice = Dice::new(test);
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(1_000);
    Recoveries::default().measure(&mut fleet, &follower, now());
    let mut recoveries = Recoveries::default();
    for _ in 0..size(1, 8) {
        let slow = now();
        proxy.set(Mode::Slow(Duration::from_millis(300)));
        recoveries.measure(&mut fleet, &follower, slow);
        proxy.set(Mode::Hole);
        pause(session() * 2);
        proxy.set(Mode::Pass);
        recoveries.measure(&mut fleet, &follower, now());
        let half_open = now();
        proxy.set(Mode::HalfOpen);
        recoveries.measure(&mut fleet, &follower, half_open);
        proxy.set(Mode::Pass);
        for _ in 0..10 {
            proxy.cut_after(dice.below(50_000));
            pause(dice.pause(100..800));
        }
        recoveries.measure(&mut fleet, &follower, now());
    }
    feed.finish(Duration::from_secs(size(180, 1_800)));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: {} cuts, {recoveries}", proxy.cuts());
    assert!(proxy.cuts() > 0, "something was cut");
    judge(&deployment, follower).check(test);
}
