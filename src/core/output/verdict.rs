//! The verdict on one event, written for every event where someone reads them: the one record on the hot path.
//!
//! [`VerdictRecord::write_json`] allocates nothing but what the buffer grows by. It writes what serde would, in other spelling
//! (`1.5e-7` for `0.00000015`); a test compares the two.

use serde::{Serialize, Serializer, ser::SerializeMap, ser::SerializeSeq};

use super::number::{quantised, quantised_p, write_escaped, write_number, write_p_value, write_time, write_unsigned};
use crate::core::event::Repairs;
use crate::core::types::{EntityKind, EventTime, Position};

/// One detector's part of a verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorVerdict<'a> {
    /// One of ours: letters, digits and `_`.
    pub name: &'a str,
    /// Raw score of the detector.
    pub score: f64,
    /// Calibrated.
    pub p_value: f64,
}

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
    /// No model had been learned yet.
    pub learning: bool,
    pub repairs: Repairs,
    pub detectors: &'a [DetectorVerdict<'a>],
}

impl DetectorVerdict<'_> {
    /// Appends `"name":{"score":...,"pValue":...}`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"\":{\"score\":");
        write_number(out, self.score);
        out.extend_from_slice(b",\"pValue\":");
        write_p_value(out, self.p_value);
        out.push(b'}');
    }
}

impl VerdictRecord<'_> {
    /// Appends the record as one line of JSON, without a line feed.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.write_json_with(out, |out| {
            for (index, detector) in self.detectors.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                detector.write_json(out);
            }
        });
    }

    /// [`Self::write_json`] with the detectors' parts by `write_detectors`, which appends what [`DetectorVerdict::write_json`] would
    /// have, separated by commas.
    pub fn write_json_with(&self, out: &mut Vec<u8>, write_detectors: impl FnOnce(&mut Vec<u8>)) {
        out.reserve(1_024 + self.entity_name.len());
        out.extend_from_slice(b"{\"position\":{\"partition\":");
        write_unsigned(out, u64::from(self.position.partition.0));
        out.extend_from_slice(b",\"offset\":");
        write_unsigned(out, self.position.offset.0);
        out.extend_from_slice(b"},\"entity\":\"");
        out.extend_from_slice(self.entity_kind.as_str().as_bytes());
        out.push(b':');
        write_escaped(out, self.entity_name);
        out.extend_from_slice(b"\",\"timestamp\":\"");
        write_time(out, self.timestamp);
        out.extend_from_slice(b"\",\"score\":");
        write_number(out, self.score);
        out.extend_from_slice(b",\"pValue\":");
        write_p_value(out, self.p_value);
        out.extend_from_slice(if self.threat { b",\"threat\":true" } else { b",\"threat\":false" });
        out.extend_from_slice(if self.learning { b",\"learning\":true" } else { b",\"learning\":false" });
        out.extend_from_slice(b",\"repairs\":[");
        if !self.repairs.is_empty() {
            for (index, name) in self.repairs.names().enumerate() {
                out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
                out.extend_from_slice(name.as_bytes());
                out.push(b'"');
            }
        }
        out.extend_from_slice(b"],\"detectors\":{");
        write_detectors(out);
        out.extend_from_slice(b"}}");
    }
}

struct Quantised(f64);
struct QuantisedP(f64);
struct Entity<'a>(EntityKind, &'a str);
struct Names(Repairs);
struct Detectors<'a>(&'a [DetectorVerdict<'a>]);
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

impl Serialize for DetectorVerdict<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("score", &Quantised(self.score))?;
        map.serialize_entry("pValue", &QuantisedP(self.p_value))?;
        map.end()
    }
}

impl Serialize for Detectors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|detector| (detector.name, detector)))
    }
}

impl Serialize for VerdictRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(9))?;
        map.serialize_entry("position", &Place(self.position))?;
        map.serialize_entry("entity", &Entity(self.entity_kind, self.entity_name))?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("score", &Quantised(self.score))?;
        map.serialize_entry("pValue", &QuantisedP(self.p_value))?;
        map.serialize_entry("threat", &self.threat)?;
        map.serialize_entry("learning", &self.learning)?;
        map.serialize_entry("repairs", &Names(self.repairs))?;
        map.serialize_entry("detectors", &Detectors(self.detectors))?;
        map.end()
    }
}
