//! The hour-of-week profile and the robust statistics of whole clock hours.

use super::facts::Facts;
use super::persist::{Persist, persist_fields};
use super::sketch::Histogram;
use crate::core::features::row::{Signal, Signals};
use crate::core::numeric::{ln, log2_count};
use crate::core::types::{EventTime, MICROS_PER_HOUR};

/// In how many weeks the entity was active in each hour of the week, half a byte each; fades by halving. Apart from [`Hours`] because
/// it is looked at when an hour begins, not at every event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    slots: [u8; 84],
}
persist_fields!(Profile { slots });

impl Default for Profile {
    fn default() -> Self {
        Self { slots: [0; 84] }
    }
}

/// The open clock hour and those before it. Which one is open follows from the entity's newest event, so it is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, packed)]
pub struct Hours {
    volume: u64,
    events: u32,
    rarity: f32,
    active_hours: u16,
    /// log2(count + 1) and log2(bytes + 1) of closed hours, in octaves.
    counts: Histogram<20>,
    volumes: Histogram<36>,
}

/// Active hours before an hour can be called unusual: the second working day.
const ACTIVE_HOURS_MIN: u16 = 12;
const WEEKS_MAX: u8 = 15;
/// Mass that every hour is taken to have, in the long run and at first.
const PRIOR_MASS: f32 = 0.05;
const PRIOR_HOURS: f32 = 6.0;

impl Hours {
    pub fn observe(&mut self, facts: &Facts, profile: &mut Profile, signals: &mut impl Signals) {
        let open = hour_of(facts.before_micros);
        if hour_of(facts.micros) > open {
            self.close(profile, open);
            self.rarity = self.rarity_of(profile, EventTime(facts.micros).hour_of_week());
        }
        self.events = self.events.saturating_add(1);
        self.volume = self.volume.saturating_add(facts.volume);
        signals.set(Signal::HourRarity, || self.rarity);
        signals.set(Signal::HourEvents, || self.events as f32);
        signals.set(Signal::HourEventsMedian, || self.counts.median());
        signals.set(Signal::HourEventsSpread, || self.counts.spread());
        signals.set(Signal::HourVolume, || log2_count(self.volume));
        signals.set(Signal::HourVolumeMedian, || self.volumes.median());
        signals.set(Signal::HourVolumeSpread, || self.volumes.spread());
    }

    /// Surprise of the current hour.
    pub fn rarity(&self) -> f32 {
        self.rarity
    }

    /// Active hours, and the medians of events and bytes in one, in octaves.
    pub fn profile(&self) -> (u16, f32, f32) {
        (self.active_hours, self.counts.median(), self.volumes.median())
    }

    /// The stored form, whose hour is that of the newest event.
    pub fn write(&self, newest_micros: i64, out: &mut Vec<u8>) {
        let Self { volume, events, rarity, active_hours, counts, volumes } = *self;
        active_hours.write(out);
        hour_of(newest_micros).write(out);
        events.write(out);
        volume.write(out);
        rarity.write(out);
        counts.write(out);
        volumes.write(out);
    }
    pub fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        let Self { mut volume, mut events, mut rarity, mut active_hours, mut counts, mut volumes } = *self;
        active_hours.read(input)?;
        0_u32.read(input)?;
        events.read(input)?;
        volume.read(input)?;
        rarity.read(input)?;
        counts.read(input)?;
        volumes.read(input)?;
        *self = Self { volume, events, rarity, active_hours, counts, volumes };
        Some(())
    }

    fn close(&mut self, profile: &mut Profile, open: u32) {
        if self.events == 0 {
            return;
        }
        self.counts.add(log2_count(u64::from(self.events)));
        self.volumes.add(log2_count(self.volume));
        let slot = EventTime(i64::from(open) * MICROS_PER_HOUR).hour_of_week();
        profile.add(slot);
        self.active_hours = self.active_hours.saturating_add(1);
        (self.events, self.volume) = (0, 0);
    }

    /// ln of how much less usual this hour of the week is than the entity's usual ones, 0 for a usual one.
    ///
    /// A slot borrows from its neighbours in time and from the same hour of the other days of its kind (working day or weekend),
    /// so that a few days of history already say something.
    fn rarity_of(&self, profile: &Profile, slot: usize) -> f32 {
        if self.active_hours < ACTIVE_HOURS_MIN {
            return 0.0;
        }
        let mass = profile.mass(slot);
        // An hour with the average mass of active hours is usual. The prior bounds the surprise: an hour that did not occur in two days
        // may yet be one of the entity's.
        let prior = PRIOR_MASS + PRIOR_HOURS / f32::from(self.active_hours);
        let usual = profile.usual_mass();
        if mass >= usual { 0.0 } else { ln((usual + prior) / (mass + prior)) }
    }
}

/// Clock hours since the epoch.
fn hour_of(micros: i64) -> u32 {
    (micros / MICROS_PER_HOUR) as u32
}

impl Profile {
    fn add(&mut self, slot: usize) {
        if self.weeks(slot) == WEEKS_MAX {
            self.slots.iter_mut().for_each(|pair| *pair = (*pair >> 1) & 0x77);
        }
        self.slots[slot / 2] += 1 << (4 * (slot % 2));
    }

    fn weeks(&self, slot: usize) -> u8 {
        (self.slots[slot / 2] >> (4 * (slot % 2))) & 0x0f
    }

    fn mass(&self, slot: usize) -> f32 {
        let at = |slot: usize| f32::from(self.weeks(slot % 168));
        let (day, hour) = (slot / 24, slot % 24);
        let same_kind = if day < 5 { 0..5 } else { 5..7 };
        let others: f32 = same_kind.filter(|other| *other != day).map(|other| at(other * 24 + hour)).sum();
        at(slot) + 0.5 * (at(slot + 1) + at(slot + 167)) + 0.4 * others
    }

    /// A quarter of the mass of a steadily used hour: the mean, over active hours, of the mass.
    fn usual_mass(&self) -> f32 {
        let of_pair = |pair: &u8| [u32::from(pair & 15), u32::from(pair >> 4)];
        let sum = |of: fn(u32) -> u32| self.slots.iter().map(|pair| of_pair(pair).map(of).iter().sum::<u32>()).sum::<u32>() as f32;
        let (total, squares) = (sum(|weeks| weeks), sum(|weeks| weeks * weeks));
        0.25 * (2.0 * squares / total.max(1.0) + 1.0)
    }
}
