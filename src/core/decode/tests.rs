//! The hostile inputs, each with what becomes of it, and what a batch promises whatever is in it.

use bumpalo::Bump;

use super::*;
use crate::codec::auto::by_name;
use crate::core::event::Repair;
use crate::core::types::{EventTime, Offset, Partition, Position};

fn record(number: u64, payload: &[u8]) -> Record<'_> {
    // 2026-01-01T00:00:00Z
    Record { at: Position { partition: Partition(3), offset: Offset(number) }, payload, time: Some(EventTime(1_767_225_600_000_000)) }
}

/// A record's event as `source user time repairs`, or its reject's reason.
fn outcome(payload: &[u8]) -> String {
    let (codec, arena, mut out) = (by_name("threatguard", None).unwrap(), Bump::new(), Decoded::default());
    decode_batch(codec.as_ref(), &Sanitizer::default(), &[record(0, payload)], &arena, &mut out);
    match (out.events.as_slice(), out.rejects.as_slice()) {
        ([event], []) => {
            let hidden = [Repair::TimestampMissing];
            let names: Vec<&str> = Repair::ALL
                .iter()
                .filter(|(repair, _)| event.repairs.has(*repair) && !hidden.contains(repair))
                .map(|(_, name)| *name)
                .collect();
            format!("{} {} {} {}", event.source_ip, event.user_id, event.bytes, names.join(" ")).trim_end().to_owned()
        }
        ([], [reject]) => {
            assert!(!reject.detail.is_empty() && reject.raw == payload, "the original bytes are kept");
            reject.reason.as_str().to_owned()
        }
        _ => panic!("one record, one result"),
    }
}

