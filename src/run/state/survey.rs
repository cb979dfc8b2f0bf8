//! One pass over everything that is stored: by partition the meta before and after, and of each value its size and next offset.

use super::Desk;
use crate::core::state::EntityState;
use crate::core::types::{EntityKey, Offset, Partition};
use crate::edge::redis::{Stored, Values};
use crate::error::Result;

/// Values of a partition that cannot be read, shown by their keys; the rest is counted.
const SHOWN_MAX: usize = 3;

/// What one partition holds.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The meta before the values were read, and after.
    pub before: Option<Stored>,
    pub after: Option<Stored>,
    /// Of each value: its key, the first offset that it has not seen, its bytes. Each key once.
    pub values: Vec<(EntityKey, Offset, u32)>,
    pub unreadable: u64,
    pub shown: Vec<(EntityKey, String)>,
}

impl Found {
    /// `R`, as it was before any value was read.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Offset> {
        self.before.as_ref()?.checkpoint
    }

    /// No event from here on is in any value.
    #[must_use]
    pub fn as_of(&self) -> Option<Offset> {
        let newest = self.values.iter().map(|(_, next, _)| *next).max();
        self.checkpoint().map(|checkpoint| newest.map_or(checkpoint, |newest| newest.max(checkpoint)))
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.values.iter().map(|(_, _, bytes)| u64::from(*bytes)).sum::<u64>()
            + self.before.as_ref().map_or(0, |meta| meta.value.len() as u64)
    }

    /// Entities, readable or not.
    #[must_use]
    pub fn entities(&self) -> u64 {
        self.values.len() as u64 + self.unreadable
    }

    fn take(&mut self, values: &Values, scratch: &mut Vec<u8>) {
        for (key, value) in values {
            match EntityState::decode(value, scratch) {
                Ok((state, _)) => self.values.push((*key, state.next_offset(), value.len() as u32)),
                Err(why) => {
                    self.unreadable += 1;
                    if self.shown.len() < SHOWN_MAX && self.shown.iter().all(|(shown, _)| shown != key) {
                        self.shown.push((*key, why));
                    }
                }
            }
        }
    }

    /// A pass may see a key twice: the later value counts.
    fn settle(&mut self) {
        self.values.sort_by_key(|(key, next, _)| (*key, *next));
        self.values.reverse();
        self.values.dedup_by_key(|(key, _, _)| *key);
        self.values.reverse();
    }
}

impl Desk {
    /// Reads the metas, then every value (shown to `each` as well), then the metas again.
    ///
    /// The order makes it sound beside a running pipeline. `R` is read first: whatever is before it was in the values already and
    /// stays there, because nothing removes values while a pipeline runs. A value that is read later may have seen events past `R`,
    /// and says so by its own next offset: a replay from `R` passes those by for this entity and applies them to the others. An
    /// entity that the pass misses began after `R`, so the replay makes it anew.
    ///
    /// # Errors
    /// Of the store, and what `each` says.
    pub fn survey(&mut self, mut each: impl FnMut(Partition, &Values) -> Result<()>) -> Result<Vec<Found>> {
        let mut all = vec![];
        for partition in self.each_partition() {
            all.push(Found { before: self.store.stored(partition)?, ..Found::default() });
        }
        let mut scratch = vec![];
        self.store.each_page(|partition, values| {
            // Keys of partitions that the topic does not have are left from another topic of this name; `verify` counts them.
            if let Some(found) = all.get_mut(partition.0 as usize) {
                found.take(&values, &mut scratch);
                each(partition, &values)?;
            }
            Ok(())
        })?;
        for (number, found) in all.iter_mut().enumerate() {
            found.after = self.store.stored(Partition(number as u32))?;
            found.settle();
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_twice_counts_once_with_its_later_value() {
        let key = EntityKey(7);
        let mut found = Found { values: vec![(key, Offset(9), 1), (EntityKey(1), Offset(3), 1), (key, Offset(5), 1)], ..Found::default() };
        found.settle();
        assert_eq!(found.values, [(EntityKey(1), Offset(3), 1), (key, Offset(9), 1)]);
        assert_eq!(found.as_of(), None, "without a checkpoint there is no state");
        found.before = Some(Stored { checkpoint: Some(Offset(4)), ..Stored::default() });
        assert_eq!(found.as_of(), Some(Offset(9)));
    }
}
