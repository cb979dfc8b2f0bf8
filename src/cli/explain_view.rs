//! A threat as an analyst reads it. Takes the published record as it is, tolerates what is missing, and makes every text inert.

use std::fmt::Write;

use serde_json::Value;

use crate::core::printable::printable;

const BAR_CHARS: usize = 20;
/// Lists longer than this say how many more there are.
const ROWS_MAX: usize = 20;
const TEXT_CHARS_MAX: usize = 400;

/// The explanation. `resolved`: a later record says that the risk has decayed.
#[must_use]
pub(super) fn render(record: &Value, resolved: bool) -> String {
    let mut out = String::new();
    headline(&mut out, record, resolved);
    figures(&mut out, record);
    contributions(&mut out, record);
    anomalies(&mut out, record);
    detectors(&mut out, record);
    mitre(&mut out, record);
    recommendations(&mut out, record);
    metadata(&mut out, record);
    evidence(&mut out, record);
    out
}

/// Writing to a `String` cannot fail.
macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($format:tt)+) => {{
        writeln!($out, $($format)+).expect("a String takes everything");
    }};
}

fn headline(out: &mut String, record: &Value, resolved: bool) {
    let kind = text(record, "type").replace('_', " ");
    let status = if resolved { "resolved".to_owned() } else { text(record, "status") };
    line!(out, "{} {kind} by {}", text(record, "severity").to_uppercase(), text(record, "entity"));
    let description = text(record, "description");
    if !description.is_empty() {
        line!(out, "{description}");
    }
    line!(out);
    line!(out, "  id          {}", text(record, "id"));
    line!(out, "  when        {}", text(record, "timestamp"));
    line!(out, "  status      {status}");
    for (label, key) in [("source", "source"), ("target", "target")] {
        let value = text(record, key);
        if !value.is_empty() {
            line!(out, "  {label:<11} {value}");
        }
    }
}

fn figures(out: &mut String, record: &Value) {
    let figures = [("threat score", "threatScore", 100.0), ("risk", "riskScore", 10.0), ("confidence", "confidence", 1.0)];
    for (label, key, most) in figures {
        if let Some(value) = record[key].as_f64() {
            line!(out, "  {label:<12}{} {} of {most}", bar(value / most), number(value));
        }
    }
}

fn contributions(out: &mut String, record: &Value) {
    let mut rows: Vec<(f64, &Value)> =
        list(record, "contributions").iter().map(|row| (row["share"].as_f64().unwrap_or(0.0), row)).collect();
    rows.sort_by(|left, right| right.0.total_cmp(&left.0));
    section(out, "Why", rows.len());
    let names: Vec<String> = rows.iter().map(|(_, row)| text(row, "feature")).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(7, 32);
    if !rows.is_empty() {
        line!(out, "  {:<width$}  {:>12}  {:>12}  share", "feature", "observed", "expected");
    }
    for ((share, row), name) in rows.iter().zip(&names).take(ROWS_MAX) {
        let (observed, expected) = (figure(row, "observed"), figure(row, "expected"));
        line!(out, "  {name:<width$}  {observed:>12}  {expected:>12}  {} {:>3.0} %", bar(*share), share * 100.0);
    }
    more(out, rows.len());
}

fn anomalies(out: &mut String, record: &Value) {
    let rows = list(record, "anomalies");
    section(out, "Anomalies", rows.len());
    for row in rows.iter().take(ROWS_MAX) {
        let severity = text(row, "severity");
        let severity = if severity.is_empty() { severity } else { format!(" ({severity})") };
        line!(out, "  - {}{severity}: {}", text(row, "name").replace('_', " "), text(row, "description"));
    }
    more(out, rows.len());
}

fn detectors(out: &mut String, record: &Value) {
    let rows = list(record, "detectors");
    section(out, "Detectors", rows.len());
    for row in rows.iter().take(ROWS_MAX) {
        let p_value = row["pValue"].as_f64().map(|p_value| format!(", p = {p_value:.2e}")).unwrap_or_default();
        line!(out, "  {:<18} {:<24} score {}{p_value}", text(row, "name"), text(row, "modelVersion"), figure(row, "score"));
    }
    more(out, rows.len());
}

fn mitre(out: &mut String, record: &Value) {
    let rows = list(record, "mitre");
    section(out, "MITRE ATT&CK", rows.len());
    for row in rows.iter().take(ROWS_MAX) {
        // Either the technique alone or technique, name and tactic.
        match row.as_str() {
            Some(technique) => line!(out, "  {}", shown(technique)),
            None => line!(out, "  {:<10} {} ({})", text(row, "technique"), text(row, "name"), text(row, "tactic")),
        }
    }
}

fn recommendations(out: &mut String, record: &Value) {
    let rows = list(record, "recommendations");
    section(out, "What to do", rows.len());
    for (place, row) in rows.iter().take(ROWS_MAX).enumerate() {
        line!(out, "  {}. {}", place + 1, shown(row.as_str().unwrap_or_default()));
    }
    more(out, rows.len());
}

fn metadata(out: &mut String, record: &Value) {
    let Some(entries) = record["metadata"].as_object() else { return };
    section(out, "Also known", entries.len());
    for (key, value) in entries.iter().take(ROWS_MAX) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line!(out, "  {}: {}", shown(key), shown(&value));
    }
    more(out, entries.len());
}

fn evidence(out: &mut String, record: &Value) {
    let evidence = &record["evidence"];
    if let (Some(partition), Some(offset)) = (evidence["partition"].as_u64(), evidence["offset"].as_u64()) {
        section(out, "Evidence", 1);
        line!(out, "  {}, partition {partition}, offset {offset}", text(evidence, "topic"));
    }
}

fn section(out: &mut String, title: &str, rows: usize) {
    if rows > 0 {
        line!(out);
        line!(out, "{title}");
    }
}

fn more(out: &mut String, rows: usize) {
    if rows > ROWS_MAX {
        line!(out, "  ... and {} more", rows - ROWS_MAX);
    }
}

fn list<'r>(record: &'r Value, key: &str) -> &'r [Value] {
    record[key].as_array().map_or(&[], Vec::as_slice)
}

/// The text of a field, inert and cut; empty where it is missing.
fn text(record: &Value, key: &str) -> String {
    shown(record[key].as_str().unwrap_or_default())
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let mark = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{mark}", printable(&cut))
}

fn figure(record: &Value, key: &str) -> String {
    record[key].as_f64().map_or_else(|| "?".into(), number)
}

/// A number with as many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e7 || (size > 0.0 && size < 1e-3) => format!("{value:.2e}"),
        size if size >= 100.0 || size.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

/// A share as a bar.
fn bar(share: f64) -> String {
    let filled = (share.clamp(0.0, 1.0) * BAR_CHARS as f64).round() as usize;
    format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR_CHARS - filled))
}
