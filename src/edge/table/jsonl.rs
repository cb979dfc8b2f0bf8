//! JSON Lines: one object a line, its members the cells. Members of inner objects are `outer.inner`; a list is its text. Must never
//! take a line that is no object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::builder::Builder;
use super::{Expected, frame};
use crate::error::{Error, Result};
use crate::models::table::frame::Frame;

pub(super) fn read(text: &str, expected: Expected<'_>) -> Result<Frame> {
    let mut columns: BTreeMap<String, Builder> = BTreeMap::new();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (rows, (place, line)) in lines.enumerate() {
        let bad = |why: &str| Error::config(format!("line {} is not a JSON object{why}", place + 1));
        let Value::Object(members) = serde_json::from_str(line).map_err(|error| bad("").because(error))? else { return Err(bad("")) };
        for (name, value) in &members {
            put(&mut columns, name, value, rows).map_err(|name| bad(&format!(" with one '{name}'")))?;
        }
        columns.values_mut().filter(|column| column.len() <= rows).for_each(Builder::push_missing);
    }
    frame(columns.into_iter().collect(), expected)
}

/// Adds a member; the error is a name that the row has twice.
fn put(columns: &mut BTreeMap<String, Builder>, name: &str, value: &Value, rows: usize) -> Result<(), String> {
    if let Value::Object(members) = value {
        return members.iter().try_for_each(|(inner, value)| put(columns, &format!("{name}.{inner}"), value, rows));
    }
    let column = columns.entry(name.to_owned()).or_insert_with(|| Builder::after(rows));
    if column.len() > rows {
        return Err(name.to_owned());
    }
    match value {
        Value::Null => column.push_missing(),
        Value::String(text) => column.push(text),
        other => column.push(&other.to_string()),
    }
    Ok(())
}
