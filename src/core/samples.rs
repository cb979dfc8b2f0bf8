//! Events for tests of the core: plain, valid, easy to vary.

use std::net::{IpAddr, Ipv4Addr};

use super::event::{Entity, Event, Flow, Geo, Outcome, Repairs};
use super::types::{EntityKey, EntityKind, EventTime, MICROS_PER_SECOND, Offset, Partition, Position};

/// 2026-03-02T09:00:00Z, a Monday.
pub(crate) const MONDAY: i64 = 1_772_442_000;

/// A connection of `10.0.0.<source>` to 192.0.2.1:443, `second` seconds after [`MONDAY`].
pub(crate) fn event(offset: u64, source: u8, second: i64) -> Event<'static> {
    let source_ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, source));
    Event {
        at: Position { partition: Partition(0), offset: Offset(offset) },
        raw: b"{}",
        time: EventTime((MONDAY + second) * MICROS_PER_SECOND),
        reached: EventTime((MONDAY + second) * MICROS_PER_SECOND),
        source_ip,
        dest_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        protocol: "tcp",
        port: 443,
        bytes: 1_500,
        event_type: "network.connection",
        user_agent: "",
        user_id: "",
        resource: "",
        action: "",
        outcome: Outcome::Success,
        outcome_text: "success",
        device_id: "",
        session_id: "",
        file_hash: "",
        geo: Geo::default(),
        flow: Flow { bytes_out: 500, bytes_in: 1_000, packets: 10, duration: 0.2 },
        extra: &[],
        repairs: Repairs::default(),
        entity: Entity { kind: EntityKind::Ip, key: EntityKey::of_address(source_ip), name: "10.0.0.x" },
    }
}
