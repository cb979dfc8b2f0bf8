//! When a transaction is due: every commit interval, and less often while there is a backlog.
//!
//! A commit sends all that was published and waits for it; at 50 ms that costs a fifth of the throughput. What has been waiting in the
//! log for many intervals gains nothing from being seen one interval sooner, and everything behind it gains from the throughput.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::types::Partition;

/// A backlog is what takes at least so many commit intervals to work off.
const BACKLOG_INTERVALS: u128 = 8;
/// How many times as long as usual a transaction may grow then, and up to when at most, unless the interval itself is longer.
const GROWTH: u32 = 4;
const GROWN_MAX: Duration = Duration::from_millis(250);

/// The pace of one lane's commits.
pub(super) struct Pace {
    interval: Duration,
    grown: Duration,
    /// Settled in the present transaction.
    events: u64,
    /// Records of each partition that were not read yet.
    lag: BTreeMap<Partition, u64>,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        let grown = interval.max(GROWN_MAX.min(interval * GROWTH));
        Self { interval, grown, events: 0, lag: BTreeMap::new() }
    }

    /// `events` went into the transaction; `lag` more of their partition wait in the log.
    pub(super) fn note(&mut self, partition: Partition, events: u64, lag: u64) {
        self.events += events;
        self.lag.insert(partition, lag);
    }

    pub(super) fn forget(&mut self, partition: Partition) {
        self.lag.remove(&partition);
    }

    /// The transaction has ended; the next one begins.
    pub(super) fn restart(&mut self) {
        self.events = 0;
    }

    /// How long a transaction that was opened so long ago may stay open yet; zero: it is due.
    pub(super) fn left(&self, open: Duration) -> Duration {
        if open >= self.interval && self.is_behind(open) { self.grown.saturating_sub(open) } else { self.interval.saturating_sub(open) }
    }

    fn is_behind(&self, open: Duration) -> bool {
        let lag: u64 = self.lag.values().sum();
        // An interval settles `events * interval / open`.
        u128::from(lag) * open.as_nanos() > u128::from(self.events) * self.interval.as_nanos() * BACKLOG_INTERVALS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn transactions_grow_only_while_there_is_a_backlog() {
        let mut pace = Pace::new(ms(50));
        pace.note(Partition(0), 1_000, 6_000);
        assert_eq!([20, 50, 60].map(|open| pace.left(ms(open))), [ms(30), ms(0), ms(0)]);
        pace.note(Partition(1), 0, 2_100);
        assert_eq!([20, 50, 120, 200, 300].map(|open| pace.left(ms(open))), [ms(30), ms(150), ms(80), ms(0), ms(0)]);
        pace.forget(Partition(1));
        assert_eq!(pace.left(ms(50)), ms(0));
    }

    #[test]
    fn long_intervals_are_not_made_longer() {
        for (interval, grown) in [(5, 20), (100, 250), (250, 250), (5_000, 5_000)] {
            let mut pace = Pace::new(ms(interval));
            pace.note(Partition(0), 1, 1_000_000_000);
            assert_eq!(pace.left(ms(interval)), ms(grown - interval), "{interval} ms");
            pace.restart();
            assert_eq!(pace.left(ms(grown)), ms(0));
        }
    }
}
