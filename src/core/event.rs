//! What flows through the core: a raw record, its decoded fields, the sanitized event, and what was refused.

use std::net::IpAddr;

use super::types::{EntityKey, EntityKind, EventTime, MICROS_PER_SECOND, Position};
use crate::limits::EVENT_LASTS_SECONDS_MAX;

/// One record of the log, borrowed from the batch's buffers.
#[derive(Clone, Copy, Debug)]
pub struct Record<'b> {
    pub at: Position,
    pub payload: &'b [u8],
    /// The record's own timestamp: the broker's, or the time that a framer carried on from the line before. Never the host's.
    pub time: Option<EventTime>,
}

/// A decoded value before it is sanitized.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Field<'b> {
    #[default]
    Missing,
    /// Text with escapes already resolved.
    Text(&'b str),
    /// The digits of a JSON number as written, at most [`crate::limits::JSON_NUMBER_BYTES_MAX`].
    Number(&'b str),
    /// A whole number that the codec worked out (a sum, a duration).
    Unsigned(u64),
    /// A fraction that the codec worked out (seconds of a duration or an epoch, a coordinate).
    Real(f64),
    Bool(bool),
    /// An array or an object where a scalar was expected; its JSON as written.
    Nested(&'b str),
}

/// The names of product.md 1.1, and the flow figures that network sensors add to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FieldId {
    Timestamp,
    SourceIp,
    DestIp,
    Protocol,
    /// Destination port.
    Port,
    BytesTransferred,
    EventType,
    UserAgent,
    UserId,
    Resource,
    Action,
    Outcome,
    DeviceId,
    SessionId,
    GeoLat,
    GeoLon,
    GeoCountry,
    GeoCity,
    GeoAsn,
    /// Bytes from the source to the destination, and back. `BytesTransferred` is their sum unless given.
    BytesOut,
    BytesIn,
    Packets,
    /// Seconds.
    Duration,
    /// Hash of a file that the event is about (MD5, SHA-1 or SHA-256 in hex).
    FileHash,
}

impl FieldId {
    pub const COUNT: usize = 24;
    /// Field names in the `threatguard` codec and in `mapping:`; those of `geo` are nested there. Same order as the variants.
    pub const ALL: [(Self, &'static str); Self::COUNT] = [
        (Self::Timestamp, "timestamp"),
        (Self::SourceIp, "source_ip"),
        (Self::DestIp, "dest_ip"),
        (Self::Protocol, "protocol"),
        (Self::Port, "port"),
        (Self::BytesTransferred, "bytes_transferred"),
        (Self::EventType, "event_type"),
        (Self::UserAgent, "user_agent"),
        (Self::UserId, "user_id"),
        (Self::Resource, "resource"),
        (Self::Action, "action"),
        (Self::Outcome, "outcome"),
        (Self::DeviceId, "device_id"),
        (Self::SessionId, "session_id"),
        (Self::GeoLat, "geo.lat"),
        (Self::GeoLon, "geo.lon"),
        (Self::GeoCountry, "geo.country"),
        (Self::GeoCity, "geo.city"),
        (Self::GeoAsn, "geo.asn"),
        (Self::BytesOut, "bytes_out"),
        (Self::BytesIn, "bytes_in"),
        (Self::Packets, "packets"),
        (Self::Duration, "duration"),
        (Self::FileHash, "file_hash"),
    ];
    /// The names alone, by the fields' numbers.
    pub const NAMES: [&'static str; Self::COUNT] = {
        let (mut names, mut number) = ([""; Self::COUNT], 0);
        while number < Self::COUNT {
            assert!(Self::ALL[number].0 as usize == number, "fields stand where their number says");
            names[number] = Self::ALL[number].1;
            number += 1;
        }
        names
    };
}

/// An event as its codec understood it: fields by [`FieldId`], and everything else kept by name.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'b> {
    pub fields: [Field<'b>; FieldId::COUNT],
    /// Unknown fields: name (escapes resolved) and value as JSON text. Kept with the event, never dropped.
    pub extra: &'b [(&'b str, &'b str)],
    /// What the codec itself repaired.
    pub repairs: Repairs,
}

impl Default for RawEvent<'_> {
    fn default() -> Self {
        Self { fields: [Field::Missing; FieldId::COUNT], extra: &[], repairs: Repairs::default() }
    }
}

impl<'b> RawEvent<'b> {
    #[must_use]
    pub fn get(&self, id: FieldId) -> Field<'b> {
        self.fields[id as usize]
    }
    pub fn set(&mut self, id: FieldId, value: Field<'b>) {
        self.fields[id as usize] = value;
    }
}

