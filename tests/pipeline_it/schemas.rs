//! Every record that the program really writes, against the schemas that ship.

use std::path::Path;

use serde_json::Value;

use crate::process::{json, lines, run};
use crate::workbench::{PACKAGE, Workbench};

/// Records that were checked.
#[track_caller]
pub fn check<'l>(schema: &str, records: impl IntoIterator<Item = &'l String>) -> usize {
    let file = Path::new(PACKAGE).join("schemas").join(format!("{schema}.schema.json"));
    let schema: Value = json(&std::fs::read_to_string(file).unwrap());
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let mut checked = 0;
    for line in records {
        let problems: Vec<String> = validator.iter_errors(&json(line)).map(|error| format!("{} {error}", error.instance_path())).collect();
        assert!(problems.is_empty(), "{problems:#?}\n{line}");
        checked += 1;
    }
    checked
}

#[test]
fn what_a_demo_writes_follows_the_schemas() {
    let bench = Workbench::new();
    let folder = bench.text("demo");
    run(&["demo", "--plain", "--scenario", "small", "--output", &folder, "--verdicts", "json"]).ok();
    for (schema, file) in [("threat", "threats"), ("alert", "alerts"), ("analytics", "analytics"), ("verdict", "verdicts")] {
        let checked = check(schema, &lines(&bench.path("demo").join(format!("{file}.jsonl"))));
        println!("{file}.jsonl: {checked} records follow schemas/{schema}.schema.json");
        assert!(checked > 0, "a demo finds something");
    }
}

#[test]
fn what_the_simulator_writes_follows_the_schemas() {
    let bench = Workbench::new();
    let labels = bench.text("labels.jsonl");
    let events = bench.simulated("events.jsonl", &["--labels", &labels]);
    let (events, labels) = (check("raw-event", &lines(Path::new(&events))), check("label", &lines(Path::new(&labels))));
    println!("{events} events and {labels} labels follow their schemas");
    assert!(events > 10_000 && labels > 10);
}

/// Called with dead letters of every reason, by those who make them.
#[track_caller]
pub fn check_dead_letters(lines: &[String]) {
    check("dead-letter", lines);
}
