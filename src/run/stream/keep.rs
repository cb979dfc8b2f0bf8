//! Storing: writes chunks of changed state once everything that led to them is committed. A store that is away holds up nothing
//! but the checkpoints, until memory has to be freed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Sender;

use super::crash;
use super::orders::Reply;
use super::store::patiently;
use crate::core::types::{EntityKey, Offset, Partition};
use crate::edge::{Checkpoint, Claim, Owner, StateStore, clock};
use crate::error::{Kind, Result};
use crate::run::telemetry::{Delta, Metrics, Stage};

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
}

pub enum Keep {
    Store(Chunk),
    Drain(Partition, Owner),
}

/// The storing of one lane.
pub struct Keeper {
    pub store: Box<dyn StateStore>,
    pub replies: Sender<Reply>,
    pub metrics: Arc<Metrics>,
    pub give_up: Arc<AtomicBool>,
    /// Of each partition: its owner, that owner's last checkpoint, and whether the store has refused it.
    written: BTreeMap<Partition, (Owner, u64, bool)>,
}

impl Keeper {
    #[must_use]
    pub fn new(store: Box<dyn StateStore>, replies: Sender<Reply>, metrics: Arc<Metrics>, give_up: Arc<AtomicBool>) -> Self {
        Self { store, replies, metrics, give_up, written: BTreeMap::new() }
    }

    /// # Errors
    /// What a person or a restart must mend.
    pub fn take(&mut self, keep: Keep) -> Result<()> {
        match keep {
            Keep::Store(chunk) => self.store(&chunk),
            Keep::Drain(partition, owner) => {
                self.reply(Reply::Drained(partition, owner));
                Ok(())
            }
        }
    }

    fn store(&mut self, chunk: &Chunk) -> Result<()> {
        let (partition, owner) = (chunk.partition, chunk.claim.owner);
        let written = self.written.entry(partition).or_insert((owner, 0, false));
        if written.0 != owner {
            *written = (owner, 0, false);
        }
        let (_, number, is_lost) = *written;
        if is_lost {
            return Ok(());
        }
        let number = number + 1;
        match self.write(chunk, number) {
            Ok(()) => {
                self.written.insert(partition, (owner, number, false));
                self.reply(Reply::Stored(partition, owner, number));
                Ok(())
            }
            Err(error) if error.kind == Kind::Fenced => {
                self.written.insert(partition, (owner, number, true));
                self.reply(Reply::StoreLost(partition, owner, error));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, chunk: &Chunk, number: u64) -> Result<()> {
        let mut start = 0;
        let value = |(key, end): &(EntityKey, usize)| {
            let value = &chunk.bytes[start..*end];
            start = *end;
            (*key, value)
        };
        let entries: Vec<(EntityKey, &[u8])> = chunk.entries.iter().map(value).collect();
        let checkpoint = Checkpoint { number, entries: &entries, next: chunk.upto, value: &chunk.value };
        crash::point("before_store");
        let begun = clock::now();
        let stored = patiently(self.store.as_mut(), &self.give_up, |store| store.store_many(chunk.partition, chunk.claim, checkpoint));
        let mut delta = Delta::default();
        delta.spent(Stage::Store, clock::since(begun));
        self.metrics.add(&delta);
        crash::point("after_store");
        stored
    }

    fn reply(&self, reply: Reply) {
        // Nobody listens any more: the lane has ended.
        drop(self.replies.send(reply));
    }
}