/// What was repaired on an event: a set of [`Repair`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs(pub u32);

/// One kind of repair; listed on the event by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Repair {
    TimestampMissing,
    TimestampInvalid,
    TimestampClamped,
    SourceIpInvalid,
    DestIpInvalid,
    /// `fe80::1%eth0`: the zone was taken off.
    ZoneRemoved,
    PortInvalid,
    PortClamped,
    BytesInvalid,
    BytesClamped,
    ControlRemoved,
    MarkupRemoved,
    Truncated,
    WrongType,
    InvalidUtf8,
    GeoInvalid,
    /// Bidirectional or invisible characters, which can disguise a name, are present; they stay and are escaped where shown.
    SuspiciousUnicode,
    FieldLimit,
}

impl Repair {
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::TimestampMissing, "timestamp_missing"),
        (Self::TimestampInvalid, "timestamp_invalid"),
        (Self::TimestampClamped, "timestamp_clamped"),
        (Self::SourceIpInvalid, "source_ip_invalid"),
        (Self::DestIpInvalid, "dest_ip_invalid"),
        (Self::ZoneRemoved, "zone_removed"),
        (Self::PortInvalid, "port_invalid"),
        (Self::PortClamped, "port_clamped"),
        (Self::BytesInvalid, "bytes_invalid"),
        (Self::BytesClamped, "bytes_clamped"),
        (Self::ControlRemoved, "control_characters_removed"),
        (Self::MarkupRemoved, "markup_removed"),
        (Self::Truncated, "truncated"),
        (Self::WrongType, "wrong_type"),
        (Self::InvalidUtf8, "invalid_utf8"),
        (Self::GeoInvalid, "geo_invalid"),
        (Self::SuspiciousUnicode, "suspicious_unicode"),
        (Self::FieldLimit, "field_limit"),
    ];
}

impl Repairs {
    pub fn add(&mut self, repair: Repair) {
        self.0 |= 1 << repair as u8;
    }
    #[must_use]
    pub fn has(self, repair: Repair) -> bool {
        self.0 & (1 << repair as u8) != 0
    }
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Repair::ALL.into_iter().filter(move |(repair, _)| self.has(*repair)).map(|(_, name)| name)
    }
}

/// Whether what was tried succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Unknown,
    Success,
    Failure,
}

/// Where a source is. Empty text and `None` where not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Geo<'b> {
    /// Degrees, latitude then longitude.
    pub coordinates: Option<(f32, f32)>,
    pub country: &'b str,
    pub city: &'b str,
    /// Autonomous system number, 0 where not known.
    pub asn: u32,
}

/// Flow figures beyond the total, 0 where not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    pub bytes_out: u64,
    pub bytes_in: u64,
    pub packets: u64,
    /// Seconds.
    pub duration: f32,
}

