//! Scenario: models of a pipeline are trained again from newer events and from analysts' verdicts, by the whole program.
//! Guarantees: a candidate becomes champion only where it is better, a job that is killed is told as failed and leaves nothing, and a
//! verdict moves its event from one side of the lesson to the other.

use std::path::Path;

use serde_json::Value;

use crate::process::{Done, Running, finish, json, lines, run, threatguard, until};
use crate::schemas::check;
use crate::workbench::{Workbench, shipped};

/// The shipped pipeline without the network, which takes longest to fit.
fn quick(bench: &Workbench) -> String {
    let text = std::fs::read_to_string(shipped("network")).unwrap();
    bench.write("quick.yaml", text.replace("\ndetectors:\n", "\ndetectors:\n  lstm_autoencoder: { enabled: false }\n"))
}

fn retrain(bench: &Workbench, pipeline: &str, input: &str, more: &[&str]) -> (Done, Value) {
    let registry = bench.text("registry");
    let fixed = ["model", "retrain", "--json", "--pipeline", pipeline, "--models", &registry, "--input", input];
    let done = run(&[&fixed[..], more].concat());
    let job = serde_json::from_str(&done.out).unwrap_or_default();
    (done, job)
}

fn champion(bench: &Workbench) -> Value {
    json(&std::fs::read_to_string(bench.path("registry/network/roles.json")).unwrap())["champion"].clone()
}

fn jobs(bench: &Workbench) -> Vec<Value> {
    let done = run(&["model", "jobs", "--json", "--models", &bench.text("registry")]).ok();
    json(&done.out).as_array().unwrap().clone()
}

#[test]
fn a_candidate_is_held_against_the_champion_on_held_out_events() {
    let bench = Workbench::new();
    let pipeline = quick(&bench);
    let benign = bench.simulated("benign.jsonl", &["--seed", "2", "--benign"]);
    let (done, first) = retrain(&bench, &pipeline, &benign, &[]);
    println!("{first:#}");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("0.00 counting") || done.err.contains("0.25") || done.err.contains("calibrating"), "{}", done.err);
    assert_eq!((&first["status"], &first["results"]["promoted"]), (&Value::from("completed"), &Value::from(true)));
    assert_eq!(champion(&bench), first["results"]["version"]);

    // Labelled attacks: trees find more than the champion, which never saw any.
    let labelled = bench.simulated("labelled.jsonl", &["--seed", "2", "--label", "label"]);
    let (done, second) = retrain(&bench, &pipeline, &labelled, &["--label", "label", "--hold-out", "entities", "--trigger", "a test"]);
    println!("{second:#}");
    let results = &second["results"];
    assert_eq!((results["criterion"].as_str(), second["trigger"].as_str()), (Some("tpr_at_fpr008"), Some("a test")));
    assert_eq!(done.code, Some(if results["better"] == true { 0 } else { 1 }), "{}", done.err);
    assert_eq!(results["better"], results["promoted"]);
    assert_eq!(champion(&bench), results[if results["promoted"] == true { "candidate" } else { "champion" }]["version"]);
    assert!(results["newAccuracy"].as_f64().unwrap() > 0.5 && results["improvementPercentage"].is_number());

    let listed = jobs(&bench);
    assert_eq!(listed, [first, second]);
    let records: Vec<String> = listed.iter().map(Value::to_string).collect();
    assert_eq!(check("retraining-job", &records), 2);
    let shown = run(&["model", "jobs", listed[1]["jobId"].as_str().unwrap(), "--models", &bench.text("registry")]).ok();
    assert!(shown.out.contains("candidate") && shown.out.contains("at FPR 0.8 %"), "{}", shown.out);
    run(&["model", "jobs", "other", "--models", &bench.text("registry")]).fails(2, &["there is no job 'other'"]);
    let wrong = |more: &[&str], why: &str| drop(retrain(&bench, &pipeline, &benign, more).0.fails(2, &[why]));
    wrong(&["--validation-split", "0.99"], "such as 0.25");
    wrong(&["--feedback", &bench.text("absent.jsonl")], "'threatguard verdict' writes them");
    wrong(&["--max-time", "soon"], "soon");
    let (done, _) = retrain(&bench, &pipeline, "-", &[]);
    done.fails(2, &["several times"]);
}

