//! Backtests: what a pipeline makes of labelled events, collected while it runs as it always does.
//!
//! `Collector` hears every scored event and alert; [`report`] measures events, entities and incidents; [`bars`] are the test cases.
//! Must never hand a label to anything that scores, nor measure an event that was learned from or whose label says nothing.

pub mod bars;
mod incidents;
pub mod junit;
pub mod report;
pub mod spans;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::backtest::BacktestSettings;
use crate::core::correlate::Correlated;
use crate::core::detect::index_of;
use crate::core::engine::PARTS;
use crate::core::event::Event;
use crate::core::types::EntityKey;
use crate::error::{Error, Result};
use crate::limits::{BACKTEST_CLASSES_MAX, BACKTEST_EVENTS_MAX};
use crate::models::table::report::Truth;
use crate::run::embedded::Observer;
use crate::run::labels::Labels;
use crate::run::learning::ScoredPart;
use incidents::Sightings;
use spans::Spans;

/// What became of the events that were scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fates {
    pub scored: u64,
    pub measured: u64,
    /// Scored before there were models, or among the first that only bring states up.
    pub warming_up: u64,
    /// Without a label, or with one that is to be ignored.
    pub unlabelled: u64,
}

/// The measured events, a column each.
struct Measured {
    score: Vec<f32>,
    /// Calibrated surprises by detector; empty for those that are not at work.
    parts: [Vec<f32>; PARTS],
    truth: Truth,
    entity: Vec<u32>,
    micros: Vec<i64>,
}

/// Hears a run over labelled events.
pub struct Collector {
    labels: Labels,
    /// Take the place of the events' own labels.
    spans: Option<Spans>,
    ignore: Vec<String>,
    warm_up: u64,
    fates: Fates,
    measured: Measured,
    classes: BTreeMap<String, u32>,
    entities: BTreeMap<EntityKey, u32>,
    /// `kind:name`, by number.
    names: Vec<String>,
    /// Detectors at work, by their place in `NAMES`.
    at_work: Vec<usize>,
    /// Surprise from which an event is a threat.
    threshold: f32,
    threats: Sightings,
    /// Events that a detector alone would have called a threat.
    fired: [Sightings; PARTS],
    /// Entity and time of each alert.
    alerts: Vec<(String, i64)>,
    problem: Option<Error>,
}

impl Collector {
    /// The first `warm_up` events bring states up and are not measured.
    ///
    /// # Errors
    /// `Config`: no label is named.
    pub fn new(settings: &BacktestSettings, spans: Option<Spans>, warm_up: u64) -> Result<Self> {
        if settings.label.is_none() && spans.is_none() {
            return Err(Error::config(
                "nothing says where the label is: name its field with --label or in the pipeline file as backtest.label, or a file with --labels",
            ));
        }
        let truth = Truth { attack: vec![], class: vec![], classes: vec![] };
        let parts = std::array::from_fn(|_| vec![]);
        Ok(Self {
            labels: Labels { field: settings.label.clone(), benign: settings.benign.clone(), ..Labels::default() },
            spans,
            ignore: settings.ignore.clone(),
            warm_up,
            fates: Fates::default(),
            measured: Measured { score: vec![], parts, truth, entity: vec![], micros: vec![] },
            classes: BTreeMap::new(),
            entities: BTreeMap::new(),
            names: vec![],
            at_work: vec![],
            threshold: f32::INFINITY,
            threats: Sightings::default(),
            fired: std::array::from_fn(|_| Sightings::default()),
            alerts: vec![],
            problem: None,
        })
    }

    /// What went wrong in what was heard so far, once.
    ///
    /// # Errors
    /// `Config`: more events or different labels than can be held.
    pub fn check(&mut self) -> Result<()> {
        self.problem.take().map_or(Ok(()), Err)
    }

    fn entity(&mut self, event: &Event<'_>) -> u32 {
        let names = &mut self.names;
        *self.entities.entry(event.entity.key).or_insert_with(|| {
            names.push(name_of(event));
            names.len() as u32 - 1
        })
    }

    fn take(&mut self, event: &Event<'_>, surprise: f32, parts: &[f32; PARTS]) {
        if surprise >= self.threshold {
            let entity = self.entity(event);
            self.threats.add(entity, event.time.0);
        }
        for index in 0..self.at_work.len() {
            let part = self.at_work[index];
            if parts[part] >= self.threshold {
                let entity = self.entity(event);
                self.fired[part].add(entity, event.time.0);
            }
        }
        let judged = self.judged(event).filter(|(class, _)| !self.ignore.iter().any(|ignored| ignored == class));
        let Some((class, attack)) = judged.map(|(class, attack)| (class.to_owned(), attack)) else {
            self.fates.unlabelled += 1;
            return;
        };
        if self.measured.score.len() >= BACKTEST_EVENTS_MAX {
            self.problem = Some(Error::config(format!("more than {BACKTEST_EVENTS_MAX} labelled events: cut the input, or use --limit")));
            return;
        }
        self.fates.measured += 1;
        let (class, entity) = (self.class(&class), self.entity(event));
        let measured = &mut self.measured;
        measured.score.push(surprise);
        self.at_work.iter().for_each(|part| measured.parts[*part].push(parts[*part]));
        measured.truth.attack.push(attack);
        measured.truth.class.push(class);
        measured.entity.push(entity);
        measured.micros.push(event.time.0);
    }

    /// The label of an event, and whether it is an attack's.
    fn judged<'e>(&'e self, event: &Event<'e>) -> Option<(&'e str, bool)> {
        if let Some(spans) = &self.spans {
            let class = spans.class(&name_of(event), event.time.0);
            return Some((class, class != spans::BENIGN));
        }
        Some((self.labels.class(event)?, self.labels.attack(event)?))
    }

    fn class(&mut self, class: &str) -> u32 {
        if let Some(known) = self.classes.get(class) {
            return *known;
        }
        let number = self.measured.truth.classes.len() as u32;
        if self.classes.len() >= BACKTEST_CLASSES_MAX {
            let field = self.labels.field.as_deref().unwrap_or_default().escape_debug();
            let message = format!("'{field}' has more than {BACKTEST_CLASSES_MAX} different values: is it the label?");
            self.problem = Some(Error::config(message));
            return 0;
        }
        self.classes.insert(class.to_owned(), number);
        self.measured.truth.classes.push(class.to_owned());
        number
    }
}

/// `kind:name`.
fn name_of(event: &Event<'_>) -> String {
    format!("{}:{}", event.entity.kind.as_str(), event.entity.name)
}

impl Observer for Collector {
    fn scored(&mut self, part: ScoredPart<'_>) {
        let scorer = part.engine.scorer();
        if scorer.is_learning() {
            self.fates.scored += part.verdicts.len() as u64;
            self.fates.warming_up += part.verdicts.len() as u64;
            return;
        }
        if self.at_work.is_empty() {
            self.at_work = scorer.detectors().iter().filter_map(|detector| index_of(detector.name())).collect();
            self.threshold = scorer.thresholds().lowest();
        }
        for verdict in part.verdicts {
            self.fates.scored += 1;
            if self.fates.scored <= self.warm_up {
                self.fates.warming_up += 1;
                continue;
            }
            let parts = part.engine.scores().parts(verdict.row as usize);
            self.take(&part.events[verdict.event as usize], verdict.surprise, &parts);
        }
    }

    fn correlated(&mut self, output: &Correlated) {
        if let Correlated::Alert(alert) = output {
            self.alerts.push((alert.entity.clone(), alert.last_seen.0));
        }
    }
}
