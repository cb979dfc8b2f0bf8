//! Counts how many different entities use a destination, while learning. Bounded; must never depend on hash order.

use std::collections::BTreeMap;

use crate::core::features::prevalence::{PLACES_MAX, Prevalence};
use crate::core::numeric::mix;

/// Destinations counted at once. Beyond it those of a single entity make room, and if there are none newcomers are not counted.
const COUNTED_MAX: usize = 8 * PLACES_MAX;

/// Distinct entities by destination, by linear counting in 128 bits (Whang, Vander-Zanden, Taylor 1990).
#[derive(Clone, Debug, Default)]
pub struct PrevalenceCounter {
    places: BTreeMap<u64, u128>,
}

impl PrevalenceCounter {
    pub fn add(&mut self, place: u64, entity: u64) {
        if place == 0 {
            return;
        }
        let bit = 1_u128 << (mix(entity) % 128);
        if let Some(bits) = self.places.get_mut(&place) {
            *bits |= bit;
            return;
        }
        if self.places.len() >= COUNTED_MAX {
            self.places.retain(|_, bits| bits.count_ones() > 1);
        }
        if self.places.len() < COUNTED_MAX {
            self.places.insert(place, bit);
        }
    }

    #[must_use]
    pub fn finish(&self) -> Prevalence {
        Prevalence::new(self.places.iter().map(|(place, bits)| (*place, estimate(*bits))))
    }
}

fn estimate(bits: u128) -> u32 {
    let zeros = f64::from(bits.count_zeros()).max(0.5);
    libm::round(128.0 * libm::log(128.0 / zeros)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_count_once_for_a_destination() {
        let mut counter = PrevalenceCounter::default();
        for event in 0..5_000_u64 {
            counter.add(mix(1), mix(event % 4));
            counter.add(mix(2), mix(7));
            counter.add(mix(3), mix(event % 90));
            counter.add(0, event);
        }
        let prevalence = counter.finish();
        assert!((prevalence.common(mix(1)) - 0.75).abs() < 1e-6 && prevalence.common(mix(2)) <= 0.0);
        assert!((1.0 / (1.0 - prevalence.common(mix(3))) - 90.0).abs() < 15.0);
    }
}
