//! The input log as a member of a Kafka group: see [`LogSource`] for the contract.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rdkafka::consumer::{BaseConsumer, CommitMode as KafkaCommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};

use super::admin::partitions_of;
use super::channel::Channel;
use super::fetch::Fetcher;
use super::group::{GroupContext, Shared};
use super::membership::Membership;
use super::reader::{Assembly, Command, Reader, TAKE_MAX};
use super::settings::{ConsumerSettings, KafkaSettings};
use super::{kind_of, refuse};
use crate::core::types::{Generation, Offset, Partition};
use crate::edge::records::Records;
use crate::edge::{Commit, CommitMode, Committed, Delivery, LogEvent, LogSource, Member};
use crate::error::{Error, Kind, Result};
use crate::limits::BATCH_EVENTS_MAX;
use crate::native::consume::group_generation;

/// Buffers and orders that may wait; beyond them a buffer is freed.
const RECYCLED_MAX: usize = 16;
const COMMANDS_MAX: usize = 4_096;

/// A Kafka topic, read as a member of a group on a thread of its own.
///
/// Guarantee: at least once, see [`LogSource`]. Ownership is checked in the same lock that a rebalance takes, so nothing is committed
/// for a partition after it was given away; the group's coordinator refuses members of an older generation. One hole is known: a
/// background commit that the client holds back while it looks for the coordinator may be sent after a later rebalance and set
/// another owner's offset back, which delivers records again.
pub struct KafkaSource {
    shared: Arc<Shared>,
    consumer: Weak<BaseConsumer<GroupContext>>,
    /// One a channel.
    commands: Vec<Sender<Command>>,
    deliveries: AtomicU64,
    recycle: Sender<Records>,
    ended: Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    partitions: u32,
}

/// Figures of a source since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceCounts {
    pub rebalances: u64,
    /// Background commits that were refused.
    pub commit_failures: u64,
}

impl KafkaSource {
    /// Joins the group and starts reading. Partition `p` speaks on channel `p % channels`, each with a client and a thread of its own.
    ///
    /// `Config`: settings, rights or a missing topic. `Transient`: no broker answered within `connect_timeout_ms`.
    pub fn open(kafka: &KafkaSettings, settings: &ConsumerSettings, channels: usize) -> Result<(Self, Vec<Receiver<LogEvent>>)> {
        assert!(channels > 0, "a source needs a channel");
        let partitions = partitions_of(kafka, &settings.topic)?;
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..channels).map(|_| bounded(settings.channel_batches.max(1))).unzip();
        let config = kafka.consumer(settings, channels)?;
        let patience = Duration::from_millis(kafka.connect_timeout_ms);
        let clients = (0..channels).map(|_| Fetcher::open(&config, &settings.topic, patience, TAKE_MAX));
        let (fetchers, clients): (Vec<_>, Vec<_>) = clients.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let shared = Arc::new(Shared {
            topic: settings.topic.clone(),
            partitions,
            start_at: settings.start_at,
            drain_timeout: Duration::from_millis(settings.drain_timeout_ms),
            committed_timeout: patience,
            channels: senders.into_iter().map(Channel::new).collect(),
            fetchers,
            owned: Mutex::default(),
            released: Condvar::new(),
            failure: Mutex::new(None),
            stop: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            commit_failures: AtomicU64::new(0),
            rebalances: AtomicU64::new(0),
        });
        let consumer = join_group(&config, &shared)?;
        let (recycle, recycled) = bounded(RECYCLED_MAX);
        let (mut commands, mut readers) = (vec![], vec![]);
        for (number, client) in clients.into_iter().enumerate() {
            let (command, commanded) = bounded(COMMANDS_MAX);
            commands.push(command);
            let reader = Reader {
                client,
                shared: shared.clone(),
                channel: number,
                commands: commanded,
                recycled: recycled.clone(),
                assembly: Assembly::new(partitions),
                stall_warning: Duration::from_millis(settings.stall_warning_ms),
                report_end: settings.report_end,
                batch_events: settings.batch_events.clamp(1, BATCH_EVENTS_MAX),
            };
            readers.push(spawn(&format!("kafka-read-{number}"), move || reader.run())?);
        }
        let weak = Arc::downgrade(&consumer);
        let (end, ended) = bounded(1);
        let membership = Membership { consumer, shared: shared.clone(), readers };
        let run = move || {
            membership.run();
            drop(end);
        };
        let thread = Mutex::new(Some(spawn("kafka-group", run)?));
        Ok((Self { shared, consumer: weak, commands, deliveries: AtomicU64::new(0), recycle, ended, thread, partitions }, receivers))
    }

    /// Partitions that the group has given to this member.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.shared.owned().len()
    }

    /// Partitions of the topic when it was opened.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    #[must_use]
    pub fn counts(&self) -> SourceCounts {
        SourceCounts {
            rebalances: self.shared.rebalances.load(Ordering::Acquire),
            commit_failures: self.shared.commit_failures.load(Ordering::Relaxed),
        }
    }

    fn order(&self, command: Command) {
        // The threads take orders every few milliseconds; a full queue means that one has ended.
        let channel = command.partition.0 as usize % self.commands.len();
        if self.commands[channel].try_send(command).is_err() {
            tracing::warn!(?command, "the source has ended and takes no orders");
        }
    }
}

impl LogSource for KafkaSource {
    fn owns(&self, partition: Partition, generation: Generation) -> bool {
        self.shared.owned().get(&partition).is_some_and(|ownership| ownership.generation == generation)
    }

