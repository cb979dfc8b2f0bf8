//! What a million entities take, and what a flood of spoofed sources does to them.
//!
//!     cargo bench --bench memory -- --json memory.json
//!
//! Fills an engine of `max_entities` with established entities, then sends single events of ten times as many sources that never
//! come back. Must hold: the bytes, their growth under the flood, and that the established are still there and score, to the bit,
//! as they would have without it. Exit code 1 where one of these does not hold.
//!
//! A network of rows is in use, as in any pipeline that was trained; what comes without one is measured before, in a process of its
//! own. `--network with` and `--network without` measure one of the two. Models are learned in a process of its own, too, and read
//! from their files, as a pipeline does: what learning has taken is none of a pipeline's.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is what a bench is for.

mod support;

use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;

use bumpalo::Bump;
use serde_json::{Value, json};
use support::subject::{PARTITION, Subject};
use support::traffic::{Keys, Payloads, Traffic};
use support::{Arguments, process_bytes, timed};
use threatguard::core::decode::{Decoded, decode_batch};
use threatguard::core::engine::{PARTS, Scorer};
use threatguard::core::state::table::PROBATION_PART;
use threatguard::error::Error;
use threatguard::models::bundle::Bundle;
use threatguard::models::sample::{Fitted, Sample};

/// The bars (issue "The pipeline runs", numbers to show, 3).
const BYTES_MAX: u64 = 1 << 30;
const GROWTH_MAX: f64 = 0.03;
/// Of established entities that are silent all along a flood may displace the part of the table that is kept for newcomers.
const SURVIVORS_MIN: f64 = 0.99 - 1.0 / PROBATION_PART as f64;

/// Events of each entity before it counts as filled: past [`threatguard::core::state::table::ESTABLISHED_EVENTS`].
const EVENTS_EACH: u64 = 5;
const BATCH: u64 = 1_024;
/// Batches of 4,096 events that are learned from, in each pass.
const LEARNED_BATCHES: usize = 6;
/// Source numbers from which nobody is known.
const SPOOFED_FROM: u64 = 1 << 25;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("memory: {problem}");
            ExitCode::from(2)
        }
    }
}

/// Events in the order of the log, each a source; numbers make offsets and times.
struct Log<'a> {
    subject: &'a mut Subject,
    traffic: &'a Traffic,
    payloads: Payloads,
    arena: Bump,
}

impl Log<'_> {
    /// Processes the events `from..to`, of the sources that `source` gives for their numbers; numbers without one are left out.
    fn play(&mut self, from: u64, to: u64, source: impl Fn(u64) -> Option<u64>) {
        let mut number = from;
        while number < to {
            self.payloads.clear();
            let until = (number + BATCH).min(to);
            for number in number..until {
                if let Some(source) = source(number) {
                    self.payloads.push(self.traffic.seed, source, number, self.traffic.micros(number));
                }
            }
            self.arena.reset();
            self.subject.process(&self.payloads.records(), &self.arena);
            number = until;
        }
    }

    /// One event of each of `sources`: which of them are resident, and their raw scores and combined surprise as bits.
    fn probe(&mut self, from: u64, sources: &[u64]) -> Vec<(bool, [u32; PARTS], u32)> {
        let mut results = vec![];
        for (part, sources) in sources.chunks(BATCH as usize).enumerate() {
            self.payloads.clear();
            for (index, source) in sources.iter().enumerate() {
                let number = from + part as u64 * BATCH + index as u64;
                self.payloads.push(self.traffic.seed, *source, number, self.traffic.micros(number));
            }
            self.arena.reset();
            let mut decoded = Decoded::default();
            decode_batch(&self.subject.codec, &self.subject.sanitizer, &self.payloads.records(), &self.arena, &mut decoded);
            let engine = &mut self.subject.engine;
            let missing = engine.prefetch(PARTITION, &decoded.events);
            let resident: Vec<bool> = decoded.events.iter().map(|event| missing.binary_search(&event.entity.key).is_err()).collect();
            engine.apply(PARTITION, &decoded.events, &[]);
            assert_eq!(engine.rows().len(), resident.len(), "every probe is scored");
            results.extend(
                resident
                    .into_iter()
                    .enumerate()
                    .map(|(row, resident)| (resident, engine.scores().raw(row).map(f32::to_bits), engine.scores().surprise(row).to_bits())),
            );
        }
        results
    }
}

/// How the control group fared.
#[derive(Clone, Copy)]
struct Survivors {
    group: usize,
    resident: usize,
    same: usize,
}

