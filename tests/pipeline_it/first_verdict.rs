//! Start to first verdict on the embedded default: measured and shown, never judged, because the machine may be busy.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use threatguard::edge::clock;

use crate::process::{PATIENCE, lines, threatguard, until, wait};
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
