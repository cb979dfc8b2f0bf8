//! Tests inside a pipeline file: which events are given and what must come of them.
//!
//! This module only writes the records down ([`Case::records`]) and judges what was observed ([`Case::judge`]). It never runs
//! a pipeline, reads no clock, and the same case gives the same bytes every time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::output::{Severity, number};
use crate::core::settings::Span;
use crate::core::types::{EventTime, MICROS_PER_DAY};

/// Records that one test may expand to.
pub const CASE_RECORDS_MAX: u64 = 200_000;

/// One test of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is shown, and what `threatguard test --only` selects by.
    pub name: String,
    /// When the first record happens. The default is a Monday morning.
    #[serde(default = "monday_morning")]
    pub start: String,
    /// The records, as if they had been consumed. Blocks are merged by time.
    pub given: Vec<Given>,
    pub expect: Expect,
}

fn monday_morning() -> String {
    "2026-01-05T09:00:00Z".into()
}

/// A block of records: exactly one of `event` and `line`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// An event by its fields, as the codec `threatguard` reads it. `timestamp` is filled in unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Map<String, Value>>,
    /// A raw record, for other codecs and for broken input. `{time}` in it becomes the record's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// When the block starts, counted from the test's `start`; where left out, when the block before has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// How many records.
    #[serde(default = "once")]
    pub repeat: u64,
    /// Time from one record to the next.
    #[serde(default = "one_second")]
    pub every: Span,
    /// The whole block again on so many working days, this long after midnight as on the first.
    #[serde(default = "once")]
    pub days: u64,
    /// How far a record's time may stray, as a share of `every`: 0 is a metronome, 0.9 is how people behave.
    #[serde(default)]
    pub jitter: f64,
    /// Fields of `event` that change from record to record (`geo.country` reaches into `geo`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vary: BTreeMap<String, Vary>,
}

fn once() -> u64 {
    1
}

fn one_second() -> Span {
    Span::seconds(1)
}

/// How a field changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Vary {
    /// Round and round through these.
    List(Vec<Value>),
    Range(Range),
}

/// Counts through whole numbers and starts again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub from: i64,
    /// The last one, included.
    pub to: i64,
    /// Text in which `{}` becomes the number, such as `10.0.0.{}`; where left out, the number itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// What must come of the records. At least one of the fields is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    pub threats: Vec<ExpectedThreat>,
    /// No threat at all.
    pub no_threats: bool,
    /// Exactly so many dead letters; 0 where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<u64>,
    /// Exactly so many late events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
}

/// Threats that must be among those found. What is left out may be anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedThreat {
    /// Such as `brute_force`, `port_scan`, `beaconing`, `impossible_travel`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A named anomaly that is part of the threat, such as `unusual_time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// At least this severe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// How many, 1 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
}

/// One record of a test, ready to be consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseRecord {
    /// The record's own timestamp.
    pub time: EventTime,
    pub payload: Vec<u8>,
}

/// What the pipeline made of a test's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub threats: Vec<ObservedThreat>,
    pub dead_letters: u64,
    pub late: u64,
}

/// What a test looks at of one threat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedThreat {
    pub kind: String,
    pub entity: String,
    pub severity: Severity,
    /// Names of its anomalies.
    pub anomalies: Vec<String>,
}

impl Case {
    /// The records in the order of their times.
    ///
    /// # Errors
    /// `start` is not a time; the loader has reported that before.
    pub fn records(&self) -> Result<Vec<CaseRecord>, String> {
        let start = parse_time(&self.start)?;
        let mut end = start;
        let mut records = vec![];
        for (block, given) in self.given.iter().enumerate() {
            let from = given.at.map_or(end, |at| start + at.micros);
            let mut day = EventTime(from);
            for count in 0..given.days {
                if count > 0 {
                    day = next_working_day(day);
                }
                for step in count * given.repeat..(count + 1) * given.repeat {
                    let stray = given.jitter * given.every.micros as f64 * (fraction(block as u64, step) - 0.5);
                    let time = EventTime(day.0 + given.every.micros * (step - count * given.repeat) as i64 + stray as i64);
                    records.push(CaseRecord { time, payload: given.payload(time, step) });
                }
            }
            end = day.0 + given.every.micros * given.repeat as i64;
        }
        records.sort_by_key(|record| record.time);
        Ok(records)
    }

