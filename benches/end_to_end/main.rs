//! What the whole pipeline costs on a real Kafka and a real Redis on this machine, beside a bare copy of the same records.
//!
//!     cargo bench --bench end_to_end -- --json end_to_end.json
//!     cargo bench --bench end_to_end -- --events 500000 --rounds 1 --brokers 127.0.0.1:9092 --redis redis://127.0.0.1:6379/0
//!
//! The variants take turns, so that whatever else the machine does meets all of them; ratios count, not figures of two runs.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is what a bench is for.

mod copy;
mod paced;
mod services;
mod streaming;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use streaming::{Case, PARTITIONS, Ready};
use support::{Arguments, Spread};
use threatguard::config::service::Verdicts;
use threatguard::edge::clock;
use threatguard::run::summary::{Percentiles, Summary};
use threatguard::run::telemetry::Metrics;

use crate::paced::Paced;
use crate::services::Services;
use crate::traffic::Traffic;

/// The four variants: name in the JSON, what it is, verdicts, least ratio to the copy.
const VARIANTS: [(&str, &str, Option<Verdicts>, Option<f64>); 4] = [
    ("copy", "bare librdkafka copy, 1:1, nothing parsed", None, None),
    ("verdictsJson", "pipeline, a JSON verdict for every event", Some(Verdicts::Json), Some(0.6)),
    ("threatsOnly", "pipeline, threats only", Some(Verdicts::None), Some(1.2)),
    ("verdictsArrow", "pipeline, every verdict, packed as Arrow", Some(Verdicts::Arrow), Some(0.9)),
];
/// Read before the paced events come.
const FIRST_EVENTS: u64 = 1_000;
const P99_MICROS_MAX: u64 = 10_000;
/// Of `reference/delivery.md` 5: the same kind of events, one z-score, one JSON verdict each.
const PEERS: [(&str, f64, &str); 2] = [("Flink 2.1.1", 447_000.0, "2.8-5.4"), ("Kafka Streams 4.1.1", 291_000.0, "5.0-6.3")];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("end_to_end: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let defaults = [
        ("brokers", ""),
        ("redis", ""),
        ("events", "24000000"),
        ("sources", "100000"),
        ("rounds", "3"),
        ("warm-up-rounds", "2"),
        ("shards", "0"),
        ("linger-ms", "5"),
        ("delivery", "exactly_once"),
        ("commit-interval-ms", "50"),
        ("latency-linger-ms", "1"),
        ("latency-seconds", "15"),
        ("warm-up-seconds", "30"),
        ("rate", "0"),
        ("only", ""),
        ("explain", "no"),
        ("json", ""),
    ];
    let arguments = Arguments::read(&defaults)?;
    let services = Services::open(arguments.text("brokers"), arguments.text("redis"))?;
    let result = Bench::new(&arguments, &services).and_then(|bench| bench.all());
    let closed = services.close();
    result.and(closed)
}

/// One figure of one run.
#[derive(Clone, Copy, Default)]
struct Run {
    events_per_second: f64,
    cpu_seconds_per_million: f64,
    /// Of everything that runs on this machine: the broker's too, where it is one of those.
    machine_seconds_per_million: f64,
}

struct Bench<'b> {
    arguments: &'b Arguments,
    services: &'b Services,
    ready: Ready,
    traffic: Traffic,
    events: u64,
    stem: String,
}

fn text(error: threatguard::error::Error) -> String {
    error.to_string()
}

impl<'b> Bench<'b> {
    fn new(arguments: &'b Arguments, services: &'b Services) -> Result<Self, String> {
        // As the pipeline has it: the copy runs first.
        threatguard::native::keep_freed_for(threatguard::run::stream::MEMORY_KEPT);
        let traffic = Traffic { seed: 1, sources: arguments.number("sources")?.max(1), attacks: true };
        eprintln!("training the models");
        let ready = streaming::train(traffic.seed).map_err(text)?;
        let stem = format!("bench-{}-{}", std::process::id(), clock::wall().0);
        Ok(Self { arguments, services, ready, traffic, events: arguments.number("events")?.max(1), stem })
    }

