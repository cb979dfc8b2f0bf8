//! The record time of framed records: the event's own time, else the one carried on from the records before. Never the host's clock.
//!
//! One line with a wrong date must not move time for all that follow. A line dated far ahead of the carried time is held back until
//! the next dated lines say whether time has come that far; where they do not, it gets the carried time. Going back needs no such
//! proof: it moves nothing. What is held is bounded, and depends on the records alone, never on how they were cut into reads; only
//! of a live input's very first lines is decided by what has come in.

use std::collections::VecDeque;

use bumpalo::Bump;

use super::Framed;
use crate::codec::Codec;
use crate::core::decode::decode_guarded;
use crate::core::sanitize::Sanitizer;
use crate::core::types::EventTime;
use crate::limits::EVENT_AHEAD_OF_RECORD_MICROS_MAX;

const MICROS_PER_MILLISECOND: i64 = 1_000;
/// So many dated lines behind a jump have to confirm it.
const WITNESSES: usize = 3;
/// Lines without a date between them may not be held for ever: with so many held, those that are there decide.
const HELD_MAX: usize = 64;

/// Receives records with their time, in order.
pub type Stamped<'s> = &'s mut dyn FnMut(Framed<'_>, Option<EventTime>);

/// Gives records that come from no broker their record time.
///
/// The embedded source sets it as [`crate::core::event::Record::time`], `replay` as the Kafka record's timestamp; both in whole
/// milliseconds, as Kafka keeps it, so that both ways give the same events. It depends on all records before and on a few behind, so
/// a source that starts in the middle of a file has to stamp from its beginning.
#[derive(Clone, Debug, Default)]
pub struct Stamper {
    carried: Option<EventTime>,
    held: VecDeque<Held>,
}

/// A record that waits for its time.
#[derive(Clone, Debug)]
struct Held {
    payload: Vec<u8>,
    full_bytes: u64,
    own: Option<EventTime>,
}

/// What the dated lines behind a jump say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Confirmed,
    /// Time has come no further than this.
    Refuted(EventTime),
    /// So many lines confirm it, and more are wanted.
    Open(usize),
}

impl Stamper {
    /// Takes the next record; hands on all whose time is known by now. A record has none as long as none before it had a valid one.
    pub fn push(&mut self, codec: &dyn Codec, sanitizer: &Sanitizer, record: Framed<'_>, arena: &Bump, out: Stamped<'_>) {
        let whole = |time: EventTime| EventTime(time.0 - time.0.rem_euclid(MICROS_PER_MILLISECOND));
        let own = decode_guarded(codec, record.payload, arena, |raw| sanitizer.own_time(raw, self.carried)).ok().flatten().map(whole);
        if self.held.is_empty() && self.is_believable(own) {
            self.carried = own.or(self.carried);
            out(record, self.carried);
            return;
        }
        self.held.push_back(Held { payload: record.payload.to_vec(), full_bytes: record.full_bytes, own });
        self.settle(self.held.len() >= HELD_MAX, out);
    }

    /// The input has ended: the lines that are there decide.
    pub fn finish(&mut self, out: Stamped<'_>) {
        self.settle(true, out);
    }

    /// A live input has no more for now: its first lines do not wait for others, so that the first result does not either.
    pub fn begin(&mut self, out: Stamped<'_>) {
        if self.carried.is_none() {
            self.settle(true, out);
        }
    }

    /// Whether time moves by this line without proof.
    fn is_believable(&self, own: Option<EventTime>) -> bool {
        own.is_none_or(|own| self.carried.is_some_and(|carried| own.0 - carried.0 <= EVENT_AHEAD_OF_RECORD_MICROS_MAX))
    }

    fn settle(&mut self, last: bool, out: Stamped<'_>) {
        while let Some(first) = self.held.front() {
            let time = match first.own {
                own if self.is_believable(own) => own.or(self.carried),
                own => match self.evidence(own) {
                    Evidence::Confirmed => own,
                    Evidence::Refuted(behind) => self.carried.or(Some(behind)),
                    Evidence::Open(_) if !last => return,
                    // An input of one line has no other time; in all others, the last line alone proves nothing.
                    Evidence::Open(0) => self.carried.or(own),
                    Evidence::Open(_) => own,
                },
            };
            self.carried = time;
            if let Some(Held { payload, full_bytes, .. }) = self.held.pop_front() {
                out(Framed { payload: &payload, full_bytes }, time);
            }
        }
    }

    /// What the lines behind the first say of its time: they confirm it by being dated about there or later.
    fn evidence(&self, jump: Option<EventTime>) -> Evidence {
        let behind = self.held.iter().skip(1).filter_map(|held| held.own).take(WITNESSES);
        let mut witnesses = 0;
        for own in behind {
            if jump.is_some_and(|jump| jump.0 - own.0 > EVENT_AHEAD_OF_RECORD_MICROS_MAX) {
                return Evidence::Refuted(own);
            }
            witnesses += 1;
        }
        if witnesses == WITNESSES { Evidence::Confirmed } else { Evidence::Open(witnesses) }
    }
}
