//! Stage 7/8: verdict. An event whose combined surprise passes a threshold becomes a threat that explains itself.
//!
//! Called for threats only, so clarity comes before speed here. Never changes a score, and never looks at another event.

pub mod catalog;
mod context;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use self::catalog::{Kind, Technique, kind};
pub use self::merge::{ANOMALIES_MAX, CONTRIBUTIONS_MAX, Share};

use self::merge::Part;
use super::detect::surprise::share;
use super::detect::{Anomaly, Detector, Explanation, LEARNED, NAMES, THREAT_INTEL, index_of, threat_type, words};
use super::ensemble::combine::p_value;
use super::ensemble::{Severity, SeverityThresholds, risk_score, threat_score};
use super::event::{Entity, Event, Outcome};
use super::features::row::{RowView, Signal, SignalRow, signal};
use super::types::{EntityKind, EventTime, Position};

/// The scores of one event. Detectors are in the order of [`NAMES`]; those that are off have 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Combined and calibrated, nats.
    pub surprise: f32,
    pub severity: Severity,
    /// Raw scores.
    pub parts: [f32; NAMES.len()],
    /// What each detector weighs in the combination: its calibrated surprise, nats, times its weight in the pipeline.
    pub parts_surprise: [f32; NAMES.len()],
    /// Nothing was learned yet: scores are the detectors' own.
    pub learning: bool,
}

/// A detector's part of a threat.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorPart {
    pub name: &'static str,
    pub version: String,
    /// Raw.
    pub score: f32,
    /// Calibrated.
    pub p: f64,
}

/// An anomaly and how bad it is by itself, at most as bad as the threat.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreatAnomaly {
    pub anomaly: Anomaly,
    pub severity: Severity,
}

/// A threat (product.md 1.3) without what its publication adds: id, status and topic.
#[derive(Clone, Debug)]
pub struct Threat<'b> {
    pub kind: &'static Kind,
    pub severity: Severity,
    /// 0..100.
    pub threat_score: f32,
    /// 0..10.
    pub risk_score: f32,
    /// 0..1, in hundredths.
    pub confidence: f32,
    pub at: Position,
    pub time: EventTime,
    pub entity: Entity<'b>,
    pub source: String,
    /// Empty where the event was not aimed at anything.
    pub target: String,
    pub description: String,
    pub anomalies: Vec<ThreatAnomaly>,
    pub contributions: Vec<Share>,
    /// All that are on, in declared order.
    pub detectors: Vec<DetectorPart>,
    pub metadata: BTreeMap<String, Value>,
}

/// What was learned has no name for what it finds. A detector that has one gives it when it weighs at least this much of that.
const NAMED_PREFERENCE: f32 = 0.5;

/// Nats of one detector's part at which it is believed by half.
const BELIEF_NATS: f32 = 8.0;
/// Events of an entity at which its history is worth half of what it can be, and the share of confidence that depends on it.
const HISTORY_EVENTS: f32 = 100.0;
const HISTORY_SHARE: f32 = 0.3;
/// What is left of the confidence while nothing has been learned.
const LEARNING_CONFIDENCE: f32 = 0.6;
/// Characters of an entity's name that a description repeats.
const NAME_CHARS_MAX: usize = 100;

/// Builds the threat of an event. `detectors` are those that are on, in declared order.
#[must_use]
pub fn threat<'b>(
    event: &Event<'b>,
    row: RowView<'_>,
    scored: &Scored,
    detectors: &[Box<dyn Detector>],
    thresholds: &SeverityThresholds,
) -> Threat<'b> {
    let mut parts = explained(row, scored, detectors);
    let kind = kind(fitting(type_of(&parts), event));
    let contributions = merge::contributions(&parts);
    let anomalies = merge::anomalies(&mut parts);
    Threat {
        kind,
        severity: scored.severity,
        threat_score: threat_score(scored.surprise),
        risk_score: risk_score(scored.surprise),
        confidence: confidence(row.signals, scored),
        at: event.at,
        time: event.time,
        entity: event.entity,
        source: context::source(event),
        target: context::target(event, kind.name),
        description: describe(kind, &event.entity, &anomalies, &contributions),
        anomalies: anomalies.into_iter().map(|anomaly| rated(anomaly, scored.severity, thresholds)).collect(),
        contributions,
        detectors: detectors.iter().filter_map(|detector| part_of(detector.as_ref(), scored)).collect(),
        metadata: metadata(event, scored),
    }
}

/// One part for each of [`NAMES`], in that order; of detectors that are off or weigh nothing, an empty one.
fn explained(row: RowView<'_>, scored: &Scored, detectors: &[Box<dyn Detector>]) -> Vec<Part> {
    let mut parts: Vec<Part> = scored.parts_surprise.map(|surprise| Part { surprise, explanation: Explanation::default() }).into();
    for detector in detectors {
        if let Some(part) = index_of(detector.name()).and_then(|index| parts.get_mut(index)).filter(|part| part.surprise > 0.0) {
            detector.explain(row, &mut part.explanation);
        }
    }
    parts
}