#[test]
fn a_job_that_is_killed_has_failed_and_left_nothing() {
    let bench = Workbench::new();
    let (pipeline, registry) = (quick(&bench), bench.text("registry"));
    let input = bench.simulated("benign.jsonl", &["--seed", "3", "--benign"]);
    let arguments = ["model", "retrain", "--pipeline", &pipeline, "--models", &registry, "--input", &input];
    let mut running = Running::start(&mut threatguard(&arguments));
    running.line_after("calibrating");
    let folder = bench.path("registry/network/jobs");
    let file = until("a record", || {
        std::fs::read_dir(&folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "json"))
    });
    running.kill();
    let record = json(&std::fs::read_to_string(&file).unwrap());
    assert!(["queued", "running"].contains(&record["status"].as_str().unwrap()), "{record}");
    assert_eq!(check("retraining-job", &[record.to_string()]), 1);
    // A minute later.
    let heard = record["heardMicros"].as_i64().unwrap() - 61_000_000;
    std::fs::write(&file, Value::to_string(&with(record, "heardMicros", heard.into()))).unwrap();
    let seen = jobs(&bench).pop().unwrap();
    assert_eq!(seen["status"], "failed");
    assert!(seen["errorMessage"].as_str().unwrap().contains("its process ended"), "{seen}");
    assert_eq!(json(&std::fs::read_to_string(bench.path("registry/network/roles.json")).unwrap())["champion"], Value::Null);
    let listed = run(&["model", "list", "--json", "--models", &registry]).ok();
    assert_eq!(json(&listed.out)["versions"].as_array().unwrap().len(), 0);
    // The next one does not wait for the dead.
    let (done, next) = retrain(&bench, &pipeline, &input, &["--limit", "8000"]);
    assert_eq!(next["status"], "completed", "{}", done.err);
}

fn with(mut record: Value, name: &str, value: Value) -> Value {
    record[name] = value;
    record
}

/// A threat's record about a line of a file, as a run publishes it.
fn threat(id: &str, number: usize, line: &Value) -> String {
    let entity = format!("ip:{}", line["source_ip"].as_str().unwrap());
    let evidence = serde_json::json!({ "topic": "input", "partition": 0, "offset": number });
    let data = serde_json::json!({ "id": id, "entity": entity, "timestamp": line["timestamp"], "evidence": evidence });
    serde_json::json!({ "type": "threat.detected", "data": data }).to_string()
}

fn trained(bench: &Workbench, pipeline: &str, input: &str, more: &[&str]) -> (Done, Value) {
    let folder = bench.text("models");
    let fixed = ["train", "--pipeline", pipeline, "--input", input, "--limit", "20000", "--out", &folder];
    let done = run(&[&fixed[..], more].concat()).ok();
    (done, json(&std::fs::read_to_string(Path::new(&folder).join("manifest.json")).unwrap()))
}

#[test]
fn verdicts_move_events_from_one_side_of_the_lesson_to_the_other() {
    let bench = Workbench::new();
    let pipeline = quick(&bench);
    let input = bench.simulated("labelled.jsonl", &["--seed", "2", "--label", "label", "--only", "network"]);
    let events: Vec<Value> = lines(Path::new(&input)).iter().map(|line| json(line)).collect();
    let find = |benign: bool| events.iter().take(20_000).position(|event| (event["label"] == "benign") == benign).unwrap();
    let (attack, benign) = (find(false), find(true));
    let threats = [threat("a1b2c3d4e5", attack, &events[attack]), threat("b1b2c3d4e5", benign, &events[benign])].join("\n");
    std::fs::create_dir(bench.path("out")).unwrap();
    bench.write("out/threats.jsonl", threats + "\n");
    let out = bench.text("out");
    let verdict = |id: &str, what: &str, more: &[&str]| run(&[&["verdict", id, what, "--output", &out][..], more].concat());
    let rows = |manifest: &Value| manifest["training"]["rows"].as_i64().unwrap();
    let before = rows(&trained(&bench, &pipeline, &input, &["--label", "label"]).1);
    let feedback = bench.text("out/feedback.jsonl");
    let after = || rows(&trained(&bench, &pipeline, &input, &["--label", "label", "--feedback", &feedback]).1);

    verdict("a1b2", "benign", &["--by", "kim", "--note", "a drill"]).ok();
    assert_eq!(after(), before + 1, "it is ordinary after all");
    verdict("b1b2", "true", &[]).ok();
    assert_eq!(after(), before, "the other one is kept out of what is ordinary");
    verdict("a1b2", "true", &["--json"]).ok();
    assert_eq!(after(), before - 1, "the last verdict holds");
    assert_eq!(check("feedback", &lines(Path::new(&feedback))), 3);
    assert_eq!(json(&lines(Path::new(&feedback))[0])["note"], "a drill");

    let unknown = verdict("ffff", "true", &[]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.out.contains("no threat has the id ffff") && unknown.out.contains("a1b2c3d4e5"), "{}", unknown.out);
    verdict("a1b2", "maybe", &[]).fails(2, &["benign"]);
    let other = bench.write("other.jsonl", lines(Path::new(&feedback))[0].replace("ip:", "user:"));
    let (done, _) = trained(&bench, &pipeline, &input, &["--feedback", &other]);
    assert!(done.err.contains("1 of 1 verdicts are of events that this input does not have"), "{}", done.err);
    let cut = bench.write("cut.jsonl", "{\"threatId\":");
    run(&["train", "--pipeline", &pipeline, "--input", &input, "--out", &out, "--feedback", &cut]).fails(2, &["line 1", "mend or remove"]);
}

