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
/// second where that is given. A file that breaks off is reported at the end, after what could be read of it and of the files behind
/// it is durable, as in an embedded run.
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
    let mut broken = None;
    while left(done) > 0 && (!stop.load(Ordering::Relaxed) || input.is_live()) {
        match input.read(pipeline, &mut records, left(done)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => broken = broken.or(Some(error)),
        }
        arena.reset();
        publish(pipeline, &records, &arena, publisher, stop, &mut done)?;
        records.clear();
        if let Some(rate) = per_second.filter(|_| !stop.load(Ordering::Relaxed)) {
            let due = Duration::from_secs_f64(done.records as f64 / rate.max(1e-3));
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        progress(done, &input);
    }
    publisher.flush(Duration::from_secs(60))?;
    let sent = |error: Error| Error::new(error.kind, format!("{} records were sent, not all there were", done.records)).because(error);
    broken.map_or(Ok(done), |error| Err(sent(error)))
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::config::pipeline::PipelineFile;
    use crate::edge::Sequence;
    use crate::edge::file::open_input;

    /// Takes everything; durable is what was flushed.
    #[derive(Default)]
    struct Log {
        taken: AtomicU64,
        durable: AtomicU64,
    }

    impl Publisher for Log {
        fn publish(&self, _: Outgoing<'_>) -> Result<Sequence> {
            Ok(Sequence(self.taken.fetch_add(1, Ordering::Relaxed) + 1))
        }
        fn produced(&self) -> Sequence {
            Sequence(self.taken.load(Ordering::Relaxed))
        }
        fn delivered(&self) -> Sequence {
            Sequence(self.durable.load(Ordering::Relaxed))
        }
        fn failure(&self) -> Option<Error> {
            None
        }
        fn flush(&self, _: Duration) -> Result<()> {
            self.durable.store(self.taken.load(Ordering::Relaxed), Ordering::Relaxed);
            Ok(())
        }
    }

    fn packed(lines: usize) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::none());
        for number in 0..lines {
            let line = format!("{{\"timestamp\":\"2026-03-03T09:00:00Z\",\"source_ip\":\"10.0.0.{}\"}}\n", number % 250);
            packer.write_all(line.as_bytes()).unwrap();
        }
        packer.finish().unwrap()
    }

    #[test]
    fn what_was_read_before_a_file_broke_off_is_durable_and_the_next_file_follows() {
        let folder = tempfile::tempdir().unwrap();
        let whole = packed(10_000);
        std::fs::write(folder.path().join("a.gz"), &whole[..whole.len() * 3 / 4]).unwrap();
        std::fs::write(folder.path().join("b.gz"), packed(100)).unwrap();
        let pipeline = Pipeline::open(PipelineFile::plain(), None).unwrap();
        let input = FramedInput::new(open_input(folder.path().to_str().unwrap()).unwrap());
        let log = Log::default();
        let error = replay(&pipeline, input, &log, None, None, &AtomicBool::new(false), |_, _| {}).unwrap_err().to_string();
        let durable = log.delivered().0;
        assert!((7_000..7_700).contains(&durable) && log.produced().0 == durable, "{durable} of {:?}", log.produced());
        assert!(error.contains(&format!("{durable} records were sent")) && error.contains("a.gz"), "{error}");
    }
}
