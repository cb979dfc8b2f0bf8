//! Where the threats of a log come from: partitions of inputs, each read at a pace of its own.
//!
//! One may be days behind another, after an outage or where history is read. The time that others have come to says nothing of what
//! one may yet bring. So each has two times. By the log's clock, less how far it was behind when it last brought something new, its
//! threats are told as resolved: that may be too late, or too early where others go on faster. By the latest threat that it brought
//! itself, what was told is forgotten: until then it is kept, because the next threat may belong to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::signal::ThreatSignal;
use crate::core::types::EventTime;
use crate::limits::{CORRELATED_KEPT_MICROS, CORRELATED_SOURCES_MAX};

/// An entity, by when it resolves.
type Due = (EventTime, Arc<str>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Source {
    /// First record of the input that no threat was seen of.
    next: u64,
    /// Latest event time of its threats, and how far that was behind the log's clock.
    newest: i64,
    lag: i64,
    /// Its entities with open threats, and those whose threats were told as resolved.
    #[serde(skip)]
    due: BTreeSet<Due>,
    #[serde(skip)]
    told: BTreeSet<Due>,
}

impl Source {
    fn list(&mut self, told: bool) -> &mut BTreeSet<Due> {
        if told { &mut self.told } else { &mut self.due }
    }
}

/// All there are, by name, with the entities whose latest threat they brought.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sources(BTreeMap<String, Source>);

impl Sources {
    /// The name of a threat's source; none where there are too many, which then share one clock. Pipelines that read the same topic,
    /// each at its own pace, have entities of different kinds.
    pub(super) fn name(&self, signal: &ThreatSignal) -> String {
        let kind = signal.entity.split(':').next().unwrap_or_default();
        let name = format!("{kind} {}/{}", signal.evidence.topic, signal.evidence.partition);
        if self.0.len() < CORRELATED_SOURCES_MAX || self.0.contains_key(&name) { name } else { String::new() }
    }

    /// Hears a threat while the log's clock is at `clock`. False: its input had come further before, so it is published again.
    pub(super) fn hear(&mut self, name: &str, signal: &ThreatSignal, clock: Option<EventTime>) -> bool {
        let offset = signal.evidence.offset;
        let source = self.of(name);
        let is_first = source.next == 0;
        // What has no name is of several partitions, whose offsets say nothing of each other.
        if offset < source.next && !name.is_empty() {
            return false;
        }
        source.next = source.next.max(offset + 1);
        source.newest = if is_first { signal.time.0 } else { source.newest.max(signal.time.0) };
        source.lag = clock.map_or(0, |clock| clock.0.saturating_sub(source.newest).max(0));
        true
    }

    pub(super) fn insert(&mut self, name: &str, told: bool, due: Due) {
        self.of(name).list(told).insert(due);
    }

    pub(super) fn remove(&mut self, name: &str, told: bool, due: &Due) -> bool {
        self.of(name).list(told).remove(due)
    }

    /// The first entity that has decayed by the time that is `until` for the log.
    pub(super) fn first_decayed(&self, until: EventTime) -> Option<Due> {
        let is_over = |source: &Source, due: &Due| due.0.0 <= until.0.saturating_sub(source.lag);
        self.0.values().filter_map(|source| source.due.first().filter(|due| is_over(source, due))).min().cloned()
    }

    /// The first entity that was told as resolved, and to which the source will bring nothing that belongs to those threats.
    pub(super) fn first_over(&self, name: &str) -> Option<Due> {
        let source = self.0.get(name)?;
        source.told.first().filter(|due| due.0.0 <= source.newest.saturating_sub(CORRELATED_KEPT_MICROS)).cloned()
    }

    /// Of all that were told as resolved, the one that its own source has left farthest behind.
    pub(super) fn first_told(&self) -> Option<Due> {
        let behind = |source: &Source| source.told.first().map(|due| (due.0.0.saturating_sub(source.newest), due.clone()));
        self.0.values().filter_map(behind).min().map(|(_, due)| due)
    }

    fn of(&mut self, name: &str) -> &mut Source {
        self.0.entry(name.to_owned()).or_default()
    }
}
