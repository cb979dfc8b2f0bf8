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

pub use time::parse_time;

use std::net::IpAddr;

use bumpalo::Bump;

use crate::core::event::{Event, Field, FieldId, Geo, Outcome, RawEvent, Record, Repair, Repairs};
use crate::core::settings::KeyPart;
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
    pub key: Vec<KeyPart>,
    /// Keeps `<...>` in text, for sources whose values are markup by nature.
    pub allow_markup: bool,
    /// The year of timestamps without one (RFC 3164) while no record time is known.
    pub default_year: i64,
}

impl Default for Sanitizer {
    fn default() -> Self {
        Self { key: vec![KeyPart::Source, KeyPart::User, KeyPart::Device], allow_markup: false, default_year: 2000 }
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
        let mut event = Event::blank(record);
        self.sanitize_into(raw, arena, record.time, &mut event);
        event
    }

    /// [`Sanitizer::sanitize`] into an event that is [`Event::blank`], where it is to stay: moving one costs as much as making it.
    #[inline]
    pub(crate) fn sanitize_into<'b>(&self, raw: &RawEvent<'b>, arena: &'b Bump, record_time: Option<EventTime>, event: &mut Event<'b>) {
        let mut pass = Pass { raw, arena, allow_markup: self.allow_markup, repairs: raw.repairs };
        event.time = self.time(record_time, raw, &mut pass.repairs);
        event.reached = record_time.filter(|time| time::is_plausible(*time)).map_or(event.time, |logged| event.time.min(logged));
        let source_name = pass.address(FieldId::SourceIp, Repair::SourceIpInvalid, &mut event.source_ip);
        let dest_name = pass.address(FieldId::DestIp, Repair::DestIpInvalid, &mut event.dest_ip);
        event.protocol = pass.protocol();
        event.port = number::port(pass.field(FieldId::Port), &mut pass.repairs);
        event.event_type = pass.text(FieldId::EventType, EVENT_TYPE_CHARS_MAX);
        event.user_agent = pass.text(FieldId::UserAgent, USER_AGENT_CHARS_MAX);
        event.user_id = pass.identifier(FieldId::UserId, USER_ID_CHARS_MAX);
        event.resource = pass.text(FieldId::Resource, STRING_CHARS_MAX);
        event.action = pass.text(FieldId::Action, STRING_CHARS_MAX);
        event.device_id = pass.identifier(FieldId::DeviceId, STRING_CHARS_MAX);
        event.session_id = pass.identifier(FieldId::SessionId, STRING_CHARS_MAX);
        event.file_hash = pass.text(FieldId::FileHash, STRING_CHARS_MAX);
        (event.outcome, event.outcome_text) = pass.outcome();
        pass.flow(event);
        pass.geo(event);
        event.extra = raw.extra;
        event.repairs = pass.repairs;
        let names = entity::Names { source: source_name, dest: dest_name };
        entity::choose(&self.key, names, arena, event);
    }

    /// The event's own time, if it has a valid one. A missing year is the one nearest to `near`.
    #[must_use]
    pub fn own_time(&self, raw: &RawEvent<'_>, near: Option<EventTime>) -> Option<EventTime> {
        self.resolve(time::read(&raw.fields[FieldId::Timestamp as usize])?, near).filter(|time| time::is_plausible(*time))
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
        let field = &raw.fields[FieldId::Timestamp as usize];
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

impl<'s, 'b> Pass<'s, 'b> {
    #[inline(always)]
    fn field(&self, id: FieldId) -> &'s Field<'b> {
        &self.raw.fields[id as usize]
    }

    /// Puts an address where it belongs and gives its canonical text, empty where there is none.
    #[inline]
    fn address(&mut self, id: FieldId, invalid: Repair, into: &mut IpAddr) -> &'b str {
        let text = match *self.field(id) {
            Field::Missing | Field::Text("") => return "",
            Field::Text(text) => text,
            _ => {
                self.repairs.add(invalid);
                return "";
            }
        };
        match address::ipv4(text.as_bytes()) {
            Some(v4) if !v4.is_unspecified() => {
                *into = IpAddr::V4(v4);
                text
            }
            _ => self.other_address(text, invalid, into),
        }
    }

    /// Anything but a plain IPv4 address.
    #[inline(never)]
    fn other_address(&mut self, text: &'b str, invalid: Repair, into: &mut IpAddr) -> &'b str {
        if address::is_none(text) {
            return "";
        }
        let Some(parsed) = address::parse(text.trim()) else {
            self.repairs.add(invalid);
            return "";
        };
        if parsed.zone_removed {
            self.repairs.add(Repair::ZoneRemoved);
        }
        if parsed.port_removed {
            self.repairs.add(Repair::WrongType);
        }
        if parsed.address.is_unspecified() {
            return "";
        }
        *into = parsed.address;
        bumpalo::format!(in self.arena, "{}", parsed.address).into_bump_str()
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
        match *self.field(id) {
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
        if let Field::Bool(success) = *self.field(FieldId::Outcome) {
            return if success { (Outcome::Success, "true") } else { (Outcome::Failure, "false") };
        }
        let text = self.text(FieldId::Outcome, STRING_CHARS_MAX);
        (outcome_of(text), text)
    }

    /// The total of bytes, and the flow figures. The total is the sum of both directions unless given.
    #[inline]
    fn flow(&mut self, event: &mut Event<'b>) {
        let raw = self.raw;
        let (field, repairs) = (|id: FieldId| &raw.fields[id as usize], &mut self.repairs);
        let given = number::bytes(field(FieldId::BytesTransferred), repairs);
        event.flow.bytes_out = number::bytes(field(FieldId::BytesOut), repairs).unwrap_or(0);
        event.flow.bytes_in = number::bytes(field(FieldId::BytesIn), repairs).unwrap_or(0);
        event.flow.packets = number::packets(field(FieldId::Packets), repairs);
        event.flow.duration = number::duration(field(FieldId::Duration), repairs);
        event.bytes = given.unwrap_or_else(|| event.flow.bytes_out.saturating_add(event.flow.bytes_in));
    }

    #[inline]
    fn geo(&mut self, event: &mut Event<'b>) {
        let parts = &self.raw.fields[FieldId::GeoLat as usize..=FieldId::GeoAsn as usize];
        if parts.iter().any(|part| *part != Field::Missing) {
            event.geo = self.given_geo();
        }
    }

    fn given_geo(&mut self) -> Geo<'b> {
        let coordinates = match (number::degrees(self.field(FieldId::GeoLat), 90.0), number::degrees(self.field(FieldId::GeoLon), 180.0)) {
            (Ok(Some(latitude)), Ok(Some(longitude))) => Some((latitude, longitude)),
            (Ok(None), Ok(None)) => None,
            _ => {
                self.repairs.add(Repair::GeoInvalid);
                None
            }
        };
        let asn = number::autonomous_system(self.field(FieldId::GeoAsn)).unwrap_or_else(|()| {
            self.repairs.add(Repair::GeoInvalid);
            0
        });
        let country = self.text(FieldId::GeoCountry, STRING_CHARS_MAX);
        Geo { coordinates, country, city: self.text(FieldId::GeoCity, STRING_CHARS_MAX), asn }
    }
}

const SUCCESS_WORDS: [&str; 18] = [
    "success",
    "succeeded",
    "successful",
    "ok",
    "accepted",
    "accept",
    "allowed",
    "allow",
    "permitted",
    "permit",
    "granted",
    "pass",
    "passed",
    "true",
    "yes",
    "established",
    "completed",
    "authenticated",
];
const FAILURE_WORDS: [&str; 24] = [
    "failure",
    "failed",
    "fail",
    "denied",
    "deny",
    "blocked",
    "block",
    "reject",
    "rejected",
    "refused",
    "error",
    "false",
    "no",
    "dropped",
    "drop",
    "unauthorized",
    "forbidden",
    "invalid",
    "timeout",
    "reset",
    "unsuccessful",
    "not allowed",
    "quarantined",
    "locked",
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
