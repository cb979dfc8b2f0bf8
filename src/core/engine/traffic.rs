//! Window aggregates of a partition's events for `analytics.update`: counts of what came by, in event time.
//!
//! Nothing here depends on a score, so a replay gives the same windows.

use std::collections::BTreeMap;

use crate::core::event::{Event, Outcome};
use crate::core::numeric::hash_key;
use crate::core::state::persist::Persist;
use crate::core::types::Offset;

/// Version of the partition's binary form.
const FORMAT: u8 = 2;

/// Distinct event types and protocols kept by name in one window; what comes after them is counted as `other`.
const NAMES_MAX: usize = 16;
/// Windows open at the same time; the oldest closes early when there are more.
const WINDOWS_MAX: usize = 8;

/// One tumbling window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    pub start_micros: i64,
    pub end_micros: i64,
    /// Position of the last event counted; with the start it makes the id.
    pub last_offset: Offset,
    pub events: u64,
    pub failures: u64,
    pub bytes: u64,
    pub late: u64,
    pub dead_lettered: u64,
    pub by_event_type: Named,
    pub by_protocol: Named,
    entities: Registers,
}

impl Window {
    /// Estimate of distinct entities (HyperLogLog, Flajolet et al. 2007, 256 registers: 6.5 % standard error).
    #[must_use]
    pub fn distinct_entities(&self) -> u64 {
        self.entities.estimate()
    }
}

/// Counts by name, bounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    counts: Vec<(String, u64)>,
    last: usize,
}

impl Named {
    fn add(&mut self, name: &str) {
        // Neighbouring events are mostly alike: look where the one before was found.
        if let Some((known, count)) = self.counts.get_mut(self.last)
            && known == name
        {
            *count += 1;
            return;
        }
        let at = self.counts.iter().position(|(known, _)| known == name);
        self.last = match at {
            Some(at) => at,
            None if self.counts.len() < NAMES_MAX => {
                self.counts.push((name.to_owned(), 0));
                self.counts.len() - 1
            }
            None => self.other(),
        };
        self.counts[self.last].1 += 1;
    }

    fn other(&mut self) -> usize {
        if let Some(at) = self.counts.iter().position(|(known, _)| known == "other") {
            return at;
        }
        self.counts.push(("other".to_owned(), 0));
        self.counts.len() - 1
    }

    /// Names and counts by name.
    #[must_use]
    pub fn sorted(&self) -> BTreeMap<&str, u64> {
        self.counts.iter().map(|(name, count)| (name.as_str(), *count)).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Registers(Vec<u8>);

impl Default for Registers {
    fn default() -> Self {
        Self(vec![0; 256])
    }
}

impl Registers {
    fn insert(&mut self, hash: u64) {
        let register = &mut self.0[(hash & 255) as usize];
        *register = (*register).max(((hash >> 8) | 1 << 55).trailing_zeros() as u8 + 1);
    }
    fn estimate(&self) -> u64 {
        let m = 256.0_f64;
        let sum: f64 = self.0.iter().map(|rank| 1.0 / (1u64 << rank) as f64).sum();
        let zeros = self.0.iter().filter(|rank| **rank == 0).count();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let estimate = if raw <= 2.5 * m && zeros > 0 { m * libm::log(m / zeros as f64) } else { raw };
        libm::round(estimate) as u64
    }
}

/// The open windows of one partition.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    length_micros: i64,
    grace_micros: i64,
    watermark_micros: i64,
    next_offset: u64,
    /// By their start. They are few.
    windows: Vec<Window>,
    /// Where the last event was counted: the next one mostly goes there too.
    last: usize,
}

impl Traffic {
    /// A window closes when an event is `grace_micros` past its end.
    #[must_use]
    pub fn new(length_micros: i64, grace_micros: i64) -> Self {
        Self { length_micros: length_micros.max(1), grace_micros, watermark_micros: i64::MIN, ..Self::default() }
    }

    /// Newest event time seen.
    #[must_use]
    pub fn watermark_micros(&self) -> i64 {
        self.watermark_micros
    }

    pub fn event(&mut self, event: &Event<'_>, closed: &mut Vec<Window>) {
        if self.skips(event.at.offset) {
            return;
        }
        let window = self.window(event.reached.0);
        window.last_offset = event.at.offset;
        window.events += 1;
        window.failures += u64::from(event.outcome == Outcome::Failure);
        window.bytes = window.bytes.saturating_add(event.bytes);
        window.by_event_type.add(event.event_type);
        window.by_protocol.add(event.protocol);
        window.entities.insert(hash_key(event.entity.key.0));
        self.advance(event.reached.0, closed);
    }

    /// Late events and dead letters have no window of their own: they count in the newest.
    pub fn late(&mut self, at: Offset) {
        if !self.skips(at) && self.watermark_micros != i64::MIN {
            let newest = self.watermark_micros;
            self.window(newest).late += 1;
        }
    }
    pub fn dead_letter(&mut self, at: Offset) {
        if !self.skips(at) && self.watermark_micros != i64::MIN {
            let newest = self.watermark_micros;
            self.window(newest).dead_lettered += 1;
        }
    }

