//! Correlation: reads the threats log, keeps a decaying risk for each entity, and makes alerts and `threat.resolved` of it.
//!
//! A consumer of its own, with its own positions and state: one [`Correlator`] for each partition of the threats log, which is
//! keyed by entity. It is pure and reads no clock: what it puts out follows from the log alone. A tick only decides *when* a
//! decayed entity's threats are reported as resolved: the resolve time is computed from the decay.
//!
//! Rules:
//! - The same threat id counts once. The same type against the same target counts once within the suppression window; only
//!   what a later one is riskier by is added.
//! - Risk is the sum over threat types; within a type every further threat adds less. More ATT&CK tactics weigh more.
//! - One alert for an entity while its risk lasts: `alert.created` with revision 1 when the risk reaches `alert_risk`; again,
//!   with the same id and the next revision, only when its severity rises (so at most four times).
//! - All threats of the entity are resolved together when its risk has decayed to `resolve_risk`, or when the entity has to
//!   make room for another one.
//! - What an alert is, follows from its entity's own threats in their own order: a threat that comes before the risk of those before has
//!   decayed belongs to them, whatever time others have come to. Clocks only decide when a resolution is told.
//! - Where it was told before such a threat came, the threats are open again, under the alert's id, and all are told as resolved once
//!   more, with the later time: the latest record of a threat says how it is.
//! - A threat that is published again and was forgotten, and so old that its risk had decayed by the last tick, is resolved at once
//!   and makes no alert.

mod entity;
#[cfg(test)]
mod pace_tests;
mod records;
mod settings;
mod signal;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::settings::CorrelationSettings;
pub use self::signal::ThreatSignal;

use self::entity::{Entity, Stub, Taken};
use self::sources::Sources;
use crate::core::output::{AlertRecord, Envelope, ThreatRecord};
use crate::core::types::{EventTime, Offset};
use crate::error::{Error, Result};

/// What correlation puts out. Both go out under the entity as key.
#[derive(Clone, Debug, PartialEq)]
pub enum Correlated {
    /// For `security.alerts`.
    Alert(AlertRecord),
    /// For `security.threats`.
    Resolved(ThreatRecord),
}

impl Correlated {
    #[must_use]
    pub fn entity(&self) -> &str {
        match self {
            Self::Alert(alert) => &alert.entity,
            Self::Resolved(threat) => &threat.entity,
        }
    }
    #[must_use]
    pub fn into_envelope(self) -> Envelope {
        match self {
            Self::Alert(alert) => Envelope::AlertCreated(alert),
            Self::Resolved(threat) => Envelope::ThreatResolved(threat),
        }
    }
}

/// Counted since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorrelationCounts {
    pub signals: u64,
    /// Before the next position: replayed records.
    pub replayed: u64,
    /// The same threat id again.
    pub duplicates: u64,
    pub suppressed: u64,
    pub alerts: u64,
    pub escalations: u64,
    pub resolved: u64,
    /// Entities resolved early to make room.
    pub evicted: u64,
}

/// Why threats were resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Decayed,
    Evicted,
}

/// Correlation of one partition of the threats log.
pub struct Correlator {
    /// Part of every alert's id.
    name: String,
    /// Topic of the threats log, part of every alert's id.
    topic: String,
    settings: CorrelationSettings,
    next: Offset,
    /// What decays until then has been resolved.
    resolved_until: EventTime,
    entities: BTreeMap<Arc<str>, Entity>,
    /// Entities by when they resolve, and those with open threats by their latest signal.
    sources: Sources,
    by_time: BTreeSet<(EventTime, Arc<str>)>,
    counts: CorrelationCounts,
}

const STATE_VERSION: u32 = 1;

/// What a state value holds; indexes are made again.
#[derive(Serialize, Deserialize)]
struct StateValue<E, S: Default> {
    version: u32,
    next: u64,
    resolved_until: i64,
    #[serde(default)]
    sources: S,
    entities: E,
}

impl Correlator {
    /// `name` is the pipeline's or the correlation's name and `topic` the threats log's; both only go into ids.
    #[must_use]
    pub fn new(name: &str, topic: &str, settings: CorrelationSettings) -> Self {
        Self {
            name: name.to_owned(),
            topic: topic.to_owned(),
            settings,
            next: Offset(0),
            resolved_until: EventTime(i64::MIN),
            entities: BTreeMap::new(),
            sources: Sources::default(),
            by_time: BTreeSet::new(),
            counts: CorrelationCounts::default(),
        }
    }

