//! A channel's reader: takes what its client has fetched in batches and hands them over. It waits for a receiver that is busy, and
//! drops no record that its generation still owns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::channel::Sent;
use super::fetch::FetchContext;
use super::group::Shared;
use super::kind_of;
use crate::core::types::{EventTime, Generation, Offset, Partition};
use crate::edge::clock;
use crate::edge::records::Records;
use crate::edge::{Delivery, LogEvent, PartitionBatch};
use crate::error::Error;
use crate::limits::{BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use crate::native::consume::{BatchConsumer, Message};

/// Messages of one call into the client, few enough that their copies fit a batch whatever their size.
pub(super) const TAKE_MAX: usize = 256;
const _: () = assert!(TAKE_MAX * RECORD_BYTES_MAX <= BATCH_BYTES_MAX);
/// How long one wait for a first message lasts when nothing arrives; an order is seen that much later.
const IDLE_WAIT_MS: i32 = 5;
/// Between two looks whether a busy receiver has room again.
const FULL_WAIT: Duration = Duration::from_millis(1);
const LEADERS_WAIT: Duration = Duration::from_secs(1);
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
    pub client: BatchConsumer<FetchContext>,
    pub shared: Arc<Shared>,
    /// Its number, for the channel it fills.
    pub channel: usize,
    pub commands: Receiver<Command>,
    pub recycled: Receiver<Records>,
    pub assembly: Assembly,
    pub stall_warning: Duration,
    pub report_end: bool,
    pub batch_events: usize,
}

impl Reader {
    /// Reads until the source is told to stop or fails.
    pub(super) fn run(mut self) {
        let alarm = Alarm(Arc::clone(&self.shared));
        self.look_up_leaders();
        let mut next_watch = clock::now() + WATCH_EVERY;
        while !self.shared.is_ending() {
            self.obey();
            self.serve_client();
            self.round();
            let now = clock::now();
            if now >= next_watch {
                next_watch = now + WATCH_EVERY;
                self.watch(now);
            }
        }
        drop(alarm);
    }

    /// Has the client learn now who leads the partitions. Left to itself it asks when the first is started, and where another answer is
    /// under way it asks again only a second later, which is a second without detection after every takeover.
    fn look_up_leaders(&self) {
        if let Err(error) = self.client.consumer().fetch_metadata(Some(&self.shared.topic), LEADERS_WAIT) {
            tracing::debug!(%error, "nobody said in time who leads the partitions; the client goes on asking");
        }
    }

    fn obey(&mut self) {
        for command in self.commands.try_iter() {
            if let Err(error) = self.shared.start(&command) {
                self.shared.fail(error);
            }
        }
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        if epoch != self.assembly.epoch {
            self.assembly.epoch = epoch;
            let owned = self.shared.owned();
            let (channels, channel) = (self.shared.channels.len(), self.channel);
            let mine = owned.iter().filter(|(partition, _)| partition.0 as usize % channels == channel);
            let started = mine.filter_map(|(partition, ownership)| Some((*partition, (ownership.generation, ownership.started?))));
            self.assembly.follow(&started.collect());
        }
    }

    /// Errors and log lines. Messages never come this way.
    fn serve_client(&self) {
        match self.client.consumer().poll(Duration::ZERO) {
            None => {}
            Some(Ok(message)) => {
                use rdkafka::Message as _;
                let (partition, offset) = (message.partition(), message.offset());
                self.shared.fail(Error::bug(format!("record {offset} of partition {partition} bypassed its queue")));
            }
            Some(Err(error)) => self.shared.judge(&error),
        }
    }

    /// Hands over what waits, takes what is there; waits a little where there is nothing or no room.
    fn round(&mut self) {
        match self.flush() {
            Sent::All => {}
            Sent::Full => return std::thread::sleep(FULL_WAIT),
            Sent::Closed => return,
        }
        if self.take(0, TAKE_MAX.min(self.batch_events)) == 0 {
            if self.report_end {
                self.report_ends();
            }
            self.take(IDLE_WAIT_MS, 1);
        }
    }

