//! Publish, commit, then store: the one place where outputs and offsets are settled, in this order.
//!
//! A lane hands over parcels of outputs, each with the offset that they lead up to, and chunks of changed state between them. What
//! was published is committed together with its offsets, every commit interval; only then do the chunks that lie before it go on to
//! the store. So a stored state never knows more than what the group has committed, and what it knows less is replayed.
//!
//! When a transaction does not end well nobody asks why: the lane is told to rewind, and goes on from what the group has committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::crash;
use super::keep::Keep;
use super::note::Note;
use super::orders::{Order, Output, Parcel, Reply, Work};
use super::pace::Pace;
use super::shared::Settled;
use super::waiting::{Sent, TRY_AGAIN, Waiting, renew};
use crate::core::types::{Generation, Offset, Partition};
use crate::edge::{Commit, CommitMode, LogSource, Sequence, clock};
use crate::error::{Error, Kind, Result};
use crate::run::outbox::Outbox;
use crate::run::telemetry::{Delta, Metrics, Stage};

const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// Between two looks at what is delivered, while something is on its way.
const WATCH_EVERY: Duration = Duration::from_millis(1);
/// A broker that takes longer to acknowledge holds back what comes after no further.
const HURRY_MAX: Duration = Duration::from_millis(50);
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// What settling needs.
pub struct Parts {
    pub output: Output,
    pub source: Arc<dyn LogSource>,
    pub keep: Sender<Keep>,
    pub replies: Sender<Reply>,
    /// Emptied outboxes, for reuse.
    pub spare: Sender<Outbox>,
    pub metrics: Arc<Metrics>,
    pub commit_interval: Duration,
    /// Set when the process is told to go and must not wait for a broker that is away.
    pub give_up: Arc<AtomicBool>,
}

/// The settling of one lane. Driven by a thread, or step by step by a simulation.
pub struct Settler {
    parts: Parts,
    epoch: u64,
    queue: VecDeque<Waiting>,
    owned: BTreeMap<Partition, (Generation, Note)>,
    /// When the first output since the last commit was published.
    opened: Option<Instant>,
    /// When the first output was published that nobody has told the publisher to send.
    unsent: Option<Instant>,
    urgent: bool,
    last_commit: Instant,
    pace: Pace,
    settled: Settled,
    delta: Delta,
}

