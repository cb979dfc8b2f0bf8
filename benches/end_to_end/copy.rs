//! The yardstick: records copied one to one by librdkafka alone, with the pipeline's client settings, nothing parsed.
//!
//! One thread takes batches and hands each record to the producer at once; the client's own threads do the rest. Must never do
//! more than that, nor less than the pipeline promises: all acknowledged by all replicas, then the offsets committed.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, DefaultConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use threatguard::edge::clock;
use threatguard::edge::kafka::{ConsumerSettings, KafkaSettings, ProducerSettings};
use threatguard::native::consume::{BatchConsumer, Inbox};
use threatguard::native::produce::{BatchProducer, Piece};

use crate::streaming::Bare;

const TAKE_MAX: usize = 1_024;

/// Copies the first `events` records of `from` to `to`; returns the time from the first record to the last commit.
pub fn copy(kafka: &KafkaSettings, from: &str, to: &str, group: &str, partitions: u32, events: u64) -> Result<Duration, String> {
    let text = |error: rdkafka::error::KafkaError| format!("the copy failed: {error}");
    let settings = ConsumerSettings { topic: from.to_owned(), group: group.to_owned(), ..ConsumerSettings::default() };
    let consumer = kafka.consumer(&settings, 1).map_err(|error| error.to_string())?;
    let consumer: Arc<BaseConsumer<DefaultConsumerContext>> = Arc::new(consumer.create().map_err(text)?);
    let producer = kafka.producer(&ProducerSettings::default()).map_err(|error| error.to_string())?;
    let producer: ThreadedProducer<Bare> = producer.create_with_context(Bare::default()).map_err(text)?;
    let producer = BatchProducer::new(producer, &[to]).map_err(|code| format!("the copy failed: {code}"))?;
    let inbox = Arc::new(Inbox::default());
    let mut client = BatchConsumer::new(Arc::clone(&consumer), Arc::clone(&inbox), TAKE_MAX);
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        if !inbox.forward(&consumer, from, partition) {
            return Err(format!("partition {partition} of {from} cannot be read"));
        }
        list.add_partition_offset(from, partition, Offset::Beginning).map_err(text)?;
    }
    consumer.assign(&list).map_err(text)?;
    let mut next = vec![0i64; partitions as usize];
    let mut begun = None;
    let mut copied = 0;
    while copied < events {
        if let Some(Err(error)) = consumer.poll(Duration::ZERO) {
            return Err(text(error));
        }
        let wanted = if begun.is_none() { 1 } else { TAKE_MAX };
        let mut problem = None;
        let taken = client.consume(5, wanted, |message| {
            begun.get_or_insert_with(clock::now);
            next[message.partition as usize] = message.offset + 1;
            let (partition, piece) = (message.partition as u32, Piece { key: message.key, payload: message.payload.unwrap_or_default() });
            while let Err(refused) = producer.produce(0, Some(partition), std::iter::once(piece), 0) {
                if refused.code != RDKafkaErrorCode::QueueFull {
                    problem = Some(refused.code);
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        copied += taken.map_err(|code| format!("the copy failed: {code}"))? as u64;
        if let Some(code) = problem {
            return Err(format!("the copy failed: {code}"));
        }
    }
    while producer.producer().in_flight_count() > 0 {
        std::thread::sleep(Duration::from_micros(200));
    }
    if producer.producer().context().lost() > 0 {
        return Err("the copy lost records".to_owned());
    }
    let mut done = TopicPartitionList::new();
    for (partition, next) in next.into_iter().enumerate() {
        done.add_partition_offset(from, partition as i32, Offset::Offset(next)).map_err(text)?;
    }
    consumer.commit(&done, CommitMode::Sync).map_err(text)?;
    Ok(begun.map_or(Duration::ZERO, |begun| begun.elapsed()))
}
