//! The parser against serde_json: the same documents accepted, the same values, apart from the limits that are ours.

use bumpalo::Bump;
use proptest::prelude::*;
use serde_json::Value;

use super::{Elements, Fault, Members};
use crate::core::event::{Field, RejectReason};
use crate::limits::{JSON_DEPTH_MAX, JSON_NUMBER_BYTES_MAX};

/// All members as serde_json values, in order.
fn parse(payload: &[u8], arena: &Bump) -> Result<Vec<(String, Value)>, Fault> {
    // The record has to outlive the arena's borrows.
    let payload = arena.alloc_slice_copy(payload);
    let mut members = Members::document(payload, arena)?;
    let mut all = Vec::new();
    while let Some(member) = members.next(arena)? {
        let value = value_of(member.value, arena);
        assert_eq!(value, serde_json::from_str::<Value>(member.raw).unwrap_or(value.clone()), "raw text and value agree");
        all.push((member.name.to_owned(), value));
    }
    Ok(all)
}

fn value_of<'b>(field: Field<'b>, arena: &'b Bump) -> Value {
    match field {
        Field::Missing => Value::Null,
        Field::Text(text) => Value::String(text.to_owned()),
        // Numbers beyond a double are ours to decide, so they stay text here.
        Field::Number(digits) => serde_json::from_str(digits).unwrap_or_else(|_| Value::String(digits.to_owned())),
        Field::Bool(value) => Value::Bool(value),
        Field::Nested(text) => nested(text, arena),
        Field::Unsigned(_) | Field::Real(_) => unreachable!("the parser does not compute values"),
    }
}

fn nested<'b>(text: &'b str, arena: &'b Bump) -> Value {
    if let Some(mut elements) = Elements::nested(text) {
        let mut all = Vec::new();
        while let Some(field) = elements.next_value(arena) {
            all.push(value_of(field, arena));
        }
        return Value::Array(all);
    }
    let mut members = Members::nested(text).expect("not an array, so an object");
    let mut all = serde_json::Map::new();
    while let Some(member) = members.next(arena).expect("checked when it was stepped over") {
        all.insert(member.name.to_owned(), value_of(member.value, arena));
    }
    Value::Object(all)
}