/// The type that the dominating detector offers; of equal ones the first declared.
fn type_of(parts: &[Part]) -> &'static str {
    let mut best: Option<&Part> = None;
    let is_named = |part: &&Part| !["", threat_type::ANOMALOUS_BEHAVIOR].contains(&part.explanation.threat_type);
    for part in parts.iter().filter(is_named) {
        if best.is_none_or(|best| part.surprise > best.surprise) {
            best = Some(part);
        }
    }
    let learned = LEARNED.iter().filter_map(|index| parts.get(*index)).fold(0.0, |most: f32, part| most.max(part.surprise));
    best.filter(|best| best.surprise >= NAMED_PREFERENCE * learned)
        .map_or(threat_type::ANOMALOUS_BEHAVIOR, |best| best.explanation.threat_type)
}

/// What detectors cannot know, because rows do not tell: whose event it is, and whether it succeeded.
fn fitting(kind: &'static str, event: &Event<'_>) -> &'static str {
    match kind {
        // Many sources that fail for one user guess one password: only a source can spray.
        threat_type::PASSWORD_SPRAYING if event.entity.kind == EntityKind::User => threat_type::BRUTE_FORCE,
        // Nobody got in yet.
        threat_type::CREDENTIAL_COMPROMISE if event.outcome == Outcome::Failure => threat_type::BRUTE_FORCE,
        other => other,
    }
}

/// How far the threat is to be believed: more when detectors agree, when the entity is well known and when there is a model.
/// A threat-intelligence hit is believed as far as its list.
fn confidence(signals: &SignalRow, scored: &Scored) -> f32 {
    // Noisy or: every detector that is wrong by itself would have to be wrong at once.
    let doubt: f32 = scored.parts_surprise.iter().map(|surprise| BELIEF_NATS / (BELIEF_NATS + surprise.max(0.0))).product();
    let events = signal(signals, Signal::Events).max(0.0);
    let history = 1.0 - HISTORY_SHARE + HISTORY_SHARE * events / (events + HISTORY_EVENTS);
    let learned = if scored.learning { LEARNING_CONFIDENCE } else { 1.0 };
    let listed = if scored.parts_surprise[THREAT_INTEL] > 0.0 { signal(signals, Signal::IntelConfidence) } else { 0.0 };
    let confidence = ((1.0 - doubt) * history * learned).max(listed);
    (100.0 * share(confidence)).round() / 100.0
}

/// One or two sentences: what, by whom, and what shows it best.
fn describe(kind: &Kind, entity: &Entity<'_>, anomalies: &[Anomaly], contributions: &[Share]) -> String {
    let name: String = entity.name.chars().take(NAME_CHARS_MAX).collect();
    let mut text = format!("{} by {}:{name}.", kind.title, entity.kind.as_str());
    if let Some(first) = anomalies.first() {
        text.push(' ');
        text.push_str(&first.description);
    } else if let Some(first) = contributions.first() {
        let (observed, expected) = (words::count(first.observed), words::count(first.expected));
        text.push_str(&format!(" Most unusual: {} is {observed} where {expected} is usual.", first.feature));
    }
    if let more @ 1.. = anomalies.len().saturating_sub(1) {
        text.push_str(&format!(" {}.", words::plural(more as f32, "more anomaly", "more anomalies")));
    }
    text
}

fn rated(anomaly: Anomaly, most: Severity, thresholds: &SeverityThresholds) -> ThreatAnomaly {
    let severity = thresholds.severity(anomaly.surprise).unwrap_or(Severity::Low).min(most);
    ThreatAnomaly { anomaly, severity }
}

fn part_of(detector: &dyn Detector, scored: &Scored) -> Option<DetectorPart> {
    let index = index_of(detector.name())?;
    Some(DetectorPart {
        name: NAMES[index],
        version: detector.version().to_owned(),
        score: scored.parts[index],
        p: p_value(scored.parts_surprise[index]),
    })
}

/// The event's fields, what was repaired on it, and the figures behind the score. Bounded by what the sanitizer and
/// [`crate::limits`] allow.
fn metadata(event: &Event<'_>, scored: &Scored) -> BTreeMap<String, Value> {
    let mut metadata = BTreeMap::new();
    metadata.insert("event".to_owned(), context::fields(event));
    metadata.insert("surpriseNats".to_owned(), json!(scored.surprise));
    metadata.insert("pValue".to_owned(), json!(p_value(scored.surprise)));
    if scored.learning {
        metadata.insert("learning".to_owned(), json!(true));
    }
    if !event.repairs.is_empty() {
        metadata.insert("repairs".to_owned(), event.repairs.names().collect());
    }
    if !event.extra.is_empty() {
        let (extra, omitted) = context::extra(event);
        metadata.insert("extra".to_owned(), extra);
        if omitted > 0 {
            metadata.insert("extraOmitted".to_owned(), json!(omitted));
        }
    }
    metadata
}
