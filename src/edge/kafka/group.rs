//! Membership: what this process owns under which generation, and what happens when that changes. Rebalances run on the source's
//! thread; nothing here takes longer than the drain deadline and the reading of committed offsets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::channel::{Channel, Sent};
use super::consumer::committed_of;
use super::fetch::Fetcher;
use super::reader::Command;
use super::{kind_of, log_line, refuse};
use crate::core::types::{Generation, Offset, Partition};
use crate::edge::clock::{self, Deadline};
use crate::edge::kafka::StartAt;
use crate::edge::{Committed, Delivery, LogEvent};
use crate::error::{Error, Kind, Result};
use crate::native::consume::group_generation;

/// One step of waiting for a receiver; between two the other duties are looked after.
const STEP: Duration = Duration::from_millis(5);

/// The first try of a question to the brokers. The client may wait out a whole try for a change of its brokers that came just
/// before it, while a new try is answered at once; so tries are short, and a little longer only where brokers are slow.
const FIRST_TRY: Duration = Duration::from_millis(500);
const LONGEST_TRY: Duration = Duration::from_secs(2);
/// During a rebalance, while brokers change places; far below the time after which the group expels a silent member.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(60);

/// What the handle, the source's thread and the callbacks share.
pub(super) struct Shared {
    pub topic: String,
    pub partitions: u32,
    pub start_at: StartAt,
    pub drain_timeout: Duration,
    pub committed_timeout: Duration,
    /// By number: partition `p` speaks on channel `p % channels`, and is fetched by the client of that channel.
    pub channels: Vec<Channel>,
    pub fetchers: Vec<Fetcher>,
    pub owned: Mutex<BTreeMap<Partition, Ownership>>,
    pub released: Condvar,
    pub failure: Mutex<Option<Error>>,
    pub stop: AtomicBool,
    /// Grows with every rebalance.
    pub epoch: AtomicU64,
    pub commit_failures: AtomicU64,
    pub rebalances: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ownership {
    pub generation: Generation,
    /// The delivery that was started last, and from where; without one the client does not fetch the partition yet.
    pub started: Option<(Delivery, Offset)>,
    released: bool,
}

/// A partition that is being given to this member.
struct Assigned {
    partition: Partition,
    generation: Generation,
    committed: Option<Committed>,
    start: Offset,
}

impl Shared {
    pub(super) fn owned(&self) -> MutexGuard<'_, BTreeMap<Partition, Ownership>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn channel(&self, partition: Partition) -> &Channel {
        &self.channels[partition.0 as usize % self.channels.len()]
    }
    fn fetcher(&self, partition: Partition) -> &Fetcher {
        &self.fetchers[partition.0 as usize % self.fetchers.len()]
    }
    /// Notes the first failure; the source's threads end at their next look.
    pub(super) fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
    /// What an error of a client means: reading goes on after those that pass.
    pub(super) fn judge(&self, error: &KafkaError) {
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
        let topic = &self.topic;
        // A broker that has just started knows no topic. Partitions of one that was deleted are revoked.
        if !fatal && error.rdkafka_error_code().is_some_and(is_unknown) {
            return tracing::warn!(topic, "reading goes on after: {error}");
        }
        match kind {
            Kind::Config => self.fail(refuse(kind, format!("reading topic {topic} is not possible"), error)),
            _ if fatal => self.fail(refuse(Kind::Transient, format!("the consumer of topic {topic} has failed"), error)),
            _ => tracing::warn!(topic, "reading goes on after: {error}"),
        }
    }
    pub(super) fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
    pub(super) fn release(&self, partition: Partition, generation: Generation) {
        if let Some(ownership) = self.owned().get_mut(&partition)
            && ownership.generation == generation
        {
            ownership.released = true;
            self.released.notify_all();
        }
    }

