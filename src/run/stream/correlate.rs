//! Correlation on Kafka: reads the threats log as a log of its own, with its own group, positions and state.
//!
//! A partition's whole correlation state is its checkpoint value; it is stored behind like any other, after the alerts it led to
//! are durable. While a partition is silent, time goes on at the pace of the host, so that risk decays and threats resolve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::settle::{Chunk, Settler};
use super::shard::Shared;
use crate::core::correlate::{Correlated, CorrelationSettings, Correlator, ThreatSignal};
use crate::core::types::{EventTime, Generation, Offset, Partition, Position};
use crate::edge::clock;
use crate::edge::{Claim, LogEvent, PartitionBatch, StateGeneration, StateStore, TopicRole};
use crate::error::Result;
use crate::run::outbox::Outbox;
use crate::run::telemetry::Delta;

const WAIT: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_secs(1);

/// Names and settings of the correlation.
#[derive(Clone, Debug)]
pub struct Rules {
    pub name: String,
    pub topic: String,
    pub settings: CorrelationSettings,
}

struct Holding {
    correlator: Correlator,
    claim: Claim,
    generation: Generation,
    /// Newest event time, and when it was seen by the host's clock.
    newest: Option<(EventTime, Instant)>,
    changed: bool,
    last_checkpoint: Instant,
    last_tick: Instant,
}

pub struct Correlation {
    pub events: Receiver<LogEvent>,
    pub rules: Rules,
    pub store: Box<dyn StateStore>,
    pub settler: Settler,
    pub shared: Arc<Shared>,
    holdings: BTreeMap<Partition, Holding>,
    outbox: Outbox,
    alerts: u64,
}

impl Correlation {
    #[must_use]
    pub fn new(events: Receiver<LogEvent>, rules: Rules, store: Box<dyn StateStore>, settler: Settler, shared: Arc<Shared>) -> Self {
        Self { events, rules, store, settler, shared, holdings: BTreeMap::new(), outbox: Outbox::default(), alerts: 0 }
    }

    /// Runs until the source closes its channel; returns the alerts published.
    ///
    /// # Errors
    /// What a person or a restart must mend.
    pub fn run(mut self) -> Result<u64> {
        let ended = self.serve();
        self.shared.give_up_after(&ended);
        self.settler.finish()?;
        ended.map(|()| self.alerts)
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            match self.events.recv_timeout(WAIT) {
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.tick_silent()?;
            self.checkpoint_due()?;
            self.settler.check()?;
        }
    }

    fn handle(&mut self, event: LogEvent) -> Result<()> {
        match event {
            LogEvent::Assigned { partition, generation, committed } => self.take_over(partition, generation, committed),
            LogEvent::Batch(batch) => self.batch(&batch),
            LogEvent::End { partition, .. } => {
                self.shared.ended().insert(partition);
                Ok(())
            }
            LogEvent::Revoked { partition, generation } => {
                if self.holdings.contains_key(&partition) {
                    self.checkpoint(partition)?;
                    self.settler.drain(partition)?;
                    self.settler.forget(partition)?;
                    self.holdings.remove(&partition);
                }
                self.shared.ended().remove(&partition);
                self.shared.source.released(partition, generation);
                Ok(())
            }
            LogEvent::Lost { partition, .. } => {
                self.holdings.remove(&partition);
                self.shared.ended().remove(&partition);
                self.settler.forget(partition)
            }
            LogEvent::Failed(error) => Err(error),
        }
    }

    fn take_over(&mut self, partition: Partition, generation: Generation, committed: Option<Offset>) -> Result<()> {
        let meta = super::shard::patiently(self.store.as_mut(), &self.shared.give_up, |store| store.claim(partition, generation))?;
        let Rules { name, topic, settings } = &self.rules;
        let stored = meta.as_ref().filter(|meta| !meta.value.is_empty());
        let mut correlator = match stored {
            Some(meta) => Correlator::from_bytes(name, topic, *settings, &meta.value)?,
            None => Correlator::new(name, topic, *settings),
        };
        // Without its state, correlation begins anew where the group stands.
        if let Some(before) = committed.and_then(|committed| committed.0.checked_sub(1)) {
            correlator.skip(Offset(before));
        }
        let state = meta.map_or_else(|| StateGeneration(clock::wall().0 as u64), |meta| meta.state);
        self.settler.assigned(partition, generation, committed.unwrap_or_default())?;
        let now = clock::now();
        let claim = Claim { owner: generation, state };
        let holding = Holding { correlator, claim, generation, newest: None, changed: false, last_checkpoint: now, last_tick: now };
        self.holdings.insert(partition, holding);
        Ok(())
    }

