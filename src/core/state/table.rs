//! The states of one partition: a slab in chunks, found through a table of slot numbers, with a stated bound.
//!
//! **Policy when full.** An entity with fewer than [`ESTABLISHED_EVENTS`] events is on probation. While probationers make up
//! more than a fiftieth of the table only they are evicted, oldest slot first, so a flood of spoofed sources displaces itself;
//! otherwise those leave that were not seen since the hand passed last (CLOCK). With a store behind, only clean states leave
//! and come back from it unchanged; without one an evicted entity starts anew, and that is counted.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use std::hash::BuildHasher;

use super::index::{Index, Tag};
use super::{EntityState, Memory};
use crate::core::event::Event;
use crate::core::types::{EntityKey, Offset};
use crate::native::{prefetch, prefetch_lines, use_huge_pages};

/// Events after which an entity is established.
pub const ESTABLISHED_EVENTS: u32 = 4;
/// One part in so many of a full table is for entities on probation. A flood takes it from the established once; it must be large
/// enough that an honest newcomer comes back before those after it have displaced it.
pub const PROBATION_PART: usize = 50;
/// Slots of one allocation, of which no page is touched before a state lies there.
const CHUNK: usize = 32_768;

/// A slot of the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// An entity whose place in the index was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Announced(Tag);

#[derive(Clone, Copy, Debug)]
struct Meta {
    key: EntityKey,
    occupied: bool,
    established: bool,
    /// Seen since the hand passed.
    seen: bool,
    dirty: bool,
    /// Detectors switched off for this entity.
    exempt: u16,
}

const EMPTY: Meta = Meta { key: EntityKey(0), occupied: false, established: false, seen: false, dirty: false, exempt: 0 };

/// A state that changed since it was stored, with the first offset that changed it.
#[derive(Clone, Copy, Debug)]
struct Dirty {
    slot: Slot,
    first: Offset,
}

pub struct Table {
    index: Index,
    hasher: FixedState,
    meta: Vec<Vec<Meta>>,
    states: Vec<Vec<EntityState>>,
    /// What a network remembers of each; none while no network is in use.
    memories: Vec<Vec<Memory>>,
    remembers: bool,
    free: Vec<u32>,
    used: u32,
    probation: usize,
    hand: u32,
    capacity: usize,
    dirty: VecDeque<Dirty>,
    /// Whether a store is behind, so that changes are tracked and only clean states leave.
    stored: bool,
    evicted: u64,
}

