//! One seed: chaos, then quiet, then a clean stop and one more start, then the comparison.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use threatguard::edge::clock;
use threatguard::run::telemetry::Metrics;

use super::broker::Broker;
use super::drive::Sim;
use super::group::Group;
use super::input::{Scene, script};
use super::log::Log;
use super::oracle::Reference;
use super::process::Setup;
use super::rng::Rng;
use super::store::StoreModel;
use super::world::{Faults, Safeguards, Stats, Trace, World, lock};

/// Turns until everything is read, once nothing goes wrong any more.
const QUIET_TURNS_MAX: u64 = 60_000;

/// So many turns in which nothing changes are enough for every machine to have had several.
const STEADY_TURNS: u64 = 1_500;

/// What became of a seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub differences: Vec<String>,
    pub trace: u64,
    pub stats: Stats,
    pub aborts: u64,
    pub fencings: u64,
    pub refused: u64,
    pub late_ends: u64,
    pub rebalances: u64,
    pub expelled: u64,
    pub outputs: u64,
    /// Records there were, and how many were counted as settled.
    pub records: u64,
    pub counted: u64,
    /// 0 where received = scored + late + dead letters + in flight.
    pub balance: i64,
}

/// What can be asked of a run.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub safe: Safeguards,
    pub shown: bool,
    /// The store is emptied, and the log does not reach back to where the state began.
    pub loses_log: bool,
}

impl Ask {
    pub const PLAIN: Self = Self { safe: Safeguards::ALL, shown: false, loses_log: false };
}

pub fn run(seed: u64, ask: Ask, metrics: &Arc<Metrics>) -> Outcome {
    clock::simulate();
    let ended = catch_unwind(AssertUnwindSafe(|| whole(seed, ask, metrics)));
    Sim::leave();
    ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome { differences: vec![format!("panic: {}", text.unwrap_or_default())], ..Outcome::default() }
    })
}

fn whole(seed: u64, ask: Ask, metrics: &Arc<Metrics>) -> Outcome {
    let mut rng = Rng::new(seed);
    let partitions = rng.between(1, 4) as u32;
    let scripts = (0..partitions).map(|partition| {
        let events = rng.between(10, 120);
        script(&mut rng, partition, events)
    });
    let scripts: Vec<_> = scripts.collect();
    let scene = Arc::new(Scene::new(*rng.pick(&[2, 6, 1_000])));
    let whole: Vec<Log> = scripts
        .iter()
        .map(|script| {
            let mut log = Log::default();
            script.iter().cloned().for_each(|feed| feed.apply(&mut log));
            log
        })
        .collect();
    let reference = Reference::of(&scene, &whole);
    let records = whole.iter().map(|log| log.read(0, u64::MAX).0.len() as u64).sum();
    let counted = settled(metrics);
    let setup = Setup {
        partitions,
        lanes: rng.between(1, 2) as usize,
        exactly_once: rng.chance(850),
        commit_interval: Duration::from_millis(*rng.pick(&[5, 20, 100])),
        checkpoint_interval: Duration::from_millis(*rng.pick(&[0, 30, 200])),
        drain: rng.between(100, 2_000) * 1_000,
        safe: ask.safe,
        scene,
        metrics: Arc::clone(metrics),
    };
    let group = Group::new(partitions, *rng.pick(&[1_000_000, 3_000_000]), 8_000_000);
    let mut faults = Faults::draw(&mut rng);
    if ask.loses_log {
        (faults.store_emptied, faults.store_failover, faults.truncate) = (2, 0, 200);
    }
    let (workers, turns) = (rng.between(1, 3) as usize, rng.between(500, 3_000));
    let world = World {
        broker: Broker::new(partitions, group, *rng.pick(&[800_000, 2_000_000, 5_000_000])),
        store: StoreModel::default(),
        rng,
        trace: Trace::new(ask.shown),
        faults,
        safe: ask.safe,
        stats: Stats::default(),
        depth: 0,
        calls: 0,
    };
    let exactly_once = setup.exactly_once;
    let sim = Sim::new(Arc::new(Mutex::new(world)), setup, workers, scripts);
    lock(&sim.world).trace.say(|| format!("seed {seed}: {workers} workers, {partitions} partitions, {faults:?}"));
    let mut differences = drive(&sim, turns);
    let problems = std::mem::take(&mut *sim.problems.lock().unwrap_or_else(PoisonError::into_inner));
    if differences.is_empty() {
        differences = reference.compare(&lock(&sim.world), exactly_once);
    } else if ask.loses_log && !problems.is_empty() {
        differences = reference.extra(&lock(&sim.world), exactly_once);
    }
    differences.extend(problems);
    let outcome = outcome(&sim, differences, reference.outputs() as u64);
    let counted = if exactly_once { settled(metrics) - counted } else { 0 };
    Outcome { records, counted, balance: metrics.conservation(), ..outcome }
}

