//! Publish, store, commit: the one place where offsets are settled, in this order and on a thread of its own.
//!
//! A shard hands over chunks of changed state together with the last output that was produced before them. The chunk is stored
//! once those outputs are durable, and only then is the offset committed up to which everything is stored. So a stored state
//! never knows more than what was published, and a committed offset never promises more than what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::core::ledger::Ledger;
use crate::core::types::{EntityKey, Generation, Offset, Partition};
use crate::edge::clock::{self, Deadline};
use crate::edge::{Checkpoint, Claim, Commit, CommitMode, LogSource, Publisher, Sequence, StateStore};
use crate::error::{Error, Kind, Result};

/// Chunks that may wait; a slower store holds the shard back.
const WORK_MAX: usize = 8;
/// Between two looks at what is delivered, and between two tries of a store that is away.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// Between two background commits. The coordinator answers them one after the other, and each says all that the ones before it
/// said: one for every chunk would only keep the last one waiting.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// Changed states of one partition.
pub struct Chunk {
    pub partition: Partition,
    pub claim: Claim,
    /// Keys and the ends of their values in `bytes`.
    pub entries: Vec<(EntityKey, usize)>,
    pub bytes: Vec<u8>,
    /// The partition's own value.
    pub value: Vec<u8>,
    /// Everything before this is stored once this chunk and all before it are.
    pub upto: Offset,
    /// Outputs up to here must be durable first.
    pub after: Sequence,
}

enum Work {
    Assigned {
        partition: Partition,
        generation: Generation,
        start: Offset,
    },
    Store(Chunk),
    /// Commits of this partition must have reached the broker when this is answered.
    Drain {
        partition: Partition,
        done: Sender<()>,
    },
    Forget(Partition),
}

/// The settling thread of one shard.
pub struct Settler {
    work: Sender<Work>,
    handed: u64,
    stored: Arc<AtomicU64>,
    failure: Arc<std::sync::Mutex<Option<Error>>>,
    thread: Option<JoinHandle<()>>,
}

/// What settling needs.
pub struct Parts {
    pub store: Box<dyn StateStore>,
    pub publisher: Arc<dyn Publisher>,
    pub source: Arc<dyn LogSource>,
    /// Set when the process is told to go and must not wait for a store that is away.
    pub give_up: Arc<AtomicBool>,
}

impl Settler {
    /// # Errors
    /// No thread can be started.
    pub fn start(name: &str, parts: Parts) -> Result<Self> {
        let (work, todo) = bounded(WORK_MAX);
        let stored = Arc::new(AtomicU64::new(0));
        let failure = Arc::new(std::sync::Mutex::new(None));
        let mut body = Body {
            parts,
            ledgers: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsent: BTreeSet::new(),
            last_commit: clock::now(),
            stored: Arc::clone(&stored),
        };
        let failed = Arc::clone(&failure);
        let thread = std::thread::Builder::new().name(format!("settle-{name}")).spawn(move || {
            if let Err(error) = body.run(&todo) {
                *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
            }
        });
        let thread = thread.map_err(|error| Error::permanent("cannot start the settling thread").because(error))?;
        Ok(Self { work, handed: 0, stored, failure, thread: Some(thread) })
    }

    /// # Errors
    /// Why settling stopped.
    pub fn assigned(&mut self, partition: Partition, generation: Generation, start: Offset) -> Result<()> {
        self.send(Work::Assigned { partition, generation, start })
    }
    /// Waits while too much is waiting.
    ///
    /// # Errors
    /// Why settling stopped.
    pub fn store(&mut self, chunk: Chunk) -> Result<()> {
        self.handed += 1;
        self.send(Work::Store(chunk))
    }
    /// Waits until everything handed over for the partition is stored and committed.
    ///
    /// # Errors
    /// Why settling stopped.
    pub fn drain(&mut self, partition: Partition) -> Result<()> {
        let (done, wait) = bounded(1);
        self.send(Work::Drain { partition, done })?;
        wait.recv().map_err(|_| self.take_failure())
    }
    /// # Errors
    /// Why settling stopped.
    pub fn forget(&mut self, partition: Partition) -> Result<()> {
        self.send(Work::Forget(partition))
    }
    /// Another chunk can be handed over without waiting.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.work.is_full()
    }
    /// Everything handed over is stored: clean states may leave memory.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.stored.load(Ordering::Acquire) == self.handed
    }
    /// # Errors
    /// Why settling stopped, if it did.
    pub fn check(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { Err(self.take_failure()) } else { Ok(()) }
    }

    fn send(&mut self, work: Work) -> Result<()> {
        self.work.send(work).map_err(|_| self.take_failure())
    }
    fn take_failure(&self) -> Error {
        let failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        failure.unwrap_or_else(|| Error::bug("the settling thread ended"))
    }

    /// Ends the thread after what was handed over. Nothing can be handed over afterwards.
    ///
    /// # Errors
    /// Why settling stopped before that.
    pub fn finish(&mut self) -> Result<()> {
        let Self { work, failure, thread, .. } = self;
        let (closed, _) = bounded(0);
        drop(std::mem::replace(work, closed));
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            return Err(Error::bug("the settling thread panicked"));
        }
        let failed = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }
}

