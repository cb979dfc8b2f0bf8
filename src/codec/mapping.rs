//! The `mapping` codec: any flat or nested JSON, by the paths that a pipeline file names. Never guesses a field that no path names.

use std::collections::BTreeMap;

use bumpalo::Bump;
use serde::{Deserialize, Serialize};

use super::json::{Elements, Member, Members};
use super::{Codec, DecodeError, Extra};
use crate::core::event::{Field, FieldId, RawEvent};
use crate::error::{Error, Result};

/// How any flat or nested JSON becomes an event.
// Field names are those of [`FieldId::NAMES`]. A path is tried as a member's own dotted name first, then as members inside members;
// a number selects from an array.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct MappingSettings {
    /// Our field and where it is found: `source_ip: client.address`, or several places of which the first that exists counts.
    pub fields: BTreeMap<String, PathOrPaths>,
    /// Our field and the text it always has: `event_type: flow`.
    pub constants: BTreeMap<String, String>,
}

/// One dotted path into the input, or several to try in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum PathOrPaths {
    One(String),
    FirstOf(Vec<String>),
}

impl PathOrPaths {
    #[must_use]
    pub fn paths(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::FirstOf(paths) => paths,
        }
    }
}

/// [`MappingSettings`] whose names have been checked.
#[derive(Clone, Debug)]
pub struct Mapped {
    rules: Vec<Rule>,
    constants: Vec<(FieldId, String)>,
}

#[derive(Clone, Debug)]
struct Rule {
    id: FieldId,
    path: String,
    /// Place in the field's list; a lower one wins.
    rank: usize,
}

impl Mapped {
    /// # Errors
    /// `Config` with the nearest valid name for an unknown field, and for a mapping without any path.
    pub fn new(mapping: &MappingSettings) -> Result<Self> {
        let mut rules = Vec::new();
        for (name, paths) in &mapping.fields {
            let id = field_id(name)?;
            let paths = paths.paths();
            if paths.is_empty() || paths.iter().any(String::is_empty) {
                return Err(Error::config(format!("mapping: the field `{name}` has an empty path")));
            }
            rules.extend(paths.iter().enumerate().map(|(rank, path)| Rule { id, path: path.clone(), rank }));
        }
        if rules.is_empty() {
            return Err(Error::config("mapping: `fields` names no path"));
        }
        let constants = mapping.constants.iter().map(|(name, text)| Ok((field_id(name)?, text.clone()))).collect::<Result<_>>()?;
        Ok(Self { rules, constants })
    }
}

fn field_id(name: &str) -> Result<FieldId> {
    let found = FieldId::ALL.iter().find(|(_, known)| *known == name);
    found.map(|(id, _)| *id).ok_or_else(|| {
        let nearest = super::auto::nearest(name, &FieldId::NAMES).map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
        Error::config(format!("mapping: unknown field `{name}`{nearest}"))
    })
}

/// What has been found for each field so far: its value and the rank of its path.
type Found<'b> = [Option<(usize, Field<'b>)>; FieldId::COUNT];

impl Codec for Mapped {
    fn name(&self) -> &'static str {
        "mapping"
    }

    fn decode<'b>(&self, payload: &'b [u8], arena: &'b Bump, out: &mut RawEvent<'b>) -> std::result::Result<(), DecodeError> {
        let mut found: Found<'b> = [None; FieldId::COUNT];
        let mut extra = Extra::new(arena);
        let mut members = Members::document(payload, arena)?;
        while let Some(member) = members.next(arena)? {
            if !self.take(&member, arena, &mut found)? {
                extra.push(member.name, member.raw);
            }
        }
        for ((id, _), value) in FieldId::ALL.into_iter().zip(found) {
            if let Some((_, value)) = value {
                out.set(id, value);
            }
        }
        for (id, text) in &self.constants {
            if out.get(*id) == Field::Missing {
                out.set(*id, Field::Text(arena.alloc_str(text)));
            }
        }
        extra.finish(out);
        Ok(())
    }
}

impl Mapped {
    /// Applies every rule that leads into a member; `true` if one took the member as it is.
    fn take<'b>(&self, member: &Member<'b>, arena: &'b Bump, found: &mut Found<'b>) -> std::result::Result<bool, DecodeError> {
        let mut whole = false;
        for rule in &self.rules {
            let Some(rest) = rule.path.strip_prefix(member.name) else { continue };
            let value = match (rest.strip_prefix('.'), member.value) {
                (None, value) if rest.is_empty() => {
                    if found[rule.id as usize].is_some_and(|(rank, _)| rank == rule.rank) {
                        return Err(DecodeError::duplicate(FieldId::NAMES[rule.id as usize]));
                    }
                    whole |= !matches!(value, Field::Nested(_));
                    value
                }
                (Some(path), Field::Nested(text)) => select(text, path, arena)?,
                _ => Field::Missing,
            };
            if value != Field::Missing && found[rule.id as usize].is_none_or(|(rank, _)| rule.rank < rank) {
                found[rule.id as usize] = Some((rule.rank, value));
            }
        }
        Ok(whole)
    }
}

/// The value at a path inside a nested value. The first member that leads on wins; depth is bounded by the JSON's own.
fn select<'b>(text: &'b str, path: &str, arena: &'b Bump) -> std::result::Result<Field<'b>, DecodeError> {
    if let Some(mut elements) = Elements::nested(text) {
        let (index, rest) = path.split_once('.').map_or((path, None), |(index, rest)| (index, Some(rest)));
        let Ok(index) = index.parse::<usize>() else { return Ok(Field::Missing) };
        for _ in 0..index {
            if elements.next_value(arena).is_none() {
                return Ok(Field::Missing);
            }
        }
        return match (elements.next_value(arena), rest) {
            (Some(value), None) => Ok(value),
            (Some(Field::Nested(inner)), Some(rest)) => select(inner, rest, arena),
            _ => Ok(Field::Missing),
        };
    }
    let Some(mut members) = Members::nested(text) else { return Ok(Field::Missing) };
    while let Some(member) = members.next(arena)? {
        match (path.strip_prefix(member.name), member.value) {
            (Some(""), value) => return Ok(value),
            (Some(rest), Field::Nested(inner)) if rest.starts_with('.') => return select(inner, &rest[1..], arena),
            _ => {}
        }
    }
    Ok(Field::Missing)
}
