//! The output side: an idempotent producer that counts what is durable. See [`Publisher`] for the contract.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::settings::{KafkaSettings, ProducerSettings, TopicNames};
use super::window::AckWindow;
use super::{kind_of, log_line, refuse, unreachable};
use crate::edge::clock::Deadline;
use crate::edge::{Outgoing, Publisher, Sequence, TopicRole, publish_each};
use crate::error::{Error, Kind, Result};
use crate::limits::OUTPUT_BYTES_MAX;
use crate::native::produce::{BatchProducer, Piece};

/// One step of waiting for deliveries; they also wake the waiter.
const STEP: Duration = Duration::from_millis(10);

/// Publishes to Kafka with `acks=all` and the client's own retries made idempotent.
///
/// Guarantee: at least once and in order per partition, see [`Publisher`]. A record counts as delivered when all in-sync replicas
/// have it.
pub struct KafkaPublisher {
    client: BatchProducer<DeliveryContext>,
    deliveries: Arc<Deliveries>,
    topics: TopicNames,
    /// Partitions of the verdicts' topic, asked for when one of them is first named; 0 where nobody could say.
    verdict_partitions: OnceLock<u32>,
    queue_full_wait: Duration,
    connect_timeout: Duration,
}

#[derive(Default)]
struct Deliveries {
    produced: AtomicU64,
    delivered: AtomicU64,
    state: Mutex<State>,
    /// Whether `state` holds a failure: looked at for every run of records, without the lock.
    failed: AtomicBool,
    /// Threads in `wait`. Waking costs a system call, also where nobody sleeps.
    waiting: AtomicUsize,
    progress: Condvar,
}

#[derive(Default)]
struct State {
    window: Option<AckWindow>,
    failure: Option<(Kind, String)>,
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledge(&self, sequence: u64) {
        let mut state = self.lock();
        let window = state.window.get_or_insert_with(AckWindow::new);
        window.acknowledge(sequence);
        let delivered = window.delivered();
        // A waiter counts itself before it takes the lock, so it is seen here or sees this.
        if delivered > self.delivered.swap(delivered, Ordering::AcqRel) && self.waiting.load(Ordering::Acquire) > 0 {
            self.progress.notify_all();
        }
    }

    fn fail(&self, kind: Kind, text: String) {
        let mut state = self.lock();
        if state.failure.is_none() {
            tracing::error!("publishing has failed: {text}");
            state.failure = Some((kind, text));
            self.failed.store(true, Ordering::Release);
        }
        self.progress.notify_all();
    }

    fn failure(&self) -> Option<Error> {
        if !self.failed.load(Ordering::Acquire) {
            return None;
        }
        self.lock().failure.clone().map(|(kind, text)| Error::new(kind, text))
    }

    /// Waits for any delivery or failure, at most one step.
    fn wait(&self, wait: Duration) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        drop(self.progress.wait_timeout(self.lock(), wait));
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

struct DeliveryContext {
    deliveries: Arc<Deliveries>,
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // The idempotent producer has lost its place and accepts nothing any more.
            Some(RDKafkaErrorCode::Fatal) => self.deliveries.fail(Kind::Transient, format!("the producer has failed: {reason}")),
            Some(code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::ClusterAuthorizationFailed)) => {
                self.deliveries.fail(kind_of(code), format!("the brokers refuse this client: {reason}"));
            }
            _ => tracing::warn!("kafka client: {error}: {reason}"),
        }
    }
}

impl ProducerContext for DeliveryContext {
    /// The record's sequence number.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: usize) {
        match result {
            Ok(_) => self.deliveries.acknowledge(sequence as u64),
            Err((error, message)) => {
                use rdkafka::Message as _;
                let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
                let error = refuse(kind, format!("a record for topic {} was not delivered", message.topic()), error);
                self.deliveries.fail(error.kind, error.to_string());
            }
        }
    }
}

