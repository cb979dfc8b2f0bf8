//! The end of a topic, as a reader of committed records sees it: for checks from outside. It joins no group and commits nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList};

use super::settings::KafkaSettings;
use super::{GroupOutside, QuietContext, kind_of, refuse};
use crate::core::types::{EventTime, Offset, Partition};
use crate::edge::clock::Deadline;
use crate::error::{Error, Kind, Result};

/// Without a record and without the end for so long, the reading fails.
const SILENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
const TOPIC_GROUP: &str = "threatguard-verify";

/// What was read of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    pub records: u64,
    /// There are records before those that were read, of the time that was asked for.
    pub is_cut: bool,
}

/// Shows the committed records of a topic: those of `since` and later, and of these at most about `last`. `None`: no such topic.
///
/// # Errors
/// `Transient`: no answer in time. `Config`: rights.
pub fn read_tail(
    kafka: &KafkaSettings,
    topic: &str,
    since: Option<EventTime>,
    last: u64,
    mut each: impl FnMut(Partition, Offset, &[u8]),
) -> Result<Option<Tail>> {
    let outside = match GroupOutside::open(kafka, topic, TOPIC_GROUP) {
        Err(error) if error.kind == Kind::Config && error.to_string().contains("there is no topic") => return Ok(None),
        other => other?,
    };
    let share = last / u64::from(outside.partitions()).max(1);
    let since = since.map(|time| outside.first_at(time)).transpose()?;
    let mut list = TopicPartitionList::new();
    let (mut tail, mut open) = (Tail::default(), BTreeSet::new());
    for partition in 0..outside.partitions() {
        let ends = outside.ends(Partition(partition))?;
        let wanted = since.as_ref().map_or(ends.start, |since| since[partition as usize].max(ends.start));
        let from = Offset(wanted.0.max(ends.stable.0.saturating_sub(share)));
        tail.is_cut |= from > wanted;
        if from < ends.stable {
            let number = partition as i32;
            let added = list.add_partition_offset(topic, number, KafkaOffset::Offset(i64::try_from(from.0).unwrap_or(i64::MAX)));
            added.map_err(|error| refuse(Kind::Bug, format!("cannot read topic {topic}"), &error))?;
            open.insert(number);
        }
    }
    read(kafka, topic, &list, open, |message| {
        tail.records += 1;
        let (partition, offset) = (Partition(message.partition().unsigned_abs()), Offset(message.offset().unsigned_abs()));
        each(partition, offset, message.payload().unwrap_or_default());
    })?;
    Ok(Some(tail))
}

/// Which of these offsets of a partition hold a record. Others are marks of transactions, or were removed.
///
/// # Errors
/// As for [`read_tail`].
pub fn existing(kafka: &KafkaSettings, topic: &str, partition: Partition, offsets: &BTreeSet<Offset>) -> Result<BTreeSet<Offset>> {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Ok(BTreeSet::new()) };
    let mut list = TopicPartitionList::new();
    let from = KafkaOffset::Offset(i64::try_from(first.0).unwrap_or(i64::MAX));
    let added = list.add_partition_offset(topic, partition.0 as i32, from);
    added.map_err(|error| refuse(Kind::Bug, format!("cannot read topic {topic}"), &error))?;
    let mut found = BTreeSet::new();
    let consumer = consumer(kafka)?;
    let what = || format!("cannot read topic {topic}");
    consumer.assign(&list).map_err(|error| refuse(Kind::Transient, what(), &error))?;
    let mut deadline = Deadline::after(SILENCE);
    loop {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let offset = Offset(message.offset().unsigned_abs());
                if offsets.contains(&offset) {
                    found.insert(offset);
                }
                if offset >= *last {
                    return Ok(found);
                }
                deadline = Deadline::after(SILENCE);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(found),
            Some(Err(error)) => give_up_on(&error, &what())?,
            None if deadline.passed() => return Err(Error::transient(what() + ": its brokers do not answer")),
            None => {}
        }
    }
}

fn consumer(kafka: &KafkaSettings) -> Result<BaseConsumer<QuietContext>> {
    let mut config = kafka.client()?;
    config.set("group.id", TOPIC_GROUP).set("enable.auto.commit", "false").set("isolation.level", "read_committed");
    config.set("auto.offset.reset", "earliest").set("enable.partition.eof", "true").set("fetch.queue.backoff.ms", "5");
    let made = config.create_with_context(QuietContext);
    made.map_err(|error| refuse(Kind::Config, "the Kafka client's settings are refused".to_owned(), &error))
}

/// Reads until each open partition has shown its end.
fn read(
    kafka: &KafkaSettings,
    topic: &str,
    list: &TopicPartitionList,
    mut open: BTreeSet<i32>,
    mut each: impl FnMut(&rdkafka::message::BorrowedMessage<'_>),
) -> Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    let what = || format!("cannot read topic {topic}");
    let consumer = consumer(kafka)?;
    consumer.assign(list).map_err(|error| refuse(Kind::Transient, what(), &error))?;
    let mut deadline = Deadline::after(SILENCE);
    while !open.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                if open.contains(&message.partition()) {
                    each(&message);
                }
                deadline = Deadline::after(SILENCE);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => give_up_on(&error, &what())?,
            None if deadline.passed() => return Err(Error::transient(what() + ": its brokers do not answer")),
            None => {}
        }
    }
    Ok(())
}

/// The client mends what passes by itself.
fn give_up_on(error: &KafkaError, what: &str) -> Result<()> {
    let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
    if kind == Kind::Config { Err(refuse(kind, what.to_owned(), error)) } else { Ok(()) }
}
