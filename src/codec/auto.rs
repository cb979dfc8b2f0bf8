//! Finding a codec: by its name, or by the first lines of the input. Deterministic; never looks at a file's name.

use bumpalo::Bump;

use super::Codec;
use super::cloudtrail::CloudTrail;
use super::frame::Framer;
use super::json::Members;
use super::mapping::{Mapped, MappingSettings};
use super::suricata::Suricata;
use super::syslog::{self, Syslog};
use super::threatguard::ThreatGuard;
use super::zeek::Zeek;
use crate::core::event::{Field, FieldId};
use crate::error::{Error, Result};

/// The names that [`by_name`] takes. `auto` is not among them: it is resolved by [`detect`] first.
pub const NAMES: [&str; 6] = ["threatguard", "zeek", "suricata", "syslog", "cloudtrail", "mapping"];

/// Lines that [`detect`] looks at.
pub const DETECT_LINES_MAX: usize = 64;

/// How far a name may be from a valid one to be offered instead of it.
const SUGGESTION_DISTANCE_MAX: usize = 3;

/// The codec of a name. `mapping` is only used, and then needed, by the codec of that name.
///
/// # Errors
/// `Config`, with the nearest valid name, or with what is wrong with the mapping.
pub fn by_name(name: &str, mapping: Option<&MappingSettings>) -> Result<Box<dyn Codec>> {
    Ok(match name {
        "threatguard" => Box::new(ThreatGuard),
        "zeek" => Box::new(Zeek),
        "suricata" => Box::new(Suricata),
        "syslog" => Box::new(Syslog),
        "cloudtrail" => Box::new(CloudTrail),
        "mapping" => match mapping {
            Some(mapping) => Box::new(Mapped::new(mapping)?),
            None => return Err(Error::config("the codec `mapping` needs a `mapping` section in the pipeline file")),
        },
        _ => {
            let nearest = nearest(name, &NAMES).map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
            return Err(Error::config(format!("unknown codec `{name}`{nearest} (codecs: {}, or auto)", NAMES.join(", "))));
        }
    })
}

/// The valid name nearest to a mistyped one, if any is near.
#[must_use]
pub fn nearest<'n>(name: &str, valid: &[&'n str]) -> Option<&'n str> {
    let name = name.to_ascii_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, candidate);
    let (best, steps) = valid.iter().map(|candidate| (*candidate, distance(candidate))).min_by_key(|(_, steps)| *steps)?;
    (steps <= SUGGESTION_DISTANCE_MAX && steps < best.len()).then_some(best)
}

/// The codec that the first lines call for, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub name: &'static str,
    /// One sentence for a person.
    pub why: String,
}

/// Chooses a codec by the first lines of a stream, as read from it (headers, brackets and all); at most [`DETECT_LINES_MAX`] count.
/// Every record among them votes for what it looks like, most votes win, in the order of [`NAMES`] where they tie.
///
/// # Errors
/// `Config` where no record looks like any codec's.
pub fn detect(lines: &[&[u8]]) -> Result<Choice> {
    let mut votes: [(usize, &'static str); NAMES.len()] = [(0, ""); NAMES.len()];
    let mut records = 0;
    let mut framer = Framer::new();
    let mut vote = |payload: &[u8]| {
        records += 1;
        if let Some((codec, reason)) = looks_like(payload) {
            votes[codec].0 += 1;
            votes[codec].1 = reason;
        }
    };
    for line in lines.iter().take(DETECT_LINES_MAX) {
        framer.line(line, line.len() as u64, &mut |framed| vote(framed.payload));
    }
    framer.finish(&mut |framed| vote(framed.payload));
    let best = (0..NAMES.len()).rev().max_by_key(|codec| votes[*codec].0).filter(|codec| votes[*codec].0 > 0);
    let Some(best) = best else {
        let looked = if records == 0 { "there is no event in it yet".to_owned() } else { format!("looked at {records} records") };
        return Err(Error::config(format!("cannot tell the codec of the input ({looked}): name it with --codec ({})", NAMES.join(", "))));
    };
    let (count, reason) = votes[best];
    Ok(Choice { name: NAMES[best], why: format!("{count} of the first {records} records {reason}") })
}

/// `src_ip` or `flow_id`, which no other codec has, beside two names that others share.
const SURICATA_POINTS: usize = 4;

const THREATGUARD: usize = 0;
const ZEEK: usize = 1;
const SURICATA: usize = 2;
const SYSLOG: usize = 3;
const CLOUDTRAIL: usize = 4;

fn looks_like(payload: &[u8]) -> Option<(usize, &'static str)> {
    let arena = Bump::new();
    let Ok(members) = Members::document(payload, &arena) else {
        let text = String::from_utf8_lossy(payload);
        return syslog::is_syslog(&text).then_some((SYSLOG, "begin with a syslog priority or timestamp"));
    };
    let names = Names::of(members, &arena, true);
    if names.zeek >= 2 {
        Some((ZEEK, "have Zeek's columns (ts, uid, id.orig_h, _path)"))
    } else if names.cloudtrail >= 2 {
        Some((CLOUDTRAIL, "have CloudTrail's eventName, eventSource and eventTime"))
    } else if names.suricata >= SURICATA_POINTS {
        Some((SURICATA, "have Suricata's event_type beside src_ip, dest_ip or flow_id"))
    } else {
        (names.threatguard >= 2).then_some((THREATGUARD, "have the fields of ThreatGuard's own events"))
    }
}

/// How many of each codec's tell-tale names an object has.
#[derive(Default)]
struct Names {
    zeek: usize,
    suricata: usize,
    cloudtrail: usize,
    threatguard: usize,
}

impl Names {
    fn of<'b>(mut members: Members<'b>, arena: &'b Bump, wrappers: bool) -> Self {
        let mut names = Self::default();
        while let Ok(Some(member)) = members.next(arena) {
            match member.name {
                "ts" | "uid" | "id.orig_h" | "id_orig_h" | "id.resp_h" | "id_resp_h" | "_path" | "@stream" | "fuid" | "software_type"
                | "port_proto" | "tx_hosts" => names.zeek += 1,
                "src_ip" | "flow_id" => names.suricata += 2,
                "dest_ip" | "proto" => names.suricata += 1,
                "eventName" | "eventSource" | "eventTime" | "awsRegion" => names.cloudtrail += 1,
                "event" | "detail" if wrappers => {
                    if let Field::Nested(text) = member.value
                        && let Some(inner) = Members::nested(text)
                    {
                        names.cloudtrail += Self::of(inner, arena, false).cloudtrail;
                    }
                }
                _ => {}
            }
            names.suricata += usize::from(matches!(member.name, "event_type" | "timestamp"));
            names.threatguard += usize::from(FieldId::NAMES.contains(&member.name));
        }
        names
    }
}
