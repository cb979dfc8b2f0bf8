//! What becomes of every kind of value, as tables: what went in, what came out, which repairs are listed.

use bumpalo::Bump;
use proptest::prelude::*;

use super::*;
use crate::core::types::{EntityKey, EntityKind, Position};
use crate::limits::EVENT_TIME_MAX_MICROS;

fn sanitize<'b>(fields: &[(FieldId, Field<'b>)], time: Option<EventTime>, arena: &'b Bump) -> Event<'b> {
    let mut raw = RawEvent::default();
    for (id, value) in fields {
        raw.set(*id, *value);
    }
    let record = Record { at: Position::default(), payload: b"", time };
    Sanitizer::default().sanitize(&record, &raw, arena)
}

/// Repairs other than the missing timestamp that most of these events share.
fn repairs(event: &Event<'_>) -> String {
    let names: Vec<&str> = event.repairs.names().filter(|name| *name != "timestamp_missing").collect();
    names.join(" ")
}

const RECORD: &str = "2026-01-01T00:00:00.000000Z";

/// The time of an event whose record was written at [`RECORD`].
fn check_time(field: Field<'_>, expected: &str, flagged: &str) {
    let arena = Bump::new();
    let event = sanitize(&[(FieldId::Timestamp, field)], Some(EventTime(1_767_225_600_000_000)), &arena);
    let names: Vec<&str> = event.repairs.names().collect();
    assert_eq!((event.time.to_string().as_str(), names.join(" ").as_str()), (expected, flagged), "{field:?}");
}

#[test]
fn timestamps() {
    let same = "2025-11-02T03:04:05.678901Z";
    for text in [
        "2025-11-02T03:04:05.678901Z",
        "2025-11-02T03:04:05.678901",
        "2025-11-02 03:04:05.678901",
        "2025-11-02t03:04:05,678901z",
        "2025-11-02T04:04:05.678901+01:00",
        "2025-11-02T04:04:05.678901+0100",
        "2025-11-01T15:04:05.678901-12",
        "2025-11-02T03:04:05.678901999Z",
        "2025-11-02T03:04:05.678901 UTC",
        "20251102T030405.678901Z",
        " 2025-11-02T03:04:05.678901Z ",
        "02/Nov/2025:04:04:05.678901 +0100",
        "Nov  2 2025 03:04:05.678901",
        "Nov 2 03:04:05.678901",
        "1762052645.678901",
        "1762052645678.901",
        "1762052645678901",
        "1762052645678901234",
    ] {
        check_time(Field::Text(text), same, "");
    }
    check_time(Field::Number("1762052645.678901"), same, "");
    check_time(Field::Unsigned(1_762_052_645_678_901), same, "");
    check_time(Field::Real(1_762_052_645.678_901), same, "");
    check_time(Field::Number("1.7e9"), "2023-11-14T22:13:20.000000Z", "");
    check_time(Field::Text("2025-11-02"), "2025-11-02T00:00:00.000000Z", "");
    check_time(Field::Text("2025-11-02T03:04"), "2025-11-02T03:04:00.000000Z", "");
    check_time(Field::Text("2025-11-02T03:04:05"), "2025-11-02T03:04:05.000000Z", "");
    check_time(Field::Text("2016-12-31T23:59:60Z"), "2016-12-31T23:59:59.999999Z", "timestamp_clamped");
    check_time(Field::Text("2017-01-01T00:59:60.5+01:00"), "2016-12-31T23:59:59.999999Z", "timestamp_clamped");
    check_time(Field::Text("2024-02-29T00:00:00Z"), "2024-02-29T00:00:00.000000Z", "");
    // A day ahead of the record is believed, more is not.
    check_time(Field::Text("2026-01-02T00:00:00Z"), "2026-01-02T00:00:00.000000Z", "");
    check_time(Field::Text("2026-01-02T00:00:01Z"), "2026-01-02T00:00:00.000000Z", "timestamp_clamped");
    check_time(Field::Text("2099-12-31T23:59:59Z"), "2026-01-02T00:00:00.000000Z", "timestamp_clamped");
}

