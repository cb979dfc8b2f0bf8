//! Sizes of events and what left for the outside.

use super::facts::Facts;
use super::persist::persist_fields;
use super::sketch::Histogram;
use crate::core::features::row::{Signal, Signals};
use crate::core::numeric::log2;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, packed)]
pub struct Volume {
    /// log2(bytes + 1) of single events, in octaves.
    sizes: Histogram<32>,
    /// Bytes sent outside, decayed with a day; and the slow average of its logarithm.
    day_out: f32,
    day_mean: f32,
    days: f32,
}
persist_fields!(Volume { sizes, day_out, day_mean, days });

/// The slow average follows with a time constant of so many days.
const DAYS_AVERAGED: f32 = 14.0;

impl Volume {
    pub fn observe(&mut self, facts: &Facts, signals: &mut impl Signals) {
        signals.set(Signal::Bytes, || facts.bytes_log2);
        signals.set(Signal::BytesMedian, || self.sizes.median());
        signals.set(Signal::BytesSpread, || self.sizes.spread());
        signals.set(Signal::OutShare, || facts.out_share);
        signals.set(Signal::External, || f32::from(u8::from(facts.external)));
        self.sizes.add(facts.bytes_log2);
        self.follow(facts);
        if facts.external {
            self.day_out += facts.bytes_out as f32;
        }
        signals.set(Signal::DayVolume, || log2(self.day_out + 1.0));
        signals.set(Signal::DayVolumeMean, || self.day_mean);
    }

    /// Median and spread of single events, in octaves.
    pub fn profile(&self) -> (f32, f32) {
        (self.sizes.median(), self.sizes.spread())
    }

    /// Moves the average towards the current level by the share of a day that passed, and lets the level fade.
    fn follow(&mut self, facts: &Facts) {
        let days = (facts.gap_seconds / 86_400.0).min(1.0);
        self.days += days;
        let weight = days / self.days.clamp(days.max(0.04), DAYS_AVERAGED);
        if days > 0.0 {
            self.day_mean += (log2(self.day_out + 1.0) - self.day_mean) * weight.min(1.0);
        }
        self.day_out *= facts.fade_24h;
    }
}
