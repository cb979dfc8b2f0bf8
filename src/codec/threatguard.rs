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

/// A name this codec knows.
#[derive(Clone, Copy)]
struct Known {
    name: &'static str,
    /// Its field, or nothing for `geo`.
    field: Option<FieldId>,
}

const KNOWN: [Known; 20] = [
    of(FieldId::Timestamp),
    of(FieldId::SourceIp),
    of(FieldId::DestIp),
    of(FieldId::Protocol),
    of(FieldId::Port),
    of(FieldId::BytesTransferred),
    of(FieldId::EventType),
    of(FieldId::UserAgent),
    of(FieldId::UserId),
    of(FieldId::Resource),
    of(FieldId::Action),
    of(FieldId::Outcome),
    of(FieldId::DeviceId),
    of(FieldId::SessionId),
    of(FieldId::BytesOut),
    of(FieldId::BytesIn),
    of(FieldId::Packets),
    of(FieldId::Duration),
    of(FieldId::FileHash),
    Known { name: "geo", field: None },
];

const fn of(field: FieldId) -> Known {
    Known { name: FieldId::NAMES[field as usize], field: Some(field) }
}

/// A table in which every known name has a place of its own, so that a look-up compares with one name only.
const PLACES: usize = 64;
const FACTOR: usize = 9;
const TABLE: [Known; PLACES] = {
    let mut table = [Known { name: "", field: None }; PLACES];
    let mut index = 0;
    while index < KNOWN.len() {
        let place = place_of(KNOWN[index].name.as_bytes());
        assert!(table[place].name.is_empty(), "two names share a place: choose another factor");
        table[place] = KNOWN[index];
        index += 1;
    }
    table
};

#[inline(always)]
const fn place_of(name: &[u8]) -> usize {
    let first = if name.is_empty() { 0 } else { name[0] };
    (first as usize + FACTOR * name.len()) % PLACES
}

#[inline]
fn known(name: &str) -> Option<Known> {
    let known = TABLE[place_of(name.as_bytes())];
    (is_same(known.name, name) && !name.is_empty()).then_some(known)
}

/// Equality of short texts by a few loads that overlap, instead of a call.
#[inline(always)]
fn is_same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    if let (Some(a), Some(b), Some(c), Some(d), ..=16) =
        (left.first_chunk::<8>(), right.first_chunk::<8>(), left.last_chunk::<8>(), right.last_chunk::<8>(), left.len())
    {
        return a == b && c == d;
    }
    if let (Some(a), Some(b), Some(c), Some(d), ..=8) =
        (left.first_chunk::<4>(), right.first_chunk::<4>(), left.last_chunk::<4>(), right.last_chunk::<4>(), left.len())
    {
        return a == b && c == d;
    }
    left == right
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
                Some(Known { field: Some(id), .. }) => {
                    if !claim(&mut seen, id as usize) {
                        return Err(DecodeError::duplicate(name));
                    }
                    members.value_into(arena, &mut out.fields[id as usize])?;
                }
                Some(Known { field: None, .. }) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_to_the_letter() {
        for known_name in KNOWN {
            let name = known_name.name;
            assert_eq!(known(name).map(|known| known.field), Some(known_name.field), "{name}");
            assert!(known(&name[1..]).is_none() && known(&format!("{name}x")).is_none() && known(&name.to_uppercase()).is_none(), "{name}");
            for at in 0..name.len() {
                let mut other = name.to_owned();
                other.replace_range(at..=at, "#");
                assert!(known(&other).is_none(), "{other}");
            }
        }
        assert!(known("").is_none());
    }
}
