//! What delivering exactly once costs beside delivering at least once, on a real Kafka and a real Redis on this machine.
//!
//!     cargo bench --bench delivery -- --json delivery.json
//!     cargo bench --bench delivery -- --events 500000 --rounds 1 --intervals 20,100
//!
//! The two take turns; ratios count, not figures of two runs. Readers are `read_committed` ones.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is what a bench is for.

#[path = "../end_to_end/paced.rs"]
mod paced;
#[path = "../end_to_end/services.rs"]
mod services;
#[path = "../end_to_end/streaming.rs"]
mod streaming;
mod subscriber;
#[path = "../support/mod.rs"]
mod support;
#[path = "../end_to_end/traffic.rs"]
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
use crate::subscriber::{Subscriber, WARM_UP};
use crate::traffic::Traffic;

const RATIO_MIN: f64 = 0.95;
const REPLAY_GOAL: f64 = 3.0;
const P99_MICROS_MAX: u64 = 100_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("delivery: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let defaults = [
        ("brokers", ""),
        ("redis", ""),
        ("events", "12000000"),
        ("sources", "100000"),
        ("rounds", "3"),
        ("warm-up-rounds", "1"),
        ("shards", "0"),
        ("commit-interval-ms", "50"),
        ("intervals", "20,50,100,250"),
        ("latency-seconds", "15"),
        ("rate", "0"),
        ("json", ""),
    ];
    let arguments = Arguments::read(&defaults)?;
    let services = Services::open(arguments.text("brokers"), arguments.text("redis"))?;
    let result = Bench::new(&arguments, &services).and_then(|bench| bench.all());
    let closed = services.close();
    result.and(closed)
}

struct Bench<'b> {
    arguments: &'b Arguments,
    services: &'b Services,
    ready: Ready,
    traffic: Traffic,
    events: u64,
    stem: String,
    /// Of what is written and read as fast as it goes.
    input: String,
}

fn text(error: threatguard::error::Error) -> String {
    error.to_string()
}

impl<'b> Bench<'b> {
    fn new(arguments: &'b Arguments, services: &'b Services) -> Result<Self, String> {
        let traffic = Traffic { seed: 1, sources: arguments.number("sources")?.max(1), attacks: true };
        eprintln!("training the models");
        let ready = streaming::train(traffic.seed).map_err(text)?;
        let stem = format!("delivery-{}-{}", std::process::id(), clock::wall().0);
        let input = format!("{stem}-input");
        Ok(Self { arguments, services, ready, traffic, events: arguments.number("events")?.max(1), stem, input })
    }

    fn all(&self) -> Result<(), String> {
        println!("{}; allocator: {}", support::machine(), support::ALLOCATOR_NAME);
        streaming::make_topic(self.services, &self.input).map_err(text)?;
        streaming::fill(self.services, &self.input, self.traffic, 0..self.events).map_err(text)?;
        let (mut least, mut exact, mut bytes) = (vec![], vec![], vec![]);
        // The first rounds warm up: a broker that has just started compiles itself on the cores that are measured.
        let warm_up = self.arguments.number("warm-up-rounds")?;
        for round in 0..warm_up + self.arguments.number("rounds")?.max(1) {
            let is_counted = round >= warm_up;
            for (name, exactly_once, rates) in [("at-least-once", false, &mut least), ("exactly-once", true, &mut exact)] {
                let before = self.services.redis_bytes()?;
                let run = format!("{}-{name}-{round}", self.stem);
                let summary = self.once(&run, exactly_once, Verdicts::Json)?;
                let sent = self.services.redis_bytes()? - before;
                self.ready.tidy(self.services, &run)?;
                let said = if is_counted { "" } else { " (warm-up)" };
                eprintln!("round {}{said}: {name}: {:.0} events/s", round + 1, summary.events_per_second);
                if is_counted {
                    rates.push(summary.events_per_second);
                    bytes.push(sent as f64 * 1e6 / self.events as f64);
                }
            }
        }
        // Of the same round: what the machine is worth changes from minute to minute.
        let ratio = Spread::of(exact.iter().zip(&least).map(|(exact, least)| exact / least).collect()).median;
        let (least, exact, bytes) = (Spread::of(least).median, Spread::of(exact).median, Spread::of(bytes).median);
        println!();
        println!("a JSON verdict for every event, {} events, medians", self.events);
        println!("  at least once  {least:>10.0} events/s");
        let met = |fine: bool| if fine { "met" } else { "MISSED" };
        println!("  exactly once   {exact:>10.0} events/s, ratio {:.2} (bar {RATIO_MIN}: {})", ratio, met(ratio >= RATIO_MIN));
        println!("  checkpoints    {bytes:>10.0} bytes to Redis per million events");
        let replays: Vec<f64> = (0..self.arguments.number("rounds")?.max(1)).map(|round| self.replay(round)).collect::<Result<_, _>>()?;
        let replay = Spread::of(replays).median;
        println!("  replay         {replay:>10.2} times normal speed (goal {REPLAY_GOAL}: {})", met(replay >= REPLAY_GOAL));
        let rate = match self.arguments.number("rate")? {
            0 => exact / 2.0,
            rate => rate as f64,
        };
        let latencies = self.latencies(rate)?;
        self.services.delete_topics(&[&self.input])?;
        self.arguments.write_json(&json!({
            "atLeastOnce": { "eventsPerSecond": least },
            "exactlyOnce": { "eventsPerSecond": exact },
            "commitIntervals": latencies,
            "replaySpeed": replay,
            "checkpointBytesPerMillion": bytes,
        }))
    }

