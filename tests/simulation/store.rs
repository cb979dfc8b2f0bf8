//! A model of the state store with the semantics of its scripts, and the adapter that workers use.

use std::collections::BTreeMap;
use std::sync::Arc;

use threatguard::core::types::{EntityKey, Offset, Partition};
use threatguard::edge::{Checkpoint, Claim, Owner, PartitionMeta, StateGeneration, StateStore};
use threatguard::error::{Error, Kind, Result};

use super::life::Life;
use super::world::{Safeguards, Shared, World, enter, leave, lock};

/// Writes that a failover may undo.
const UNDO_MAX: usize = 24;

#[derive(Clone, Debug, Default)]
pub struct Kept {
    owner: Option<u64>,
    number: u64,
    /// State generation, checkpoint and the partition's value.
    pub stored: Option<(u64, u64, Vec<u8>)>,
    pub values: BTreeMap<EntityKey, Arc<[u8]>>,
}

impl Kept {
    fn meta(&self) -> Option<PartitionMeta> {
        let (state, checkpoint, value) = self.stored.clone()?;
        Some(PartitionMeta {
            owner: Owner(self.owner.unwrap_or_default()),
            state: StateGeneration(state),
            checkpoint: Offset(checkpoint),
            value,
        })
    }
}

#[derive(Default)]
pub struct StoreModel {
    pub partitions: BTreeMap<u32, Kept>,
    /// What each of the last writes has replaced.
    undo: Vec<(u32, Option<Kept>)>,
    /// No answers before.
    pub away_until: u64,
}

impl StoreModel {
    pub fn empty(&mut self) {
        self.partitions.clear();
        self.undo.clear();
    }

    /// A replica that was some writes behind takes over.
    pub fn fail_over(&mut self, writes: usize) {
        for _ in 0..writes {
            match self.undo.pop() {
                Some((partition, Some(before))) => drop(self.partitions.insert(partition, before)),
                Some((partition, None)) => drop(self.partitions.remove(&partition)),
                None => return,
            }
        }
    }

    fn change(&mut self, partition: u32) -> &mut Kept {
        let before = self.partitions.get(&partition).cloned();
        self.undo.push((partition, before));
        if self.undo.len() > UNDO_MAX {
            self.undo.remove(0);
        }
        self.partitions.entry(partition).or_default()
    }

    fn claim(&mut self, safe: Safeguards, partition: u32, owner: u64) -> Result<Option<PartitionMeta>> {
        let stored = self.partitions.get(&partition).and_then(|kept| kept.owner);
        if safe.store_owner && stored.is_some_and(|stored| stored > owner) {
            return Err(fenced("a newer owner"));
        }
        let kept = self.change(partition);
        (kept.owner, kept.number) = (Some(owner), 0);
        Ok(kept.meta())
    }

    fn load(&self, safe: Safeguards, partition: u32, owner: u64, number: u64, keys: &[EntityKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let none = Kept::default();
        let kept = self.partitions.get(&partition).unwrap_or(&none);
        if safe.store_owner && kept.owner != Some(owner) {
            return Err(fenced("another owner, or gone"));
        }
        if safe.store_number && kept.number < number {
            return Err(fenced("a checkpoint is gone"));
        }
        Ok(keys.iter().map(|key| kept.values.get(key).map(|value| value.to_vec())).collect())
    }

    fn store(&mut self, safe: Safeguards, partition: u32, claim: Claim, chunk: Checkpoint<'_>) -> Result<()> {
        let none = Kept::default();
        let kept = self.partitions.get(&partition).unwrap_or(&none);
        if safe.store_owner && kept.owner != Some(claim.owner.0) {
            return Err(fenced("another owner, or gone"));
        }
        if safe.store_number && ![kept.number, kept.number + 1].contains(&chunk.number) {
            return Err(fenced("a checkpoint is gone"));
        }
        if let Some((state, checkpoint, _)) = &kept.stored {
            if safe.store_owner && *state != claim.state.0 {
                return Err(fenced("another state"));
            }
            if safe.store_number && safe.store_owner && *checkpoint > chunk.next.0 {
                return Err(fenced("a later checkpoint"));
            }
        }
        let kept = self.change(partition);
        kept.number = chunk.number;
        for (key, value) in chunk.entries {
            if value.is_empty() {
                kept.values.remove(key);
            } else {
                kept.values.insert(*key, Arc::from(*value));
            }
        }
        kept.stored = Some((claim.state.0, chunk.next.0, chunk.value.to_vec()));
        Ok(())
    }
}

fn fenced(why: &str) -> Error {
    Error::new(Kind::Fenced, why)
}

/// One connection of a worker.
pub struct SimStore {
    pub world: Shared,
    pub life: Arc<Life>,
}

impl SimStore {
    fn call<T>(&self, name: &'static str, partition: Partition, work: impl FnOnce(&mut StoreModel, Safeguards) -> Result<T>) -> Result<T> {
        let mut world = enter(&self.world, &self.life, name, u64::from(partition.0))?;
        let now = world.now();
        if world.store.away_until > now {
            return Err(Error::transient("the store is away"));
        }
        let (before, after) = (world.faults.store_error, world.faults.store_lost_reply);
        if world.rng.chance(before) {
            return Err(Error::transient("the store does not answer"));
        }
        let safe = world.safe;
        let answer = work(&mut world.store, safe);
        note(&mut world, &answer);
        let is_lost = world.rng.chance(after);
        drop(world);
        leave(&self.world, &self.life)?;
        if is_lost { Err(Error::transient("the store's answer is lost")) } else { answer }
    }
}

fn note<T>(world: &mut World, answer: &Result<T>) {
    if let Err(error) = answer {
        world.stats.store_refusals += u64::from(error.kind == Kind::Fenced);
    }
    world.trace.note("store answers", u64::from(answer.is_ok()), 0);
}

impl StateStore for SimStore {
    fn claim(&mut self, partition: Partition, owner: Owner) -> Result<Option<PartitionMeta>> {
        lock(&self.world).trace.note("claims as", owner.0, u64::from(partition.0));
        self.call("claim", partition, |store, safe| store.claim(safe, partition.0, owner.0))
    }

    fn load_meta(&mut self, partition: Partition) -> Result<Option<PartitionMeta>> {
        self.call("load meta", partition, |store, _| Ok(store.partitions.get(&partition.0).and_then(Kept::meta)))
    }

    fn load_many(&mut self, partition: Partition, claim: Claim, number: u64, keys: &[EntityKey]) -> Result<Vec<Option<Vec<u8>>>> {
        self.call("load", partition, |store, safe| store.load(safe, partition.0, claim.owner.0, number, keys))
    }

    fn store_many(&mut self, partition: Partition, claim: Claim, checkpoint: Checkpoint<'_>) -> Result<()> {
        self.call("store", partition, |store, safe| store.store(safe, partition.0, claim, checkpoint))
    }
}
