//! The whole shard loop in one thread, against models of Kafka and the state store, with faults at every step drawn from a seed:
//! whatever happened, the committed outputs and the state are those of an undisturbed run.
//!
//! `THREATGUARD_SEEDS=100000 cargo test --release --test simulation` runs more; `THREATGUARD_SEED=17` shows one step by step.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test
#![allow(clippy::print_stdout)] // what a run went through is said

mod broker;
mod drive;
mod group;
mod input;
mod life;
mod log;
mod models;
mod oracle;
mod outputs;
mod process;
mod rng;
mod run;
mod source;
mod store;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use threatguard::run::telemetry::Metrics;

use self::run::{Ask, Outcome, run};
use self::world::Safeguards;

const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::vars().find(|(known, _)| known == name).map(|(_, value)| value.parse().expect("a number"))
}

#[derive(Default)]
struct Sums {
    outcomes: Vec<(u64, Outcome)>,
    failed: Vec<(u64, Vec<String>)>,
}

/// Panics that are part of the play are not shown.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<String>().is_none_or(|text| text != input::POISON) {
                shown(info);
            }
        }));
    });
}

/// Seeds spread over threads, each of which has a clock of its own.
fn run_all(seeds: std::ops::Range<u64>, safe: Safeguards, stop_at: usize) -> Sums {
    hush();
    let next = AtomicU64::new(seeds.start);
    let failures = AtomicU64::new(0);
    let work = || {
        let metrics = Arc::new(Metrics::new());
        let mut sums = Sums::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failures.load(Ordering::Relaxed) >= stop_at as u64 {
                return sums;
            }
            let mut outcome = run(seed, Ask { safe, ..Ask::PLAIN }, &metrics);
            if !outcome.differences.is_empty() {
                failures.fetch_add(1, Ordering::Relaxed);
                sums.failed.push((seed, std::mem::take(&mut outcome.differences)));
            }
            sums.outcomes.push((seed, outcome));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    let mut sums = Sums::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            let part = thread.join().expect("a seed's panic is caught");
            sums.outcomes.extend(part.outcomes);
            sums.failed.extend(part.failed);
        }
    });
    sums.outcomes.sort_by_key(|(seed, _)| *seed);
    sums.failed.sort();
    sums
}

fn show(sums: &Sums) {
    let sum = |of: &dyn Fn(&Outcome) -> u64| sums.outcomes.iter().map(|(_, outcome)| of(outcome)).sum::<u64>();
    println!(
        "{} seeds, {} outputs: {} crashes, {} restarts, {} aborts, {} unknown outcomes, {} late ends, {} producers fenced, {} commits refused, {} rewinds, \
         {} rebalances, {} freezes, {} members expelled, {} store losses, {} store refusals, {} stops, {} barriers; {} seeds differ",
        sums.outcomes.len(),
        sum(&|o| o.outputs),
        sum(&|o| o.stats.crashes),
        sum(&|o| o.stats.restarts),
        sum(&|o| o.aborts),
        sum(&|o| o.stats.unknown),
        sum(&|o| o.late_ends),
        sum(&|o| o.fencings),
        sum(&|o| o.refused),
        sum(&|o| o.stats.rewinds),
        sum(&|o| o.rebalances),
        sum(&|o| o.stats.freezes),
        sum(&|o| o.expelled),
        sum(&|o| o.stats.store_losses),
        sum(&|o| o.stats.store_refusals),
        sum(&|o| o.stats.stops),
        sum(&|o| o.stats.barriers),
        sums.failed.len(),
    );
}

#[test]
fn every_seed_ends_as_an_undisturbed_run() {
    if let Some(seed) = number("THREATGUARD_SEED") {
        hush();
        let outcome = run(seed, Ask { shown: true, ..Ask::PLAIN }, &Arc::new(Metrics::new()));
        assert!(outcome.differences.is_empty(), "{:#?}", outcome.differences);
        return;
    }
    let begun = threatguard::edge::clock::now();
    let first = number("THREATGUARD_FIRST_SEED").unwrap_or(0);
    let sums = run_all(first..first + number("THREATGUARD_SEEDS").unwrap_or(SEEDS), Safeguards::ALL, 20);
    show(&sums);
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    for (seed, differences) in &sums.failed {
        println!(
            "seed {seed}: {differences:?}\n  THREATGUARD_SEED={seed} cargo test --release --test simulation every_seed -- --nocapture"
        );
    }
    assert!(sums.failed.is_empty());
    let sum = |of: &dyn Fn(&Outcome) -> u64| sums.outcomes.iter().map(|(_, outcome)| of(outcome)).sum::<u64>();
    assert!(sum(&|o| o.stats.barriers) > sums.outcomes.len() as u64, "models could change");
    assert_eq!(sum(&|o| o.stats.crossed), 0, "nothing before a barrier comes after it");
    for (seed, Outcome { counted, records, balance, .. }) in &sums.outcomes {
        assert_eq!(*balance, 0, "seed {seed}: received = scored + late + dead letters + in flight");
        assert!(counted <= records, "seed {seed}: {counted} records were counted of {records}");
    }
    let (counted, records) = (sum(&|o| o.counted), sum(&|o| o.records));
    println!("{counted} of {records} records were counted, those of crashes and of at-least-once were not");
    assert!(counted > records / 2);
}

#[test]
fn the_same_seed_twice_is_the_same_run() {
    hush();
    let metrics = Arc::new(Metrics::new());
    for seed in 0..50 {
        let ask = Ask::PLAIN;
        let (first, second) = (run(seed, ask, &metrics), run(seed, ask, &metrics));
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

#[test]
fn a_state_that_cannot_be_made_anew_stops_the_partition_and_publishes_nothing_wrong() {
    hush();
    let metrics = Arc::new(Metrics::new());
    let mut stopped = 0;
    for seed in 0..60 {
        let outcome = run(seed, Ask { loses_log: true, ..Ask::PLAIN }, &metrics);
        let (stops, others): (Vec<_>, Vec<_>) = outcome.differences.into_iter().partition(|text| text.contains("the log no longer has"));
        stopped += usize::from(!stops.is_empty());
        assert!(others.is_empty(), "seed {seed}: {others:?}");
    }
    println!("{stopped} of 60 seeds have stopped");
    assert!(stopped > 0);
}

/// With one safeguard off, some seed must differ: otherwise this test would not notice its loss.
fn is_missed(name: &str, switch: impl Fn(&mut Safeguards)) {
    let mut safe = Safeguards::ALL;
    switch(&mut safe);
    let sums = run_all(0..number("THREATGUARD_SEEDS").unwrap_or(SEEDS), safe, 1);
    let found = sums.failed.first().unwrap_or_else(|| panic!("nothing differs without {name}: {} seeds", sums.outcomes.len()));
    println!("without {name}: seed {} after {} seeds: {:?}", found.0, sums.outcomes.len(), found.1);
}

#[test]
fn each_safeguard_is_missed() {
    is_missed("renewing producers", |safe| safe.renewed_producer = false);
    is_missed("being told of retries", |safe| safe.told_of_retries = false);
    is_missed("looking at what is owned", |safe| safe.checked_member = false);
    is_missed("the store's owner", |safe| safe.store_owner = false);
    is_missed("the store's numbers", |safe| safe.store_number = false);
    is_missed("storing after the commit", |safe| safe.store_after_commit = false);
    is_missed("silent replay", |safe| safe.silent_replay = false);
    is_missed("rewinding state", |safe| safe.rewound_state = false);
    is_missed("keeping back what was lost", |safe| safe.lost_outputs = false);
}
