//! What the pipeline publishes (product.md 1.3), as JSON with a fixed field order and quantised numbers: the same record is the
//! same bytes on every machine. Never decides anything, and never carries a secret.
//!
//! `schemas/` describes every record; a test holds the two together. Text is published as it is: whoever shows it on a terminal
//! uses [`super::printable::printable`].

mod digits;
pub mod number;
#[cfg(test)]
mod tests;
pub mod verdict;
#[cfg(test)]
mod verdict_tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use self::number::{base64, parse_time, quantised, quantised_p, write_time};
use super::types::{EventTime, Offset, Partition, Position};
use crate::limits::DEAD_LETTER_BYTES_MAX;

pub use self::verdict::{ModelsVersion, Part, VerdictRecord, VerdictWriter};

/// The deterministic id of an output: 128 bits as 32 hex digits, from the input that caused it. Equal inputs give equal ids in
/// every run, so a receiver can remove duplicates. `kind` keeps outputs of one input apart: `threat`, `alert`, `dead_letter`.
#[must_use]
pub fn output_id(pipeline: &str, topic: &str, at: Position, kind: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [pipeline, topic, kind] {
        // The length in front keeps ("a", "bc") and ("ab", "c") apart.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(&at.partition.0.to_le_bytes());
    hasher.update(&at.offset.0.to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// How bad a threat is, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreatStatus {
    Detected,
    Resolved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// The first publication of an alert, revision 1.
    Open,
    /// The same alert again because its severity rose, with the next revision.
    Escalated,
}

/// An anomaly with a name that analysts know: `impossible_travel`, `unusual_time`, ...
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnomalyRecord {
    pub name: String,
    pub description: String,
    #[serde(serialize_with = "as_quantised")]
    pub observed: f64,
    #[serde(serialize_with = "as_quantised")]
    pub expected: f64,
    pub severity: Severity,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContributionRecord {
    pub feature: String,
    #[serde(serialize_with = "as_quantised")]
    pub observed: f64,
    #[serde(serialize_with = "as_quantised")]
    pub expected: f64,
    /// Share of the threat score, 0..1; all shares of a threat are at most 1 together.
    #[serde(serialize_with = "as_quantised")]
    pub share: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectorRecord {
    pub name: String,
    pub model_version: String,
    #[serde(serialize_with = "as_quantised")]
    pub score: f64,
    #[serde(serialize_with = "as_quantised_p")]
    pub p_value: f64,
}

/// A MITRE ATT&CK technique: `T1110`, `Brute Force`, `credential-access`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MitreRecord {
    pub technique: String,
    pub name: String,
    pub tactic: String,
}

/// The input record behind an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRecord {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
}

/// Whatever else belongs to a record; in the order of its names.
pub type Metadata = BTreeMap<String, serde_json::Value>;

/// A threat, on topic `security.threats` within a [`ThreatEnvelope`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreatRecord {
    /// [`output_id`]; the same when the threat is resolved.
    pub id: String,
    #[serde(rename = "type")]
    pub threat_type: String,
    pub severity: Severity,
    /// 0..100.
    #[serde(serialize_with = "as_quantised")]
    pub threat_score: f64,
    /// 0..10.
    #[serde(serialize_with = "as_quantised")]
    pub risk_score: f64,
    /// 0..1.
    #[serde(serialize_with = "as_quantised")]
    pub confidence: f64,
    pub status: ThreatStatus,
    /// Event time of the evidence; of a resolved threat too.
    #[serde(deserialize_with = "from_time")]
    pub timestamp: EventTime,
    pub source: String,
    pub target: String,
    /// `ip:10.0.0.1`, `user:alice`, `host:web-3`.
    pub entity: String,
    pub description: String,
    pub anomalies: Vec<AnomalyRecord>,
    pub contributions: Vec<ContributionRecord>,
    pub detectors: Vec<DetectorRecord>,
    pub mitre: Vec<MitreRecord>,
    pub recommendations: Vec<String>,
    pub evidence: EvidenceRecord,
    pub metadata: Metadata,
}

/// An alert, on topic `security.alerts` within an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertRecord {
    /// [`output_id`] of the first threat in it; the same in every revision.
    pub id: String,
    /// From 1. The highest one replaces the others.
    pub revision: u32,
    pub severity: Severity,
    pub title: String,
    pub entity: String,
    /// 0..10, the entity's risk when the alert was published.
    #[serde(serialize_with = "as_quantised")]
    pub risk_score: f64,
    pub threat_types: Vec<String>,
    /// Ids of the threats in it, oldest first, bounded; `count` has all of them.
    pub threats: Vec<String>,
    #[serde(deserialize_with = "from_time")]
    pub first_seen: EventTime,
    #[serde(deserialize_with = "from_time")]
    pub last_seen: EventTime,
    /// Threats in the alert, the suppressed ones included.
    pub count: u64,
    pub mitre: Vec<MitreRecord>,
    pub description: String,
    pub recommendations: Vec<String>,
    pub status: AlertStatus,
    /// Threats that repeated what the alert already had.
    pub suppressed_count: u64,
    pub metadata: Metadata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnalyticsKind {
    /// Of the events of one partition of one pipeline.
    Traffic,
    /// Of the threats of one partition of the threats topic.
    Threats,
}

/// Half-open: `start <= time < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRecord {
    #[serde(deserialize_with = "from_time")]
    pub start: EventTime,
    #[serde(deserialize_with = "from_time")]
    pub end: EventTime,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalyticsCounts {
    pub events: u64,
    pub late: u64,
    pub dead_lettered: u64,
    /// Events whose outcome was a failure.
    pub failures: u64,
    pub bytes: u64,
    /// An estimate.
    pub distinct_entities: u64,
    /// Bounded, see [`count_bounded`]: what is beyond is under `other`.
    pub by_event_type: BTreeMap<String, u64>,
    pub by_protocol: BTreeMap<String, u64>,
    pub by_severity: BTreeMap<String, u64>,
}

/// A window's figures, on topic `security.analytics` within an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalyticsRecord {
    pub id: String,
    pub kind: AnalyticsKind,
    pub pipeline: String,
    pub partition: u32,
    pub window: WindowRecord,
    pub counts: AnalyticsCounts,
}

