//! Stage 8/8: the engine calls the stages in order, for the partitions that one shard owns.
//!
//! Synchronous and deterministic. The shell decodes a batch, asks [`Engine::prefetch`] which states it must load, hands them in
//! by [`Engine::admit`], and calls [`Engine::apply`]. Every record comes out as scored, late, dead-lettered or replayed, and the
//! engine asserts that of every batch.

mod ahead;
mod exempt;
mod holdings;
mod records;
mod replay;
mod scorer;
pub mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use exempt::Exemptions;
pub use records::VerdictRecords;
pub use scorer::{PARTS, Rows, Scorer, Scores};

use self::ahead::Ahead;
use self::traffic::{Traffic, Window};
use super::ensemble::Severity;
use super::event::{Entity, Event};
use super::features::model_row;
use super::features::row::{SIGNAL_WIDTH, Schema, SequenceStep, Signal};
use super::intel::{IntelHit, IntelSet, Network};
use super::settings::CoreSettings;
use super::state::table::{Slot, Table};
use super::state::{EntityState, Lateness, Observed};
use super::types::{EntityKey, Offset, Partition};
use crate::error::{Error, Result};

/// What became of the records of a batch, and since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub received: u64,
    pub scored: u64,
    pub late: u64,
    pub dead_lettered: u64,
    /// Delivered again although their outputs and their state were durable; not part of `received`.
    pub replayed: u64,
    pub threats: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.scored += other.scored;
        self.late += other.late;
        self.dead_lettered += other.dead_lettered;
        self.replayed += other.replayed;
        self.threats += other.threats;
    }
    /// # Panics
    /// When a record was lost or counted twice: nothing may go on after that.
    pub fn assert_conserved(&self) {
        assert_eq!(
            self.received,
            self.scored + self.late + self.dead_lettered,
            "every received record is scored, late or dead-lettered, exactly once"
        );
    }
}

/// The score of one event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Index of the event in its batch, and of its feature row.
    pub event: u32,
    pub row: u32,
    /// Combined surprise, nats.
    pub surprise: f32,
    /// `None`: not a threat.
    pub severity: Option<Severity>,
}

/// What a batch led to. Reused from batch to batch.
#[derive(Debug, Default)]
pub struct Effects {
    /// One for each scored event, in order.
    pub verdicts: Vec<Verdict>,
    pub windows: Vec<Window>,
    pub counts: Counts,
}

struct Owned {
    table: Table,
    traffic: Traffic,
    /// First offset not applied yet.
    next: Offset,
}

/// The pipeline's core for the partitions of one shard.
pub struct Engine {
    schema: Schema,
    lateness: Lateness,
    window_micros: i64,
    max_entities: usize,
    stored: bool,
    seed: u64,
    travel_exempt_asns: Vec<u32>,
    travel_exempt_networks: Vec<Network>,
    exemptions: Exemptions,
    intel: Arc<IntelSet>,
    scorer: Arc<Scorer>,
    partitions: BTreeMap<Partition, Owned>,
    rows: Rows,
    scores: Scores,
    /// What is known of the batch's events ahead of their turn.
    ahead: Vec<Ahead>,
    effects: Effects,
    totals: Counts,
    evicted_before: u64,
}

/// What an engine is made of beside its settings.
pub struct Parts {
    pub intel: Arc<IntelSet>,
    pub scorer: Arc<Scorer>,
    /// Whether a store is behind: then changes are tracked, and only stored states leave memory.
    pub stored: bool,
    /// Keeps outsiders from choosing colliding keys; never shows in a result.
    pub table_seed: u64,
}

impl Engine {
    /// # Errors
    /// Names the setting that cannot be understood.
    pub fn new(settings: &CoreSettings, parts: Parts) -> Result<Self> {
        let behavior = &settings.detectors.behavior;
        let network = |text: &String| {
            Network::parse(text)
                .ok_or_else(|| Error::config(format!("travel_exempt_networks: '{text}' is not a network; write 10.0.0.0/8")))
        };
        Ok(Self {
            schema: settings.features,
            lateness: Lateness {
                allowed_micros: settings.windows.allowed_lateness.micros,
                expire_micros: settings.state.expire_after.micros,
            },
            window_micros: settings.windows.analytics.micros,
            max_entities: settings.state.max_entities,
            stored: parts.stored,
            seed: parts.table_seed,
            travel_exempt_asns: behavior.travel_exempt_asns.clone(),
            travel_exempt_networks: behavior.travel_exempt_networks.iter().map(network).collect::<Result<_>>()?,
            exemptions: Exemptions::new(&settings.exempt)?,
            intel: parts.intel,
            scorer: parts.scorer,
            partitions: BTreeMap::new(),
            rows: Rows { schema: settings.features, ..Rows::default() },
            scores: Scores::default(),
            ahead: vec![],
            effects: Effects::default(),
            totals: Counts::default(),
            evicted_before: 0,
        })
    }

