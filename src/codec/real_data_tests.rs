//! Every file of the public data sets that fits a codec: nothing lost, and only lines refused that are truly unusable.
//!
//! The folder is not part of the project: `THREATGUARD_DATA`, default `../shared/data`. Without it the test says that it skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use bumpalo::Bump;

use super::Codec;
use super::auto::{DETECT_LINES_MAX, by_name, detect};
use super::frame::{Framed, Framer, Stamper};
use crate::core::decode::{Decoded, decode_batch};
use crate::core::event::{Event, Outcome, Record};
use crate::core::sanitize::Sanitizer;
use crate::core::types::{EventTime, Offset, Partition, Position};

/// Folder, the codec its logs call for, file names left out and why.
const SETS: [(&str, &str, &[&str]); 6] = [
    ("stratosphere-zeek", "zeek", &[]),
    ("zeek-wrccdc", "zeek", &[]),
    ("suricata-eve", "suricata", &[]),
    // Not syslog: web access logs, status records and application logs of other formats.
    ("syslog-auth", "syslog", &["elastic_apache", "elastic_nginx", "loghub_Apache", "loghub_OpenStack", "loghub_Windows"]),
    ("aws-cloudtrail", "cloudtrail", &[]),
    ("apt29-zeek", "zeek", &[]),
];

// The one place where a test may look at its environment: where the data lies.
#[allow(clippy::disallowed_methods)]
fn data_folder() -> Option<PathBuf> {
    let named = std::env::var("THREATGUARD_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    folder.is_dir().then_some(folder)
}

fn gz_files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the data folder is readable") {
        let path = entry.expect("the data folder is readable").path();
        if path.is_dir() {
            found.extend(gz_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "gz") {
            found.insert(path);
        }
    }
    found
}

fn unpacked(path: &Path) -> Vec<u8> {
    let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip runs");
    assert!(output.status.success(), "{} unpacks", path.display());
    output.stdout
}

/// What one file gave.
#[derive(Debug, Default)]
struct Counts {
    records: usize,
    events: usize,
    with_source: usize,
    with_time: usize,
    successes: usize,
    failures: usize,
    types: BTreeMap<String, usize>,
    repairs: BTreeMap<&'static str, usize>,
    rejects: Vec<String>,
}

impl Counts {
    fn add(&mut self, event: &Event<'_>) {
        self.events += 1;
        self.with_source += usize::from(!event.source_ip.is_unspecified());
        self.with_time += usize::from(!event.repairs.names().any(|name| name.starts_with("timestamp")));
        self.successes += usize::from(event.outcome == Outcome::Success);
        self.failures += usize::from(event.outcome == Outcome::Failure);
        *self.types.entry(event.event_type.to_owned()).or_default() += 1;
        for name in event.repairs.names() {
            *self.repairs.entry(name).or_default() += 1;
        }
        assert!(!event.event_type.is_empty());
        for text in [event.event_type, event.user_id, event.user_agent, event.resource, event.action, event.device_id, event.session_id] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}

fn record_times(codec: &dyn Codec, sanitizer: &Sanitizer, payloads: &[Vec<u8>]) -> Vec<Option<EventTime>> {
    let (mut stamper, mut scratch, mut times) = (Stamper::default(), Bump::new(), vec![]);
    let mut take = |_: Framed<'_>, time: Option<EventTime>| times.push(time);
    for payload in payloads {
        scratch.reset();
        stamper.push(codec, sanitizer, Framed { payload, full_bytes: payload.len() as u64 }, &scratch, &mut take);
    }
    stamper.finish(&mut take);
    times
}

fn decode_file(codec_name: &str, bytes: &[u8]) -> Counts {
    let codec = by_name(codec_name, None).expect("a known codec");
    let sanitizer = Sanitizer::default();
    let mut payloads = Vec::new();
    let mut framer = Framer::new();
    // An odd chunk size cuts lines anywhere.
    for chunk in bytes.chunks(4_093) {
        framer.feed(chunk, &mut |framed| payloads.push(framed.payload.to_vec()));
    }
    framer.finish(&mut |framed| payloads.push(framed.payload.to_vec()));
    let mut counts = Counts { records: payloads.len(), ..Counts::default() };
    let times = record_times(codec.as_ref(), &sanitizer, &payloads);
    let at = |number: usize| Position { partition: Partition(0), offset: Offset(number as u64) };
    let records = payloads.iter().zip(times).enumerate().map(|(number, (payload, time))| Record { at: at(number), payload, time });
    let records: Vec<Record<'_>> = records.collect();
    let arena = Bump::new();
    let mut decoded = Decoded::default();
    decode_batch(codec.as_ref(), &sanitizer, &records, &arena, &mut decoded);
    decoded.events.iter().for_each(|event| counts.add(event));
    counts.rejects = decoded
        .rejects
        .iter()
        .map(|reject| format!("{} ({}): {}", reject.reason.as_str(), reject.detail, String::from_utf8_lossy(reject.raw)))
        .collect();
    counts
}

// The counts per file are what a person wants to see of this test.
#[allow(clippy::print_stderr)]
#[test]
fn real_files_decode_without_loss() {
    let Some(folder) = data_folder() else {
        eprintln!("skipped: no data folder (THREATGUARD_DATA)");
        return;
    };
    for (set, codec, left_out) in SETS {
        for path in gz_files(&folder.join(set)) {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            if left_out.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let bytes = unpacked(&path);
            let counts = decode_file(codec, &bytes);
            let Counts { records, events, with_source, with_time, successes, failures, types, repairs, rejects } = &counts;
            let refused = rejects.len();
            eprintln!(
                "{set}/{name}: {records} records, {events} events, {refused} rejects, {with_source} with source, {with_time} with time"
            );
            eprintln!("    {successes} success, {failures} failure, {types:?} {repairs:?}");
            for reject in rejects {
                eprintln!("    reject {}", reject.chars().take(300).collect::<String>());
            }
            assert_eq!(events + rejects.len(), *records);
            assert!(rejects.is_empty(), "none of these files has an unusable line: {rejects:?}");
            if *records > 0 {
                let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(DETECT_LINES_MAX).collect();
                assert_eq!(detect(&lines).expect("its lines tell").name, codec, "{name}");
            }
        }
    }
}