    fn all(&self) -> Result<(), String> {
        println!("{}; allocator: {}", support::machine(), support::ALLOCATOR_NAME);
        let input = format!("{}-input", self.stem);
        streaming::make_topic(self.services, &input).map_err(text)?;
        let begun = clock::now();
        let (events, bytes) = streaming::fill(self.services, &input, self.traffic, 0..self.events).map_err(text)?;
        println!(
            "{events} events of {} bytes on average, {} sources, {PARTITIONS} partitions, lz4; filled in {:.1} s",
            bytes / events.max(1),
            self.traffic.sources,
            begun.elapsed().as_secs_f64()
        );
        let mut runs = [const { Vec::new() }; VARIANTS.len()];
        let mut last = None;
        // The first rounds warm up: a broker that has just started compiles itself on the cores that are measured, and until it has
        // it takes more than a second of them for a million events, later a third of that.
        let warm_up = self.arguments.number("warm-up-rounds")?;
        for round in 0..warm_up + self.arguments.number("rounds")?.max(1) {
            for (index, (name, _, verdicts, _)) in VARIANTS.iter().enumerate() {
                let only = self.arguments.text("only");
                if !only.is_empty() && !only.split(',').any(|wanted| wanted == *name) {
                    continue;
                }
                let run = self.once(&input, name, round, *verdicts, &mut last)?;
                let is_counted = round >= warm_up;
                eprintln!(
                    "round {}{}: {name}: {:.0} events/s, {:.2} CPU s per million, {:.2} with the broker and all else",
                    round + 1,
                    if is_counted { "" } else { " (warm-up)" },
                    run.events_per_second,
                    run.cpu_seconds_per_million,
                    run.machine_seconds_per_million
                );
                if is_counted {
                    runs[index].push(run);
                }
            }
        }
        self.services.delete_topics(&[&input])?;
        let medians = table(&runs, last.as_ref());
        let given = self.arguments.number("rate")? as f64;
        let (rate, why) = if given > 0.0 {
            (given, "as told")
        } else {
            (medians[1].events_per_second / 2.0, "half of what a JSON verdict for every event allows")
        };
        let latency = if rate > 0.0 { self.latency(rate, why)? } else { Percentiles::default() };
        self.write(&medians, latency)
    }

    fn once(&self, input: &str, name: &str, round: u64, verdicts: Option<Verdicts>, last: &mut Option<Summary>) -> Result<Run, String> {
        let run = format!("{}-{name}-{round}", self.stem);
        self.services.settle()?;
        let before = (cpu_seconds(), machine_seconds());
        let Some(verdicts) = verdicts else {
            let to = format!("{run}-copy");
            streaming::make_topic(self.services, &to).map_err(text)?;
            let elapsed = copy::copy(&self.services.kafka, input, &to, &run, PARTITIONS, self.events)?;
            let run = self.figures(elapsed, before);
            self.services.delete_topics(&[&to])?;
            return Ok(run);
        };
        let case = Case {
            input,
            name: &run,
            verdicts,
            linger_ms: self.arguments.number("linger-ms")?,
            exactly_once: self.arguments.text("delivery") != "at_least_once",
            commit_interval: Duration::from_millis(self.arguments.number("commit-interval-ms")?),
            shards: self.shards()?,
            explain: self.arguments.text("explain") == "yes",
            metrics: Arc::new(Metrics::new()),
            stop: None,
        };
        let summary = self.ready.run(self.services, &case).map_err(text)?;
        let figures = self.figures(Duration::from_secs_f64(summary.elapsed_seconds), before);
        self.ready.tidy(self.services, &run)?;
        if summary.received != self.events {
            return Err(format!("{name}: {} events were received, {} written", summary.received, self.events));
        }
        *last = Some(summary);
        Ok(figures)
    }