impl KafkaPublisher {
    /// Connects. `Config`: settings or rights. `Transient`: no broker answered within `connect_timeout_ms`.
    pub fn open(kafka: &KafkaSettings, settings: &ProducerSettings) -> Result<Self> {
        Self::with(kafka, settings, kafka.producer(settings)?)
    }

    /// As [`Self::open`], for one thread that says itself when to send ([`Publisher::hurry`]).
    pub fn open_held(kafka: &KafkaSettings, settings: &ProducerSettings) -> Result<Self> {
        Self::with(kafka, settings, kafka.held_producer(settings)?)
    }

    fn with(kafka: &KafkaSettings, settings: &ProducerSettings, config: ClientConfig) -> Result<Self> {
        let deliveries = Arc::new(Deliveries::default());
        let producer: ThreadedProducer<DeliveryContext> = config
            .create_with_context(DeliveryContext { deliveries: deliveries.clone() })
            .map_err(|error| refuse(Kind::Config, "the Kafka producer's settings are refused".to_owned(), &error))?;
        let within_ms = kafka.connect_timeout_ms;
        // Any topic's metadata shows that a broker answers; asking for one that is absent could create it.
        producer
            .client()
            .fetch_metadata(None, Duration::from_millis(within_ms))
            .map_err(|error| deliveries.failure().unwrap_or_else(|| unreachable(kafka, within_ms, &error)))?;
        let names = TopicRole::ALL.map(|role| settings.topics.of(role));
        let client = BatchProducer::new(producer, &names)
            .map_err(|code| Error::new(kind_of(code), format!("the Kafka producer refuses an output topic's name: {code}")))?;
        Ok(Self {
            client,
            deliveries,
            topics: settings.topics.clone(),
            verdict_partitions: OnceLock::new(),
            queue_full_wait: Duration::from_millis(settings.queue_full_wait_ms),
            connect_timeout: Duration::from_millis(within_ms),
        })
    }

    /// Records that were accepted and not acknowledged yet.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.produced().0 - self.delivered().0
    }

    /// The partition that a record names. Verdicts name that of their input, which their own topic may not have: there it is the one
    /// left when counting round.
    fn partition(&self, record: &Outgoing<'_>) -> Option<u32> {
        let named = record.partition?.0;
        if record.role != TopicRole::Verdicts {
            return Some(named);
        }
        let count = *self.verdict_partitions.get_or_init(|| self.count_partitions(record.role));
        Some(if count == 0 { named } else { named % count })
    }

    fn count_partitions(&self, role: TopicRole) -> u32 {
        let metadata = self.client.producer().client().fetch_metadata(Some(self.topics.of(role)), self.connect_timeout);
        metadata.ok().and_then(|metadata| metadata.topics().first().map(|topic| topic.partitions().len() as u32)).unwrap_or(0)
    }

    /// Hands over a run under the numbers from `first` on, as often as the full queue makes it necessary.
    fn hand_over_run(&self, records: &[Outgoing<'_>], first: u64, give_up: &dyn Fn() -> bool) -> Result<()> {
        let (role, mut done) = (records[0].role, 0);
        let (partition, topic) = (self.partition(&records[0]), self.topics.of(role));
        loop {
            let pieces = records[done..].iter().map(|record| Piece { key: record.key, payload: record.payload });
            let Err(refused) = self.client.produce(index_of(role), partition, pieces, first as usize + done) else { return Ok(()) };
            if refused.code != RDKafkaErrorCode::QueueFull {
                // Some after it may have been accepted: the hole among the numbers keeps everything from here on unsettled.
                let error = Error::new(kind_of(refused.code), format!("topic {topic} does not accept a record: {}", refused.code));
                self.deliveries.fail(error.kind, error.to_string());
                return Err(error);
            }
            done += refused.index;
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if give_up() {
                // These numbers were given to no record; nothing has to wait for them.
                (first + done as u64..first + records.len() as u64).for_each(|sequence| self.deliveries.acknowledge(sequence));
                return Err(Error::transient(format!("stopped while the queue to Kafka was full; topic {topic} takes records too slowly")));
            }
            self.deliveries.wait(STEP);
        }
    }

    fn hand_over(&self, record: &Outgoing<'_>, sequence: u64) -> Result<()> {
        let topic = self.topics.of(record.role);
        let mut message = BaseRecord::with_opaque_to(topic, sequence as usize).payload(record.payload);
        message.key = record.key;
        message.partition = self.partition(record).map(|partition| partition as i32);
        message.timestamp = record.time.map(|time| time.0 / 1_000);
        let deadline = Deadline::after(self.queue_full_wait);
        loop {
            match self.client.producer().send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if deadline.passed() {
                        return Err(Error::transient(format!("the queue to Kafka is full; topic {topic} takes records too slowly")));
                    }
                    message = back;
                    self.deliveries.wait(STEP);
                }
                Err((error, _)) => {
                    let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
                    return Err(lasting(refuse(kind, format!("topic {topic} does not accept a record"), &error)));
                }
            }
        }
    }
}