#[test]
fn timestamps_that_cannot_be_true() {
    for text in [
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "1989-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "2262-04-12T00:00:00Z",
        "-1",
        "253402300800",
        "9223372036854775807",
        "2026-02-30",
        "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-10T00:00:00Z",
        "2025-11-02T24:00:00Z",
        "2025-11-02T03:60:00Z",
        "2025-11-02T03:04:61Z",
        "2025-11-02T12:00:60Z",
        "2025-11-02T00:00:00+24:00",
        "2025-11-02T00:00:00+01:60",
        "2025-11-02T00:00:00.Z",
        "2025-11-02T00:00:00X",
        "2025-11-02T00:00:00Z junk",
        "yesterday",
        "Feb 30 00:00:00",
        "99999999999999999999",
        "nan",
        "inf",
        "1e400",
    ] {
        check_time(Field::Text(text), RECORD, "timestamp_invalid");
    }
    for field in [Field::Number("-1"), Field::Number("9223372036854775807"), Field::Real(f64::NAN), Field::Bool(true), Field::Nested("{}")]
    {
        check_time(field, RECORD, "timestamp_invalid");
    }
    check_time(Field::Missing, RECORD, "timestamp_missing");
    check_time(Field::Text("-"), RECORD, "timestamp_missing");
}

#[test]
fn without_a_record_time_the_bounds_are_absolute() {
    let arena = Bump::new();
    let time = |text| sanitize(&[(FieldId::Timestamp, Field::Text(text))], None, &arena).time.to_string();
    assert_eq!(time("2099-12-31T23:59:59Z"), "2099-12-31T23:59:59.000000Z");
    assert_eq!(time("9999-12-31T23:59:59Z"), "1990-01-01T00:00:00.000000Z");
    assert_eq!(time(""), "1990-01-01T00:00:00.000000Z");
    // A record time that cannot be true is none.
    let broken = sanitize(&[(FieldId::Timestamp, Field::Text("2026-01-01"))], Some(EventTime(-1)), &arena);
    assert_eq!(broken.time.to_string(), "2026-01-01T00:00:00.000000Z");
}

#[test]
fn a_missing_year_is_the_one_nearest_to_the_record() {
    let near = |text, record: &str| {
        let arena = Bump::new();
        let record = sanitize(&[(FieldId::Timestamp, Field::Text(record))], None, &arena).time;
        sanitize(&[(FieldId::Timestamp, Field::Text(text))], Some(record), &arena).time.to_string()
    };
    assert_eq!(near("Dec 31 23:59:59", "2026-01-01"), "2025-12-31T23:59:59.000000Z");
    assert_eq!(near("Jan  1 00:00:01", "2025-12-31T23:59:00Z"), "2026-01-01T00:00:01.000000Z");
    assert_eq!(near("Feb 29 12:00:00", "2026-03-01"), "2024-02-29T12:00:00.000000Z");
    let arena = Bump::new();
    let unknown = sanitize(&[(FieldId::Timestamp, Field::Text("Jun 14 15:16:01"))], None, &arena);
    assert_eq!(unknown.time.to_string(), "2000-06-14T15:16:01.000000Z");
}

#[test]
fn addresses() {
    let check = |field: Field<'static>, expected: &str, flagged: &str| {
        let arena = Bump::new();
        let event = sanitize(&[(FieldId::SourceIp, field)], None, &arena);
        assert_eq!((event.source_ip.to_string().as_str(), repairs(&event).as_str()), (expected, flagged), "{field:?}");
        let known = expected != "0.0.0.0";
        assert_eq!(event.entity.kind == EntityKind::Ip, known);
        assert_eq!(event.entity.name, if known { expected } else { "unknown" }, "{field:?}");
    };
    for same in ["10.0.0.1", " 10.0.0.1", "::ffff:10.0.0.1", "::FFFF:0a00:0001", "0:0:0:0:0:ffff:10.0.0.1"] {
        check(Field::Text(same), "10.0.0.1", "");
    }
    for octets in ["0.0.0.1", "255.255.255.255", "1.2.3.4", "192.168.100.200", "9.99.199.249"] {
        check(Field::Text(octets), octets, "");
    }
    check(Field::Text("2001:DB8:0:0::1"), "2001:db8::1", "");
    check(Field::Text("fe80::1%eth0"), "fe80::1", "zone_removed");
    check(Field::Text("[::1]:443"), "::1", "wrong_type");
    check(Field::Text("[2001:db8::1]"), "2001:db8::1", "wrong_type");
    check(Field::Text("10.0.0.1:443"), "10.0.0.1", "wrong_type");
    for invalid in [
        "010.8.8.8",
        "0x7f.1",
        "127.1",
        "2130706433",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "1.2.3.999",
        "1..3.4",
        ".1.2.3.4",
        "1.2.3.4.",
        "1.2.3.1000",
        "1\0.2.3.4",
        "1.2.3.4\u{0}0",
        "1.2.3.00",
        "01.2.3.4",
        "a.b.c.d",
        "host.example",
        "10.0.0.1%eth0",
        "fe80::1%",
        "[::1",
        "1.2.3.4:99999",
        "1.2.3.-4",
        "1 .2.3.4",
        "\u{661}.2.3.4",
        "123456789012345",
        "/.2.3.4",
        ":.2.3.4",
    ] {
        check(Field::Text(invalid), "0.0.0.0", "source_ip_invalid");
    }
    check(Field::Number("2130706433"), "0.0.0.0", "source_ip_invalid");
    check(Field::Nested("[1]"), "0.0.0.0", "source_ip_invalid");
    for absent in [Field::Missing, Field::Text(""), Field::Text("-"), Field::Text("0.0.0.0"), Field::Text("::")] {
        check(absent, "0.0.0.0", "");
    }
}

