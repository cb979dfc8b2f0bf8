//! The edge: every contract between the pipeline and the outside world, and the adapters that fulfil them.
//!
//! The order that the pipeline keeps is publish, then commit, then store: outputs and the offsets of what led to them become
//! durable together (or, at least once, outputs first), and state follows behind them. Nothing here decides what a record means,
//! and nothing is settled by `Drop`.
//!
//! | contract | adapters | guarantee |
//! |---|---|---|
//! | [`LogSource`] | [`kafka::KafkaSource`] | at least once: what was not committed is delivered again after a restart or a rebalance |
//! | [`Transactions`] | [`kafka::KafkaTransactions`] | outputs and offsets all or nothing, under a name that only one process uses |
//! | [`Publisher`] | [`kafka::KafkaPublisher`] | at least once, in order per partition, no duplicates by the client's own retries |
//! | [`StateStore`] | [`redis::RedisStore`], [`memory::MemoryStore`] | an older owner, an older checkpoint and another state generation are refused |

pub mod clock;
pub mod discard;
pub mod file;
pub mod geoip;
pub mod kafka;
pub mod memory;
pub mod objects;
pub mod records;
pub mod redis;
pub mod registry;
pub mod secret;
pub mod snapshot;
pub mod table;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::types::{EntityKey, EventTime, Generation, Offset, Partition};
use crate::error::{Error, Kind, Result};
use crate::limits::{CHECKPOINT_CHUNK_ENTITIES_MAX, STATE_VALUE_BYTES_MAX};
pub use records::{RecordRef, Records};

/// What an input log says, in order, on the channel that its partition belongs to (`partition % channels`).
///
/// For one partition the order is `Assigned`, any number of `Batch` and `End`, then `Revoked` or `Lost`. `Failed` is the last
/// event of a source.
#[derive(Debug)]
pub enum LogEvent {
    /// This process owns the partition from now on. No record is delivered before [`LogSource::start`]. `start` is where its
    /// records begin by what the group has committed, or else by the settings.
    Assigned {
        partition: Partition,
        generation: Generation,
        committed: Option<Committed>,
        start: Offset,
    },
    Batch(PartitionBatch),
    /// Everything that the partition holds was delivered; the next record will have this offset. Only with `report_end`.
    End {
        partition: Partition,
        generation: Generation,
        delivery: Delivery,
        next: Offset,
    },
    /// The partition moves to another owner. Finish what was delivered before this event, publish, store, commit, then call
    /// [`LogSource::released`]; the source waits for that, up to its drain deadline, and then lets go in any case.
    Revoked {
        partition: Partition,
        generation: Generation,
    },
    /// The partition has already moved (the session ended). Drop its state; storing and committing would be refused.
    Lost {
        partition: Partition,
        generation: Generation,
    },
    /// The source has stopped for good. [`crate::error::Kind`] says whether a new one may succeed.
    Failed(Error),
}

/// Records of one partition in offset order, read under one generation.
#[derive(Debug)]
pub struct PartitionBatch {
    pub partition: Partition,
    pub generation: Generation,
    /// Which start of the partition's delivery it belongs to.
    pub delivery: Delivery,
    pub records: Records,
    /// When the source took its first record from the client.
    pub read_at: Instant,
    /// The offset that the next record written to the partition gets, as last heard from the broker. Lag is the difference to
    /// the last record of this batch plus one.
    pub high_watermark: Option<Offset>,
}

/// The id that a topic gets when it is made: one that was deleted and made anew has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicId(pub u128);

/// Counts the starts of deliveries, so that records of an older start are recognised on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Delivery(pub u64);

/// What the group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub next: Offset,
    /// What the committer wrote beside it; empty where another tool has set the offset.
    pub note: String,
}

/// The next offset to read of one partition, as the owner of `generation` has settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub partition: Partition,
    pub next: Offset,
    pub generation: Generation,
    /// ASCII, at most 1 KiB: kept with the offset.
    pub note: String,
}

