//! Scoring as a lane's task: the engine over each partition's states.

use super::task::{Batch, Fill, Out, States, Task};
use crate::core::engine::Engine;
use crate::core::event::Event;
use crate::core::types::{EntityKey, EventTime, Offset, Partition};
use crate::error::Result;
use crate::run::worker::{self, Worker};

pub struct Scoring {
    worker: Worker,
    scratch: Vec<u8>,
}

impl Scoring {
    #[must_use]
    pub fn new(worker: Worker) -> Self {
        Self { worker, scratch: vec![] }
    }
}

impl Task for Scoring {
    fn assign(&mut self, partition: Partition, from: Offset, value: &[u8], _: Option<EventTime>) -> Result<()> {
        self.worker.engine().assign(partition, from, value)
    }

    fn revoke(&mut self, partition: Partition) {
        self.worker.engine().revoke(partition);
    }

    fn batch(&mut self, batch: Batch<'_>, states: &mut States<'_>, out: &mut Out<'_>) -> Result<()> {
        let Batch { partition, records, live, poison } = batch;
        let load = |engine: &mut Engine, events: &[Event<'_>]| load_missing(engine, partition, events, states);
        let mut out = worker::Out { outbox: out.outbox, listener: &mut worker::Silent, delta: out.delta };
        self.worker.process(partition, records, live, poison, load, &mut out).map(|_| ())
    }

    fn wants_barrier(&self) -> bool {
        self.worker.wants_models()
    }

    fn at_barrier(&mut self) {
        self.worker.take_models();
    }

    fn dirty_len(&self, partition: Partition) -> usize {
        self.worker.states().dirty_len(partition)
    }

    fn take_dirty(&mut self, partition: Partition, max: usize, entries: &mut Vec<(EntityKey, usize)>, bytes: &mut Vec<u8>) -> usize {
        let scratch = &mut self.scratch;
        self.worker.engine().take_dirty(partition, max, |key, state, memory| {
            state.encode(memory, scratch, bytes);
            entries.push((key, bytes.len()));
        })
    }

    fn checkpoint(&self, partition: Partition) -> Offset {
        self.worker.states().checkpoint(partition).unwrap_or_default()
    }

    fn next(&self, partition: Partition) -> Offset {
        self.worker.states().next(partition).unwrap_or_default()
    }

    fn value(&self, partition: Partition, out: &mut Vec<u8>) {
        self.worker.states().partition_value(partition, out);
    }

    fn fill(&self, partition: Partition) -> Fill {
        let states = self.worker.states();
        match (states.is_over_capacity(partition), states.is_far_over_capacity(partition)) {
            (_, true) => Fill::Far,
            (true, _) => Fill::Over,
            _ => Fill::Within,
        }
    }

    fn trim(&mut self, partition: Partition) {
        self.worker.engine().trim(partition);
    }

    fn entities(&self) -> (usize, u64) {
        self.worker.states().entities()
    }
}

fn load_missing(engine: &mut Engine, partition: Partition, events: &[Event<'_>], states: &mut States<'_>) -> Result<()> {
    if states.is_complete() {
        return Ok(());
    }
    let keys = engine.prefetch(partition, events);
    if keys.is_empty() {
        return Ok(());
    }
    let values = states.load(&keys)?;
    engine.admit(partition, keys.into_iter().zip(values))
}
