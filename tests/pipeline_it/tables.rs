//! Scenario: a model of a table is trained, measured and used from the command line, on good files and on bad ones.
//! Guarantees: the measures are those of the scores that are written; a bad file is an error that says what to do, never a number.

use std::fmt::Write;

use serde_json::Value;

use crate::process::{json, run};
use crate::workbench::Workbench;

/// Rows of which every fifth is an attack; `plain` leaves out what real files have: missing cells and words.
fn table(rows: u64, seed: u64) -> String {
    let mut text = String::from("bytes,packets,service,label\n");
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(u32::MAX >> 1)
    };
    for row in 0..rows {
        let attack = row % 5 == 0;
        let bytes = unit() * 100.0;
        let packets = bytes + unit() * 5.0 + if attack { 30.0 } else { 0.0 };
        let service = if row % 89 == 7 { "" } else { ["http", "dns", "smtp"][(row % 3) as usize] };
        let label = if attack { ["scan", "flood"][(row % 2) as usize] } else { "normal" };
        writeln!(text, "{bytes},{packets},{service},{label}").unwrap();
    }
    text
}

fn trained(bench: &Workbench, rows: u64) -> String {
    let (data, model) = (bench.write("train.csv", table(rows, 1)), bench.text("model"));
    run(&["train", "--data", &data, "--label", "label", "--out", &model]).ok();
    model
}

#[track_caller]
fn refused(arguments: &[&str], why: &str) {
    run(arguments).fails(2, &[why]);
}

#[test]
fn a_table_is_learned_measured_and_scored() {
    let bench = Workbench::new();
    let model = trained(&bench, 2_000);
    let (data, report) = (bench.write("test.csv", table(1_500, 9)), bench.text("report.json"));
    run(&["evaluate", "--model", &model, "--data", &data, "--label", "label", "--json", &report]).ok();
    let report = json(&std::fs::read_to_string(&report).unwrap());
    assert_eq!(report["rows"], 1_500);
    assert!((report["baseRate"].as_f64().unwrap() - 0.2).abs() < 1e-9);
    let members: Vec<&String> = report["members"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["boosted_trees", "density", "dependence", "isolation_forest"]);
    let ensemble = &report["ensemble"];
    for measures in [ensemble, &report["members"]["density"]] {
        let number = |value: &Value| value.as_f64().is_some_and(|value| (0.0..=1.0).contains(&value));
        assert!(["0.001", "0.008", "0.01", "0.05"].iter().all(|rate| number(&measures["tprAtFpr"][rate])), "{measures}");
        assert!(number(&measures["rocAuc"]) && number(&measures["prAuc"]) && number(&measures["deployed"]["fpr"]));
        assert!(measures["deployed"]["threshold"].is_f64() && measures["alertsPerMillion"].is_f64());
        assert!(number(&measures["recallByClass"]["scan"]) && number(&measures["interval95"]["rocAuc"][0]));
    }
    assert!(ensemble["rocAuc"].as_f64().unwrap() > 0.99, "{ensemble}");

    // What is written for each row gives the same deployed rates.
    let out = bench.text("scores.jsonl");
    run(&["score", "--model", &model, "--data", &data, "--out", &out]).ok();
    let lines: Vec<Value> = std::fs::read_to_string(&out).unwrap().lines().map(json).collect();
    assert_eq!(lines.len(), 1_500);
    let alerts = lines.iter().enumerate().filter(|(row, line)| row % 5 == 0 && line["alert"] == true).count();
    assert!((alerts as f64 / 300.0 - ensemble["deployed"]["tpr"].as_f64().unwrap()).abs() < 1e-9);
    assert!(
        lines.iter().all(|line| line["pValue"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)) && line["parts"]["density"].is_f64())
    );
    run(&["score", "--model", &model, "--data", &data, "--out", &out, "--contributions", "2"]).ok();
    let explained: Vec<Value> = std::fs::read_to_string(&out).unwrap().lines().map(json).collect();
    for (line, before) in explained.iter().zip(&lines) {
        assert_eq!((&line["score"], line["contributions"].is_array()), (&before["score"], before["alert"] == true), "{line}");
    }
    let loudest: Vec<f64> = explained.iter().filter_map(|line| line["contributions"][0]["logOdds"].as_f64()).collect();
    let speak_for = loudest.iter().filter(|adds| **adds > 0.0).count();
    assert!(loudest.len() > 100 && speak_for as f64 > 0.9 * loudest.len() as f64, "{speak_for} of {}", loudest.len());
    let csv = bench.text("scores.csv");
    run(&["score", "--model", &model, "--data", &data, "--out", &csv, "--contributions", "2"]).fails(2, &["JSON Lines"]);
    run(&["score", "--model", &model, "--data", &data, "--out", &csv]).ok();
    let csv = std::fs::read_to_string(&csv).unwrap();
    assert!(csv.starts_with("row,score,p_value,alert,isolation_forest,density,dependence,boosted_trees\n") && csv.lines().count() == 1_501);
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_form_of_the_file_too() {
    let bench = Workbench::new();
    let first = std::fs::read(format!("{}/manifest.json", trained(&bench, 600))).unwrap();
    assert_eq!(first, std::fs::read(format!("{}/manifest.json", trained(&bench, 600))).unwrap());
    let lines: String = table(600, 1)
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let service = if cells[2].is_empty() { "null".to_owned() } else { format!("\"{}\"", cells[2]) };
            format!("{{\"bytes\":{},\"packets\":{},\"service\":{service},\"label\":\"{}\"}}\n", cells[0], cells[1], cells[3])
        })
        .collect();
    let packed = bench.write("train.jsonl.zst", zstd::encode_all(lines.as_bytes(), 1).unwrap());
    let model = bench.text("again");
    run(&["train", "--data", &packed, "--label", "label", "--out", &model]).ok();
    let version = |text: &[u8]| json(std::str::from_utf8(text).unwrap())["version"].clone();
    assert_eq!(version(&first), version(&std::fs::read(format!("{model}/manifest.json")).unwrap()));
}

