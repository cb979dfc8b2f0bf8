//! One shard: the partitions of one channel, from batch to published outputs, with their state written behind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::settle::{Chunk, Settler};
use super::store::{check_recoverable, fenced, load_missing, patiently};
use crate::core::engine::{Counts, Engine};
use crate::core::event::Event;
use crate::core::types::{Generation, Offset, Partition};
use crate::edge::clock;
use crate::edge::{Claim, LogEvent, LogSource, PartitionBatch, Publisher, Sequence, StateGeneration, StateStore};
use crate::error::{Error, Kind, Result};
use crate::limits::CHECKPOINT_CHUNK_ENTITIES_MAX;
use crate::run::outbox::Outbox;
use crate::run::summary::Latencies;
use crate::run::telemetry::{Delta, Metrics, Stage};
use crate::run::worker::{Out, Worker};

const IDLE_WAIT: Duration = Duration::from_millis(20);
/// While outputs are on their way, so that their latency is measured when they arrive.
const BUSY_WAIT: Duration = Duration::from_millis(1);
/// States of one paced write: few enough to be no pause for anybody.
const CHUNK_ENTITIES: usize = 128;

/// What all shards share.
pub struct Shared {
    pub publisher: Arc<dyn Publisher>,
    pub source: Arc<dyn LogSource>,
    pub metrics: Arc<Metrics>,
    pub checkpoint_interval: Duration,
    /// Partitions whose end was reached and has not moved since, for `--once`.
    pub ended: Arc<std::sync::Mutex<std::collections::BTreeSet<Partition>>>,
    pub give_up: Arc<AtomicBool>,
    /// The process was told to stop.
    pub stop: Arc<AtomicBool>,
    /// Batches handled by all shards: a sign of life.
    pub batches: AtomicU64,
    /// Partitions that all shards have taken over with their states.
    pub held: AtomicUsize,
}

impl Shared {
    /// A thread that fails does not wait for brokers or stores that may never come back.
    pub fn give_up_after<T>(&self, ended: &Result<T>) {
        self.give_up.fetch_or(ended.is_err(), Ordering::Relaxed);
    }

