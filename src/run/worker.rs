//! One shard's work on a batch: decode, apply, render. The same for files and for Kafka.

use std::collections::BTreeSet;
use std::sync::Arc;

use bumpalo::Bump;

use crate::config::service::Verdicts;
use crate::core::decode::Decoded;
use crate::core::engine::{Counts, Effects, Engine, Verdict};
use crate::core::event::{Event, Record, Reject, RejectReason};
use crate::core::output::ThreatRecord;
use crate::core::types::{Offset, Partition};
use crate::edge::{Records, TopicRole, clock};
use crate::error::Result;
use crate::limits::OUTPUT_BYTES_MAX;
use crate::run::arrow_verdicts::{ArrowVerdicts, VERDICTS_PER_RECORD_MAX};
use crate::run::drift::Watching;
use crate::run::learning::{Learning, ScoredPart};
use crate::run::outbox::Outbox;
use crate::run::pipeline::Pipeline;
use crate::run::recalibration::Feeding;
use crate::run::render::Origin;
use crate::run::shadow::Beside;
use crate::run::telemetry::{Delta, Stage};

/// Hears what a batch leads to: the live view, the correlator of an embedded run, a backtest.
pub trait Listener {
    /// Every threat as it is rendered.
    fn threat(&mut self, _threat: &ThreatRecord) {}
    /// Every event that was scored, before its threat is rendered.
    fn scored(&mut self, _part: ScoredPart<'_>) {}
}

/// Hears nothing.
pub struct Silent;
impl Listener for Silent {}

/// Where a batch's results go.
pub struct Out<'a> {
    pub outbox: &'a mut Outbox,
    pub listener: &'a mut dyn Listener,
    pub delta: &'a mut Delta,
}

/// Decodes, scores and renders batches for the partitions of one shard.
pub struct Worker {
    pipeline: Arc<Pipeline>,
    engine: Engine,
    learning: Arc<Learning>,
    learning_version: u64,
    offered: u64,
    shadows: u64,
    shadow: Option<Box<Beside>>,
    watching: Option<Box<Watching>>,
    feeding: Option<Box<Feeding>>,
    origin: Origin,
    verdicts: Verdicts,
    arrow: ArrowVerdicts,
    arena: Bump,
}

impl Worker {
    /// # Errors
    /// A setting that cannot be understood.
    pub fn new(
        pipeline: Arc<Pipeline>,
        learning: Arc<Learning>,
        origin: Origin,
        verdicts: Verdicts,
        stored: bool,
        seed: u64,
    ) -> Result<Self> {
        let (learning_version, offered) = (learning.version(), learning.offered());
        let engine = pipeline.engine(learning.scorer(), stored, seed)?;
        let watching = learning.monitor().map(|monitor| Box::new(Watching::new(monitor)));
        let feeding = learning.rolling().map(|rolling| Box::new(Feeding::new(rolling)));
        let shadow = None;
        Ok(Self {
            pipeline,
            engine,
            learning,
            learning_version,
            offered,
            shadows: 0,
            shadow,
            watching,
            feeding,
            origin,
            verdicts,
            arrow: ArrowVerdicts::new()?,
            arena: Bump::new(),
        })
    }

    #[must_use]
    pub fn states(&self) -> &Engine {
        &self.engine
    }

    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Whether other models wait to be taken over.
    #[must_use]
    pub fn wants_models(&self) -> bool {
        self.learning.offered() != self.offered
    }

    /// Scores with the models that were offered, from the next batch on. Call it where everything before is settled.
    pub fn take_models(&mut self) {
        self.offered = self.learning.offered();
        self.set_models();
    }

    fn set_models(&mut self) {
        self.engine.set_scorer(self.learning.scorer());
        self.watching = self.learning.monitor().map(|monitor| Box::new(Watching::new(monitor)));
        let rolling = self.learning.rolling();
        let same = self.feeding.take().filter(|feeding| rolling.as_ref().is_some_and(|rolling| feeding.is_of(rolling)));
        self.feeding = same.or_else(|| rolling.map(|rolling| Box::new(Feeding::new(rolling))));
    }

