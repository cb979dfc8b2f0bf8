//! Alarms of drift: something has become more frequent than it was. Must never count what is not known yet.

use std::collections::VecDeque;

use crate::models::table::report::wilson;

/// The newest observations that are compared with all before them since the last alarm, and how many of those there must be.
const NEWEST: usize = 500;
const BEFORE_MIN: u64 = 500;
/// Rates below it are no alarm, however small they were before.
const RATE_MIN: f64 = 0.02;

/// What has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Alerts: seen at once.
    Alerts,
    /// Verdicts that the labels contradict: seen when those come.
    Mistakes,
}

/// An alarm, raised before this row of the tested ones was scored, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Alarm {
    pub row: usize,
    pub cause: Cause,
}

/// Watches one rate.
#[derive(Debug, Default)]
pub(super) struct Watch {
    newest: VecDeque<bool>,
    newest_hits: u64,
    before: u64,
    before_hits: u64,
}

impl Watch {
    pub(super) fn observe(&mut self, hit: bool) {
        self.newest.push_back(hit);
        self.newest_hits += u64::from(hit);
        if self.newest.len() > NEWEST {
            let left = self.newest.pop_front().unwrap_or_default();
            self.newest_hits -= u64::from(left);
            self.before_hits += u64::from(left);
            self.before += 1;
        }
    }

    /// Whether the rate is surely higher than before, by 95 % intervals that do not touch. An alarm begins a new before.
    pub(super) fn has_risen(&mut self) -> bool {
        if self.before < BEFORE_MIN {
            return false;
        }
        let [low, _] = wilson(self.newest_hits, self.newest.len() as u64);
        let [_, high] = wilson(self.before_hits, self.before);
        let risen = low > high && low > RATE_MIN;
        if risen {
            *self = Self::default();
        }
        risen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_told_once_and_a_steady_or_falling_rate_never() {
        let alarms = |rates: &[(usize, usize)]| {
            let (mut watch, mut told, mut row) = (Watch::default(), vec![], 0);
            for (count, every) in rates {
                for _ in 0..*count {
                    row += 1;
                    watch.observe(row % every == 0);
                    if watch.has_risen() {
                        told.push(row);
                    }
                }
            }
            told
        };
        assert_eq!(alarms(&[(5_000, 20)]), Vec::<usize>::new());
        assert_eq!(alarms(&[(3_000, 4), (3_000, 50)]), Vec::<usize>::new());
        let rise = alarms(&[(3_000, 50), (3_000, 4)]);
        assert!(rise.len() == 1 && (3_000..3_400).contains(&rise[0]), "{rise:?}");
        assert_eq!(alarms(&[(900, 3)]), Vec::<usize>::new(), "too few to compare with");
    }
}
