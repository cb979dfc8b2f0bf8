//! What one event costs in each stage of the core, on one core of this machine.
//!
//!     cargo bench --bench core -- --json core.json
//!
//! Two kinds of rounds take turns: some time the whole (`decode_batch`, then `Engine::apply`), which is the sum that counts; the
//! others time each stage on its own. Nothing is timed but the pipeline's own code.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is what a bench is for.

mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bumpalo::Bump;
use serde_json::json;
use support::subject::{PARTITION, Subject};
use support::traffic::{Keys, Payloads, Traffic};
use support::{Arguments, Spread, timed};
use threatguard::core::decode::{Decoded, decode_batch, decode_guarded};
use threatguard::core::detect::{NAMES, RULES};
use threatguard::core::engine::VerdictRecords;
use threatguard::core::event::{Event, Record};
use threatguard::core::features::model_row;
use threatguard::core::numeric::mix;
use threatguard::core::output::VerdictWriter;
use threatguard::core::state::{EntityState, Rarity};
use threatguard::native::Kernel;

/// What the whole core has to reach (issue "The pipeline runs", numbers to show, 1).
const EVENTS_PER_SECOND_MIN: f64 = 700_000.0;

/// Groups of stages and what the best measured implementation of each needs, ns (detection.md, C.R).
const FLOORS: [(&str, &[&str], (f64, f64)); 5] = [
    ("decode + sanitize", &["decode", "sanitize"], (175.0, 207.0)),
    ("state + features", &["state", "features"], (110.0, 200.0)),
    ("isolation forest", &["isolation_forest"], (165.0, 177.0)),
    ("other detectors, combine, verdict", &["other_detectors", "combine", "verdict"], (20.0, 30.0)),
    ("serialise", &["serialise"], (150.0, 185.0)),
];
/// In the order of an event's way; `serialise` is needed only where verdicts are published and is not part of the sum.
const STAGES: [&str; 9] =
    ["decode", "sanitize", "state", "features", "isolation_forest", "other_detectors", "combine", "verdict", "serialise"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("core: {problem}");
            ExitCode::from(2)
        }
    }
}

/// Nanoseconds an event, by stage, one figure a round.
type Figures = BTreeMap<&'static str, Vec<f64>>;

fn run() -> Result<(), String> {
    let defaults = [("entities", "100000"), ("rounds", "24"), ("events", "65536"), ("batch", "1024"), ("keys", "uniform"), ("json", "")];
    let arguments = Arguments::read(&defaults)?;
    let (rounds, events) = (arguments.number("rounds")?.max(1), arguments.number("events")?.max(1) as usize);
    let (entities, batch) = (arguments.number("entities")?.max(1), arguments.number("batch")?.max(1) as usize);
    let mut traffic = Traffic::new(1, entities, Keys::of(arguments.text("keys"))?);
    let mut subject = warmed(&mut traffic, entities)?;
    let mut payloads = Payloads::default();
    let (mut whole, mut figures, mut digest) = (vec![], Figures::new(), 0);
    let mut arena = Bump::new();
    for round in 0..2 * rounds {
        traffic.fill(events, &mut payloads);
        let records = payloads.records();
        if round % 2 == 0 {
            let ((), time) = timed(|| {
                for batch in records.chunks(batch) {
                    arena.reset();
                    subject.process(batch, &arena);
                }
            });
            whole.push(time.as_nanos() as f64 / records.len() as f64);
        } else {
            stages(&mut subject, &records, batch, &mut arena, (&mut figures, &mut digest));
        }
    }
    let bytes = payloads.bytes() / payloads.len().max(1);
    println!("{}; forest kernel {:?}; allocator: {}", support::machine(), Kernel::best(), support::ALLOCATOR_NAME);
    println!(
        "{entities} entities, {} keys, {bytes} bytes an event, batches of {batch}, {rounds} rounds of {events} events of each kind, one core",
        arguments.text("keys")
    );
    println!("digest of half of the scores, the same on every machine: {digest:016x}");
    report(&arguments, Spread::of(whole), figures)
}

/// An engine that knows every entity and has learned from the traffic.
fn warmed(traffic: &mut Traffic, entities: u64) -> Result<Subject, String> {
    let text = |error: threatguard::error::Error| error.to_string();
    let mut subject = Subject::new(2 * entities as usize).map_err(text)?;
    let mut trainer = subject.trainer();
    let mut payloads = Payloads::default();
    let mut arena = Bump::new();
    for _ in 0..(8 * entities).div_ceil(4_096).max(24) {
        traffic.fill(4_096, &mut payloads);
        arena.reset();
        subject.process_and_learn(&payloads.records(), &arena, &mut trainer);
    }
    let scorer = subject.learned(&trainer).map_err(text)?;
    subject.engine.set_scorer(Arc::clone(&scorer));
    Ok(subject)
}

