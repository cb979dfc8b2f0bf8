//! Incidents: attack events of one entity and class, each less than an hour after the one before. Was it found, and how soon?
//!
//! Found is what has a threat of the same entity from its first event to an hour after its last.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Collector;
use crate::core::detect::NAMES;
use crate::core::types::{EventTime, MICROS_PER_HOUR};
use crate::limits::BACKTEST_INCIDENTS_SHOWN_MAX;
use crate::models::table::report::wilson;

const GAP_MICROS: i64 = MICROS_PER_HOUR;

/// When something was seen of which entity.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings(Vec<(u32, i64)>);

impl Sightings {
    pub(super) fn add(&mut self, entity: u32, micros: i64) {
        self.0.push((entity, micros));
    }
    /// To be called before the first question.
    pub(super) fn sort(&mut self) {
        self.0.sort_unstable();
    }
    /// The first of this entity in a span of time.
    fn first(&self, entity: u32, from: i64, to: i64) -> Option<i64> {
        let at = self.0.partition_point(|sighting| *sighting < (entity, from));
        self.0.get(at).filter(|(of, micros)| *of == entity && *micros <= to).map(|(_, micros)| *micros)
    }
}

/// One incident as it is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    pub entity: String,
    pub class: String,
    pub start: String,
    pub end: String,
    pub events: u64,
    /// From its first event to the first threat and the first alert about the entity; none where there is none.
    pub seconds_to_threat: Option<f64>,
    pub seconds_to_alert: Option<f64>,
}

/// How many were found, and how soon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    pub incidents: u64,
    pub found: u64,
    pub recall: f64,
    pub recall_interval95: [f64; 2],
    /// Of those found.
    pub seconds_to_first: Option<Seconds>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Seconds {
    pub median: f64,
    pub p90: f64,
    pub max: f64,
}

/// All incidents.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Incidents {
    /// By threats of the combination.
    pub ensemble: Found,
    /// By alerts.
    pub alerts: Found,
    /// By each detector alone, at the same p-value.
    pub members: BTreeMap<&'static str, Found>,
    pub by_class: BTreeMap<String, Found>,
    /// The first ones, in order of time.
    pub list: Vec<Incident>,
}

struct Span {
    entity: u32,
    class: u32,
    start: i64,
    end: i64,
    events: u64,
}

/// Groups the attack events of a collector whose sightings are sorted.
pub(super) fn incidents(collector: &Collector) -> Incidents {
    let spans = spans(collector);
    let by = |seen: &Sightings| -> Vec<Option<f64>> { spans.iter().map(|span| seconds(span, seen)).collect() };
    let numbers: BTreeMap<&str, u32> = collector.names.iter().zip(0..).map(|(name, number)| (name.as_str(), number)).collect();
    let mut alerts = Sightings::default();
    for (entity, micros) in &collector.alerts {
        numbers.get(entity.as_str()).into_iter().for_each(|entity| alerts.add(*entity, *micros));
    }
    alerts.sort();
    let (threats, alerts) = (by(&collector.threats), by(&alerts));
    let class = |span: &Span| collector.measured.truth.classes[span.class as usize].clone();
    let mut classes: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for (span, seconds) in spans.iter().zip(&threats) {
        classes.entry(class(span)).or_default().push(*seconds);
    }
    let time = |micros: i64| EventTime(micros).to_string();
    let shown = spans.iter().zip(threats.iter().zip(&alerts)).take(BACKTEST_INCIDENTS_SHOWN_MAX);
    Incidents {
        members: collector.at_work.iter().map(|part| (NAMES[*part], found(&by(&collector.fired[*part])))).collect(),
        by_class: classes.into_iter().map(|(class, seconds)| (class, found(&seconds))).collect(),
        list: shown
            .map(|(span, (threat, alert))| Incident {
                entity: collector.names[span.entity as usize].clone(),
                class: class(span),
                start: time(span.start),
                end: time(span.end),
                events: span.events,
                seconds_to_threat: *threat,
                seconds_to_alert: *alert,
            })
            .collect(),
        ensemble: found(&threats),
        alerts: found(&alerts),
    }
}

fn spans(collector: &Collector) -> Vec<Span> {
    let measured = &collector.measured;
    let mut order: Vec<usize> = (0..measured.score.len()).filter(|row| measured.truth.attack[*row]).collect();
    let key = |row: usize| (measured.entity[row], measured.truth.class[row], measured.micros[row]);
    order.sort_unstable_by_key(|row| (key(*row), *row));
    let mut spans: Vec<Span> = vec![];
    for row in order {
        let (entity, class, micros) = key(row);
        match spans.last_mut() {
            Some(last) if (last.entity, last.class) == (entity, class) && micros - last.end < GAP_MICROS => {
                last.end = micros;
                last.events += 1;
            }
            _ => spans.push(Span { entity, class, start: micros, end: micros, events: 1 }),
        }
    }
    spans.sort_by_key(|span| span.start);
    spans
}

fn seconds(span: &Span, seen: &Sightings) -> Option<f64> {
    seen.first(span.entity, span.start, span.end + GAP_MICROS).map(|micros| (micros - span.start) as f64 / 1e6)
}

fn found(seconds: &[Option<f64>]) -> Found {
    let mut known: Vec<f64> = seconds.iter().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    let (found, incidents) = (known.len() as u64, seconds.len() as u64);
    // The smallest of which at least this share is no larger.
    let at = |share: f64| known[((known.len() as f64 * share).ceil() as usize).saturating_sub(1)];
    Found {
        incidents,
        found,
        recall: found as f64 / incidents.max(1) as f64,
        recall_interval95: wilson(found, incidents),
        seconds_to_first: (found > 0).then(|| Seconds { median: at(0.5), p90: at(0.9), max: at(1.0) }),
    }
}
