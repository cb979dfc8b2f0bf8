//! ADFA-LD: system-call traces of ordinary programs to learn from, other ordinary ones and attacks to tell apart.
//!
//! The LSTM is trained on the 833 traces of the training folder alone, of which it holds one in ten out to end the training. Must never
//! let an attack trace into a training.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use threatguard::models::lstm_fit::{Settings, fit_symbols};

use crate::support::timed;
use crate::zip;

/// Published for this split: STIDE and the LSTM ensemble of Kim et al. 2016 (AUC).
const PUBLISHED: [(&str, f64); 2] = [("STIDE", 0.827), ("LSTM ensemble", 0.928)];

struct Traces {
    train: Vec<Vec<u32>>,
    ordinary: Vec<Vec<u32>>,
    /// Kind of attack and calls.
    attacks: Vec<(String, Vec<u32>)>,
    alphabet: usize,
}

/// Prints the comparison and gives the same figures; `null` without data.
pub fn report(seeds: u64, epochs: usize, threads: usize) -> Result<Value, String> {
    let Some(traces) = read() else {
        println!("ADFA-LD: skipped, there is no data folder with adfa-ld/ADFA-LD.zip (THREATGUARD_DATA)");
        return Ok(Value::Null);
    };
    println!(
        "ADFA-LD: {} traces to learn from, {} ordinary ones and {} attacks to tell apart; published: {PUBLISHED:?}",
        traces.train.len(),
        traces.ordinary.len(),
        traces.attacks.len()
    );
    let mut lines = vec![];
    for seed in 0..seeds {
        let (held_out, train): (Vec<_>, Vec<_>) = traces.train.iter().enumerate().partition(|(index, _)| index % 10 == 0);
        let plain = |list: Vec<(usize, &Vec<u32>)>| -> Vec<Vec<u32>> { list.into_iter().map(|(_, trace)| trace.clone()).collect() };
        let settings = Settings { epochs, threads, ..Settings::symbols() };
        let (network, took) = timed(|| fit_symbols(&plain(train), &plain(held_out), traces.alphabet, &settings, seed, &mut |_, _| Ok(())));
        let network = network.map_err(|error| error.to_string())?;
        println!("  LSTM, seed {seed}: fitted in {:.0} s on {threads} threads", took.as_secs_f64());
        lines.push(judged(&traces, &format!("LSTM, seed {seed}, mean -ln p"), |trace| {
            let surprises = network.surprises(trace);
            surprises.iter().map(|surprise| f64::from(*surprise)).sum::<f64>() / surprises.len().max(1) as f64
        }));
    }
    Ok(Value::Array(lines))
}

/// AUC and share of attacks found at a few false positive rates, of all and of each kind of attack.
fn judged(traces: &Traces, name: &str, score: impl Fn(&[u32]) -> f64) -> Value {
    let mut ordinary: Vec<f64> = traces.ordinary.iter().map(|trace| score(trace)).collect();
    ordinary.sort_by(f64::total_cmp);
    let mut kinds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (kind, trace) in &traces.attacks {
        let score = score(trace);
        kinds.entry("all").or_default().push(score);
        kinds.entry(kind).or_default().push(score);
    }
    let found = |at: f64| {
        let threshold = ordinary[(((1.0 - at) * ordinary.len() as f64) as usize).min(ordinary.len() - 1)];
        kinds["all"].iter().filter(|score| **score > threshold).count() as f64 / kinds["all"].len() as f64
    };
    let rates = [0.01, 0.05, 0.1].map(found);
    let areas: BTreeMap<&str, f64> = kinds.iter().map(|(kind, scores)| (*kind, area(&ordinary, scores))).collect();
    // Nearly half of the ordinary traces are copies of others.
    let mut distinct: Vec<f64> = traces.ordinary.iter().collect::<BTreeSet<_>>().into_iter().map(|trace| score(trace)).collect();
    distinct.sort_by(f64::total_cmp);
    let attacks: Vec<f64> =
        traces.attacks.iter().map(|(_, trace)| trace).collect::<BTreeSet<_>>().into_iter().map(|trace| score(trace)).collect();
    let once = area(&distinct, &attacks);
    let parts: Vec<String> = areas.iter().filter(|(kind, _)| **kind != "all").map(|(kind, area)| format!("{kind} {area:.3}")).collect();
    println!(
        "  {name}: AUC {:.4}, each trace once {once:.4}; found at 1, 5, 10 % false positives: {rates:.3?}; {}",
        areas["all"],
        parts.join(", ")
    );
    json!({ "name": name, "auc": areas, "aucEachTraceOnce": once, "tprAtFpr": { "0.01": rates[0], "0.05": rates[1], "0.1": rates[2] } })
}

/// How often an attack scores higher than an ordinary trace, ties counting half.
fn area(ordinary: &[f64], attacks: &[f64]) -> f64 {
    let wins = |score: &f64| (ordinary.partition_point(|o| o < score) + ordinary.partition_point(|o| o <= score)) as f64 / 2.0;
    attacks.iter().map(wins).sum::<f64>() / (ordinary.len() * attacks.len()) as f64
}

#[allow(clippy::disallowed_methods)] // A bench is told by its environment where the data are.
fn folder() -> PathBuf {
    std::env::var("THREATGUARD_DATA").map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from)
}

fn read() -> Option<Traces> {
    let members = zip::members(&std::fs::read(folder().join("adfa-ld/ADFA-LD.zip")).ok()?)?;
    let mut parts: BTreeMap<&str, Vec<(String, Vec<u32>)>> = BTreeMap::new();
    for (name, content) in &members {
        let path: Vec<&str> = name.split('/').collect();
        if let [_, part @ ("Training_Data_Master" | "Validation_Data_Master" | "Attack_Data_Master"), folders @ .., file] = path.as_slice()
            && file.ends_with(".txt")
        {
            let calls = String::from_utf8_lossy(content).split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
            let kind = folders.first().copied().unwrap_or_default();
            parts.entry(part).or_default().push((kind.trim_end_matches(|c: char| c == '_' || c.is_ascii_digit()).to_owned(), calls));
        }
    }
    let mut take = |part: &str| parts.remove(part).unwrap_or_default();
    let (train, ordinary, attacks) = (take("Training_Data_Master"), take("Validation_Data_Master"), take("Attack_Data_Master"));
    let known: BTreeSet<u32> = train.iter().flat_map(|(_, trace)| trace).copied().collect();
    // 0 stands for every call that training has not seen.
    let symbols: BTreeMap<u32, u32> = known.into_iter().zip(1..).collect();
    let translated = |trace: Vec<u32>| -> Vec<u32> { trace.iter().map(|call| symbols.get(call).copied().unwrap_or(0)).collect() };
    let plain = |list: Vec<(String, Vec<u32>)>| list.into_iter().map(|(_, trace)| translated(trace)).collect();
    Some(Traces {
        train: plain(train),
        ordinary: plain(ordinary),
        attacks: attacks.into_iter().map(|(kind, trace)| (kind, translated(trace))).collect(),
        alphabet: symbols.len() + 1,
    })
}