    /// Takes a partition over, from `next` on. `partition_value` is what [`Engine::partition_value`] gave when it was stored.
    ///
    /// # Errors
    /// A stored value that cannot be read.
    pub fn assign(&mut self, partition: Partition, next: Offset, partition_value: &[u8]) -> Result<()> {
        let mut traffic = Traffic::new(self.window_micros, self.lateness.allowed_micros);
        if !partition_value.is_empty() {
            traffic.read(partition_value).ok_or_else(|| {
                Error::permanent(format!("the stored state of partition {} is damaged; restore it from a snapshot", partition.0))
            })?;
        }
        let table = Table::new(self.max_entities, self.stored, self.seed);
        self.partitions.insert(partition, Owned { table, traffic, next });
        self.share_capacity();
        Ok(())
    }

    /// Lets a partition go with all its state.
    pub fn revoke(&mut self, partition: Partition) {
        if let Some(owned) = self.partitions.remove(&partition) {
            self.evicted_before += owned.table.evicted();
        }
        self.share_capacity();
    }

    /// A new version of the models, from the next batch on.
    pub fn set_scorer(&mut self, scorer: Arc<Scorer>) {
        self.scorer = scorer;
    }
    #[must_use]
    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// Entities of the batch whose state is not in memory, each once.
    #[must_use]
    pub fn prefetch(&self, partition: Partition, events: &[Event<'_>]) -> Vec<EntityKey> {
        let Some(owned) = self.partitions.get(&partition) else { return vec![] };
        let mut missing = ahead::missing(&owned.table, events);
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Hands in the states that [`Engine::prefetch`] asked for; an entity without one starts anew.
    ///
    /// # Errors
    /// A value that is damaged or of a newer format.
    pub fn admit<V: AsRef<[u8]>>(&mut self, partition: Partition, loaded: impl IntoIterator<Item = (EntityKey, Option<V>)>) -> Result<()> {
        let Some(owned) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let mut scratch = vec![];
        for (key, value) in loaded {
            if owned.table.find(key).is_some() {
                continue;
            }
            if let Some(value) = value {
                let (state, memory) = EntityState::decode(value.as_ref(), &mut scratch).map_err(Error::permanent)?;
                // The mask needs the entity's kind, which its first event brings.
                let slot = owned.table.insert(key, state, Table::MASK_UNKNOWN);
                if let Some(memory) = memory {
                    owned.table.remember(slot, &memory);
                }
            }
        }
        Ok(())
    }

    /// Applies one batch of one partition and says what it led to. The rows and scores behind the verdicts stay readable
    /// through [`Engine::rows`] and [`Engine::scores`] until the next call.
    ///
    /// # Panics
    /// When the partition is not assigned, or a record would be lost or counted twice.
    pub fn apply(&mut self, partition: Partition, events: &[Event<'_>], rejects: &[Offset]) -> &Effects {
        let mut owned = self.partitions.remove(&partition).expect("only assigned partitions deliver batches");
        self.observe(&mut owned, events, rejects);
        self.partitions.insert(partition, owned);
        self.score();
        self.settle(events.len() + rejects.len());
        &self.effects
    }

    /// Stages 3 and 4: states and rows.
    pub fn observe_only(&mut self, partition: Partition, events: &[Event<'_>]) {
        let mut owned = self.partitions.remove(&partition).expect("only assigned partitions deliver batches");
        self.observe(&mut owned, events, &[]);
        self.partitions.insert(partition, owned);
    }

    /// Stages 5 to 7 on the rows at hand.
    pub fn score(&mut self) {
        self.detect();
        self.combine();
        self.judge();
    }
    pub fn detect(&mut self) {
        self.scorer.detect(self.rows.as_matrix(), &mut self.scores);
    }
    pub fn combine(&mut self) {
        self.scorer.combine(&mut self.scores);
    }
    /// Stage 7: which of the scored events are threats.
    pub fn judge(&mut self) {
        self.effects.verdicts.clear();
        for (row, event) in self.rows.event.iter().enumerate() {
            let surprise = self.scores.surprise(row);
            let severity = self.scorer.severity(surprise);
            self.effects.counts.threats += u64::from(severity.is_some());
            self.effects.verdicts.push(Verdict { event: *event, row: row as u32, surprise, severity });
        }
    }

    fn observe(&mut self, owned: &mut Owned, events: &[Event<'_>], rejects: &[Offset]) {
        self.rows.clear();
        self.go_over(owned, events, rejects, Self::observe_event);
    }

    fn new_entity(&self, owned: &mut Owned, entity: &Entity<'_>) -> Slot {
        owned.table.insert(entity.key, EntityState::default(), self.exemptions.mask(entity))
    }

    fn observe_event(&mut self, owned: &mut Owned, index: usize, event: &Event<'_>) {
        owned.next = owned.next.max(event.at.offset.next());
        let slot = self.slot_of(owned, index, event);
        // Written where it stays; taken away again if the event does not become a row.
        self.rows.signals.push([0.0; SIGNAL_WIDTH]);
        let exempt = owned.table.exempt_or(slot, || self.exemptions.mask(&event.entity));
        let travel_exempt = event.geo.coordinates.is_some() && self.is_travel_exempt(event);
        let signals = self.rows.signals.last_mut().expect("one was just pushed");
        let place = self.ahead[index].place;
        let observed = owned.table.state_mut(slot).observe(event, place, &self.lateness, travel_exempt, signals);
        let Observed::Applied(rarity) = observed else {
            self.rows.signals.pop();
            return self.passed_over(owned, slot, event.at.offset, observed);
        };
        owned.table.begin_anew(slot);
        signals[Signal::Exempt as usize] = f32::from(exempt);
        signals[Signal::DestinationCommon as usize] = self.scorer.prevalence().common(place);
        if let Some(hit) = look_up_intel(&self.intel, event) {
            signals[Signal::IntelList as usize] = f32::from(hit.list) + 1.0;
            signals[Signal::IntelConfidence as usize] = hit.confidence;
        }
        self.rows.places.push(place);
        let row = model_row(self.schema, event, owned.table.state(slot), rarity, signals);
        if let Some(network) = self.scorer.network() {
            let before = owned.table.memory(slot);
            let mut memory = before;
            self.rows.sequence.push(SequenceStep { error: network.step(&mut memory, &row), before });
            owned.table.remember(slot, &memory);
        }
        self.rows.model.push(row);
        self.rows.event.push(index as u32);
        owned.table.touched(slot, event.at.offset);
        owned.traffic.event(event, &mut self.effects.windows);
        self.effects.counts.received += 1;
        self.effects.counts.scored += 1;
    }

    /// An event that its entity's state did not take.
    fn passed_over(&mut self, owned: &mut Owned, slot: Slot, at: Offset, observed: Observed) {
        if observed == Observed::Replayed {
            self.effects.counts.replayed += 1;
            return;
        }
        self.effects.counts.received += 1;
        self.effects.counts.late += 1;
        owned.traffic.late(at);
        owned.table.touched(slot, at);
    }

    /// The slot found before, unless the entity is new or an eviction in the same batch took it.
    fn slot_of(&self, owned: &mut Owned, index: usize, event: &Event<'_>) -> Slot {
        if let Some(slot) = self.ahead[index].slot.filter(|slot| owned.table.holds(*slot, event.entity.key)) {
            return slot;
        }
        owned.table.find(event.entity.key).unwrap_or_else(|| self.new_entity(owned, &event.entity))
    }

    fn reject(&mut self, owned: &mut Owned, at: Offset) {
        if at < owned.next {
            self.effects.counts.replayed += 1;
            return;
        }
        owned.next = at.next();
        owned.traffic.dead_letter(at);
        self.effects.counts.received += 1;
        self.effects.counts.dead_lettered += 1;
    }

    fn is_travel_exempt(&self, event: &Event<'_>) -> bool {
        self.travel_exempt_asns.contains(&event.geo.asn)
            || self.travel_exempt_networks.iter().any(|network| network.contains(event.source_ip))
    }

    fn settle(&mut self, records: usize) {
        let counts = self.effects.counts;
        counts.assert_conserved();
        assert_eq!(counts.received + counts.replayed, records as u64, "every record of a batch is accounted for");
        self.totals.add(counts);
    }
}

fn look_up_intel(intel: &IntelSet, event: &Event<'_>) -> Option<IntelHit> {
    if intel.is_empty() {
        return None;
    }
    let hit = intel.lookup_ip(event.dest_ip).or_else(|| intel.lookup_ip(event.source_ip));
    let hit = hit.or_else(|| if event.file_hash.is_empty() { None } else { intel.lookup_hash(event.file_hash) });
    let named = event.resource.contains('.');
    hit.or_else(|| if named { intel.lookup_domain(host_of(event.resource)) } else { None })
}

/// The host of `host/path`, `host:port` or `scheme://host/path`.
fn host_of(resource: &str) -> &str {
    let rest = resource.split_once("://").map_or(resource, |(_, rest)| rest);
    rest.split(['/', ':', '?']).next().unwrap_or(rest)
}