    /// One a core unless said otherwise, as in the service.
    fn shards(&self) -> Result<usize, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Some(self.arguments.number("shards")? as usize).filter(|shards| *shards > 0).unwrap_or(cores))
    }

    fn figures(&self, elapsed: Duration, (cpu, machine): (f64, f64)) -> Run {
        let millions = self.events as f64 / 1e6;
        Run {
            events_per_second: self.events as f64 / elapsed.as_secs_f64(),
            cpu_seconds_per_million: (cpu_seconds() - cpu) / millions,
            machine_seconds_per_million: (machine_seconds() - machine) / millions,
        }
    }

    /// From a record read to its outputs delivered, while events arrive at an even pace. What comes first meets states that are being
    /// made, buffers that are growing and a broker that compiles itself anew for this load; it is run through but not counted.
    fn latency(&self, rate: f64, why: &str) -> Result<Percentiles, String> {
        let (seconds, warm_up) = (self.arguments.number("latency-seconds")?, self.arguments.number("warm-up-seconds")?);
        let linger_ms = self.arguments.number("latency-linger-ms")?;
        let (input, run) = (format!("{}-paced", self.stem), format!("{}-latency", self.stem));
        streaming::make_topic(self.services, &input).map_err(text)?;
        self.services.settle()?;
        let (stop, metrics) = (Arc::new(AtomicBool::new(false)), Arc::new(Metrics::new()));
        let case = Case {
            input: &input,
            name: &run,
            verdicts: Verdicts::Json,
            linger_ms,
            // Under transactions an output shows when it is committed: benches/delivery.rs measures that.
            exactly_once: false,
            commit_interval: Duration::from_millis(50),
            shards: self.shards()?,
            explain: self.arguments.text("explain") == "yes",
            metrics: Arc::clone(&metrics),
            stop: Some(Arc::clone(&stop)),
        };
        let counted = Arc::clone(&metrics);
        let count = (rate * (warm_up + seconds) as f64) as u64;
        let numbers = FIRST_EVENTS..FIRST_EVENTS + count;
        eprintln!("encoding the load");
        let load = Paced::encode(self.traffic, numbers, rate, &input, PARTITIONS)?;
        let (summary, warm) = std::thread::scope(|scope| {
            let (load, input, end) = (&load, &input, Arc::clone(&stop));
            let (traffic, services) = (self.traffic, self.services);
            let producer = scope.spawn(move || {
                // Until the group has formed nothing is read: what piled up meanwhile would be measured as a burst.
                let first = streaming::fill(services, input, traffic, 0..FIRST_EVENTS);
                let ready = first.and_then(|_| streaming::wait_for(&metrics, FIRST_EVENTS, &end)).map_err(text);
                let warm = scope.spawn(move || {
                    std::thread::sleep(Duration::from_secs(warm_up));
                    metrics.latencies()
                });
                let sent = ready.and_then(|()| load.send(services, &end));
                std::thread::sleep(Duration::from_secs(1));
                end.store(true, Ordering::Relaxed);
                sent.map(|()| warm)
            });
            let summary = self.ready.run(self.services, &case);
            stop.store(true, Ordering::Relaxed);
            let warm = producer.join().map_err(|_| "the paced producer panicked".to_owned())??;
            let warm = warm.join().map_err(|_| "taking the latencies panicked".to_owned())?;
            summary.map_err(text).map(|summary| (summary, warm))
        })?;
        self.services.delete_topics(&[&input])?;
        self.ready.tidy(self.services, &run)?;
        if summary.received != FIRST_EVENTS + load.len() {
            return Err(format!("{} of {} paced events were received", summary.received, FIRST_EVENTS + load.len()));
        }
        let latency = counted.latencies().since(&warm).percentiles();
        println!();
        println!(
            "consume to publish at {rate:.0} events/s ({why}), linger.ms={linger_ms}, {} events in {} s, of which the first {warm_up} s are warm-up and not counted (with them p99 {:.2} ms):",
            summary.received,
            warm_up + seconds,
            summary.latency_micros.p99 as f64 / 1e3
        );
        let met = if latency.p99 < P99_MICROS_MAX { "met" } else { "MISSED" };
        println!(
            "  p50 {:.2} ms, p99 {:.2} ms (bar: under 10 ms, {met}), p99.9 {:.2} ms, max {:.2} ms",
            latency.p50 as f64 / 1e3,
            latency.p99 as f64 / 1e3,
            latency.p999 as f64 / 1e3,
            latency.max as f64 / 1e3
        );
        Ok(latency)
    }

    fn write(&self, medians: &[Run; VARIANTS.len()], latency: Percentiles) -> Result<(), String> {
        let figure = |run: &Run| json!({ "eventsPerSecond": run.events_per_second, "cpuSecondsPerMillion": run.cpu_seconds_per_million });
        let mut figures: serde_json::Map<_, _> =
            VARIANTS.iter().zip(medians).map(|(variant, run)| (variant.0.to_owned(), figure(run))).collect();
        figures.insert("latencyMicros".to_owned(), json!({ "p50": latency.p50, "p99": latency.p99, "p999": latency.p999 }));
        self.arguments.write_json(&figures.into())
    }
}

