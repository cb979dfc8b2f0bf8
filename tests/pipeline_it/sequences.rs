//! Scenario: traces of system calls, one a row, are learned from by the commands for tables, from benign rows alone.
//! Guarantees: spaces, commas and JSON lists are the same sequence; what is odd is found; what is no sequence is an error, never a number.

use std::fmt::Write;

use serde_json::Value;

use crate::process::{json, run};
use crate::workbench::{Workbench, data};
use crate::zip;

/// Traces of two programs, every fifth an attack that calls at random, with their labels.
fn traces(rows: u64, seed: u64) -> Vec<(Vec<u64>, &'static str)> {
    let mut state = seed;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut trace = |row: u64| match row % 5 {
        0 => ((0..80).map(|_| [3, 12, 23, 40, 41][below(5) as usize]).collect(), ["shell", "flood"][(row % 2) as usize]),
        _ => {
            let first = 10 + 10 * (row % 2);
            let body = (0..10 + below(30)).flat_map(|_| [first, first + 1, first + 2 + below(2)]).collect::<Vec<_>>();
            ([vec![5, 3, 3], body, vec![6]].concat(), "normal")
        }
    };
    (0..rows).map(&mut trace).collect()
}

/// The sign stands between symbols.
fn csv(traces: &[(Vec<u64>, &str)], sign: &str) -> String {
    let mut text = String::from("class,calls\n");
    for (calls, label) in traces {
        let calls: Vec<String> = calls.iter().map(u64::to_string).collect();
        writeln!(text, "{label},\"{}\"", calls.join(sign)).unwrap();
    }
    text
}

fn json_lines(traces: &[(Vec<u64>, &str)]) -> String {
    traces.iter().map(|(calls, label)| format!("{{\"class\": \"{label}\", \"calls\": {calls:?}}}\n")).collect()
}

const LABEL: [&str; 4] = ["--label", "class", "--benign", "normal"];

#[track_caller]
fn refused(arguments: &[&str], why: &str) {
    run(arguments).fails(2, &[why]);
}

fn version(model: &str) -> String {
    json(&std::fs::read_to_string(format!("{model}/manifest.json")).unwrap())["version"].to_string()
}

#[test]
fn traces_are_learned_from_measured_and_scored_however_they_are_written() {
    let bench = Workbench::new();
    let (learned, tested) = (traces(400, 1), traces(300, 9));
    let train = |name: &str, text: String, more: &[&str]| {
        let (data, model) = (bench.write(&format!("{name}.train"), text), bench.text(name));
        let done = run(&[&["train", "--data", &data, "--out", &model][..], &LABEL, more].concat()).ok();
        assert!(
            done.err.contains("'calls' holds sequences of symbols, 11 different ones: learning from 320; left out are 80 attacks"),
            "{}",
            done.err
        );
        model
    };
    let model = train("spaces", csv(&learned, " "), &["--sequence", "calls"]);
    // Found out by themselves, as lists and with commas they are the same sequences; the same seed gives the same bytes.
    assert_eq!(version(&train("lists", json_lines(&learned), &[])), version(&model));
    assert_eq!(version(&train("commas", csv(&learned, ", "), &[])), version(&model));
    assert_ne!(version(&train("seed", csv(&learned, " "), &["--seed", "7"])), version(&model));

    let (data, report) = (bench.write("test.csv", csv(&tested, " ")), bench.text("report.json"));
    run(&["evaluate", "--model", &model, "--data", &data, "--label", "class", "--json", &report]).ok();
    let report = json(&std::fs::read_to_string(&report).unwrap());
    let members: Vec<&String> = report["members"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["disorder", "lacking", "order", "unlike"]);
    let ensemble = &report["ensemble"];
    assert!(ensemble["rocAuc"].as_f64().unwrap() > 0.98 && ensemble["deployed"]["fpr"].as_f64().unwrap() < 0.04, "{ensemble}");
    assert!(ensemble["recallByClass"]["flood"].as_f64().unwrap() > 0.9 && ensemble["interval95"]["rocAuc"][0].is_f64());

    let scored = |name: &str, text: String| -> String {
        let (data, out) = (bench.write(name, text), bench.text("scores.jsonl"));
        run(&["score", "--model", &model, "--data", &data, "--out", &out]).ok();
        std::fs::read_to_string(&out).unwrap()
    };
    let scores = scored("rows.csv", csv(&tested, " "));
    assert_eq!(scores, scored("rows.jsonl", json_lines(&tested)));
    let alerts = scores.lines().map(json).enumerate().filter(|(row, line)| row % 5 == 0 && line["alert"] == true).count();
    assert!((alerts as f64 / 60.0 - ensemble["deployed"]["tpr"].as_f64().unwrap()).abs() < 1e-9);

    // Rules: missing and empty sequences, symbols never seen, a single one, columns more.
    let odd = "{\"calls\": null}\n{\"calls\": []}\n{\"calls\": [\"x\", 99]}\n{\"calls\": 5, \"more\": 1}\n";
    let lines: Vec<Value> = scored("odd.jsonl", odd.to_owned()).lines().map(json).collect();
    assert!(lines.iter().all(|line| line["score"].is_f64() && line["pValue"].is_f64() && line["parts"]["order"].is_f64()), "{lines:?}");
    assert!(lines[0]["score"] == lines[1]["score"] && lines[0]["alert"] == false, "{lines:?}");

    let out = bench.text("scores.jsonl");
    refused(&["score", "--model", &model, "--data", &data, "--out", &out, "--contributions", "2"], "--contributions needs trees");
    run(&["model", "importance", "--model", &model, "--data", &data, "--label", "class"]).ok();
    let again = bench.write("again.csv", csv(&traces(900, 3), " "));
    let done = run(&["model", "retrain", "--model", &model, "--data", &again, "--json"]);
    assert!(done.code == Some(0) || done.code == Some(1), "{}", done.err);
    assert!(done.err.contains("'calls' holds sequences") && json(&done.out)["better"].is_boolean(), "{} {}", done.err, done.out);
}

