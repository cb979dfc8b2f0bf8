//! A pipeline's state from outside: what it holds, whether it fits the group's offsets, snapshots of it, and setting it anew. Never
//! guesses and never changes anything while the group has members.

mod arrow_rows;
pub mod deployment;
pub mod mend;
mod outputs;
pub mod report;
pub mod restore;
pub mod rewind;
pub mod snapshot;
pub mod survey;
pub mod verify;

use crate::config::clients;
use crate::config::pipeline::PipelineFile;
use crate::config::service::ServiceSettings;
use crate::core::types::{Offset, Partition};
use crate::edge::kafka::{GroupOutside, KafkaSettings, LogEnds, topic_id};
use crate::edge::redis::{RedisSettings, RedisStore};
use crate::edge::{Committed, Owner, StateGeneration, TopicId, clock};
use crate::error::{Error, Result};
use crate::run::stream::note::Note;

/// The correlation's name in keys and groups: see [`crate::run::stream`].
const CORRELATION: &str = "correlate";

/// Which state is meant.
#[derive(Clone, Debug)]
pub struct Target {
    /// First part of its keys.
    pub name: String,
    pub topic: String,
    pub group: String,
    pub kafka: KafkaSettings,
    pub redis: Option<RedisSettings>,
    pub exactly_once: bool,
    /// Values of entities can be decoded; the correlation keeps everything in the partition's own value.
    pub has_entities: bool,
}

impl Target {
    /// # Errors
    /// `Config`: no brokers are named.
    pub fn of_pipeline(settings: &ServiceSettings, file: &PipelineFile) -> Result<Self> {
        if settings.brokers.0.is_empty() {
            return Err(Error::config("give --brokers LIST: state belongs to the offsets that a group has committed"));
        }
        let consumer = clients::consumer(settings, file);
        Ok(Self {
            name: file.name.clone(),
            topic: consumer.topic,
            group: consumer.group,
            kafka: clients::connection(settings),
            redis: clients::redis(settings),
            exactly_once: settings.delivery == crate::config::service::Delivery::ExactlyOnce,
            has_entities: true,
        })
    }

    /// The correlation of the threats that a pipeline publishes.
    ///
    /// # Errors
    /// As for [`Self::of_pipeline`].
    pub fn of_correlation(settings: &ServiceSettings, file: &PipelineFile) -> Result<Self> {
        let pipeline = Self::of_pipeline(settings, file)?;
        Ok(Self {
            name: CORRELATION.to_owned(),
            topic: clients::producer(settings, file).topics.threats,
            group: format!("{}.correlate", settings.group_id),
            has_entities: false,
            ..pipeline
        })
    }

    /// Its folder among snapshots.
    #[must_use]
    pub fn folder(&self) -> String {
        folder(&self.name, &self.topic)
    }
}

/// The folder of a pipeline, or of the correlation of its threats, among snapshots: to be known without any service.
#[must_use]
pub fn folder_of(settings: &ServiceSettings, file: &PipelineFile, is_correlation: bool) -> String {
    if is_correlation {
        return folder(CORRELATION, &clients::producer(settings, file).topics.threats);
    }
    folder(&file.name, &clients::consumer(settings, file).topic)
}

fn folder(name: &str, topic: &str) -> String {
    format!("{name}.{topic}").replace(['/', '\\'], "_")
}

/// The clients to look and to mend with.
pub struct Desk {
    pub target: Target,
    pub outside: GroupOutside,
    pub store: RedisStore,
    pub topic_id: Option<TopicId>,
}

impl Desk {
    /// # Errors
    /// `Config`: addresses, rights, a missing topic, no Redis. `Transient`: no answer in time.
    pub fn open(target: Target) -> Result<Self> {
        let Some(redis) = &target.redis else {
            return Err(Error::config("give --redis URL: without Redis, state lives and ends with the process"));
        };
        let store = RedisStore::open(redis, &target.name, &target.topic)?;
        let outside = GroupOutside::open(&target.kafka, &target.topic, &target.group)?;
        let topic_id = topic_id(&target.kafka, &target.topic)?;
        Ok(Self { outside, store, topic_id, target })
    }

    pub fn each_partition(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.outside.partitions()).map(Partition)
    }

    /// What is committed and where the logs end, by partition.
    ///
    /// # Errors
    /// Of the brokers.
    pub fn standing(&self) -> Result<Vec<Standing>> {
        let committed = self.outside.committed()?;
        let standing = |(number, committed): (usize, Option<Committed>)| {
            let ends = self.outside.ends(Partition(number as u32))?;
            let note = committed.as_ref().and_then(|committed| Note::parse(&committed.note));
            Ok(Standing { committed, note, ends })
        };
        committed.into_iter().enumerate().map(standing).collect()
    }

    /// A note for a state that somebody sets, and that every owner so far comes before.
    #[must_use]
    pub fn note(&self, last: Option<&Note>, stored: Option<Owner>, base: Offset) -> Note {
        let owner = last.map_or(Owner(0), |note| note.owner).max(stored.unwrap_or_default());
        Note {
            owner: Owner(owner.0 + 1),
            state: StateGeneration(clock::wall().0.unsigned_abs()),
            base,
            partitions: self.outside.partitions(),
            exactly_once: self.target.exactly_once,
            ticked: None,
            topic: self.topic_id,
        }
    }
}

/// Where a partition stands in Kafka.
#[derive(Clone, Debug)]
pub struct Standing {
    pub committed: Option<Committed>,
    pub note: Option<Note>,
    pub ends: LogEnds,
}

impl Standing {
    /// `C`.
    #[must_use]
    pub fn next(&self) -> Option<Offset> {
        self.committed.as_ref().map(|committed| committed.next)
    }
}
