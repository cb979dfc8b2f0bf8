//! JSON Schemas of the configuration, generated from its structs. `schemas/` holds a copy that a test keeps equal.

use serde_json::Value;

use super::pipeline::PipelineFile;
use super::service::ServiceSettings;

/// Of the service configuration, `threatguard.yaml`.
#[must_use]
pub fn service() -> Value {
    let mut schema = schemars::schema_for!(ServiceSettings).to_value();
    name(&mut schema, "ThreatGuard service configuration (threatguard.yaml)");
    schema
}

/// Of a pipeline file, `pipelines/*.yaml`.
#[must_use]
pub fn pipeline() -> Value {
    let mut schema = schemars::schema_for!(PipelineFile).to_value();
    name(&mut schema, "ThreatGuard pipeline file (pipelines/*.yaml)");
    schema
}

fn name(schema: &mut Value, title: &str) {
    if let Value::Object(fields) = schema {
        fields.insert("title".into(), title.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the committed file, or rewrites it under `UPDATE=1`.
    #[track_caller]
    fn check(file: &str, schema: &Value) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(file);
        let fresh = serde_json::to_string_pretty(schema).unwrap() + "\n";
        if std::env::vars_os().any(|(name, value)| name == "UPDATE" && value == "1") {
            std::fs::write(&path, &fresh).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == fresh, "{} is out of date: run the tests once with UPDATE=1", path.display());
    }

    #[test]
    fn the_committed_schemas_are_those_of_the_structs() {
        check("config.schema.json", &service());
        check("pipeline.schema.json", &pipeline());
    }

    #[test]
    fn the_schemas_accept_what_the_loader_accepts_and_refuse_what_it_refuses() {
        let validator = jsonschema::validator_for(&pipeline()).unwrap();
        let read = |text: &str| serde_norway::from_str::<Value>(text).unwrap();
        let good = "name: a\ntests: [{name: t, given: [{line: x, every: 5m}], expect: {no_threats: true}}]";
        assert!(validator.is_valid(&read(good)));
        for bad in ["name: a", "name: a\ntests: []\nnonsense: 1", "name: a\ntests: [{name: t, given: [{every: soon}], expect: {}}]"] {
            assert!(!validator.is_valid(&read(bad)), "{bad}");
        }
    }
}
