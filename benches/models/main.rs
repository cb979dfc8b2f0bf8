//! What a row costs in each learned model and an event in all of them, on one core, beside the usual libraries on the same rows.
//!
//!     python3 benches/models/peers.py set-up           # once: scikit-learn, XGBoost and ONNX Runtime, in the user's cache
//!     cargo bench --no-default-features --bench models -- --json models.json
//!
//! All take turns in short rounds, so that a neighbour's noise meets each of them; the best round counts. Without Python or its
//! packages the libraries are left out, and it says so.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is what a bench is for.

mod kernels;
mod peers;
#[path = "../support/mod.rs"]
mod support;
mod whole;

use std::collections::BTreeMap;
use std::process::ExitCode;

use kernels::Kernels;
use peers::Peers;
use serde_json::{Value, json};
use support::{Arguments, Spread};
use whole::Whole;

/// What a row may cost, ns: by the name of a figure.
const BARS: [(&str, f64); 4] =
    [("isolation_forest", 400.0), ("boosted_trees", 120.0), ("lstm_autoencoder", 160.0), ("all_models", 1_200.0)];

/// Nanoseconds a row or event, one figure a round.
#[derive(Default)]
pub struct Figures(BTreeMap<String, Vec<f64>>);

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, nanos: f64) {
        self.0.entry(name.into()).or_default().push(nanos);
    }
    fn spread(&self, name: &str) -> Option<Spread> {
        self.0.get(name).map(|figures| Spread::of(figures.clone()))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("models: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let defaults = [("rounds", "40"), ("peer-rounds", "8"), ("entities", "100000"), ("python", ""), ("json", "")];
    let arguments = Arguments::read(&defaults)?;
    let (rounds, peer_rounds) = (arguments.number("rounds")?.max(1), arguments.number("peer-rounds")?);
    println!("{}; allocator: {}", support::machine(), support::ALLOCATOR_NAME);
    let mut whole = Whole::learned(arguments.number("entities")?.max(1_000))?;
    let mut kernels = Kernels::of(&mut whole)?;
    let mut peers = if peer_rounds > 0 { Peers::start(arguments.text("python"), kernels.rows(), kernels.labels()) } else { None };
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for round in 0..rounds {
        kernels.round(&mut ours)?;
        whole.round(&mut ours);
        let turn = round * peer_rounds / rounds != (round + 1) * peer_rounds / rounds;
        if let Some(peers) = peers.as_mut().filter(|_| turn) {
            peers.round(&mut theirs)?;
        }
    }
    println!("best of {rounds} rounds; ns a row or event\n");
    report(&ours);
    let compared = compare(&ours, &theirs, peers.as_ref());
    println!(
        "\ndigest of all margins, path sums and errors, the same on every machine and kernel in as many rounds: {:016x}",
        kernels.digest()
    );
    let figures: BTreeMap<&str, Value> = ours.0.keys().map(|name| (name.as_str(), figure(&ours, name))).collect();
    arguments.write_json(&json!({ "machine": support::machine(), "nanos": figures, "compared": compared }))
}

fn figure(figures: &Figures, name: &str) -> Value {
    let Spread { median, best } = figures.spread(name).unwrap_or_default();
    json!({ "best": best, "median": median })
}

fn report(ours: &Figures) {
    println!("{:<58} {:>8} {:>8}", "ours", "best", "median");
    for name in ours.0.keys() {
        let Spread { median, best } = ours.spread(name).unwrap_or_default();
        println!("{name:<58} {best:>8.1} {median:>8.1}");
    }
}

/// Each bar, what we need of it, and the library's time for the same rows.
fn compare(ours: &Figures, theirs: &Figures, peers: Option<&Peers>) -> Value {
    println!("\n{:<20} {:>8} {:>8} {:>8}   {:<22} {:>10} {:>14}", "against the bar", "best", "bar", "", "library", "best", "times faster");
    let mut lines = serde_json::Map::new();
    for (name, bar) in BARS {
        let best = ours.spread(name).unwrap_or_default().best;
        let judged = if best <= bar { "within" } else { "ABOVE" };
        // All models at once have no library; the sum of the three is what a pipeline of them would need.
        let sum = || -> Option<f64> { BARS[..3].iter().map(|(name, _)| Some(theirs.spread(name)?.best)).sum() };
        let their_best = if name == "all_models" { sum() } else { theirs.spread(name).map(|spread| spread.best) };
        let library = peers.map_or("skipped", |peers| peers.library(name));
        let (shown, ratio) =
            their_best.map_or((String::new(), String::new()), |theirs| (format!("{theirs:.1}"), format!("{:.1}", theirs / best)));
        println!("{name:<20} {best:>8.1} {bar:>8.0} {judged:>8}   {library:<22} {shown:>10} {ratio:>14}");
        let ratio = their_best.map(|theirs| theirs / best);
        let line =
            json!({ "best": best, "bar": bar, "within": best <= bar, "library": library, "libraryBest": their_best, "timesFaster": ratio });
        lines.insert(name.to_owned(), line);
    }
    Value::Object(lines)
}
