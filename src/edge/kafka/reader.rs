//! The source's thread: serves the group, takes messages in batches, hands them over. It waits for a receiver without neglecting
//! the group, and drops no record that its generation still owns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::group::{GroupContext, Sent, Shared};
use super::{kind_of, refuse};
use crate::core::types::{EventTime, Generation, Offset, Partition};
use crate::edge::clock::{self, Deadline};
use crate::edge::records::Records;
use crate::edge::{Delivery, LogEvent, PartitionBatch};
use crate::error::{Error, Kind};
use crate::limits::{BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use crate::native::consume::{BatchConsumer, Message};

/// Messages of one call into the client, few enough that their copies fit a batch whatever their size.
pub(super) const TAKE_MAX: usize = 256;
const _: () = assert!(TAKE_MAX * RECORD_BYTES_MAX <= BATCH_BYTES_MAX);
/// How long one wait for a first message lasts when nothing arrives, over all channels; a rebalance is seen that much later.
const IDLE_WAIT_MS: usize = 5;
/// The wrapper does not say whether its queue is empty, so each look serves a few of what may be there.
const EVENTS_A_LOOK: usize = 4;
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// Deliver a partition from here on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub partition: Partition,
    pub generation: Generation,
    pub from: Offset,
    pub delivery: Delivery,
}

pub(super) struct Reader {
    pub client: BatchConsumer<GroupContext>,
    pub shared: Arc<Shared>,
    pub commands: Receiver<Command>,
    pub recycled: Receiver<Records>,
    pub assembly: Assembly,
    pub stall_warning: Duration,
    pub report_end: bool,
    pub batch_events: usize,
}

impl Reader {
    /// Reads until it is told to stop or fails, then leaves the group and closes the channels.
    pub(super) fn run(mut self) {
        let mut next_watch = clock::now() + WATCH_EVERY;
        while !self.shared.stop.load(Ordering::Acquire) && !self.shared.has_failed() {
            self.obey();
            self.serve_group();
            if self.round() == 0 {
                if self.report_end {
                    self.report_ends();
                }
                self.idle();
            }
            let now = clock::now();
            if now >= next_watch {
                next_watch = now + WATCH_EVERY;
                self.watch(now);
            }
        }
        self.finish();
    }

    fn obey(&mut self) {
        for command in self.commands.try_iter() {
            if let Err(error) = self.shared.start(self.client.consumer(), &command) {
                self.shared.fail(error);
            }
        }
    }

    /// Rebalances, commit answers, errors and log lines. Messages never come this way.
    fn serve_group(&mut self) {
        for _ in 0..EVENTS_A_LOOK {
            self.serve_event();
        }
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        if epoch != self.assembly.epoch {
            self.assembly.epoch = epoch;
            let owned = self.shared.owned();
            let started = owned.iter().filter_map(|(partition, ownership)| Some((*partition, (ownership.generation, ownership.started?))));
            self.assembly.follow(&started.collect());
        }
    }

    fn serve_event(&self) {
        match self.client.consumer().poll(Duration::ZERO) {
            None => {}
            Some(Ok(message)) => {
                use rdkafka::Message as _;
                let (partition, offset) = (message.partition(), message.offset());
                self.shared.fail(Error::bug(format!("record {offset} of partition {partition} bypassed its queue")));
            }
            Some(Err(error)) => self.judge(&error),
        }
    }

    fn judge(&self, error: &KafkaError) {
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
        let topic = &self.shared.topic;
        match kind {
            Kind::Config => self.shared.fail(refuse(kind, format!("reading topic {topic} is not possible"), error)),
            _ if fatal => self.shared.fail(refuse(Kind::Transient, format!("the consumer of topic {topic} has failed"), error)),
            _ => tracing::warn!(topic, "reading goes on after: {error}"),
        }
    }

    /// One look at every channel; returns how many messages were taken.
    fn round(&mut self) -> usize {
        (0..self.assembly.channels)
            .map(
                |channel| {
                    if self.flush(channel, Duration::ZERO) == Sent::All {
                        self.take(channel, 0, TAKE_MAX.min(self.batch_events))
                    } else {
                        0
                    }
                },
            )
            .sum()
    }

    /// Says once for each partition, and again after new records, that everything it holds was delivered.
    fn report_ends(&mut self) {
        let owned = self.shared.owned().clone();
        for (partition, ownership) in owned {
            let Some(progress) = self.assembly.progress.get_mut(&partition).filter(|progress| !progress.ended) else { continue };
            let (number, Some((delivery, _))) = (partition.0 as i32, ownership.started) else { continue };
            let Some((_, high)) = self.client.watermarks(&self.shared.topic, number) else { continue };
            // Records of transactions end with a marker that is no record: only the client's position is past it.
            let position = if progress.has_position { self.client.position(&self.shared.topic, number) } else { None };
            let position = position.map_or(progress.next, |next| Offset(next.unsigned_abs()));
            let next = position.max(progress.next);
            if next.0 >= high.unsigned_abs() {
                progress.ended = true;
                let generation = ownership.generation;
                self.shared.outbox().push(partition, LogEvent::End { partition, generation, delivery, next });
            }
        }
    }

