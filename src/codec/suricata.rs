//! The `suricata` codec: one event of Suricata's EVE JSON output, of any type.
//!
//! `flow` and `netflow` are `network.connection`, `dns`, `http`, `ssh` and `tls` carry the shared names of the `zeek` codec, everything
//! else is `suricata.<type>`. The section of a type (`alert` with signature, severity and category, `http`, `tls`, ...) stays in
//! `extra` as it was written. An alert's action is what the sensor did with the traffic (`allowed`, `blocked`), also as its outcome.

use bumpalo::Bump;

use super::json::{Elements, Members};
use super::{Codec, DecodeError, Extra, as_text, claim, http_outcome, join_in, outcome_text, sum_of, text_of};
use crate::core::event::{Field, FieldId, RawEvent};

#[derive(Clone, Copy, Debug, Default)]
pub struct Suricata;

/// Sections whose members the codec reads. All of them stay in `extra`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Alert,
    Flow,
    Dns,
    Http,
    Tls,
    Ssh,
    File,
    Anomaly,
}

const ALL_SECTIONS: [Section; 8] =
    [Section::Flow, Section::Dns, Section::Http, Section::Tls, Section::Ssh, Section::File, Section::Anomaly, Section::Alert];
const SECTIONS: usize = ALL_SECTIONS.len();

impl Codec for Suricata {
    fn name(&self) -> &'static str {
        "suricata"
    }

    fn decode<'b>(&self, payload: &'b [u8], arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
        let mut members = Members::document(payload, arena)?;
        let mut extra = Extra::new(arena);
        let mut seen = 0;
        let mut kind = "";
        let mut sections = [""; SECTIONS];
        while let Some(member) = members.next(arena)? {
            if let Some(id) = top_level(member.name) {
                if !claim(&mut seen, id as usize) {
                    return Err(DecodeError::duplicate(member.name));
                }
                out.set(id, as_identifier(id, member.value));
                if id == FieldId::EventType {
                    kind = text_of(member.value).unwrap_or_default();
                }
                continue;
            }
            extra.push(member.name, member.raw);
            if let (Some(section), Field::Nested(text)) = (section(member.name), member.value) {
                if !claim(&mut seen, FieldId::COUNT + section as usize) {
                    return Err(DecodeError::duplicate(member.name));
                }
                sections[section as usize] = text;
            }
        }
        // The event's own section last: what it says counts, whatever the order in the record.
        let own = section(kind);
        for section in ALL_SECTIONS.into_iter().filter(|section| Some(*section) != own).chain(own) {
            read_section(section, sections[section as usize], arena, out)?;
        }
        extra.finish(out);
        finish(kind, arena, out);
        Ok(())
    }
}

fn top_level(name: &str) -> Option<FieldId> {
    Some(match name {
        "timestamp" => FieldId::Timestamp,
        "event_type" => FieldId::EventType,
        "src_ip" => FieldId::SourceIp,
        "dest_ip" => FieldId::DestIp,
        "dest_port" => FieldId::Port,
        "proto" => FieldId::Protocol,
        "flow_id" => FieldId::SessionId,
        _ => return None,
    })
}

