//! Scenario: Redis is full, read-only, slow, half open or hangs up in the middle, while events come in.
//! Guarantees: work goes on or waits; nothing lost, nothing twice; the state catches up when Redis is well again.

use std::time::Duration;

use redis::Connection;

use crate::deployment::{Deployment, Plan, pause};
use crate::dice::Dice;
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::size;
use crate::proxy::{Mode, Proxy};
use crate::redis_state::connect;

fn set(connection: &mut Connection, name: &str, value: &str) {
    redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(connection).unwrap();
}

#[test]
fn redis_is_full_and_read_only_for_a_while() {
    let test = "redis-refuses";
    let Some(deployment) = Deployment::new(test, &Plan { partitions: 4, events: 40_000, ..Plan::default() }) else { return };
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(1_500);
    Recoveries::default().measure(&mut fleet, &follower, now());
    let (mut admin, mut recoveries) = (connect(&deployment.redis), Recoveries::default());

    // Less than it holds already: every write is refused from now on.
    set(&mut admin, "maxmemory", "1mb");
    fleet.workers[0].running.line_after("out of memory");
    pause(Duration::from_secs(3));
    fleet.assert_alive();
    set(&mut admin, "maxmemory", "0");
    recoveries.measure(&mut fleet, &follower, now());

    // What a fail-over looks like: the master becomes a replica and, later, a master again.
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1").exec(&mut admin).unwrap();
    fleet.workers[1].running.line_after("read-only");
    pause(Duration::from_secs(3));
    fleet.assert_alive();
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut admin).unwrap();
    recoveries.measure(&mut fleet, &follower, now());

    feed.finish(Duration::from_secs(120));
    fleet.consume_all();
    fleet.stop();
    println!("{test}: after Redis took writes again, {recoveries}");
    judge(&deployment, follower).check(test);
}

#[test]
fn the_way_to_redis_is_slow_half_open_and_cut() {
    let test = "redis-network";
    let cuts = size(10, 200);
    let plan = Plan { partitions: 4, events: size(60_000, 600_000), ..Plan::default() };
    let Some(mut deployment) = Deployment::new(test, &plan) else { return };
    let mut dice = Dice::new(test);
    let proxy = Proxy::to(&format!("127.0.0.1:{}", deployment.redis.port()));
    deployment.services.redis = format!("redis://127.0.0.1:{}/0", proxy.port);
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(size(1_500, 3_000));
    Recoveries::default().measure(&mut fleet, &follower, now());
    fleet.await_ready();
    let mut recoveries = Recoveries::default();
    for (mode, time) in [(Mode::Slow(Duration::from_secs(2)), 8), (Mode::Hole, 7), (Mode::Dead, 3)] {
        proxy.set(mode);
        pause(Duration::from_secs(time));
        fleet.assert_alive();
        proxy.set(Mode::Pass);
        recoveries.measure(&mut fleet, &follower, now());
    }
    let half_open = now();
    proxy.set(Mode::HalfOpen);
    recoveries.measure(&mut fleet, &follower, half_open);
    proxy.set(Mode::Pass);
    for _ in 0..cuts {
        proxy.cut_after(dice.below(20_000));
        pause(dice.pause(100..600));
    }
    proxy.set(Mode::Pass);
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    // A call that was lost on the way ends by its own time limit; a shutdown has hardly more time than that.
    pause(Duration::from_secs(6));
    fleet.stop();
    println!("{test}: {} cuts; after the other faults, {recoveries}", proxy.cuts());
    assert!(proxy.cuts() > 0, "something was cut");
    judge(&deployment, follower).check(test);
}