    /// Takes partitions over. They are fetched later, one by one as their receivers know where to start.
    fn assign<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, list: &TopicPartitionList) {
        match self.starts(consumer, list) {
            Ok(assigned) => {
                for Assigned { partition, generation, committed, start } in assigned {
                    self.owned().insert(partition, Ownership { generation, started: None, released: false });
                    self.channel(partition).push(LogEvent::Assigned { partition, generation, committed, start });
                }
            }
            // Who is leaving takes nothing over.
            Err(error) if self.stop.load(Ordering::Acquire) => tracing::debug!(%error, "not taken over"),
            Err(error) => self.fail(error),
        }
        // The client waits for this call even when we are about to stop. What it is given stays empty: others fetch.
        if let Err(error) = consumer.incremental_assign(&TopicPartitionList::new()) {
            self.fail(refuse(Kind::Transient, "the client refused its assignment".to_owned(), &error));
        }
    }

    /// Where each new partition stands.
    fn starts<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, list: &TopicPartitionList) -> Result<Vec<Assigned>> {
        let mut assigned = Vec::with_capacity(list.count());
        if list.count() == 0 {
            return Ok(assigned);
        }
        let generation =
            u64::try_from(group_generation(consumer)).map_err(|_| Error::bug("assigned partitions without a group generation"))?;
        for element in self.committed(consumer, list)?.elements() {
            let partition = Partition(u32::try_from(element.partition()).map_err(|_| Error::bug("assigned a negative partition"))?);
            if partition.0 >= self.partitions {
                let (topic, now, was) = (&self.topic, partition.0 + 1, self.partitions);
                return Err(Error::config(format!(
                    "topic {topic} has grown from {was} to at least {now} partitions: entities move between partitions and their \
                     state does not; start with a new topic or a new group"
                )));
            }
            element.error().map_err(|error| {
                refuse(Kind::Transient, format!("cannot read the committed offset of partition {}", partition.0), &error)
            })?;
            let committed = committed_of(&element);
            let start = match &committed {
                Some(committed) => committed.next,
                None => self.edge_of(consumer, partition)?,
            };
            assigned.push(Assigned { partition, generation: Generation(generation), committed, start });
        }
        Ok(assigned)
    }

    /// The first or the next offset of a partition's log, by the settings.
    fn edge_of<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, partition: Partition) -> Result<Offset> {
        let (low, high) = self
            .ask(REBALANCE_PATIENCE, |within| consumer.fetch_watermarks(&self.topic, partition.0 as i32, within))
            .map_err(|error| refuse(Kind::Transient, format!("cannot read where partition {} begins", partition.0), &error))?;
        Ok(Offset(if self.start_at == StartAt::Latest { high } else { low }.unsigned_abs()))
    }

    /// Has a partition fetched from `from` on; again, when it was fetched from somewhere else before.
    pub(super) fn start(&self, command: &Command) -> Result<()> {
        let &Command { partition, generation, from, delivery } = command;
        // Held meanwhile: what is given up is no longer started.
        let mut owned = self.owned();
        let Some(ownership) = owned.get_mut(&partition).filter(|ownership| ownership.generation == generation) else { return Ok(()) };
        match ownership.started {
            None => self.fetcher(partition).start(partition, from)?,
            Some(_) => self.fetcher(partition).seek(partition, from)?,
        }
        ownership.started = Some((delivery, from));
        drop(owned);
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn committed<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, list: &TopicPartitionList) -> Result<TopicPartitionList> {
        self.ask(REBALANCE_PATIENCE, |within| consumer.committed_offsets(list.clone(), within)).map_err(|error| {
            let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
            refuse(kind, "cannot read the group's committed offsets".to_owned(), &error)
        })
    }

    /// Asks the brokers until there is an answer, something that no repetition mends, or no time left. A partition that is not known
    /// may be one whose leader is changing: the topic was there at the start.
    pub(super) fn ask<T>(&self, patience: Duration, question: impl Fn(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
        let (deadline, mut within) = (Deadline::after(patience), FIRST_TRY);
        loop {
            let error = match question(within.min(deadline.left())) {
                Err(error) if error.rdkafka_error_code().is_none_or(may_pass) => error,
                answer => return answer,
            };
            if deadline.passed() || self.stop.load(Ordering::Acquire) {
                return Err(error);
            }
            tracing::warn!(topic = self.topic, %error, "no answer about offsets yet; asking again");
            within = (within * 2).min(LONGEST_TRY);
            clock::sleep(STEP);
        }
    }

    fn revoke<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, list: &TopicPartitionList) {
        let partitions: Vec<Partition> =
            list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok().map(Partition)).collect();
        self.give_up(partitions, consumer.assignment_lost());
        if let Err(error) = consumer.incremental_unassign(&TopicPartitionList::new()) {
            self.fail(refuse(Kind::Transient, "the client refused to give up partitions".to_owned(), &error));
        }
    }

    /// Tells the receivers that partitions are going or gone, and waits for what is going to be released.
    pub(super) fn give_up(&self, partitions: Vec<Partition>, lost: bool) {
        let mut going = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let Some(Ownership { generation, .. }) = self.owned().get(&partition).copied() else { continue };
            if lost {
                self.forget(partition);
                self.channel(partition).push(LogEvent::Lost { partition, generation });
            } else {
                going.push(partition);
                self.channel(partition).push(LogEvent::Revoked { partition, generation });
            }
        }
        self.drain(&going);
        going.into_iter().for_each(|partition| self.forget(partition));
    }

    /// It is no longer ours, and no longer fetched.
    fn forget(&self, partition: Partition) {
        let was = self.owned().remove(&partition);
        if was.is_some_and(|ownership| ownership.started.is_some())
            && let Err(error) = self.fetcher(partition).stop(partition)
        {
            self.fail(refuse(Kind::Transient, format!("the client does not stop partition {}", partition.0), &error));
        }
    }

    /// Waits until the receivers have released what is going, or the deadline has passed.
    fn drain(&self, going: &[Partition]) {
        let deadline = Deadline::after(self.drain_timeout);
        loop {
            let closed = self.channels.iter().filter(|channel| channel.flush() == Sent::Closed).count() > 0;
            let owned = self.owned();
            let is_waiting = |partition: &&Partition| owned.get(partition).is_some_and(|ownership| !ownership.released);
            let waits: Vec<u32> = going.iter().filter(is_waiting).map(|partition| partition.0).collect();
            if waits.is_empty() {
                return;
            }
            if closed || deadline.passed() {
                tracing::warn!(?waits, "revoked partitions were not released in time; their last records will be read again");
                return;
            }
            drop(self.released.wait_timeout(owned, STEP));
        }
    }
}

/// Whether the same question may be answered later.
fn may_pass(code: RDKafkaErrorCode) -> bool {
    is_unknown(code) || kind_of(code) == Kind::Transient
}

/// A topic or partition that the brokers do not know, perhaps not yet.
pub(super) fn is_unknown(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition)
}

/// The consumer's callbacks.
pub(super) struct GroupContext {
    pub shared: Arc<Shared>,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!("kafka client: {error}: {reason}");
    }
}

impl ConsumerContext for GroupContext {
    /// In place of the wrapper's own, which ignores what `assign` returns.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: rd_kafka_resp_err_t, list: &mut TopicPartitionList) {
        if code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(topic = self.shared.topic, partitions = list.count(), "partitions assigned");
            self.shared.assign(consumer, list);
        } else {
            tracing::info!(topic = self.shared.topic, partitions = list.count(), "partitions revoked");
            self.shared.revoke(consumer, list);
        }
        self.shared.epoch.fetch_add(1, Ordering::Release);
        self.shared.rebalances.fetch_add(1, Ordering::Release);
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let refused = offsets.elements().iter().any(|element| element.error().is_err());
        if result.is_err() || refused {
            self.shared.commit_failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a commit was refused and will be repeated by the next one: {result:?}");
        }
    }
}