    /// Closes everything, at the end of a finite input.
    pub fn finish(&mut self, closed: &mut Vec<Window>) {
        closed.append(&mut self.windows);
    }

    /// A partition-level value follows the same rule as an entity's: an event counts once, at or past its next offset.
    fn skips(&mut self, at: Offset) -> bool {
        let skips = at.0 < self.next_offset;
        self.next_offset = self.next_offset.max(at.0 + 1);
        skips
    }

    fn window(&mut self, micros: i64) -> &mut Window {
        // A stored window may have another length, and then be the wrong one for what lies in it.
        let length = self.length_micros;
        let holds = |window: &Window| {
            (window.start_micros..window.end_micros).contains(&micros) && window.end_micros - window.start_micros == length
        };
        if !self.windows.get(self.last).is_some_and(holds) {
            self.last = self.place_of(micros);
        }
        &mut self.windows[self.last]
    }

    /// The place of the window that an event of this time counts in, which is opened if need be.
    fn place_of(&mut self, micros: i64) -> usize {
        let length = self.length_micros;
        let mut start = micros.div_euclid(length) * length;
        // What belongs to a window that has closed counts in the oldest open one.
        if start.saturating_add(length).saturating_add(self.grace_micros) <= self.watermark_micros {
            start = self.windows.first().map_or(self.watermark_micros.div_euclid(length) * length, |oldest| oldest.start_micros);
        }
        self.windows.binary_search_by_key(&start, |window| window.start_micros).unwrap_or_else(|place| {
            self.windows.insert(place, Window { start_micros: start, end_micros: start + length, ..Window::default() });
            place
        })
    }

    fn advance(&mut self, micros: i64, closed: &mut Vec<Window>) {
        self.watermark_micros = self.watermark_micros.max(micros);
        let micros = self.watermark_micros;
        while self.windows.first().is_some_and(|oldest| oldest.end_micros.saturating_add(self.grace_micros) <= micros) {
            closed.push(self.windows.remove(0));
        }
        while self.windows.len() > WINDOWS_MAX {
            closed.push(self.windows.remove(0));
        }
    }

    /// The value that a store keeps for the partition.
    pub fn write(&self, out: &mut Vec<u8>) {
        FORMAT.write(out);
        self.watermark_micros.write(out);
        self.next_offset.write(out);
        (self.windows.len() as u32).write(out);
        for window in &self.windows {
            window.write(out);
        }
    }

    /// Takes over a stored value; `None` when it is damaged or of another format.
    pub fn read(&mut self, mut input: &[u8]) -> Option<()> {
        let (mut format, mut count) = (0u8, 0u32);
        format.read(&mut input)?;
        if format != FORMAT {
            return None;
        }
        self.watermark_micros.read(&mut input)?;
        self.next_offset.read(&mut input)?;
        count.read(&mut input)?;
        for _ in 0..count.min(2 * WINDOWS_MAX as u32) {
            self.windows.push(Window::read(&mut input)?);
        }
        self.windows.sort_by_key(|window| window.start_micros);
        Some(())
    }
}

impl Window {
    fn write(&self, out: &mut Vec<u8>) {
        self.start_micros.write(out);
        self.end_micros.write(out);
        for number in [self.last_offset.0, self.events, self.failures, self.bytes, self.late, self.dead_lettered] {
            number.write(out);
        }
        for named in [&self.by_event_type, &self.by_protocol] {
            (named.counts.len() as u32).write(out);
            for (name, count) in &named.counts {
                (name.len() as u32).write(out);
                out.extend_from_slice(name.as_bytes());
                count.write(out);
            }
        }
        out.extend_from_slice(&self.entities.0);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let mut window = Self::default();
        window.start_micros.read(input)?;
        window.end_micros.read(input)?;
        let Self { last_offset, events, failures, bytes, late, dead_lettered, .. } = &mut window;
        for number in [&mut last_offset.0, events, failures, bytes, late, dead_lettered] {
            number.read(input)?;
        }
        window.by_event_type = read_named(input)?;
        window.by_protocol = read_named(input)?;
        window.entities.0.iter_mut().try_for_each(|register| register.read(input))?;
        Some(window)
    }
}

fn read_named(input: &mut &[u8]) -> Option<Named> {
    let mut names = 0u32;
    names.read(input)?;
    let mut counts = vec![];
    for _ in 0..names.min(2 * NAMES_MAX as u32) {
        let (mut length, mut count) = (0u32, 0u64);
        length.read(input)?;
        let (name, rest) = input.split_at_checked(length as usize)?;
        *input = rest;
        count.read(input)?;
        counts.push((String::from_utf8(name.to_vec()).ok()?, count));
    }
    Some(Named { counts, last: 0 })
}
