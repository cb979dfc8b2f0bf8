//! Which slot an entity's state lies in: open addressing in one array, so that a look-up is one cache line, known from the hash
//! alone and asked for ahead of its use. Knows no keys: whoever looks up says which slot is the right one.

use crate::native::{prefetch, use_huge_pages};

/// Fewest places; a power of two, as always.
const PLACES_MIN: usize = 16;
/// Taken at most, of 16 places: further on, runs get long.
const TAKEN_OF_16_MAX: usize = 11;

/// Half of a key's hash. Its low bits say where the entry belongs, all of them nearly always whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u32);

/// A tag above a slot plus one; 0 where the place is free.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    const FREE: u64 = 0;
    fn new(tag: Tag, slot: u32) -> Self {
        Self(u64::from(tag.0) << 32 | (u64::from(slot) + 1))
    }
    #[inline]
    fn slot(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }
    #[inline]
    fn tag(self) -> Tag {
        Tag((self.0 >> 32) as u32)
    }
}

pub(super) struct Index {
    places: Vec<u64>,
    taken: usize,
}

impl Index {
    pub(super) fn new() -> Self {
        Self { places: vec![Entry::FREE; PLACES_MIN], taken: 0 }
    }
    pub(super) fn len(&self) -> usize {
        self.taken
    }
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Asks for what [`Index::find`] reads first.
    #[inline]
    pub(super) fn prefetch(&self, tag: Tag) {
        prefetch(&self.places[self.home(tag)]);
    }

    /// The first slot under this tag that `is` the one.
    #[inline]
    pub(super) fn find(&self, tag: Tag, is: impl Fn(u32) -> bool) -> Option<u32> {
        let at = self.place_of(tag, is)?;
        Some(Entry(self.places[at]).slot())
    }

    /// Adds a slot that is not there.
    pub(super) fn insert(&mut self, tag: Tag, slot: u32) {
        if (self.taken + 1) * 16 > self.places.len() * TAKEN_OF_16_MAX {
            self.grow();
        }
        self.put(Entry::new(tag, slot));
        self.taken += 1;
    }

    /// Takes a slot out, and moves those behind it up, so that no run has a gap.
    pub(super) fn remove(&mut self, tag: Tag, slot: u32) {
        let Some(mut gap) = self.place_of(tag, |other| other == slot) else { return };
        let mut at = gap;
        loop {
            at = self.next(at);
            let entry = Entry(self.places[at]);
            if entry.0 == Entry::FREE {
                break;
            }
            // It may move up unless it would come to lie before its home.
            let mask = self.mask();
            if at.wrapping_sub(self.home(entry.tag())) & mask >= at.wrapping_sub(gap) & mask {
                self.places[gap] = entry.0;
                gap = at;
            }
        }
        self.places[gap] = Entry::FREE;
        self.taken -= 1;
    }

    #[inline]
    fn place_of(&self, tag: Tag, is: impl Fn(u32) -> bool) -> Option<usize> {
        let mut at = self.home(tag);
        loop {
            let entry = Entry(self.places[at]);
            if entry.0 == Entry::FREE {
                return None;
            }
            if entry.tag() == tag && is(entry.slot()) {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    fn put(&mut self, entry: Entry) {
        let mut at = self.home(entry.tag());
        while self.places[at] != Entry::FREE {
            at = self.next(at);
        }
        self.places[at] = entry.0;
    }

    #[cold]
    fn grow(&mut self) {
        let places = vec![Entry::FREE; 2 * self.places.len()];
        use_huge_pages(&places);
        for entry in std::mem::replace(&mut self.places, places) {
            if entry != Entry::FREE {
                self.put(Entry(entry));
            }
        }
    }

    #[inline]
    fn mask(&self) -> usize {
        self.places.len() - 1
    }
    #[inline]
    fn home(&self, tag: Tag) -> usize {
        tag.0 as usize & self.mask()
    }
    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Few different tags, so that runs get long, wrap around and hold several slots under one tag.
        #[test]
        fn an_index_is_a_map(steps in prop::collection::vec((0u32..40, any::<bool>(), any::<bool>()), 0..400)) {
            let (mut index, mut map) = (Index::new(), BTreeMap::new());
            for (slot, add, spread) in steps {
                let known = map.get(&slot).copied();
                if let (Some(tag), false) = (known, add) {
                    index.remove(Tag(tag), slot);
                    map.remove(&slot);
                } else if known.is_none() {
                    let tag = if spread { crate::core::numeric::mix(u64::from(slot)) as u32 } else { slot % 3 + 12 };
                    index.insert(Tag(tag), slot);
                    map.insert(slot, tag);
                }
                prop_assert_eq!(index.len(), map.len());
                prop_assert_eq!(index.is_empty(), map.is_empty());
                for slot in 0..40 {
                    let tag = map.get(&slot).copied().unwrap_or(slot % 3 + 12);
                    let expected = map.get(&slot).map(|_| slot);
                    prop_assert_eq!(index.find(Tag(tag), |other| other == slot), expected);
                }
            }
        }
    }
}
