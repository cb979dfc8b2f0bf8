//! Outputs and offsets in one transaction. See [`Transactions`] for the contract.
//!
//! A client whose transaction did not end in a plain success is thrown away, with whatever it may still send: the broker applies a
//! delayed end of one transaction to the next one of the same client (KIP-890, which librdkafka does not speak yet), and a new
//! client under the same name fences it off. It also takes the errors apart: there is one way on after any of them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::consumer::offsets;
use super::settings::{KafkaSettings, ProducerSettings};
use super::{kind_of, log_line, refuse};
use crate::edge::clock::{self, Deadline};
use crate::edge::{Commit, Member, Outgoing, TopicRole, Transactions};
use crate::error::{Error, Kind, Result};
use crate::limits::OUTPUT_BYTES_MAX;
use crate::native::produce::{BatchProducer, Piece};

/// Between two looks whether flushing has failed for good.
const FLUSH_STEP: Duration = Duration::from_millis(100);
/// So often within so long, and the name is somebody else's too.
const FENCINGS_MAX: usize = 8;
const FENCINGS_WITHIN: Duration = Duration::from_secs(60);
/// Beyond a transaction's time.
const PATIENCE: Duration = Duration::from_secs(1);
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(1);

/// Transactions of one thread, under one transactional id.
///
/// Guarantee: as [`Transactions`] says, for readers with `isolation.level=read_committed`.
pub struct KafkaTransactions {
    kafka: KafkaSettings,
    settings: ProducerSettings,
    /// Topic whose offsets are committed.
    input: String,
    id: String,
    client: Option<Arc<BatchProducer<Watch>>>,
    refused: Arc<Refused>,
    open: bool,
    /// When another client has taken the name over.
    fencings: RefCell<Vec<Instant>>,
    verdict_partitions: Option<u32>,
}

/// The first thing that no new client would do better.
#[derive(Default)]
struct Refused {
    text: Mutex<Option<(Kind, String)>>,
    any: AtomicBool,
}

impl Refused {
    fn note(&self, kind: Kind, text: String) {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((kind, text));
        self.any.store(true, Ordering::Release);
    }
    fn check(&self) -> Result<()> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        text.map_or(Ok(()), |(kind, text)| Err(Error::new(kind, text)))
    }
}

struct Watch {
    refused: Arc<Refused>,
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::ClusterAuthorizationFailed)) => {
                self.refused.note(kind_of(code), format!("the brokers refuse this client: {reason}"));
            }
            _ => tracing::warn!("kafka client: {error}: {reason}"),
        }
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = usize;

    /// Hears of failures only; a failed record fails its transaction's commit as well.
    fn delivery(&self, result: &DeliveryResult<'_>, _: usize) {
        use rdkafka::Message as _;
        let Err((error, message)) = result else { return };
        let kind = error.rdkafka_error_code().map_or(Kind::Transient, kind_of);
        if matches!(kind, Kind::Config | Kind::Permanent) {
            let error = refuse(kind, format!("a record for topic {} was not accepted", message.topic()), error);
            self.refused.note(error.kind, error.to_string());
        }
    }
}

impl KafkaTransactions {
    /// Connects under the transactional id, which ends whatever another client has left open under it.
    ///
    /// # Errors
    /// `Config`: settings or rights. `Transient`: no coordinator answered in time.
    pub fn open(kafka: &KafkaSettings, settings: &ProducerSettings, input: &str, id: &str) -> Result<Self> {
        let mut made = Self {
            kafka: kafka.clone(),
            settings: settings.clone(),
            input: input.to_owned(),
            id: id.to_owned(),
            client: None,
            refused: Arc::default(),
            open: false,
            fencings: RefCell::default(),
            verdict_partitions: None,
        };
        made.renew()?;
        Ok(made)
    }