#[test]
fn hostile_records() {
    let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)).into_bytes();
    let user = |json: &str| format!("{{\"user_id\":{json}}}").into_bytes();
    let bytes = |number: &str| format!("{{\"bytes_transferred\":{number}}}").into_bytes();
    let source = |text: &str| format!("{{\"source_ip\":\"{text}\"}}").into_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"not json".to_vec(), "malformed"),
        (b"".to_vec(), "empty"),
        (b" \n".to_vec(), "empty"),
        (b"{\"user_id\":\"al".to_vec(), "truncated"),
        (b"[1,2]".to_vec(), "not_an_event"),
        (vec![b'x'; 10 * 1024 * 1024], "too_large"),
        (vec![b'['; 200_000], "too_deep"),
        (r#"{"a":"#.repeat(129).into_bytes(), "too_deep"),
        (deep(32), "0.0.0.0  0"),
        (deep(33), "too_deep"),
        (br#"{"source_ip":"10.0.0.1","source_ip":"6.6.6.6"}"#.to_vec(), "duplicate_key"),
        (br#"{"\u0073ource_ip":"a","source_ip":"b"}"#.to_vec(), "duplicate_key"),
        (bytes("1e400"), "0.0.0.0  18446744073709551615 bytes_clamped"),
        (bytes("-0"), "0.0.0.0  0"),
        (bytes("-5"), "0.0.0.0  0 bytes_clamped"),
        (bytes("9007199254740993"), "0.0.0.0  9007199254740993"),
        (bytes("18446744073709551616"), "0.0.0.0  18446744073709551615 bytes_clamped"),
        (bytes(&"9".repeat(100_000)), "malformed"),
        (bytes("NaN"), "malformed"),
        (bytes("\"lots\""), "0.0.0.0  0 bytes_invalid"),
        (bytes("{}"), "0.0.0.0  0 bytes_invalid"),
        (user("\"user\u{202e}gpj.exe\""), "0.0.0.0 user\u{202e}gpj.exe 0 suspicious_unicode"),
        (user("\"admin\\u0000\""), "0.0.0.0 admin 0 control_characters_removed"),
        (user("\"admin\0\""), "malformed"),
        (user("\"\u{430}dmin\""), "0.0.0.0 \u{430}dmin 0 suspicious_unicode"),
        (user("\"x\u{e0041}\""), "0.0.0.0 x\u{e0041} 0 suspicious_unicode"),
        (user("\"\\ud800\""), "malformed"),
        (b"{\"user_id\":\"\xC0\xAF\"}".to_vec(), "invalid_utf8"),
        (b"{\"user_id\":\"\xED\xA0\x80\"}".to_vec(), "invalid_utf8"),
        (user(r#""bob\r\n<134>1 2026-01-01T00:00:00Z fw""#), "0.0.0.0 bob<134>1 2026-01-01T00:00:00Z fw 0 control_characters_removed"),
        (user(r#""\u001b]0;pwn\u0007""#), "0.0.0.0 ]0;pwn 0 control_characters_removed"),
        (user(r#""\u009b31m""#), "0.0.0.0 31m 0 control_characters_removed"),
        (user(r#""../../etc/cron.d/x""#), "0.0.0.0 ../../etc/cron.d/x 0"),
        (user("7"), "0.0.0.0 7 0 wrong_type"),
        (source("::ffff:10.0.0.1"), "10.0.0.1  0"),
        (source("fe80::1%eth0"), "fe80::1  0 zone_removed"),
        (source("[::1]:443"), "::1  0 wrong_type"),
        (source("010.8.8.8"), "0.0.0.0  0 source_ip_invalid"),
        (source("0x7f.1"), "0.0.0.0  0 source_ip_invalid"),
        (source("2130706433"), "0.0.0.0  0 source_ip_invalid"),
        (source("2001:DB8:0:0::1"), "2001:db8::1  0"),
    ];
    for (payload, expected) in cases {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(120)]).into_owned();
        assert_eq!(outcome(&payload), expected, "{shown}");
    }
    let marks = format!("\"a{}\"", "\u{301}".repeat(10_000));
    assert!(outcome(&user(&marks)).ends_with("truncated suspicious_unicode"));
    let identifier = format!("\"{}\"", "x".repeat(64 * 1024));
    assert_eq!(outcome(&user(&identifier)), format!("0.0.0.0 {} 0 truncated", "x".repeat(100)));
}

#[test]
fn hostile_times() {
    let (codec, arena) = (by_name("threatguard", None).unwrap(), Bump::new());
    let time = |json: &str| {
        let payload = arena.alloc_str(&format!("{{\"timestamp\":{json}}}"));
        let mut out = Decoded::default();
        decode_batch(codec.as_ref(), &Sanitizer::default(), &[record(0, payload.as_bytes())], &arena, &mut out);
        out.events[0].time.to_string()
    };
    let of_the_record = "2026-01-01T00:00:00.000000Z";
    for json in [
        "\"9999-12-31T23:59:59Z\"",
        "\"0001-01-01T00:00:00Z\"",
        "-1",
        "\"-1\"",
        "253402300800",
        "\"2262-04-12T00:00:00Z\"",
        "9223372036854775807",
        "\"2026-02-30\"",
        "\"2026-01-01T00:00:00+24:00\"",
        "null",
        "true",
        "[]",
        "\"\"",
    ] {
        assert_eq!(time(json), of_the_record, "{json}");
    }
    assert_eq!(time("\"2016-12-31T23:59:60Z\""), "2016-12-31T23:59:59.999999Z");
    assert_eq!(time("\"2025-12-31T23:59:59\""), "2025-12-31T23:59:59.000000Z", "no zone is UTC");
    assert_eq!(time("\"2030-01-01T00:00:00Z\""), "2026-01-02T00:00:00.000000Z", "a day ahead of its record at most");
}

/// Panics on what it is told to.
struct Fragile;

impl Codec for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }
    fn decode<'b>(&self, payload: &'b [u8], _: &'b Bump, _: &mut RawEvent<'b>) -> Result<(), DecodeError> {
        assert_ne!(payload, b"boom", "told to");
        Ok(())
    }
}

#[test]
fn a_panic_costs_its_own_record_only() {
    let (arena, mut out) = (Bump::new(), Decoded::default());
    let records = [record(0, b"a"), record(1, b"boom"), record(2, b"c")];
    decode_batch(&Fragile, &Sanitizer::default(), &records, &arena, &mut out);
    let events: Vec<u64> = out.events.iter().map(|event| event.at.offset.0).collect();
    let rejects: Vec<(u64, RejectReason)> = out.rejects.iter().map(|reject| (reject.at.offset.0, reject.reason)).collect();
    assert_eq!((events, rejects), (vec![0, 2], vec![(1, RejectReason::Panicked)]));
}

#[test]
fn the_batch_size_changes_nothing() {
    let payloads: Vec<Vec<u8>> = (0..40_u64)
        .map(|number| match number % 4 {
            0 => b"broken".to_vec(),
            1 => format!("{{\"timestamp\":{},\"user_id\":\"u{number}\"}}", 1_700_000_000 + number).into_bytes(),
            2 => b"{\"source_ip\":\"10.0.0.1\"}".to_vec(),
            _ => b"{}".to_vec(),
        })
        .collect();
    let records: Vec<Record<'_>> = payloads.iter().zip(0..).map(|(payload, number)| record(number, payload)).collect();
    let (codec, arena) = (by_name("threatguard", None).unwrap(), Bump::new());
    let in_batches = |size: usize| {
        let mut out = Decoded::default();
        records.chunks(size).for_each(|batch| decode_batch(codec.as_ref(), &Sanitizer::default(), batch, &arena, &mut out));
        format!("{out:?}")
    };
    assert_eq!(in_batches(1), in_batches(40));
    assert_eq!(in_batches(7), in_batches(40));
}