    fn idle(&mut self) {
        let wait_ms = (IDLE_WAIT_MS / self.assembly.channels).max(1);
        for channel in 0..self.assembly.channels {
            if self.flush(channel, Duration::from_millis(wait_ms as u64)) == Sent::All {
                self.take(channel, wait_ms as i32, 1);
            }
        }
    }

    fn flush(&self, channel: usize, wait: Duration) -> Sent {
        let sent = self.shared.outbox().flush(channel, wait);
        if sent == Sent::Closed {
            self.shared.fail(Error::bug("nobody receives the source's events any more"));
        }
        sent
    }

    /// Takes what a queue holds, up to one batch, and hands it over by partition. Waits for the first `first` messages only.
    fn take(&mut self, channel: usize, wait_ms: i32, first: usize) -> usize {
        let (mut total, mut wait_ms, mut ask) = (0, wait_ms, first);
        loop {
            let assembly = &mut self.assembly;
            let recycled = &self.recycled;
            let taken = match self.client.consume(channel, wait_ms, ask, |message| assembly.accept(&message, recycled)) {
                Ok(taken) => taken,
                Err(code) => {
                    self.judge(&KafkaError::MessageConsumption(code));
                    break;
                }
            };
            total += taken;
            let left = self.batch_events.saturating_sub(total);
            if taken < ask || left == 0 || self.assembly.bytes + TAKE_MAX * RECORD_BYTES_MAX > 2 * BATCH_BYTES_MAX {
                break;
            }
            (wait_ms, ask) = (0, TAKE_MAX.min(left));
        }
        if total > 0 {
            self.hand_over(channel);
        }
        total
    }

    fn hand_over(&mut self, channel: usize) {
        self.assembly.close_all();
        if let Some(error) = self.assembly.failure.take() {
            self.shared.fail(error);
        }
        let mut outbox = self.shared.outbox();
        for (partition, mut event) in self.assembly.done.drain(..) {
            if let LogEvent::Batch(batch) = &mut event {
                let high = self.client.watermarks(&self.shared.topic, partition.0 as i32).map(|(_, high)| Offset(high.unsigned_abs()));
                batch.high_watermark = high;
            }
            outbox.push(partition, event);
        }
        outbox.flush(channel, Duration::ZERO);
    }

    /// Warns once about each partition that has records but gives none, and about receivers that take none.
    fn watch(&mut self, now: Instant) {
        let owned = self.shared.owned().clone();
        for partition in owned.keys() {
            let Some(progress) = self.assembly.progress.get_mut(partition) else { continue };
            let channel = partition.0 as usize % self.assembly.channels;
            let blocked = !self.shared.outbox().pending[channel].is_empty();
            let high = self.client.watermarks(&self.shared.topic, partition.0 as i32).map_or(0, |(_, high)| high.unsigned_abs());
            let behind = progress.next.0 < high;
            if progress.moved || !(behind || blocked) {
                (progress.moved, progress.since, progress.warned) = (false, now, false);
            } else if now.duration_since(progress.since) >= self.stall_warning && !progress.warned {
                progress.warned = true;
                let (topic, partition, next) = (&self.shared.topic, partition.0, progress.next.0);
                if blocked {
                    tracing::warn!(topic, partition, "the pipeline has taken no records for a while");
                } else {
                    tracing::warn!(
                        topic,
                        partition,
                        next,
                        high,
                        "the partition has records but gives none; is one of its batches unreadable?"
                    );
                }
            }
        }
    }

