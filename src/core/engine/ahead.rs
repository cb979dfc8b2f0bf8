//! Looking up what events need some time before their turn, so that cache misses overlap with other work and with each other.
//! Changes how long things take and nothing else.

use super::{Engine, Owned};
use crate::core::event::Event;
use crate::core::features::prevalence::place_of;
use crate::core::state::table::{Announced, Slot, Table};
use crate::core::types::EntityKey;

/// States are fetched so many events ahead: enough misses to overlap, few enough states for the first-level cache.
pub(super) const AHEAD: usize = 16;

/// What is looked up of an event some time before its turn.
pub(super) struct Ahead {
    announced: Announced,
    /// What its destination is counted as.
    pub(super) place: u64,
    /// Where its state probably is.
    pub(super) slot: Option<Slot>,
}

impl Engine {
    /// Asks for what events need some time before they are worked on, so that cache misses overlap with other work and each other:
    /// states up to the event `upto`, and what is needed to find them for as many events after it.
    pub(super) fn look_ahead(&mut self, owned: &Owned, events: &[Event<'_>], upto: usize) {
        for event in &events[self.ahead.len().min(events.len())..(upto + AHEAD).min(events.len())] {
            let place = place_of(event);
            self.scorer.prevalence().prefetch(place);
            self.ahead.push(Ahead { announced: owned.table.announce(event.entity.key), place, slot: None });
        }
        for (ahead, event) in self.ahead.iter_mut().zip(events).take(upto).skip(upto - AHEAD) {
            ahead.slot = owned.table.expect(ahead.announced, event);
        }
    }
}

/// Entities of the batch that the table does not have, one for each of their events.
pub(super) fn missing(table: &Table, events: &[Event<'_>]) -> Vec<EntityKey> {
    let key = |event: &Event<'_>| event.entity.key;
    let mut missing = vec![];
    for (index, event) in events.iter().enumerate() {
        // In the steps of `look_ahead`, but for keys only.
        if let Some(later) = events.get(index + 2 * AHEAD) {
            table.announce(key(later));
        }
        if let Some(soon) = events.get(index + AHEAD) {
            table.expect_key(key(soon));
        }
        if table.find(key(event)).is_none() {
            missing.push(key(event));
        }
    }
    missing
}