    fn case<'c>(&self, input: &'c str, name: &'c str, exactly_once: bool, verdicts: Verdicts) -> Result<Case<'c>, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = self.arguments.number("shards")? as usize;
        Ok(Case {
            input,
            name,
            verdicts,
            linger_ms: 5,
            exactly_once,
            commit_interval: Duration::from_millis(self.arguments.number("commit-interval-ms")?),
            shards: if shards == 0 { cores } else { shards },
            explain: false,
            metrics: Arc::new(Metrics::new()),
            stop: None,
        })
    }

    fn once(&self, run: &str, exactly_once: bool, verdicts: Verdicts) -> Result<Summary, String> {
        self.services.settle()?;
        let summary = self.ready.run(self.services, &self.case(&self.input, run, exactly_once, verdicts)?).map_err(text)?;
        if summary.received != self.events {
            return Err(format!("{run}: {} events were received, {} written", summary.received, self.events));
        }
        Ok(summary)
    }

    /// How much faster the states of a log are made anew than the log was worked on, with the same outputs in both.
    fn replay(&self, round: u64) -> Result<f64, String> {
        let run = format!("{}-replay-{round}", self.stem);
        let first = self.once(&run, true, Verdicts::Json)?;
        // Everything is committed and nothing is stored: all of it is replayed.
        self.services.delete_states(self.ready.pipeline_name())?;
        self.services.settle()?;
        let again = self.ready.run(self.services, &self.case(&self.input, &run, true, Verdicts::Json)?).map_err(text)?;
        self.ready.tidy(self.services, &run)?;
        if again.received != 0 {
            return Err(format!("{} events were scored again in a replay", again.received));
        }
        let (first, again) = (first.elapsed_seconds, again.elapsed_seconds);
        eprintln!("replay {}: the same {} events worked on in {first:.2} s, replayed in {again:.2} s", round + 1, self.events);
        Ok(first / again)
    }

    fn latencies(&self, rate: f64) -> Result<serde_json::Value, String> {
        println!();
        println!("from writing an event to its verdict at a read_committed reader, {rate:.0} events/s");
        let mut all = serde_json::Map::new();
        let millis = |text: &str| text.trim().parse::<u64>().map_err(|_| format!("--intervals wants numbers, not '{text}'"));
        let mut intervals: Vec<u64> = self.arguments.text("intervals").split(',').map(millis).collect::<Result<_, _>>()?;
        // The most work for the broker last, when it has compiled itself.
        intervals.sort_unstable_by(|a, b| b.cmp(a));
        for millis in intervals {
            let Percentiles { p50, p99, .. } = self.latency(rate, Duration::from_millis(millis))?;
            let bar = match millis {
                20 if p99 < P99_MICROS_MAX => " (bar: under 100 ms, met)",
                20 => " (bar: under 100 ms, MISSED)",
                _ => "",
            };
            println!("  commit interval {millis:>3} ms: p50 {:>6.1} ms, p99 {:>6.1} ms{bar}", p50 as f64 / 1e3, p99 as f64 / 1e3);
            all.insert(millis.to_string(), json!({ "p50": p50, "p99": p99 }));
        }
        Ok(all.into())
    }

    fn latency(&self, rate: f64, interval: Duration) -> Result<Percentiles, String> {
        let seconds = self.arguments.number("latency-seconds")?;
        let run = format!("{}-latency-{}", self.stem, interval.as_millis());
        let input = format!("{run}-paced");
        streaming::make_topic(self.services, &input).map_err(text)?;
        let count = (rate * (WARM_UP.as_secs() + seconds) as f64) as u64;
        let (stop, load) = (Arc::new(AtomicBool::new(false)), Paced::encode(self.traffic, 0..count, rate, &input, PARTITIONS)?);
        self.services.settle()?;
        let mut case = self.case(&input, &run, true, Verdicts::Json)?;
        (case.commit_interval, case.linger_ms, case.stop) = (interval, 1, Some(Arc::clone(&stop)));
        let latencies = std::thread::scope(|scope| {
            let end = Arc::clone(&stop);
            let (services, load, run) = (self.services, &load, &run);
            let paced = scope.spawn(move || {
                let subscriber = Subscriber::open(services, &format!("{run}-verdicts"));
                let sent = load.send(services, &end);
                let latencies = subscriber.and_then(|subscriber| subscriber.finish(load));
                end.store(true, Ordering::Relaxed);
                sent.and(latencies)
            });
            let summary = self.ready.run(self.services, &case);
            stop.store(true, Ordering::Relaxed);
            let latencies = paced.join().map_err(|_| "the paced producer panicked".to_owned())?;
            summary.map_err(text)?;
            latencies
        })?;
        self.services.delete_topics(&[&input])?;
        self.ready.tidy(self.services, &run)?;
        Ok(latencies)
    }
}
