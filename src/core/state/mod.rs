//! Stage 3/8: event-time windows and per-entity state.
//!
//! One fixed-size [`EntityState`] an entity, in one [`table::Table`] a partition. A state is a fold over its entity's own
//! events: it never depends on a score, on another entity or on how the log was cut into batches. It carries `next_offset`,
//! the first offset it has not seen: an event applies only at or past it, which makes replay harmless.

mod dns;
pub mod facts;
mod hours;
mod index;
mod login;
mod novelty;
mod packed;
mod periods;
pub mod persist;
mod rates;
mod sketch;
mod summary;
pub mod table;
#[cfg(test)]
mod tests;
mod volume;
mod windows;

pub use dns::split_registered;
pub use login::great_circle_km;
pub use novelty::Rarity;
pub use summary::{LoginSummary, ProfileSummary, RatesSummary, StateSummary};

use self::facts::Facts;
use self::packed::Moment;
use self::persist::{Persist, expand, squeeze};
use super::event::Event;
use super::features::row::{Signal, Signals};
use super::types::Offset;
use crate::native::prefetch_lines;

/// Newest version of the binary form: with what a network remembers of the entity behind it.
pub const FORMAT: u8 = 3;
/// Without that: what every state has that no network was used on, of this version and of older ones. 1 was never released, and holds
/// other sketches than can be made into these.
pub const FORMAT_MIN: u8 = 2;

use super::detect::lstm::STATE_BYTES as MEMORY_BYTES;
/// What an LSTM network remembers of an entity. Kept behind its state, which does not depend on any model.
pub use super::detect::lstm::State as Memory;

/// Everything remembered of one entity. Without gaps between its parts, and in order of how often they are needed, so that what most
/// events do not need need not be fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct EntityState {
    next_offset: u64,
    events: u32,
    novelty: novelty::Novelty,
    periods: periods::Periods,
    rates: rates::Rates,
    /// Times of the first and of the newest event.
    first: Moment,
    newest: Moment,
    hours: hours::Hours,
    volume: volume::Volume,
    windows: windows::Windows,
    login: login::Login,
    dns: dns::Dns,
    profile: hours::Profile,
}

/// Cache lines of a state that every event may need.
const USUAL_LINES: usize = std::mem::offset_of!(EntityState, login).div_ceil(64);

// A state and what a network remembers fill whole cache lines (`table::Entity`). One million of these, their keys and the table must
// stay within a gibibyte (benches/memory.rs measures it).
const _: () = assert!(size_of::<EntityState>() == 864);

/// In the order in which fields came to be.
impl Persist for EntityState {
    fn write(&self, out: &mut Vec<u8>) {
        let newest_micros = self.newest.micros().unwrap_or_default();
        self.next_offset.write(out);
        self.first.write(out);
        self.newest.write(out);
        self.events.write(out);
        self.rates.write(out);
        self.profile.write(out);
        self.hours.write(newest_micros, out);
        self.volume.write(out);
        self.windows.write(newest_micros, out);
        self.novelty.write(out);
        self.periods.write(out);
        self.login.write(out);
        self.dns.write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        self.next_offset.read(input)?;
        self.first.read(input)?;
        self.newest.read(input)?;
        self.events.read(input)?;
        self.rates.read(input)?;
        self.profile.read(input)?;
        self.hours.read(input)?;
        self.volume.read(input)?;
        self.windows.read(input)?;
        self.novelty.read(input)?;
        self.periods.read(input)?;
        self.login.read(input)?;
        self.dns.read(input)
    }
}

/// What became of an event at its entity's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observed {
    /// Applied; the rarity of its port and action goes into the model row.
    Applied(Rarity),
    /// Over before its entity's newest event by more than the allowed lateness; the state did not change.
    Late,
    /// Seen before: its outputs were durable before this state was stored.
    Replayed,
}

