//! Stage 2/8: from decoded fields to an event whose every value is valid, bounded and in one form (product.md 1.1).
//!
//! Whatever comes in, an event goes out: what cannot be true is replaced as the contract says and the repair is listed. Depends on
//! the record alone. Never reads a clock, never drops a field's original: the record's bytes stay with the event.

mod address;
mod entity;
mod number;
#[cfg(test)]
mod tests;
mod text;
mod time;

pub use entity::KeyChoice;

use std::net::IpAddr;

use bumpalo::Bump;

use crate::core::event::{Event, Field, FieldId, Flow, Geo, Outcome, RawEvent, Record, Repair, Repairs};
use crate::core::types::EventTime;
use crate::limits::{
    EVENT_AHEAD_OF_RECORD_MICROS_MAX, EVENT_TIME_MIN_MICROS, EVENT_TYPE_CHARS_MAX, PROTOCOL_CHARS_MAX, STRING_CHARS_MAX,
    USER_AGENT_CHARS_MAX, USER_ID_CHARS_MAX,
};
use text::Rules;

/// Stage 2 with a pipeline's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sanitizer {
    /// What the entity is, most wanted first. Where none is present the event belongs to the one unknown entity.
    pub key: Vec<KeyChoice>,
    /// Keeps `<...>` in text, for sources whose values are markup by nature.
    pub allow_markup: bool,
    /// The year of timestamps without one (RFC 3164) while no record time is known.
    pub default_year: i64,
}

impl Default for Sanitizer {
    fn default() -> Self {
        Self { key: vec![KeyChoice::Source, KeyChoice::User, KeyChoice::Device], allow_markup: false, default_year: 2000 }
    }
}

/// Everything that one event's values are cleaned with.
struct Pass<'s, 'b> {
    raw: &'s RawEvent<'b>,
    arena: &'b Bump,
    allow_markup: bool,
    repairs: Repairs,
}

impl Sanitizer {
    #[must_use]
    pub fn sanitize<'b>(&self, record: &Record<'b>, raw: &RawEvent<'b>, arena: &'b Bump) -> Event<'b> {
        let mut pass = Pass { raw, arena, allow_markup: self.allow_markup, repairs: raw.repairs };
        let time = self.time(record.time, raw, &mut pass.repairs);
        let (source_ip, source_text) = pass.address(FieldId::SourceIp, Repair::SourceIpInvalid);
        let (dest_ip, dest_text) = pass.address(FieldId::DestIp, Repair::DestIpInvalid);
        let user_id = pass.identifier(FieldId::UserId, USER_ID_CHARS_MAX);
        let device_id = pass.identifier(FieldId::DeviceId, STRING_CHARS_MAX);
        let names = entity::Names { source: (source_ip, source_text), dest: (dest_ip, dest_text), user: user_id, device: device_id };
        let (outcome, outcome_text) = pass.outcome();
        let (bytes, flow) = pass.flow();
        Event {
            at: record.at,
            raw: record.payload,
            time,
            source_ip,
            dest_ip,
            protocol: pass.protocol(),
            port: number::port(raw.get(FieldId::Port), &mut pass.repairs),
            bytes,
            event_type: pass.text(FieldId::EventType, EVENT_TYPE_CHARS_MAX),
            user_agent: pass.text(FieldId::UserAgent, USER_AGENT_CHARS_MAX),
            user_id,
            resource: pass.text(FieldId::Resource, STRING_CHARS_MAX),
            action: pass.text(FieldId::Action, STRING_CHARS_MAX),
            outcome,
            outcome_text,
            device_id,
            session_id: pass.identifier(FieldId::SessionId, STRING_CHARS_MAX),
            file_hash: pass.text(FieldId::FileHash, STRING_CHARS_MAX),
            geo: pass.geo(),
            flow,
            extra: raw.extra,
            repairs: pass.repairs,
            entity: entity::choose(&self.key, &names, arena),
        }
    }

    /// The event's own time, if it has a valid one. A missing year is the one nearest to `near`.
    #[must_use]
    pub fn own_time(&self, raw: &RawEvent<'_>, near: Option<EventTime>) -> Option<EventTime> {
        self.resolve(time::read(raw.get(FieldId::Timestamp))?, near).filter(|time| time::is_plausible(*time))
    }

    fn resolve(&self, written: time::Written, near: Option<EventTime>) -> Option<EventTime> {
        match written {
            time::Written::At(time) | time::Written::LeapSecond(time) => Some(time),
            time::Written::Yearless { month, day, micros_of_day } => time::with_year(month, day, micros_of_day, near, self.default_year),
        }
    }

    /// Own time, else the record's, else the earliest there is.
    #[inline]
    fn time(&self, record: Option<EventTime>, raw: &RawEvent<'_>, repairs: &mut Repairs) -> EventTime {
        let record = record.filter(|time| time::is_plausible(*time));
        let field = raw.get(FieldId::Timestamp);
        let written = time::read(field);
        if let Some(time::Written::LeapSecond(_)) = written {
            repairs.add(Repair::TimestampClamped);
        }
        let own = written.and_then(|written| self.resolve(written, record)).filter(|time| time::is_plausible(*time));
        let Some(own) = own else {
            let missing = matches!(field, Field::Missing | Field::Text("" | "-"));
            repairs.add(if missing { Repair::TimestampMissing } else { Repair::TimestampInvalid });
            return record.unwrap_or(EventTime(EVENT_TIME_MIN_MICROS));
        };
        match record {
            Some(record) if own.0 - record.0 > EVENT_AHEAD_OF_RECORD_MICROS_MAX => {
                repairs.add(Repair::TimestampClamped);
                EventTime(record.0 + EVENT_AHEAD_OF_RECORD_MICROS_MAX)
            }
            _ => own,
        }
    }
}