/// Adds to a count by name; from `names_max` names on, new ones are counted together as `other`, so that no sender can make a
/// record grow.
pub fn count_bounded(counts: &mut BTreeMap<String, u64>, name: &str, add: u64, names_max: usize) {
    if let Some(count) = counts.get_mut(name) {
        *count += add;
        return;
    }
    let name = if counts.len() < names_max { name } else { "other" };
    *counts.entry(name.to_owned()).or_default() += add;
}

/// A record that could not be used, on the dead-letter topic, with its original bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterRecord {
    pub id: String,
    pub reason: String,
    pub detail: String,
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    /// The record's own time, where it has one.
    #[serde(deserialize_with = "from_optional_time")]
    pub timestamp: Option<EventTime>,
    /// Base64 of the original bytes, of the first [`DEAD_LETTER_BYTES_MAX`] when there are more.
    pub raw: String,
    /// True size of the original.
    pub raw_bytes: u64,
    pub truncated: bool,
}

impl DeadLetterRecord {
    /// `size` is the true size where `raw` is only the beginning of the record.
    #[must_use]
    pub fn new(pipeline: &str, at: EvidenceRecord, time: Option<EventTime>, reason: &str, detail: &str, raw: &[u8], size: u64) -> Self {
        let kept = &raw[..raw.len().min(DEAD_LETTER_BYTES_MAX)];
        let size = size.max(raw.len() as u64);
        Self {
            id: output_id(pipeline, &at.topic, at.position(), "dead_letter"),
            reason: reason.to_owned(),
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
            topic: at.topic,
            partition: at.partition,
            offset: at.offset,
            timestamp: time,
            raw: base64(kept),
            raw_bytes: size,
            truncated: (kept.len() as u64) < size,
        }
    }
}

const DETAIL_CHARS_MAX: usize = 500;

impl EvidenceRecord {
    #[must_use]
    pub fn new(topic: &str, at: Position) -> Self {
        Self { topic: topic.to_owned(), partition: at.partition.0, offset: at.offset.0 }
    }
    #[must_use]
    pub fn position(&self) -> Position {
        Position { partition: Partition(self.partition), offset: Offset(self.offset) }
    }
}

/// What is published: `{"type": ..., "data": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Envelope {
    #[serde(rename = "threat.detected")]
    ThreatDetected(ThreatRecord),
    #[serde(rename = "threat.resolved")]
    ThreatResolved(ThreatRecord),
    #[serde(rename = "alert.created")]
    AlertCreated(AlertRecord),
    #[serde(rename = "analytics.update")]
    AnalyticsUpdate(AnalyticsRecord),
}

impl Envelope {
    /// Appends the record as one line of JSON, without a line feed.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        write_record(out, self);
    }
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048);
        self.write_json(&mut out);
        out
    }
}

/// Appends any record of this module as one line of JSON, without a line feed.
pub fn write_record<T: Serialize>(out: &mut Vec<u8>, record: &T) {
    serde_json::to_writer(out, record).expect("records are plain data and a Vec takes everything");
}

fn as_quantised<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(quantised(*value))
}

fn as_quantised_p<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(quantised_p(*value))
}

fn from_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_time(&text).ok_or_else(|| D::Error::custom("expected a time like 2026-01-02T03:04:05.000006Z"))
}

fn from_optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EventTime>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_time(&text).ok_or_else(|| D::Error::custom("expected a time like 2026-01-02T03:04:05.000006Z"))).transpose()
}

/// The time as every record writes it.
#[must_use]
pub fn time_text(time: EventTime) -> String {
    let mut out = Vec::with_capacity(27);
    write_time(&mut out, time);
    String::from_utf8(out).expect("digits and separators are ASCII")
}