/// The same error as one that no repetition mends.
fn lasting(error: Error) -> Error {
    if error.kind == Kind::Transient { Error::permanent(error.to_string()) } else { error }
}

fn index_of(role: TopicRole) -> usize {
    TopicRole::ALL.iter().position(|other| *other == role).expect("every role is in the list")
}

impl Publisher for KafkaPublisher {
    fn publish(&self, record: Outgoing<'_>) -> Result<Sequence> {
        if record.payload.len() > OUTPUT_BYTES_MAX {
            let (bytes, role) = (record.payload.len(), record.role.as_str());
            return Err(Error::bug(format!("a record of {bytes} bytes for {role} exceeds {OUTPUT_BYTES_MAX}")));
        }
        if let Some(error) = self.failure() {
            // Never `Transient`, which means that the queue is full and the record may be offered again.
            return Err(lasting(error));
        }
        let sequence = self.deliveries.produced.fetch_add(1, Ordering::AcqRel) + 1;
        match self.hand_over(&record, sequence) {
            Ok(()) => Ok(Sequence(sequence)),
            Err(error) => {
                // The number was given to no record; nothing has to wait for it.
                self.deliveries.acknowledge(sequence);
                if error.kind != Kind::Transient {
                    self.deliveries.fail(error.kind, error.to_string());
                }
                Err(error)
            }
        }
    }

    fn publish_run(&self, records: &[Outgoing<'_>], give_up: &dyn Fn() -> bool) -> Result<Sequence> {
        // The client's batches know no times, and nothing that the pipeline publishes has one.
        let single = |record: &Outgoing<'_>| record.time.is_some() || record.payload.len() > OUTPUT_BYTES_MAX;
        if records.is_empty() || records.iter().any(single) {
            return publish_each(self, records, give_up);
        }
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let count = records.len() as u64;
        let first = self.deliveries.produced.fetch_add(count, Ordering::AcqRel) + 1;
        self.hand_over_run(records, first, give_up).map(|()| Sequence(first + count - 1))
    }

    fn produced(&self) -> Sequence {
        Sequence(self.deliveries.produced.load(Ordering::Acquire))
    }

    fn delivered(&self) -> Sequence {
        Sequence(self.deliveries.delivered.load(Ordering::Acquire))
    }

    fn failure(&self) -> Option<Error> {
        self.deliveries.failure()
    }

    fn hurry(&self, wait: Duration) {
        // What is not delivered by then shows in `delivered`.
        let _all = self.client.flush(wait);
    }

    fn flush(&self, deadline: Duration) -> Result<()> {
        let until = Deadline::after(deadline);
        let target = self.produced();
        while self.delivered() < target {
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if until.passed() {
                let missing = target.0 - self.delivered().0;
                return Err(Error::transient(format!("{missing} records were not acknowledged by Kafka in time")));
            }
            // What waits for company is sent; the counter follows the last acknowledgement within moments.
            if self.client.flush(STEP.min(until.left())) {
                self.deliveries.wait(STEP.min(until.left()));
            }
        }
        Ok(())
    }
}
