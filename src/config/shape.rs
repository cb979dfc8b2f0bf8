//! Holds a YAML value against a generated JSON Schema and reports every wrong key and every wrong type at once.
//!
//! Serde stops at the first error; a person who edits a file wants all of them. Only what schemars generates for our own
//! structs is understood here: this is no general validator.

use serde_json::Value as Json;
use serde_norway::Value as Yaml;

use super::problem::{Path, Problem, suggestion};

/// Named schemas whose text form is checked by the type's own parser.
type TextForm = (&'static str, fn(&str) -> Result<(), String>);
const TEXT_FORMS: [TextForm; 2] = [
    ("Span", |text| text.parse::<crate::core::settings::Span>().map(drop)),
    ("Bytes", |text| text.parse::<super::service::Bytes>().map(drop)),
];

/// Every problem of `value` under `schema`, a schema as schemars writes it.
#[must_use]
pub(super) fn problems(schema: &Json, value: &Yaml) -> Vec<Problem> {
    let mut found = vec![];
    Walk { root: schema }.visit(schema, value, &Path::default(), &mut found);
    found
}

/// Paths of all scalar settings that a schema of nested objects has, such as `kafka.linger`, in the schema's order.
#[must_use]
pub(super) fn leaves(schema: &Json) -> Vec<Vec<String>> {
    let mut found = vec![];
    Walk { root: schema }.collect_leaves(schema, &mut vec![], &mut found);
    found
}

struct Walk<'s> {
    root: &'s Json,
}

impl<'s> Walk<'s> {
    fn visit(&self, schema: &'s Json, value: &Yaml, path: &Path, out: &mut Vec<Problem>) {
        let (schema, name) = self.resolve(schema);
        if let (Some((_, parse)), Some(text)) = (TEXT_FORMS.iter().find(|(form, _)| *form == name), scalar_text(value)) {
            out.extend(parse(&text).err().map(|message| Problem::new(path.clone(), message)));
            return;
        }
        if let Some(branches) = branches(schema) {
            self.visit_branches(branches, value, path, out);
            return;
        }
        let kinds = kinds(schema);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_kind(kind, value)) {
            out.push(Problem::new(path.clone(), wrong_kind(&kinds, value)));
            return;
        }
        check_constant(schema, value, path, out);
        check_bounds(schema, value, path, out);
        match value {
            Yaml::Mapping(map) => self.visit_map(schema, map, path, out),
            Yaml::Sequence(list) => {
                if let Some(items) = schema.get("items") {
                    for (index, item) in list.iter().enumerate() {
                        self.visit(items, item, &path.index(index), out);
                    }
                }
            }
            _ => {}
        }
    }

    fn visit_map(&self, schema: &'s Json, map: &serde_norway::Mapping, path: &Path, out: &mut Vec<Problem>) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let valid: Vec<&str> = properties.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
        for (key, value) in map {
            let Some(key) = scalar_text(key) else {
                out.push(Problem::new(path.clone(), "a key must be text"));
                continue;
            };
            let below = path.key(&key);
            if let Some(known) = properties.and_then(|known| known.get(&key)) {
                self.visit(known, value, &below, out);
            } else if let Some(values @ Json::Object(_)) = schema.get("additionalProperties") {
                self.visit(values, value, &below, out);
            } else if schema.get("additionalProperties") == Some(&Json::Bool(false)) {
                out.push(Problem::new(below, format!("unknown key '{}', {}", key.escape_debug(), suggestion(&key, &valid))));
            }
        }
        for required in schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            if !map.contains_key(required) {
                out.push(Problem::new(path.clone(), format!("'{required}' is missing")));
            }
        }
    }

    /// One branch has to fit. If none does, the problems of the one that is of the value's kind say most.
    fn visit_branches(&self, branches: &'s [Json], value: &Yaml, path: &Path, out: &mut Vec<Problem>) {
        let mut closest: Option<Vec<Problem>> = None;
        for branch in branches {
            let mut found = vec![];
            self.visit(branch, value, path, &mut found);
            if found.is_empty() {
                return;
            }
            let (resolved, _) = self.resolve(branch);
            if kinds(resolved).iter().any(|kind| is_kind(kind, value)) && closest.is_none() {
                closest = Some(found);
            }
        }
        let constants = self.constants(branches);
        match (scalar_text(value), closest) {
            (Some(text), _) if !constants.is_empty() => out.push(unknown_value(&text, &constants, path)),
            (_, Some(found)) => out.extend(found),
            (_, None) => {
                let kinds: Vec<&str> = branches.iter().flat_map(|branch| kinds(self.resolve(branch).0)).collect();
                out.push(Problem::new(path.clone(), wrong_kind(&kinds, value)));
            }
        }
    }

    /// The texts that the branches of an enum allow.
    fn constants(&self, branches: &'s [Json]) -> Vec<&'s str> {
        let mut found = vec![];
        for branch in branches {
            let (branch, _) = self.resolve(branch);
            found.extend(constants(branch));
            if let Some(inner) = self::branches(branch) {
                found.extend(self.constants(inner));
            }
        }
        found
    }

    /// Follows `$ref`; also the name of what it led to.
    fn resolve(&self, schema: &'s Json) -> (&'s Json, &'s str) {
        let Some(name) = schema.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix("#/$defs/")) else {
            return (schema, "");
        };
        let target = self.root.get("$defs").and_then(|defs| defs.get(name));
        (target.expect("schemars defines what it refers to"), name)
    }

    fn collect_leaves(&self, schema: &'s Json, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
        let (schema, _) = self.resolve(schema);
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            for (name, below) in properties {
                path.push(name.clone());
                self.collect_leaves(below, path, out);
                path.pop();
            }
        } else if !schema.get("additionalProperties").is_some_and(Json::is_object) {
            out.push(path.clone());
        }
    }
}

