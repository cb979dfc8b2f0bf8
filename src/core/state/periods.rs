//! Periodicity by destination: does this entity call home like clockwork?
//!
//! Eleven slots. A destination that returns at a steady interval keeps its slot; the others take turns, the one
//! silent for longest leaving first. Intervals are averaged with their mean absolute deviation, which is 0.74 of the mean for
//! random (exponential) arrivals and near 0 for a beacon.

use super::facts::Facts;
use super::persist::{Persist, persist_fields};
use crate::core::features::row::{Signal, Signals};
use crate::core::numeric::{exp_neg, log2, log2_count};

const SLOTS: usize = 11;
/// Events closer together than this are one contact: a page load or a retry is not a period.
const CONTACT_SECONDS: u32 = 5;
/// Averages weigh the last 32 intervals or so.
const INTERVALS_AVERAGED: u16 = 32;
/// From so many intervals with so small a jitter on, a slot is kept while its period is not missed six times.
const STEADY_INTERVALS: u16 = 4;
const STEADY_JITTER: f32 = 0.5;
const MISSED_MAX: f32 = 6.0;
const JITTER_UNIT: f32 = 8_192.0;
const JITTER_MAX: f32 = 4.0;
const KNOWN: u32 = 2;
const DAY_SECONDS: f32 = 86_400.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slot {
    /// Seconds since the epoch.
    last: u32,
    /// Seconds.
    mean: f32,
    /// Mean absolute deviation as a share of the mean, in units of 1 / [`JITTER_UNIT`].
    jitter: u16,
    intervals: u16,
    /// Bytes sent there, decayed with a day.
    sent: f32,
}
persist_fields!(Slot { last, mean, jitter, intervals, sent });

impl Slot {
    fn is_steady(&self, now: u32) -> bool {
        self.intervals >= STEADY_INTERVALS
            && self.jitter() < STEADY_JITTER
            && (now.saturating_sub(self.last) as f32) < MISSED_MAX * self.mean
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Periods {
    /// Which destination each slot has, side by side: finding one takes a cache line and a few vectors.
    destinations: [u32; SLOTS],
    slots: [Slot; SLOTS],
}

impl Persist for Periods {
    fn write(&self, out: &mut Vec<u8>) {
        for (destination, slot) in self.destinations.iter().zip(&self.slots) {
            destination.write(out);
            slot.write(out);
        }
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        for (destination, slot) in self.destinations.iter_mut().zip(&mut self.slots) {
            destination.read(input)?;
            slot.read(input)?;
        }
        Some(())
    }
}

impl Periods {
    /// `unknown`: the destination is new, or the entity knows too many to say. `age_hours` is the entity's own.
    pub fn observe(&mut self, facts: &Facts, unknown: impl FnOnce() -> bool, age_hours: f32, signals: &mut impl Signals) {
        if facts.destination == 0 {
            return;
        }
        // Bit 0 says that the slot is taken, bit 1 that the destination was known before the slot was.
        let destination = (facts.destination >> 32) as u32 & !KNOWN | 1;
        let now = (facts.micros / 1_000_000) as u32;
        let Some(at) = self.place_of(destination) else {
            let known = if unknown() { 0 } else { KNOWN };
            self.claim(destination | known, now, facts.bytes_out);
            signals.set(Signal::DestinationSent, || log2_count(facts.bytes_out));
            return;
        };
        let slot = &mut self.slots[at];
        let gap = now.saturating_sub(slot.last);
        slot.sent = slot.sent * exp_neg(gap as f32 / DAY_SECONDS) + facts.bytes_out as f32;
        signals.set(Signal::DestinationSent, || log2(slot.sent + 1.0));
        if gap < CONTACT_SECONDS {
            return;
        }
        slot.add(gap as f32);
        slot.last = now;
        signals.set(Signal::Period, || slot.mean);
        signals.set(Signal::PeriodJitter, || slot.jitter());
        signals.set(Signal::PeriodCount, || f32::from(slot.intervals));
        let age = slot.mean * f32::from(slot.intervals) / 3_600.0;
        let entity = if self.destinations[at] & KNOWN == 0 { 0.0 } else { age_hours };
        signals.set(Signal::PeriodAgeHours, || age.max(entity));
    }

    /// The first slot of the destination. All are compared before any is chosen, so that nothing branches on the way.
    #[inline]
    fn place_of(&self, destination: u32) -> Option<usize> {
        let same = self.destinations.map(|other| u32::from(other & !KNOWN == destination));
        let same = same.iter().enumerate().fold(0, |all, (at, same)| all | same << at);
        (same != 0).then_some(same.trailing_zeros() as usize)
    }

    fn claim(&mut self, destination: u32, now: u32, sent: u64) {
        let claims = self.slots.iter().map(|slot| (slot.is_steady(now), slot.last));
        let (at, _) = claims.enumerate().min_by_key(|(_, claim)| *claim).expect("there are slots");
        self.destinations[at] = destination;
        self.slots[at] = Slot { last: now, sent: sent as f32, ..Slot::default() };
    }
}

impl Slot {
    fn jitter(&self) -> f32 {
        f32::from(self.jitter) / JITTER_UNIT
    }

    fn add(&mut self, gap: f32) {
        self.intervals = self.intervals.saturating_add(1);
        let weight = 1.0 / f32::from(self.intervals.min(INTERVALS_AVERAGED));
        if self.intervals == 1 {
            self.mean = gap;
            return;
        }
        let deviation = (gap - self.mean).abs() / self.mean.max(1.0);
        let jitter = self.jitter() + (deviation.min(JITTER_MAX) - self.jitter()) * weight;
        self.jitter = (jitter * JITTER_UNIT) as u16;
        self.mean += (gap - self.mean) * weight;
    }
}
