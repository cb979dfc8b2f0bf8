//! Per-entity state in Redis 7: one pipelined round trip to load a batch, one script a chunk to store a checkpoint.
//!
//! Keys of a partition share a hash tag, so that scripts work on a cluster's slot and state and checkpoint are lost or kept
//! together: `tg:{<pipeline>.<topic>.<partition>}:e:<32 hex digits>` and `tg:{...}:meta`. No key expires; Redis must not evict.
//! Entity names never become keys, only their 128 bits do. The address is never shown with its password.

mod connection;
mod script;
mod survey;
mod tls;

use std::path::PathBuf;

use ::redis::{Cmd, Pipeline, Value};

use self::connection::{Connection, Look};
pub use self::survey::{Stored, Values};
use super::memory::{fenced_by_checkpoint, fenced_by_owner, fenced_by_state, gone};
use super::secret::Secret;
use super::{Checkpoint, Claim, Owner, PartitionMeta, StateGeneration, StateStore};
use crate::core::types::{EntityKey, Offset, Partition};
use crate::error::{Error, Result};
use crate::limits::CHECKPOINT_CHUNK_ENTITIES_MAX;

/// Where Redis is and how long to wait for it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisSettings {
    /// `redis://[user:password@]host:port/db`, `rediss://` for TLS.
    pub url: Secret,
    /// A PEM file of the authority that signed the server's certificate, when it is not a public one.
    pub ca: Option<PathBuf>,
    /// PEM files of this client's certificate and key, for mutual TLS.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The greeting and the password included.
    pub connect_timeout_ms: u64,
    /// Of one read or write; a script over a full chunk takes about two.
    pub io_timeout_ms: u64,
}

impl Default for RedisSettings {
    fn default() -> Self {
        let url = Secret::new("redis://127.0.0.1:6379/0");
        Self { url, ca: None, certificate: None, key: None, connect_timeout_ms: 5_000, io_timeout_ms: 5_000 }
    }
}

/// State of one pipeline's input topic in Redis.
///
/// Guarantee: as [`StateStore`] says. A lost connection is made anew by the next call, after a pause that grows to a second.
pub struct RedisStore {
    connection: Connection,
    /// `tg:{<pipeline>.<topic>.`
    prefix: String,
}

impl RedisStore {
    /// Connects and checks the server: version 7 or newer (6.2 is accepted), a writable master, `maxmemory-policy noeviction`.
    ///
    /// `Config`: the address or one of these is wrong, the message says what to change. `Transient`: no answer in time.
    pub fn open(settings: &RedisSettings, pipeline: &str, topic: &str) -> Result<Self> {
        let mut new = Self::unopened(settings, pipeline, topic)?;
        new.connection.check_server()?;
        Ok(new)
    }

    /// Connects with its first call. `Config`: the settings cannot be right.
    pub fn unopened(settings: &RedisSettings, pipeline: &str, topic: &str) -> Result<Self> {
        if let Some(name) = [pipeline, topic].into_iter().find(|name| name.is_empty() || name.contains(['{', '}'])) {
            return Err(Error::config(format!("{name:?} cannot be part of a Redis key: it must not be empty or contain braces")));
        }
        Ok(Self { connection: Connection::new(settings)?, prefix: format!("tg:{{{pipeline}.{topic}.") })
    }

    /// The checks of [`Self::open`], for who can wait: why not yet, where the server is there but does not answer in time, or is
    /// loading, full or busy. An error is one that [`Self::open`] gives for another reason; waiting hardly helps.
    pub fn not_yet(&mut self) -> Result<Option<Error>> {
        Ok(match self.connection.look()? {
            Look::Fits => None,
            Look::Busy(why) => Some(why),
        })
    }

    /// Whether Redis answers now, for readiness.
    pub fn ping(&mut self) -> Result<()> {
        self.connection.query(|connection| ::redis::cmd("PING").exec(connection))
    }

    fn meta_key(&self, partition: Partition) -> String {
        format!("{}{}}}:meta", self.prefix, partition.0)
    }
    fn entity_key(&self, partition: Partition, key: EntityKey) -> String {
        format!("{}{}}}:e:{:032x}", self.prefix, partition.0, key.0)
    }
}