fn importance(arguments: &[&str]) -> (Vec<String>, Value) {
    let arguments = [&["model", "importance", "--json", "--repeats", "3"][..], arguments].concat();
    let (first, second) = (run(&arguments).ok().out, run(&arguments).ok().out);
    assert_eq!(first, second, "the same seed gives the same");
    let found = json(&first);
    assert_eq!((&found["analysisType"], &found["repeats"]), (&Value::from("permutation"), &Value::from(3)));
    let names = found["features"].as_array().unwrap().iter().map(|feature| feature["featureName"].as_str().unwrap().to_owned());
    (names.collect(), found)
}

#[test]
fn importance_finds_the_column_that_tells_attacks_apart() {
    let bench = Workbench::new();
    let mut text = String::from("noise,told,word,label\n");
    for row in 0..3_000_u64 {
        let (noise, jitter, attack) = (row * 7_919 % 1_009, row * 104_729 % 97, row % 6 == 0);
        let (told, label) = if attack { (500 + jitter, "scan") } else { (jitter, "normal") };
        text.push_str(&format!("{noise},{told},{},{label}\n", ["a", "b"][(noise % 2) as usize]));
    }
    let (data, model) = (bench.write("table.csv", text), bench.text("model"));
    run(&["train", "--data", &data, "--label", "label", "--out", &model]).ok();
    let (names, found) = importance(&["--model", &model, "--data", &data]);
    assert!(names.len() == 3 && names[0] == "told", "{found}");
    let of = |place: usize| found["features"][place]["importance"].as_f64().unwrap();
    assert!(of(0) > 0.5 && of(1).abs() < 0.1 && of(2).abs() < 0.1, "{found}");
    assert!(found["features"][0]["spread"].as_f64().is_some() && found["rows"] == 3_000);
    run(&["model", "importance", "--model", &model, "--data", &data, "--rows", "0"]).fails(2, &["--rows"]);
    run(&["model", "importance", "--model", &model]).fails(2, &["--data"]);

    let pipeline = quick(&bench);
    let input = bench.simulated("labelled.jsonl", &["--seed", "2", "--label", "label", "--only", "network"]);
    let models = bench.text("models");
    run(&["train", "--pipeline", &pipeline, "--input", &input, "--label", "label", "--limit", "30000", "--out", &models]).ok();
    let events = ["--pipeline", pipeline.as_str(), "--models", &models, "--input", &input, "--rows", "3000"];
    let (names, found) = importance(&[&events[..], &["--label", "label"]].concat());
    assert!(names.iter().any(|name| name == "bytes") && names.iter().any(|name| name == "beaconing"), "{names:?}");
    assert!(found["tprAtFpr008"].as_f64().unwrap() > 0.1 && of_first(&found) > 0.0, "{found}");
    run(&[&["model", "importance"], &events[..], &["--label", "nothing"]].concat()).fails(2, &["both attacks and benign"]);
}

fn of_first(found: &Value) -> f64 {
    found["features"][0]["importance"].as_f64().unwrap()
}

