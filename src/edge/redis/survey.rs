//! A store from outside, for operators: what every partition holds, page by page, and writing or removing all of one.
//!
//! One pass over the keys serves all partitions: `SCAN` walks the whole database whatever its pattern, so a pass for each partition
//! would walk it as often as there are partitions. What is written here is not fenced: callers make sure that nobody owns the
//! partitions, and the next owner's claim fences everything older.

use std::collections::BTreeMap;

use ::redis::{Cmd, Pipeline, Value};

use super::{RedisStore, script};
use crate::core::types::{EntityKey, Offset, Partition};
use crate::edge::{Owner, StateGeneration};
use crate::error::{Error, Result};

/// Keys that one step of a pass looks at: short enough that other clients of the server do not notice.
const PAGE_KEYS: usize = 1_000;
/// Keys of one partition's state that one call writes or removes.
const WRITE_KEYS: usize = 500;

/// The fields of a partition's meta as they are, each by itself: what is missing or unreadable is a finding and not an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub owner: Option<Owner>,
    pub state: Option<StateGeneration>,
    /// `R`; absent where a partition was claimed and nothing stored.
    pub checkpoint: Option<Offset>,
    /// How many values there are, by the store's own count.
    pub entities: Option<u64>,
    pub value: Vec<u8>,
    /// A field that is there and cannot be read.
    pub unreadable: Option<&'static str>,
}

/// Values of one partition, as they were at one moment each.
pub type Values = Vec<(EntityKey, Vec<u8>)>;

