//! The `threatguard` codec: one JSON object with the fields of product.md 1.1. Never guesses at other names.
//!
//! `geo` is a nested object; one that is not an object stays among the unknown fields and is flagged. The flow figures
//! `bytes_out`, `bytes_in`, `packets`, `duration` and `file_hash` are optional extensions.

use bumpalo::Bump;

use super::json::Members;
use super::{Codec, DecodeError, Extra, claim};
use crate::core::event::{FieldId, RawEvent, Repair};

#[derive(Clone, Copy, Debug, Default)]
pub struct ThreatGuard;

/// Bit of `geo` itself in the set of seen fields; those of [`FieldId`] come before it.
const GEO_SLOT: usize = FieldId::COUNT;

enum Known {
    Field(FieldId),
    Geo,
}

/// The field of a name. By length first: names of one length differ early, so nearly every look-up is one comparison.
#[inline]
fn known(name: &str) -> Option<Known> {
    let id = match (name.len(), name) {
        (3, "geo") => return Some(Known::Geo),
        (4, "port") => FieldId::Port,
        (6, "action") => FieldId::Action,
        (7, "dest_ip") => FieldId::DestIp,
        (7, "outcome") => FieldId::Outcome,
        (7, "user_id") => FieldId::UserId,
        (7, "packets") => FieldId::Packets,
        (8, "protocol") => FieldId::Protocol,
        (8, "resource") => FieldId::Resource,
        (8, "bytes_in") => FieldId::BytesIn,
        (8, "duration") => FieldId::Duration,
        (9, "timestamp") => FieldId::Timestamp,
        (9, "source_ip") => FieldId::SourceIp,
        (9, "device_id") => FieldId::DeviceId,
        (9, "bytes_out") => FieldId::BytesOut,
        (9, "file_hash") => FieldId::FileHash,
        (10, "event_type") => FieldId::EventType,
        (10, "user_agent") => FieldId::UserAgent,
        (10, "session_id") => FieldId::SessionId,
        (17, "bytes_transferred") => FieldId::BytesTransferred,
        _ => return None,
    };
    Some(Known::Field(id))
}

impl Codec for ThreatGuard {
    fn name(&self) -> &'static str {
        "threatguard"
    }

    fn decode<'b>(&self, payload: &'b [u8], arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
        let mut members = Members::document(payload, arena)?;
        let mut extra = Extra::new(arena);
        let mut seen = 0;
        while let Some(name) = members.next_name(arena)? {
            match known(name) {
                Some(Known::Field(id)) => {
                    if !claim(&mut seen, id as usize) {
                        return Err(DecodeError::duplicate(name));
                    }
                    members.value_into(arena, &mut out.fields[id as usize])?;
                }
                Some(Known::Geo) => {
                    if !claim(&mut seen, GEO_SLOT) {
                        return Err(DecodeError::duplicate(name));
                    }
                    geo(name, members.raw()?, arena, &mut extra, out)?;
                }
                None => extra.push(name, members.raw()?),
            }
        }
        extra.finish(out);
        Ok(())
    }
}

fn geo<'b>(name: &'b str, raw: &'b str, arena: &'b Bump, extra: &mut Extra<'b>, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
    let Some(mut members) = Members::nested(raw) else {
        if raw != "null" {
            out.repairs.add(Repair::GeoInvalid);
            extra.push(name, raw);
        }
        return Ok(());
    };
    let mut seen = 0;
    let mut unknown = false;
    while let Some(part) = members.next(arena)? {
        let id = match part.name {
            "lat" => FieldId::GeoLat,
            "lon" => FieldId::GeoLon,
            "country" => FieldId::GeoCountry,
            "city" => FieldId::GeoCity,
            "asn" => FieldId::GeoAsn,
            _ => {
                unknown = true;
                continue;
            }
        };
        if !claim(&mut seen, id as usize) {
            return Err(DecodeError::duplicate(FieldId::NAMES[id as usize]));
        }
        out.set(id, part.value);
    }
    if unknown {
        extra.push(name, raw);
    }
    Ok(())
}