impl Table {
    /// `seed` keeps outsiders from choosing keys that collide; it never shows in any result.
    #[must_use]
    pub fn new(capacity: usize, stored: bool, seed: u64) -> Self {
        Self {
            index: Index::new(),
            hasher: FixedState::with_seed(seed),
            meta: vec![],
            states: vec![],
            memories: vec![],
            remembers: false,
            free: vec![],
            used: 0,
            probation: 0,
            hand: 0,
            capacity: capacity.max(1),
            dirty: VecDeque::new(),
            stored,
            evicted: 0,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
    /// Entities that left since the table was made.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
    #[must_use]
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    #[must_use]
    pub fn find(&self, key: EntityKey) -> Option<Slot> {
        self.index.find(self.tag(key), |slot| self.meta_of(Slot(slot)).key == key).map(Slot)
    }

    /// Asks for the part of the index where the entity is to be found. The first of three steps of which each leaves the cache
    /// misses of the one before some time to overlap.
    #[inline]
    pub fn announce(&self, key: EntityKey) -> Announced {
        let tag = self.tag(key);
        self.index.prefetch(tag);
        Announced(tag)
    }

    /// The slot that most probably is the entity's, without waiting for anything but the index; what lies there is on its way to
    /// the cache. [`Table::holds`] says whether it is.
    #[inline]
    #[must_use]
    pub fn expect(&self, announced: Announced, event: &Event<'_>) -> Option<Slot> {
        let slot = self.index.find(announced.0, |_| true).map(Slot)?;
        prefetch(self.meta_of(slot));
        self.state(slot).prefetch(event);
        if let Some(memory) = self.memory(slot) {
            prefetch_lines(memory, 0..2);
        }
        Some(slot)
    }

    /// Asks for what [`Table::find`] reads after the index.
    #[inline]
    pub fn expect_key(&self, key: EntityKey) {
        if let Some(slot) = self.index.find(self.tag(key), |_| true) {
            prefetch(self.meta_of(Slot(slot)));
        }
    }

    #[inline]
    fn tag(&self, key: EntityKey) -> Tag {
        Tag((self.hasher.hash_one(key.0) >> 32) as u32)
    }

    /// Adds an entity that is not there. Without a store the table evicts to keep its bound, so that what stays depends on the
    /// order of events alone and not on batches.
    pub fn insert(&mut self, key: EntityKey, state: EntityState, exempt: u16) -> Slot {
        if !self.stored && self.len() >= self.capacity {
            self.evict_one();
        }
        let slot = self.free.pop().map_or_else(|| self.grow(), Slot);
        let established = state.events() >= ESTABLISHED_EVENTS;
        self.probation += usize::from(!established);
        *self.meta_mut(slot) = Meta { key, occupied: true, established, seen: true, dirty: false, exempt };
        *self.state_mut(slot) = state;
        if let Some(memory) = self.memory_mut(slot) {
            *memory = Memory::default();
        }
        self.index.insert(self.tag(key), slot.0);
        slot
    }

    #[must_use]
    pub fn state(&self, slot: Slot) -> &EntityState {
        &self.states[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
    #[must_use]
    pub fn state_mut(&mut self, slot: Slot) -> &mut EntityState {
        &mut self.states[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
    /// Keeps what a network remembers of each entity, from now on.
    pub fn remember(&mut self) {
        self.remembers = true;
        for (number, states) in self.states.iter().enumerate() {
            if number == self.memories.len() {
                self.memories.push(Vec::with_capacity(CHUNK));
            }
            self.memories[number].resize(states.len(), Memory::default());
        }
    }
    /// What a network remembers of the entity in `slot`; none where nothing is kept.
    #[must_use]
    pub fn memory_mut(&mut self, slot: Slot) -> Option<&mut Memory> {
        self.memories.get_mut(slot.0 as usize / CHUNK)?.get_mut(slot.0 as usize % CHUNK)
    }
    fn memory(&self, slot: Slot) -> Option<&Memory> {
        self.memories.get(slot.0 as usize / CHUNK)?.get(slot.0 as usize % CHUNK)
    }
    /// Marks an entity whose exemptions are looked up at its next event.
    pub const MASK_UNKNOWN: u16 = u16::MAX;

    /// Detectors switched off for the entity, looked up by `mask` where that was not known yet.
    pub fn exempt_or(&mut self, slot: Slot, mask: impl FnOnce() -> u16) -> u16 {
        let meta = self.meta_mut(slot);
        if meta.exempt == Self::MASK_UNKNOWN {
            meta.exempt = mask();
        }
        meta.exempt
    }
    /// Whether the slot still belongs to the entity.
    #[must_use]
    pub fn holds(&self, slot: Slot, key: EntityKey) -> bool {
        let meta = self.meta_of(slot);
        meta.occupied && meta.key == key
    }

    /// Notes that the event at `offset` changed the state in `slot`.
    pub fn touched(&mut self, slot: Slot, offset: Offset) {
        let established = self.state(slot).events() >= ESTABLISHED_EVENTS;
        let stored = self.stored;
        let meta = self.meta_mut(slot);
        meta.seen = true;
        let was_established = std::mem::replace(&mut meta.established, established);
        let newly_dirty = stored && !meta.dirty;
        meta.dirty |= stored;
        match (was_established, established) {
            (false, true) => self.probation -= 1,
            // Its state expired, and it starts anew.
            (true, false) => self.probation += 1,
            _ => {}
        }
        if newly_dirty {
            self.dirty.push_back(Dirty { slot, first: offset });
        }
    }

    /// The smallest offset whose change is not stored yet.
    #[must_use]
    pub fn first_dirty(&self) -> Option<Offset> {
        self.dirty.front().map(|dirty| dirty.first)
    }

    /// Takes up to `max` changed states, those changed first being first, and counts them as stored.
    pub fn take_dirty(&mut self, max: usize, mut each: impl FnMut(EntityKey, &EntityState, Option<&Memory>)) -> usize {
        let count = max.min(self.dirty.len());
        for _ in 0..count {
            let Some(Dirty { slot, .. }) = self.dirty.pop_front() else { break };
            self.meta_mut(slot).dirty = false;
            let memory = self.memory(slot).filter(|memory| !memory.is_empty());
            each(self.meta_of(slot).key, self.state(slot), memory);
        }
        count
    }

    /// Evicts clean states until the bound holds again; returns how many could not leave because they are not stored.
    pub fn trim(&mut self) -> usize {
        while self.len() > self.capacity && self.evict_one() {}
        self.len().saturating_sub(self.capacity)
    }

    /// Says whether there was one to evict: what is not stored yet stays, and so do the established while newcomers fill the table.
    fn evict_one(&mut self) -> bool {
        // Two rounds: the first may only take the marks off.
        for _ in 0..2 * self.used + 2 {
            let slot = Slot(self.hand);
            self.hand = if self.hand + 1 >= self.used { 0 } else { self.hand + 1 };
            let probation_only = self.probation * PROBATION_PART > self.len();
            let meta = self.meta_mut(slot);
            if !meta.occupied || meta.dirty || (probation_only && meta.established) {
                continue;
            }
            if meta.established && meta.seen {
                meta.seen = false;
                continue;
            }
            self.remove(slot);
            return true;
        }
        false
    }

    fn remove(&mut self, slot: Slot) {
        let Meta { key, established, .. } = *self.meta_of(slot);
        self.index.remove(self.tag(key), slot.0);
        self.probation -= usize::from(!established);
        *self.meta_mut(slot) = EMPTY;
        self.free.push(slot.0);
        self.evicted += 1;
    }

    fn grow(&mut self) -> Slot {
        let slot = self.used;
        if slot as usize / CHUNK == self.states.len() {
            let chunk = Vec::with_capacity(CHUNK);
            use_huge_pages(&chunk);
            self.states.push(chunk);
            self.meta.push(Vec::with_capacity(CHUNK));
            if self.remembers {
                self.memories.push(Vec::with_capacity(CHUNK));
            }
        }
        // Filled as it is used, so that a small table takes little.
        self.states[slot as usize / CHUNK].push(EntityState::default());
        if self.remembers {
            self.memories[slot as usize / CHUNK].push(Memory::default());
        }
        self.meta[slot as usize / CHUNK].push(EMPTY);
        self.used += 1;
        Slot(slot)
    }

    fn meta_of(&self, slot: Slot) -> &Meta {
        &self.meta[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
    fn meta_mut(&mut self, slot: Slot) -> &mut Meta {
        &mut self.meta[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
}
