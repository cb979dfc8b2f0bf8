//! Which store a run keeps its states in.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::store::Patience;
use super::{Options, Surroundings};
use crate::edge::StateStore;
use crate::edge::clock;
use crate::edge::memory::MemoryStore;
use crate::edge::redis::{RedisSettings, RedisStore};
use crate::error::{Kind, Result};
use crate::run::pipeline::Pipeline;
use crate::serve::State;

/// A Redis that is just being started again takes connections within this.
const ABSENT: Duration = Duration::from_secs(2);

/// Opens state stores: Redis, or memory of this process.
pub(super) struct Stores<'o> {
    redis: Option<&'o RedisSettings>,
}

/// One handle to load by, one to store by.
pub(super) type Pair = (Box<dyn StateStore>, Box<dyn StateStore>);

impl<'o> Stores<'o> {
    /// Waits for a Redis that is there and does not answer yet; none when told to stop meanwhile. What cannot be right fails here,
    /// rather than when the first partition is assigned.
    pub(super) fn open(pipeline: &Pipeline, options: &'o Options, around: &Surroundings) -> Result<Option<Self>> {
        let stores = Self { redis: options.redis.as_ref() };
        let Some(settings) = stores.redis else {
            tracing::warn!("no Redis: states live in this process only and start anew with it");
            return Ok(Some(stores));
        };
        let mut redis = RedisStore::unopened(settings, &pipeline.file.name, &options.consumer.topic)?;
        let (begun, mut patience, mut is_there) = (clock::now(), Patience::default(), false);
        while !around.stop.load(Ordering::Relaxed) {
            let why = match redis.not_yet() {
                Ok(None) => {
                    patience.end();
                    return Ok(Some(stores));
                }
                Ok(Some(why)) => {
                    is_there = true;
                    why
                }
                Err(error) if error.kind == Kind::Transient && (is_there || clock::since(begun) < ABSENT) => error,
                Err(error) => return Err(error),
            };
            around.readiness.set("redis", State::Missing(format!("waiting: {why}")));
            patience.wait(&why);
        }
        Ok(None)
    }

    /// Two handles on one topic's states: one to load by, one to store by. `name` keeps the states of pipelines apart. They connect
    /// when they are needed, by somebody who waits for an answer.
    pub(super) fn pair(&self, name: &str, topic: &str) -> Result<Pair> {
        if let Some(settings) = self.redis {
            let open = || RedisStore::unopened(settings, name, topic);
            return Ok((Box::new(open()?), Box::new(open()?)));
        }
        Ok(in_memory())
    }
}

pub(super) fn in_memory() -> Pair {
    let store = MemoryStore::default();
    (Box::new(store.clone()), Box::new(store))
}
