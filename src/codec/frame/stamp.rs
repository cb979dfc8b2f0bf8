//! The record time of framed records: the event's own time, else the one carried on from the records before. Never the host's clock.

use bumpalo::Bump;

use crate::codec::Codec;
use crate::core::decode::decode_guarded;
use crate::core::sanitize::Sanitizer;
use crate::core::types::EventTime;

const MICROS_PER_MILLISECOND: i64 = 1_000;

/// Gives records that come from no broker their record time.
///
/// The embedded source sets it as [`crate::core::event::Record::time`], `replay` as the Kafka record's timestamp; both in whole
/// milliseconds, as Kafka keeps it, so that both ways give the same events. It depends on all records before, so a source that starts
/// in the middle of a file has to stamp from its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamper {
    carried: Option<EventTime>,
}

impl Stamper {
    /// The record time of the next record; `None` as long as no record had a valid time. Allocates in `arena`, which may be reset after.
    pub fn stamp(&mut self, codec: &dyn Codec, sanitizer: &Sanitizer, payload: &[u8], arena: &Bump) -> Option<EventTime> {
        let own = decode_guarded(codec, payload, arena, |raw| sanitizer.own_time(raw, self.carried)).ok().flatten();
        let whole = |time: EventTime| EventTime(time.0 - time.0.rem_euclid(MICROS_PER_MILLISECOND));
        self.carried = own.map(whole).or(self.carried);
        self.carried
    }
}
