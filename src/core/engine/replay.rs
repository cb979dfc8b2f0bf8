//! Going over events again to make the states of then. States never depend on a score, so nothing is scored, and of a row only as
//! much is worked out as something remembers of it.

use super::ahead::AHEAD;
use super::{Counts, Engine, Owned};
use crate::core::event::Event;
use crate::core::features::model_row;
use crate::core::features::row::{SIGNAL_WIDTH, Unseen};
use crate::core::state::Observed;
use crate::core::types::{Offset, Partition};

impl Engine {
    /// Applies events whose outputs are out already: their states change as they did then, and nothing else comes of them.
    ///
    /// # Panics
    /// When the partition is not assigned.
    pub fn replay(&mut self, partition: Partition, events: &[Event<'_>], rejects: &[Offset]) -> Counts {
        let mut owned = self.partitions.remove(&partition).expect("only assigned partitions deliver batches");
        self.rows.clear();
        self.go_over(&mut owned, events, rejects, Self::fold_event);
        self.partitions.insert(partition, owned);
        self.effects.windows.clear();
        self.effects.verdicts.clear();
        let counts = Counts { replayed: (events.len() + rejects.len()) as u64, ..Counts::default() };
        self.effects.counts = counts;
        self.totals.add(counts);
        counts
    }

    /// Events and rejects in the order of their offsets.
    pub(super) fn go_over(
        &mut self,
        owned: &mut Owned,
        events: &[Event<'_>],
        rejects: &[Offset],
        mut each: impl FnMut(&mut Self, &mut Owned, usize, &Event<'_>),
    ) {
        self.effects.windows.clear();
        self.effects.counts = Counts::default();
        self.ahead.clear();
        self.look_ahead(owned, events, AHEAD);
        let mut rejects = rejects.iter().peekable();
        for (index, event) in events.iter().enumerate() {
            if index % AHEAD == 0 {
                self.look_ahead(owned, events, index + 2 * AHEAD);
            }
            while let Some(at) = rejects.next_if(|at| **at < event.at.offset) {
                self.reject(owned, *at);
            }
            each(self, owned, index, event);
        }
        for at in rejects {
            self.reject(owned, *at);
        }
    }

    /// What [`Engine::observe_event`] does to the states.
    fn fold_event(&mut self, owned: &mut Owned, index: usize, event: &Event<'_>) {
        owned.next = owned.next.max(event.at.offset.next());
        let slot = self.slot_of(owned, index, event);
        let travel_exempt = event.geo.coordinates.is_some() && self.is_travel_exempt(event);
        let place = self.ahead[index].place;
        let state = owned.table.state_mut(slot);
        let (observed, memory) = match self.scorer.network() {
            None => (state.observe(event, place, &self.lateness, travel_exempt, &mut Unseen), None),
            Some(network) => {
                let mut signals = [0.0; SIGNAL_WIDTH];
                let observed = state.observe(event, place, &self.lateness, travel_exempt, &mut signals);
                (observed, Some((network, signals)))
            }
        };
        let Observed::Applied(rarity) = observed else { return self.passed_over(owned, slot, event.at.offset, observed) };
        owned.table.begin_anew(slot);
        if let Some((network, signals)) = memory {
            let row = model_row(self.schema, event, owned.table.state(slot), rarity, &signals);
            let mut memory = owned.table.memory(slot);
            network.step(&mut memory, &row);
            owned.table.remember(slot, &memory);
        }
        owned.table.touched(slot, event.at.offset);
        owned.traffic.event(event, &mut self.effects.windows);
    }
}

#[cfg(test)]
mod tests;