    fn connect(&self) -> Result<BatchProducer<Watch>> {
        let config = self.kafka.transactional_producer(&self.settings, &self.id)?;
        let context = Watch { refused: Arc::clone(&self.refused) };
        let producer: ThreadedProducer<Watch> = config
            .create_with_context(context)
            .map_err(|error| refuse(Kind::Config, "the Kafka producer's settings are refused".to_owned(), &error))?;
        producer.init_transactions(self.timeout()).map_err(|error| {
            let kind = if is_config(&error) { Kind::Config } else { Kind::Transient };
            refuse(kind, format!("no transactions under the name {}", self.id), &error)
        })?;
        let names = TopicRole::ALL.map(|role| self.settings.topics.of(role));
        BatchProducer::new(producer, &names)
            .map_err(|code| Error::new(kind_of(code), format!("the Kafka producer refuses an output topic's name: {code}")))
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.transaction_timeout_ms)
    }

    fn producer(&self) -> Result<&ThreadedProducer<Watch>> {
        self.client.as_ref().map(|client| client.producer()).ok_or_else(|| Error::transient("no transaction can begin: renew first"))
    }

    fn begin(&mut self) -> Result<()> {
        if !self.open {
            self.producer()?.begin_transaction().map_err(|error| self.failed("cannot begin a transaction", &error))?;
            self.open = true;
        }
        Ok(())
    }

    fn failed(&self, what: &str, error: &KafkaError) -> Error {
        if error.rdkafka_error_code().is_some_and(is_fencing) {
            self.fencings.borrow_mut().push(clock::now());
        }
        let kind = if is_config(error) { Kind::Config } else { Kind::Transient };
        refuse(kind, format!("{what} under the name {}", self.id), error)
    }

    /// A transaction that took too long is fenced off now and then; two processes under one name do it to each other without end.
    fn check_alone(&self) -> Result<()> {
        let mut fencings = self.fencings.borrow_mut();
        fencings.retain(|at| clock::since(*at) < FENCINGS_WITHIN);
        if fencings.len() < FENCINGS_MAX {
            return Ok(());
        }
        let (id, times) = (&self.id, fencings.len());
        Err(Error::config(format!(
            "the transactions {id} were taken over {times} times within a minute: another process runs under the same instance name; \
             give each its own (--instance)"
        )))
    }

    /// As for the other publisher: verdicts count round where their topic has fewer partitions.
    fn partition(&mut self, record: &Outgoing<'_>) -> Result<Option<u32>> {
        let Some(named) = record.partition else { return Ok(None) };
        if record.role != TopicRole::Verdicts {
            return Ok(Some(named.0));
        }
        if self.verdict_partitions.is_none() {
            let topic = self.settings.topics.of(record.role);
            let metadata = self.producer()?.client().fetch_metadata(Some(topic), self.timeout());
            let metadata = metadata.map_err(|error| self.failed("cannot count the partitions of the verdicts' topic", &error))?;
            self.verdict_partitions = metadata.topics().first().map(|topic| topic.partitions().len() as u32);
        }
        let count = self.verdict_partitions.unwrap_or(0);
        Ok(Some(if count == 0 { named.0 } else { named.0 % count }))
    }

    fn hand_over(&mut self, records: &[Outgoing<'_>], give_up: &dyn Fn() -> bool) -> Result<()> {
        let (role, partition, mut done) = (records[0].role, self.partition(&records[0])?, 0);
        let client = self.client.as_ref().ok_or_else(|| Error::transient("no transaction can begin: renew first"))?;
        loop {
            let pieces = records[done..].iter().map(|record| Piece { key: record.key, payload: record.payload });
            let Err(refused) = client.produce(index_of(role), partition, pieces, 0) else { return Ok(()) };
            if refused.code != RDKafkaErrorCode::QueueFull {
                let topic = self.settings.topics.of(role);
                return Err(Error::new(kind_of(refused.code), format!("topic {topic} does not accept a record: {}", refused.code)));
            }
            done += refused.index;
            self.refused.check()?;
            if give_up() {
                return Err(Error::transient("stopped while the queue to Kafka was full"));
            }
            std::thread::sleep(QUEUE_FULL_WAIT);
        }
    }

    fn hand_over_timed(&mut self, record: &Outgoing<'_>, give_up: &dyn Fn() -> bool) -> Result<()> {
        let partition = self.partition(record)?;
        let topic = self.settings.topics.of(record.role);
        let mut message = BaseRecord::with_opaque_to(topic, 0).payload(record.payload);
        message.key = record.key;
        message.partition = partition.map(|partition| partition as i32);
        message.timestamp = record.time.map(|time| time.0 / 1_000);
        loop {
            match self.producer()?.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if !give_up() => message = back,
                Err((error, _)) => return Err(self.failed(&format!("topic {topic} does not accept a record"), &error)),
            }
            self.refused.check()?;
            std::thread::sleep(QUEUE_FULL_WAIT);
        }
    }

    /// Sends what is left and waits until nothing is in flight, so that the commit finds nothing to flush.
    fn drain(&self) -> Result<()> {
        let client = self.client.as_ref().ok_or_else(|| Error::transient("no transaction can end: renew first"))?;
        let deadline = Deadline::after(self.timeout());
        while !client.flush(FLUSH_STEP) {
            self.refused.check()?;
            if deadline.passed() {
                return Err(Error::transient("records were not acknowledged within the transaction's time"));
            }
        }
        self.refused.check()
    }

    /// Adds the offsets while records are still on their way, which saves a round trip, and commits once it is told that they have
    /// arrived. On a thread of its own: the client has been seen to wait for ever for a group coordinator that is gone, whatever
    /// time it was given. Then it is left to itself, and a new one takes its name.
    fn begin_end(&self, commits: &[Commit], member: &Member) -> Result<Ending> {
        let client = self.client.as_ref().map(Arc::clone).ok_or_else(|| Error::transient("no transaction can end: renew first"))?;
        let list = if commits.is_empty() { None } else { Some(offsets(&self.input, commits)?) };
        let (member, timeout) = (member.clone(), self.timeout());
        let (arrived, wait) = bounded(1);
        let (send, ended) = bounded(1);
        let work = move || drop(send.send(end(client.producer(), list.as_ref(), &member, &wait, timeout)));
        let thread = std::thread::Builder::new().name("kafka-commit".to_owned()).spawn(work);
        thread.map_err(|error| Error::transient("cannot start a thread").because(error))?;
        Ok(Ending { arrived, ended })
    }

    fn end(&self, ending: &Ending) -> Result<()> {
        // A thread that has failed does not listen any more, and has said why.
        let _is_heard = ending.arrived.send(()).is_ok();
        match ending.ended.recv_timeout(self.timeout() + PATIENCE) {
            Ok(Ok(())) => Ok(()),
            Ok(Err((what, error))) => Err(self.failed(what, &error)),
            Err(_) => Err(Error::transient("the client did not come to an end of its transaction in time")),
        }
    }
}

