//! The labelled Zeek days: our isolation forest and the combination beside scikit-learn's forest on the same rows.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use threatguard::core::detect::forest::Forest;
use threatguard::core::features::row::{MODEL_WIDTH, ModelRow, Schema};
use threatguard::models::forest_fit::ForestParams;

use crate::real::{Flow, labelled_days};

/// Forests depend on their seed: figures are means over so many.
const SEEDS: u64 = 5;
/// Features of the flow itself. The others know the source's past, and who attacks is new: half of the skill is in that.
const OF_THE_FLOW: [&str; 6] = ["hour_of_day", "day_of_week", "bytes", "bytes_out_share", "packets", "duration"];

struct Figures {
    auc: f64,
    tpr: f64,
}

/// Prints the comparison and gives the same figures; `null` without data.
pub fn report() -> Value {
    let Some(flows) = labelled_days() else {
        println!("Zeek 008 + 010: skipped, there is no data folder (THREATGUARD_DATA)");
        return Value::Null;
    };
    let count = |of: fn(&Flow) -> bool| flows.iter().filter(|flow| of(flow)).count();
    let (fit, benign, malicious) = (count(|f| f.learned), count(|f| !f.learned && !f.malicious), count(|f| f.malicious));
    println!(
        "Zeek 008 + 010 in order of time: fitted on the first {fit} benign flows; tested on {benign} benign and {malicious} malicious"
    );
    let combined = judge(&flows, |flow| flow.surprise);
    line("combination, all detectors", &combined);
    let network = judge(&flows, |flow| flow.error);
    line("LSTM autoencoder", &network);
    let mut figures = json!({ "lstmAutoencoder": value(&network), "fitRows": fit, "benignTestRows": benign, "maliciousTestRows": malicious, "combination": value(&combined) });
    for (name, key, keep) in [("16 features", "allFeatures", None), ("6 features of the flow alone", "flowFeatures", Some(&OF_THE_FLOW))] {
        let kept: Vec<Flow> = flows.iter().map(|flow| Flow { row: masked(&flow.row, keep), ..*flow }).collect();
        let ours = ours(&kept);
        line(&format!("isolation forest, {name}"), &ours);
        figures[key] = json!({ "isolationForest": value(&ours), "scikitLearn": null });
        match scikit_learn(&kept, key) {
            Ok(theirs) => {
                line(&format!("scikit-learn, {name}"), &theirs);
                figures[key]["scikitLearn"] = value(&theirs);
            }
            Err(why) => println!("  scikit-learn, {name}: skipped, {why}"),
        }
    }
    figures
}

fn masked(row: &ModelRow, keep: Option<&[&str; 6]>) -> ModelRow {
    let names = Schema::Network.model_names();
    std::array::from_fn(|feature| if keep.is_none_or(|keep| keep.contains(&names[feature])) { row[feature] } else { 0.0 })
}

/// Our forest, grown from the same rows as theirs.
fn ours(flows: &[Flow]) -> Figures {
    let rows: Vec<ModelRow> = flows.iter().filter(|flow| flow.learned).map(|flow| flow.row).collect();
    let all: Vec<ModelRow> = flows.iter().map(|flow| flow.row).collect();
    let mut scores = vec![0.0; all.len()];
    let mut sum = Figures { auc: 0.0, tpr: 0.0 };
    for seed in 0..SEEDS {
        Forest::fit(&rows, ForestParams::default(), seed).unwrap().score_rows(&all, &mut scores);
        let mut next = scores.iter();
        let figures = judge(flows, |_| *next.next().unwrap());
        sum.auc += figures.auc / SEEDS as f64;
        sum.tpr += figures.tpr / SEEDS as f64;
    }
    sum
}

/// Area under the ROC curve (Mann-Whitney, ties count half), and the share of malicious flows above the score that 1 % of the benign
/// ones exceed, over the flows that were not learned from.
fn judge(flows: &[Flow], mut score: impl FnMut(&Flow) -> f32) -> Figures {
    let (mut benign, mut malicious) = (vec![], vec![]);
    for flow in flows {
        let score = score(flow);
        if flow.malicious {
            malicious.push(score);
        } else if !flow.learned {
            benign.push(score);
        }
    }
    benign.sort_by(f32::total_cmp);
    let below = |score: f32| {
        let (less, not_more) = (benign.partition_point(|b| *b < score), benign.partition_point(|b| *b <= score));
        (less + not_more) as f64 / 2.0
    };
    let auc = malicious.iter().map(|score| below(*score)).sum::<f64>() / (benign.len() * malicious.len()) as f64;
    let threshold = benign[benign.len() - 1 - (benign.len() as f64 * 0.01) as usize];
    let tpr = malicious.iter().filter(|score| **score > threshold).count() as f64 / malicious.len() as f64;
    Figures { auc, tpr }
}

fn line(name: &str, figures: &Figures) {
    println!("  {name:<46} AUC {:.4}   TPR at 1 % FPR {:.4}", figures.auc, figures.tpr);
}

fn value(figures: &Figures) -> Value {
    json!({ "auc": figures.auc, "tprAt1PercentFpr": figures.tpr })
}

/// Runs tests/sklearn_forest.py on the rows; the error says why it could not.
fn scikit_learn(flows: &[Flow], name: &str) -> Result<Figures, String> {
    let python = python()?;
    let path = std::env::temp_dir().join(format!("threatguard-zeek-{}-{name}.csv", std::process::id()));
    let mut text = (0..MODEL_WIDTH).map(|i| format!("f{i},")).collect::<String>() + "label,split\n";
    for flow in flows {
        flow.row.iter().for_each(|value| text.push_str(&format!("{value},")));
        text.push_str(&format!("{},{}\n", u8::from(flow.malicious), if flow.learned { "fit" } else { "test" }));
    }
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sklearn_forest.py");
    let output = Command::new(python).arg(script).arg(&path).arg(SEEDS.to_string()).output();
    std::fs::remove_file(&path).map_err(|error| error.to_string())?;
    let output = output.map_err(|error| error.to_string())?;
    let parsed: Value = serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let number = |name: &str| parsed[name].as_f64().ok_or("no figures came back".to_owned());
    Ok(Figures { auc: number("auc")?, tpr: number("tprAt1PercentFpr")? })
}

/// A Python that has scikit-learn: the system's, or one of our own in the user's cache, made at the first time.
fn python() -> Result<PathBuf, String> {
    let has = |python: &Path| Command::new(python).args(["-c", "import sklearn"]).output().is_ok_and(|output| output.status.success());
    let home = std::env::var_os("HOME").ok_or("there is no HOME for a Python environment")?;
    let folder = PathBuf::from(home).join(".cache/threatguard/sklearn");
    let own = folder.join("bin/python");
    if let Some(python) = [PathBuf::from("python3"), own.clone()].into_iter().find(|python| has(python)) {
        return Ok(python);
    }
    println!("  installing scikit-learn into {}", folder.display());
    let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let installed = made && run(Command::new(&own).args(["-m", "pip", "install", "--quiet", "scikit-learn"]));
    if installed { Ok(own) } else { Err("python3 cannot install scikit-learn here".to_owned()) }
}
