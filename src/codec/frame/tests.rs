//! Lines in, records out: what passes through, what is rewritten, what is split, and that the cut of the input never matters.

use bumpalo::Bump;
use proptest::prelude::*;

use super::*;
use crate::codec::auto::by_name;
use crate::core::decode::{Decoded, decode_batch};
use crate::core::event::{Record, RejectReason};
use crate::core::sanitize::Sanitizer;
use crate::core::types::{EventTime, Position};

fn frame_in_chunks(input: &[u8], chunk_bytes: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut framer = Framer::new();
    let mut take = |framed: Framed<'_>| out.push(String::from_utf8_lossy(framed.payload).into_owned());
    for chunk in input.chunks(chunk_bytes) {
        framer.feed(chunk, &mut take);
    }
    framer.finish(&mut take);
    out
}

fn check(input: &str, expected: &[&str]) {
    for chunk_bytes in [1, 2, 7, input.len().max(1)] {
        assert_eq!(frame_in_chunks(input.as_bytes(), chunk_bytes), expected, "in chunks of {chunk_bytes}");
    }
    let mut lines = Vec::new();
    let mut framer = Framer::new();
    let mut take = |framed: Framed<'_>| lines.push(String::from_utf8_lossy(framed.payload).into_owned());
    for line in input.split('\n') {
        framer.line(line.as_bytes(), line.len() as u64, &mut take);
    }
    framer.finish(&mut take);
    assert_eq!(lines, expected, "line by line");
}

#[test]
fn lines_pass_through_and_blank_ones_are_no_records() {
    check("", &[]);
    check("\n\n \t\r\n", &[]);
    check("{\"a\":1}\n\n{\"b\":2}\r\n<34>x\n", &["{\"a\":1}", "{\"b\":2}", "<34>x"]);
    check("\u{feff}{\"a\":1}\nlast", &["{\"a\":1}", "last"]);
    check("# a comment of nobody\n#fields\n", &["# a comment of nobody"]);
}

const CONN: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#open\t2022\n\
    #fields\tts\tid.orig_h\tid.resp_p\tservice\tlocal_orig\ttunnel_parents\n#types\ttime\taddr\tport\tstring\tbool\tset[string]\n";