impl StateStore for RedisStore {
    fn claim(&mut self, partition: Partition, owner: Owner) -> Result<Option<PartitionMeta>> {
        let mut cmd = Cmd::new();
        cmd.arg(1).arg(self.meta_key(partition)).arg(owner.0);
        match self.connection.run(&script::CLAIM, &cmd)? {
            script::Reply::Done(fields) => meta_of(&fields),
            script::Reply::Owner(stored) => Err(fenced_by_owner(partition, stored, owner)),
            script::Reply::State(_) | script::Reply::Behind(_) | script::Reply::Gone => {
                Err(Error::bug("the claim script gave an answer of the store script"))
            }
        }
    }

    fn load_meta(&mut self, partition: Partition) -> Result<Option<PartitionMeta>> {
        let key = self.meta_key(partition);
        let fields: Vec<Value> =
            self.connection.query(|connection| ::redis::cmd("HMGET").arg(&key).arg(&script::META_FIELDS).query(connection))?;
        meta_of(&fields)
    }

    fn load_many(&mut self, partition: Partition, claim: Claim, number: u64, keys: &[EntityKey]) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // MGET in pieces: one command over 10,000 keys would hold up the server's other clients.
        let mut pipeline = Pipeline::with_capacity(1 + keys.len().div_ceil(CHECKPOINT_CHUNK_ENTITIES_MAX));
        pipeline.cmd("HMGET").arg(self.meta_key(partition)).arg("own").arg("seq");
        for piece in keys.chunks(CHECKPOINT_CHUNK_ENTITIES_MAX) {
            let cmd = pipeline.cmd("MGET");
            for key in piece {
                cmd.arg(self.entity_key(partition, *key));
            }
        }
        let mut answers: Vec<Value> = self.connection.query(|connection| pipeline.query(connection))?;
        let unreadable = |_| Error::permanent("Redis answered something else than values: was a key written by something else?");
        let (stored, has): (Option<u64>, Option<u64>) = ::redis::from_redis_value(answers.remove(0)).map_err(unreadable)?;
        match stored {
            Some(stored) if stored > claim.owner.0 => return Err(fenced_by_owner(partition, stored, claim.owner)),
            Some(stored) if stored == claim.owner.0 && has >= Some(number) => {}
            _ => return Err(gone(partition)),
        }
        let mut values: Vec<Option<Vec<u8>>> = Vec::with_capacity(keys.len());
        for answer in answers {
            values.extend(::redis::from_redis_value::<Vec<Option<Vec<u8>>>>(answer).map_err(unreadable)?);
        }
        if values.len() != keys.len() {
            return Err(Error::bug(format!("Redis answered {} values for {} keys", values.len(), keys.len())));
        }
        Ok(values)
    }

    fn store_many(&mut self, partition: Partition, claim: Claim, chunk: Checkpoint<'_>) -> Result<()> {
        chunk.check()?;
        let mut cmd = Cmd::new();
        cmd.arg(chunk.entries.len() + 1).arg(self.meta_key(partition));
        for (key, _) in chunk.entries {
            cmd.arg(self.entity_key(partition, *key));
        }
        cmd.arg(claim.owner.0).arg(claim.state.0).arg(chunk.next.0).arg(chunk.number).arg(chunk.value);
        for (_, value) in chunk.entries {
            cmd.arg(*value);
        }
        let reply = self.connection.run(&script::STORE, &cmd)?;
        match reply {
            script::Reply::Done(_) => Ok(()),
            script::Reply::Owner(stored) => Err(fenced_by_owner(partition, stored, claim.owner)),
            script::Reply::State(stored) => Err(fenced_by_state(partition, stored, claim)),
            script::Reply::Behind(stored) => Err(fenced_by_checkpoint(partition, stored, chunk.next)),
            script::Reply::Gone => Err(gone(partition)),
        }
    }
}

/// `own`, `gen`, `R`, `value` as Redis returns them; a partition that was claimed but never stored has no `R`.
fn meta_of(fields: &[Value]) -> Result<Option<PartitionMeta>> {
    let unreadable = || Error::permanent("a partition's meta in Redis is unreadable: was it written by something else?");
    let [owner, state, checkpoint, value] = fields else { return Err(unreadable()) };
    if *checkpoint == Value::Nil {
        return Ok(None);
    }
    let number = |value: &Value| ::redis::from_redis_value_ref::<u64>(value).map_err(|_| unreadable());
    Ok(Some(PartitionMeta {
        owner: Owner(number(owner)?),
        state: StateGeneration(number(state)?),
        checkpoint: Offset(number(checkpoint)?),
        value: ::redis::from_redis_value_ref::<Vec<u8>>(value).map_err(|_| unreadable())?,
    }))
}
