//! A lane: the partitions of one channel, from batch to outputs handed over for settling, with their state written behind.
//!
//! It waits for nothing but its own work: claims, commits and stores are ordered and answered later. When anything about them goes
//! wrong there is one way on, the same as after a crash: drop the partition's state and take it over anew.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::holding::{Holding, Phase};
use super::note::Note;
use super::orders::{Order, Parcel, Reply, Work};
use super::poison::Poison;
use super::shared::{LaneReport, Shared};
use super::store::patiently;
use super::takeover::{self, Known};
use super::task::{Batch, Out, States, Task};
use crate::core::types::{Generation, Offset, Partition};
use crate::edge::{Committed, LogEvent, Owner, PartitionBatch, Records, StateGeneration, StateStore, clock};
use crate::error::{Error, Kind, Result};
use crate::run::outbox::Outbox;
use crate::run::telemetry::Delta;

const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The ends of a lane's channels.
pub struct Ends {
    pub work: Sender<Order>,
    pub spare: Receiver<Outbox>,
}

/// One lane. Driven by a thread, or step by step by a simulation.
pub struct Lane<T> {
    pub(super) task: T,
    /// For loading; storing has a handle of its own.
    pub(super) store: Box<dyn StateStore>,
    /// States survive this process, so that a lost one can be told from a new one.
    pub(super) durable: bool,
    /// Its number among those whose lag and states are shown.
    pub(super) shown: Option<usize>,
    pub(super) ends: Ends,
    pub(super) shared: Arc<Shared>,
    pub(super) holdings: BTreeMap<Partition, Holding>,
    pub(super) epoch: u64,
    pub(super) report: LaneReport,
    pub(super) delta: Delta,
    poison: Poison,
    /// Takes nothing until everything is committed and stored, because the task wants that.
    pub(super) is_settling: bool,
    pub(super) last_tick: Instant,
}

impl<T: Task> Lane<T> {
    #[must_use]
    pub fn new(task: T, store: Box<dyn StateStore>, durable: bool, ends: Ends, shared: Arc<Shared>) -> Self {
        Self {
            task,
            store,
            durable,
            shown: None,
            ends,
            shared,
            holdings: BTreeMap::new(),
            epoch: 0,
            report: LaneReport::default(),
            delta: Delta::default(),
            poison: Poison::default(),
            is_settling: false,
            last_tick: clock::now(),
        }
    }

    /// Shows its lag and its states as those of lane `number`.
    #[must_use]
    pub fn shown(self, number: Option<usize>) -> Self {
        Self { shown: number, ..self }
    }

    #[must_use]
    pub fn report(&self) -> LaneReport {
        self.report
    }