impl RedisStore {
    /// Of each partition that has a key: its meta.
    ///
    /// # Errors
    /// As for [`crate::edge::StateStore`].
    pub fn stored(&mut self, partition: Partition) -> Result<Option<Stored>> {
        let key = self.meta_key(partition);
        let fields: BTreeMap<String, Vec<u8>> = self.connection.query(|connection| ::redis::cmd("HGETALL").arg(&key).query(connection))?;
        if fields.is_empty() {
            return Ok(None);
        }
        let mut stored = Stored { value: fields.get("value").cloned().unwrap_or_default(), ..Stored::default() };
        let mut number = |name: &'static str| {
            let text = fields.get(name)?;
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
            if number.is_none() {
                stored.unreadable = Some(name);
            }
            number
        };
        let (owner, state, checkpoint, entities) = (number("own"), number("gen"), number("R"), number("n"));
        stored.owner = owner.map(Owner);
        stored.state = state.map(StateGeneration);
        stored.checkpoint = checkpoint.map(Offset);
        stored.entities = entities;
        Ok(Some(stored))
    }

    /// Shows every value of every partition, in pages. A key may come twice, the later value then being the later one, and a key
    /// that is made meanwhile may not come; one that is there from beginning to end does.
    ///
    /// # Errors
    /// Of the store, and what `each` says.
    pub fn each_page(&mut self, mut each: impl FnMut(Partition, Values) -> Result<()>) -> Result<()> {
        self.each_keys(|store, keys| {
            let mut by_partition: BTreeMap<Partition, Vec<EntityKey>> = BTreeMap::new();
            for (partition, key) in keys.iter().filter_map(|key| store.entity_of(key)) {
                by_partition.entry(partition).or_default().push(key);
            }
            for (partition, keys) in by_partition {
                let values = store.peek(partition, &keys)?;
                let found = keys.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?)));
                each(partition, found.collect())?;
            }
            Ok(())
        })
    }

    /// The values of these keys, whoever owns the partition.
    ///
    /// # Errors
    /// As for [`crate::edge::StateStore`].
    pub fn peek(&mut self, partition: Partition, keys: &[EntityKey]) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let mut cmd = ::redis::cmd("MGET");
        for key in keys {
            cmd.arg(self.entity_key(partition, *key));
        }
        self.connection.query(|connection| cmd.query(connection))
    }

    /// The partitions that have any key.
    ///
    /// # Errors
    /// Of the store.
    pub fn partitions(&mut self) -> Result<Vec<Partition>> {
        let mut found = std::collections::BTreeSet::new();
        self.each_keys(|store, keys| {
            found.extend(keys.iter().filter_map(|key| store.partition_of(key).map(|(partition, _)| partition)));
            Ok(())
        })?;
        Ok(found.into_iter().collect())
    }

    /// Removes the values and the meta of these partitions; returns how many keys went.
    ///
    /// # Errors
    /// Of the store; repeat the call.
    pub fn wipe(&mut self, partitions: &[Partition]) -> Result<u64> {
        // The metas first: without one, nobody takes what is left of the values for a state.
        let mut cmd = ::redis::cmd("UNLINK");
        for partition in partitions {
            cmd.arg(self.meta_key(*partition));
        }
        let mut removed: u64 = if partitions.is_empty() { 0 } else { self.connection.query(|connection| cmd.query(connection))? };
        self.each_keys(|store, keys| {
            let goes = |key: &&String| store.partition_of(key).is_some_and(|(partition, _)| partitions.contains(&partition));
            let going: Vec<&String> = keys.iter().filter(goes).collect();
            if !going.is_empty() {
                removed += store.connection.query(|connection| ::redis::cmd("UNLINK").arg(&going).query::<u64>(connection))?;
            }
            Ok(())
        })?;
        Ok(removed)
    }

    /// Writes values of a partition that [`Self::wipe`] has emptied; returns how many are new. Nobody takes them for a state before
    /// [`Self::seal`].
    ///
    /// # Errors
    /// As for [`crate::edge::StateStore`].
    pub fn fill(&mut self, partition: Partition, values: &[(EntityKey, Vec<u8>)]) -> Result<u64> {
        let mut new = 0;
        for values in values.chunks(WRITE_KEYS) {
            let mut cmd = Cmd::new();
            cmd.arg(values.len());
            for (key, _) in values {
                cmd.arg(self.entity_key(partition, *key));
            }
            for (_, value) in values {
                cmd.arg(value);
            }
            match self.connection.run(&script::FILL, &cmd)? {
                script::Reply::Done(answer) => {
                    new += answer.first().and_then(|count| ::redis::from_redis_value_ref::<u64>(count).ok()).unwrap_or(0);
                }
                other => return Err(Error::bug(format!("the fill script answered {other:?}"))),
            }
        }
        Ok(new)
    }

    /// Makes what [`Self::fill`] has written a state: writes the partition's meta.
    ///
    /// # Errors
    /// As for [`crate::edge::StateStore`].
    pub fn seal(&mut self, partition: Partition, stored: &Stored) -> Result<()> {
        let absent = || Error::bug("a state is sealed without all its numbers");
        let (owner, state) = (stored.owner.ok_or_else(absent)?, stored.state.ok_or_else(absent)?);
        let (checkpoint, entities) = (stored.checkpoint.ok_or_else(absent)?, stored.entities.ok_or_else(absent)?);
        let mut pipeline = Pipeline::new();
        let key = self.meta_key(partition);
        pipeline.atomic().del(&key).ignore();
        pipeline.cmd("HSET").arg(&key).arg("own").arg(owner.0).arg("gen").arg(state.0).arg("R").arg(checkpoint.0);
        pipeline.arg("seq").arg(0).arg("n").arg(entities).arg("value").arg(&stored.value).ignore();
        self.connection.query(|connection| pipeline.exec(connection))
    }

    fn each_keys(&mut self, mut each: impl FnMut(&mut Self, &[String]) -> Result<()>) -> Result<()> {
        let pattern = format!("{}*", escaped(&self.prefix));
        let mut cursor = 0;
        loop {
            let page: (u64, Vec<Value>) = self.connection.query(|connection| {
                ::redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE_KEYS).query(connection)
            })?;
            // A key that is no text is none of ours.
            let keys: Vec<String> = page.1.into_iter().filter_map(|key| ::redis::from_redis_value(key).ok()).collect();
            if !keys.is_empty() {
                each(self, &keys)?;
            }
            cursor = page.0;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    fn partition_of<'k>(&self, key: &'k str) -> Option<(Partition, &'k str)> {
        let (number, rest) = key.strip_prefix(&self.prefix)?.split_once("}:")?;
        Some((Partition(number.parse().ok()?), rest))
    }

    fn entity_of(&self, key: &str) -> Option<(Partition, EntityKey)> {
        let (partition, rest) = self.partition_of(key)?;
        let digits = rest.strip_prefix("e:").filter(|digits| digits.len() == 32)?;
        Some((partition, EntityKey(u128::from_str_radix(digits, 16).ok()?)))
    }
}

/// A name as a pattern that matches it alone.
fn escaped(name: &str) -> String {
    name.chars().flat_map(|c| if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') { vec!['\\', c] } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_no_patterns() {
        assert_eq!(super::escaped("tg:{a*b?[c].1"), "tg:{a\\*b\\?\\[c\\].1");
    }
}
