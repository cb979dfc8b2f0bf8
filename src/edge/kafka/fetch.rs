//! Fetching: a client of its own for each channel, given its partitions one by one. It is no member of the group, so that a process
//! takes part in the group once, however many connections and threads it reads with. Must never commit.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};

use super::{log_line, refuse};
use crate::core::types::{Offset, Partition};
use crate::edge::clock::{self, Deadline};
use crate::error::{Error, Kind, Result};
use crate::native::consume::{BatchConsumer, Inbox};

/// Between two tries to move a partition that the client has not begun to fetch.
const STEP: Duration = Duration::from_millis(5);

pub(super) struct FetchContext;

impl ClientContext for FetchContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!("kafka client: {error}: {reason}");
    }
}
impl ConsumerContext for FetchContext {}

/// What a channel's partitions are fetched by. Its reader holds the client; when that is gone nothing is fetched any more.
pub(super) struct Fetcher {
    topic: String,
    client: Weak<BaseConsumer<FetchContext>>,
    inbox: Arc<Inbox>,
    seek_timeout: Duration,
}

impl Fetcher {
    /// # Errors
    /// `Config`: the settings are refused.
    pub(super) fn open(
        config: &ClientConfig,
        topic: &str,
        seek_timeout: Duration,
        batch_max: usize,
    ) -> Result<(Self, BatchConsumer<FetchContext>)> {
        let client: BaseConsumer<FetchContext> = config
            .create_with_context(FetchContext)
            .map_err(|error| refuse(Kind::Config, "the Kafka consumer's settings are refused".to_owned(), &error))?;
        let client = Arc::new(client);
        let inbox = Arc::new(Inbox::default());
        let batches = BatchConsumer::new(Arc::clone(&client), Arc::clone(&inbox), batch_max);
        Ok((Self { topic: topic.to_owned(), client: Arc::downgrade(&client), inbox, seek_timeout }, batches))
    }

    /// Fetches a partition from `from` on.
    pub(super) fn start(&self, partition: Partition, from: Offset) -> Result<()> {
        let Some(client) = self.client.upgrade() else { return Ok(()) };
        if !self.inbox.forward(client.as_ref(), &self.topic, partition.0 as i32) {
            return Err(Error::bug("a partition could not be forwarded to its queue"));
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition.0 as i32, kafka_offset(from)?)
            .and_then(|()| client.incremental_assign(&list))
            .map_err(|error| refused(partition, &error))
    }

    /// Goes on from somewhere else with a partition that was started. What was fetched before is dropped by the client.
    ///
    /// Not by assigning it again: the end of the old assignment would end the new one's forwarding.
    pub(super) fn seek(&self, partition: Partition, from: Offset) -> Result<()> {
        let Some(client) = self.client.upgrade() else { return Ok(()) };
        let (deadline, offset) = (Deadline::after(self.seek_timeout), kafka_offset(from)?);
        loop {
            match client.seek(&self.topic, partition.0 as i32, offset, deadline.left()) {
                // One that it has not begun to fetch yet cannot be moved: soon it can.
                Err(KafkaError::Seek(_)) if !deadline.passed() => clock::sleep(STEP),
                other => return other.map_err(|error| refused(partition, &error)),
            }
        }
    }

    /// Fetches a partition no more.
    pub(super) fn stop(&self, partition: Partition) -> KafkaResult<()> {
        let Some(client) = self.client.upgrade() else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition.0 as i32);
        client.incremental_unassign(&list)
    }
}

fn kafka_offset(offset: Offset) -> Result<KafkaOffset> {
    let offset = i64::try_from(offset.0).map_err(|_| Error::bug("an offset exceeds what Kafka can express"))?;
    Ok(KafkaOffset::Offset(offset))
}

fn refused(partition: Partition, error: &KafkaError) -> Error {
    refuse(Kind::Transient, format!("the client does not start partition {}", partition.0), error)
}
