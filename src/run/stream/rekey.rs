//! Re-keying: events whose producers use another key go once more through an internal topic, keyed by the pipeline's entity.
//!
//! The record itself passes unchanged, with its own time, so scoring sees what it would have seen; one that cannot be read passes
//! too and becomes a dead letter there. At least once: a record may pass twice after a crash, and then under two offsets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bumpalo::Bump;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::settle::{Chunk, Settler};
use super::shard::Shared;
use crate::core::decode::Decoded;
use crate::core::event::Record;
use crate::core::types::{EventTime, Generation, Offset, Partition};
use crate::edge::clock;
use crate::edge::{Claim, LogEvent, Outgoing, PartitionBatch, StateGeneration, TopicRole};
use crate::error::{Kind, Result};
use crate::limits::EVENT_TIME_MIN_MICROS;
use crate::run::pipeline::Pipeline;

const WAIT: Duration = Duration::from_millis(20);

struct Holding {
    generation: Generation,
    next: Offset,
    /// Up to where a checkpoint was handed over.
    handed: Offset,
    last: Instant,
}

pub struct Rekeying {
    pub events: Receiver<LogEvent>,
    pub pipeline: Arc<Pipeline>,
    pub settler: Settler,
    pub shared: Arc<Shared>,
    holdings: BTreeMap<Partition, Holding>,
    arena: Bump,
}

impl Rekeying {
    #[must_use]
    pub fn new(events: Receiver<LogEvent>, pipeline: Arc<Pipeline>, settler: Settler, shared: Arc<Shared>) -> Self {
        Self { events, pipeline, settler, shared, holdings: BTreeMap::new(), arena: Bump::new() }
    }

    /// Runs until the source closes its channel.
    ///
    /// # Errors
    /// What a person or a restart must mend.
    pub fn run(mut self) -> Result<()> {
        let ended = self.serve();
        self.shared.give_up_after(&ended);
        self.settler.finish()?;
        ended
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            match self.events.recv_timeout(WAIT) {
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let due: Vec<Partition> = self.holdings.iter().filter(|(_, holding)| self.is_due(holding)).map(|(p, _)| *p).collect();
            due.into_iter().try_for_each(|partition| self.checkpoint(partition))?;
            self.settler.check()?;
        }
    }

    fn is_due(&self, holding: &Holding) -> bool {
        holding.next > holding.handed && holding.last.elapsed() >= self.shared.checkpoint_interval
    }

    fn handle(&mut self, event: LogEvent) -> Result<()> {
        match event {
            LogEvent::Assigned { partition, generation, committed } => {
                let start = committed.unwrap_or_default();
                self.settler.assigned(partition, generation, start)?;
                self.holdings.insert(partition, Holding { generation, next: start, handed: start, last: clock::now() });
                Ok(())
            }
            LogEvent::Batch(batch) => self.batch(batch),
            LogEvent::End { partition, .. } => {
                self.shared.ended().insert(partition);
                Ok(())
            }
            LogEvent::Revoked { partition, generation } => {
                self.checkpoint(partition)?;
                self.settler.drain(partition)?;
                self.drop_partition(partition)?;
                self.shared.source.released(partition, generation);
                Ok(())
            }
            LogEvent::Lost { partition, .. } => self.drop_partition(partition),
            LogEvent::Failed(error) => Err(error),
        }
    }

    fn drop_partition(&mut self, partition: Partition) -> Result<()> {
        self.holdings.remove(&partition);
        self.shared.ended().remove(&partition);
        self.settler.forget(partition)
    }

    fn batch(&mut self, batch: PartitionBatch) -> Result<()> {
        let PartitionBatch { partition, generation, records, .. } = batch;
        let Some(holding) = self.holdings.get_mut(&partition).filter(|holding| holding.generation == generation) else { return Ok(()) };
        if let Some(last) = records.iter().last() {
            holding.next = last.offset.next();
        }
        self.shared.ended().remove(&partition);
        self.arena.reset();
        let whole: Vec<Record<'_>> = records.iter().map(|record| record.as_record(partition)).collect();
        let mut decoded = Decoded::default();
        self.pipeline.decode(&whole, &self.arena, &mut decoded);
        let mut events = decoded.events.iter().peekable();
        for record in &whole {
            let key = events.next_if(|event| event.at == record.at).map(|event| event.entity.name.as_bytes());
            // The broker must not put its own clock in where the first topic had none.
            let time = Some(record.time.unwrap_or(EventTime(EVENT_TIME_MIN_MICROS)));
            publish(&self.shared, Outgoing { role: TopicRole::Rekeyed, partition: None, key, payload: record.payload, time })?;
        }
        drop(decoded);
        self.shared.source.recycle(records);
        Ok(())
    }

    fn checkpoint(&mut self, partition: Partition) -> Result<()> {
        let Some(holding) = self.holdings.get_mut(&partition) else { return Ok(()) };
        (holding.handed, holding.last) = (holding.next, clock::now());
        self.settler.store(Chunk {
            partition,
            claim: Claim { owner: holding.generation, state: StateGeneration::default() },
            entries: vec![],
            bytes: vec![],
            value: vec![],
            upto: holding.next,
            after: self.shared.publisher.produced(),
        })
    }
}

fn publish(shared: &Shared, record: Outgoing<'_>) -> Result<()> {
    loop {
        match shared.publisher.publish(record) {
            Err(error) if error.kind == Kind::Transient && !shared.give_up.load(Ordering::Relaxed) => {}
            other => return other.map(|_| ()),
        }
    }
}
