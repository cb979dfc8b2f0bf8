//! What a batch wants published: payloads in one buffer, in the order they were written. Reused from batch to batch.

use crate::core::types::{EventTime, Partition};
use crate::edge::{Outgoing, Publisher, Sequence, TopicRole};
use crate::error::Result;
use crate::limits::OUTPUT_BYTES_MAX;

/// Records handed over by one call.
const RUN_MAX: usize = 256;

#[derive(Clone, Debug)]
struct Item {
    role: TopicRole,
    partition: Option<Partition>,
    time: Option<EventTime>,
    key_len: usize,
    start: usize,
    end: usize,
}

/// An ordered list of records to publish.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

impl Outbox {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a record whose payload `write` appends. `key` places it among the topic's partitions.
    pub fn push(&mut self, role: TopicRole, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.add(role, None, None, key, write);
    }
    /// Adds a record with a time of its own, and perhaps no key.
    pub fn push_timed(&mut self, role: TopicRole, time: EventTime, key: &[u8], payload: &[u8]) {
        self.add(role, None, Some(time), key, |out| out.extend_from_slice(payload));
    }
    /// Adds a record for one partition of the topic.
    pub fn push_to(&mut self, role: TopicRole, partition: Partition, write: impl FnOnce(&mut Vec<u8>)) {
        self.add(role, Some(partition), None, b"", write);
    }

    /// Adds a record for one partition of the topic, with a key that says what it is about.
    pub fn push_at(&mut self, role: TopicRole, partition: Partition, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.add(role, Some(partition), None, key, write);
    }

    fn add(
        &mut self,
        role: TopicRole,
        partition: Option<Partition>,
        time: Option<EventTime>,
        key: &[u8],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        write(&mut self.bytes);
        debug_assert!(self.bytes.len() - start <= OUTPUT_BYTES_MAX, "whoever writes an output bounds it");
        self.items.push(Item { role, partition, time, key_len: key.len(), start, end: self.bytes.len() });
    }

    /// Records in order.
    pub fn iter(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.items.iter().map(|item| {
            let (key, payload) = self.bytes[item.start..item.end].split_at(item.key_len);
            Outgoing { role: item.role, partition: item.partition, key: (item.key_len > 0).then_some(key), payload, time: item.time }
        })
    }

    /// Hands everything over in runs of one role and partition, waiting while the client's queue is full. Returns the last
    /// sequence number: when it is delivered, all of this is.
    ///
    /// # Errors
    /// The publisher has failed, or `give_up` became true; some of what follows was not handed over.
    pub fn publish(&self, publisher: &dyn Publisher, give_up: impl Fn() -> bool) -> Result<Sequence> {
        let mut last = publisher.produced();
        self.in_runs(|run| {
            last = publisher.publish_run(run, &give_up)?;
            Ok(())
        })?;
        Ok(last)
    }

    /// Shows everything in order, in runs of one role and partition.
    ///
    /// # Errors
    /// The first of `each`.
    pub fn in_runs(&self, mut each: impl FnMut(&[Outgoing<'_>]) -> Result<()>) -> Result<()> {
        let mut run: Vec<Outgoing<'_>> = Vec::with_capacity(RUN_MAX.min(self.items.len()));
        for record in self.iter() {
            let fits = run.first().is_none_or(|first| first.role == record.role && first.partition == record.partition);
            if !fits || run.len() == RUN_MAX {
                each(&run)?;
                run.clear();
            }
            run.push(record);
        }
        if run.is_empty() { Ok(()) } else { each(&run) }
    }
}
