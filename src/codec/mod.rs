//! Codecs: from a record's bytes to a [`RawEvent`]. Pure functions of one self-contained record.
//!
//! A record is one event. What is not self-contained on disk (Zeek's TSV rows under a `#fields` header) is made so by the
//! framer in [`frame`], for files and for `replay` alike, so that the log never depends on what came before.
//!
//! What every codec promises: a member that is not one to one an event field stays in [`RawEvent::extra`] as it was written, also
//! where the codec derived a field from it (an outcome from a connection state); at most [`JSON_FIELDS_MAX`] of them; a security
//! field that appears twice refuses the record.

pub mod auto;
pub mod cloudtrail;
pub mod frame;
pub mod json;
pub mod mapping;
pub mod suricata;
pub mod syslog;
pub mod threatguard;
pub mod zeek;

#[cfg(test)]
mod real_data_tests;
#[cfg(test)]
mod tests;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use crate::core::event::{Field, RawEvent, RejectReason, Repair, Repairs};
use crate::limits::JSON_FIELDS_MAX;

/// Why a record could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    pub reason: RejectReason,
    /// For a person: what was expected and where; never the payload.
    pub detail: String,
}

/// Decodes one record. Implementations never panic and never allocate outside the arena on their fast path.
pub trait Codec: Send + Sync {
    /// The name used by `--codec`.
    fn name(&self) -> &'static str;
    /// # Errors
    /// The record becomes a dead letter with the error's reason.
    fn decode<'b>(&self, payload: &'b [u8], arena: &'b Bump, out: &mut RawEvent<'b>) -> Result<(), DecodeError>;
}

impl DecodeError {
    fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    #[cold]
    fn duplicate(field: &str) -> Self {
        Self::new(RejectReason::DuplicateKey, format!("the field {field} appears twice"))
    }
}

/// The unknown fields of one record while they are collected.
struct Extra<'b> {
    fields: ArenaVec<'b, (&'b str, &'b str)>,
    limited: bool,
}

impl<'b> Extra<'b> {
    fn new(arena: &'b Bump) -> Self {
        Self { fields: ArenaVec::new_in(arena), limited: false }
    }

    #[inline]
    fn push(&mut self, name: &'b str, json: &'b str) {
        if self.fields.len() < JSON_FIELDS_MAX {
            self.fields.push((name, json));
        } else {
            self.limited = true;
        }
    }

    fn finish(self, out: &mut RawEvent<'b>) {
        if self.limited {
            out.repairs.add(Repair::FieldLimit);
        }
        out.extra = self.fields.into_bump_slice();
    }
}

/// Text of a field that has any; empty text counts as none.
fn text_of<'b>(field: Field<'b>) -> Option<&'b str> {
    match field {
        Field::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Text of a field, also of a number's digits: for identifiers that sensors write as numbers.
fn as_text<'b>(field: Field<'b>) -> Field<'b> {
    match field {
        Field::Number(digits) => Field::Text(digits),
        other => other,
    }
}

/// A count that a codec adds to another. Out of range or not a number: none, the sanitizer then sees the original.
fn count_of(field: Field<'_>) -> Option<u64> {
    match field {
        Field::Unsigned(count) => Some(count),
        Field::Number(digits) | Field::Text(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// The sum of two counts of which one may be missing.
fn sum_of<'b>(first: Field<'b>, second: Field<'b>) -> Field<'b> {
    match (count_of(first), count_of(second)) {
        (Some(a), Some(b)) => Field::Unsigned(a.saturating_add(b)),
        (Some(one), None) | (None, Some(one)) => Field::Unsigned(one),
        (None, None) => Field::Missing,
    }
}

/// `Outcome` as text from a yes or no.
fn outcome_text(success: bool) -> Field<'static> {
    Field::Text(if success { "success" } else { "failure" })
}

/// The outcome of an HTTP exchange by its status: below 400 the request was served.
fn http_outcome(status: Field<'_>) -> Field<'static> {
    match count_of(status) {
        Some(100..400) => outcome_text(true),
        Some(400..600) => outcome_text(false),
        _ => Field::Missing,
    }
}

/// Two texts as one in the arena.
fn join_in<'b>(arena: &'b Bump, first: &'b str, second: &'b str) -> &'b str {
    match (first, second) {
        ("", one) | (one, "") => one,
        _ => {
            let mut joined = bumpalo::collections::String::with_capacity_in(first.len() + second.len(), arena);
            joined.push_str(first);
            joined.push_str(second);
            joined.into_bump_str()
        }
    }
}

/// Notes that a slot is filled; `false` if it was before.
#[inline]
fn claim(seen: &mut u64, slot: usize) -> bool {
    let bit = 1 << slot;
    let fresh = *seen & bit == 0;
    *seen |= bit;
    fresh
}

/// Marks a repair made by a codec itself.
fn repaired(repairs: &mut Repairs, repair: Repair, when: bool) {
    if when {
        repairs.add(repair);
    }
}
