//! What the benches share: arguments, the clock, figures, a machine's description, made-up traffic, a trained engine.
//!
//! Must never do work inside a measured stretch that the pipeline would not do there.
#![allow(dead_code)] // Each bench uses a part of it.

pub mod subject;
pub mod traffic;

use std::collections::BTreeMap;
use std::time::Duration;

/// The allocator of the `threatguard` binary; without the `app` feature the benches have the system's.
#[cfg(feature = "app")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
pub const ALLOCATOR_NAME: &str = if cfg!(feature = "app") { "mimalloc, as in the binary" } else { "the system's" };

/// `--name value` arguments over defaults.
pub struct Arguments(BTreeMap<&'static str, String>);

impl Arguments {
    /// Reads the process's arguments; the error is for the person who called.
    pub fn read(defaults: &[(&'static str, &str)]) -> Result<Self, String> {
        let mut values: BTreeMap<_, _> = defaults.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        // Cargo adds `--bench` to the arguments of every bench.
        let mut given = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = given.next() {
            let known = argument.strip_prefix("--").and_then(|name| values.iter_mut().find(|(known, _)| **known == name));
            let names = || defaults.iter().map(|(name, value)| format!("--{name} [{value}]")).collect::<Vec<_>>().join(", ");
            let (name, value) = known.ok_or_else(|| format!("'{argument}' is not known; there are {}", names()))?;
            *value = given.next().ok_or_else(|| format!("--{name} wants a value"))?;
        }
        Ok(Self(values))
    }
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
    pub fn number(&self, name: &str) -> Result<u64, String> {
        let text = self.text(name).replace('_', "");
        text.parse().map_err(|_| format!("--{name} wants a whole number, not '{text}'"))
    }
    /// Writes the figures to the file of `--json`, if there is one.
    pub fn write_json(&self, figures: &serde_json::Value) -> Result<(), String> {
        let path = self.text("json");
        if path.is_empty() {
            return Ok(());
        }
        std::fs::write(path, format!("{figures:#}\n")).map_err(|error| format!("cannot write {path}: {error}"))
    }
}

/// How long `work` takes.
#[allow(clippy::disallowed_methods)] // Measuring is what a bench is for.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Median and smallest of a few figures.
#[derive(Clone, Copy, Default)]
pub struct Spread {
    pub median: f64,
    pub best: f64,
}

impl Spread {
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(0.0);
        // Of an even number of figures the mean of the two in the middle.
        let median = f64::midpoint(at(figures.len().saturating_sub(1) / 2), at(figures.len() / 2));
        Self { median, best: figures.first().copied().unwrap_or(0.0) }
    }
}

/// The processor's name, and how many of it there are.
pub fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

/// A line of `/proc/self/status` in bytes; 0 where there is no such file.
pub fn process_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
