//! What a lane does beside its events: time that passes in silence, memory that fills, figures that are shown.

use std::time::Duration;

use super::holding::{Holding, Phase};
use super::lane::Lane;
use super::orders::{Parcel, Work};
use super::task::{Fill, Out, Task};
use crate::core::types::Partition;
use crate::edge::clock;
use crate::error::Result;
use crate::run::outbox::Outbox;
use crate::run::telemetry::Held;

/// Between two looks at whether time has passed in a silent partition.
const TICK: Duration = Duration::from_secs(1);

impl<T: Task> Lane<T> {
    /// What is due by time: checkpoints, and time itself where a partition is silent.
    ///
    /// # Errors
    /// Why settling stopped.
    pub fn idle(&mut self) -> Result<()> {
        self.checkpoint_due()?;
        self.settle_for_task()?;
        if clock::since(self.last_tick) >= TICK {
            self.last_tick = clock::now();
            self.tick_silent()?;
            self.show();
        }
        Ok(())
    }

    fn show(&self) {
        let Some(number) = self.shown else { return };
        let (entities, evicted) = self.task.entities();
        let held = Held { partitions: self.holdings.len() as u64, entities: entities as u64, evicted };
        self.shared.metrics.set_held(number, held);
        for (partition, holding) in &self.holdings {
            self.shared.metrics.set_partition(*partition, holding.lag, clock::since(holding.last_checkpoint));
        }
    }

    /// Time passes where no record comes. What that leads to is settled before any other record is taken, so that a replay need not
    /// know when it was.
    fn tick_silent(&mut self) -> Result<()> {
        let settled: Vec<Partition> = self.holdings.iter().filter(|(_, holding)| holding.is_settled()).map(|(p, _)| *p).collect();
        for partition in settled {
            if self.task.dirty_len(partition) > 0 {
                continue;
            }
            let mut outbox = Outbox::default();
            let ticked = self.task.tick(partition, &mut Out { outbox: &mut outbox, delta: &mut self.delta });
            let (Some(time), Some(holding)) = (ticked, self.holdings.get_mut(&partition)) else { continue };
            holding.is_blocked = true;
            let (generation, next) = (holding.generation, Some(holding.handed_over));
            let delta = Box::new(std::mem::take(&mut self.delta));
            let parcel = Parcel { partition, generation, outbox, next, ticked: Some(time), read_at: clock::now(), delta, lag: 0 };
            self.order(Work::Parcel(parcel))?;
            self.checkpoint(partition, usize::MAX)?;
        }
        Ok(())
    }

    /// Gives the task the moment that it wants: no replay goes from before it to after it. Partitions that are catching up come first,
    /// because what settles them is still to be read.
    fn settle_for_task(&mut self) -> Result<()> {
        if !self.task.wants_barrier() {
            return Ok(());
        }
        if !self.is_settling {
            let is_catching_up = |(partition, holding): (&Partition, &Holding)| holding.is_catching_up(self.task.next(*partition));
            if self.holdings.iter().any(is_catching_up) {
                return Ok(());
            }
            self.is_settling = true;
            let live = self.holdings.iter().filter(|(_, holding)| holding.phase == Phase::Live);
            for partition in live.map(|(partition, _)| *partition).collect::<Vec<_>>() {
                self.checkpoint(partition, usize::MAX)?;
            }
        }
        if self.holdings.iter().all(|(partition, holding)| holding.is_still(self.task.next(*partition))) {
            self.task.at_barrier();
            self.is_settling = false;
        }
        Ok(())
    }

    /// Evicts what is stored; far beyond the bound, stores everything and takes nothing in until that is done.
    pub(super) fn bound_memory(&mut self, partition: Partition) -> Result<()> {
        let fill = self.task.fill(partition);
        let Some(holding) = self.holdings.get_mut(&partition).filter(|_| fill > Fill::Within) else { return Ok(()) };
        holding.complete = false;
        if holding.is_stored() {
            self.task.trim(partition);
        }
        if self.task.fill(partition) == Fill::Far {
            holding.is_blocked = true;
            self.checkpoint(partition, usize::MAX)?;
        }
        Ok(())
    }

    pub(super) fn unblock(&mut self, partition: Partition) {
        let Some(holding) = self.holdings.get_mut(&partition).filter(|holding| holding.is_blocked && holding.is_stored()) else { return };
        holding.is_blocked = false;
        if self.task.fill(partition) > Fill::Within {
            self.task.trim(partition);
        }
    }
}