/// Whether a commit waits for the broker's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// Returns at once. A failure is logged and counted; the next commit repeats what it would have said.
    Background,
    /// Returns when the group's coordinator has it. For a revoked partition and before the end.
    Wait,
}

/// Proof of a membership at one moment; what it holds is known to the adapter alone. The group's coordinator refuses commits
/// under one that has ended.
#[derive(Clone)]
pub struct Member(pub Arc<dyn Any + Send + Sync>);

/// An input log that is consumed as a member of a group.
///
/// The source reads on a thread of its own and hands [`LogEvent`]s to bounded channels. A full channel holds reading back without
/// losing records or the membership. All methods may be called from any thread.
///
/// Guarantee: at least once. A record is delivered again unless a commit past it was accepted.
pub trait LogSource: Send + Sync {
    /// Delivers the partition from `from` on, now or anew. Takes effect on the source's thread, soon; batches carry the number that
    /// is returned. A partition that is not owned under this generation is ignored.
    fn start(&self, partition: Partition, generation: Generation, from: Offset) -> Delivery;

    /// What the group has committed for the partition, once no transaction over it is open any more.
    ///
    /// # Errors
    /// `Transient`: no answer in time.
    fn committed(&self, partition: Partition) -> Result<Option<Committed>>;

    /// The membership under which these partitions are owned at this moment.
    ///
    /// # Errors
    /// `Fenced`: one of them is not.
    fn member(&self, owned: &[(Partition, Generation)]) -> Result<Member>;

    /// Settles everything before `next` of each partition, outside of any transaction.
    ///
    /// Callers may repeat a commit. [`crate::error::Kind::Fenced`]: one of the generations is no longer the current one; nothing of
    /// this call was committed, drop that partition and repeat the rest. [`crate::error::Kind::Transient`]: the outcome is unknown,
    /// repeat it.
    fn commit(&self, commits: &[Commit], mode: CommitMode) -> Result<()>;

    /// Whether the group gives the partition to this process, in this generation, at this moment.
    fn owns(&self, partition: Partition, generation: Generation) -> bool;

    /// Says that everything before [`LogEvent::Revoked`] is settled and the partition's state is dropped. Unknown or repeated
    /// releases do nothing.
    fn released(&self, partition: Partition, generation: Generation);

    /// Gives back the memory of a batch for reuse. Optional.
    fn recycle(&self, records: Records);

    /// Leaves the group: revokes what is owned (see [`LogEvent::Revoked`]) and ends the thread. The caller keeps receiving until
    /// the channels are disconnected. `Transient` when the deadline passed first; the thread is then left behind.
    fn close(&self, deadline: Duration) -> Result<()>;
}

/// What an output topic is for. The names are settings; the roles are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRole {
    Threats,
    Alerts,
    Analytics,
    DeadLetters,
    Verdicts,
    /// Input records under the pipeline's own key, when the input's key is another one.
    Rekeyed,
}

impl TopicRole {
    pub const ALL: [Self; 6] = [Self::Threats, Self::Alerts, Self::Analytics, Self::DeadLetters, Self::Verdicts, Self::Rekeyed];

    /// The name in settings and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threats => "threats",
            Self::Alerts => "alerts",
            Self::Analytics => "analytics",
            Self::DeadLetters => "dead_letters",
            Self::Verdicts => "verdicts",
            Self::Rekeyed => "rekeyed",
        }
    }
    /// The topic unless the settings name another one.
    #[must_use]
    pub fn default_topic(self) -> &'static str {
        match self {
            Self::Threats => "security.threats",
            Self::Alerts => "security.alerts",
            Self::Analytics => "security.analytics",
            Self::DeadLetters => "security.dead-letters",
            Self::Verdicts => "security.verdicts",
            Self::Rekeyed => "security.events.rekeyed",
        }
    }
    /// The file in an output folder. Re-keyed records have none: embedded input is one partition.
    #[must_use]
    pub fn file_name(self) -> Option<&'static str> {
        match self {
            Self::Threats => Some("threats.jsonl"),
            Self::Alerts => Some("alerts.jsonl"),
            Self::Analytics => Some("analytics.jsonl"),
            Self::DeadLetters => Some("dead-letters.jsonl"),
            Self::Verdicts => Some("verdicts.jsonl"),
            Self::Rekeyed => None,
        }
    }
}