#[test]
fn what_cannot_be_learned_from_or_scored_says_what_to_do() {
    let bench = Workbench::new();
    let (rows, out, report) = (traces(200, 1), bench.text("out"), bench.text("report.json"));
    let write = |name: &str, text: &str| bench.write(name, text);
    let train = |file: &str, more: &[&str], why: &str| refused(&[&["train", "--data", file, "--out", &out], more].concat(), why);
    let plain = write("plain.csv", &csv(&rows, " "));
    let labelled = [&LABEL[..], &["--sequence", "calls"]].concat();
    train(&plain, &["--sequence", "calls"], "leave the others out by --drop 'class'");
    train(&plain, &[&LABEL[..], &["--sequence", "call"]].concat(), "the nearest is 'calls'");
    train(&write("words.csv", &csv(&rows, "-")), &labelled, "column 'calls' holds no sequences");
    train(&write("inner.jsonl", &json_lines(&rows).replace("[5, 3, 3", "[[5], 3, 3")), &labelled, "row 2 of column 'calls' holds a list");
    train(&write("few.csv", &csv(&rows[..12], " ")), &labelled, "only 9 different rows are benign");
    train(&write("attacks.csv", &csv(&[rows[0].clone(), rows[5].clone()], " ")), &labelled, "no row's label is 'normal'");

    // Without labels every row is learned from; beside other columns a sequence is only pointed out.
    let model = bench.text("model");
    let done = run(&["train", "--data", &plain, "--drop", "class", "--out", &model]).ok();
    assert!(done.err.contains("learning from 200"), "{}", done.err);
    let lines = csv(&rows, " ");
    let more = |row: usize| if row == 0 { "pid".to_owned() } else { (row * 37 % 101).to_string() };
    let beside = lines.lines().enumerate().map(|(row, line)| format!("{line},{}\n", more(row)));
    let beside = write("beside.csv", &beside.collect::<String>());
    let done = run(&[&["train", "--data", &beside, "--out", &bench.text("beside")][..], &LABEL].concat()).ok();
    assert!(done.err.contains("'calls' looks like sequences of symbols") && done.err.contains("--drop"), "{}", done.err);

    let evaluate = |file: &str, more: &[&str], why: &str| {
        let fixed = ["evaluate", "--model", &model, "--data", file, "--label", "class", "--json", &report];
        refused(&[&fixed[..], more].concat(), why);
        assert!(!std::path::Path::new(&report).exists(), "no measures of a bad table");
    };
    evaluate(&write("absent.csv", "class,call\nnormal,5 3\nshell,3 5\n"), &[], "there is no column 'calls'");
    evaluate(&write("one.csv", "class,calls\nnormal,5 3\nnormal,3 5\n"), &[], "nothing to measure");
    evaluate(
        &write("object.jsonl", "{\"class\": \"normal\", \"calls\": {\"n\": 5}}\n{\"class\": \"shell\"}\n"),
        &[],
        "there is no column 'calls'",
    );
    evaluate(
        &write("long.csv", &format!("class,calls\nnormal,5 3\nshell,{}\n", "5 ".repeat(1_000_001))),
        &[],
        "row 2 of column 'calls' has 1000001",
    );
    evaluate(&plain, &["--test-then-train"], "learns from columns");
}

#[test]
fn attacks_of_adfa_are_told_from_ordinary_traces_as_well_as_was_measured() {
    let Some(folder) = data("attacks_of_adfa") else { return };
    let archive = zip::members(&std::fs::read(folder.join("adfa-ld/ADFA-LD.zip")).unwrap()).unwrap();
    let (mut train, mut test) = (String::from("class,calls\n"), String::from("class,calls\n"));
    for (name, calls) in archive.iter().filter(|(name, _)| name.ends_with(".txt")) {
        let calls = String::from_utf8_lossy(calls);
        match name.split('/').collect::<Vec<_>>()[1..] {
            ["Training_Data_Master", _] => writeln!(train, "normal,{}", calls.trim()).unwrap(),
            ["Validation_Data_Master", _] => writeln!(test, "normal,{}", calls.trim()).unwrap(),
            ["Attack_Data_Master", kind, _] => writeln!(test, "{kind},{}", calls.trim()).unwrap(),
            _ => {}
        }
    }
    let bench = Workbench::new();
    let (train, test) = (bench.write("train.csv", train), bench.write("test.csv", test));
    let (model, report) = (bench.text("model"), bench.text("report.json"));
    run(&[&["train", "--data", &train, "--sequence", "calls", "--out", &model][..], &LABEL].concat()).ok();
    run(&["evaluate", "--model", &model, "--data", &test, "--json", &report]).ok();
    let report = json(&std::fs::read_to_string(&report).unwrap());
    assert_eq!(report["rows"], 4_372 + 746);
    let auc = report["ensemble"]["rocAuc"].as_f64().unwrap();
    assert!((auc - 0.9136).abs() < 0.002, "{auc}");
}
