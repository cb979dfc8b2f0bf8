//! The writer of verdicts against serde, and what it keeps between records.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{at, line, parts};
use super::*;
use crate::core::event::Repairs;
use crate::core::types::EntityKind;

proptest! {
    #[test]
    fn the_fast_verdict_is_the_serde_verdict(offset: u64, micros in -1_000_000i64..253_402_300_799_999_999, names in prop::collection::vec("[a-z0-9.]{0,20}|.{0,200}", 3), score in -1e3f64..1e3, exponent in -310i32..2, mantissa in 1.0f64..10.0, flags: u32, detector in prop::num::f64::ANY) {
        let p_value = mantissa * 10f64.powi(exponent);
        let heard = [(0, detector, detector), ((flags >> 3) as usize % 7, score, p_value), ((flags >> 6) as usize % 7, score.abs(), 1.0)];
        let mut writer = VerdictWriter::default();
        for (index, name) in names.iter().enumerate() {
            let record = VerdictRecord {
                position: at(flags % 3 * index as u32, offset >> (flags % 64)), entity_kind: [EntityKind::Host, EntityKind::Ip, EntityKind::User, EntityKind::Unknown][flags as usize % 4],
                entity_name: name, timestamp: EventTime(micros + 400_000 * index as i64), score, p_value, threat: flags & 1 != 0,
                learning: flags & 2 != 0, models: (flags & 8 != 0).then_some(*b"0123456789abcdef"), repairs: Repairs(if flags & 4 == 0 { 0 } else { flags & 0x3_ffff }), detectors: parts(heard.into_iter().take(index + 1)),
            };
            let fast: Value = serde_json::from_str(&written(&mut writer.clone(), &record)).unwrap();
            let mut slow = Vec::new();
            write_record(&mut slow, &record);
            let slow: Value = serde_json::from_slice(&slow).unwrap();
            // serde writes 0 as 0.0; the value is the same.
            prop_assert_eq!(as_floats(fast), as_floats(slow));
            // What the writer keeps from one record to the next does not show.
            let mut again = Vec::new();
            writer.write(&record, &mut again);
            prop_assert_eq!(again, line(&record));
        }
    }
}

fn written(writer: &mut VerdictWriter, record: &VerdictRecord<'_>) -> String {
    let mut out = Vec::new();
    writer.write(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_u64().is_none_or(|whole| whole < 1 << 53) => json!(number.as_f64()),
        Value::Array(all) => Value::Array(all.into_iter().map(as_floats).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, as_floats(value))).collect()),
        other => other,
    }
}