#[test]
fn numbers() {
    let arena = Bump::new();
    let port = |field| {
        let event = sanitize(&[(FieldId::Port, field)], None, &arena);
        (u64::from(event.port), repairs(&event))
    };
    let flagged = |value: u64, name: &str| (value, name.to_owned());
    assert_eq!(port(Field::Number("443")), flagged(443, ""));
    assert_eq!(port(Field::Text("443")), flagged(443, ""));
    assert_eq!(port(Field::Number("-0")), flagged(0, ""));
    assert_eq!(port(Field::Number("8e1")), flagged(80, ""));
    assert_eq!(port(Field::Number("65536")), flagged(65_535, "port_clamped"));
    assert_eq!(port(Field::Number("-5")), flagged(0, "port_clamped"));
    assert_eq!(port(Field::Number("80.5")), flagged(80, "port_clamped"));
    assert_eq!(port(Field::Number("18446744073709551616")), flagged(65_535, "port_clamped"));
    for field in [
        Field::Text("ssh"),
        Field::Text("inf"),
        Field::Text("NaN"),
        Field::Text("+1"),
        Field::Text("0x50"),
        Field::Bool(true),
        Field::Nested("[]"),
    ] {
        assert_eq!(port(field), flagged(0, "port_invalid"), "{field:?}");
    }
    let bytes = |field| {
        let event = sanitize(&[(FieldId::BytesTransferred, field)], None, &arena);
        (event.bytes, repairs(&event))
    };
    assert_eq!(bytes(Field::Number("9007199254740993")), flagged(9_007_199_254_740_993, ""));
    assert_eq!(bytes(Field::Number("18446744073709551615")), flagged(u64::MAX, ""));
    assert_eq!(bytes(Field::Number("18446744073709551616")), flagged(u64::MAX, "bytes_clamped"));
    assert_eq!(bytes(Field::Number("1e400")), flagged(u64::MAX, "bytes_clamped"));
    assert_eq!(bytes(Field::Number("-5")), flagged(0, "bytes_clamped"));
    assert_eq!(bytes(Field::Number("1.5e3")), flagged(1_500, ""));
    assert_eq!(bytes(Field::Number("-0")), flagged(0, ""));
    assert_eq!(bytes(Field::Text("lots")), flagged(0, "bytes_invalid"));
    assert_eq!(bytes(Field::Missing), flagged(0, ""));
    let flow =
        [(FieldId::BytesOut, Field::Number("7")), (FieldId::BytesIn, Field::Unsigned(u64::MAX)), (FieldId::Duration, Field::Text("0.25"))];
    let event = sanitize(&flow, None, &arena);
    assert_eq!((event.bytes, event.flow.bytes_out, event.flow.duration.to_bits()), (u64::MAX, 7, 0.25_f32.to_bits()));
    let broken = sanitize(&[(FieldId::Duration, Field::Number("1e400")), (FieldId::Packets, Field::Number("-1"))], None, &arena);
    assert_eq!((broken.flow.duration.to_bits(), broken.flow.packets, repairs(&broken).as_str()), (0, 0, "wrong_type"));
}