impl EntityState {
    /// Asks for what an event will need of the state, some time before it is observed.
    #[inline]
    pub fn prefetch(&self, event: &Event<'_>) {
        prefetch_lines(self, 0..USUAL_LINES);
        // Names asked for and log-ins with a place; what begins an hour waits for the hour's profile.
        if event.geo.coordinates.is_some() || event.event_type.starts_with("dns") {
            prefetch_lines(self, USUAL_LINES..size_of::<Self>() / 64);
        }
    }
    /// First offset not yet seen.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.next_offset)
    }
    #[must_use]
    pub fn events(&self) -> u32 {
        self.events
    }

    /// Folds one event in and writes what the state knew of it into `signals`.
    ///
    /// `place` is the event's [`super::features::prevalence::place_of`], and `travel_exempt` says that the event's place means nothing (VPN, relay, satellite).
    pub fn observe(
        &mut self,
        event: &Event<'_>,
        place: u64,
        limits: &Lateness,
        travel_exempt: bool,
        signals: &mut impl Signals,
    ) -> Observed {
        if event.at.offset.0 < self.next_offset {
            return Observed::Replayed;
        }
        let mut newest = self.newest.micros();
        if newest.is_some_and(|newest| limits.is_late(event, newest)) {
            self.next_offset = event.at.offset.0 + 1;
            return Observed::Late;
        }
        if newest.is_some_and(|newest| event.reached.0 - newest > limits.expire_micros) {
            *self = Self::default();
            newest = None;
        }
        self.next_offset = event.at.offset.0 + 1;
        let facts = Facts::of(event, place, newest);
        let rarity = self.fold(event, &facts, travel_exempt, signals);
        Observed::Applied(rarity)
    }

    #[inline]
    fn fold(&mut self, event: &Event<'_>, facts: &Facts, travel_exempt: bool, signals: &mut impl Signals) -> Rarity {
        if self.events == 0 {
            self.first = Moment::of(facts.micros);
        }
        let age_hours = ((facts.micros - self.first.micros().unwrap_or(facts.micros)).max(0) as f64 / 3.6e9) as f32;
        signals.set(Signal::Events, || self.events as f32);
        signals.set(Signal::AgeHours, || age_hours);
        self.rates.observe(facts, signals);
        self.hours.observe(facts, &mut self.profile, signals);
        self.volume.observe(facts, signals);
        self.windows.observe(facts, signals);
        let (rarity, is_new) = self.novelty.observe(facts, self.events, self.hours.rarity(), signals);
        self.periods.observe(facts, || is_new || self.novelty.is_forgetful(), age_hours, signals);
        self.login.observe(event, facts.authentication, travel_exempt, signals);
        if event.event_type.starts_with("dns") {
            self.dns.observe(event.resource, facts, signals);
        }
        signals.set_gap(facts.gap_seconds);
        self.events = self.events.saturating_add(1);
        self.newest = Moment::of(facts.micros.max(facts.before_micros));
        rarity
    }

    #[must_use]
    pub fn rates(&self) -> (f32, f32) {
        (self.rates.events_1h(), self.rates.events_24h())
    }
    #[must_use]
    pub fn novelty_ratios(&self) -> (f32, f32) {
        (self.novelty.new_destination_ratio(), self.novelty.new_resource_ratio())
    }

    /// The value for a store: format, then the fields, and the memory where there is one, with runs of zeros shortened.
    pub fn encode(&self, memory: Option<&Memory>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        self.write(scratch);
        out.push(if memory.is_some() { FORMAT } else { FORMAT_MIN });
        scratch.extend(memory.iter().flat_map(|memory| memory.to_bytes()));
        squeeze(scratch, out);
    }

    /// # Errors
    /// Says what to do about a value that is damaged or of a newer format.
    pub fn decode(value: &[u8], scratch: &mut Vec<u8>) -> Result<(Self, Option<Memory>), String> {
        let (format, rest) = value.split_first().ok_or("an entity's state is empty; restore it from a snapshot")?;
        if *format > FORMAT {
            return Err(format!(
                "an entity's state has format {format}, which is newer than {FORMAT}, the newest this version reads; run the version that \
                 wrote it or a later one"
            ));
        }
        if *format < FORMAT_MIN {
            return Err(format!(
                "an entity's state has format {format}, which this version cannot carry over to {FORMAT_MIN}; run the version that wrote it, \
                 or score again from a point in time (`threatguard run --from TIME`)"
            ));
        }
        scratch.clear();
        let mut state = Self::default();
        let whole = expand(rest, 2 * size_of::<Self>(), scratch);
        let mut input = scratch.as_slice();
        let read = whole.and_then(|()| state.read(&mut input));
        let memory = input.first_chunk::<MEMORY_BYTES>().map(Memory::from_bytes);
        let expected = if *format == FORMAT { MEMORY_BYTES } else { 0 };
        match read {
            Some(()) if input.len() == expected => Ok((state, memory)),
            _ => Err("an entity's state is damaged; restore it from a snapshot".to_owned()),
        }
    }
}

/// Bounds on event time, from the pipeline's settings.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    pub allowed_micros: i64,
    pub expire_micros: i64,
}

impl Lateness {
    /// Sensors write what lasts when it is over and date it by its beginning. So what counts is its end; the end moves no time, because
    /// other logs are in the order of beginnings, and because nobody may make the events of others late by a duration.
    #[inline]
    fn is_late(&self, event: &Event<'_>, newest_micros: i64) -> bool {
        let oldest = newest_micros - self.allowed_micros;
        event.time.0 < oldest && event.ended().0 < oldest
    }
}
