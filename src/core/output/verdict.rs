//! The verdict on one event, written for every event where someone reads them: the one record on the hot path.
//!
//! [`VerdictWriter`] allocates nothing but what the buffer grows by. It writes what serde would, in other spelling (`1.5e-7` for
//! `0.00000015`); a test compares the two.

use serde::{Serialize, Serializer, ser::SerializeMap, ser::SerializeSeq};

use super::digits::{Line, Padded, six_digits_and};
use super::number::{quantised, quantised_p, writable, write_escaped, write_time};
use crate::core::detect::NAMES;
use crate::core::event::Repairs;
use crate::core::types::{EntityKind, EventTime, MICROS_PER_SECOND, Partition, Position};

/// Parts of a verdict: one a detector, in the order of [`NAMES`].
const PARTS: usize = NAMES.len();

/// One detector's part of a verdict: `[score, pValue]`, or `0` where it saw nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Raw score of the detector.
    pub score: f64,
    /// Calibrated.
    pub p_value: f64,
}

impl Part {
    pub const NOTHING: Self = Self { score: 0.0, p_value: 1.0 };

    /// Whether it is written as `0`.
    #[inline(always)]
    fn is_nothing(self) -> bool {
        self.score.abs() <= 0.0 && self.p_value >= 1.0
    }
}

/// A bundle's version, in hexadecimal digits.
pub type ModelsVersion = [u8; 16];

/// The verdict on one event, on topic `security.verdicts`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerdictRecord<'a> {
    pub position: Position,
    pub entity_kind: EntityKind,
    pub entity_name: &'a str,
    pub timestamp: EventTime,
    /// 0..100.
    pub score: f64,
    /// Combined and calibrated.
    pub p_value: f64,
    pub threat: bool,
    /// No model had been learned yet. Written where it is so.
    pub learning: bool,
    /// Version of the models that scored. Written where there are any.
    pub models: Option<ModelsVersion>,
    /// Written where there are any.
    pub repairs: Repairs,
    pub detectors: [Part; PARTS],
}

/// Bytes of a line without its entity's name, where that is long, and without repairs.
const LINE_BYTES_MAX: usize = 1_024;
const HEAD_BYTES_MAX: usize = 48;
const NAME_BYTES_MAX: usize = 32;

/// How a detector's part begins, and all of it where there is nothing to say.
const HEADS: [Padded<NAME_BYTES_MAX>; PARTS] = named(b"\":[");
const NOTHINGS: [Padded<NAME_BYTES_MAX>; PARTS] = named(b"\":0,");

const fn named(behind: &[u8]) -> [Padded<NAME_BYTES_MAX>; PARTS] {
    let mut all = [Padded::joined(&[]); PARTS];
    let mut part = 0;
    while part < PARTS {
        all[part] = Padded::joined(&[b"\"", NAMES[part].as_bytes(), behind]);
        part += 1;
    }
    all
}

/// Writes verdicts one after the other. What does not change from one to the next is kept: the partition, the second, the parts of
/// detectors that see nothing.
#[derive(Clone, Debug)]
pub struct VerdictWriter {
    partition: Partition,
    /// Up to the offset.
    head: Padded<HEAD_BYTES_MAX>,
    second: i64,
    /// `2026-01-02T03:04:05.` of that second.
    second_text: [u8; 20],
    line: [u8; LINE_BYTES_MAX],
}

impl Default for VerdictWriter {
    fn default() -> Self {
        let mut writer = Self {
            partition: Partition(0),
            head: Padded::joined(&[]),
            second: 0,
            second_text: *b"1970-01-01T00:00:00.",
            line: [0; LINE_BYTES_MAX],
        };
        writer.set_partition(Partition(0));
        writer
    }
}

impl VerdictWriter {
    fn set_partition(&mut self, partition: Partition) {
        self.partition = partition;
        self.head = Padded::joined(&[b"{\"position\":{\"partition\":", partition.0.to_string().as_bytes(), b",\"offset\":"]);
    }

    #[cold]
    fn set_second(&mut self, second: i64) {
        let mut text = Vec::with_capacity(27);
        write_time(&mut text, EventTime(second * MICROS_PER_SECOND));
        self.second_text = *text.first_chunk().expect("a time is longer");
        self.second = second;
    }

