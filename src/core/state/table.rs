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
use crate::core::detect::lstm::Cells;
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

/// What lies in a slot, on whole cache lines, so that fetching one fetches nothing of its neighbours.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Entity {
    state: EntityState,
    /// What a network remembers, if [`Meta::model`] says that one does; else anything.
    cells: Cells,
}

const LINES: usize = size_of::<Entity>() / 64;
/// From here on a network's memory lies there.
const MEMORY_LINE: usize = std::mem::offset_of!(Entity, cells) / 64;
const _: () = assert!(LINES == 15);

/// What is known of a slot without looking at it: 24 bytes.
#[derive(Clone, Copy)]
#[repr(C, packed(8))]
struct Meta {
    key: EntityKey,
    /// The network whose memory lies in the slot; 0 for none.
    model: u32,
    /// Detectors switched off for this entity.
    exempt: u16,
    marks: Marks,
}

const _: () = assert!(size_of::<Meta>() == 24);

const EMPTY: Meta = Meta { key: EntityKey(0), model: 0, exempt: 0, marks: Marks(0) };

/// Which of the constants hold.
#[derive(Clone, Copy)]
struct Marks(u8);

impl Marks {
    const OCCUPIED: u8 = 1;
    const ESTABLISHED: u8 = 2;
    /// Seen since the hand passed.
    const SEEN: u8 = 4;
    const DIRTY: u8 = 8;

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }
    /// Says whether it held before.
    fn set(&mut self, mark: u8, holds: bool) -> bool {
        let before = self.has(mark);
        self.0 = if holds { self.0 | mark } else { self.0 & !mark };
        before
    }
}

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
    entities: Vec<Vec<Entity>>,
    /// Whether any network's memory lies here, so that it is worth asking for.
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
            entities: vec![],
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
        self.index.find(self.tag(key), |slot| { self.meta_of(Slot(slot)).key } == key).map(Slot)
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
        self.prefetch_meta(slot);
        let entity = self.entity(slot);
        entity.state.prefetch(event);
        if self.remembers {
            prefetch_lines(entity, MEMORY_LINE..LINES);
        }
        Some(slot)
    }

    /// Asks for what [`Table::find`] reads after the index.
    #[inline]
    pub fn expect_key(&self, key: EntityKey) {
        if let Some(slot) = self.index.find(self.tag(key), |_| true) {
            self.prefetch_meta(Slot(slot));
        }
    }

    /// One in four lies on two cache lines.
    #[inline]
    fn prefetch_meta(&self, slot: Slot) {
        let meta = self.meta_of(slot);
        prefetch_lines(meta, 0..1);
        prefetch(&meta.marks);
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
        let mut marks = Marks(Marks::OCCUPIED | Marks::SEEN);
        marks.set(Marks::ESTABLISHED, established);
        *self.meta_mut(slot) = Meta { key, model: 0, exempt, marks };
        self.entity_mut(slot).state = state;
        self.index.insert(self.tag(key), slot.0);
        slot
    }

    #[must_use]
    pub fn state(&self, slot: Slot) -> &EntityState {
        &self.entity(slot).state
    }
    #[must_use]
    pub fn state_mut(&mut self, slot: Slot) -> &mut EntityState {
        &mut self.entity_mut(slot).state
    }
    /// Where the event that the state in `slot` has just taken is its first, nothing is remembered from before.
    #[inline]
    pub fn begin_anew(&mut self, slot: Slot) {
        if self.state(slot).events() <= 1 {
            self.meta_mut(slot).model = 0;
        }
    }
    /// What a network remembers of the entity in `slot`, any network.
    #[inline]
    #[must_use]
    pub fn memory(&self, slot: Slot) -> Memory {
        Memory::of(self.meta_of(slot).model, self.entity(slot).cells)
    }
    #[inline]
    pub fn remember(&mut self, slot: Slot, memory: &Memory) {
        let (model, cells) = memory.parts();
        self.entity_mut(slot).cells = *cells;
        self.meta_mut(slot).model = model;
        self.remembers = true;
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
        meta.marks.has(Marks::OCCUPIED) && { meta.key } == key
    }

    /// Notes that the event at `offset` changed the state in `slot`.
    pub fn touched(&mut self, slot: Slot, offset: Offset) {
        let established = self.state(slot).events() >= ESTABLISHED_EVENTS;
        let stored = self.stored;
        let meta = self.meta_mut(slot);
        meta.marks.set(Marks::SEEN, true);
        let was_established = meta.marks.set(Marks::ESTABLISHED, established);
        let newly_dirty = stored && !meta.marks.set(Marks::DIRTY, true);
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
            self.meta_mut(slot).marks.set(Marks::DIRTY, false);
            let memory = Some(self.memory(slot)).filter(|memory| !memory.is_empty());
            each(self.meta_of(slot).key, self.state(slot), memory.as_ref());
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
            let established = meta.marks.has(Marks::ESTABLISHED);
            if !meta.marks.has(Marks::OCCUPIED) || meta.marks.has(Marks::DIRTY) || (probation_only && established) {
                continue;
            }
            if established && meta.marks.set(Marks::SEEN, false) {
                continue;
            }
            self.remove(slot);
            return true;
        }
        false
    }

    fn remove(&mut self, slot: Slot) {
        let Meta { key, marks, .. } = *self.meta_of(slot);
        self.index.remove(self.tag(key), slot.0);
        self.probation -= usize::from(!marks.has(Marks::ESTABLISHED));
        *self.meta_mut(slot) = EMPTY;
        self.free.push(slot.0);
        self.evicted += 1;
    }

    fn grow(&mut self) -> Slot {
        let slot = self.used;
        if slot as usize / CHUNK == self.entities.len() {
            let chunk = Vec::with_capacity(CHUNK);
            use_huge_pages(&chunk);
            self.entities.push(chunk);
            self.meta.push(Vec::with_capacity(CHUNK));
        }
        // Filled as it is used, so that a small table takes little.
        self.entities[slot as usize / CHUNK].push(Entity::default());
        self.meta[slot as usize / CHUNK].push(EMPTY);
        self.used += 1;
        Slot(slot)
    }

    fn entity(&self, slot: Slot) -> &Entity {
        &self.entities[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
    fn entity_mut(&mut self, slot: Slot) -> &mut Entity {
        &mut self.entities[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
    fn meta_of(&self, slot: Slot) -> &Meta {
        &self.meta[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
    fn meta_mut(&mut self, slot: Slot) -> &mut Meta {
        &mut self.meta[slot.0 as usize / CHUNK][slot.0 as usize % CHUNK]
    }
}