    /// Takes a batch apart: `load` is given the engine and the batch's events to bring in states that are not in memory. Results of
    /// records before `live` are out already: those only change states. Records of `poison` are refused unseen.
    ///
    /// # Errors
    /// Whatever `load` says, and `Bug`s.
    pub fn process(
        &mut self,
        partition: Partition,
        records: &Records,
        live: Offset,
        poison: Option<&BTreeSet<Offset>>,
        load: impl FnOnce(&mut Engine, &[Event<'_>]) -> Result<()>,
        out: &mut Out<'_>,
    ) -> Result<Counts> {
        let mut arena = std::mem::take(&mut self.arena);
        arena.reset();
        let pipeline = Arc::clone(&self.pipeline);
        let begun = clock::now();
        let counts = {
            let whole: Vec<Record<'_>> = records.iter().map(|record| record.as_record(partition)).collect();
            let mut decoded = Decoded::default();
            pipeline.decode(&whole, &arena, &mut decoded);
            if let Some(poison) = poison {
                refuse(&mut decoded, &whole, poison);
            }
            let decoded_at = clock::now();
            out.delta.spent(Stage::Decode, decoded_at - begun);
            load(&mut self.engine, &decoded.events)?;
            out.delta.spent(Stage::Load, decoded_at.elapsed());
            let (old, old_rejects) = before(&decoded, live);
            let (events, rejects) = (&decoded.events[old.len()..], &decoded.rejects[old_rejects.len()..]);
            let replayed = self.replay(partition, old, old_rejects, out.delta);
            self.dead_letters(records, rejects, out);
            let mut counts = self.apply(partition, events, rejects, out)?;
            counts.add(replayed);
            counts
        };
        out.delta.counts.add(counts);
        self.arena = arena;
        Ok(counts)
    }

    fn replay(&mut self, partition: Partition, events: &[Event<'_>], rejects: &[Reject<'_>], delta: &mut Delta) -> Counts {
        if events.is_empty() && rejects.is_empty() {
            return Counts::default();
        }
        let begun = clock::now();
        let refused: Vec<Offset> = rejects.iter().map(|reject| reject.at.offset).collect();
        let counts = self.engine.replay(partition, events, &refused);
        delta.spent(Stage::Score, clock::since(begun));
        counts
    }

    fn dead_letters(&self, records: &Records, rejects: &[Reject<'_>], out: &mut Out<'_>) {
        rejects.iter().for_each(|reject| out.delta.dead_letter(reject.reason));
        let of = |reject: &Reject<'_>| {
            let record = records.find(reject.at.offset);
            record.map_or((None, 0), |record| (record.time, record.whole_len))
        };
        self.origin.dead_letters(rejects, of, out.outbox);
    }

    /// Applies a decoded batch, cut where learning ends so that the models change at exactly that event.
    fn apply(&mut self, partition: Partition, mut events: &[Event<'_>], mut rejects: &[Reject<'_>], out: &mut Out<'_>) -> Result<Counts> {
        let learning = Arc::clone(&self.learning);
        let mut counts = Counts::default();
        loop {
            self.take_over_models();
            // None is set aside while other shards score the last that are wanted: those of this one are then not learned from.
            let reserved = learning.reserve(events.len() as u64);
            let cut = if reserved.events() == 0 { events.len() } else { reserved.events() as usize };
            let (now, later) = events.split_at(cut);
            let upto = later.first().map_or(Offset(u64::MAX), |event| event.at.offset);
            let (now_rejects, later_rejects) = rejects.split_at(rejects.partition_point(|reject| reject.at.offset < upto));
            counts.add(self.apply_part(partition, now, now_rejects, out)?);
            if reserved.events() > 0 {
                let verdicts = &self.engine.effects().verdicts;
                learning.offer(&self.pipeline, reserved, ScoredPart { engine: &self.engine, events: now, verdicts })?;
            }
            if later.is_empty() {
                return Ok(counts);
            }
            (events, rejects) = (later, later_rejects);
        }
    }

    fn apply_part(&mut self, partition: Partition, events: &[Event<'_>], rejects: &[Reject<'_>], out: &mut Out<'_>) -> Result<Counts> {
        let begun = clock::now();
        let refused: Vec<Offset> = rejects.iter().map(|reject| reject.at.offset).collect();
        self.engine.apply(partition, events, &refused);
        let scored_at = clock::now();
        out.delta.spent(Stage::Score, scored_at - begun);
        let effects = self.engine.effects();
        if let Some(shadow) = &mut self.shadow {
            shadow.compare(&self.engine, events);
        }
        if let Some(watching) = &mut self.watching {
            watching.watch(&self.engine);
        }
        if let Some(feeding) = &mut self.feeding {
            feeding.feed(&self.engine, events);
        }
        self.note_threats(effects, out.delta);
        out.listener.scored(ScoredPart { engine: &self.engine, events, verdicts: &effects.verdicts });
        self.origin.threats(&self.engine, events, &effects.verdicts, out.outbox, |threat| out.listener.threat(threat));
        self.origin.windows(partition, &effects.windows, out.outbox);
        match self.verdicts {
            Verdicts::None => {}
            Verdicts::Json => self.origin.verdicts(&self.engine, events, &effects.verdicts, out.outbox),
            Verdicts::Arrow => self.arrow(partition, events, &effects.verdicts, out.outbox)?,
        }
        out.delta.spent(Stage::Render, scored_at.elapsed());
        Ok(effects.counts)
    }

    /// Which detectors carried the threats: those with more than a tenth of the surprise.
    fn note_threats(&self, effects: &Effects, delta: &mut Delta) {
        for verdict in &effects.verdicts {
            let Some(severity) = verdict.severity else { continue };
            delta.threats[severity as usize] += 1;
            let parts = self.engine.scorer().weighted(self.engine.scores().parts(verdict.row as usize));
            for (part, surprise) in parts.into_iter().enumerate() {
                delta.surprise_nats[part] += f64::from(surprise);
                delta.fired[part] += u64::from(surprise > 0.1 * verdict.surprise);
            }
        }
    }

    fn arrow(&self, partition: Partition, events: &[Event<'_>], verdicts: &[Verdict], outbox: &mut Outbox) -> Result<()> {
        let mut rest = verdicts;
        while !rest.is_empty() {
            let (part, later) = rest.split_at(fitting(events, rest));
            rest = later;
            let mut written = Ok(());
            outbox.push_to(TopicRole::Verdicts, partition, |out| written = self.arrow.write(&self.engine, events, part, out));
            written?;
        }
        Ok(())
    }

    fn take_over_models(&mut self) {
        let version = self.learning.version();
        if version != self.learning_version {
            self.set_models();
            self.learning_version = version;
        }
        let shadows = self.learning.shadows();
        if shadows != self.shadows {
            self.shadows = shadows;
            self.shadow = self.learning.shadow().map(|shadow| Box::new(Beside::new(shadow)));
        }
    }

    /// Closes what a finite input leaves open.
    pub fn finish(&mut self, partition: Partition, outbox: &mut Outbox) {
        let windows = self.engine.finish(partition);
        self.origin.windows(partition, &windows, outbox);
    }
}

/// Turns the events of these records into rejects.
fn refuse<'b>(decoded: &mut Decoded<'b>, records: &[Record<'b>], poison: &BTreeSet<Offset>) {
    let is_poison = |event: &Event<'_>| poison.contains(&event.at.offset);
    for event in decoded.events.extract_if(.., |event| is_poison(event)) {
        let raw = records.iter().find(|record| record.at == event.at).map_or(&b""[..], |record| record.payload);
        let detail = "working on it panicked".to_owned();
        decoded.rejects.push(Reject { at: event.at, reason: RejectReason::Panicked, detail, raw });
    }
    decoded.rejects.sort_by_key(|reject| reject.at.offset);
}

/// Events and rejects from before an offset.
fn before<'d, 'a>(decoded: &'d Decoded<'a>, live: Offset) -> (&'d [Event<'a>], &'d [Reject<'a>]) {
    let events = decoded.events.partition_point(|event| event.at.offset < live);
    let rejects = decoded.rejects.partition_point(|reject| reject.at.offset < live);
    (&decoded.events[..events], &decoded.rejects[..rejects])
}

/// How many verdicts fit one record: names come from outside and may be long.
fn fitting(events: &[Event<'_>], verdicts: &[Verdict]) -> usize {
    let mut bytes = 0;
    let size = |verdict: &Verdict| VERDICT_BYTES + events[verdict.event as usize].entity.name.len();
    let within = |verdict: &&Verdict| {
        bytes += size(verdict);
        bytes <= OUTPUT_BYTES_MAX / 2
    };
    verdicts.iter().take(VERDICTS_PER_RECORD_MAX).take_while(within).count().max(1)
}

/// A verdict's columns beside its name, generously.
const VERDICT_BYTES: usize = 256;