    fn batch(&mut self, batch: &PartitionBatch) -> Result<()> {
        let partition = batch.partition;
        let Some(holding) = self.holdings.get_mut(&partition).filter(|holding| holding.generation == batch.generation) else {
            return Ok(());
        };
        let mut out = vec![];
        for record in batch.records.iter() {
            let position = Position { partition, offset: record.offset };
            match ThreatSignal::parse(position, record.payload) {
                Ok(Some(signal)) => {
                    // An event may lie a day ahead of its record: time goes on by what the log itself proves.
                    let reached = record.time.map_or(signal.time, |logged| logged.min(signal.time));
                    let newest = holding.newest.map_or(reached, |(time, _)| time.max(reached));
                    holding.newest = Some((newest, clock::now()));
                    holding.correlator.apply(&signal, &mut out);
                    holding.correlator.tick(newest, &mut out);
                }
                Ok(None) => holding.correlator.skip(record.offset),
                Err(problem) => {
                    tracing::warn!(partition = partition.0, offset = record.offset.0, problem, "not a threat record; skipped");
                    holding.correlator.skip(record.offset);
                }
            }
        }
        holding.changed = true;
        self.shared.ended().remove(&partition);
        self.publish(out)
    }

    fn tick_silent(&mut self) -> Result<()> {
        let mut out = vec![];
        for holding in self.holdings.values_mut() {
            let Some((time, seen)) = holding.newest.filter(|_| holding.last_tick.elapsed() >= TICK) else { continue };
            holding.last_tick = clock::now();
            let before = out.len();
            holding.correlator.tick(EventTime(time.0 + seen.elapsed().as_micros() as i64), &mut out);
            holding.changed |= out.len() > before;
        }
        self.publish(out)
    }

    fn publish(&mut self, outputs: Vec<Correlated>) -> Result<()> {
        if outputs.is_empty() {
            return Ok(());
        }
        self.outbox.clear();
        let mut delta = Delta::default();
        for output in outputs {
            let key = output.entity().to_owned();
            let alert = matches!(output, Correlated::Alert(_));
            delta.alerts += u64::from(alert);
            delta.resolved += u64::from(!alert);
            let role = if alert { TopicRole::Alerts } else { TopicRole::Threats };
            let envelope = output.into_envelope();
            self.outbox.push(role, key.as_bytes(), |out| envelope.write_json(out));
        }
        self.alerts += delta.alerts;
        self.shared.metrics.add(&delta);
        let give_up = || self.shared.give_up.load(std::sync::atomic::Ordering::Relaxed);
        self.outbox.publish(self.shared.publisher.as_ref(), give_up).map(|_| ())
    }

    fn checkpoint_due(&mut self) -> Result<()> {
        let interval = self.shared.checkpoint_interval;
        let is_due = |holding: &Holding| holding.changed && holding.last_checkpoint.elapsed() >= interval;
        let due: Vec<Partition> = self.holdings.iter().filter(|(_, holding)| is_due(holding)).map(|(partition, _)| *partition).collect();
        due.into_iter().try_for_each(|partition| self.checkpoint(partition))
    }

    fn checkpoint(&mut self, partition: Partition) -> Result<()> {
        let Some(holding) = self.holdings.get_mut(&partition) else { return Ok(()) };
        (holding.changed, holding.last_checkpoint) = (false, clock::now());
        let chunk = Chunk {
            partition,
            claim: holding.claim,
            entries: vec![],
            bytes: vec![],
            value: holding.correlator.to_bytes(),
            upto: holding.correlator.next_offset(),
            after: self.shared.publisher.produced(),
        };
        self.settler.store(chunk)
    }
}