/// Records that the metrics say something became of.
fn settled(metrics: &Metrics) -> u64 {
    let text = metrics.to_text().expect("metrics can be written");
    let is_meant =
        |line: &&str| ["scored", "late", "dead_lettered"].iter().any(|what| line.starts_with(&format!("threatguard_events_{what}_total")));
    text.lines().filter(is_meant).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn outcome(sim: &Sim, differences: Vec<String>, outputs: u64) -> Outcome {
    let mut world = lock(&sim.world);
    hash_outputs(&mut world);
    let (broker, stats) = (&world.broker, world.stats);
    Outcome {
        differences,
        trace: world.trace.hash,
        stats,
        aborts: broker.aborts,
        fencings: broker.fencings,
        refused: broker.group.refused,
        late_ends: broker.late_ends,
        rebalances: broker.group.rebalances,
        expelled: broker.group.expelled,
        outputs,
        ..Outcome::default()
    }
}

fn hash_outputs(world: &mut World) {
    let World { broker, trace, .. } = world;
    for log in broker.outputs.values() {
        for (offset, record) in log.read(0, u64::MAX).0 {
            trace.bytes(&offset.to_le_bytes());
            trace.bytes(&record.payload);
        }
    }
}

fn drive(sim: &Arc<Sim>, turns: u64) -> Vec<String> {
    sim.start(1_000);
    for turn in 0..turns {
        sim.turn(4_000);
        sim.bury();
        sim.start(30);
        if turn % 8 == 0 {
            sim.strike();
            let count = lock(&sim.world).rng.below(8);
            sim.feed(count);
        }
    }
    {
        let mut world = lock(&sim.world);
        world.trace.note("QUIET", 0, 0);
        world.faults = Faults { interleave: world.faults.interleave, ..Faults::default() };
        world.store.away_until = 0;
    }
    sim.feed(u64::MAX);
    // The second round starts from what the first has left, and nothing goes wrong in it.
    for round in 0..2 {
        if let Err(stuck) = settle(sim) {
            return vec![format!("round {round}: {stuck}")];
        }
    }
    vec![]
}

/// Reads everything, and stops cleanly.
fn settle(sim: &Arc<Sim>) -> Result<(), String> {
    let until = |what: &str, done: &dyn Fn() -> bool| {
        for _ in 0..QUIET_TURNS_MAX {
            if done() {
                return Ok(());
            }
            sim.turn(4_000);
            sim.bury();
            sim.start(200);
        }
        Err(format!("no end of {what}"))
    };
    sim.bury();
    sim.start(1_000);
    // A panic or a store that was found out may still lead to a rewind; it would have come by then.
    let steady = Cell::new(0);
    until("reading", &|| {
        steady.set(if sim.is_delivered() && is_read(sim) { steady.get() + 1 } else { 0 });
        steady.get() > STEADY_TURNS
    })?;
    sim.close(Duration::from_secs(600));
    for _ in 0..QUIET_TURNS_MAX {
        if sim.are_over() {
            break;
        }
        sim.turn(4_000);
    }
    if !sim.are_over() {
        return Err("no end of stopping".to_owned());
    }
    sim.stop_all();
    for _ in 0..1_000 {
        if lock(&sim.world).broker.is_quiet() {
            return Ok(());
        }
        sim.turn(4_000);
    }
    Err("a transaction was left open".to_owned())
}

/// The group has committed everything that there is to read.
fn is_read(sim: &Sim) -> bool {
    let world = lock(&sim.world);
    let is_read = |(partition, log): (usize, &Log)| {
        let committed = world.broker.group.stable(partition as u32).ok().flatten();
        committed.is_some_and(|stored| log.read(stored.next, u64::MAX).0.is_empty())
    };
    world.broker.is_quiet() && world.broker.inputs.iter().enumerate().all(is_read)
}
