//! Scenario: every file of the data folder that fits a codec, as it lies there, through the whole program.
//! Guarantees: exit code 0, nothing lost, no panic, and no dead letter, because none of these files has an unusable line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::workbench::{Workbench, data, shipped};

/// Folder, codec, pipeline, and beginnings of file names that are left out because they are in none of the codecs' formats: web
/// access logs, status records and application logs.
const SETS: [(&str, &str, &str, &[&str]); 6] = [
    ("stratosphere-zeek", "zeek", "network", &[]),
    ("zeek-wrccdc", "zeek", "network", &[]),
    ("suricata-eve", "suricata", "network", &[]),
    ("syslog-auth", "syslog", "identity", &["elastic_apache", "elastic_nginx", "loghub_Apache", "loghub_OpenStack", "loghub_Windows"]),
    ("aws-cloudtrail", "cloudtrail", "identity", &[]),
    ("apt29-zeek", "zeek", "network", &[]),
];

fn packed_files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            packed_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "gz") {
            found.insert(path);
        }
    }
}

#[test]
fn every_real_file_runs_to_its_end_and_nothing_is_lost() {
    let Some(folder) = data("every_real_file_runs_to_its_end") else { return };
    let bench = Workbench::new();
    let (mut count, mut total) = (0, 0);
    for (set, codec, pipeline, left_out) in SETS {
        let mut files = BTreeSet::new();
        packed_files(&folder.join(set), &mut files);
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if left_out.iter().any(|beginning| name.starts_with(beginning)) {
                continue;
            }
            // Half of them have to be recognised.
            let asked = if count % 2 == 0 { codec } else { "auto" };
            let (done, found) = bench.embedded(&format!("out-{count}"), &shipped(pipeline), file.to_str().unwrap(), &["--codec", asked]);
            let done = done.ok();
            assert!(!done.err.contains("panicked"), "{set}/{name}: {}", done.err);
            assert!(asked != "auto" || done.err.contains(&format!("codec {codec}")), "{set}/{name}: {}", done.err);
            assert_eq!(found.reasons().len(), 0, "{set}/{name}: {:?}\n{:?}", found.reasons(), found.dead_letters.first());
            assert_eq!(found.count("deadLettered"), 0);
            assert_eq!(found.verdicts.len() as u64, found.count("scored"), "{set}/{name}");
            println!(
                "{set}/{name}: {} received, {} late, {} threats",
                found.count("received"),
                found.count("late"),
                found.count("threats")
            );
            total += found.count("received");
            count += 1;
        }
    }
    println!("{count} files, {total} records");
    assert!(count > 40 && total > 100_000, "{count} files, {total} records");
}
