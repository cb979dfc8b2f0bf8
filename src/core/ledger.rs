//! The ledger of unsettled offsets: what of a partition was received, and up to where everything is settled.
//!
//! An offset is settled when its outputs are durable and its state is stored. The commit point only moves forward, only within
//! one generation, and never past an unsettled offset. Nothing is settled by `Drop`.

use std::collections::VecDeque;

use super::types::{Generation, Offset, Partition};

/// Work of one checkpoint: everything before `upto` is settled once outputs and state of it are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub partition: Partition,
    pub generation: Generation,
    number: u64,
}

/// Open tickets of one partition in one generation.
#[derive(Debug)]
pub struct Ledger {
    partition: Partition,
    generation: Generation,
    next_number: u64,
    /// Tickets in the order they were opened: number, commit point they stand for, whether they are done.
    open: VecDeque<(u64, Offset, bool)>,
    settled: Offset,
}

impl Ledger {
    #[must_use]
    pub fn new(partition: Partition, generation: Generation, start: Offset) -> Self {
        Self { partition, generation, next_number: 0, open: VecDeque::new(), settled: start }
    }

    /// Opens a ticket: when it and all before it are done, everything before `upto` is settled.
    ///
    /// # Panics
    /// When `upto` goes back: the caller lost track of what it applied.
    pub fn open(&mut self, upto: Offset) -> Ticket {
        let last = self.open.back().map_or(self.settled, |(_, last, _)| *last);
        assert!(upto >= last, "a commit point moves forward: {} after {}", upto.0, last.0);
        let number = self.next_number;
        self.next_number += 1;
        self.open.push_back((number, upto, false));
        Ticket { partition: self.partition, generation: self.generation, number }
    }

    /// Closes a ticket. Returns the new commit point when it moved. A ticket of another generation settles nothing.
    pub fn done(&mut self, ticket: Ticket) -> Option<Offset> {
        if ticket.generation != self.generation || ticket.partition != self.partition {
            return None;
        }
        if let Some(entry) = self.open.iter_mut().find(|(number, _, _)| *number == ticket.number) {
            entry.2 = true;
        }
        let before = self.settled;
        while let Some((_, upto, true)) = self.open.front() {
            self.settled = *upto;
            self.open.pop_front();
        }
        (self.settled > before).then_some(self.settled)
    }

    /// Everything before this offset is settled.
    #[must_use]
    pub fn settled(&self) -> Offset {
        self.settled
    }
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }
    #[must_use]
    pub fn open_len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Partition(3), Generation(7), Offset(10))
    }

    #[test]
    fn a_gap_holds_the_commit_point_back() {
        let mut ledger = ledger();
        let (a, b, c) = (ledger.open(Offset(12)), ledger.open(Offset(15)), ledger.open(Offset(20)));
        assert_eq!(ledger.done(b), None);
        assert_eq!(ledger.done(c), None);
        assert_eq!(ledger.settled(), Offset(10));
        assert_eq!(ledger.done(a), Some(Offset(20)));
        assert_eq!(ledger.done(a), None, "a ticket counts once");
        assert_eq!(ledger.open_len(), 0);
    }

    #[test]
    fn another_generation_settles_nothing() {
        let mut old = ledger();
        let ticket = old.open(Offset(99));
        let mut new = Ledger::new(Partition(3), Generation(8), Offset(10));
        new.open(Offset(11));
        assert_eq!(new.done(ticket), None);
        assert_eq!(new.settled(), Offset(10));
    }

    #[test]
    #[should_panic(expected = "moves forward")]
    fn going_back_is_a_bug() {
        let mut ledger = ledger();
        ledger.open(Offset(12));
        ledger.open(Offset(11));
    }
}
