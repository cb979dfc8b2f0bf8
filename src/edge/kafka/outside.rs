//! A group and its log from outside, for operators: what is committed, where logs begin and end, who is a member; and setting the
//! group's offsets while nobody is in it, which the broker checks as well. It joins no group and reads no record.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use super::admin::partitions_of;
use super::consumer::committed_of;
use super::settings::KafkaSettings;
use super::{QuietContext, kind_of, refuse, unreachable};
use crate::core::types::{EventTime, Offset, Partition};
use crate::edge::clock::{self, Deadline};
use crate::edge::{Committed, TopicId};
use crate::error::{Error, Kind, Result};
use crate::native::describe;

const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Asks for a topic's id; `None` where the broker gives none or may not tell.
///
/// # Errors
/// `Transient`: no answer in time. `Config`: settings, or no such topic.
pub fn topic_id(kafka: &KafkaSettings, topic: &str) -> Result<Option<TopicId>> {
    let consumer: BaseConsumer<QuietContext> = kafka
        .client()?
        .create_with_context(QuietContext)
        .map_err(|error| refuse(Kind::Config, "the Kafka client's settings are refused".to_owned(), &error))?;
    match describe::topic_id(consumer.client(), topic, Duration::from_millis(kafka.connect_timeout_ms)) {
        Ok(id) => Ok(id.map(TopicId)),
        // Without the right to describe, offsets and state are still checked against each other.
        Err(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => Ok(None),
        Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::NotImplemented) => Ok(None),
        Err(code) => Err(Error::new(kind_of(code), format!("the id of topic {topic} cannot be read: {code}"))),
    }
}

/// Where a partition's log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnds {
    pub start: Offset,
    /// The last stable offset: everything before it is in no open transaction.
    pub stable: Offset,
    /// The high watermark.
    pub end: Offset,
}

/// Members of a group, and what it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    pub state: String,
    pub members: usize,
}

/// A group that is looked at, and set while it is empty.
pub struct GroupOutside {
    /// Reads committed offsets as of no open transaction, and last stable offsets.
    stable: BaseConsumer<QuietContext>,
    /// Reads high watermarks.
    plain: BaseConsumer<QuietContext>,
    topic: String,
    group: String,
    partitions: u32,
    timeout: Duration,
}

impl GroupOutside {
    /// # Errors
    /// `Config`: settings, rights or a missing topic. `Transient`: no broker answered in time.
    pub fn open(kafka: &KafkaSettings, topic: &str, group: &str) -> Result<Self> {
        let partitions = partitions_of(kafka, topic)?;
        let consumer = |isolation: &str| -> Result<BaseConsumer<QuietContext>> {
            let mut config = kafka.client()?;
            config.set("group.id", group).set("enable.auto.commit", "false").set("isolation.level", isolation);
            let made = config.create_with_context(QuietContext);
            made.map_err(|error| refuse(Kind::Config, "the Kafka client's settings are refused".to_owned(), &error))
        };
        let (stable, plain) = (consumer("read_committed")?, consumer("read_uncommitted")?);
        let timeout = Duration::from_millis(kafka.connect_timeout_ms);
        Ok(Self { stable, plain, topic: topic.to_owned(), group: group.to_owned(), partitions, timeout })
    }

    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    fn each_partition(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(self.partitions as usize);
        for partition in 0..self.partitions {
            list.add_partition(&self.topic, partition as i32);
        }
        list
    }

    /// What the group has committed, by partition.
    ///
    /// # Errors
    /// `Transient`: no answer in time, as while a transaction over the offsets is open.
    pub fn committed(&self) -> Result<Vec<Option<Committed>>> {
        let what = || format!("cannot read what group {} has committed", self.group);
        let deadline = Deadline::after(2 * self.timeout);
        let list = loop {
            match self.stable.committed_offsets(self.each_partition(), self.timeout) {
                Ok(list) => break list,
                Err(error) => {
                    let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
                    if kind != Kind::Transient || deadline.passed() {
                        return Err(refuse(kind, what(), &error));
                    }
                }
            }
            clock::sleep(TRY_AGAIN);
        };
        let mut found = vec![None; self.partitions as usize];
        for element in list.elements() {
            element.error().map_err(|error| refuse(Kind::Transient, what(), &error))?;
            if let Some(slot) = usize::try_from(element.partition()).ok().and_then(|number| found.get_mut(number)) {
                *slot = committed_of(&element);
            }
        }
        Ok(found)
    }

    /// # Errors
    /// `Transient`: no answer in time.
    pub fn ends(&self, partition: Partition) -> Result<LogEnds> {
        self.ends_of(&self.topic, partition)
    }