/// One record to publish. With a partition it goes there (verdicts count round where their topic has fewer); else by its key
/// (murmur2, as Java clients do it), or anywhere without one.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'r> {
    pub role: TopicRole,
    pub partition: Option<Partition>,
    pub key: Option<&'r [u8]>,
    pub payload: &'r [u8],
    /// The record's own timestamp; the log's choice where there is none.
    pub time: Option<EventTime>,
}

/// Counts accepted records from 1. Everything up to a number is meant by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

/// Where outputs go.
///
/// `publish` hands a record over; it is durable once [`Publisher::delivered`] has reached the sequence number that `publish`
/// returned. All methods may be called from any thread.
///
/// Guarantee: at least once, in order per partition. After the first lost record `delivered` stays below it for good, so nothing
/// past it can be committed; the process restarts from its last commit and publishes the same ids again.
pub trait Publisher: Send + Sync {
    /// Accepts one record; the payload is copied. Waits only while the client's queue is full, and not for long.
    ///
    /// `Transient`: the queue stayed full, the record was not accepted, repeat it. Any other kind: the publisher has failed
    /// (see [`Publisher::failure`]) or the record can never be published; nothing is gained by repeating it.
    fn publish(&self, record: Outgoing<'_>) -> Result<Sequence>;

    /// Accepts records of one role and one partition (or all without one) in their order, as `publish` would one by one; returns
    /// the last one's number. Waits while the client's queue is full, until `give_up` says so.
    ///
    /// Any error: some of the last records were not accepted, and the publisher's user has to end.
    fn publish_run(&self, records: &[Outgoing<'_>], give_up: &dyn Fn() -> bool) -> Result<Sequence> {
        publish_each(self, records, give_up)
    }

    /// The last sequence number given out.
    fn produced(&self) -> Sequence;

    /// Every record up to and including this number is durable.
    fn delivered(&self) -> Sequence;

    /// The first loss, if there was one. `Transient`: a restart may help. `Config`: topic, rights or sizes are wrong.
    fn failure(&self) -> Option<Error>;

    /// Sends now what still waits for company, and waits for its delivery, but no longer than this: for whoever has nothing more to
    /// give until then. Optional.
    fn hurry(&self, _wait: Duration) {}

    /// Waits until `delivered` reaches what was `produced` when called. `Transient` when the deadline passed first.
    fn flush(&self, deadline: Duration) -> Result<()>;
}

/// Outputs and the offsets of what led to them, visible together or not at all. One thread uses one.
///
/// Errors of every method: `Config` and `Permanent` say what a person has to mend. After any other, and whatever became of the
/// transaction, [`Transactions::renew`] is called, and only what the group has committed by then tells how it ended.
pub trait Transactions: Send {
    /// Begins a new life under the same name: what an older one has left open is aborted, and what it still sends is refused.
    fn renew(&mut self) -> Result<()>;

    /// Adds records in their order; the first ones begin a transaction. Waits while the client's queue is full, until `give_up`
    /// says so.
    fn publish(&mut self, records: &[Outgoing<'_>], give_up: &dyn Fn() -> bool) -> Result<()>;

    /// Commits what was published since the last commit, and these offsets in the name of `member`.
    fn commit(&mut self, commits: &[Commit], member: &Member) -> Result<()>;
}

/// Publishes records one by one, for adapters that have no better way.
///
/// # Errors
/// As for [`Publisher::publish_run`].
pub fn publish_each<P: Publisher + ?Sized>(publisher: &P, records: &[Outgoing<'_>], give_up: &dyn Fn() -> bool) -> Result<Sequence> {
    let mut last = publisher.produced();
    for record in records {
        last = loop {
            match publisher.publish(*record) {
                Err(error) if error.kind == Kind::Transient && !give_up() => {}
                other => break other?,
            }
        };
    }
    Ok(last)
}

/// Names one life of a partition's state. A state that was lost and started anew has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StateGeneration(pub u64);

/// Numbers the owners of a partition. It is kept with the group's offset, so it grows from owner to owner whatever the store forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Owner(pub u64);

/// Who writes a partition's state, and which life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub owner: Owner,
    pub state: StateGeneration,
}

/// What a store knows about a partition as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMeta {
    pub owner: Owner,
    pub state: StateGeneration,
    /// `R`: every event before it is contained in the stored values.
    pub checkpoint: Offset,
    /// State of the partition itself, opaque here (counters, its own next offset).
    pub value: Vec<u8>,
}

/// One checkpoint: values of changed entities, then what holds for the partition afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'c> {
    /// Counts the checkpoints of one claim from 1; a repeated one keeps its number.
    pub number: u64,
    /// At most [`crate::limits::CHECKPOINT_CHUNK_ENTITIES_MAX`]. An empty value removes its entity. Each value carries its own next offset, which is opaque here.
    pub entries: &'c [(EntityKey, &'c [u8])],
    pub next: Offset,
    pub value: &'c [u8],
}