    /// Takes the next threat of the log. One from before [`Correlator::next_offset`] has been taken already and does nothing.
    pub fn apply(&mut self, signal: &ThreatSignal, out: &mut Vec<Correlated>) {
        if signal.position.offset < self.next {
            self.counts.replayed += 1;
            return;
        }
        self.next = signal.position.offset.next();
        self.counts.signals += 1;
        let source = self.sources.name(signal);
        let is_new = self.sources.hear(&source, signal, self.newest());
        while let Some((_, key)) = self.sources.first_over(&source) {
            self.take_out(&key);
        }
        if self.is_known(signal, out) || (!is_new && self.is_past(signal, out)) {
            return;
        }
        let (key, mut entity) = self.open(signal, out);
        if is_new || entity.count == 0 {
            entity.source = source;
        }
        if entity.take(signal, &self.settings) == Taken::Suppressed {
            self.counts.suppressed += 1;
        }
        self.alert(&key, &mut entity, out);
        self.put(key, entity);
    }

    /// Whether its entity has taken that threat before. What was told as resolved is told so again, behind the threat's new record.
    fn is_known(&mut self, signal: &ThreatSignal, out: &mut Vec<Correlated>) -> bool {
        let Some(entity) = self.entities.get(signal.entity.as_str()).filter(|entity| entity.knows(signal)) else { return false };
        self.counts.duplicates += 1;
        if entity.told {
            self.counts.resolved += 1;
            out.push(self.resolved(&Stub::of(signal), &signal.entity, entity, entity.resolves_at(&self.settings), Resolution::Decayed));
        }
        true
    }

    /// Whether that threat alone had decayed by the last tick: then it is told as resolved.
    fn is_past(&mut self, signal: &ThreatSignal, out: &mut Vec<Correlated>) -> bool {
        let mut alone = Entity::new(signal);
        alone.take(signal, &self.settings);
        let deadline = alone.resolves_at(&self.settings);
        let is_past = deadline <= self.resolved_until;
        if is_past {
            self.resolve(&signal.entity, &alone, deadline, Resolution::Decayed, out);
        }
        is_past
    }

    /// Takes the signal's entity out of the tables, or begins a new group of threats for it.
    fn open(&mut self, signal: &ThreatSignal, out: &mut Vec<Correlated>) -> (Arc<str>, Entity) {
        let Some((key, entity)) = self.take_out(&signal.entity) else {
            self.make_room(signal.time, out);
            return (Arc::from(signal.entity.as_str()), Entity::new(signal));
        };
        let deadline = entity.resolves_at(&self.settings);
        if deadline > signal.time {
            return (key, entity);
        }
        if !entity.told {
            self.resolve(&key, &entity, deadline, Resolution::Decayed, out);
        }
        (key, Entity::after(entity, signal))
    }

    /// Skips a record of the log that is no new threat.
    pub fn skip(&mut self, offset: Offset) {
        self.next = self.next.max(offset.next());
    }

    /// Tells that no threat from before `now - allowed_lateness` is to come: resolves what has decayed by then.
    pub fn tick(&mut self, now: EventTime, out: &mut Vec<Correlated>) {
        let until = EventTime(now.0.saturating_sub(self.settings.allowed_lateness.micros));
        self.resolved_until = self.resolved_until.max(until);
        while self.resolve_first_until(until, out) {}
    }

    /// Whether a tick would resolve anything.
    #[must_use]
    pub fn is_due(&self, now: EventTime) -> bool {
        let until = EventTime(now.0.saturating_sub(self.settings.allowed_lateness.micros));
        self.sources.first_decayed(until).is_some()
    }

    /// The time of the last tick.
    #[must_use]
    pub fn newest(&self) -> Option<EventTime> {
        let time = self.resolved_until.0.checked_add(self.settings.allowed_lateness.micros)?;
        (self.resolved_until.0 != i64::MIN).then_some(EventTime(time))
    }

    fn resolve_first_until(&mut self, until: EventTime, out: &mut Vec<Correlated>) -> bool {
        let Some((deadline, key)) = self.sources.first_decayed(until) else { return false };
        let (key, mut entity) = self.take_out(&key).expect("indexed entities exist");
        self.resolve(&key, &entity, deadline, Resolution::Decayed, out);
        entity.told = true;
        self.put(key, entity);
        true
    }

    /// Before a new entity: one that was told as resolved goes first, else the one quiet for longest, of equals the first by name.
    fn make_room(&mut self, now: EventTime, out: &mut Vec<Correlated>) {
        while self.entities.len() >= self.settings.max_entities.max(1) {
            if let Some((_, key)) = self.sources.first_told() {
                self.take_out(&key);
            } else if !self.resolve_first_until(now, out) {
                let (_, key) = self.by_time.first().cloned().expect("every entity is indexed");
                let (key, entity) = self.take_out(&key).expect("indexed entities exist");
                self.counts.evicted += 1;
                self.resolve(&key, &entity, now, Resolution::Evicted, out);
            }
        }
    }