#[test]
fn zeek_rows_become_json_under_their_header() {
    let rows = "1.5\t10.0.0.1\t80\t-\tT\t(empty)\n-\t::1\t-\ta\\x09\"b\\\\\tF\ta,b\n#close\t2022\n";
    check(
        &format!("{CONN}{rows}"),
        &[
            r#"{"_path":"conn","ts":1.5,"id.orig_h":"10.0.0.1","id.resp_p":80,"local_orig":true,"tunnel_parents":[]}"#,
            r#"{"_path":"conn","id.orig_h":"::1","service":"a\t\"b\\\\","local_orig":false,"tunnel_parents":["a","b"]}"#,
        ],
    );
    // A row that is not of its header, or has none, stays as it is.
    check(&format!("1.5\t10.0.0.1\n{CONN}1.5\t10.0.0.1\n"), &["1.5\t10.0.0.1", "1.5\t10.0.0.1"]);
    // A header in the middle of the stream takes over.
    let second = "#path\tdns\n#fields\tts\tqueries\n#types\ttime\tvector[count]\n2\t1,2,x\n03\t-\n";
    check(&format!("{CONN}{second}"), &[r#"{"_path":"dns","ts":2,"queries":[1,2,"x"]}"#, r#"{"_path":"dns","ts":"03"}"#]);
    // Without types everything is text.
    check("#separator ,\n#fields,a,b\n1,(empty)\n", &[r#"{"_path":"","a":"1","b":""}"#]);
}

#[test]
fn labels_in_the_last_column_are_taken_apart() {
    let log = "#separator \\x09\n#path\tconn\n#fields\tts\ttunnel_parents   label   detailed-label\n#types\ttime\tset[string]   string   string\n\
        1\t(empty)   Malicious   C&C\n2\t-   benign   -\n3\t-\n";
    check(
        log,
        &[
            r#"{"_path":"conn","ts":1,"tunnel_parents":[],"label":"Malicious","detailed-label":"C&C"}"#,
            r#"{"_path":"conn","ts":2,"label":"benign"}"#,
            "3\t-",
        ],
    );
}

#[test]
fn documents_are_split_into_their_elements() {
    check("[\n  {\n    \"a\": \"]}\\\"[\"\n  },\n  {\"b\": [1, {}]}\n]\n", &["{     \"a\": \"]}\\\"[\"   }", "{\"b\": [1, {}]}"]);
    check("[{\"a\":1},{\"b\":2}]", &["{\"a\":1}", "{\"b\":2}"]);
    check("{\n\"a\": 1\n}\n{\n\"b\": 2\n}\n", &["{\"a\": 1 }", "{\"b\": 2 }"]);
    check("{\n\"Re cords\":[{\"a\":1}]\n}\n", &["{\"Re cords\":[{\"a\":1}] }"]);
    check("{ \"Records\" : [ {\"a\":1}, {\"b\":2} ] }\n{\"c\":3}\n", &["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
    check("{\n  \"Records\": [\n    {\"a\":1}\n  ]\n}\n", &["{\"a\":1}"]);
    check("{\"Records\":[{\"a\":1}]\n\n{\"c\":3}\n", &["{\"a\":1}", "{\"c\":3}"]);
    check("{\"c\":3}\n{\"Records\":[{\"a\":1},{\"b\":2}]}\n{\"d\":4}\n", &["{\"c\":3}", "{\"a\":1}", "{\"b\":2}", "{\"d\":4}"]);
    // Nothing is lost where it is broken: every part becomes a record, good or not.
    check("[{\"a\":1}, 7, \"x\", {\"b\":2}] junk\n{\"c\":3}\n", &["{\"a\":1}", "7", "\"x\"", "{\"b\":2}", "junk", "{\"c\":3}"]);
    check("[\n{\"a\":1},\n{\"b\":", &["{\"a\":1}", "{\"b\":"]);
    check("{\"c\":3}\n{\"Records\":[{\"a\":1},{\n{\"d\":4}\n", &["{\"c\":3}", "{\"Records\":[{\"a\":1},{", "{\"d\":4}"]);
    // An array of anything but objects is a line like any other: Apache's error log begins so.
    check("[Sun Dec 04 04:47:44 2005] [notice] x\n[1,2]\n", &["[Sun Dec 04 04:47:44 2005] [notice] x", "[1,2]"]);
}

#[test]
fn oversized_records_are_bounded_and_refused() {
    let line = "x".repeat(10 * 1024 * 1024);
    let input = format!("{{\"a\":1}}\n{line}\n{{\"b\":2}}\n");
    for chunk_bytes in [65_536, input.len()] {
        let mut seen = Vec::new();
        let mut framer = Framer::new();
        let mut take = |framed: Framed<'_>| seen.push((framed.payload.len(), framed.full_bytes));
        input.as_bytes().chunks(chunk_bytes).for_each(|chunk| framer.feed(chunk, &mut take));
        framer.finish(&mut take);
        assert_eq!(seen, [(7, 7), (OVERSIZE_KEPT_BYTES, line.len() as u64), (7, 7)]);
        assert!(framer.pending.capacity() <= 2 * OVERSIZE_KEPT_BYTES, "memory is bounded by a record");
    }
    let (arena, kept) = (Bump::new(), &line.as_bytes()[..OVERSIZE_KEPT_BYTES]);
    let record = Record { at: Position::default(), payload: kept, time: None };
    let mut decoded = Decoded::default();
    decode_batch(by_name("syslog", None).unwrap().as_ref(), &Sanitizer::default(), &[record], &arena, &mut decoded);
    assert_eq!(decoded.rejects[0].reason, RejectReason::TooLarge);
    // A line cut by the caller says so by its true length.
    let mut seen = Vec::new();
    Framer::new().line(kept, line.len() as u64, &mut |framed| seen.push((framed.payload.len(), framed.full_bytes)));
    assert_eq!(seen, [(OVERSIZE_KEPT_BYTES, line.len() as u64)]);
}

#[test]
fn a_document_on_one_huge_line_is_split_all_the_same() {
    let element = format!("{{\"a\":\"{}\"}}", "y".repeat(50_000));
    let huge = format!("{{\"z\":\"{}\"}}", "z".repeat(RECORD_BYTES_MAX));
    let input = format!("{{\"Records\":[{},{huge},{{\"b\":2}}]}}\n{{\"c\":3}}\n", vec![element.as_str(); 20].join(","));
    for chunk_bytes in [4_096, 100_000] {
        let mut seen = Vec::new();
        let mut framer = Framer::new();
        let mut take = |framed: Framed<'_>| seen.push((framed.payload.len(), framed.full_bytes));
        input.as_bytes().chunks(chunk_bytes).for_each(|chunk| framer.feed(chunk, &mut take));
        framer.finish(&mut take);
        let mut expected = vec![(element.len(), element.len() as u64); 20];
        expected.extend([(OVERSIZE_KEPT_BYTES, huge.len() as u64), (7, 7), (7, 7)]);
        assert_eq!(seen, expected);
    }
}

/// Record times of these lines, of which `_` has no date and all others are `MM-DD`.
fn stamped(lines: &[&str]) -> Vec<String> {
    let codec = by_name("threatguard", None).unwrap();
    let (mut stamper, sanitizer, mut arena) = (Stamper::default(), Sanitizer::default(), Bump::new());
    let mut seen = Vec::new();
    let mut take = |framed: Framed<'_>, time: Option<EventTime>| {
        let day = time.map_or("none".to_owned(), |time| time.to_string()[..10].replace("2026-", ""));
        seen.push((framed.payload.to_vec(), day));
    };
    let payload = |line: &str| match line {
        "_" => "{}".to_owned(),
        day if day.len() == 5 => format!(r#"{{"timestamp":"2026-{day}T03:04:05.678901Z"}}"#),
        whole => format!(r#"{{"timestamp":"{whole}"}}"#),
    };
    for line in lines {
        let payload = payload(line);
        arena.reset();
        let framed = Framed { payload: payload.as_bytes(), full_bytes: payload.len() as u64 };
        stamper.push(codec.as_ref(), &sanitizer, framed, &arena, &mut take);
    }
    stamper.finish(&mut take);
    let given: Vec<Vec<u8>> = lines.iter().map(|line| payload(line).into_bytes()).collect();
    assert_eq!(seen.iter().map(|(payload, _)| payload.clone()).collect::<Vec<_>>(), given, "each once, in order");
    seen.into_iter().map(|(_, day)| day).collect()
}

#[test]
fn record_times_are_carried_on() {
    assert_eq!(stamped(&["_", "01-02", "_", "9999-12-31T23:59:59Z", "01-01"]), ["none", "01-02", "01-02", "01-02", "01-01"]);
    assert_eq!(stamped(&["01-02"]), ["01-02"]);
    let codec = by_name("threatguard", None).unwrap();
    let (mut stamper, mut times) = (Stamper::default(), vec![]);
    let line: &[u8] = br#"{"timestamp":"2026-01-02T03:04:05.678901Z"}"#;
    let mut take = |_: Framed<'_>, time: Option<EventTime>| times.extend(time.map(|time| time.to_string()));
    stamper.push(codec.as_ref(), &Sanitizer::default(), Framed { payload: line, full_bytes: 0 }, &Bump::new(), &mut take);
    stamper.begin(&mut take);
    assert_eq!(times, ["2026-01-02T03:04:05.678000Z"], "whole milliseconds, as the broker keeps them; a live input begins at once");
}

#[test]
fn one_line_far_ahead_moves_no_time() {
    let far = "2099-12-31T23:59:59Z";
    assert_eq!(stamped(&["01-02", "01-02", far, "_", "01-02", "01-03"]), ["01-02", "01-02", "01-02", "01-02", "01-02", "01-03"]);
    assert_eq!(stamped(&["01-02", far, far, far, "01-02"]), ["01-02"; 5], "nor three");
    assert_eq!(stamped(&[far, "01-02", "01-02"]), ["01-02"; 3], "nor the first");
    assert_eq!(stamped(&["01-02", "01-02", far]), ["01-02"; 3], "nor the last");
    let mut many = vec!["01-02"; 2];
    many.push(far);
    many.extend(["_"; 200]);
    assert_eq!(stamped(&many), ["01-02"; 203], "lines without a date are not held for ever, and prove nothing");
}

#[test]
fn a_gap_in_the_log_is_believed_when_the_lines_behind_it_agree() {
    assert_eq!(stamped(&["01-02", "03-01", "03-01", "_", "03-02", "03-01"]), ["01-02", "03-01", "03-01", "03-01", "03-02", "03-01"]);
    assert_eq!(stamped(&["01-02", "01-09", "01-16", "01-23", "01-30"])[..4], ["01-02", "01-09", "01-16", "01-23"], "a line a week");
    assert_eq!(stamped(&["01-02", "2099-12-31T00:00:00Z", "03-01", "03-01", "03-02", "03-01"])[1..3], ["01-02", "03-01"]);
    assert_eq!(stamped(&["01-02", "03-01", "03-01"]), ["01-02", "03-01", "03-01"], "at the end one line has to do");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cut_of_the_input_never_matters(
        input in "(\\[|\\{|\\}|\\]|,|\"|\\\\|\n|\t|a|#fields|#separator |#types|\\{\"Records\":\\[|\\{\"a\":1\\}| |\\r){0,60}",
        chunk_bytes in 1_usize..20,
    ) {
        let whole = frame_in_chunks(input.as_bytes(), input.len().max(1));
        prop_assert_eq!(frame_in_chunks(input.as_bytes(), chunk_bytes), whole.clone());
        prop_assert!(whole.iter().all(|record| !record.trim().is_empty()));
    }
}
