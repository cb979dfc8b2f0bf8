//! Who makes detectors look past things: entities whose ordinary events, as they are taken to be, a detector finds very odd.
//!
//! What is learned as ordinary no longer stands out. A vulnerability scanner that nobody exempted teaches that everybody scans, and
//! then no scan is found. Nobody can tell such an entity from an attacker but those who know it, so it is named.

use std::collections::BTreeMap;

use crate::core::detect::{BEACONING, NAMES, RULES};
use crate::core::engine::PARTS;
use crate::core::event::Entity;

/// A surprise of one in ten thousand: what would be a threat before anything is learned.
const NATS: f32 = 9.2;
/// A detector that finds fewer of the events odd than one in so many still finds what is odder; its p-values hardly move.
const SHARE: u64 = 5_000;
/// Entities that are counted.
const ENTITIES_MAX: usize = 1_000;
/// Entities that are named.
const NAMED: usize = 5;

/// Counts of odd events among those that are learned from.
#[derive(Clone, Debug, Default)]
pub struct Loud {
    events: u64,
    odd: BTreeMap<&'static str, Odd>,
}

#[derive(Clone, Debug, Default)]
struct Odd {
    events: u64,
    by_entity: BTreeMap<String, u64>,
}

impl Loud {
    /// Takes an event that is learned from, with the raw score of each detector.
    pub fn take(&mut self, entity: &Entity<'_>, raw: &[f32; PARTS]) {
        self.events += 1;
        // Beacons are scored anew once it is known which destinations everybody calls.
        for detector in RULES.filter(|detector| *detector != BEACONING && raw[*detector] >= NATS) {
            let odd = self.odd.entry(NAMES[detector]).or_default();
            odd.events += 1;
            let name = format!("{}:{}", entity.kind.as_str(), entity.name);
            if odd.by_entity.len() < ENTITIES_MAX || odd.by_entity.contains_key(&name) {
                *odd.by_entity.entry(name).or_default() += 1;
            }
        }
    }

    /// A sentence for each detector that has learned to look past what it is there to find.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        self.odd.iter().filter(|(_, odd)| odd.events * SHARE >= self.events).map(|(detector, odd)| self.notice(detector, odd)).collect()
    }

    fn notice(&self, detector: &str, odd: &Odd) -> String {
        let mut named: Vec<(&String, &u64)> = odd.by_entity.iter().collect();
        named.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        let more = if named.len() > NAMED { " and others" } else { "" };
        let named: Vec<String> = named.into_iter().take(NAMED).map(|(name, count)| format!("{name} ({count})")).collect();
        format!(
            "{detector} finds {} of {} events very odd that count as ordinary from now on, so it will miss others like them. They are of {}{more}: \
             name those that may do so under 'exempt' in the pipeline file, leave attackers out of the input, and train again",
            odd.events,
            self.events,
            named.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::detect::{FAN_OUT, ISOLATION_FOREST};
    use crate::core::types::{EntityKey, EntityKind};

    fn ip(name: &str) -> Entity<'_> {
        Entity { kind: EntityKind::Ip, key: EntityKey(0), name }
    }

    fn raw(detector: usize, score: f32) -> [f32; PARTS] {
        let mut raw = [0.0; PARTS];
        raw[detector] = score;
        raw
    }

    #[test]
    fn an_entity_that_teaches_everybody_to_scan_is_named() {
        let mut loud = Loud::default();
        (0..10_000).for_each(|_| loud.take(&ip("10.0.0.1"), &raw(ISOLATION_FOREST, 40.0)));
        (0..10_000).for_each(|_| loud.take(&ip("10.0.0.1"), &raw(BEACONING, 40.0)));
        (0..3).for_each(|_| loud.take(&ip("10.0.0.9"), &raw(FAN_OUT, 30.0)));
        assert!(loud.notices().is_empty(), "three in twenty thousand hide nothing, and others learn anew");
        (0..2).for_each(|_| loud.take(&ip("10.0.0.7"), &raw(FAN_OUT, NATS)));
        let [notice] = &loud.notices()[..] else { panic!("{:?}", loud.notices()) };
        assert!(notice.starts_with("fan_out finds 5 of 20005 events") && notice.contains("ip:10.0.0.9 (3), ip:10.0.0.7 (2):"), "{notice}");
    }
}