fn branches(schema: &Json) -> Option<&[Json]> {
    let list = schema.get("anyOf").or_else(|| schema.get("oneOf"))?;
    list.as_array().map(Vec::as_slice)
}

fn kinds(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => vec![],
    }
}

fn is_kind(kind: &str, value: &Yaml) -> bool {
    match (kind, value) {
        ("string", Yaml::String(_))
        | ("boolean", Yaml::Bool(_))
        | ("object", Yaml::Mapping(_))
        | ("array", Yaml::Sequence(_))
        | ("null", Yaml::Null)
        | ("number", Yaml::Number(_)) => true,
        ("integer", Yaml::Number(number)) => !number.is_f64(),
        _ => false,
    }
}

fn wrong_kind(kinds: &[&str], value: &Yaml) -> String {
    let expected: Vec<&str> = kinds.iter().filter(|kind| **kind != "null").map(|kind| shown_kind(kind)).collect();
    let (found, hint) = match value {
        Yaml::Null => ("nothing", "; remove the key or give it a value"),
        Yaml::Bool(_) | Yaml::Number(_) if kinds.contains(&"string") => ("a bare value", "; put it in quotes"),
        Yaml::Bool(_) => ("true or false", ""),
        Yaml::Number(_) => ("a number", ""),
        Yaml::String(_) => ("text", ""),
        Yaml::Sequence(_) => ("a list", ""),
        Yaml::Mapping(_) => ("a mapping", ""),
        Yaml::Tagged(_) => ("a tagged value", "; tags are not supported"),
    };
    format!("expected {}, found {found}{hint}", expected.join(" or "))
}

fn shown_kind(kind: &str) -> &str {
    match kind {
        "string" => "text",
        "boolean" => "true or false",
        "object" => "a mapping",
        "array" => "a list",
        "integer" => "a whole number",
        "number" => "a number",
        other => other,
    }
}

fn constants(schema: &Json) -> Vec<&str> {
    let list = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    list.chain(schema.get("const")).filter_map(Json::as_str).collect()
}

fn check_constant(schema: &Json, value: &Yaml, path: &Path, out: &mut Vec<Problem>) {
    let valid = constants(schema);
    let Yaml::String(text) = value else { return };
    if !valid.is_empty() && !valid.contains(&text.as_str()) {
        out.push(unknown_value(text, &valid, path));
    }
}

fn unknown_value(text: &str, valid: &[&str], path: &Path) -> Problem {
    Problem::new(path.clone(), format!("'{}' is not known here, {}", text.escape_debug(), suggestion(text, valid)))
}

/// Bounds of whole numbers: what schemars derives from `u16`, `u32` and so on.
fn check_bounds(schema: &Json, value: &Yaml, path: &Path, out: &mut Vec<Problem>) {
    let Yaml::Number(number) = value else { return };
    let Some(number) = number.as_f64() else { return };
    let minimum = schema.get("minimum").and_then(Json::as_f64).unwrap_or(f64::NEG_INFINITY);
    let maximum = match schema.get("format").and_then(Json::as_str) {
        Some("uint32") => f64::from(u32::MAX),
        Some("int32") => f64::from(i32::MAX),
        _ => schema.get("maximum").and_then(Json::as_f64).unwrap_or(f64::INFINITY),
    };
    if number < minimum || number > maximum {
        let bound = if number < minimum { format!("at least {minimum}") } else { format!("at most {maximum}") };
        out.push(Problem::new(path.clone(), format!("{number} is out of range, write {bound}")));
    }
}

/// A scalar as it is written.
fn scalar_text(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