#[test]
fn text() {
    let arena = Bump::new();
    let check = |field: Field<'static>, expected: &str, flagged: &str| {
        let event = sanitize(&[(FieldId::UserId, field)], None, &arena);
        assert_eq!((event.user_id, repairs(&event).as_str()), (expected, flagged), "{field:?}");
    };
    for plain in ["", "a", "al", "bob", "alice", "a < b", "1<2", "a > b", "<", "<>", "x<", "\u{e9}t\u{e9}", "\u{444}\u{44b}", "< b>"] {
        check(Field::Text(plain), plain, "");
    }
    check(Field::Text("  alice \t"), "alice", "control_characters_removed");
    check(Field::Text("  alice "), "alice", "");
    check(Field::Text("admin\0"), "admin", "control_characters_removed");
    check(Field::Text("bob\r\n<134>1 2026"), "bob<134>1 2026", "control_characters_removed");
    check(Field::Text("\u{1b}[2J\u{1b}[H all clear"), "[2J[H all clear", "control_characters_removed");
    check(Field::Text("\u{9b}31mred"), "31mred", "control_characters_removed");
    check(Field::Text("a\u{7f}b"), "ab", "control_characters_removed");
    check(Field::Text("<script>alert(1)</script>bob"), "alert(1)bob", "markup_removed");
    check(Field::Text("<<b>script>x"), "x", "markup_removed");
    check(Field::Text("<scr<b>ipt>x"), "x", "markup_removed");
    check(Field::Text("a <img src=x> b <!-- c --> d"), "a  b  d", "markup_removed");
    check(Field::Text("<b>"), "", "markup_removed");
    check(Field::Text("<scr\u{0}ipt>x"), "x", "control_characters_removed markup_removed");
    check(Field::Text("user\u{202e}gpj.exe"), "user\u{202e}gpj.exe", "suspicious_unicode");
    check(Field::Text("ad\u{200b}min"), "ad\u{200b}min", "suspicious_unicode");
    check(Field::Text("x\u{e0041}"), "x\u{e0041}", "suspicious_unicode");
    check(Field::Text("\u{430}dmin"), "\u{430}dmin", "suspicious_unicode");
    check(Field::Number("1001"), "1001", "wrong_type");
    check(Field::Bool(true), "true", "wrong_type");
    check(Field::Nested("{\"a\":1}"), "{\"a\":1}", "wrong_type");
    let long = "\u{e9}".repeat(USER_ID_CHARS_MAX + 1);
    let event = sanitize(&[(FieldId::UserId, Field::Text(&long))], None, &arena);
    assert_eq!((event.user_id.chars().count(), repairs(&event).as_str()), (USER_ID_CHARS_MAX, "truncated"));
    let marks = format!("a{}", "\u{301}".repeat(10_000));
    let event = sanitize(&[(FieldId::UserId, Field::Text(&marks))], None, &arena);
    assert_eq!((event.user_id.chars().count(), repairs(&event).as_str()), (USER_ID_CHARS_MAX, "truncated suspicious_unicode"));
    let nested = "<".repeat(100_000) + &"b>".repeat(50_000);
    let event = sanitize(&[(FieldId::Resource, Field::Text(&nested))], None, &arena);
    assert!(event.resource.chars().count() <= STRING_CHARS_MAX);
}