    /// As [`Self::ends`], of any topic.
    ///
    /// # Errors
    /// As for [`Self::ends`].
    pub fn ends_of(&self, topic: &str, partition: Partition) -> Result<LogEnds> {
        let ends = |consumer: &BaseConsumer<QuietContext>| {
            let what = || format!("cannot read where partition {} of {topic} begins and ends", partition.0);
            let number = partition.0 as i32;
            consumer.fetch_watermarks(topic, number, self.timeout).map_err(|error| refuse(Kind::Transient, what(), &error))
        };
        let offset = |offset: i64| Offset(offset.unsigned_abs());
        let (_, stable) = ends(&self.stable)?;
        let (start, end) = ends(&self.plain)?;
        Ok(LogEnds { start: offset(start), stable: offset(stable), end: offset(end) })
    }

    /// How many members the group has now. A group that nobody knows has none.
    ///
    /// # Errors
    /// `Transient`: no coordinator answered in time.
    pub fn state(&self) -> Result<GroupState> {
        let deadline = Deadline::after(self.timeout);
        loop {
            match self.plain.client().fetch_group_list(Some(&self.group), self.timeout) {
                Ok(list) => {
                    let group = list.groups().iter().find(|group| group.name() == self.group);
                    let none = GroupState { state: "Dead".to_owned(), members: 0 };
                    return Ok(group.map_or(none, |group| GroupState { state: group.state().to_owned(), members: group.members().len() }));
                }
                Err(error) if deadline.passed() => {
                    return Err(refuse(Kind::Transient, format!("cannot see who is in group {}", self.group), &error));
                }
                Err(_) => clock::sleep(TRY_AGAIN),
            }
        }
    }

    /// Nobody is in the group, so that its offsets and state may be set.
    ///
    /// # Errors
    /// `Config`: somebody is.
    pub fn must_be_idle(&self) -> Result<()> {
        let found = self.state()?;
        if found.members == 0 {
            return Ok(());
        }
        Err(Error::config(format!(
            "group {} has {} active {} ({}): its offsets and state may change only while nobody owns them. Stop every \
             `threatguard run` of it, wait until its session has ended (45 s after a crash), then try again",
            self.group,
            found.members,
            if found.members == 1 { "member" } else { "members" },
            found.state
        )))
    }

    /// The first offset of each partition whose record is of this time or later, or the end.
    ///
    /// # Errors
    /// `Transient`: no answer in time.
    pub fn first_at(&self, time: EventTime) -> Result<Vec<Offset>> {
        let what = || format!("cannot look up the time {time} in topic {}", self.topic);
        let mut list = TopicPartitionList::with_capacity(self.partitions as usize);
        for partition in 0..self.partitions {
            // Records keep milliseconds: one of the same millisecond may be later, so it belongs to what was asked for.
            let millis = KafkaOffset::Offset(time.0.div_euclid(1_000));
            list.add_partition_offset(&self.topic, partition as i32, millis).map_err(|error| refuse(Kind::Config, what(), &error))?;
        }
        let found = self.plain.offsets_for_times(list, self.timeout).map_err(|error| refuse(Kind::Transient, what(), &error))?;
        let mut offsets = vec![];
        for partition in 0..self.partitions {
            let element = found.find_partition(&self.topic, partition as i32).ok_or_else(|| Error::bug(what()))?;
            element.error().map_err(|error| refuse(Kind::Transient, what(), &error))?;
            offsets.push(match element.offset() {
                KafkaOffset::Offset(offset) if offset >= 0 => Offset(offset.unsigned_abs()),
                _ => self.ends(Partition(partition))?.end,
            });
        }
        Ok(offsets)
    }

    /// Sets the group's offsets with their notes.
    ///
    /// # Errors
    /// `Config`: somebody has joined the group meanwhile. `Transient`: the outcome is not known; look and repeat.
    pub fn set(&self, offsets: &[(Partition, Committed)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, committed) in offsets {
            let offset = i64::try_from(committed.next.0).map_err(|_| Error::bug("an offset exceeds what Kafka can express"))?;
            let mut element = list.add_partition(&self.topic, partition.0 as i32);
            element.set_offset(KafkaOffset::Offset(offset)).map_err(|error| refuse(Kind::Bug, "cannot commit".to_owned(), &error))?;
            element.set_metadata(&committed.note);
        }
        let set = self.plain.commit(&list, CommitMode::Sync);
        set.map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::RebalanceInProgress) => {
                Error::config(format!("group {} is not idle: stop every `threatguard run` of it and try again", self.group))
            }
            code => refuse(code.map_or(Kind::Transient, kind_of), format!("the offsets of group {} could not be set", self.group), &error),
        })
    }

    /// Partitions of another topic of the same brokers; `None` when there is none.
    ///
    /// # Errors
    /// `Transient`: no answer in time.
    pub fn partitions_of(&self, kafka: &KafkaSettings, topic: &str) -> Result<Option<u32>> {
        let found = self.plain.fetch_metadata(Some(topic), self.timeout);
        let found = found.map_err(|error| unreachable(kafka, kafka.connect_timeout_ms, &error))?;
        let found = found.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        Ok(found.map(|found| found.partitions().len() as u32).filter(|count| *count > 0))
    }
}
