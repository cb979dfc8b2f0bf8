//! A partition that a lane holds: where it stands, and the rounds of its checkpoints.

use std::time::Instant;

use super::keep::Chunk;
use super::lane::Lane;
use super::orders::Work;
use super::takeover::Plan;
use super::task::Task;
use crate::core::types::{Generation, Offset, Partition};
use crate::edge::{Claim, Delivery, clock};
use crate::error::Result;
use crate::limits::CHECKPOINT_CHUNK_ENTITIES_MAX;

/// States of one paced write: few enough to be no pause for anybody.
const CHUNK_ENTITIES: usize = 128;
/// Chunks that may wait to be stored before a round goes on.
const CHUNKS_AHEAD: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The claim is being committed.
    Claiming,
    Live,
    /// Handed over to be settled for the last time.
    Leaving,
    /// Its state may be half changed; a rewind is on its way.
    Broken,
}

pub(super) struct Holding {
    pub generation: Generation,
    pub phase: Phase,
    pub plan: Plan,
    pub claim: Claim,
    pub delivery: Delivery,
    /// Where it starts without a commit.
    pub start: Offset,
    /// Nothing is stored of it that is not in memory: an entity that is not there is new.
    pub complete: bool,
    /// Where the last parcel leads, and the last one that is committed.
    pub handed_over: Offset,
    pub committed: Offset,
    /// Chunks handed over, and the last that is stored.
    pub chunks: u64,
    pub stored: u64,
    /// Takes nothing until everything is stored.
    pub is_blocked: bool,
    /// Changed states when this round of checkpoints began, and how many of them were taken since.
    due: usize,
    taken: usize,
    round: Instant,
    pub last_checkpoint: Instant,
    /// Checkpoint that was handed over last.
    upto: Offset,
    pub lag: u64,
}

impl Holding {
    pub fn new(generation: Generation, plan: Plan, start: Offset) -> Self {
        let now = clock::now();
        Self {
            generation,
            phase: Phase::Claiming,
            claim: Claim { owner: plan.note.owner, state: plan.note.state },
            delivery: Delivery::default(),
            start,
            complete: false,
            handed_over: plan.live,
            committed: plan.live,
            chunks: 0,
            stored: 0,
            is_blocked: false,
            due: 0,
            taken: 0,
            round: now,
            last_checkpoint: now,
            upto: plan.from,
            lag: 0,
            plan,
        }
    }

    pub fn begin(&mut self, plan: Plan, delivery: Delivery) {
        self.complete = plan.fresh;
        (self.handed_over, self.committed, self.upto) = (plan.live, plan.live, plan.from);
        (self.phase, self.plan, self.delivery) = (Phase::Live, plan, delivery);
    }

    /// Whether a batch belongs to this holding.
    pub fn takes(&self, generation: Generation, delivery: Delivery) -> bool {
        self.phase == Phase::Live && self.generation == generation && self.delivery == delivery
    }

    pub fn is_stored(&self) -> bool {
        self.stored == self.chunks
    }

    /// Everything handed over is committed and stored.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Live
            && !self.is_blocked
            && self.is_stored()
            && self.committed == self.handed_over
            && self.upto >= self.committed
    }

    /// Records are being applied again whose outputs are out already; `next` is the first that was not applied.
    pub fn is_catching_up(&self, next: Offset) -> bool {
        self.phase == Phase::Live && self.plan.from < next && next < self.plan.live
    }

    /// Nothing was applied yet, or everything that was is settled.
    pub fn is_still(&self, next: Offset) -> bool {
        self.phase == Phase::Claiming || (self.phase == Phase::Live && next <= self.plan.from) || self.is_settled()
    }

    pub fn note_lag(&mut self, high: Option<Offset>, last: Option<Offset>) {
        if let (Some(high), Some(last)) = (high, last) {
            self.lag = high.0.saturating_sub(last.0 + 1);
        }
    }
}

impl<T: Task> Lane<T> {
    /// Stores changed states a chunk at a time: each round takes those that were changed when it began, spread evenly over its
    /// time. All at once would be a burst of work for the store and for the cores that events are waiting for.
    pub(super) fn checkpoint_due(&mut self) -> Result<()> {
        let now = clock::now();
        let interval = self.shared.checkpoint_interval;
        for partition in self.holdings.keys().copied().collect::<Vec<_>>() {
            let Some(holding) = self.holdings.get_mut(&partition).filter(|holding| holding.phase == Phase::Live) else { continue };
            let elapsed = now.duration_since(holding.round);
            if elapsed >= interval && holding.taken >= holding.due {
                let dirty = self.task.dirty_len(partition);
                (holding.round, holding.due, holding.taken) = (now, dirty, 0);
                // Dead letters and late events change no state, but a replay need not begin before them.
                if dirty == 0 && self.task.checkpoint(partition) > holding.upto {
                    self.checkpoint(partition, 0)?;
                }
                continue;
            }
            let passed = if interval.is_zero() { 1.0 } else { (elapsed.as_secs_f64() / interval.as_secs_f64()).min(1.0) };
            let wanted = (holding.due as f64 * passed).ceil() as usize;
            // A slow store must hold up the checkpoints and not the events; without an end to it, memory's bound does that.
            if wanted > holding.taken && holding.chunks - holding.stored < CHUNKS_AHEAD {
                let chunk = (holding.due - holding.taken).min(CHUNK_ENTITIES);
                holding.taken += chunk;
                self.checkpoint(partition, chunk)?;
            }
        }
        Ok(())
    }

    /// Hands over up to `max` changed states, and how far that takes the partition.
    pub(super) fn checkpoint(&mut self, partition: Partition, max: usize) -> Result<()> {
        let mut left = max.min(self.task.dirty_len(partition));
        loop {
            let (mut entries, mut bytes, mut value) = (vec![], vec![], vec![]);
            let took = self.task.take_dirty(partition, left.min(CHECKPOINT_CHUNK_ENTITIES_MAX), &mut entries, &mut bytes);
            left -= took;
            self.task.value(partition, &mut value);
            let upto = self.task.checkpoint(partition);
            let Some(holding) = self.holdings.get_mut(&partition) else { return Ok(()) };
            (holding.upto, holding.last_checkpoint) = (upto, clock::now());
            holding.chunks += 1;
            let claim = holding.claim;
            self.order(Work::Chunk(Chunk { partition, claim, entries, bytes, value, upto }))?;
            if left == 0 || took == 0 {
                return Ok(());
            }
        }
    }
}