fn table(runs: &[Vec<Run>; VARIANTS.len()], last: Option<&Summary>) -> [Run; VARIANTS.len()] {
    if let Some(summary) = last {
        let share = 100.0 * summary.threats as f64 / summary.received.max(1) as f64;
        println!("{} threats ({share:.2} % of the events), {} alerts", summary.threats, summary.alerts);
        println!("{} scored, {} late, {} dead-lettered", summary.scored, summary.late, summary.dead_lettered);
    }
    println!();
    println!("{:<44} {:>10} {:>19} {:>7} {:>14} {:>8}", "medians", "events/s", "range", "ratio", "bar", "CPU s/M");
    let medians = runs.each_ref().map(|runs| median(runs));
    let copies = &runs[0];
    for (((_, what, _, bar), median), runs) in VARIANTS.iter().zip(&medians).zip(runs) {
        let rates = || runs.iter().map(|run| run.events_per_second);
        let range = format!("{:.0}-{:.0}", rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let ratio = ratio(runs, copies);
        let bar = bar.map_or(String::new(), |bar| format!(">= {bar} {}", if ratio >= bar { "met" } else { "MISSED" }));
        println!(
            "{what:<44} {:>10.0} {range:>19} {ratio:>7.2} {bar:>14} {:>8.2}",
            median.events_per_second, median.cpu_seconds_per_million
        );
    }
    for (name, peer, cpu) in PEERS {
        let ahead = if medians[1].events_per_second > peer { "behind the JSON verdicts" } else { "AHEAD of the JSON verdicts" };
        println!("{:<44} {peer:>10.0} {:>19} {:>7} {ahead:>14} {cpu:>8}", format!("{name}, z-score, JSON verdict (quoted)"), "", "");
    }
    println!("The quoted figures were measured by others on another machine state; a comparison needs a quiet machine.");
    medians
}

/// Median of the ratios to the copy of the same round: what the machine is worth changes from minute to minute.
fn ratio(runs: &[Run], copies: &[Run]) -> f64 {
    Spread::of(runs.iter().zip(copies).map(|(run, copy)| run.events_per_second / copy.events_per_second).collect()).median
}

fn median(runs: &[Run]) -> Run {
    let middle = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure).collect()).median;
    Run {
        events_per_second: middle(|run| run.events_per_second),
        cpu_seconds_per_million: middle(|run| run.cpu_seconds_per_million),
        machine_seconds_per_million: middle(|run| run.machine_seconds_per_million),
    }
}

/// Linux reports in this unit on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of this process with all its threads.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; user and system time are the 12th and 13th figure after it.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = |index: usize| after.split_whitespace().nth(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// Time that all cores together were not idle.
fn machine_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    // User, nice, system, idle, waiting for disks, interrupts, soft interrupts.
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(7).enumerate();
    let busy = ticks.filter(|(index, _)| !matches!(index, 3 | 4)).filter_map(|(_, ticks)| ticks.parse::<f64>().ok());
    busy.sum::<f64>() / TICKS_PER_SECOND
}
