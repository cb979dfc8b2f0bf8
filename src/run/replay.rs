//! A file, folder or stream put into Kafka, at a chosen rate: each record under its entity as key and with its own time.
//!
//! The same framer and stamper as in an embedded run, so that the log holds what an embedded run would read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bumpalo::Bump;

use crate::core::decode::Decoded;
use crate::core::event::Record;
use crate::core::types::{EventTime, Partition};
use crate::edge::{Outgoing, Publisher, Records, TopicRole, clock};
use crate::error::{Error, Kind, Result};
use crate::limits::EVENT_TIME_MIN_MICROS;
use crate::run::framed::FramedInput;
use crate::run::pipeline::Pipeline;

const BATCH: usize = 1_024;

/// What was put into the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub records: u64,
    /// Records that no codec can read; they are in the log too, and become dead letters there.
    pub unreadable: u64,
}

/// Publishes everything of `input` to the topic of role [`TopicRole::Rekeyed`] of `publisher`, at most `per_second` records a
/// second where that is given.
///
/// # Errors
/// The input breaks off, or Kafka does not take a record.
pub fn replay(
    pipeline: &Pipeline,
    mut input: FramedInput,
    publisher: &dyn Publisher,
    per_second: Option<f64>,
    limit: Option<u64>,
    stop: &AtomicBool,
    mut progress: impl FnMut(Replayed, &FramedInput),
) -> Result<Replayed> {
    let begun = clock::now();
    let (mut records, mut done) = (Records::default(), Replayed::default());
    let mut arena = Bump::new();
    let batch = per_second.map_or(BATCH, |rate| ((rate / 20.0) as usize).clamp(1, BATCH));
    let left = |done: Replayed| limit.map_or(batch, |limit| batch.min(limit.saturating_sub(done.records) as usize));
    while left(done) > 0 && input.read(pipeline, &mut records, left(done))? > 0 && !stop.load(Ordering::Relaxed) {
        arena.reset();
        publish(pipeline, &records, &arena, publisher, stop, &mut done)?;
        records.clear();
        if let Some(rate) = per_second {
            let due = Duration::from_secs_f64(done.records as f64 / rate.max(1e-3));
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        progress(done, &input);
    }
    publisher.flush(Duration::from_secs(60))?;
    Ok(done)
}

fn publish(
    pipeline: &Pipeline,
    records: &Records,
    arena: &Bump,
    publisher: &dyn Publisher,
    stop: &AtomicBool,
    done: &mut Replayed,
) -> Result<()> {
    let whole: Vec<Record<'_>> = records.iter().map(|record| record.as_record(Partition(0))).collect();
    let mut decoded = Decoded::default();
    pipeline.decode(&whole, arena, &mut decoded);
    let mut events = decoded.events.iter().peekable();
    for record in &whole {
        let event = events.next_if(|event| event.at == record.at);
        done.records += 1;
        done.unreadable += u64::from(event.is_none());
        // A record without any time gets the earliest there is: the client must not put its own clock in.
        let time = record.time.unwrap_or(EventTime(EVENT_TIME_MIN_MICROS));
        let key = event.map(|event| event.entity.name.as_bytes());
        let outgoing = Outgoing { role: TopicRole::Rekeyed, partition: None, key, payload: record.payload, time: Some(time) };
        loop {
            match publisher.publish(outgoing) {
                Ok(_) => break,
                Err(error) if error.kind == Kind::Transient && !stop.load(Ordering::Relaxed) => {}
                Err(error) => return Err(Error::new(error.kind, "the replay stopped").because(error)),
            }
        }
    }
    Ok(())
}
