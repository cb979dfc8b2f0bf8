//! What the parts of a state need to know of an event, worked out once.

use std::net::IpAddr;

use crate::core::event::{Event, Outcome};
use crate::core::numeric::{hash_bytes, hash_key, log2_count};
use crate::core::types::{EntityKey, EntityKind};

/// Numbers and hashes of one event. A hash is 0 where the event has no such part.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub micros: i64,
    /// Time of the newest event before this one; 0 for the entity's first.
    pub before_micros: i64,
    /// Seconds since the newest event of the entity; 0 for its first and for one out of order.
    pub gap_seconds: f32,
    /// `exp(-gap / tau)` for the time constants 5 min, 1 h and 24 h.
    pub fade_5m: f32,
    pub fade_1h: f32,
    pub fade_24h: f32,
    pub destination: u64,
    /// The destination is a public address.
    pub external: bool,
    pub port: u16,
    pub resource: u64,
    pub device: u64,
    pub country: u64,
    /// Event type and action.
    pub action: u64,
    pub protocol: u64,
    /// Who else takes part in a log-in that failed: the user for an address, the source for a user; 0 for anything else.
    pub failed_party: u64,
    pub bytes_log2: f32,
    pub bytes_out: u64,
    /// What the volume of an hour counts: bytes sent by a host, bytes moved by a user, who reads more than they send.
    pub volume: u64,
    pub out_share: f32,
    pub outcome: Outcome,
    pub authentication: bool,
    pub user: bool,
}

impl Facts {
    #[must_use]
    pub fn of(event: &Event<'_>, place: u64, newest_micros: Option<i64>) -> Self {
        let gap = newest_micros.map_or(0, |newest| (event.reached.0 - newest).max(0));
        let gap_seconds = (gap as f64 / 1e6) as f32;
        let [fade_5m, fade_1h, fade_24h] = fades(gap_seconds);
        let authentication = is_authentication(event);
        // Names below one domain are one resource: some are made up for every question. That is the event's place then.
        let dns = event.event_type.starts_with("dns") && !event.resource.is_empty();
        let bytes_out = if event.flow.bytes_out == 0 && event.flow.bytes_in == 0 { event.bytes } else { event.flow.bytes_out };
        Self {
            micros: event.reached.0,
            before_micros: newest_micros.unwrap_or_default(),
            gap_seconds,
            fade_5m,
            fade_1h,
            fade_24h,
            destination: if dns { address_hash(event.dest_ip) } else { place },
            external: is_public(event.dest_ip),
            port: event.port,
            resource: if dns { named_place(event.resource, place) } else { text_hash(event.resource) },
            device: text_hash(event.device_id),
            country: text_hash(event.geo.country),
            action: text_hash(event.event_type) ^ text_hash(event.action).rotate_left(17),
            protocol: text_hash(event.protocol),
            failed_party: if authentication && event.outcome == Outcome::Failure { party(event) } else { 0 },
            bytes_log2: log2_count(event.bytes),
            bytes_out,
            volume: if event.entity.kind == EntityKind::User { event.bytes } else { bytes_out },
            out_share: if event.bytes == 0 { 0.0 } else { (bytes_out as f32 / event.bytes as f32).min(1.0) },
            outcome: event.outcome,
            authentication,
            user: event.entity.kind == EntityKind::User,
        }
    }
}

fn fades(gap_seconds: f32) -> [f32; 3] {
    if gap_seconds == 0.0 {
        return [1.0; 3];
    }
    // Four at once are as quick as one; the last is not used.
    let [a, b, c, _] = crate::core::numeric::exp_neg_each([300.0, 3_600.0, 86_400.0, 86_400.0].map(|tau| gap_seconds / tau));
    [a, b, c]
}

/// Nothing but dots names nothing.
fn named_place(name: &str, place: u64) -> u64 {
    if name.bytes().all(|byte| byte == b'.') { 0 } else { place }
}

fn party(event: &Event<'_>) -> u64 {
    if event.entity.kind == EntityKind::User { address_hash(event.source_ip) } else { text_hash(event.user_id) }
}

fn text_hash(text: &str) -> u64 {
    if text.is_empty() { 0 } else { hash_bytes(text.as_bytes()) | 1 }
}

fn address_hash(address: IpAddr) -> u64 {
    if address.is_unspecified() { 0 } else { hash_key(EntityKey::of_address(address).0) | 1 }
}

/// An attempt to prove who one is. Its type or action says so in every codec: `auth.login`, `ssh.session`, `ConsoleLogin`.
fn is_authentication(event: &Event<'_>) -> bool {
    let names_it = |text: &str| {
        let bytes = text.as_bytes();
        // These words are short: comparing at every place takes less than a search that has to be set up. Most have no `g` at all.
        bytes.starts_with(b"auth") || (bytes.contains(&b'g') && bytes.windows(4).any(|part| part == b"ogin" || part == b"ogon"))
    };
    names_it(event.event_type) || event.event_type.starts_with("ssh") || names_it(event.action)
}

/// Whether an address is routed on the internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || (a == 100 && (64..128).contains(&b))
                || a >= 240)
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || (first & 0xfe00) == 0xfc00 || (first & 0xffc0) == 0xfe80)
        }
    }
}