    /// Partitions that are read to their end.
    pub fn ended(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<Partition>> {
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A partition that this shard owns.
struct Holding {
    generation: Generation,
    claim: Claim,
    /// Changed states when this round of checkpoints began, and how many of them were taken since.
    due: usize,
    taken: usize,
    round: Instant,
    last_checkpoint: Instant,
    /// Checkpoint point that was handed over last.
    handed: Offset,
    /// Nothing is stored of it that is not in memory: an entity that is not there is new.
    complete: bool,
    lag: u64,
}

/// What a shard did.
#[derive(Default)]
pub struct ShardReport {
    pub counts: Counts,
    pub latencies: Latencies,
    /// When its first record was read, and when the last partition that it gave away was published, stored and committed.
    pub begun: Option<Instant>,
    pub settled: Option<Instant>,
}

impl ShardReport {
    /// Adds what another shard did beside this one.
    pub fn merge(&mut self, other: &Self) {
        self.counts.add(other.counts);
        self.latencies.merge(&other.latencies);
        self.begun = [self.begun, other.begun].into_iter().flatten().min();
        self.settled = self.settled.max(other.settled);
    }
}

pub struct Shard {
    pub events: Receiver<LogEvent>,
    pub worker: Worker,
    pub store: Box<dyn StateStore>,
    /// Whether states survive this process, so that a lost one can be told from a new one.
    pub durable: bool,
    pub settler: Settler,
    pub shared: Arc<Shared>,
    pub report: ShardReport,
    holdings: BTreeMap<Partition, Holding>,
    /// Batches whose outputs are not delivered yet: when they were read, their last output, their events.
    in_flight: VecDeque<(Instant, Sequence, u64)>,
    outbox: Outbox,
    delta: Delta,
    scratch: Vec<u8>,
}

impl Shard {
    #[must_use]
    pub fn new(
        events: Receiver<LogEvent>,
        worker: Worker,
        store: Box<dyn StateStore>,
        durable: bool,
        settler: Settler,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            events,
            worker,
            store,
            durable,
            settler,
            shared,
            report: ShardReport::default(),
            holdings: BTreeMap::new(),
            in_flight: VecDeque::new(),
            outbox: Outbox::default(),
            delta: Delta::default(),
            scratch: vec![],
        }
    }

    /// Runs until the source closes its channels.
    ///
    /// # Errors
    /// What a person or a restart must mend. Nothing that was not settled is committed.
    pub fn run(mut self) -> Result<ShardReport> {
        let ended = self.serve();
        self.shared.give_up_after(&ended);
        let finished = self.settler.finish();
        self.note_delivered();
        ended?;
        finished?;
        self.report.counts.assert_conserved();
        Ok(self.report)
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            let wait = if self.in_flight.is_empty() { IDLE_WAIT } else { BUSY_WAIT };
            match self.events.recv_timeout(wait) {
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.note_delivered();
            self.checkpoint_due()?;
            self.settler.check()?;
            if let Some(error) = self.shared.publisher.failure() {
                return Err(error);
            }
        }
    }

    fn handle(&mut self, event: LogEvent) -> Result<()> {
        match event {
            LogEvent::Assigned { partition, generation, committed } => self.take_over(partition, generation, committed),
            LogEvent::Batch(batch) => self.batch(batch),
            LogEvent::End { partition, .. } => {
                self.shared.ended().insert(partition);
                Ok(())
            }
            LogEvent::Revoked { partition, generation } => self.hand_over(partition, generation),
            LogEvent::Lost { partition, .. } => {
                tracing::warn!(partition = partition.0, "partition lost; its state is dropped");
                self.drop_partition(partition)
            }
            LogEvent::Failed(error) => Err(error),
        }
    }

    fn take_over(&mut self, partition: Partition, generation: Generation, committed: Option<Offset>) -> Result<()> {
        let meta = match self.patiently(|store| store.claim(partition, generation)) {
            Err(error) if error.kind == Kind::Fenced => return fenced(self.shared.source.as_ref(), partition, generation, error),
            other => other?,
        };
        let start = committed.unwrap_or_default();
        if self.durable {
            check_recoverable(partition, committed, meta.as_ref().map(|meta| meta.checkpoint))?;
        }
        // What lies before the checkpoint was published and is stored: it passes by without a trace, until the group has caught up.
        let next = meta.as_ref().map_or(start, |meta| meta.checkpoint.max(start));
        if next > start {
            tracing::warn!(partition = partition.0, committed = start.0, checkpoint = next.0, "the state is ahead of the group's offset");
        }
        let complete = meta.is_none();
        let state = meta.as_ref().map_or_else(|| StateGeneration(clock::wall().0 as u64), |meta| meta.state);
        let value = meta.map(|meta| meta.value).unwrap_or_default();
        self.worker.engine().assign(partition, next, &value)?;
        self.settler.assigned(partition, generation, start)?;
        let now = clock::now();
        let claim = Claim { owner: generation, state };
        let holding = Holding { generation, claim, due: 0, taken: 0, round: now, last_checkpoint: now, handed: start, complete, lag: 0 };
        if self.holdings.insert(partition, holding).is_none() {
            self.shared.held.fetch_add(1, Ordering::Relaxed);
        }
        tracing::info!(partition = partition.0, generation = generation.0, start = start.0, "partition assigned");
        Ok(())
    }

    fn batch(&mut self, batch: PartitionBatch) -> Result<()> {
        let PartitionBatch { partition, generation, records, read_at, high_watermark } = batch;
        let Some(complete) = self.holdings.get(&partition).filter(|held| held.generation == generation).map(|held| held.complete) else {
            // Read under an ownership that has ended: whoever owns it now reads it again.
            return Ok(());
        };
        if let (Some(high), Some(checkpoint)) = (high_watermark, self.worker.engine().next(partition))
            && high < checkpoint
            && self.durable
        {
            let (partition, high, checkpoint) = (partition.0, high.0, checkpoint.0);
            return Err(Error::config(format!(
                "the state of partition {partition} goes to offset {checkpoint}, the log ends at {high}: was the topic made anew? begin with another group id and an empty state store"
            )));
        }
        self.report.begun.get_or_insert(read_at);
        self.shared.ended().remove(&partition);
        self.outbox.clear();
        let (store, give_up) = (&mut self.store, &self.shared.give_up);
        let load = |engine: &mut Engine, events: &[Event<'_>]| {
            if complete { Ok(()) } else { load_missing(engine, partition, events, store.as_mut(), give_up) }
        };
        let mut out = Out { outbox: &mut self.outbox, on_threat: &mut |_| {}, delta: &mut self.delta };
        let counts = self.worker.process(partition, &records, load, &mut out)?;
        let scored_at = clock::now();
        let last = self.outbox.publish(self.shared.publisher.as_ref(), || give_up.load(Ordering::Relaxed))?;
        self.delta.spent(Stage::Publish, scored_at.elapsed());
        self.in_flight.push_back((read_at, last, counts.received));
        self.report.counts.add(counts);
        self.note_lag(partition, high_watermark, records.iter().last().map(|record| record.offset));
        self.shared.source.recycle(records);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.shared.metrics.add(&self.delta);
        self.delta.clear();
        self.bound_memory(partition)
    }

    fn note_lag(&mut self, partition: Partition, high: Option<Offset>, last: Option<Offset>) {
        if let (Some(high), Some(last), Some(holding)) = (high, last, self.holdings.get_mut(&partition)) {
            holding.lag = high.0.saturating_sub(last.0 + 1);
            self.shared.metrics.set_partition(partition, holding.lag, holding.last_checkpoint.elapsed());
        }
    }

    /// Evicts what is stored; beyond the bound, stores until there is something to evict.
    fn bound_memory(&mut self, partition: Partition) -> Result<()> {
        if !self.worker.engine().is_over_capacity(partition) {
            return Ok(());
        }
        if let Some(holding) = self.holdings.get_mut(&partition) {
            holding.complete = false;
        }
        if self.settler.is_idle() {
            self.worker.engine().trim(partition);
        }
        while self.worker.engine().is_far_over_capacity(partition) {
            self.checkpoint(partition, usize::MAX)?;
            while !self.settler.is_idle() {
                self.settler.check()?;
                std::thread::sleep(BUSY_WAIT);
            }
            if self.worker.engine().trim(partition) == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Stores changed states a chunk at a time: each round takes those that were changed when it began, spread evenly over its
    /// time. All at once would be a burst of work for the store and for the cores that events are waiting for.
    fn checkpoint_due(&mut self) -> Result<()> {
        let now = clock::now();
        let interval = self.shared.checkpoint_interval;
        let partitions: Vec<Partition> = self.holdings.keys().copied().collect();
        for partition in partitions {
            let dirty = self.worker.engine().dirty_len(partition);
            let behind = self.worker.engine().checkpoint(partition);
            let Some(holding) = self.holdings.get_mut(&partition) else { continue };
            let elapsed = now.duration_since(holding.round);
            if elapsed >= interval && holding.taken >= holding.due {
                (holding.round, holding.due, holding.taken) = (now, dirty, 0);
                // Dead letters and late events change no state but must be settled too.
                if dirty == 0 && behind > Some(holding.handed) {
                    self.checkpoint(partition, 0)?;
                }
                continue;
            }
            let wanted = (holding.due as f64 * (elapsed.as_secs_f64() / interval.as_secs_f64()).min(1.0)).ceil() as usize;
            // A slow store must hold up the checkpoints and not the events; without an end to it, memory's bound does that.
            if wanted > holding.taken && self.settler.has_room() {
                let chunk = (holding.due - holding.taken).min(CHUNK_ENTITIES);
                holding.taken += chunk;
                self.checkpoint(partition, chunk)?;
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, partition: Partition, max: usize) -> Result<()> {
        let Some(holding) = self.holdings.get_mut(&partition) else { return Ok(()) };
        let engine = self.worker.engine();
        let mut left = max.min(engine.dirty_len(partition));
        loop {
            let (mut entries, mut bytes, mut value) = (vec![], vec![], vec![]);
            let scratch = &mut self.scratch;
            let took = engine.take_dirty(partition, left.min(CHECKPOINT_CHUNK_ENTITIES_MAX), |key, state| {
                state.encode(scratch, &mut bytes);
                entries.push((key, bytes.len()));
            });
            left -= took;
            engine.partition_value(partition, &mut value);
            let upto = engine.checkpoint(partition).unwrap_or(holding.handed);
            holding.handed = upto;
            holding.last_checkpoint = clock::now();
            let after = self.shared.publisher.produced();
            self.settler.store(Chunk { partition, claim: holding.claim, entries, bytes, value, upto, after })?;
            if left == 0 || took == 0 {
                return Ok(());
            }
        }
    }

    /// The partition moves on: everything delivered before is published, stored and committed, then it is let go.
    fn hand_over(&mut self, partition: Partition, generation: Generation) -> Result<()> {
        if self.holdings.contains_key(&partition) {
            self.checkpoint(partition, usize::MAX)?;
            self.settler.drain(partition)?;
            self.report.settled = Some(clock::now());
            self.drop_partition(partition)?;
        }
        self.shared.source.released(partition, generation);
        Ok(())
    }

    fn drop_partition(&mut self, partition: Partition) -> Result<()> {
        if self.holdings.remove(&partition).is_some() {
            self.shared.held.fetch_sub(1, Ordering::Relaxed);
        }
        self.worker.engine().revoke(partition);
        self.shared.ended().remove(&partition);
        self.shared.metrics.forget_partition(partition);
        self.settler.forget(partition)
    }

    fn note_delivered(&mut self) {
        let delivered = self.shared.publisher.delivered();
        while let Some((begun, last, events)) = self.in_flight.front().copied() {
            if last > delivered {
                return;
            }
            self.in_flight.pop_front();
            let micros = begun.elapsed().as_micros() as u64;
            self.report.latencies.add(micros, events);
            self.delta.latency.add(micros, events);
        }
    }

    fn patiently<T>(&mut self, work: impl Fn(&mut dyn StateStore) -> Result<T>) -> Result<T> {
        patiently(self.store.as_mut(), &self.shared.give_up, work)
    }
}