impl Checkpoint<'_> {
    /// `Bug` when there are more values, or larger ones, than the limits allow: nothing of such a checkpoint is written.
    fn check(&self) -> Result<()> {
        if self.entries.len() > CHECKPOINT_CHUNK_ENTITIES_MAX {
            return Err(Error::bug(format!("a checkpoint of {} values exceeds {CHECKPOINT_CHUNK_ENTITIES_MAX}", self.entries.len())));
        }
        match self.entries.iter().find(|(_, value)| value.len() > STATE_VALUE_BYTES_MAX) {
            Some((_, value)) => Err(Error::bug(format!("a state value of {} bytes exceeds {STATE_VALUE_BYTES_MAX}", value.len()))),
            None => Ok(()),
        }
    }
}

/// Where per-entity state survives the process.
///
/// One thread uses one store; several stores may be open on the same data. Called per batch, never per event.
///
/// Guarantee: a checkpoint is written whole or not at all, only by the current owner, and only after the one numbered before it. A
/// store that has lost what it acknowledged is found out by that, instead of going on with some values older than others.
///
/// Errors of every method: `Transient`: the store is away or out of memory; repeat the same call. `Fenced`: a newer owner, a later
/// checkpoint or another state generation is stored, or the claim is gone with everything else; nothing was written by the refused
/// chunk; drop the partition's state and take it over anew if it is still owned. `Config`: wrong address, rights or server settings.
pub trait StateStore: Send {
    /// Makes `owner` the partition's writer, so that every older one is refused from now on, and says what is stored.
    /// `None` where no checkpoint was ever stored.
    fn claim(&mut self, partition: Partition, owner: Owner) -> Result<Option<PartitionMeta>>;

    /// What is stored about the partition, without claiming it.
    fn load_meta(&mut self, partition: Partition) -> Result<Option<PartitionMeta>>;

    /// The values of `keys` in their order, in one round trip; `None` where there is none. `number` is that of the last checkpoint
    /// known to be stored: where the store no longer has it, a missing value would mean nothing, and the answer is `Fenced`.
    fn load_many(&mut self, partition: Partition, claim: Claim, number: u64, keys: &[EntityKey]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Writes a checkpoint under a claim. The same one may be repeated; `next` may stay but never go back.
    fn store_many(&mut self, partition: Partition, claim: Claim, checkpoint: Checkpoint<'_>) -> Result<()>;
}