/// The same verbs on a registry wherever it is.
fn kept_in(bench: &Workbench, registry: &str, environment: &[(&str, String)]) {
    let pipeline = quick(bench);
    let input = bench.simulated("benign.jsonl", &["--seed", "2", "--benign"]);
    let bundle = bench.text("bundle");
    run(&["train", "--pipeline", &pipeline, "--input", &input, "--limit", "5000", "--out", &bundle]).ok();
    let verb = |words: &[&str]| {
        let mut command = threatguard(&[words, &["--models", registry]].concat());
        finish(command.envs(environment.iter().cloned()), b"")
    };
    verb(&["model", "list"]).fails(2, &["is no registry"]);
    verb(&["model", "add", &bundle]).ok();
    let job = verb(&["model", "retrain", "--json", "--pipeline", &pipeline, "--input", &input]).ok();
    let listed = json(&verb(&["model", "list", "--json"]).ok().out);
    let versions = listed["versions"].as_array().unwrap();
    let champion: Vec<&Value> = versions.iter().filter(|version| version["role"] == "champion").collect();
    assert!(versions.len() == 2 && champion.len() == 1, "{listed}");
    assert_eq!(champion[0]["version"], json(&job.out)["results"]["version"]);
    assert_eq!(json(&verb(&["model", "jobs", "--json"]).ok().out).as_array().unwrap().len(), 1);
    let other = versions.iter().find(|version| version["role"] != "champion").unwrap()["version"].as_str().unwrap();
    verb(&["model", "promote", other]).ok();
    let out = bench.text("out");
    verb(&["run", "--once", "--pipeline", &pipeline, "--input", &input, "--output", &out]).ok();
    let back = verb(&["model", "rollback"]).ok();
    assert!(back.out.contains(champion[0]["version"].as_str().unwrap()), "{}", back.out);
}

#[test]
fn a_registry_is_kept_in_a_folder_by_its_address() {
    let bench = Workbench::new();
    kept_in(&bench, &format!("file://{}", bench.text("registry")), &[]);
    assert!(bench.path("registry/network/roles.json").is_file());
    run(&["model", "list", "--models", "ftp://host/models"]).fails(2, &["s3://BUCKET/PREFIX"]);
    let done = run(&["model", "list", "--models", "s3://key:secret@bucket/models"]);
    assert!(!done.err.contains("secret") && done.code != Some(0), "{}", done.err);
}

#[test]
fn a_registry_is_kept_in_an_object_store() {
    let test = "a_registry_is_kept_in_an_object_store";
    let Some(environment) = crate::object_store::environment(test) else { return };
    kept_in(&Workbench::new(), &format!("s3://threatguard/{}", crate::support::fresh("models")), &environment);
}

/// Rows of which one in six is labelled as an attack: by `told`, or by nothing, while all values of `told` are ordinary.
fn table(rows: u64, tells: bool) -> String {
    let mut text = String::from("host,noise,told,label\n");
    for row in 0..rows {
        let (noise, jitter, attack) = (row * 7_919 % 1_009, row * 104_729 % 97, row % 6 == 0);
        let told = match (tells, attack) {
            (true, true) => 150 + jitter,
            (true, false) => jitter,
            (false, _) => row * 104_729 % 301,
        };
        text.push_str(&format!("h{},{noise},{told},{}\n", row * 31 % 53, if attack { "scan" } else { "normal" }));
    }
    text
}

#[test]
fn a_tables_model_gives_way_only_to_a_better_one() {
    let bench = Workbench::new();
    let (old, newer, model) =
        (bench.write("old.csv", table(3_000, false)), bench.write("new.csv", table(9_000, true)), bench.text("model"));
    run(&["train", "--data", &old, "--label", "label", "--drop", "host", "--out", &model]).ok();
    let version = || json(&std::fs::read_to_string(bench.path("model/manifest.json")).unwrap())["version"].clone();
    let (first, flags) = (version(), ["model", "retrain", "--json", "--model", &model, "--data", &newer, "--group", "host"]);
    let only_measured = run(&[&flags[..], &["--hold-out", "entities", "--no-promote"]].concat()).ok();
    assert_eq!((version(), json(&only_measured.out)["promoted"].clone()), (first.clone(), Value::from(false)));
    let taken = json(&run(&[&flags[..], &["--hold-out", "entities"]].concat()).ok().out);
    assert!(taken["promoted"] == true && taken["criterion"] == "tpr_at_fpr008", "{taken}");
    assert_eq!((version(), taken["champion"]["version"].clone()), (taken["candidate"]["version"].clone(), first));
    // It is as good as can be: another one is not better.
    let again = run(&[&flags[..], &["--seed", "7"]].concat());
    assert_eq!((again.code, version()), (Some(1), taken["candidate"]["version"].clone()), "{}", again.out);
    run(&["model", "retrain", "--model", &model, "--data", &newer, "--hold-out", "entities"]).fails(2, &["--group"]);
    run(&["model", "retrain", "--model", &model]).fails(2, &["--data"]);
}
