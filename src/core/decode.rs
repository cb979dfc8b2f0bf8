//! Stage 1/8: records to events, through the pipeline's codec and stage 2. Never loses a record: each becomes one event or one reject.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bumpalo::Bump;

use crate::codec::{Codec, DecodeError};
use crate::core::event::{Event, RawEvent, Record, Reject, RejectReason};
use crate::core::sanitize::Sanitizer;
use crate::limits::RECORD_BYTES_MAX;

/// What became of a batch. Events and rejects are each in the order of their records.
#[derive(Clone, Debug, Default)]
pub struct Decoded<'b> {
    pub events: Vec<Event<'b>>,
    pub rejects: Vec<Reject<'b>>,
}

/// Decodes and sanitizes a batch, adding to `out`.
///
/// # Panics
/// If records and results do not add up: a bug that must not go on.
pub fn decode_batch<'b>(codec: &dyn Codec, sanitizer: &Sanitizer, records: &[Record<'b>], arena: &'b Bump, out: &mut Decoded<'b>) {
    let before = out.events.len() + out.rejects.len();
    out.events.reserve(records.len());
    for record in records {
        let events = &mut out.events;
        // The event is made where it stays: with its fields it is a kilobyte that need not be copied around.
        events.push(Event::blank(record));
        let event = events.last_mut().expect("one was just pushed");
        let result = guarded(codec, || {
            let mut raw = RawEvent::default();
            decode_one(codec, record.payload, arena, &mut raw)?;
            sanitizer.sanitize_into(&raw, arena, record.time, event);
            Ok(())
        });
        if let Err(error) = result {
            events.pop();
            out.rejects.push(Reject { at: record.at, reason: error.reason, detail: error.detail, raw: record.payload });
        }
    }
    assert_eq!(out.events.len() + out.rejects.len() - before, records.len(), "every record becomes one event or one reject");
}

/// Stage 1 for one record, and whatever `then` makes of its fields.
///
/// # Errors
/// What makes the record a dead letter: also a panic on the way, which stays that record's own.
pub fn decode_guarded<'b, T>(
    codec: &dyn Codec,
    payload: &'b [u8],
    arena: &'b Bump,
    then: impl FnOnce(&RawEvent<'b>) -> T,
) -> Result<T, DecodeError> {
    guarded(codec, || {
        let mut raw = RawEvent::default();
        decode_one(codec, payload, arena, &mut raw)?;
        Ok(then(&raw))
    })
}

fn decode_one<'b>(codec: &dyn Codec, payload: &'b [u8], arena: &'b Bump, raw: &mut RawEvent<'b>) -> Result<(), DecodeError> {
    if payload.len() > RECORD_BYTES_MAX {
        let detail = format!("larger than {RECORD_BYTES_MAX} bytes");
        return Err(DecodeError { reason: RejectReason::TooLarge, detail });
    }
    codec.decode(payload, arena, raw)
}

/// Turns a panic into an error. Codecs and the sanitizer are immutable and the arena only grows, so nothing half-done is seen later.
fn guarded<T>(codec: &dyn Codec, work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let bug = |_| Err(DecodeError { reason: RejectReason::Panicked, detail: format!("decoding {} panicked", codec.name()) });
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(bug)
}

#[cfg(test)]
mod tests;
