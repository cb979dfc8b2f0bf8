//! Re-keying as a lane's task: events whose producers use another key go once more through an internal topic, keyed by the
//! pipeline's entity.
//!
//! The record itself passes unchanged, with its own time, so scoring sees what it would have seen; one that cannot be read passes
//! too and becomes a dead letter there. There is no state but the offset.

use std::collections::BTreeMap;
use std::sync::Arc;

use bumpalo::Bump;

use super::task::{Batch, Out, States, Task};
use crate::core::decode::Decoded;
use crate::core::event::Record;
use crate::core::types::{EntityKey, EventTime, Offset, Partition};
use crate::edge::TopicRole;
use crate::error::Result;
use crate::limits::EVENT_TIME_MIN_MICROS;
use crate::run::pipeline::Pipeline;

pub struct Rekeying {
    pipeline: Arc<Pipeline>,
    next: BTreeMap<Partition, Offset>,
    arena: Bump,
}

impl Rekeying {
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline, next: BTreeMap::new(), arena: Bump::new() }
    }
}

impl Task for Rekeying {
    fn assign(&mut self, partition: Partition, from: Offset, _: &[u8], _: Option<EventTime>) -> Result<()> {
        self.next.insert(partition, from);
        Ok(())
    }

    fn revoke(&mut self, partition: Partition) {
        self.next.remove(&partition);
    }

    fn batch(&mut self, batch: Batch<'_>, _: &mut States<'_>, out: &mut Out<'_>) -> Result<()> {
        let Batch { partition, records, live, .. } = batch;
        self.arena.reset();
        let whole: Vec<Record<'_>> =
            records.iter().filter(|record| record.offset >= live).map(|record| record.as_record(partition)).collect();
        let mut decoded = Decoded::default();
        self.pipeline.decode(&whole, &self.arena, &mut decoded);
        let mut events = decoded.events.iter().peekable();
        for record in &whole {
            let key = events.next_if(|event| event.at == record.at).map_or(&b""[..], |event| event.entity.name.as_bytes());
            // The broker must not put its own clock in where the first topic had none.
            let time = record.time.unwrap_or(EventTime(EVENT_TIME_MIN_MICROS));
            out.outbox.push_timed(TopicRole::Rekeyed, time, key, record.payload);
        }
        if let Some(last) = records.last() {
            self.next.insert(partition, last.offset.next());
        }
        Ok(())
    }

    fn dirty_len(&self, _: Partition) -> usize {
        0
    }

    fn take_dirty(&mut self, _: Partition, _: usize, _: &mut Vec<(EntityKey, usize)>, _: &mut Vec<u8>) -> usize {
        0
    }

    fn checkpoint(&self, partition: Partition) -> Offset {
        self.next(partition)
    }

    fn next(&self, partition: Partition) -> Offset {
        self.next.get(&partition).copied().unwrap_or_default()
    }

    fn value(&self, _: Partition, _: &mut Vec<u8>) {}
}
