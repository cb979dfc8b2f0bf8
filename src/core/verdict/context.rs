//! What a threat shows of its event: source, target and the fields an analyst would look up. Bounded, whatever the event brings.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::core::detect::threat_type;
use crate::core::event::{Event, FieldId, Outcome};
use crate::core::types::EntityKind;
use crate::limits::{EXTRA_SHOWN_BYTES_MAX, EXTRA_SHOWN_MAX};

/// The address that the event came from, else its entity's name.
pub(super) fn source(event: &Event<'_>) -> String {
    if event.source_ip.is_unspecified() { event.entity.name.to_owned() } else { event.source_ip.to_string() }
}

/// What the event was aimed at: an address, a resource, an account or a device, the first that is known. For users and for names
/// asked of a resolver the resource says more than the address.
pub(super) fn target(event: &Event<'_>, kind: &str) -> String {
    let address = address(event.dest_ip);
    let by_resource = event.entity.kind == EntityKind::User || kind == threat_type::DNS_TUNNELING;
    let resource = event.resource.to_owned();
    let [first, second] = if by_resource { [resource, address] } else { [address, resource] };
    let user = if event.entity.kind == EntityKind::User { "" } else { event.user_id };
    let known = [first, second, user.to_owned(), event.device_id.to_owned()];
    known.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

fn address(address: IpAddr) -> String {
    if address.is_unspecified() { String::new() } else { address.to_string() }
}

/// The event's known fields by the names of product.md 1.1; absent ones are left out.
pub(super) fn fields(event: &Event<'_>) -> Value {
    let mut fields = Map::new();
    let mut put = |id: FieldId, value: Value| {
        let absent = match &value {
            Value::String(text) => text.is_empty(),
            Value::Number(number) => number.as_f64() == Some(0.0),
            _ => value.is_null(),
        };
        if !absent {
            fields.insert(FieldId::NAMES[id as usize].to_owned(), value);
        }
    };
    put(FieldId::SourceIp, json!(address(event.source_ip)));
    put(FieldId::DestIp, json!(address(event.dest_ip)));
    put(FieldId::Protocol, json!(event.protocol));
    put(FieldId::Port, json!(event.port));
    put(FieldId::BytesTransferred, json!(event.bytes));
    put(FieldId::EventType, json!(event.event_type));
    put(FieldId::UserAgent, json!(event.user_agent));
    put(FieldId::UserId, json!(event.user_id));
    put(FieldId::Resource, json!(event.resource));
    put(FieldId::Action, json!(event.action));
    put(FieldId::Outcome, json!(outcome(event)));
    put(FieldId::DeviceId, json!(event.device_id));
    put(FieldId::SessionId, json!(event.session_id));
    put(FieldId::FileHash, json!(event.file_hash));
    put(FieldId::BytesOut, json!(event.flow.bytes_out));
    put(FieldId::BytesIn, json!(event.flow.bytes_in));
    put(FieldId::Packets, json!(event.flow.packets));
    put(FieldId::Duration, json!(event.flow.duration));
    let coordinates = event.geo.coordinates.map(|(lat, lon)| (json!(lat), json!(lon)));
    let (lat, lon) = coordinates.unwrap_or((Value::Null, Value::Null));
    for (name, value) in [("lat", lat), ("lon", lon), ("country", json!(event.geo.country)), ("city", json!(event.geo.city))] {
        if !value.is_null() && value != json!("") {
            geo(&mut fields).insert(name.to_owned(), value);
        }
    }
    if event.geo.asn != 0 {
        geo(&mut fields).insert("asn".to_owned(), json!(event.geo.asn));
    }
    Value::Object(fields)
}

fn geo(fields: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let entry = fields.entry("geo").or_insert_with(|| Value::Object(Map::new()));
    entry.as_object_mut().expect("nobody else writes geo")
}

fn outcome<'b>(event: &Event<'b>) -> &'b str {
    match event.outcome {
        _ if !event.outcome_text.is_empty() => event.outcome_text,
        Outcome::Success => "success",
        Outcome::Failure => "failure",
        Outcome::Unknown => "",
    }
}

/// Unknown fields in their order, as many as fit the bounds, and how many were left out.
pub(super) fn extra(event: &Event<'_>) -> (Value, usize) {
    let mut shown = Map::new();
    let mut bytes = 0;
    for (name, text) in event.extra {
        let size = name.len() + text.len();
        if shown.len() < EXTRA_SHOWN_MAX && bytes + size <= EXTRA_SHOWN_BYTES_MAX {
            bytes += size;
            // A codec may keep text that is no JSON; then the text is the value.
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String((*text).to_owned()));
            shown.insert((*name).to_owned(), value);
        }
    }
    let omitted = event.extra.len() - shown.len();
    (Value::Object(shown), omitted)
}