/// Ours and serde_json's verdict on the same bytes.
fn compare(payload: &[u8]) {
    let arena = Bump::new();
    let ours = parse(payload, &arena);
    let theirs = serde_json::from_slice::<Value>(payload);
    match (ours, theirs) {
        (Ok(ours), Ok(Value::Object(theirs))) => {
            for (name, value) in &theirs {
                // The last of duplicate names wins in serde_json.
                let own = ours.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value);
                assert_eq!(own, Some(value), "{:?}", String::from_utf8_lossy(payload));
            }
            assert!(ours.iter().all(|(name, _)| theirs.contains_key(name)));
        }
        (Ok(_), Ok(other)) => panic!("took {other} for an object"),
        (Err(fault), Ok(value)) => {
            let ours_alone = fault.reason == RejectReason::TooDeep || fault.what == "a number is too long";
            let no_object = fault.reason == RejectReason::NotAnEvent && !value.is_object();
            assert!(ours_alone || no_object, "refused {:?}: {fault:?}", String::from_utf8_lossy(payload));
        }
        (Ok(_), Err(error)) => {
            // We keep digits and decide their value later; serde_json refuses what no double holds.
            assert!(error.to_string().contains("number out of range"), "accepted {:?}: {error}", String::from_utf8_lossy(payload));
        }
        (Err(_), Err(_)) => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[ -~]{0,20}", any::<String>(), Just("\u{1F600}\"\\/\u{8}\n\u{0}".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((any::<String>(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = String> {
    (prop::collection::vec(("[a-z_.]{1,9}|\\PC{0,5}", any_json()), 0..8), any::<bool>()).prop_map(|(members, pretty)| {
        let object = Value::Object(members.into_iter().collect());
        if pretty { format!(" {object:#}\n") } else { object.to_string() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_documents_have_the_values_of_serde_json(text in any_object()) {
        compare(text.as_bytes());
        prop_assert!(parse(text.as_bytes(), &Bump::new()).is_ok());
    }

    #[test]
    fn mutated_documents_are_judged_as_by_serde_json(
        text in any_object(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(b"{}[]:,\"\\ue-+.019tfn \x00\x1f".to_vec())], 0..3_u8), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => { bytes.remove(at); }
                _ => {}
            }
        }
        compare(&bytes);
    }

    #[test]
    fn every_cut_of_a_document_is_truncated(text in any_object(), at in any::<prop::sample::Index>()) {
        let text = text.trim();
        let at = at.index(text.len());
        if let Some(cut) = text.get(..at) {
            let fault = parse(cut.as_bytes(), &Bump::new()).unwrap_err();
            let expected = if cut.is_empty() { RejectReason::Empty } else { RejectReason::Truncated };
            prop_assert_eq!(fault.reason, expected, "{:?}", cut);
        }
    }

    #[test]
    fn arbitrary_bytes_are_judged_as_by_serde_json(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        compare(&bytes);
    }
}

#[test]
fn faults_have_their_reasons() {
    let check = |payload: &[u8], expected: RejectReason| {
        assert_eq!(parse(payload, &Bump::new()).unwrap_err().reason, expected, "{:?}", String::from_utf8_lossy(payload));
        compare(payload);
    };
    use RejectReason::{Empty, InvalidUtf8, Malformed, NotAnEvent, TooDeep, Truncated};
    let levels = |depth: usize| format!("{}{}", r#"{"a":"#.repeat(depth), "1") + &"}".repeat(depth);
    check(b"", Empty);
    check(b" \t\r\n", Empty);
    check(b"\xC0\xAF", InvalidUtf8);
    check(b"{\"a\":\"\xED\xA0\x80\"}", InvalidUtf8);
    for text in ["[]", "1", "\"x\"", "null", "[1,{\"a\":[]}]", "true", "-0.5e+7"] {
        check(text.as_bytes(), NotAnEvent);
    }
    for text in [
        "{",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":tru",
        "{\"a\":\"\\",
        "{\"a\":\"\\u00",
        "{\"a\":\"\\ud800",
        "{\"a\":[{\"b\":2}",
        "{\"a\":1e",
        "{\"a\":-",
    ] {
        check(text.as_bytes(), Truncated);
    }
    for text in [
        "{}x",
        "{}{}",
        "{,}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\u{0}\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\u00g0\"}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":{\"b\"}}",
        "{\"a\":[}]",
        "nul!",
        "\u{feff}{}",
        "{\"a\":\u{a0}1}",
        "//",
        "{\"a\":0x10}",
    ] {
        check(text.as_bytes(), Malformed);
    }
    check(levels(JSON_DEPTH_MAX + 1).as_bytes(), TooDeep);
    check("[".repeat(200_000).as_bytes(), TooDeep);
    check(r#"{"a":"#.repeat(129).as_bytes(), TooDeep);
    assert!(parse(levels(JSON_DEPTH_MAX).as_bytes(), &Bump::new()).is_ok());
}

#[test]
fn numbers_are_kept_as_digits_up_to_their_limit() {
    let arena = Bump::new();
    let number = |digits: &str| {
        let text = arena.alloc_str(&format!("{{\"n\":{digits}}}"));
        let member = Members::document(text.as_bytes(), &arena).and_then(|mut members| members.next(&arena));
        member.map(|member| member.expect("one member").value)
    };
    for digits in ["0", "-0", "1e400", "9007199254740993", "18446744073709551616", "-1.5E-3", &"9".repeat(JSON_NUMBER_BYTES_MAX)] {
        assert_eq!(number(digits), Ok(Field::Number(digits)));
    }
    assert_eq!(number(&"9".repeat(JSON_NUMBER_BYTES_MAX + 1)).unwrap_err().reason, RejectReason::Malformed);
    assert_eq!(number(&"9".repeat(100_000)).unwrap_err().reason, RejectReason::Malformed);
}

#[test]
fn escapes_are_resolved_in_names_and_values() {
    let arena = Bump::new();
    let text = r#"{"\u0073rc":"\ud83d\ude00\n\"\/\\\b\f\r\t\u00e9","plain":"x"}"#;
    let mut members = Members::document(text.as_bytes(), &arena).unwrap();
    let member = members.next(&arena).unwrap().unwrap();
    assert_eq!((member.name, member.value), ("src", Field::Text("\u{1F600}\n\"/\\\u{8}\u{c}\r\t\u{e9}")));
    let Field::Text(plain) = members.next(&arena).unwrap().unwrap().value else { panic!("text") };
    assert!(text.as_bytes().as_ptr_range().contains(&plain.as_ptr()), "text without escapes is borrowed");
    assert_eq!(members.next(&arena).unwrap(), None);
    assert_eq!(members.next(&arena).unwrap(), None, "the end stays the end");
}