impl<'b> Pass<'_, 'b> {
    /// An address and its canonical text, empty where there is none.
    #[inline]
    fn address(&mut self, id: FieldId, invalid: Repair) -> (IpAddr, &'b str) {
        let parsed = match self.raw.get(id) {
            Field::Missing => return (address::ABSENT, ""),
            Field::Text(text) if address::is_none(text) => return (address::ABSENT, ""),
            Field::Text(text) => address::parse(text).map(|parsed| (text, parsed)),
            _ => None,
        };
        let Some((written, parsed)) = parsed else {
            self.repairs.add(invalid);
            return (address::ABSENT, "");
        };
        if parsed.canonical {
            return (parsed.address, written);
        }
        if parsed.zone_removed {
            self.repairs.add(Repair::ZoneRemoved);
        }
        if parsed.port_removed {
            self.repairs.add(Repair::WrongType);
        }
        if parsed.address.is_unspecified() {
            return (address::ABSENT, "");
        }
        (parsed.address, bumpalo::format!(in self.arena, "{}", parsed.address).into_bump_str())
    }

    #[inline]
    fn text(&mut self, id: FieldId, chars_max: usize) -> &'b str {
        self.clean(id, Rules { chars_max, allow_markup: self.allow_markup, identifier: false })
    }

    #[inline]
    fn identifier(&mut self, id: FieldId, chars_max: usize) -> &'b str {
        self.clean(id, Rules { chars_max, allow_markup: self.allow_markup, identifier: true })
    }

    #[inline]
    fn clean(&mut self, id: FieldId, rules: Rules) -> &'b str {
        match self.raw.get(id) {
            Field::Text(text) => text::clean(text, rules, self.arena, &mut self.repairs),
            Field::Missing => "",
            other => self.clean_other(other, rules),
        }
    }

    /// A value of another type as text: a number's digits, `true` or `false`, JSON as written.
    #[cold]
    fn clean_other(&mut self, field: Field<'b>, rules: Rules) -> &'b str {
        self.repairs.add(Repair::WrongType);
        let text = match field {
            Field::Missing => "",
            Field::Text(text) | Field::Number(text) | Field::Nested(text) => text,
            Field::Unsigned(number) => bumpalo::format!(in self.arena, "{}", number).into_bump_str(),
            Field::Real(number) => bumpalo::format!(in self.arena, "{}", number).into_bump_str(),
            Field::Bool(true) => "true",
            Field::Bool(false) => "false",
        };
        text::clean(text, rules, self.arena, &mut self.repairs)
    }

    #[inline]
    fn protocol(&mut self) -> &'b str {
        let written = self.text(FieldId::Protocol, PROTOCOL_CHARS_MAX);
        let lower = |byte: u8| !byte.is_ascii_uppercase() && byte.is_ascii();
        if written.bytes().all(lower) {
            return written;
        }
        for common in ["tcp", "udp", "icmp"] {
            if written.eq_ignore_ascii_case(common) {
                return common;
            }
        }
        let lowered = self.arena.alloc_str(&written.to_lowercase());
        // Lower case can be longer than upper case.
        let rules = Rules { chars_max: PROTOCOL_CHARS_MAX, allow_markup: self.allow_markup, identifier: false };
        text::clean(lowered, rules, self.arena, &mut self.repairs)
    }

    #[inline]
    fn outcome(&mut self) -> (Outcome, &'b str) {
        if let Field::Bool(success) = self.raw.get(FieldId::Outcome) {
            return if success { (Outcome::Success, "true") } else { (Outcome::Failure, "false") };
        }
        let text = self.text(FieldId::Outcome, STRING_CHARS_MAX);
        (outcome_of(text), text)
    }

    /// The total of bytes, and the flow figures. The total is the sum of both directions unless given.
    #[inline]
    fn flow(&mut self) -> (u64, Flow) {
        let repairs = &mut self.repairs;
        let given = number::bytes(self.raw.get(FieldId::BytesTransferred), repairs);
        let bytes_out = number::bytes(self.raw.get(FieldId::BytesOut), repairs).unwrap_or(0);
        let bytes_in = number::bytes(self.raw.get(FieldId::BytesIn), repairs).unwrap_or(0);
        let packets = number::packets(self.raw.get(FieldId::Packets), repairs);
        let duration = number::duration(self.raw.get(FieldId::Duration), repairs);
        (given.unwrap_or_else(|| bytes_out.saturating_add(bytes_in)), Flow { bytes_out, bytes_in, packets, duration })
    }

    #[inline]
    fn geo(&mut self) -> Geo<'b> {
        let (latitude, longitude) = (self.raw.get(FieldId::GeoLat), self.raw.get(FieldId::GeoLon));
        let coordinates = match (number::degrees(latitude, 90.0), number::degrees(longitude, 180.0)) {
            (Ok(Some(latitude)), Ok(Some(longitude))) => Some((latitude, longitude)),
            (Ok(None), Ok(None)) => None,
            _ => {
                self.repairs.add(Repair::GeoInvalid);
                None
            }
        };
        let asn = number::autonomous_system(self.raw.get(FieldId::GeoAsn)).unwrap_or_else(|()| {
            self.repairs.add(Repair::GeoInvalid);
            0
        });
        let country = self.text(FieldId::GeoCountry, STRING_CHARS_MAX);
        Geo { coordinates, country, city: self.text(FieldId::GeoCity, STRING_CHARS_MAX), asn }
    }
}

const SUCCESS_WORDS: [&str; 18] = [
    "success", "succeeded", "successful", "ok", "accepted", "accept", "allowed", "allow", "permitted", "permit", "granted", "pass",
    "passed", "true", "yes", "established", "completed", "authenticated",
];
const FAILURE_WORDS: [&str; 24] = [
    "failure", "failed", "fail", "denied", "deny", "blocked", "block", "reject", "rejected", "refused", "error", "false", "no", "dropped",
    "drop", "unauthorized", "forbidden", "invalid", "timeout", "reset", "unsuccessful", "not allowed", "quarantined", "locked",
];

/// What an outcome's text means, whatever its case.
#[must_use]
pub fn outcome_of(text: &str) -> Outcome {
    if text.is_empty() {
        return Outcome::Unknown;
    }
    let is = |word: &&str| text.len() == word.len() && text.eq_ignore_ascii_case(word);
    if SUCCESS_WORDS.iter().any(is) {
        Outcome::Success
    } else if FAILURE_WORDS.iter().any(is) {
        Outcome::Failure
    } else {
        Outcome::Unknown
    }
}
