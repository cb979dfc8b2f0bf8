//! What a bundle makes of the events that are held out, scored as they would have been: all events bring states up.

use std::collections::BTreeMap;

use crate::core::features::row::Signal;
use crate::core::types::{EntityKey, MICROS_PER_HOUR};
use crate::error::{Error, Result};
use crate::limits::BACKTEST_EVENTS_MAX;
use crate::models::bundle::Bundle;
use crate::models::retrain::figures::{Scored, Truths};
use crate::models::retrain::job::Stage;
use crate::run::embedded::Observer;
use crate::run::labels::Labels;
use crate::run::learning::{Learning, ScoredPart};
use crate::run::training::{Source, Watch, pass};

/// The held-out rows, and their scores.
pub(super) struct Measured {
    pub truths: Truths,
    pub scored: Scored,
}

impl Measured {
    pub fn of(bundle: &Bundle, source: &Source<'_>, labels: &Labels, stage: Stage, watch: &mut dyn Watch) -> Result<Self> {
        let measured = Self { truths: Truths::default(), scored: Scored::default() };
        let mut hearing = Hearing { labels, measured, clusters: BTreeMap::new(), left_out: 0 };
        pass(source, stage, watch, |pipeline| Learning::new(pipeline, Some(bundle), None), &mut hearing)?;
        if hearing.left_out > 0 {
            let message = format!("more than {BACKTEST_EVENTS_MAX} events are held out: cut the input, or hold out less");
            return Err(Error::config(message));
        }
        Ok(hearing.measured)
    }
}

struct Hearing<'l> {
    labels: &'l Labels,
    measured: Measured,
    /// By entity and hour.
    clusters: BTreeMap<(EntityKey, i64), u32>,
    left_out: u64,
}

impl Observer for Hearing<'_> {
    fn scored(&mut self, part: ScoredPart<'_>) {
        let signals = &part.engine.rows().signals;
        for verdict in part.verdicts {
            let event = &part.events[verdict.event as usize];
            // Exempt entities are not judged, so they tell nothing of who judges better.
            if !self.labels.is_held_out(event) || signals[verdict.row as usize][Signal::Exempt as usize] != 0.0 {
                continue;
            }
            let Measured { truths, scored } = &mut self.measured;
            if truths.attack.len() >= BACKTEST_EVENTS_MAX {
                self.left_out += 1;
                continue;
            }
            let next = self.clusters.len() as u32;
            let hour = event.time.0.div_euclid(MICROS_PER_HOUR);
            truths.cluster.push(*self.clusters.entry((event.entity.key, hour)).or_insert(next));
            truths.attack.push(self.labels.attack(event));
            scored.surprise.push(verdict.surprise);
            scored.threat.push(verdict.severity.is_some());
        }
    }
}
