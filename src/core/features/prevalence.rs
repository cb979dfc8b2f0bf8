//! How many different entities used a destination in the traffic that was learned from: what everybody uses is not interesting.
//!
//! Part of the model bundle, so that a verdict still depends on its event, its entity's state and the bundle only. Never grows
//! after it was learned, and never says more than it saw: without it every destination is equally interesting.

use crate::core::event::Event;
use crate::core::numeric::{hash_bytes, hash_key};
use crate::core::state::split_registered;
use crate::core::types::EntityKey;
use crate::native::prefetch;

/// Destinations kept; the least used are left out.
pub const PLACES_MAX: usize = 65_536;
const SLOTS_MAX: usize = 4 * PLACES_MAX;
const MAGIC: &[u8; 8] = b"TGPREV01";

/// Numbers of entities by destination, 255 for more. A slot has 24 bits of the destination's hash and the count; 0 is free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prevalence {
    slots: Vec<u32>,
}

/// What an event's destination is counted as: the registered domain that DNS is asked for, else the address; 0 for none.
#[must_use]
#[inline]
pub fn place_of(event: &Event<'_>) -> u64 {
    if event.event_type.starts_with("dns") && !event.resource.is_empty() {
        hash_bytes(split_registered(event.resource).1.as_bytes()) | 1
    } else if event.dest_ip.is_unspecified() {
        0
    } else {
        hash_key(EntityKey::of_address(event.dest_ip).0) | 1
    }
}

impl Prevalence {
    /// Places and how many entities used each. Those of a single entity say nothing of others and are left out; of too many the
    /// most used are kept, of equals those with the smaller hash.
    #[must_use]
    pub fn new(places: impl IntoIterator<Item = (u64, u32)>) -> Self {
        let mut places: Vec<(u64, u32)> = places.into_iter().filter(|(place, count)| *place != 0 && *count > 1).collect();
        places.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        places.truncate(PLACES_MAX);
        if places.is_empty() {
            return Self::default();
        }
        let mut slots = vec![0; (2 * places.len()).next_power_of_two()];
        for (place, count) in places {
            let mut at = place as usize & (slots.len() - 1);
            while slots[at] != 0 {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = tag(place) | count.min(255);
        }
        Self { slots }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// 0 for a destination that nobody else uses, else `1 - 1 / entities`: one of those that used it may be the entity itself.
    #[must_use]
    #[inline]
    pub fn common(&self, place: u64) -> f32 {
        if place == 0 || self.slots.is_empty() {
            return 0.0;
        }
        let mask = self.slots.len() - 1;
        let mut at = place as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return 0.0;
            }
            if slot & !0xff == tag(place) {
                return 1.0 - 1.0 / (slot & 0xff) as f32;
            }
            at = (at + 1) & mask;
        }
    }

    /// Asks for what [`Self::common`] will read first, some events ahead of it.
    #[inline]
    pub fn prefetch(&self, place: u64) {
        if let Some(slot) = self.slots.get(place as usize & self.slots.len().wrapping_sub(1)) {
            prefetch(slot);
        }
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let slots = self.slots.iter().flat_map(|slot| slot.to_le_bytes());
        MAGIC.iter().copied().chain(slots).collect()
    }

    /// The inverse of [`Self::to_bytes`]; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (slots, rest) = bytes.strip_prefix(MAGIC)?.as_chunks::<4>();
        let slots: Vec<u32> = slots.iter().map(|slot| u32::from_le_bytes(*slot)).collect();
        let whole = slots.is_empty() || slots.len().is_power_of_two() && slots.len() <= SLOTS_MAX;
        // A table without a free slot would be searched for ever; a count of 0 divides.
        let sound = slots.iter().all(|slot| *slot == 0 || slot & 0xff > 1) && (slots.is_empty() || slots.contains(&0));
        (rest.is_empty() && whole && sound).then_some(Self { slots })
    }
}

fn tag(place: u64) -> u32 {
    (place >> 32) as u32 & !0xff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::numeric::mix;

    #[test]
    fn what_others_use_is_common() {
        let prevalence = Prevalence::new((1..2_000).map(|i| (mix(i), i as u32 % 300)));
        for i in 1..2_000 {
            let count = i as u32 % 300;
            let expected = if count < 2 { 0.0 } else { 1.0 - 1.0 / count.min(255) as f32 };
            assert!((prevalence.common(mix(i)) - expected).abs() < 1e-6, "{i}");
        }
        assert!(prevalence.common(mix(9_999_999)) <= 0.0 && prevalence.common(0) <= 0.0);
        assert_eq!(Prevalence::from_bytes(&prevalence.to_bytes()), Some(prevalence));
    }

    #[test]
    fn bytes_that_would_hang_or_divide_by_nothing_are_refused() {
        let of = |slots: &[u32]| [MAGIC.to_vec(), slots.iter().flat_map(|slot| slot.to_le_bytes()).collect()].concat();
        for broken in [of(&[0x302, 0x402]), of(&[0x300, 0]), of(&[0x302, 0, 0]), b"TGPREV".to_vec(), [of(&[]), vec![1]].concat()] {
            assert_eq!(Prevalence::from_bytes(&broken), None, "{broken:?}");
        }
        assert_eq!(Prevalence::from_bytes(&of(&[])), Some(Prevalence::default()));
    }
}