#[test]
fn without_labels_learning_is_unsupervised() {
    let bench = Workbench::new();
    let benign: String =
        table(1_500, 1).lines().filter(|line| line.ends_with("normal") || line.ends_with("label")).fold(String::new(), |text, line| {
            let (cells, _) = line.rsplit_once(',').unwrap();
            text + cells + "\n"
        });
    let (data, model, report) = (bench.write("benign.csv", benign), bench.text("model"), bench.text("report.json"));
    run(&["train", "--data", &data, "--out", &model]).ok();
    let test = bench.write("test.csv", table(1_000, 9));
    run(&["evaluate", "--model", &model, "--data", &test, "--label", "label", "--json", &report]).ok();
    let report = json(&std::fs::read_to_string(&report).unwrap());
    assert_eq!(report["members"].as_object().unwrap().len(), 3);
    assert!(report["ensemble"]["rocAuc"].as_f64().unwrap() > 0.75, "{report}");
}

#[test]
fn trees_of_other_libraries_are_imported_and_predict_what_those_predict() {
    let bench = Workbench::new();
    for (folder, name, file) in [("xgboost", "logistic", "logistic.json"), ("onnx", "random-forest", "random-forest.onnx")] {
        let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(folder);
        let expected = json(&std::fs::read_to_string(vectors.join(format!("{name}.vectors.json"))).unwrap());
        // A line of nothing but commas is no row.
        let is_row = |row: &&Value| row.as_array().unwrap().iter().any(|cell| !cell.is_null());
        let (rows, predictions): (Vec<_>, Vec<_>) = expected["rows"]
            .as_array()
            .unwrap()
            .iter()
            .zip(expected["predictions"].as_array().unwrap())
            .filter(|(row, _)| is_row(row))
            .unzip();
        let width = rows[0].as_array().unwrap().len();
        let names = (0..width).map(|column| format!("c{column}")).collect::<Vec<_>>().join(",");
        let cell = |value: &Value| value.as_f64().map_or(String::new(), |value| value.to_string());
        let line = |row: &Value| row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join(",");
        let lines: Vec<String> = rows.iter().copied().map(line).collect();
        let data = bench.write("rows.csv", format!("{names}\n{}\n", lines.join("\n")));
        let (file, model, scores) = (vectors.join(file), bench.text(name), bench.text("scores.jsonl"));
        let file = file.to_str().unwrap();
        run(&["model", "import", file, "--out", &model]).fails(2, &["--features"]);
        run(&["model", "import", file, "--features", "c0,c1", "--out", &model]).fails(2, &["2", "--features"]);
        run(&["model", "import", file, "--features", &names, "--out", &model]).ok();
        run(&["score", "--model", &model, "--data", &data, "--out", &scores]).ok();
        let found: Vec<Value> = std::fs::read_to_string(&scores).unwrap().lines().map(json).collect();
        assert_eq!(found.len(), rows.len());
        for (found, expected) in found.iter().zip(predictions) {
            let (found, expected) = (found["score"].as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((found - expected).abs() < 1e-5, "{name}: {found} {expected}");
        }
        run(&["model", "importance", "--model", &model, "--data", &data, "--label", "c0"]).fails(2, &["imported"]);

        // Calibrated on rows of which the benign ones are told apart, it is measured as a model of our own.
        let labelled = lines.iter().cycle().take(2_000).enumerate().fold(format!("{names},label\n"), |text, (row, line)| {
            let attack = found[row % found.len()]["alert"].as_bool().unwrap() && row % 7 != 0;
            text + line + if attack { ",attack\n" } else { ",normal\n" }
        });
        let (labelled, report) = (bench.write("labelled.csv", labelled), bench.text("report.json"));
        let out = bench.text(&format!("{name}-calibrated"));
        run(&["model", "import", file, "--features", &names, "--data", &labelled, "--label", "label", "--out", &out]).ok();
        run(&["evaluate", "--model", &out, "--data", &labelled, "--json", &report]).ok();
        let report = json(&std::fs::read_to_string(&report).unwrap());
        assert_eq!(report["ensemble"], report["members"]["boosted_trees"]);
        let fpr = report["ensemble"]["deployed"]["fpr"].as_f64().unwrap();
        assert!(report["ensemble"]["rocAuc"].as_f64().unwrap() > 0.9 && fpr <= 0.008, "{report}");
        run(&["score", "--model", &out, "--data", &data, "--out", &scores]).ok();
        let first = json(std::fs::read_to_string(&scores).unwrap().lines().next().unwrap());
        assert!(first["pValue"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{first}");
    }
}

/// Rows as collections of flows have them: spaces in the header, which comes again within the file, a number for each row, an attack's
/// category beside the label, infinite and missing rates, hexadecimal ports, addresses, a column that never changes, pages as text.
fn odd(rows: u64) -> String {
    let head = "id, Src IP,sport, Flow Bytes/s,service,page,constant,attack_cat, label\n";
    let mut text = String::from(head);
    for row in 0..rows {
        let attack = row % 5 == 0;
        let port = if row % 50 == 3 { format!("0x{row:x}") } else { (1_024 + row * 7 % 911).to_string() };
        let rate = match row % 9 {
            0 => "Infinity".to_owned(),
            1 => "NaN".to_owned(),
            2 => String::new(),
            _ => format!("{}e12", row * 31 % 101),
        };
        let page = if attack { format!("/a.php?id={row}' or '1'='1") } else { format!("/a.php?id={row}&b=c;d") };
        let (category, label) = if attack { ("Reconnaissance scan", 1) } else { ("Normal", 0) };
        let address = row * 7 % 251;
        writeln!(text, "{row}, 10.0.0.{address} ,{port},{rate},-,{page},7,{category},{label}").unwrap();
        if row == rows / 2 {
            text.push_str(head);
        }
    }
    text
}

#[test]
fn odd_tables_go_through_by_stated_rules_and_what_gives_the_label_away_is_named() {
    let bench = Workbench::new();
    let (data, model) = (bench.write("odd.csv", odd(1_200)), bench.text("model"));
    let trained = run(&["train", "--data", &data, "--label", "label", "--out", &model]).ok();
    for said in
        ["read 1200 rows of 9", "'id' is left out: it numbers the rows", "'constant' is left out", "'attack_cat' alone tells 100.0 %"]
    {
        assert!(trained.err.contains(said), "{said}: {}", trained.err);
    }
    let report = bench.text("report.json");
    run(&["train", "--data", &data, "--label", "label", "--drop", "attack_cat", "--out", &bench.text("second")]).ok();
    run(&["evaluate", "--model", &bench.text("second"), "--data", &data, "--json", &report]).ok();
    let report = json(&std::fs::read_to_string(&report).unwrap());
    assert!(report["rows"] == 1_200 && report["ensemble"]["rocAuc"].as_f64().unwrap() > 0.999, "the pages tell: {report}");
}

#[test]
fn rows_in_time_are_tested_before_they_are_learned_from() {
    let bench = Workbench::new();
    let (data, report, scores) = (bench.write("all.csv", table(1_200, 1)), bench.text("report.json"), bench.text("scores.csv"));
    let in_time = ["evaluate", "--test-then-train", "--label", "label", "--label-delay", "200", "--json", &report, "--scores", &scores];
    let told = |more: &[&str]| {
        run(&[&in_time[..], more].concat()).ok();
        (json(&std::fs::read_to_string(&report).unwrap()), std::fs::read_to_string(&scores).unwrap())
    };
    let (one, lines) = told(&["--data", &data, "--warm-up", "0.25", "--refit-every", "100"]);
    assert_eq!(one["rows"], 900);
    let protocol = &one["protocol"];
    assert!(protocol["warmUpRows"] == 300 && protocol["labelDelay"] == 200 && protocol["refits"] == 9, "{protocol}");
    assert!(protocol["alarms"].is_array() && one["frozen"]["rocAuc"].is_f64() && one["members"]["density"]["rocAuc"].is_f64());
    assert!(one["ensemble"]["rocAuc"].as_f64().unwrap() > 0.95, "{}", one["ensemble"]);

    // The alerts that are written give the deployed rates.
    let cells: Vec<Vec<&str>> = lines.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert!(lines.starts_with("row,score,threshold,alert\n") && cells.len() == 900);
    let found = cells.iter().enumerate().filter(|(row, cells)| row % 5 == 0 && cells[3] == "1").count();
    assert!((found as f64 / 180.0 - one["ensemble"]["deployed"]["tpr"].as_f64().unwrap()).abs() < 1e-9);

    // The same rows as history and data are the same test; with a model it is the one that never learns again.
    let text = table(1_200, 1);
    let (head, rest): (Vec<&str>, Vec<&str>) = (text.lines().take(301).collect(), text.lines().skip(301).collect());
    let history = bench.write("history.csv", head.join("\n") + "\n");
    let later = bench.write("later.csv", format!("{}\n{}\n", head[0], rest.join("\n")));
    let (two, again) = told(&["--history", &history, "--data", &later, "--refit-every", "100"]);
    assert_eq!((&one["ensemble"], lines), (&two["ensemble"], again));
    let model = bench.text("model");
    run(&["train", "--data", &history, "--label", "label", "--out", &model]).ok();
    let (three, _) = told(&["--model", &model, "--history", &history, "--data", &later, "--refit-every", "100"]);
    assert_eq!((&one["frozen"], &one["ensemble"]), (&three["frozen"], &three["ensemble"]));

    let refused_in_time = |more: &[&str], why: &str| refused(&[&in_time[..], more].concat(), why);
    refused_in_time(&["--data", &data, "--warm-up", "1"], "--warm-up is 1");
    refused_in_time(&["--data", &data, "--warm-up", "0.0001"], "none to learn from");
    refused_in_time(&["--data", &data, "--refit-every", "0"], "--refit-every");
    refused_in_time(&["--data", &data, "--warm-up", "0.5", "--history", &history], "cannot be used with");
    refused(&["evaluate", "--data", &data, "--label", "label"], "--model");
    refused(&["evaluate", "--model", &model, "--data", &data, "--history", &history], "--test-then-train");
}

#[test]
fn bad_tables_are_errors_that_say_what_to_do() {
    let bench = Workbench::new();
    let model = trained(&bench, 600);
    let out = bench.text("out");
    let data = |name: &str, text: &str| bench.write(name, text);
    let train = |file: &str, why: &str| refused(&["train", "--data", file, "--label", "label", "--out", &out], why);
    train(&data("empty.csv", ""), "it is empty");
    train(&data("header.csv", "a,label\n"), "it has no rows");
    train(&data("ragged.csv", "a,label\n1,normal\n2\n"), "line 3 has 1 cells");
    train(&data("attacks.csv", "a,label\n1,x\n2,x\n"), "--benign");
    train(&data("unlabelled.csv", "a,label\n1,normal\n2,\n"), "row 2 has no label");
    train(&data("few.csv", "a,label\n1,normal\n2,x\n"), "at least 20");
    train(&data("other.csv", "a,class\n1,normal\n"), "the nearest is");
    train(&bench.text("absent.csv"), "does not exist");
    refused(&["train", "--data", &data("d.csv", "a,b\n1,2\n"), "--drop", "c", "--out", &out], "there is no column 'c'");
    refused(&["train", "--out", &out], "--pipeline");
    refused(&["train", "--data", "x", "--pipeline", "y", "--out", &out], "cannot be used with");
    refused(&["train", "--data", "x", "--benign", "y", "--out", &out], "--label");

    let report = bench.text("report.json");
    let evaluate = |file: &str, why: &str| {
        refused(&["evaluate", "--model", &model, "--data", file, "--label", "label", "--json", &report], why);
        assert!(!std::path::Path::new(&report).exists(), "no measures of a bad table");
    };
    evaluate(&data("absent.csv", "bytes,service,label\n1,http,normal\n2,dns,scan\n"), "there is no column 'packets'");
    evaluate(&data("typed.csv", "bytes,packets,service,label\n1,2,http,normal\nx,3,dns,scan\n"), "'bytes' holds 'x' in row 2");
    evaluate(&data("benign.csv", "bytes,packets,service,label\n1,2,http,normal\n2,3,dns,normal\n"), "nothing to measure");
    evaluate(&data("malicious.csv", "bytes,packets,service,label\n1,2,http,scan\n2,3,dns,scan\n"), "no row's label is 'normal'");
    refused(&["evaluate", "--model", &bench.text("nowhere"), "--data", &data("x.csv", "a\n1\n")], "is missing");

    // Stated rules: a missing cell, a word never seen, columns in another order and columns more are no errors.
    let odd = data("odd.csv", "more,service,packets,bytes,label\nz,,3,,normal\nz,gopher,90,1,flood\nz,dns,4,2,normal\n");
    run(&["evaluate", "--model", &model, "--data", &odd, "--label", "label", "--json", &report]).ok();
    let scores = bench.text("scores.jsonl");
    run(&["score", "--model", &model, "--data", &odd, "--out", &scores]).ok();
    assert!(std::fs::read_to_string(&scores).unwrap().lines().map(json).all(|line| line["score"].is_number()));
}