fn run() -> Result<bool, String> {
    let sizes = [("entities", "1000000"), ("flood", "10000000"), ("control", "10000")];
    let arguments = Arguments::read(&[&sizes[..], &[("network", "both"), ("learn-into", ""), ("json", "")]].concat())?;
    match arguments.text("network") {
        network if !arguments.text("learn-into").is_empty() => {
            learn(network == "with", Path::new(arguments.text("learn-into"))).map(|()| true)
        }
        "with" => measure(&arguments, true, Value::Null),
        "without" => measure(&arguments, false, Value::Null),
        "both" => {
            let (holds, figures) = without_network(&arguments)?;
            println!();
            Ok(measure(&arguments, true, figures)? && holds)
        }
        other => Err(format!("--network wants with, without or both, not '{other}'")),
    }
}

/// In another process, because what one run has freed would count in the next. Also gives the figures that it writes.
fn without_network(arguments: &Arguments) -> Result<(bool, Value), String> {
    let same = ["entities", "flood", "control", "json"].into_iter().map(|name| (name, arguments.text(name)));
    let status = again(same.chain([("network", "without")]))?;
    let figures = std::fs::read(arguments.text("json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match status.code() {
        Some(code @ (0 | 1)) => Ok((code == 0, figures.unwrap_or_default())),
        _ => Err(format!("the run without a network ended with {status}")),
    }
}

/// This bench in a process of its own.
fn again<'a>(arguments: impl Iterator<Item = (&'a str, &'a str)>) -> Result<ExitStatus, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this bench's own program: {error}"))?;
    let mut command = Command::new(program);
    for (name, value) in arguments.filter(|(_, value)| !value.is_empty()) {
        command.arg(format!("--{name}")).arg(value);
    }
    command.status().map_err(|error| format!("cannot run this bench again: {error}"))
}

fn measure(arguments: &Arguments, with_network: bool, without: Value) -> Result<bool, String> {
    let (entities, flood) = (arguments.number("entities")?.max(1_000), arguments.number("flood")?);
    let control = arguments.number("control")?.clamp(1, entities / 2);
    let scorer = learned(with_network)?;
    let traffic = Traffic::new(2, entities, Keys::Uniform);
    let before = process_bytes("VmRSS");
    let mut subject = Subject::with(entities as usize, Arc::clone(&scorer)).map_err(said)?;
    let mut log = Log { subject: &mut subject, traffic: &traffic, payloads: Payloads::default(), arena: Bump::new() };

    // The control group is spread over the whole table.
    let filled = EVENTS_EACH * entities;
    let step = entities / control;
    let group: Vec<u64> = (0..control).map(|place| place * step).collect();
    let ((), fill_time) = timed(|| log.play(0, filled, |number| Some(number % entities)));
    let bytes = process_bytes("VmRSS");
    let (resident, _) = log.subject.engine.entities();
    let ((), flood_time) = timed(|| log.play(filled, filled + flood, |number| Some(SPOOFED_FROM + (number - filled))));
    let after = process_bytes("VmRSS");
    let (resident_after, evicted) = log.subject.engine.entities();
    let with_flood = log.probe(filled + flood, &group);

    // The same entities without a flood: their states depend on nobody else's events, so an engine of only theirs tells.
    let mut alone = Subject::with(2 * control as usize, scorer).map_err(said)?;
    let mut log = Log { subject: &mut alone, traffic: &traffic, payloads: Payloads::default(), arena: Bump::new() };
    let of_group = |source: u64| source.is_multiple_of(step) && source / step < control;
    log.play(0, filled, |number| Some(number % entities).filter(|source| of_group(*source)));
    let survivors = survivors(&with_flood, &log.probe(filled + flood, &group));

    let growth = after as f64 / bytes as f64 - 1.0;
    println!("{}; allocator: {}", support::machine(), support::ALLOCATOR_NAME);
    println!("{} network of rows in use", if with_network { "with a" } else { "without a" });
    println!("{EVENTS_EACH} events of each of {entities} entities, then {flood} spoofed sources with one event each");
    println!("\n{:<44} {:>16}", "resident memory of the process", "bytes");
    println!("{:<44} {before:>16}", "before, with models");
    println!("{:<44} {bytes:>16}", format!("with {resident} entities"));
    println!("{:<44} {:>16.1}", "  an entity", bytes as f64 / resident as f64);
    println!("{:<44} {after:>16}", format!("after the flood, {resident_after} entities"));
    println!("{:<44} {:>15.2}%", "  growth", 100.0 * growth);
    println!("{:<44} {evicted:>16}", "evicted");
    println!("{:<44} {:>16.0}", "nanoseconds an event while filling", fill_time.as_nanos() as f64 / filled as f64);
    println!("{:<44} {:>16.0}", "nanoseconds an event in the flood", flood_time.as_nanos() as f64 / flood.max(1) as f64);
    println!("(both include making the events up)");
    let Survivors { group, resident: still, same } = survivors;
    println!("\nof {group} established entities that were silent during the flood {still} are still resident, and {same} score the same");
    arguments.write_json(&json!({
        "network": with_network,
        "withoutNetwork": without,
        "entities": resident,
        "bytes": bytes,
        "bytesPerEntity": bytes as f64 / resident as f64,
        "bytesBefore": before,
        "spoofed": flood,
        "afterFloodEntities": resident_after,
        "afterFloodBytes": after,
        "survivors": {"of": group, "resident": still, "sameScore": same},
        "machine": support::machine(),
        "allocator": support::ALLOCATOR_NAME,
    }))?;
    Ok(verdict(resident as u64 == entities, bytes, growth, &survivors))
}