    fn flush(&self) -> Sent {
        let sent = self.shared.channels[self.channel].flush();
        if sent == Sent::Closed {
            self.shared.fail(Error::bug("nobody receives the source's events any more"));
        }
        sent
    }

    /// Says once for each partition, and again after new records, that everything it holds was delivered.
    fn report_ends(&mut self) {
        let topic = &self.shared.topic;
        for (partition, progress) in &mut self.assembly.progress {
            if progress.ended {
                continue;
            }
            let slot = &self.assembly.slots[partition.0 as usize];
            let (number, Some((generation, delivery))) = (partition.0 as i32, slot.source) else { continue };
            let Some((_, high)) = self.client.watermarks(topic, number) else { continue };
            // Records of transactions end with a marker that is no record: only the client's position is past it.
            let position = if progress.has_position { self.client.position(topic, number) } else { None };
            let position = position.map_or(progress.next, |next| Offset(next.unsigned_abs()));
            let next = position.max(progress.next);
            if next.0 >= high.unsigned_abs() {
                progress.ended = true;
                let partition = *partition;
                self.shared.channels[self.channel].push(LogEvent::End { partition, generation, delivery, next });
            }
        }
    }

    /// Takes what the queue holds, up to one batch, and hands it over by partition. Waits for the first `first` messages only.
    fn take(&mut self, wait_ms: i32, first: usize) -> usize {
        let (mut total, mut wait_ms, mut ask) = (0, wait_ms, first);
        loop {
            let assembly = &mut self.assembly;
            let recycled = &self.recycled;
            let taken = match self.client.consume(wait_ms, ask, |message| assembly.accept(&message, recycled)) {
                Ok(taken) => taken,
                Err(code) => {
                    self.shared.judge(&KafkaError::MessageConsumption(code));
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
            self.hand_over();
        }
        total
    }

    fn hand_over(&mut self) {
        self.assembly.close_all();
        if let Some(error) = self.assembly.failure.take() {
            self.shared.fail(error);
        }
        for (partition, mut event) in self.assembly.done.drain(..) {
            if let LogEvent::Batch(batch) = &mut event {
                let high = self.client.watermarks(&self.shared.topic, partition.0 as i32).map(|(_, high)| Offset(high.unsigned_abs()));
                batch.high_watermark = high;
            }
            self.shared.channels[self.channel].push(event);
        }
        self.flush();
    }

    /// Warns once about each partition that has records but gives none, and about a receiver that takes none.
    fn watch(&mut self, now: Instant) {
        let blocked = !self.shared.channels[self.channel].is_empty();
        let topic = &self.shared.topic;
        for (partition, progress) in &mut self.assembly.progress {
            let high = self.client.watermarks(topic, partition.0 as i32).map_or(0, |(_, high)| high.unsigned_abs());
            let behind = progress.next.0 < high;
            if progress.moved || !(behind || blocked) {
                (progress.moved, progress.since, progress.warned) = (false, now, false);
            } else if now.duration_since(progress.since) >= self.stall_warning && !progress.warned {
                progress.warned = true;
                let (partition, next) = (partition.0, progress.next.0);
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
}

/// Ends the whole source when its thread panics.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::bug("a thread that reads from Kafka panicked; its message is in the log"));
        }
    }
}

/// Sorts messages by partition into batches.
pub(super) struct Assembly {
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
    pub(super) fn new(partitions: u32) -> Self {
        let slots = (0..partitions).map(|_| Slot::default()).collect();
        Self { epoch: 0, slots, open: Vec::new(), bytes: 0, done: Vec::new(), failure: None, progress: BTreeMap::new() }
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
                     they were read, or the topic was made anew; to go on with what is left: `threatguard run --from TIME`"
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