    fn put(&mut self, key: Arc<str>, entity: Entity) {
        self.sources.insert(&entity.source, entity.told, (entity.resolves_at(&self.settings), key.clone()));
        if !entity.told {
            self.by_time.insert((EventTime(entity.time), key.clone()));
        }
        self.entities.insert(key, entity);
    }

    fn take_out(&mut self, key: &str) -> Option<(Arc<str>, Entity)> {
        let (key, entity) = self.entities.remove_entry(key)?;
        let due = (entity.resolves_at(&self.settings), key.clone());
        let by_deadline = self.sources.remove(&entity.source, entity.told, &due);
        let by_time = entity.told || self.by_time.remove(&(EventTime(entity.time), key.clone()));
        assert!(by_deadline && by_time, "every entity is indexed by what it holds");
        Some((key, entity))
    }

    fn alert(&mut self, key: &str, entity: &mut Entity, out: &mut Vec<Correlated>) {
        let risk = entity.risk(EventTime(entity.time), &self.settings);
        let severity = entity.severity();
        if entity.revision == 0 && risk >= self.settings.alert_risk {
            self.counts.alerts += 1;
        } else if entity.revision > 0 && severity > entity.published {
            self.counts.escalations += 1;
        } else {
            return;
        }
        entity.revision += 1;
        entity.published = severity;
        out.push(Correlated::Alert(records::alert(&self.alert_id(entity), key, entity, risk)));
    }

    fn alert_id(&self, entity: &Entity) -> String {
        crate::core::output::output_id(&self.name, &self.topic, entity.first(), "alert")
    }

    fn resolve(&mut self, key: &str, entity: &Entity, at: EventTime, why: Resolution, out: &mut Vec<Correlated>) {
        self.counts.resolved += entity.threats.len() as u64;
        out.extend(entity.threats.iter().map(|stub| self.resolved(stub, key, entity, at, why)));
    }

    fn resolved(&self, stub: &Stub, key: &str, entity: &Entity, at: EventTime, why: Resolution) -> Correlated {
        let alert = (entity.revision > 0).then(|| self.alert_id(entity));
        Correlated::Resolved(records::resolved(stub, key, entity, at, why, alert.as_deref()))
    }

    /// The entity's risk at `now`, 0..10; 0 for one without open threats.
    #[must_use]
    pub fn risk_of(&self, entity: &str, now: EventTime) -> f64 {
        self.entities.get(entity).filter(|entity| !entity.told).map_or(0.0, |entity| entity.risk(now, &self.settings))
    }

    /// The `count` riskiest entities at `now`, riskiest first, equals by name.
    #[must_use]
    pub fn top_risks(&self, now: EventTime, count: usize) -> Vec<(String, f64)> {
        let open = self.entities.iter().filter(|(_, entity)| !entity.told);
        let mut risks: Vec<(&Arc<str>, f64)> = open.map(|(key, entity)| (key, entity.risk(now, &self.settings))).collect();
        risks.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        risks.into_iter().take(count).map(|(key, risk)| (key.to_string(), risk)).collect()
    }

    /// The first offset of the threats log that is not in the state.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next
    }
    /// Entities with open threats.
    #[must_use]
    pub fn open_entities(&self) -> usize {
        self.by_time.len()
    }
    #[must_use]
    pub fn counts(&self) -> CorrelationCounts {
        self.counts
    }

    /// The whole state with its position, for a checkpoint. Equal states are equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let entities: BTreeMap<&str, &Entity> = self.entities.iter().map(|(key, entity)| (&**key, entity)).collect();
        let (next, resolved_until, sources) = (self.next.0, self.resolved_until.0, &self.sources);
        serde_json::to_vec(&StateValue { version: STATE_VERSION, next, resolved_until, sources: Some(sources), entities })
            .expect("the state is plain data")
    }

    /// Goes on from a checkpoint. The settings may be others than those it was made with.
    ///
    /// # Errors
    /// `Permanent` when the bytes are no state of this version.
    pub fn from_bytes(name: &str, topic: &str, settings: CorrelationSettings, bytes: &[u8]) -> Result<Self> {
        let state: StateValue<BTreeMap<String, Entity>, Sources> =
            serde_json::from_slice(bytes).map_err(|error| Error::permanent("the correlation state cannot be read").because(error))?;
        if state.version != STATE_VERSION {
            return Err(Error::permanent(format!(
                "the correlation state has version {}, this program reads {STATE_VERSION}",
                state.version
            )));
        }
        let mut correlator = Self::new(name, topic, settings);
        correlator.next = Offset(state.next);
        correlator.resolved_until = EventTime(state.resolved_until);
        correlator.sources = state.sources;
        for (key, entity) in state.entities {
            correlator.put(Arc::from(key), entity);
        }
        Ok(correlator)
    }
}
