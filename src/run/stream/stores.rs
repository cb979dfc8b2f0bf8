//! Which store a run keeps its states in.

use super::Options;
use crate::edge::StateStore;
use crate::edge::memory::MemoryStore;
use crate::edge::redis::{RedisSettings, RedisStore};
use crate::error::Result;
use crate::run::pipeline::Pipeline;

/// Opens state stores: Redis, or memory of this process.
pub(super) struct Stores<'o> {
    redis: Option<&'o RedisSettings>,
}

/// One handle to load by, one to store by.
pub(super) type Pair = (Box<dyn StateStore>, Box<dyn StateStore>);

impl<'o> Stores<'o> {
    pub(super) fn open(pipeline: &Pipeline, options: &'o Options) -> Result<Self> {
        let stores = Self { redis: options.redis.as_ref() };
        // Fails now rather than when the first partition is assigned.
        drop(stores.pair(&pipeline.file.name, &options.consumer.topic)?);
        if stores.redis.is_none() {
            tracing::warn!("no Redis: states live in this process only and start anew with it");
        }
        Ok(stores)
    }

    /// Two handles on one topic's states: one to load by, one to store by. `name` keeps the states of pipelines apart.
    pub(super) fn pair(&self, name: &str, topic: &str) -> Result<Pair> {
        if let Some(settings) = self.redis {
            return Ok((Box::new(RedisStore::open(settings, name, topic)?), Box::new(RedisStore::open(settings, name, topic)?)));
        }
        Ok(in_memory())
    }
}

pub(super) fn in_memory() -> Pair {
    let store = MemoryStore::default();
    (Box::new(store.clone()), Box::new(store))
}
