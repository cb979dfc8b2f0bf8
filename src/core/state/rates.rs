//! Decayed counts of events, attempts and failures.
//!
//! A count decayed with time constant T is the sum of exp(-age / T) over all events: a window of length T without edges.

use super::facts::Facts;
use super::persist::persist_fields;
use crate::core::event::Outcome;
use crate::core::features::row::{Signal, Signals};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, packed(2))]
pub struct Rates {
    events_1h: f32,
    events_24h: f32,
    failures_5m: f32,
    failures_1h: f32,
    failures_24h: f32,
    attempts_1h: f32,
    /// Long-run share of failures among events with an outcome, and how many of them it averages.
    failure_share: f32,
    outcomes: u16,
}
persist_fields!(Rates { events_1h, events_24h, failures_5m, failures_1h, failures_24h, attempts_1h, failure_share, outcomes });

/// The long-run share averages at least and at most so many outcomes.
const OUTCOMES_AVERAGED_MAX: u16 = 1_000;
/// Failures that make a following success worth a look.
const FAILURES_BEFORE_SUCCESS: f32 = 2.0;

impl Rates {
    pub fn observe(&mut self, facts: &Facts, signals: &mut impl Signals) {
        self.events_1h = self.events_1h * facts.fade_1h + 1.0;
        self.events_24h = self.events_24h * facts.fade_24h + 1.0;
        self.failures_5m *= facts.fade_5m;
        self.failures_1h *= facts.fade_1h;
        self.failures_24h *= facts.fade_24h;
        self.attempts_1h *= facts.fade_1h;
        signals.set(Signal::FailureShare, || self.failure_share);
        signals.set(Signal::Authentication, || f32::from(u8::from(facts.authentication)));
        if facts.outcome != Outcome::Unknown {
            self.settle(facts, signals);
        }
        signals.set(Signal::Failures5m, || self.failures_5m);
        signals.set(Signal::Failures1h, || self.failures_1h);
        signals.set(Signal::Failures24h, || self.failures_24h);
        signals.set(Signal::Attempts1h, || self.attempts_1h);
    }

    fn settle(&mut self, facts: &Facts, signals: &mut impl Signals) {
        let failed = facts.outcome == Outcome::Failure;
        self.outcomes = (self.outcomes + 1).min(OUTCOMES_AVERAGED_MAX);
        self.failure_share += (f32::from(u8::from(failed)) - self.failure_share) / f32::from(self.outcomes);
        if !facts.authentication {
            return;
        }
        self.attempts_1h += 1.0;
        if failed {
            self.failures_5m += 1.0;
            self.failures_1h += 1.0;
            self.failures_24h += 1.0;
        } else if self.failures_1h >= FAILURES_BEFORE_SUCCESS {
            signals.set(Signal::SuccessAfterFailures, || 1.0);
        }
    }

    /// Failures in an hour and in a day, and their long-run share.
    #[must_use]
    pub fn failures(&self) -> (f32, f32, f32) {
        (self.failures_1h, self.failures_24h, self.failure_share)
    }
    #[must_use]
    pub fn events_1h(&self) -> f32 {
        self.events_1h
    }
    #[must_use]
    pub fn events_24h(&self) -> f32 {
        self.events_24h
    }
}
