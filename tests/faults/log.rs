//! What is in a topic, as a consumer of either isolation level sees it: digests, so that millions of records fit.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use threatguard::edge::clock::Deadline;

use crate::support;

const WAIT: Duration = Duration::from_secs(20);
/// To read a whole topic; longer than a transaction that nobody ends may hold readers back.
const READ: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Committed,
    Uncommitted,
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// A record without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its own offset.
    pub offset: i64,
    pub key: u128,
    pub value: u128,
    /// What it says apart from where in the log its event was.
    pub body: u128,
    /// Offset of the event that it is about; -1 where it does not begin with one.
    pub event: i64,
    /// A threat whose risk has decayed follows the clock of the threats log, not the event log.
    pub is_resolution: bool,
}

/// Records by partition.
pub type Topic = Vec<Vec<Entry>>;

/// A consumer that joins no group. `group` is whose commits it can look up.
pub fn client(brokers: &str, isolation: Isolation, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", group).set("isolation.level", isolation.name());
    config.set("enable.partition.eof", "true").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    config.set("fetch.wait.max.ms", "20").set("fetch.queue.backoff.ms", "5").set("allow.auto.create.topics", "false");
    config.create().unwrap()
}

/// Takes every partition from its beginning.
pub fn assign(consumer: &BaseConsumer, topic: &str, partitions: u32) {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
}

/// Everything in a topic.
pub fn read(brokers: &str, topic: &str, partitions: u32, isolation: Isolation) -> Topic {
    let consumer = client(brokers, isolation, &support::fresh("reader"));
    assign(&consumer, topic, partitions);
    let (mut found, mut ended) = (vec![vec![]; partitions as usize], vec![false; partitions as usize]);
    let deadline = Deadline::after(READ);
    while ended.contains(&false) {
        assert!(!deadline.passed(), "{topic} was not read to its end: {ended:?}");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => found[message.partition() as usize].push(entry(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => ended[partition as usize] = true,
            Some(Err(error)) => println!("{topic}: {error}"),
            None => {}
        }
    }
    found
}

/// The text of one record, for whoever wants to know what the difference is.
pub fn text(brokers: &str, topic: &str, partition: usize, offset: i64) -> String {
    let consumer = client(brokers, Isolation::Uncommitted, &support::fresh("reader"));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition as i32, Offset::Offset(offset)).unwrap();
    consumer.assign(&list).unwrap();
    let message = consumer.poll(WAIT).and_then(Result::ok);
    message.map_or_else(String::new, |message| String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned())
}

/// The offset after the last record that this isolation level may see, by partition.
pub fn ends(brokers: &str, topic: &str, partitions: u32, isolation: Isolation) -> Vec<i64> {
    let deadline = Deadline::after(READ);
    loop {
        // A client of its own each time: one whose only broker was ended may not come back.
        let consumer = client(brokers, isolation, &support::fresh("ends"));
        let end = |partition| consumer.fetch_watermarks(topic, partition as i32, WAIT).map(|(_, high)| high);
        match (0..partitions).map(end).collect() {
            Ok(ends) => return ends,
            Err(error) => assert!(!deadline.passed(), "{topic} has no end: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the group has committed, by partition; 0 where nothing.
pub fn committed(consumer: &BaseConsumer, topic: &str, partitions: u32) -> Vec<i64> {
    let mut list = TopicPartitionList::new();
    (0..partitions).for_each(|partition| _ = list.add_partition(topic, partition as i32));
    let Ok(list) = consumer.committed_offsets(list, WAIT) else { return vec![0; partitions as usize] };
    list.elements().iter().map(|element| element.offset().to_raw().unwrap_or(0).max(0)).collect()
}

/// 128 bits that no two records share by chance.
pub fn digest(bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    u128::from_le_bytes(hash.as_bytes()[..16].try_into().unwrap())
}

pub fn entry(message: &BorrowedMessage<'_>) -> Entry {
    let payload = message.payload().unwrap_or_default();
    Entry {
        offset: message.offset(),
        key: digest(message.key().unwrap_or_default()),
        value: digest(payload),
        body: body(payload),
        event: event_offset(payload),
        is_resolution: payload.starts_with(b"{\"type\":\"threat.resolved\""),
    }
}

/// Digest of a verdict without the position that it begins with.
pub fn body(payload: &[u8]) -> u128 {
    let end = payload.iter().position(|byte| *byte == b'}').map_or(0, |at| at + 1);
    digest(&payload[end..])
}

/// A verdict begins `{"position":{"partition":0,"offset":17}`.
fn event_offset(payload: &[u8]) -> i64 {
    let head = String::from_utf8_lossy(payload.get(..80).unwrap_or(payload));
    let digits = head.strip_prefix("{\"position\":").and_then(|rest| rest.split_once("\"offset\":")).map(|(_, rest)| rest);
    let digits = digits.and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(-1)
}