impl Settler {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let pace = Pace::new(parts.commit_interval);
        Self {
            parts,
            pace,
            epoch: 0,
            queue: VecDeque::new(),
            owned: BTreeMap::new(),
            opened: None,
            unsent: None,
            urgent: false,
            last_commit: clock::now(),
            settled: Settled::default(),
            delta: Delta::default(),
        }
    }

    /// # Errors
    /// What a person or a restart must mend.
    pub fn take(&mut self, Order { epoch, work }: Order) -> Result<()> {
        if epoch != self.epoch {
            if let Work::Parcel(parcel) = work {
                self.give_back(*parcel.delta);
                self.recycle(parcel.outbox);
            }
            return Ok(());
        }
        match work {
            Work::Claim { partition, generation, next, note } => {
                self.queue.push_back(Waiting::Claim(partition, next, note.owner));
                self.owned.insert(partition, (generation, note));
                self.urgent = true;
            }
            Work::Parcel(parcel) => return self.publish(parcel),
            Work::Chunk(chunk) => self.queue.push_back(Waiting::Chunk(chunk)),
            Work::Drain(partition, owner) => {
                self.pace.forget(partition);
                self.queue.push_back(Waiting::Drain(partition, owner));
                self.urgent = true;
            }
            Work::Forget(partition) => return self.forget(partition),
            Work::Rewind => return self.rewind("the lane asks for it"),
        }
        Ok(())
    }

    /// Commits when it is time to.
    ///
    /// # Errors
    /// What a person or a restart must mend.
    pub fn step(&mut self) -> Result<()> {
        self.note_delivered()?;
        if self.queue.is_empty() {
            self.urgent = false;
            return Ok(());
        }
        let since_open = self.opened.map(clock::since);
        let due = match self.parts.output {
            Output::ExactlyOnce(_) => since_open.is_none_or(|open| self.pace.left(open).is_zero()),
            Output::AtLeastOnce { .. } => clock::since(self.last_commit) >= self.parts.commit_interval,
        };
        if due || self.urgent { self.commit() } else { Ok(()) }
    }

    /// How long nothing will have to be done unless work comes.
    #[must_use]
    pub fn wait(&self) -> Duration {
        if self.queue.is_empty() {
            return IDLE_WAIT;
        }
        match (&self.parts.output, self.opened) {
            (Output::AtLeastOnce { .. }, _) => WATCH_EVERY,
            (Output::ExactlyOnce(_), Some(opened)) => self.pace.left(clock::since(opened)).min(IDLE_WAIT),
            (Output::ExactlyOnce(_), None) => Duration::ZERO,
        }
    }

    /// Settles what is left, at the end.
    ///
    /// # Errors
    /// Why it could not.
    pub fn finish(mut self) -> Result<Settled> {
        self.urgent = true;
        self.step()?;
        self.settled.counts.assert_conserved();
        Ok(self.settled)
    }

    fn publish(&mut self, parcel: Parcel) -> Result<()> {
        let Parcel { partition, generation, outbox, next, ticked, read_at, delta, lag } = parcel;
        let Some((owner, note)) = self.owned.get_mut(&partition).filter(|(owner, _)| *owner == generation) else {
            self.give_back(*delta);
            self.recycle(outbox);
            return Ok(());
        };
        debug_assert_eq!(*owner, generation);
        note.ticked = ticked.or(note.ticked);
        let begun = clock::now();
        let give_up = || self.parts.give_up.load(Ordering::Relaxed);
        let published = match &mut self.parts.output {
            Output::ExactlyOnce(transactions) => outbox.in_runs(|run| transactions.publish(run, &give_up)).map(|()| Sequence::default()),
            Output::AtLeastOnce { publisher, .. } => outbox.publish(publisher.as_ref(), give_up),
        };
        self.delta.spent(Stage::Publish, clock::since(begun));
        self.recycle(outbox);
        let last = match published {
            Ok(last) => last,
            Err(error) => {
                self.give_back(*delta);
                return self.recover(error);
            }
        };
        crash::point("after_publish");
        self.pace.note(partition, delta.counts.received, lag);
        self.opened.get_or_insert(begun);
        self.unsent.get_or_insert(begun);
        self.queue.push_back(Waiting::Parcel(Sent { partition, next, read_at, delta, last, noted: false }));
        Ok(())
    }

    /// Records whose results will not be committed by this: they come again, here or to another owner.
    fn give_back(&self, delta: Delta) {
        self.parts.metrics.add(&delta.given_back());
    }

    /// Drops what waits, all of it or that of one partition.
    fn drop_waiting(&mut self, of: Option<Partition>) {
        for waiting in std::mem::take(&mut self.queue) {
            match waiting {
                other if of.is_some_and(|partition| other.partition() != partition) => self.queue.push_back(other),
                Waiting::Parcel(sent) => self.give_back(*sent.delta),
                _ => {}
            }
        }
    }

    fn recycle(&self, mut outbox: Outbox) {
        outbox.clear();
        drop(self.parts.spare.try_send(outbox));
    }

    /// Has sent what has gathered for long enough, now that nothing more is there; full batches go out by themselves, and a
    /// transaction when it is committed.
    pub fn rest(&mut self) {
        let Output::AtLeastOnce { publisher, linger } = &self.parts.output else { return };
        if self.unsent.is_some_and(|first| clock::since(first) >= *linger) {
            publisher.hurry(HURRY_MAX);
            self.unsent = None;
        }
    }

    /// Latency of outputs that are acknowledged one by one.
    fn note_delivered(&mut self) -> Result<()> {
        let Output::AtLeastOnce { publisher, .. } = &self.parts.output else { return Ok(()) };
        if let Some(error) = publisher.failure() {
            return Err(error);
        }
        let delivered = publisher.delivered();
        for waiting in &mut self.queue {
            let Waiting::Parcel(sent) = waiting else { continue };
            if sent.last > delivered {
                break;
            }
            sent.note(&mut self.settled);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let begun = clock::now();
        let (settled, result) = match self.parts.output {
            Output::ExactlyOnce(_) => (self.queue.len(), self.commit_exactly()),
            Output::AtLeastOnce { .. } => {
                let settled = self.delivered_len()?;
                (settled, self.commit_plainly(settled))
            }
        };
        self.last_commit = clock::now();
        self.delta.spent(Stage::Commit, clock::since(begun));
        match result {
            Ok(()) => {
                crash::point("after_commit");
                self.release(settled)
            }
            Err(error) => self.recover(error),
        }
    }

    /// The offsets of the first `count` works, each partition's last.
    fn commits(&self, count: usize) -> Vec<Commit> {
        let mut next: BTreeMap<Partition, Offset> = BTreeMap::new();
        for waiting in self.queue.iter().take(count) {
            match waiting {
                Waiting::Claim(partition, offset, _) => drop(next.insert(*partition, *offset)),
                Waiting::Parcel(Sent { partition, next: Some(offset), .. }) => drop(next.insert(*partition, *offset)),
                _ => {}
            }
        }
        let commit = |(partition, next): (Partition, Offset)| {
            let (generation, note) = self.owned.get(&partition)?;
            Some(Commit { partition, next, generation: *generation, note: note.to_text() })
        };
        next.into_iter().filter_map(commit).collect()
    }

    fn commit_exactly(&mut self) -> Result<()> {
        let commits = self.commits(self.queue.len());
        if commits.is_empty() && self.opened.is_none() {
            return Ok(());
        }
        let owned: Vec<(Partition, Generation)> = commits.iter().map(|commit| (commit.partition, commit.generation)).collect();
        let member = self.parts.source.member(&owned)?;
        crash::point("before_commit");
        match &mut self.parts.output {
            Output::ExactlyOnce(transactions) => transactions.commit(&commits, &member),
            Output::AtLeastOnce { .. } => Ok(()),
        }
    }

    /// How many works are durable; all of them, waited for, when somebody waits.
    fn delivered_len(&self) -> Result<usize> {
        let Output::AtLeastOnce { publisher, .. } = &self.parts.output else { return Ok(0) };
        loop {
            let delivered = publisher.delivered();
            let open = self.queue.iter().position(|waiting| matches!(waiting, Waiting::Parcel(sent) if sent.last > delivered));
            match open {
                None => return Ok(self.queue.len()),
                Some(count) if !self.urgent => return Ok(count),
                Some(_) => {}
            }
            if let Some(error) = publisher.failure() {
                return Err(error);
            }
            if self.parts.give_up.load(Ordering::Relaxed) {
                return Err(Error::transient("stopped before all outputs were delivered; the next start publishes them again"));
            }
            publisher.hurry(HURRY_MAX);
            clock::sleep(LOOK_AGAIN);
        }
    }

    fn commit_plainly(&mut self, count: usize) -> Result<()> {
        let commits = self.commits(count);
        let mode = if self.urgent { CommitMode::Wait } else { CommitMode::Background };
        loop {
            match self.parts.source.commit(&commits, mode) {
                Err(error) if error.kind == Kind::Transient && !self.parts.give_up.load(Ordering::Relaxed) => {
                    tracing::warn!(%error, "offsets are not committed yet; trying again");
                    clock::sleep(TRY_AGAIN);
                }
                other => return other,
            }
        }
    }

    /// The first `count` works are committed.
    fn release(&mut self, count: usize) -> Result<()> {
        let mut committed = BTreeMap::new();
        for waiting in self.queue.drain(..count).collect::<Vec<_>>() {
            match waiting {
                Waiting::Claim(partition, _, owner) => self.reply(Reply::Claimed(partition, owner)),
                Waiting::Parcel(mut sent) => {
                    sent.note(&mut self.settled);
                    self.settled.counts.add(sent.delta.counts);
                    self.settled.alerts += sent.delta.alerts;
                    self.delta.merge(&sent.delta);
                    sent.next.map(|next| committed.insert(sent.partition, next));
                }
                Waiting::Chunk(chunk) => self.keep(Keep::Store(chunk))?,
                Waiting::Drain(partition, owner) => self.keep(Keep::Drain(partition, owner))?,
            }
        }
        committed.into_iter().for_each(|(partition, next)| self.reply(Reply::Committed(partition, next)));
        if self.queue.is_empty() {
            (self.opened, self.urgent) = (None, false);
            self.pace.restart();
        }
        self.parts.metrics.add(&self.delta);
        self.delta.clear();
        Ok(())
    }

    fn keep(&self, keep: Keep) -> Result<()> {
        self.parts.keep.send(keep).map_err(|_| Error::bug("the storing thread ended"))
    }

    fn reply(&self, reply: Reply) {
        // Nobody listens any more: the lane has ended.
        drop(self.parts.replies.send(reply));
    }

    /// After a failure that a rewind mends.
    fn recover(&mut self, error: Error) -> Result<()> {
        match error.kind {
            Kind::Transient | Kind::Fenced if !self.parts.give_up.load(Ordering::Relaxed) => self.rewind(&error.to_string()),
            _ => Err(error),
        }
    }

    fn forget(&mut self, partition: Partition) -> Result<()> {
        self.owned.remove(&partition);
        self.pace.forget(partition);
        let is_open = |waiting: &Waiting| matches!(waiting, Waiting::Parcel(sent) if sent.partition == partition);
        if matches!(self.parts.output, Output::ExactlyOnce(_)) && self.queue.iter().any(is_open) {
            // Its outputs must not be committed without its offset.
            return self.rewind("a partition was lost with outputs of it uncommitted");
        }
        self.drop_waiting(Some(partition));
        Ok(())
    }

    /// Makes sure that nothing uncommitted ever will be, and begins the next epoch.
    fn rewind(&mut self, why: &str) -> Result<()> {
        tracing::warn!(why, "rewinding to what is committed");
        if let Output::ExactlyOnce(transactions) = &mut self.parts.output {
            renew(transactions.as_mut(), &self.parts.give_up)?;
        }
        self.drop_waiting(None);
        self.owned.clear();
        self.pace = Pace::new(self.parts.commit_interval);
        (self.opened, self.urgent) = (None, false);
        self.epoch += 1;
        self.reply(Reply::Rewind(self.epoch));
        Ok(())
    }
}