    fn start(&self, partition: Partition, generation: Generation, from: Offset) -> Delivery {
        let delivery = Delivery(self.deliveries.fetch_add(1, Ordering::AcqRel) + 1);
        self.order(Command { partition, generation, from, delivery });
        delivery
    }

    fn committed(&self, partition: Partition) -> Result<Option<Committed>> {
        let consumer = self.consumer.upgrade().ok_or_else(closed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.shared.topic, partition.0 as i32);
        let what = || format!("cannot read the committed offset of partition {}", partition.0);
        let list = self
            .shared
            .ask(self.shared.committed_timeout, |within| consumer.committed_offsets(list.clone(), within))
            .map_err(|error| refuse(error.rdkafka_error_code().map_or(Kind::Transient, kind_of), what(), &error))?;
        let Some(element) = list.elements().into_iter().next() else { return Err(Error::bug(what())) };
        element.error().map_err(|error| refuse(Kind::Transient, what(), &error))?;
        Ok(committed_of(&element))
    }

    fn member(&self, partitions: &[(Partition, Generation)]) -> Result<Member> {
        let consumer = self.consumer.upgrade().ok_or_else(closed)?;
        // A partition leaves this list before its group moves on, and the client joins anew only after that: so a membership that
        // is read under this lock is not younger than the ownership.
        let owned = self.shared.owned();
        for (partition, generation) in partitions {
            if owned.get(partition).is_none_or(|ownership| ownership.generation != *generation) {
                return Err(not_owned(*partition, *generation));
            }
        }
        if group_generation(consumer.as_ref()) < 0 {
            return Err(Error::new(Kind::Fenced, "this process is not a member of its group any more"));
        }
        let metadata = consumer.group_metadata().ok_or_else(|| Error::new(Kind::Fenced, "this process is not in a group"))?;
        drop(owned);
        Ok(Member(Arc::new(metadata)))
    }

    fn commit(&self, commits: &[Commit], mode: CommitMode) -> Result<()> {
        if commits.is_empty() {
            return Ok(());
        }
        let list = offsets(&self.shared.topic, commits)?;
        // Held until the client has taken the commit: a rebalance gives nothing away meanwhile.
        let owned = self.shared.owned();
        for Commit { partition, generation, .. } in commits {
            if owned.get(partition).is_none_or(|ownership| ownership.generation != *generation) {
                return Err(not_owned(*partition, *generation));
            }
        }
        let consumer = self.consumer.upgrade().ok_or_else(closed)?;
        let mode = match mode {
            CommitMode::Background => KafkaCommitMode::Async,
            CommitMode::Wait => KafkaCommitMode::Sync,
        };
        let result = consumer.commit(&list, mode);
        drop(owned);
        result.map_err(|error| {
            refuse(error.rdkafka_error_code().map_or(Kind::Transient, kind_of), "the commit was not accepted".to_owned(), &error)
        })
    }

    fn released(&self, partition: Partition, generation: Generation) {
        self.shared.release(partition, generation);
    }

    fn recycle(&self, mut records: Records) {
        records.clear();
        drop(self.recycle.try_send(records));
    }

    fn close(&self, deadline: Duration) -> Result<()> {
        self.shared.stop.store(true, Ordering::Release);
        match self.ended.recv_timeout(deadline) {
            Err(RecvTimeoutError::Timeout) => Err(Error::transient("the Kafka consumer did not leave its group in time")),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
                match thread.map(JoinHandle::join) {
                    Some(Err(_)) => Err(Error::bug("the Kafka consumer's thread panicked")),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        // Ends the thread some time later; whoever wants it settled calls `close` before.
        self.shared.stop.store(true, Ordering::Release);
    }
}

fn join_group(config: &ClientConfig, shared: &Arc<Shared>) -> Result<Arc<BaseConsumer<GroupContext>>> {
    let consumer: BaseConsumer<GroupContext> = config
        .create_with_context(GroupContext { shared: shared.clone() })
        .map_err(|error| refuse(Kind::Config, "the Kafka consumer's settings are refused".to_owned(), &error))?;
    consumer.subscribe(&[&shared.topic]).map_err(|error| refuse(Kind::Config, format!("cannot subscribe to {}", shared.topic), &error))?;
    Ok(Arc::new(consumer))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(|error| Error::transient("cannot start a thread").because(error))
}

fn closed() -> Error {
    Error::transient("the source is closed")
}

fn not_owned(partition: Partition, generation: Generation) -> Error {
    Error::new(Kind::Fenced, format!("partition {} is no longer owned under generation {}", partition.0, generation.0))
}

/// Offsets and notes as the client takes them.
pub(super) fn offsets(topic: &str, commits: &[Commit]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for Commit { partition, next, note, .. } in commits {
        let offset = i64::try_from(next.0).map_err(|_| Error::bug("an offset exceeds what Kafka can express"))?;
        let mut element = list.add_partition(topic, partition.0 as i32);
        element.set_offset(KafkaOffset::Offset(offset)).map_err(|error| refuse(Kind::Bug, "cannot commit".to_owned(), &error))?;
        element.set_metadata(note);
    }
    Ok(list)
}

/// What the group has committed, by the client's answer.
pub(super) fn committed_of(element: &TopicPartitionListElem<'_>) -> Option<Committed> {
    match element.offset() {
        KafkaOffset::Offset(offset) if offset >= 0 => {
            Some(Committed { next: Offset(offset.unsigned_abs()), note: element.metadata().to_owned() })
        }
        _ => None,
    }
}
