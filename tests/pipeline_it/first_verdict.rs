//! Standard input that stays open. Start to first verdict on the embedded default: measured and shown, never judged, because the
//! machine may be busy. SIGTERM while nothing comes: everything that came is in the results.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use threatguard::edge::clock;

use crate::process::{PATIENCE, Running, lines, summary, threatguard, until, wait};
use crate::workbench::{Workbench, shipped};

#[test]
fn the_first_verdict_comes_while_the_input_is_still_open() {
    let bench = Workbench::new();
    let events = std::fs::read(bench.simulated("events.jsonl", &["--only", "network"])).unwrap();
    let (first, rest) = events.split_at(events.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    let verdicts = bench.path("out/verdicts.jsonl");
    let begun = clock::now();
    let mut command = threatguard(&["run", "--once", "--input", "-", "--codec", "threatguard", "--verdicts", "json", "--output"]);
    let mut child = command.arg(bench.path("out")).arg("--pipeline").arg(shipped("network")).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(first).unwrap();
    until("the first verdict", || std::fs::metadata(&verdicts).is_ok_and(|file| file.len() > 0).then_some(()));
    let spent: Duration = begun.elapsed();
    println!("start to first verdict: {} ms (goal: under 1000)", spent.as_millis());
    assert_eq!(lines(&verdicts).len(), 1, "one event was given and one verdict is there, while more may come");
    stdin.write_all(rest).unwrap();
    drop(stdin);
    let status = wait(&mut child, PATIENCE).unwrap();
    assert!(status.success());
    assert_eq!(lines(&verdicts).len(), events.iter().filter(|byte| **byte == b'\n').count());
}

#[test]
fn a_silent_standard_input_does_not_hold_the_end_back() {
    let bench = Workbench::new();
    let events = std::fs::read(bench.simulated("events.jsonl", &["--only", "network"])).unwrap();
    let verdicts = bench.path("out/verdicts.jsonl");
    let mut command = threatguard(&["run", "--input", "-", "--codec", "threatguard", "--verdicts", "json", "--output"]);
    command.arg(bench.path("out")).arg("--pipeline").arg(shipped("network")).arg("--summary").arg(bench.path("summary.json"));
    let mut run = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = run.child.stdin.take().unwrap();
    // The last line is one that waits for those behind it to confirm its date, which never come.
    stdin.write_all(&events).unwrap();
    stdin.write_all(b"{\"timestamp\":\"2030-01-01T00:00:00Z\",\"source_ip\":\"10.0.0.1\"}\n").unwrap();
    let given = events.iter().filter(|byte| **byte == b'\n').count();
    until("all verdicts", || {
        std::fs::read(&verdicts).is_ok_and(|text| text.iter().filter(|b| **b == b'\n').count() >= given).then_some(())
    });
    assert_eq!(run.terminate(Duration::from_secs(10)), Some(0), "{:#?}", run.said);
    assert_eq!(lines(&verdicts).len(), given + 1);
    assert_eq!(summary(&bench.path("summary.json"))["received"], given as u64 + 1);
    assert!(bench.path("out/models/network/manifest.json").is_file(), "what was learned is kept");
    drop(stdin);
}