#[test]
fn protocol_outcome_and_geo() {
    let arena = Bump::new();
    let protocol = |text| sanitize(&[(FieldId::Protocol, Field::Text(text))], None, &arena).protocol;
    assert_eq!(["TCP", "udp", "Icmp", "SCTP", "HTTPS/over/TLS"].map(protocol), ["tcp", "udp", "icmp", "sctp", "https/over"]);
    let outcome = |field| sanitize(&[(FieldId::Outcome, field)], None, &arena).outcome;
    for success in ["success", "Succeeded", "ACCEPTED", "ok", "allow", "true"] {
        assert_eq!(outcome(Field::Text(success)), Outcome::Success, "{success}");
    }
    for failure in ["failure", "Failed", "denied", "BLOCKED", "reject", "error", "false"] {
        assert_eq!(outcome(Field::Text(failure)), Outcome::Failure, "{failure}");
    }
    assert_eq!(outcome(Field::Bool(false)), Outcome::Failure);
    assert_eq!((outcome(Field::Text("maybe")), outcome(Field::Missing)), (Outcome::Unknown, Outcome::Unknown));

    let geo = |lat, lon, asn| {
        let event = sanitize(&[(FieldId::GeoLat, lat), (FieldId::GeoLon, lon), (FieldId::GeoAsn, asn)], None, &arena);
        (event.geo.coordinates, event.geo.asn, repairs(&event))
    };
    let number = Field::Number;
    assert_eq!(geo(number("52.5"), number("-13.25"), Field::Text("AS64500")), (Some((52.5, -13.25)), 64_500, String::new()));
    assert_eq!(geo(number("90.5"), number("0"), number("1")), (None, 1, "geo_invalid".to_owned()));
    assert_eq!(geo(number("1"), Field::Missing, number("4294967296")), (None, 0, "geo_invalid".to_owned()));
    assert_eq!(geo(Field::Missing, Field::Missing, Field::Text("ASX")), (None, 0, "geo_invalid".to_owned()));
}

#[test]
fn the_entity_is_the_first_preference_that_is_present() {
    let arena = Bump::new();
    let fields =
        [(FieldId::SourceIp, Field::Text("bogus")), (FieldId::UserId, Field::Text("Alice")), (FieldId::DeviceId, Field::Text("web-3"))];
    let event = sanitize(&fields, None, &arena);
    assert_eq!((event.entity.kind, event.entity.name, event.user_id), (EntityKind::User, "alice", "Alice"));
    assert_eq!(event.entity.key, EntityKey::of_name(EntityKind::User, "alice"));
    assert_eq!(sanitize(&fields[2..], None, &arena).entity.kind, EntityKind::Host);
    let nobody = sanitize(&[], None, &arena).entity;
    assert_eq!((nobody.kind, nobody.name), (EntityKind::Unknown, "unknown"));
    let mut raw = RawEvent::default();
    raw.set(FieldId::DestIp, Field::Text("::ffff:10.0.0.9"));
    let by_dest = Sanitizer { key: vec![KeyPart::Destination], ..Sanitizer::default() };
    let record = Record { at: Position::default(), payload: b"", time: None };
    let entity = by_dest.sanitize(&record, &raw, &arena).entity;
    assert_eq!((entity.name, entity.key), ("10.0.0.9", EntityKey::of_address("10.0.0.9".parse().unwrap())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plain_ipv4_is_read_as_the_standard_library_does(text in "[0-9.]{0,17}|([0-9]{1,3}\\.){3}[0-9]{1,3}|[0-9./:a\\x00]{7,15}") {
        let ours = address::ipv4(text.as_bytes());
        prop_assert_eq!(ours, text.parse::<std::net::Ipv4Addr>().ok(), "{:?}", text);
    }

    #[test]
    fn no_text_survives_with_control_characters_or_tags(text in "(<|>|b|/|!|\\x00| |\u{202e}|\\PC){0,40}") {
        let arena = Bump::new();
        let event = sanitize(&[(FieldId::Resource, Field::Text(&text))], None, &arena);
        prop_assert!(!event.resource.chars().any(char::is_control));
        prop_assert_eq!(event.resource, event.resource.trim());
        let again = sanitize(&[(FieldId::Resource, Field::Text(event.resource))], None, &arena);
        prop_assert_eq!(event.resource, again.resource, "cleaning is settled after once");
        prop_assert!(!again.repairs.has(Repair::MarkupRemoved));
    }

    #[test]
    fn any_timestamp_text_gives_a_plausible_time(text in "[0-9TZ:. +-]{0,40}|\\PC{0,24}") {
        let arena = Bump::new();
        let event = sanitize(&[(FieldId::Timestamp, Field::Text(&text))], None, &arena);
        prop_assert!(time::is_plausible(event.time));
    }

    #[test]
    fn shown_times_are_read_back(micros in EVENT_TIME_MIN_MICROS..EVENT_TIME_MAX_MICROS) {
        let text = EventTime(micros).to_string();
        prop_assert_eq!(sanitize(&[(FieldId::Timestamp, Field::Text(&text))], None, &Bump::new()).time, EventTime(micros));
    }
}
