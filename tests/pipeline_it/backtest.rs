//! Scenario: pipelines over labelled events, simulated and real, by the whole program.
//! Guarantees: the measures are those that verdicts and labels give on their own, missed bars are told by exit code and JUnit, and
//! models of benign traffic alone tell the labelled days' attacks from it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use threatguard::codec::frame::Framer;

use crate::process::{Done, json, lines, run};
use crate::workbench::{Workbench, data, shipped};

fn backtest(bench: &Workbench, models: &str, input: &str, more: &[&str]) -> (Done, Value, String) {
    let (pipeline, report, junit) = (shipped("network"), bench.text("report.json"), bench.text("junit.xml"));
    let fixed = ["backtest", "--pipeline", pipeline.to_str().unwrap(), "--models", models, "--input", input, "--label", "label"];
    let done = run(&[&fixed[..], &["--json", &report, "--junit", &junit], more].concat());
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    (done, serde_json::from_str(&read(&report)).unwrap_or_default(), read(&junit))
}

#[test]
fn measures_are_what_verdicts_and_labels_say() {
    let bench = Workbench::new();
    let benign = bench.simulated("benign.jsonl", &["--seed", "2", "--benign"]);
    let models = bench.trained("models", "network", &benign, "threatguard");
    let input = bench.simulated("labelled.jsonl", &["--seed", "2", "--label", "label"]);
    let bars = ["--ignore", "background_scan", "--min-roc-auc", "0.8", "--max-fpr", "0.05"];
    let (done, report, junit) = backtest(&bench, &models, &input, &bars);
    let done = done.ok();
    assert!(done.out.contains("min_roc_auc 0.8") && !done.out.contains("MISSED"), "{}", done.out);
    assert!(junit.contains(r#"tests="2" failures="0""#), "{junit}");

    let labels: Vec<String> = lines(Path::new(&input)).iter().map(|line| json(line)["label"].as_str().unwrap().to_owned()).collect();
    let (_, found) = bench.embedded("out", &shipped("network"), &input, &["--models", &models]);
    let (mut counts, mut threats): (BTreeMap<bool, u64>, BTreeMap<bool, u64>) = (BTreeMap::new(), BTreeMap::new());
    for verdict in found.verdicts.iter().map(|line| json(line)) {
        let label = labels[verdict["position"]["offset"].as_u64().unwrap() as usize].as_str();
        if label != "background_scan" {
            *counts.entry(label != "benign").or_default() += 1;
            *threats.entry(label != "benign").or_default() += u64::from(verdict["threat"].as_bool().unwrap());
        }
    }
    let deployed = &report["events"]["ensemble"]["deployed"];
    let share = |attack| threats[&attack] as f64 / counts[&attack] as f64;
    assert!((deployed["tpr"].as_f64().unwrap() - share(true)).abs() < 1e-9, "{deployed} {threats:?} {counts:?}");
    assert!((deployed["fpr"].as_f64().unwrap() - share(false)).abs() < 1e-9, "{deployed} {threats:?} {counts:?}");
    assert_eq!(report["events"]["rows"].as_u64(), Some(counts[&true] + counts[&false]));
    assert!(share(true) > 0.2 && share(false) < 0.01, "{threats:?} {counts:?}");
    assert!(report["events"]["ensemble"]["tprAtFpr"]["0.05"].as_f64().unwrap() > 0.5, "{}", report["events"]["ensemble"]);
    assert!(report["events"]["members"]["lstm_autoencoder"]["rocAuc"].as_f64().unwrap() > 0.7, "models are at work");
    assert!(report["entities"]["rows"].as_u64().unwrap() > 50 && report["incidents"]["ensemble"]["found"].as_u64().unwrap() > 3);

    labels_of_the_simulator(&bench, &models, &input);
    let (done, report, junit) = backtest(&bench, &models, &input, &["--min-recall", "0.999", "--max-fpr", "0.5"]);
    done.fails(1, &[]);
    assert!(junit.contains(r#"tests="2" failures="1""#) && junit.contains("<failure message=\"min_recall 0.999: "), "{junit}");
    assert_eq!(report["bars"][0]["met"], Value::Bool(false));
    assert!(report["fates"]["unlabelled"].as_u64() == Some(0), "nothing was to be ignored");
    backtest(&bench, &models, &benign, &[]).0.fails(2, &["no event has a label in 'label'"]);
    backtest(&bench, &models, &input, &["--max-fpr", "1.5"]).0.fails(2, &["--max-fpr", "between 0 and 1"]);
}

/// The label file names the attackers and their times: each campaign of an address is an incident or several.
fn labels_of_the_simulator(bench: &Workbench, models: &str, input: &str) {
    let (labels, report) = (bench.text("labels.jsonl"), bench.text("spans.json"));
    bench.simulated("same.jsonl", &["--seed", "2", "--label", "label", "--labels", &labels]);
    let pipeline = shipped("network");
    let fixed = ["backtest", "--pipeline", pipeline.to_str().unwrap(), "--models", models, "--input", input, "--json", &report];
    run(&[&fixed[..], &["--labels", &labels, "--ignore", "background_scan"]].concat()).ok();
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let classes = report["incidents"]["byClass"].as_object().unwrap();
    assert!(classes.contains_key("port_scan") && classes.contains_key("exfiltration"), "{classes:?}");
    assert!(report["events"]["ensemble"]["rocAuc"].as_f64().unwrap() > 0.8, "{}", report["events"]["ensemble"]);
}

/// Share of the benign flows, in order of time, that is learned from.
const LEARNED_SHARE: f64 = 0.7;

/// Both labelled days in order of time, as JSON records; the benign ones that are learned from carry another label.
fn labelled_days(folder: &Path) -> (Vec<String>, Vec<String>) {
    let mut log = vec![];
    for day in ["008-zeek-mixed", "010-zeek-mixed"] {
        let mut text = vec![];
        let file = std::fs::File::open(folder.join("stratosphere-zeek").join(day).join("conn.log.labeled.gz")).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
        let mut framer = Framer::new();
        let mut take = |record: &[u8]| {
            let text = String::from_utf8(record.to_vec()).unwrap();
            log.push((json(&text)["ts"].as_f64().unwrap(), text));
        };
        framer.feed(&text, &mut |framed| take(framed.payload));
        framer.finish(&mut |framed| take(framed.payload));
    }
    log.sort_by(|a, b| a.0.total_cmp(&b.0));
    let benign = |line: &str| line.contains("\"label\":\"Benign\"");
    let all = log.iter().filter(|(_, line)| benign(line)).count();
    let mut left = (all as f64 * LEARNED_SHARE) as usize;
    let mut learned = vec![];
    let marked = log.into_iter().map(|(_, line)| {
        if left > 0 && benign(&line) {
            left -= 1;
            learned.push(line.clone());
            return line.replace("\"label\":\"Benign\"", "\"label\":\"Learned\"");
        }
        line
    });
    let marked = marked.collect();
    (learned, marked)
}

#[test]
fn models_of_benign_days_find_the_attacks_of_labelled_ones() {
    let Some(folder) = data("models_of_benign_days") else { return };
    let bench = Workbench::new();
    let (learned, marked) = labelled_days(&folder);
    let benign = bench.write("benign.json", learned.join("\n"));
    let models = bench.trained("models", "network", &benign, "zeek");
    let input = bench.write("days.json", marked.join("\n"));
    let (done, report, _) = backtest(&bench, &models, &input, &["--codec", "zeek", "--ignore", "Background,Learned"]);
    println!("{}", done.ok().out);
    let (events, figure) = (&report["events"], |value: &Value| value.as_f64().unwrap());
    let attacks = figure(&events["baseRate"]) * figure(&events["rows"]);
    assert!((7_500.0..7_600.0).contains(&attacks) && figure(&events["rows"]) - attacks > 900.0, "{events}");
    assert!(figure(&events["ensemble"]["rocAuc"]) > 0.95, "{}", events["ensemble"]);
    assert!(figure(&events["ensemble"]["tprAtFpr"]["0.05"]) > 0.8, "{}", events["ensemble"]);
    assert!(report["fates"]["unlabelled"].as_u64().unwrap() >= learned.len() as u64, "{}", report["fates"]);
}
