//! Correlation as a lane's task: reads the threats log, makes alerts and resolved threats of it. A partition's whole state is its
//! own value. While a partition is silent, time goes on at the pace of the host, so that risk decays and threats resolve.

use std::collections::BTreeMap;
use std::time::Instant;

use super::task::{Batch, Out, States, Task};
use crate::core::correlate::{Correlated, CorrelationSettings, Correlator, ThreatSignal};
use crate::core::types::{EntityKey, EventTime, Offset, Partition, Position};
use crate::edge::{TopicRole, clock};
use crate::error::Result;

/// Names and settings of the correlation.
#[derive(Clone, Debug)]
pub struct Rules {
    pub name: String,
    pub topic: String,
    pub settings: CorrelationSettings,
}

struct Holding {
    correlator: Correlator,
    /// Newest event time, and when it was seen by the host's clock.
    newest: Option<(EventTime, Instant)>,
    changed: bool,
}

pub struct Correlation {
    rules: Rules,
    holdings: BTreeMap<Partition, Holding>,
}

impl Correlation {
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, holdings: BTreeMap::new() }
    }
}

impl Task for Correlation {
    fn assign(&mut self, partition: Partition, from: Offset, value: &[u8], ticked: Option<EventTime>) -> Result<()> {
        let Rules { name, topic, settings } = &self.rules;
        let mut correlator =
            if value.is_empty() { Correlator::new(name, topic, *settings) } else { Correlator::from_bytes(name, topic, *settings, value)? };
        if let Some(before) = from.0.checked_sub(1) {
            correlator.skip(Offset(before));
        }
        // What this leads to is out already.
        ticked.into_iter().for_each(|time| correlator.tick(time, &mut vec![]));
        let newest = correlator.newest().max(ticked).map(|time| (time, clock::now()));
        self.holdings.insert(partition, Holding { correlator, newest, changed: false });
        Ok(())
    }

    fn revoke(&mut self, partition: Partition) {
        self.holdings.remove(&partition);
    }

    fn batch(&mut self, batch: Batch<'_>, _: &mut States<'_>, out: &mut Out<'_>) -> Result<()> {
        let Batch { partition, records, live, .. } = batch;
        let Some(holding) = self.holdings.get_mut(&partition) else { return Ok(()) };
        let (mut old, mut new) = (vec![], vec![]);
        for record in records.iter() {
            let to = if record.offset < live { &mut old } else { &mut new };
            let position = Position { partition, offset: record.offset };
            match ThreatSignal::parse(position, record.payload) {
                Ok(Some(signal)) => {
                    // An event may lie a day ahead of its record: time goes on by what the log itself proves.
                    let reached = record.time.map_or(signal.time, |logged| logged.min(signal.time));
                    let newest = holding.newest.map_or(reached, |(time, _)| time.max(reached));
                    holding.newest = Some((newest, clock::now()));
                    holding.correlator.apply(&signal, to);
                    holding.correlator.tick(newest, to);
                }
                Ok(None) => holding.correlator.skip(record.offset),
                Err(problem) => {
                    tracing::warn!(partition = partition.0, offset = record.offset.0, problem, "not a threat record; skipped");
                    holding.correlator.skip(record.offset);
                }
            }
        }
        holding.changed = true;
        publish(new, out);
        Ok(())
    }

    fn tick(&mut self, partition: Partition, out: &mut Out<'_>) -> Option<EventTime> {
        let holding = self.holdings.get_mut(&partition)?;
        let (time, seen) = holding.newest?;
        let now = EventTime(time.0 + clock::since(seen).as_micros() as i64);
        if !holding.correlator.is_due(now) {
            return None;
        }
        let mut resolved = vec![];
        holding.correlator.tick(now, &mut resolved);
        holding.changed = true;
        publish(resolved, out);
        Some(now)
    }

    fn dirty_len(&self, partition: Partition) -> usize {
        self.holdings.get(&partition).map_or(0, |holding| usize::from(holding.changed))
    }

    fn take_dirty(&mut self, partition: Partition, max: usize, _: &mut Vec<(EntityKey, usize)>, _: &mut Vec<u8>) -> usize {
        let Some(holding) = self.holdings.get_mut(&partition).filter(|holding| max > 0 && holding.changed) else { return 0 };
        holding.changed = false;
        1
    }

    fn checkpoint(&self, partition: Partition) -> Offset {
        self.next(partition)
    }

    fn next(&self, partition: Partition) -> Offset {
        self.holdings.get(&partition).map(|holding| holding.correlator.next_offset()).unwrap_or_default()
    }

    fn value(&self, partition: Partition, out: &mut Vec<u8>) {
        if let Some(holding) = self.holdings.get(&partition) {
            out.extend_from_slice(&holding.correlator.to_bytes());
        }
    }
}

fn publish(outputs: Vec<Correlated>, out: &mut Out<'_>) {
    for output in outputs {
        let key = output.entity().to_owned();
        let alert = matches!(output, Correlated::Alert(_));
        out.delta.alerts += u64::from(alert);
        out.delta.resolved += u64::from(!alert);
        let role = if alert { TopicRole::Alerts } else { TopicRole::Threats };
        let envelope = output.into_envelope();
        out.outbox.push(role, key.as_bytes(), |bytes| envelope.write_json(bytes));
    }
}