struct Body {
    parts: Parts,
    ledgers: BTreeMap<Partition, Ledger>,
    /// Commit points that no commit has carried yet.
    pending: BTreeMap<Partition, Offset>,
    /// Those of them that not even a background commit has carried.
    unsent: BTreeSet<Partition>,
    last_commit: Instant,
    stored: Arc<AtomicU64>,
}

impl Body {
    fn run(&mut self, todo: &Receiver<Work>) -> Result<()> {
        loop {
            match todo.recv_timeout(COMMIT_EVERY) {
                Ok(work) => self.handle(work)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.commit_unsent(),
            }
            if self.last_commit.elapsed() >= COMMIT_EVERY {
                self.commit_unsent()?;
            }
        }
    }

    fn handle(&mut self, work: Work) -> Result<()> {
        match work {
            Work::Assigned { partition, generation, start } => {
                self.ledgers.insert(partition, Ledger::new(partition, generation, start));
            }
            Work::Store(chunk) => {
                self.settle(&chunk)?;
                self.stored.fetch_add(1, Ordering::Release);
            }
            Work::Drain { partition, done } => {
                self.commit(partition, CommitMode::Wait)?;
                // Nobody waits any more: the shard has ended.
                done.send(()).unwrap_or_default();
            }
            Work::Forget(partition) => self.forget(partition),
        }
        Ok(())
    }

    fn forget(&mut self, partition: Partition) {
        self.ledgers.remove(&partition);
        self.pending.remove(&partition);
        self.unsent.remove(&partition);
    }

    fn commit_unsent(&mut self) -> Result<()> {
        self.last_commit = clock::now();
        std::mem::take(&mut self.unsent).into_iter().try_for_each(|partition| self.commit(partition, CommitMode::Background))
    }

    fn settle(&mut self, chunk: &Chunk) -> Result<()> {
        let Some(ledger) = self.ledgers.get_mut(&chunk.partition) else { return Ok(()) };
        let ticket = ledger.open(chunk.upto);
        self.wait_published(chunk.after)?;
        match self.write(chunk) {
            Err(error) if error.kind == Kind::Fenced && self.parts.source.owns(chunk.partition, chunk.claim.owner) => {
                let advice = "is another deployment using this Redis, or was its content replaced? nothing more is stored or committed";
                return Err(
                    Error::permanent(format!("the state of partition {} cannot be stored: {advice}", chunk.partition.0)).because(error)
                );
            }
            Err(error) if error.kind == Kind::Fenced => {
                tracing::warn!(partition = chunk.partition.0, %error, "another owner has this partition; its state is not ours to store");
                self.forget(chunk.partition);
                return Ok(());
            }
            other => other?,
        }
        let moved = self.ledgers.get_mut(&chunk.partition).and_then(|ledger| ledger.done(ticket));
        if let Some(next) = moved {
            self.pending.insert(chunk.partition, next);
            self.unsent.insert(chunk.partition);
        }
        Ok(())
    }

    fn wait_published(&self, upto: Sequence) -> Result<()> {
        while self.parts.publisher.delivered() < upto {
            if let Some(error) = self.parts.publisher.failure() {
                return Err(error);
            }
            if self.parts.give_up.load(Ordering::Relaxed) {
                return Err(Error::transient("stopped before all outputs were delivered; the next start publishes them again"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn write(&mut self, chunk: &Chunk) -> Result<()> {
        let mut start = 0;
        let entries: Vec<(EntityKey, &[u8])> = chunk
            .entries
            .iter()
            .map(|(key, end)| {
                let value = &chunk.bytes[start..*end];
                start = *end;
                (*key, value)
            })
            .collect();
        let checkpoint = Checkpoint { entries: &entries, next: chunk.upto, value: &chunk.value };
        let mut warned = false;
        loop {
            match self.parts.store.store_many(chunk.partition, chunk.claim, checkpoint) {
                Err(error) if error.kind == Kind::Transient && !self.parts.give_up.load(Ordering::Relaxed) => {
                    if !warned {
                        tracing::warn!(partition = chunk.partition.0, %error, "the state store is away; waiting for it");
                        warned = true;
                    }
                    std::thread::sleep(TRY_AGAIN);
                }
                other => return other,
            }
        }
    }

    /// A commit that is refused because the partition has moved is no error: its new owner goes on from the commit before.
    fn commit(&mut self, partition: Partition, mode: CommitMode) -> Result<()> {
        let (Some(ledger), Some(next)) = (self.ledgers.get(&partition), self.pending.get(&partition).copied()) else { return Ok(()) };
        let commits = [Commit { partition, next, generation: ledger.generation() }];
        let deadline = Deadline::after(Duration::from_secs(5));
        loop {
            match self.parts.source.commit(&commits, mode) {
                Err(error) if error.kind == Kind::Transient && !deadline.passed() => std::thread::sleep(TRY_AGAIN),
                Err(error) if matches!(error.kind, Kind::Transient | Kind::Fenced) => {
                    tracing::warn!(partition = partition.0, %error, "offset not committed; what follows it is delivered again");
                    return Ok(());
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        if mode == CommitMode::Wait {
            self.pending.remove(&partition);
            self.unsent.remove(&partition);
        }
        Ok(())
    }
}