    /// Appends the record as one line of JSON, without a line feed.
    pub fn write(&mut self, record: &VerdictRecord<'_>, out: &mut Vec<u8>) {
        if record.position.partition != self.partition {
            self.set_partition(record.position.partition);
        }
        let time = writable(record.timestamp);
        let second = time.0.div_euclid(MICROS_PER_SECOND);
        if second != self.second {
            self.set_second(second);
        }
        let Self { head, second_text, line, .. } = self;
        let mut line = Line::new(line);
        line.put_padded(head);
        line.put_unsigned(record.position.offset.0);
        match record.entity_kind {
            EntityKind::Ip => line.put(b"},\"entity\":\"ip:"),
            EntityKind::User => line.put(b"},\"entity\":\"user:"),
            EntityKind::Host => line.put(b"},\"entity\":\"host:"),
            EntityKind::Unknown => line.put(b"},\"entity\":\"unknown:"),
        }
        if !line.put_plain(record.entity_name) {
            line.flush(out);
            write_escaped(out, record.entity_name);
        }
        line.put(b"\",\"timestamp\":\"");
        line.put(second_text);
        line.put(&six_digits_and((time.0 - second * MICROS_PER_SECOND) as u32, b'Z'));
        line.put(b"\",\"score\":");
        line.put_number(record.score);
        line.put(b",\"pValue\":");
        line.put_p_value(record.p_value);
        line.put_start(if record.threat { b",\"threat\":true " } else { b",\"threat\":false" }, 15 - usize::from(record.threat));
        if record.learning {
            line.put(b",\"learning\":true");
        }
        if let Some(version) = &record.models {
            line.put(b",\"models\":\"");
            line.put(version);
            line.put(b"\"");
        }
        if !record.repairs.is_empty() {
            line.flush(out);
            write_repairs(record.repairs, out);
        }
        line.put(b",\"detectors\":{");
        put_parts(&record.detectors, &mut line);
        line.flush(out);
    }
}

/// The parts, and the ends of their object and of the record.
#[inline(always)]
fn put_parts(parts: &[Part; PARTS], line: &mut Line<'_, LINE_BYTES_MAX>) {
    for (index, part) in parts.iter().enumerate() {
        if part.is_nothing() {
            line.put_padded(&NOTHINGS[index]);
            continue;
        }
        line.put_padded(&HEADS[index]);
        line.put_number(part.score);
        line.put(b",");
        line.put_p_value(part.p_value);
        line.put(b"],");
    }
    line.replace_last(b"}}");
}

#[cold]
fn write_repairs(repairs: Repairs, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"repairs\":[");
    for (index, name) in repairs.names().enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

struct Quantised(f64);
struct QuantisedP(f64);
struct Entity<'a>(EntityKind, &'a str);
struct Names(Repairs);
struct Detectors([Part; PARTS]);
struct Place(Position);

impl Serialize for Quantised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(quantised(self.0))
    }
}

impl Serialize for QuantisedP {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(quantised_p(self.0))
    }
}

impl Serialize for Entity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.0.as_str(), self.1))
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for name in self.0.names() {
            sequence.serialize_element(name)?;
        }
        sequence.end()
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("partition", &self.0.partition.0)?;
        map.serialize_entry("offset", &self.0.offset.0)?;
        map.end()
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_nothing() {
            return serializer.serialize_u8(0);
        }
        let mut sequence = serializer.serialize_seq(Some(2))?;
        sequence.serialize_element(&Quantised(self.score))?;
        sequence.serialize_element(&QuantisedP(self.p_value))?;
        sequence.end()
    }
}

impl Serialize for Detectors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(NAMES.iter().zip(&self.0))
    }
}

impl Serialize for VerdictRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("position", &Place(self.position))?;
        map.serialize_entry("entity", &Entity(self.entity_kind, self.entity_name))?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("score", &Quantised(self.score))?;
        map.serialize_entry("pValue", &QuantisedP(self.p_value))?;
        map.serialize_entry("threat", &self.threat)?;
        if self.learning {
            map.serialize_entry("learning", &true)?;
        }
        if let Some(version) = &self.models {
            map.serialize_entry("models", &String::from_utf8_lossy(version))?;
        }
        if !self.repairs.is_empty() {
            map.serialize_entry("repairs", &Names(self.repairs))?;
        }
        map.serialize_entry("detectors", &Detectors(self.detectors))?;
        map.end()
    }
}