    /// What differs from what is expected, one sentence each; empty when the test passes.
    #[must_use]
    pub fn judge(&self, observed: &Observed) -> Vec<String> {
        let mut findings = vec![];
        for expected in &self.expect.threats {
            findings.extend(expected.judge(&observed.threats));
        }
        if self.expect.no_threats && !observed.threats.is_empty() {
            findings.push(format!("expected no threats, found {}: {}", observed.threats.len(), kinds(&observed.threats)));
        }
        let counts = [
            ("dead letters", Some(self.expect.dead_letters.unwrap_or(0)), observed.dead_letters),
            ("late events", self.expect.late, observed.late),
        ];
        for (what, expected, found) in counts {
            if expected.is_some_and(|expected| expected != found) {
                findings.push(format!("expected {} {what}, found {found}", expected.unwrap_or(0)));
            }
        }
        findings
    }
}

impl ExpectedThreat {
    fn judge(&self, threats: &[ObservedThreat]) -> Option<String> {
        let fits = |threat: &&ObservedThreat| {
            self.kind.as_ref().is_none_or(|kind| *kind == threat.kind)
                && self.anomaly.as_ref().is_none_or(|anomaly| threat.anomalies.contains(anomaly))
                && self.entity.as_ref().is_none_or(|entity| *entity == threat.entity)
                && self.severity.is_none_or(|severity| threat.severity >= severity)
        };
        let found = threats.iter().filter(fits).count() as u64;
        let least = self.at_least.unwrap_or(u64::from(self.at_most.is_none()));
        let most = self.at_most.unwrap_or(u64::MAX);
        if (least..=most).contains(&found) {
            return None;
        }
        let bound = if found < least { format!("at least {least}") } else { format!("at most {most}") };
        let entity = self.entity.as_ref().map(|entity| format!(" of {entity}")).unwrap_or_default();
        let what = self.kind.as_ref().or(self.anomaly.as_ref()).map_or("threat", String::as_str);
        Some(format!("expected {bound} '{what}'{entity}, found {found} among: {}", kinds(threats)))
    }
}

impl Given {
    fn payload(&self, time: EventTime, step: u64) -> Vec<u8> {
        if let Some(line) = &self.line {
            return line.replace("{time}", &time.to_string()).into_bytes();
        }
        let mut event = self.event.clone().unwrap_or_default();
        event.entry("timestamp").or_insert_with(|| Value::String(time.to_string()));
        for (field, vary) in &self.vary {
            set(&mut event, field, vary.value(step));
        }
        Value::Object(event).to_string().into_bytes()
    }
}

impl Vary {
    fn value(&self, step: u64) -> Value {
        match self {
            Self::List(values) if values.is_empty() => Value::Null,
            Self::List(values) => values[(step % values.len() as u64) as usize].clone(),
            Self::Range(range) => {
                let width = (range.to - range.from).unsigned_abs() + 1;
                let number = range.from + (step % width) as i64;
                match &range.format {
                    Some(format) => Value::String(format.replace("{}", &number.to_string())),
                    None => Value::from(number),
                }
            }
        }
    }
}

/// Sets `a.b` in nested objects, making them where they are missing.
fn set(object: &mut Map<String, Value>, field: &str, value: Value) {
    match field.split_once('.') {
        None => {
            object.insert(field.into(), value);
        }
        Some((outer, inner)) => {
            let below = object.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                set(below, inner, value);
            }
        }
    }
}

fn kinds(threats: &[ObservedThreat]) -> String {
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for threat in threats {
        *counted.entry(format!("{} of {}", threat.kind, threat.entity)).or_default() += 1;
    }
    let mut shown: Vec<String> = counted.iter().take(5).map(|(kind, count)| format!("{count} {kind}")).collect();
    if counted.len() > shown.len() {
        shown.push(format!("{} other kinds", counted.len() - shown.len()));
    }
    if shown.is_empty() { "nothing".into() } else { shown.join(", ") }
}

fn next_working_day(day: EventTime) -> EventTime {
    // Friday is 4.
    let days = if day.day_of_week() >= 4 { 7 - i64::from(day.day_of_week()) } else { 1 };
    EventTime(day.0 + days * MICROS_PER_DAY)
}

/// A number in 0..1 from the place of a record: splitmix64 (Steele, Lea, Flood 2014).
fn fraction(block: u64, step: u64) -> f64 {
    let mut mixed = (block << 32 | step).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Microseconds of `2026-01-05T09:00:00Z`; only this form, because it stands in our own files.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    // As records write it, which have a fraction.
    let time = text.strip_suffix('Z').and_then(|seconds| number::parse_time(&format!("{seconds}.000000Z")));
    time.map(|time| time.0).ok_or_else(|| format!("'{}' is not a time: write it like 2026-01-05T09:00:00Z", text.escape_debug()))
}