    fn finish(self) {
        let Self { client, shared, .. } = self;
        // While the consumer can still commit; when it closes, nothing is left to revoke.
        let owned = shared.owned().keys().copied().collect();
        shared.give_up(owned, false);
        let mut consumer = client.consumer().clone();
        drop(client);
        // A commit on another thread may hold the consumer for its duration. The last one to let go closes it and serves the
        // group meanwhile: that has to be this thread.
        loop {
            match Arc::try_unwrap(consumer) {
                Ok(last) => break drop(last),
                Err(shared) => consumer = shared,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let failure = shared.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let deadline = Deadline::after(shared.drain_timeout);
        let mut outbox = shared.outbox();
        if let Some(error) = failure {
            tracing::error!(topic = shared.topic, "reading has stopped: {error}");
            let (kind, text) = (error.kind, error.to_string());
            for pending in &mut outbox.pending {
                pending.push_back(LogEvent::Failed(Error::new(kind, text.clone())));
            }
        }
        for channel in 0..outbox.pending.len() {
            outbox.flush(channel, deadline.left());
        }
        outbox.senders.clear();
    }
}

/// Sorts messages by partition into batches.
pub(super) struct Assembly {
    channels: usize,
    epoch: u64,
    /// By partition number: the generation that owns it, and its open batch.
    slots: Vec<Slot>,
    open: Vec<Partition>,
    bytes: usize,
    done: Vec<(Partition, LogEvent)>,
    failure: Option<Error>,
    progress: BTreeMap<Partition, Progress>,
}

#[derive(Default)]
struct Slot {
    source: Option<(Generation, Delivery)>,
    records: Option<Records>,
    read_at: Option<Instant>,
}

struct Progress {
    next: Offset,
    moved: bool,
    /// The end was reported since the last record.
    ended: bool,
    /// The client's position is of this delivery: one that was started anew still shows that of the delivery before.
    has_position: bool,
    since: Instant,
    warned: bool,
}

impl Assembly {
    pub(super) fn new(channels: usize, partitions: u32) -> Self {
        let slots = (0..partitions).map(|_| Slot::default()).collect();
        Self { channels, epoch: 0, slots, open: Vec::new(), bytes: 0, done: Vec::new(), failure: None, progress: BTreeMap::new() }
    }

    fn follow(&mut self, started: &BTreeMap<Partition, (Generation, (Delivery, Offset))>) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let partition = Partition(number as u32);
            let now = started.get(&partition);
            let source = now.map(|(generation, (delivery, _))| (*generation, *delivery));
            if slot.source != source {
                // Between two rounds no batch is open.
                let is_again = slot.source.is_some();
                slot.source = source;
                let fresh = now.map(|(_, (_, from))| Progress {
                    next: *from,
                    moved: true,
                    ended: false,
                    has_position: !is_again,
                    since: clock::now(),
                    warned: false,
                });
                match fresh {
                    Some(fresh) => drop(self.progress.insert(partition, fresh)),
                    None => drop(self.progress.remove(&partition)),
                }
            }
        }
    }

    fn accept(&mut self, message: &Message<'_>, recycled: &Receiver<Records>) {
        let number = message.partition as usize;
        let Some(slot) = self.slots.get_mut(number) else { return };
        // The client drops what was fetched before a revocation; should something slip through, its new owner reads it.
        if slot.source.is_none() {
            return;
        }
        let partition = Partition(number as u32);
        if let Some(code) = message.error {
            self.note(partition, message, code);
            return;
        }
        let records = slot.records.get_or_insert_with(|| {
            self.open.push(partition);
            slot.read_at = Some(clock::now());
            recycled.try_recv().unwrap_or_default()
        });
        let before = records.bytes();
        let time = message.timestamp.and_then(|millis| millis.checked_mul(1_000)).map(EventTime);
        records.push(Offset(message.offset.unsigned_abs()), time, message.key, message.payload.unwrap_or_default());
        self.bytes += records.bytes() - before;
    }

    fn note(&mut self, partition: Partition, message: &Message<'_>, code: RDKafkaErrorCode) {
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let (number, offset) = (partition.0, message.offset);
                self.failure.get_or_insert(Error::permanent(format!(
                    "the log of partition {number} no longer has offset {offset}, where the group goes on: records were removed before \
                     they were read, or the topic was made anew; decide what to skip and set the group's offset (kafka-consumer-groups \
                     --reset-offsets)"
                )));
            }
            // Going on could skip a record; see native/consume.rs.
            _ => drop(self.failure.get_or_insert(Error::new(kind_of(code), format!("partition {} cannot be read: {code}", partition.0)))),
        }
    }

    fn close(&mut self, partition: Partition) {
        let slot = &mut self.slots[partition.0 as usize];
        let (Some(records), Some((generation, delivery))) = (slot.records.take(), slot.source) else { return };
        self.open.retain(|open| *open != partition);
        if let (Some(progress), Some(last)) = (self.progress.get_mut(&partition), records.last()) {
            (progress.next, progress.moved, progress.ended, progress.has_position) = (last.offset.next(), true, false, true);
        }
        let read_at = slot.read_at.take().unwrap_or_else(clock::now);
        let batch = PartitionBatch { partition, generation, delivery, records, read_at, high_watermark: None };
        self.done.push((partition, LogEvent::Batch(batch)));
    }

    fn close_all(&mut self) {
        for partition in std::mem::take(&mut self.open) {
            self.close(partition);
        }
        self.bytes = 0;
    }
}