type Ended = std::result::Result<(), (&'static str, KafkaError)>;

/// The end of a transaction, under way. Dropped untold, it commits nothing.
struct Ending {
    /// Told that all records have arrived.
    arrived: Sender<()>,
    ended: Receiver<Ended>,
}

fn end(
    producer: &ThreadedProducer<Watch>,
    offsets: Option<&TopicPartitionList>,
    member: &Member,
    arrived: &Receiver<()>,
    timeout: Duration,
) -> Ended {
    if let Some(offsets) = offsets {
        let member = member.0.downcast_ref::<ConsumerGroupMetadata>().expect("a membership of Kafka's own");
        producer.send_offsets_to_transaction(offsets, member, timeout).map_err(|error| ("offsets were not accepted", error))?;
    }
    if arrived.recv().is_err() {
        return Ok(());
    }
    producer.commit_transaction(timeout).map_err(|error| ("the outcome of a transaction is not known", error))
}

impl Transactions for KafkaTransactions {
    fn renew(&mut self) -> Result<()> {
        self.refused.check()?;
        self.check_alone()?;
        self.open = false;
        if let Some(old) = self.client.take() {
            // It may have something to wait for; nobody else has to.
            let gone = std::thread::Builder::new().name("kafka-old".to_owned()).spawn(move || drop(old));
            gone.map_err(|error| Error::transient("cannot start a thread").because(error))?;
        }
        self.client = Some(Arc::new(self.connect()?));
        Ok(())
    }

    fn publish(&mut self, records: &[Outgoing<'_>], give_up: &dyn Fn() -> bool) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if let Some(record) = records.iter().find(|record| record.payload.len() > OUTPUT_BYTES_MAX) {
            let (bytes, role) = (record.payload.len(), record.role.as_str());
            return Err(Error::bug(format!("a record of {bytes} bytes for {role} exceeds {OUTPUT_BYTES_MAX}")));
        }
        self.begin()?;
        // The client's batches know no times; only re-keyed records have one.
        if records.iter().any(|record| record.time.is_some()) {
            return records.iter().try_for_each(|record| self.hand_over_timed(record, give_up));
        }
        self.hand_over(records, give_up)
    }

    fn commit(&mut self, commits: &[Commit], member: &Member) -> Result<()> {
        self.begin()?;
        let begun = clock::now();
        let ending = self.begin_end(commits, member)?;
        self.drain()?;
        self.end(&ending)?;
        self.open = false;
        tracing::trace!(micros = begun.elapsed().as_micros() as u64, "committed");
        Ok(())
    }
}

fn is_config(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(|code| kind_of(code) == Kind::Config)
}

fn is_fencing(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
}

fn index_of(role: TopicRole) -> usize {
    TopicRole::ALL.iter().position(|other| *other == role).expect("every role is in the list")
}