/// `flow_id` is a number that names a flow, not a quantity.
fn as_identifier(id: FieldId, value: Field<'_>) -> Field<'_> {
    if id == FieldId::SessionId { as_text(value) } else { value }
}

fn section(name: &str) -> Option<Section> {
    Some(match name {
        "alert" => Section::Alert,
        "flow" | "netflow" => Section::Flow,
        "dns" => Section::Dns,
        "http" => Section::Http,
        "tls" => Section::Tls,
        "ssh" => Section::Ssh,
        "fileinfo" => Section::File,
        "anomaly" => Section::Anomaly,
        _ => return None,
    })
}

fn read_section<'b>(section: Section, text: &'b str, arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
    // An absent section is empty text.
    let Some(mut members) = Members::nested(text) else { return Ok(()) };
    let (mut host, mut url, mut to_server, mut to_client) = ("", "", Field::Missing, Field::Missing);
    while let Some(part) = members.next(arena)? {
        match (section, part.name) {
            (Section::Flow, "pkts_toserver") => to_server = part.value,
            (Section::Flow, "pkts_toclient") => to_client = part.value,
            (Section::Flow, "pkts") => out.set(FieldId::Packets, part.value),
            (Section::Flow, "bytes") => out.set(FieldId::BytesTransferred, part.value),
            (Section::Flow, "bytes_toserver") => out.set(FieldId::BytesOut, part.value),
            (Section::Flow, "bytes_toclient") => out.set(FieldId::BytesIn, part.value),
            (Section::Flow, "age") => out.set(FieldId::Duration, part.value),
            (Section::Flow, "state") => out.set(FieldId::Outcome, flow_outcome(part.value)),
            (Section::Alert, "action") => {
                out.set(FieldId::Action, part.value);
                out.set(FieldId::Outcome, part.value);
            }
            (Section::Dns, "rrname") => out.set(FieldId::Resource, part.value),
            (Section::Dns, "rrtype") => out.set(FieldId::Action, part.value),
            (Section::Dns, "rcode") => out.set(FieldId::Outcome, dns_outcome(part.value)),
            (Section::Dns, "queries" | "query") => first_query(part.value, arena, out)?,
            (Section::Http, "hostname") => host = text_of(part.value).unwrap_or_default(),
            (Section::Http, "url") => url = text_of(part.value).unwrap_or_default(),
            (Section::Http, "http_method") => out.set(FieldId::Action, part.value),
            (Section::Http, "http_user_agent") => out.set(FieldId::UserAgent, part.value),
            (Section::Http, "status") => out.set(FieldId::Outcome, http_outcome(part.value)),
            (Section::Http, "length") => out.set(FieldId::BytesIn, part.value),
            (Section::Tls, "sni") => out.set(FieldId::Resource, part.value),
            (Section::Tls, "version") | (Section::Anomaly, "event") => out.set(FieldId::Action, part.value),
            (Section::Ssh, "client") => ssh_client(part.value, arena, out)?,
            (Section::File, "filename") => out.set(FieldId::Resource, part.value),
            (Section::File, "size") => out.set(FieldId::BytesTransferred, part.value),
            (Section::File, "sha256") => out.set(FieldId::FileHash, part.value),
            (Section::File, "sha1" | "md5") if out.get(FieldId::FileHash) == Field::Missing => {
                out.set(FieldId::FileHash, part.value);
            }
            _ => {}
        }
    }
    if section == Section::Http {
        out.set(FieldId::Resource, Field::Text(join_in(arena, host, url)));
    }
    if section == Section::Flow && out.get(FieldId::Packets) == Field::Missing {
        out.set(FieldId::Packets, sum_of(to_server, to_client));
    }
    Ok(())
}

/// A flow that both sides took part in came about; one that stayed `new` was never answered.
fn flow_outcome(state: Field<'_>) -> Field<'static> {
    match text_of(state) {
        Some("established" | "closed" | "bypassed") => outcome_text(true),
        Some("new") => outcome_text(false),
        _ => Field::Missing,
    }
}

fn dns_outcome(code: Field<'_>) -> Field<'static> {
    text_of(code).map_or(Field::Missing, |code| outcome_text(code == "NOERROR"))
}

/// DNS logs of version 3 list their queries.
fn first_query<'b>(value: Field<'b>, arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
    let Field::Nested(text) = value else { return Ok(()) };
    let Some(Field::Nested(first)) = Elements::nested(text).and_then(|mut queries| queries.next_value(arena)) else { return Ok(()) };
    let Some(mut members) = Members::nested(first) else { return Ok(()) };
    while let Some(part) = members.next(arena)? {
        match part.name {
            "rrname" => out.set(FieldId::Resource, part.value),
            "rrtype" => out.set(FieldId::Action, part.value),
            _ => {}
        }
    }
    Ok(())
}

fn ssh_client<'b>(value: Field<'b>, arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError> {
    let Field::Nested(text) = value else { return Ok(()) };
    let Some(mut members) = Members::nested(text) else { return Ok(()) };
    while let Some(part) = members.next(arena)? {
        if part.name == "software_version" {
            out.set(FieldId::UserAgent, part.value);
        }
    }
    Ok(())
}

fn finish<'b>(kind: &'b str, arena: &'b Bump, out: &mut RawEvent<'b>) {
    let shared = match kind {
        "flow" | "netflow" => "network.connection",
        "dns" => "dns.query",
        "http" => "http.request",
        "ssh" => "ssh.session",
        "tls" => "tls.session",
        "" => return,
        other => join_in(arena, "suricata.", other),
    };
    out.set(FieldId::EventType, Field::Text(shared));
}