    /// Whether another event can be taken: no partition waits for memory or for a barrier.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_settling && !self.holdings.values().any(|holding| holding.is_blocked)
    }

    /// # Errors
    /// What a person or a restart must mend.
    pub fn event(&mut self, event: LogEvent) -> Result<()> {
        match event {
            LogEvent::Assigned { partition, generation, committed, start } => {
                // It comes back before it was let go: what is still on its way of it belongs to the ownership before.
                if self.holdings.contains_key(&partition) {
                    self.forget(partition)?;
                }
                self.take_over(partition, generation, committed.as_ref(), start)
            }
            LogEvent::Batch(batch) => self.batch(batch),
            LogEvent::End { partition, generation, delivery, .. } => {
                if self.holdings.get(&partition).is_some_and(|holding| holding.takes(generation, delivery)) {
                    self.shared.ended().insert(partition);
                }
                Ok(())
            }
            LogEvent::Revoked { partition, generation } => self.leave(partition, generation),
            LogEvent::Lost { partition, .. } => {
                tracing::warn!(partition = partition.0, "partition lost; its state is dropped");
                self.forget(partition)
            }
            LogEvent::Failed(error) => Err(error),
        }
    }

    /// # Errors
    /// What a person or a restart must mend.
    pub fn reply(&mut self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Claimed(partition, owner) => self.claimed(partition, owner),
            Reply::Committed(partition, next) => {
                if let Some(holding) = self.holdings.get_mut(&partition) {
                    holding.committed = holding.committed.max(next);
                }
                Ok(())
            }
            Reply::Stored(partition, owner, number) => {
                if let Some(holding) = self.holdings.get_mut(&partition).filter(|holding| holding.claim.owner == owner) {
                    holding.stored = number;
                    self.unblock(partition);
                }
                Ok(())
            }
            Reply::StoreLost(partition, owner, error) => {
                if self.holdings.get(&partition).is_some_and(|holding| holding.claim.owner == owner) {
                    tracing::warn!(partition = partition.0, %error, "the stored state is not ours any more; taking it over anew");
                    return self.order(Work::Rewind);
                }
                Ok(())
            }
            Reply::Drained(partition, owner) => self.left(partition, owner),
            Reply::Rewind(epoch) => self.rewound(epoch),
            Reply::Failed(error) => Err(error),
        }
    }

    pub(super) fn order(&self, work: Work) -> Result<()> {
        self.ends.work.send(Order { epoch: self.epoch, work }).map_err(|_| Error::bug("the settling thread ended"))
    }

    /// First half: read what is committed and stored, and have the claim committed.
    fn take_over(&mut self, partition: Partition, generation: Generation, committed: Option<&Committed>, start: Offset) -> Result<()> {
        let meta = patiently(self.store.as_mut(), &self.shared.give_up, |store| store.load_meta(partition))?;
        let known = Known {
            partition,
            partitions: self.shared.partitions,
            topic: self.shared.topic,
            committed,
            start,
            meta: meta.as_ref(),
            durable: self.durable,
            exactly_once: self.shared.exactly_once,
            now: StateGeneration(clock::wall().0.unsigned_abs()),
        };
        let plan = match takeover::plan(known) {
            // What was committed was read before what is stored, and a later owner may have done both between the two.
            Err(_) => takeover::plan(Known { committed: self.committed(partition)?.as_ref(), ..known })?,
            plan => plan?,
        };
        let (next, note) = (plan.live, plan.note.clone());
        self.holdings.insert(partition, Holding::new(generation, plan, start));
        self.order(Work::Claim { partition, generation, next, note })
    }

    /// Second half: no older owner can commit any more. Now none can store either, and what is stored is what will be.
    fn claimed(&mut self, partition: Partition, owner: Owner) -> Result<()> {
        // The claim of an ownership before this one may be answered late.
        let is_it = |holding: &&Holding| holding.phase == Phase::Claiming && holding.claim.owner == owner;
        let Some(holding) = self.holdings.get(&partition).filter(is_it) else { return Ok(()) };
        let (generation, mut plan) = (holding.generation, holding.plan.clone());
        let claimed = patiently(self.store.as_mut(), &self.shared.give_up, |store| store.claim(partition, owner));
        let meta = match claimed {
            Err(error) if error.kind == Kind::Fenced => return self.claimed_by_another(partition, generation, owner, error),
            other => other?,
        };
        if meta.as_ref().map_or(!plan.fresh, |meta| meta.state != plan.note.state) {
            tracing::warn!(partition = partition.0, "the stored state was lost while it was claimed; taking it over anew");
            return self.order(Work::Rewind);
        }
        // An older owner may have stored a little more before the claim.
        if let Some(meta) = &meta {
            (plan.from, plan.fresh) = (meta.checkpoint, false);
            plan.live = plan.live.max(meta.checkpoint);
        }
        let value = meta.map(|meta| meta.value).unwrap_or_default();
        self.task.assign(partition, plan.from, &value, plan.note.ticked)?;
        super::crash::point("after_claim");
        let delivery = self.shared.source.start(partition, generation, plan.from);
        let (from, live) = (plan.from.0, plan.live.0);
        tracing::info!(partition = partition.0, generation = generation.0, from, live, "partition taken over");
        if let Some(holding) = self.holdings.get_mut(&partition) {
            holding.begin(plan, delivery);
            self.shared.held.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Either this process was away for so long that the partition has moved on without it, or another group uses the same store.
    fn claimed_by_another(&mut self, partition: Partition, generation: Generation, owner: Owner, error: Error) -> Result<()> {
        let is_ours = |committed: Committed| Note::parse(&committed.note).is_some_and(|note| note.owner == owner);
        if self.committed(partition)?.is_some_and(is_ours) && self.shared.source.owns(partition, generation) {
            return Err(taken_by_another(partition, error));
        }
        tracing::warn!(partition = partition.0, %error, "another has claimed the partition meanwhile");
        self.order(Work::Rewind)
    }

    fn batch(&mut self, batch: PartitionBatch) -> Result<()> {
        let PartitionBatch { partition, generation, delivery, records, read_at, high_watermark } = batch;
        let Some(holding) = self.holdings.get_mut(&partition).filter(|held| held.takes(generation, delivery)) else {
            // Read under an ownership or from a start that is over: whoever owns it now reads it again.
            return Ok(());
        };
        holding.note_lag(high_watermark, records.last().map(|record| record.offset));
        self.report.begun.get_or_insert(read_at);
        self.shared.ended().remove(&partition);
        for piece in self.poison.pieces(partition, records) {
            if !self.piece(partition, &piece, read_at)? {
                return self.order(Work::Rewind);
            }
            self.shared.source.recycle(piece);
        }
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.bound_memory(partition)
    }

    /// Applies records and hands their outputs over. False: the partition's state is not to be used any more.
    fn piece(&mut self, partition: Partition, records: &Records, read_at: Instant) -> Result<bool> {
        let Some(holding) = self.holdings.get_mut(&partition) else { return Ok(false) };
        let (live, generation, lag) = (holding.plan.live, holding.generation, holding.lag);
        let mut states = States {
            store: self.store.as_mut(),
            partition,
            claim: holding.claim,
            number: holding.stored,
            complete: holding.complete,
            give_up: &self.shared.give_up,
        };
        // What is applied again was received before.
        let taken = if self.shown.is_some() { records.count_from(live) } else { 0 };
        self.shared.metrics.take(taken);
        self.delta.taken = taken;
        let mut outbox = self.ends.spare.try_recv().unwrap_or_default();
        let mut out = Out { outbox: &mut outbox, delta: &mut self.delta };
        let batch = Batch { partition, records, live, poison: self.poison.known(partition) };
        // What a panic leaves half done is dropped with the partition's state and the outbox.
        let worked = catch_unwind(AssertUnwindSafe(|| self.task.batch(batch, &mut states, &mut out)));
        match worked {
            Err(_) => {
                holding.phase = Phase::Broken;
                self.shared.metrics.add(&std::mem::take(&mut self.delta).given_back());
                self.poison.learn(partition, records)?;
                return Ok(false);
            }
            Ok(Err(error)) if error.kind == Kind::Fenced => {
                tracing::warn!(partition = partition.0, %error, "the stored state is not ours any more; taking it over anew");
                holding.phase = Phase::Broken;
                self.shared.metrics.add(&std::mem::take(&mut self.delta).given_back());
                return Ok(false);
            }
            Ok(other) => other?,
        }
        let next = records.last().map(|record| record.offset.next()).filter(|next| *next > live);
        holding.handed_over = holding.handed_over.max(next.unwrap_or_default());
        let delta = Box::new(std::mem::take(&mut self.delta));
        self.order(Work::Parcel(Parcel { partition, generation, outbox, next, ticked: None, read_at, delta, lag }))?;
        Ok(true)
    }

    /// The partition moves on: everything delivered before is published, committed and stored, then it is let go.
    fn leave(&mut self, partition: Partition, generation: Generation) -> Result<()> {
        match self.holdings.get(&partition).map(|holding| holding.phase) {
            Some(Phase::Live) => {
                self.checkpoint(partition, usize::MAX)?;
                let Some(holding) = self.holdings.get_mut(&partition) else { return Ok(()) };
                holding.phase = Phase::Leaving;
                let owner = holding.claim.owner;
                self.order(Work::Drain(partition, owner))
            }
            _ => {
                self.forget(partition)?;
                self.shared.source.released(partition, generation);
                Ok(())
            }
        }
    }

    fn left(&mut self, partition: Partition, owner: Owner) -> Result<()> {
        let is_it = |holding: &&Holding| holding.phase == Phase::Leaving && holding.claim.owner == owner;
        let Some(holding) = self.holdings.get(&partition).filter(is_it) else { return Ok(()) };
        let generation = holding.generation;
        self.report.settled = Some(clock::now());
        self.forget(partition)?;
        self.shared.source.released(partition, generation);
        Ok(())
    }

    fn forget(&mut self, partition: Partition) -> Result<()> {
        self.drop_holding(partition);
        self.order(Work::Forget(partition))
    }

    fn drop_holding(&mut self, partition: Partition) -> Option<Holding> {
        let holding = self.holdings.remove(&partition)?;
        if holding.phase != Phase::Claiming {
            self.shared.held.fetch_sub(1, Ordering::Relaxed);
            self.task.revoke(partition);
        }
        self.shared.ended().remove(&partition);
        if self.shown.is_some() {
            self.shared.metrics.forget_partition(partition);
        }
        Some(holding)
    }

    /// Nothing uncommitted is left: every partition goes on from what is, as after a crash.
    fn rewound(&mut self, epoch: u64) -> Result<()> {
        self.epoch = epoch;
        for partition in self.holdings.keys().copied().collect::<Vec<_>>() {
            let Some(holding) = self.drop_holding(partition) else { continue };
            if holding.phase == Phase::Leaving {
                self.shared.source.released(partition, holding.generation);
            } else if self.shared.source.owns(partition, holding.generation) {
                let committed = self.committed(partition)?;
                self.take_over(partition, holding.generation, committed.as_ref(), holding.start)?;
            }
        }
        Ok(())
    }

    fn committed(&self, partition: Partition) -> Result<Option<Committed>> {
        loop {
            match self.shared.source.committed(partition) {
                Err(error) if error.kind == Kind::Transient && !self.shared.give_up.load(Ordering::Relaxed) => {
                    tracing::warn!(%error, "trying again");
                    clock::sleep(TRY_AGAIN);
                }
                other => return other,
            }
        }
    }
}

fn taken_by_another(partition: Partition, error: Error) -> Error {
    let advice = "use one consumer group for one state store; to take the state over for this group: `threatguard state adopt`";
    Error::config(format!("the state of partition {} belongs to a later owner than this group's; {advice}", partition.0)).because(error)
}
