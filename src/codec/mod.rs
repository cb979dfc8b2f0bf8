//! Codecs: from a record's bytes to a [`RawEvent`]. Pure functions of one self-contained record.
//!
//! A record is one event. What is not self-contained on disk (Zeek's TSV rows under a `#fields` header) is made so by the
//! framer in [`frame`], for files and for `replay` alike, so that the log never depends on what came before.

use bumpalo::Bump;

use crate::core::event::{RawEvent, RejectReason};

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