fn survivors<T: PartialEq>(with: &[(bool, T, u32)], without: &[(bool, T, u32)]) -> Survivors {
    let resident = with.iter().filter(|probe| probe.0).count();
    let same = with.iter().zip(without).filter(|(with, without)| with.0 && (&with.1, with.2) == (&without.1, without.2)).count();
    Survivors { group: with.len(), resident, same }
}

fn verdict(all_fit: bool, bytes: u64, growth: f64, survivors: &Survivors) -> bool {
    let bars = [
        (all_fit, "not all entities are resident"),
        (bytes <= BYTES_MAX, "more than 1 GiB"),
        (growth <= GROWTH_MAX, "memory grew under the flood"),
        (survivors.resident as f64 >= SURVIVORS_MIN * survivors.group as f64, "established entities were displaced"),
        (survivors.same == survivors.resident, "the flood changed scores"),
    ];
    println!();
    for (_, problem) in bars.iter().filter(|(holds, _)| !holds) {
        println!("MISSED: {problem}");
    }
    let holds = bars.iter().all(|(holds, _)| *holds);
    if holds {
        println!(
            "all bars hold: {BYTES_MAX} bytes, {:.0} % growth, {:.0} % of established entities",
            100.0 * GROWTH_MAX,
            100.0 * SURVIVORS_MIN
        );
    }
    holds
}

/// Models learned from a small crowd of the same kind, in two passes where a network is among them, as `threatguard train` does.
fn learn(with_network: bool, into: &Path) -> Result<(), String> {
    let mut subject = Subject::new(10_000).map_err(said)?;
    let mut traffic = Traffic::new(1, 2_000, Keys::Uniform);
    let (mut payloads, mut arena) = (Payloads::default(), Bump::new());
    let mut models = Fitted::default();
    if with_network {
        let mut sample = Sample::of(subject.settings.features);
        for _ in 0..LEARNED_BATCHES {
            traffic.fill(4_096, &mut payloads);
            arena.reset();
            subject.process_and_sample(&payloads.records(), &arena, &mut sample);
        }
        models = sample.fit(1, subject.settings.learning.seed, &mut |_, _, _| Ok(())).map_err(said)?;
        subject.engine.set_scorer(subject.scorer_of(&models));
    }
    let mut trainer = subject.trainer().with_models(models);
    for _ in 0..LEARNED_BATCHES {
        traffic.fill(4_096, &mut payloads);
        arena.reset();
        subject.process_and_learn(&payloads.records(), &arena, &mut trainer);
    }
    for (name, bytes) in trainer.finish().map_err(said)?.to_files() {
        std::fs::write(into.join(name), bytes).map_err(|error| format!("cannot keep the models: {error}"))?;
    }
    Ok(())
}

/// What another process has learned.
fn learned(with_network: bool) -> Result<Arc<Scorer>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for the models: {error}"))?;
    let network = if with_network { "with" } else { "without" };
    let into = folder.path().to_string_lossy();
    let status = again([("network", network), ("learn-into", &*into)].into_iter())?;
    if !status.success() {
        return Err(format!("learning ended with {status}"));
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).map_err(|error| Error::config(format!("{name}: {error}")));
    let bundle = Bundle::from_files(read).map_err(said)?;
    if bundle.lstm.is_some() != with_network {
        return Err("there were too few rows to fit a network to".to_owned());
    }
    Ok(Subject::new(1).map_err(said)?.scorer_with(&bundle))
}

fn said(error: Error) -> String {
    error.to_string()
}