/// A sanitized event (product.md 1.1). Text that is absent is empty; an absent or invalid address is `0.0.0.0`.
#[derive(Clone, Copy, Debug)]
pub struct Event<'b> {
    pub at: Position,
    pub raw: &'b [u8],
    pub time: EventTime,
    /// How far this event moves time: to its own, but never past its record's. So nobody can switch detection off by a date
    /// that lies ahead.
    pub reached: EventTime,
    pub source_ip: IpAddr,
    pub dest_ip: IpAddr,
    pub protocol: &'b str,
    /// Destination port.
    pub port: u16,
    pub bytes: u64,
    pub event_type: &'b str,
    pub user_agent: &'b str,
    pub user_id: &'b str,
    pub resource: &'b str,
    pub action: &'b str,
    pub outcome: Outcome,
    /// The outcome's own text.
    pub outcome_text: &'b str,
    pub device_id: &'b str,
    pub session_id: &'b str,
    pub file_hash: &'b str,
    pub geo: Geo<'b>,
    pub flow: Flow,
    pub extra: &'b [(&'b str, &'b str)],
    pub repairs: Repairs,
    /// Whose state this event belongs to, chosen by the pipeline's `key`.
    pub entity: Entity<'b>,
}

/// When something was over that began then and lasted so many seconds.
#[must_use]
pub fn ended(time: EventTime, seconds: f32) -> EventTime {
    let seconds = f64::from(seconds).min(EVENT_LASTS_SECONDS_MAX);
    EventTime(time.0.saturating_add((seconds * MICROS_PER_SECOND as f64) as i64))
}

impl<'b> Event<'b> {
    /// When it was over: its time and what it says that it lasted, of which no more than [`EVENT_LASTS_SECONDS_MAX`] is believed.
    #[must_use]
    pub fn ended(&self) -> EventTime {
        ended(self.time, self.flow.duration)
    }

    /// An event of which nothing but its record is known.
    #[must_use]
    pub fn blank(record: &Record<'b>) -> Self {
        const ABSENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        Self {
            at: record.at,
            raw: record.payload,
            time: EventTime(0),
            reached: EventTime(0),
            source_ip: ABSENT,
            dest_ip: ABSENT,
            protocol: "",
            port: 0,
            bytes: 0,
            event_type: "",
            user_agent: "",
            user_id: "",
            resource: "",
            action: "",
            outcome: Outcome::Unknown,
            outcome_text: "",
            device_id: "",
            session_id: "",
            file_hash: "",
            geo: Geo { coordinates: None, country: "", city: "", asn: 0 },
            flow: Flow { bytes_out: 0, bytes_in: 0, packets: 0, duration: 0.0 },
            extra: &[],
            repairs: Repairs(0),
            entity: Entity { kind: EntityKind::Unknown, key: EntityKey(0), name: "" },
        }
    }
}

/// The entity an event is scored for.
#[derive(Clone, Copy, Debug)]
pub struct Entity<'b> {
    pub kind: EntityKind,
    pub key: EntityKey,
    pub name: &'b str,
}

/// Why a record became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectReason {
    /// Nothing but white space.
    Empty,
    /// Larger than [`crate::limits::RECORD_BYTES_MAX`].
    TooLarge,
    InvalidUtf8,
    /// Not in the codec's format.
    Malformed,
    /// Ends before its structure does.
    Truncated,
    /// Nested deeper than [`crate::limits::JSON_DEPTH_MAX`].
    TooDeep,
    /// A security field appears twice, so that two readers may see two values.
    DuplicateKey,
    /// Well-formed, but not an object, or of a kind the codec does not know.
    NotAnEvent,
    /// Decoding it panicked: a bug of ours, kept from taking the partition with it.
    Panicked,
}

impl RejectReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::TooDeep => "too_deep",
            Self::DuplicateKey => "duplicate_key",
            Self::NotAnEvent => "not_an_event",
            Self::Panicked => "panicked",
        }
    }
}

/// A refused record: per-event trouble is data, not an error.
#[derive(Clone, Debug)]
pub struct Reject<'b> {
    pub at: Position,
    pub reason: RejectReason,
    /// Where and what, for a person; never the payload itself.
    pub detail: String,
    pub raw: &'b [u8],
}
