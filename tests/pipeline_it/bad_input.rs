//! Scenario: what goes wrong with files: hostile lines among good ones, files that are empty, absent, broken or packed, wrong names
//! in arguments and pipeline files, a full disk.
//! Guarantees: a clear error with the right exit code, or a counted dead letter with its reason; every good line is scored.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;

use crate::process::{finish, json, run, threatguard};
use crate::schemas::check_dead_letters;
use crate::workbench::{Workbench, shipped};

/// The rest of an event behind its source address.
const REST: &str =
    r#""event_type":"flow","dest_ip":"10.0.0.9","protocol":"tcp","port":443,"bytes_transferred":100,"timestamp":"2026-03-03T09:00:00Z"}"#;
const BARE: &str = r#""event_type":"flow","timestamp":"2026-03-03T09:00:00Z"}"#;

/// What has to come of a line.
enum Expected {
    Dead(&'static str),
    /// Its entity, and repairs that are listed among others.
    Scored(&'static str, &'static [&'static str]),
}
use Expected::{Dead, Scored};

fn event(beginning: &str) -> Vec<u8> {
    format!("{{{beginning},{REST}").into_bytes()
}
fn bare(beginning: &str) -> Vec<u8> {
    format!("{{{beginning},{BARE}").into_bytes()
}
fn timed(source: &str, time: &str) -> Vec<u8> {
    format!(r#"{{"source_ip":"{source}","event_type":"flow","timestamp":"{time}"}}"#).into_bytes()
}

#[rustfmt::skip] // a table
fn hostile() -> Vec<(Vec<u8>, Expected)> {
    let nested = format!(r#""a":{}1{}"#, r#"{"a":"#.repeat(129), "}".repeat(129));
    let many: Vec<String> = (0..600).map(|n| format!(r#""k{n}":1"#)).collect();
    vec![
        (b"not json".to_vec(), Dead("malformed")),
        (format!(r#"{{"source_ip":"10.1.1.2",{}"#, REST.trim_end_matches('}')).into_bytes(), Dead("truncated")),
        (event(&format!(r#""source_ip":"10.1.1.3","note":"{}""#, "a".repeat(10_000_000))), Dead("too_large")),
        (format!(r#"{{"source_ip":"10.1.1.3","note":{}"#, "[".repeat(200_000)).into_bytes(), Dead("too_deep")),
        (event(&nested), Dead("too_deep")),
        (event(r#""source_ip":"10.1.1.4","source_ip":"6.6.6.6""#), Dead("duplicate_key")),
        (event(r#""\u0073ource_ip":"10.1.1.4","source_ip":"6.6.6.6""#), Dead("duplicate_key")),
        (br#"{"source_ip":5,"port":"many","bytes_transferred":{},"event_type":["x"],"timestamp":true,"user_id":7}"#.to_vec(),
            Scored("unknown:unknown", &["timestamp_invalid", "source_ip_invalid", "port_invalid", "bytes_invalid", "wrong_type"])),
        (event(r#""source_ip":"10.1.1.5","user_id":"ad\u0000min\u001b[2J""#), Scored("ip:10.1.1.5", &["control_characters_removed"])),
        (event("\"source_ip\":\"10.1.1.5\",\"user_id\":\"ad\0min\""), Dead("malformed")),
        ([br#"{"source_ip":"10.1.1.6","user_id":""#.as_slice(), &[0xc0, 0xaf], b"\",", REST.as_bytes()].concat(), Dead("invalid_utf8")),
        (event(r#""source_ip":"10.1.1.6","user_id":"\ud800""#), Dead("malformed")),
        (bare(r#""source_ip":"10.1.1.7","bytes_transferred":1e400"#), Scored("ip:10.1.1.7", &["bytes_clamped"])),
        (bare(&format!(r#""source_ip":"10.1.1.7","bytes_transferred":{}"#, "9".repeat(100_000))), Dead("malformed")),
        (bare(r#""source_ip":"10.1.1.7","bytes_transferred":NaN"#), Dead("malformed")),
        (bare(r#""source_ip":"10.1.1.7","port":-1,"bytes_transferred":-5"#), Scored("ip:10.1.1.7", &["port_clamped", "bytes_clamped"])),
        (timed("10.1.1.8", "9999-12-31T23:59:59Z"), Scored("ip:10.1.1.8", &["timestamp_invalid"])),
        (timed("10.1.1.8", "0001-01-01T00:00:00Z"), Scored("ip:10.1.1.8", &["timestamp_invalid"])),
        (timed("10.1.1.8", "2026-02-30T00:00:00Z"), Scored("ip:10.1.1.8", &["timestamp_invalid"])),
        (event(r#""source_ip":"::ffff:10.0.0.1""#), Scored("ip:10.0.0.1", &[])),
        (event(r#""source_ip":"fe80::1%eth0""#), Scored("ip:fe80::1", &["zone_removed"])),
        (event(r#""source_ip":"010.8.8.8""#), Scored("unknown:unknown", &["source_ip_invalid"])),
        (event(r#""source_ip":"0x7f.1""#), Scored("unknown:unknown", &["source_ip_invalid"])),
        (event(r#""source_ip":"2130706433""#), Scored("unknown:unknown", &["source_ip_invalid"])),
        (event(r#""source_ip":"../../etc/cron.d/x""#), Scored("unknown:unknown", &["source_ip_invalid"])),
        (event(&format!(r#""source_ip":"10.1.1.9","user_id":"{}""#, "u".repeat(5_000))), Scored("ip:10.1.1.9", &["truncated"])),
        (event(&many.join(",")), Scored("unknown:unknown", &["field_limit"])),
        (b"[]".to_vec(), Dead("not_an_event")),
        (b"null".to_vec(), Dead("not_an_event")),
        (br#"{"a":1}trailing"#.to_vec(), Dead("malformed")),
        (b"\0\0\0".to_vec(), Dead("malformed")),
    ]
}

fn good(number: usize) -> Vec<u8> {
    event(&format!(r#""source_ip":"10.9.{}.{}""#, number / 250, number % 250))
}

fn by_offset(lines: &[String], path: &[&str]) -> BTreeMap<u64, Value> {
    let offset = |record: &Value| path.iter().fold(record, |value, key| &value[key]).as_u64().unwrap();
    lines.iter().map(|line| json(line)).map(|record| (offset(&record), record)).collect()
}

#[test]
fn hostile_lines_are_repaired_or_counted_and_take_no_good_line_along() {
    let bench = Workbench::new();
    let hostile = hostile();
    let mut lines: Vec<Vec<u8>> = vec![];
    for (number, (line, _)) in hostile.iter().enumerate() {
        lines.extend([good(number), line.clone()]);
    }
    lines.push(good(hostile.len()));
    let input = bench.write("hostile.jsonl", lines.join(b"\n".as_slice()));
    let (done, found) = bench.embedded("out", &shipped("network"), &input, &["--codec", "threatguard"]);
    done.ok();
    check_dead_letters(&found.dead_letters);
    let verdicts = by_offset(&found.verdicts, &["position", "offset"]);
    let dead = by_offset(&found.dead_letters, &["offset"]);
    assert_eq!(found.count("received"), 2 * hostile.len() as u64 + 1);
    for (number, (line, expected)) in hostile.iter().enumerate() {
        let offset = 2 * number as u64 + 1;
        let shown = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
        assert_eq!(verdicts[&(offset - 1)].get("repairs"), None, "the good line before {shown}");
        match expected {
            Dead(reason) => {
                assert_eq!(dead[&offset]["reason"], *reason, "{shown}: {}", dead[&offset]["detail"]);
                assert_eq!(dead[&offset]["rawBytes"], line.len(), "{shown}");
            }
            Scored(entity, repairs) => {
                assert_eq!(verdicts[&offset]["entity"], *entity, "{shown}");
                let listed = verdicts[&offset].get("repairs").and_then(Value::as_array).cloned().unwrap_or_default();
                assert!(repairs.iter().all(|repair| listed.contains(&Value::from(*repair))), "{shown}: {listed:?}");
            }
        }
    }
    assert!(verdicts.contains_key(&(2 * hostile.len() as u64)), "the last good line");
}

/// Arguments of a run on the shipped network pipeline.
fn arguments<'a>(pipeline: &'a str, input: &'a str, folder: &'a str) -> Vec<&'a str> {
    vec!["run", "--once", "--pipeline", pipeline, "--input", input, "--output", folder, "--verdicts", "json"]
}

#[test]
fn an_empty_file_is_no_error() {
    let bench = Workbench::new();
    for (name, codec) in [("named", "zeek"), ("own", "threatguard")] {
        let empty = bench.write("empty.log", "");
        let (done, found) = bench.embedded(name, &shipped("network"), &empty, &["--codec", codec]);
        done.ok();
        assert_eq!((found.count("received"), found.verdicts.len()), (0, 0));
    }
}

#[test]
fn wrong_names_are_answered_with_the_nearest_right_one() {
    let bench = Workbench::new();
    let (pipeline, folder) = (shipped("network"), bench.text("out"));
    let pipeline = pipeline.to_str().unwrap();
    let events = bench.write("events.jsonl", good(1));
    let with = |more: &[&str]| run(&[arguments(pipeline, &events, &folder), more.to_vec()].concat());
    with(&["--codec", "zeke"]).fails(2, &["zeke", "'zeek'"]);
    with(&["--verdikts", "json"]).fails(2, &["--verdicts"]);
    let absent = bench.text("absent.log");
    run(&arguments(pipeline, &absent, &folder)).fails(2, &["absent.log", "does not exist"]);
    run(&arguments(&absent, &events, &folder)).fails(2, &["absent.log"]);
    let text = std::fs::read_to_string(pipeline).unwrap();
    let misspelt =
        bench.write("misspelt.yaml", text.replace("allowed_lateness:", "allowed_latenes:").replace("\nthresholds:", "\ntresholds:"));
    run(&arguments(&misspelt, &events, &folder))
        .fails(2, &["allowed_latenes", "allowed_lateness", "tresholds", "thresholds", "misspelt.yaml:"]);
    let codec = bench.write("codec.yaml", text.replace("codec: threatguard", "codec: suricatta"));
    run(&arguments(&codec, &events, &folder)).fails(2, &["suricatta", "suricata"]);
    let no_yaml = bench.write("no.yaml", "name: [unclosed\n\0");
    run(&arguments(&no_yaml, &events, &folder)).fails(2, &["no.yaml"]);
    let nonsense = bench.write("nonsense.log", "what is this\nno one knows\n");
    run(&[arguments(pipeline, &nonsense, &folder), vec!["--codec", "auto"]].concat()).fails(2, &["--codec"]);
    run(&[arguments(pipeline, &events, &folder), vec!["--models", &bench.text("no-models")]].concat())
        .fails(2, &["no-models", "threatguard train"]);
}

fn packed(how: &str, bytes: &[u8]) -> Vec<u8> {
    match how {
        "gzip" => {
            let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        }
        "zstd" => zstd::stream::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

#[test]
fn packed_files_folders_and_standard_input_are_read_alike() {
    let bench = Workbench::new();
    let events = std::fs::read(bench.simulated("events.jsonl", &["--only", "network"])).unwrap();
    let half = events.len() / 2 + events[events.len() / 2..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let (pipeline, codec) = (shipped("network"), ["--codec", "threatguard"]);
    let (done, plain) = bench.embedded("plain", &pipeline, &bench.text("events.jsonl"), &codec);
    done.ok();
    // A folder with both halves, packed differently, one in a sub-folder, and a file that is hidden.
    std::fs::create_dir_all(bench.path("logs/b")).unwrap();
    bench.write("logs/a.jsonl", packed("gzip", &events[..half]));
    bench.write("logs/b/a.log", packed("zstd", &events[half..]));
    bench.write("logs/.hidden", "not json");
    let mut inputs = vec![("folder", bench.text("logs"))];
    for how in ["gzip", "zstd"] {
        inputs.push((how, bench.write(&format!("events.{how}"), packed(how, &events))));
    }
    for (name, input) in inputs {
        let (done, found) = bench.embedded(name, &pipeline, &input, &codec);
        done.ok();
        assert!(found.verdicts == plain.verdicts && found.alerts == plain.alerts, "{name} differs from the plain file");
    }
    for how in ["plain", "gzip", "zstd"] {
        let folder = bench.text(&format!("stdin-{how}"));
        let mut command = threatguard(&[arguments(pipeline.to_str().unwrap(), "-", &folder), codec.to_vec()].concat());
        finish(&mut command, &packed(how, &events)).ok();
        let verdicts = crate::process::lines(&bench.path(&format!("stdin-{how}")).join("verdicts.jsonl"));
        assert!(verdicts == plain.verdicts, "standard input, {how}");
    }
}

#[test]
fn a_broken_file_is_reported_and_what_could_be_read_is_scored() {
    let bench = Workbench::new();
    let events = std::fs::read(bench.simulated("events.jsonl", &["--only", "network"])).unwrap();
    let whole = packed("gzip", &events);
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let torn = packed("zstd", &events);
    for (name, bytes) in [("cut.gz", &whole[..middle]), ("damaged.gz", &damaged), ("torn.zst", &torn[..torn.len() / 2])] {
        let input = bench.write(name, bytes);
        let (done, found) = bench.embedded(&format!("out-{name}"), &shipped("network"), &input, &["--codec", "threatguard"]);
        done.fails(3, &[name, "complete and not damaged"]);
        assert!(found.verdicts.len() > 1_000, "{name}: {} verdicts", found.verdicts.len());
    }
    let header = bench.write("header.gz", [0x1f, 0x8b, 0xff, 0xff, 0, 0, 0, 0]);
    bench.embedded("out-header", &shipped("network"), &header, &["--codec", "threatguard"]).0.fails(3, &["header.gz"]);
}

#[test]
fn one_line_far_ahead_changes_nothing_but_itself() {
    const FAR: &str = "2099-12-31T00:00:00Z";
    let bench = Workbench::new();
    let events = std::fs::read_to_string(bench.simulated("events.jsonl", &["--only", "network"])).unwrap();
    let lines: Vec<String> = events.lines().map(str::to_owned).collect();
    let odd = |time: &str| String::from_utf8(timed("10.66.66.66", time)).unwrap();
    // A line more at the beginning, in the middle and at the end.
    let run = |name: &str, first: &str, time: &str| {
        let mut lines = lines.clone();
        [(lines.len(), time), (lines.len() / 2, time), (0, first)].into_iter().for_each(|(place, time)| lines.insert(place, odd(time)));
        let input = bench.write(&format!("{name}.jsonl"), lines.join("\n"));
        let (done, found) = bench.embedded(name, &shipped("network"), &input, &["--codec", "threatguard"]);
        done.ok();
        found
    };
    let (plain, ahead) = (run("plain", "2026-03-03T00:00:00Z", ""), run("ahead", FAR, FAR));
    let others = |lines: &[String]| -> Vec<String> { lines.iter().filter(|line| !line.contains("10.66.66.66")).cloned().collect() };
    assert!(plain.alerts.len() > 3, "{} alerts", plain.alerts.len());
    for (what, plain, ahead) in [
        ("verdicts", &plain.verdicts, &ahead.verdicts),
        ("threats", &plain.threats, &ahead.threats),
        ("alerts", &plain.alerts, &ahead.alerts),
    ] {
        assert!(others(plain) == others(ahead), "{what} differ");
    }
    assert!(plain.analytics == ahead.analytics, "windows differ");
}

#[test]
fn a_full_disk_is_a_clear_error() {
    let bench = Workbench::new();
    let events = bench.simulated("events.jsonl", &["--only", "network"]);
    for file in ["verdicts", "threats", "analytics"] {
        let folder = bench.path(&format!("full-{file}"));
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("{file}.jsonl");
        std::os::unix::fs::symlink("/dev/full", folder.join(&name)).unwrap();
        let (done, _) = bench.embedded(&format!("full-{file}"), &shipped("network"), &events, &["--codec", "threatguard"]);
        done.fails(3, &[&name, "No space left on device"]);
    }
    // The summary and standard output too.
    let (pipeline, folder) = (shipped("network"), bench.text("out"));
    let summary = [arguments(pipeline.to_str().unwrap(), &events, &folder), vec!["--summary", "/proc/none/summary.json"]].concat();
    run(&summary).fails(3, &["/proc/none/summary.json"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = threatguard(&["simulate", "--scenario", "small"]);
    let done = command.stdout(full).output().unwrap();
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stderr));
}