/// Times every stage over all of `records`.
fn stages(subject: &mut Subject, records: &[Record<'_>], batch: usize, arena: &mut Bump, (figures, digest): (&mut Figures, &mut u64)) {
    let mut sums: BTreeMap<&'static str, Duration> = BTreeMap::new();
    let mut out = vec![];
    for batch in records.chunks(batch) {
        arena.reset();
        let ((), decode) = timed(|| decode_only(subject, batch, arena));
        arena.reset();
        let mut decoded = Decoded::default();
        let ((), both) = timed(|| decode_batch(&subject.codec, &subject.sanitizer, batch, arena, &mut decoded));
        let mut add = |stage, time: Duration| *sums.entry(stage).or_default() += time;
        add("decode", decode);
        add("sanitize", both.saturating_sub(decode));
        let ((), observe) = timed(|| subject.engine.observe_only(PARTITION, &decoded.events));
        let (row, features) = timed(|| features_only(subject, &decoded.events));
        std::hint::black_box(row);
        add("features", features);
        add("state", observe.saturating_sub(features));
        let ((), detect) = timed(|| subject.engine.detect());
        let forest = detectors(subject, &mut add);
        add("other_detectors", detect.saturating_sub(forest));
        add("combine", timed(|| subject.engine.combine()).1);
        add("verdict", timed(|| subject.engine.judge()).1);
        for verdict in &subject.engine.effects().verdicts {
            *digest = mix(*digest ^ u64::from(verdict.surprise.to_bits()));
        }
        out.clear();
        add("serialise", timed(|| serialise(subject, &decoded.events, &mut out)).1);
    }
    for (stage, sum) in sums {
        figures.entry(stage).or_default().push(sum.as_nanos() as f64 / records.len() as f64);
    }
}

fn decode_only(subject: &Subject, records: &[Record<'_>], arena: &Bump) {
    for record in records {
        let seen = decode_guarded(&subject.codec, record.payload, arena, |raw| {
            std::hint::black_box(raw);
        });
        assert!(seen.is_ok(), "the traffic is well-formed");
    }
}

/// Stage 4 again, on the signals that stage 3 left.
fn features_only(subject: &Subject, events: &[Event<'_>]) -> f32 {
    let (rows, state) = (subject.engine.rows(), EntityState::default());
    let row = |(event, signals): (&u32, &_)| model_row(rows.schema, &events[*event as usize], &state, Rarity::default(), signals);
    rows.event.iter().zip(&rows.signals).map(row).fold(0.0, |sum, row| sum + std::hint::black_box(row)[0])
}

/// Each detector again, on its own; returns the forest's time.
fn detectors(subject: &Subject, add: &mut impl FnMut(&'static str, Duration)) -> Duration {
    let rows = subject.engine.rows().as_matrix();
    let mut scores = vec![0.0; rows.len()];
    let mut forest = Duration::ZERO;
    for detector in subject.engine.scorer().detectors() {
        let ((), time) = timed(|| detector.score(rows, std::hint::black_box(&mut scores)));
        add(detector.name(), time);
        if detector.name() == NAMES[0] {
            forest = time;
        }
    }
    forest
}

/// Every verdict as JSON, as `--verdicts json` writes it.
fn serialise(subject: &Subject, events: &[Event<'_>], out: &mut Vec<u8>) {
    let (engine, mut writer) = (&subject.engine, VerdictWriter::default());
    let records = VerdictRecords::of(engine);
    for verdict in &engine.effects().verdicts {
        writer.write(&records.record(&events[verdict.event as usize], verdict), out);
    }
}

fn report(arguments: &Arguments, whole: Spread, figures: Figures) -> Result<(), String> {
    let spreads: BTreeMap<&str, Spread> = figures.into_iter().map(|(stage, figures)| (stage, Spread::of(figures))).collect();
    let of = |stage: &str| spreads.get(stage).copied().unwrap_or_default();
    println!("\n{:<36} {:>10} {:>10}", "stage", "ns/event", "best");
    for stage in STAGES {
        println!("{stage:<36} {:>10.1} {:>10.1}", of(stage).median, of(stage).best);
        if stage == "other_detectors" {
            for name in &NAMES[RULES] {
                println!("  {name:<34} {:>10.1} {:>10.1}", of(name).median, of(name).best);
            }
        }
    }
    let sum = |best: bool| STAGES[..8].iter().map(|stage| if best { of(stage).best } else { of(stage).median }).sum::<f64>();
    println!("{:<36} {:>10.1} {:>10.1}", "sum of stages without serialise", sum(false), sum(true));
    println!("{:<36} {:>10.1} {:>10.1}", "whole: decode_batch, apply", whole.median, whole.best);

    println!("\n{:<36} {:>10} {:>14} {:>12}", "against the measured floor", "ns/event", "floor", "times floor");
    for (group, stages, (low, high)) in FLOORS {
        let time: f64 = stages.iter().map(|stage| of(stage).median).sum();
        println!("{group:<36} {time:>10.1} {:>14} {:>12.2}", format!("{low:.0} to {high:.0}"), time / high);
    }
    let per_second = 1e9 / whole.median;
    println!("\n{:.0} events/s in sum (best round {:.0}); the bar is {EVENTS_PER_SECOND_MIN:.0}", per_second, 1e9 / whole.best);
    if per_second < EVENTS_PER_SECOND_MIN {
        println!("below the bar");
    }
    let stages: BTreeMap<&str, f64> = STAGES.iter().map(|stage| (*stage, of(stage).median)).collect();
    arguments.write_json(&json!({
        "eventsPerSecond": per_second,
        "bestEventsPerSecond": 1e9 / whole.best,
        "stages": stages,
        "machine": support::machine(),
        "kernel": format!("{:?}", Kernel::best()),
        "allocator": support::ALLOCATOR_NAME,
    }))
}
