//! Scenario: workers start while Redis takes seconds to answer, answers nothing at all, or refuses.
//! Guarantees: one that can only wait waits, says so and is not ready; it starts by itself when Redis answers, takes over and loses
//! nothing. What waiting does not mend is an error at once.

use std::time::Duration;

use crate::deployment::{Deployment, Plan, pause};
use crate::fleet::{Fleet, Recoveries, now, readiness};
use crate::judge::judge;
use crate::process::{Running, finish};
use crate::proxy::{Mode, Proxy};
use crate::redis_state;

const EVENTS: u64 = 30_000;
/// Far less than anybody waits who thinks that it starts.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn workers_start_while_redis_takes_seconds_to_answer() {
    let test = "redis-late";
    let Some(mut deployment) = Deployment::new(test, &Plan { partitions: 4, events: EVENTS, ..Plan::default() }) else { return };
    let proxy = Proxy::to(&format!("127.0.0.1:{}", deployment.redis.port()));
    deployment.services.redis = format!("redis://127.0.0.1:{}/0", proxy.port);
    let follower = deployment.follow();
    let feed = deployment.feed(1_000);

    // Connections are taken and nothing is ever answered.
    proxy.set(Mode::Dead);
    let mut fleet = Fleet::start(&deployment, &["a"]);
    let listening = fleet.workers[0].running.line_after("listening on http://");
    fleet.workers[0].running.line_after("the state store is away; waiting for it");
    // Longer than any single call may take.
    pause(Duration::from_secs(8));
    fleet.assert_alive();
    let answer = readiness(&listening).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("waiting: Redis at"), "{answer}");

    // Every answer comes four seconds late: connecting, looking, claiming and loading take so long each.
    proxy.set(Mode::Slow(Duration::from_secs(4)));
    fleet.workers[0].running.line_after("the state store answers");
    fleet.await_ready();
    // Another one comes while it is as slow, and takes over what the group gives it; then the first one goes without a goodbye.
    fleet.add("b", &[]);
    fleet.await_ready();
    fleet.assert_alive();
    let killed = now();
    fleet.kill_and_restart(0, Duration::ZERO);
    let mut recoveries = Recoveries::default();
    recoveries.measure(&mut fleet, &follower, killed);
    proxy.set(Mode::Pass);
    fleet.await_ready();
    feed.finish(Duration::from_secs(120));
    fleet.consume_all();
    // What was slow is still being caught up with; a stop would cut that short.
    redis_state::await_checkpoints(&deployment.redis, &deployment.raw, EVENTS, Duration::from_secs(120));
    fleet.stop();
    println!("{test}: killed while Redis was slow, {recoveries}");
    judge(&deployment, follower).check(test);
}

#[test]
fn what_waiting_does_not_mend_is_said_at_once() {
    let test = "redis-refuses-at-start";
    let plan = Plan { partitions: 1, redis: &["--requirepass", "right"], events: 100, ..Plan::default() };
    let Some(mut deployment) = Deployment::new(test, &plan) else { return };
    let port = deployment.redis.port();
    let proxy = Proxy::to(&format!("127.0.0.1:{port}"));
    let begun = now();
    proxy.set(Mode::Slow(Duration::from_secs(1)));
    deployment.services.redis = format!("redis://:wrong@127.0.0.1:{}/0", proxy.port);
    finish(&mut deployment.command("a", &[]), b"").fails(2, &["refuses the user or password"]);
    deployment.redis.kill();
    deployment.services.redis = format!("redis://:right@127.0.0.1:{port}/0");
    finish(&mut deployment.command("a", &[]), b"").fails(3, &["is it running and reachable", &port.to_string()]);
    deployment.services.redis = "redis://nowhere.invalid:6379/0".to_owned();
    finish(&mut deployment.command("a", &[]), b"").fails(3, &["is it running and reachable", "nowhere.invalid"]);
    assert!(begun.elapsed() < 3 * AT_ONCE, "{:?}", begun.elapsed());

    // One that waits goes when it is told to.
    deployment.redis.start_again();
    proxy.set(Mode::Dead);
    deployment.services.redis = format!("redis://:right@127.0.0.1:{}/0", proxy.port);
    let mut waiting = Running::start(&mut deployment.command("a", &[]));
    waiting.line_after("waiting for it");
    assert_eq!(waiting.terminate(AT_ONCE), Some(0), "{:#?}", waiting.said);
}
