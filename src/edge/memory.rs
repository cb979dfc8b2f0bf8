//! State in this process's memory, under the same contract as Redis. It survives nothing; what is stored is bounded by the caller.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Checkpoint, Claim, Owner, PartitionMeta, StateGeneration, StateStore};
use crate::core::types::{EntityKey, Offset, Partition};
use crate::error::{Error, Kind, Result};

/// Handles that were cloned from one another share their data.
///
/// Guarantee: as [`StateStore`] says, while the process lives.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<BTreeMap<Partition, PartitionState>>>,
}

#[derive(Debug, Default)]
struct PartitionState {
    owner: Option<Owner>,
    /// Number of the owner's last checkpoint.
    number: u64,
    stored: Option<(StateGeneration, Offset, Vec<u8>)>,
    values: BTreeMap<EntityKey, Vec<u8>>,
}

impl PartitionState {
    fn meta(&self) -> Option<PartitionMeta> {
        let (state, checkpoint, value) = self.stored.clone()?;
        Some(PartitionMeta { owner: self.owner.unwrap_or_default(), state, checkpoint, value })
    }
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, PartitionState>> {
        // Nothing below can leave the map half-changed by panicking.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryStore {
    fn claim(&mut self, partition: Partition, owner: Owner) -> Result<Option<PartitionMeta>> {
        let mut all = self.lock();
        let state = all.entry(partition).or_default();
        refuse_older_owner(partition, state.owner, owner)?;
        (state.owner, state.number) = (Some(owner), 0);
        Ok(state.meta())
    }

    fn load_meta(&mut self, partition: Partition) -> Result<Option<PartitionMeta>> {
        Ok(self.lock().get(&partition).and_then(PartitionState::meta))
    }

    fn load_many(&mut self, partition: Partition, claim: Claim, number: u64, keys: &[EntityKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let all = self.lock();
        let state = all.get(&partition).ok_or_else(|| gone(partition))?;
        refuse_older_owner(partition, state.owner, claim.owner)?;
        if state.owner != Some(claim.owner) || state.number < number {
            return Err(gone(partition));
        }
        Ok(keys.iter().map(|key| state.values.get(key).cloned()).collect())
    }

    fn store_many(&mut self, partition: Partition, claim: Claim, checkpoint: Checkpoint<'_>) -> Result<()> {
        checkpoint.check()?;
        let mut all = self.lock();
        let state = all.get_mut(&partition).ok_or_else(|| gone(partition))?;
        refuse_older_owner(partition, state.owner, claim.owner)?;
        let follows = [state.number, state.number + 1].contains(&checkpoint.number);
        if state.owner != Some(claim.owner) || !follows {
            return Err(gone(partition));
        }
        if let Some((stored, next, _)) = &state.stored {
            if *stored != claim.state {
                return Err(fenced_by_state(partition, stored.0, claim));
            }
            if *next > checkpoint.next {
                return Err(fenced_by_checkpoint(partition, next.0, checkpoint.next));
            }
        }
        state.number = checkpoint.number;
        for (key, value) in checkpoint.entries {
            if value.is_empty() {
                state.values.remove(key);
            } else {
                state.values.insert(*key, value.to_vec());
            }
        }
        state.stored = Some((claim.state, checkpoint.next, checkpoint.value.to_vec()));
        Ok(())
    }
}

fn refuse_older_owner(partition: Partition, stored: Option<Owner>, owner: Owner) -> Result<()> {
    match stored {
        Some(stored) if stored > owner => Err(fenced_by_owner(partition, stored.0, owner)),
        _ => Ok(()),
    }
}

pub(super) fn gone(partition: Partition) -> Error {
    Error::new(Kind::Fenced, format!("the stored state of partition {} is gone: was the store emptied or replaced?", partition.0))
}

pub(super) fn fenced_by_owner(partition: Partition, stored: u64, owner: Owner) -> Error {
    let (partition, owner) = (partition.0, owner.0);
    Error::new(Kind::Fenced, format!("partition {partition} belongs to owner {stored}, which is newer than {owner}"))
}

pub(super) fn fenced_by_state(partition: Partition, stored: u64, claim: Claim) -> Error {
    let (partition, state) = (partition.0, claim.state.0);
    Error::new(
        Kind::Fenced,
        format!("the stored state of partition {partition} is generation {stored}, not {state}: it was reset or restored"),
    )
}

pub(super) fn fenced_by_checkpoint(partition: Partition, stored: u64, next: Offset) -> Error {
    let (partition, next) = (partition.0, next.0);
    Error::new(Kind::Fenced, format!("the stored checkpoint of partition {partition} is {stored}, past {next}: this state is behind"))
}
