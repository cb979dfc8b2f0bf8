//! How one topic differs from another: as multisets of records, and by the order of each key's records.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::Topic;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Records of the reference that are not found.
    pub missing: u64,
    /// Records that are found more often than they should be.
    pub twice: u64,
    /// Records that the reference does not have.
    pub foreign: u64,
    /// Keys whose records come in another order, repetitions aside.
    pub disordered: u64,
    pub examples: Examples,
}

/// A record of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    pub missing: Option<u128>,
    pub twice: Option<u128>,
    pub foreign: Option<u128>,
    pub disordered: Option<u128>,
}

pub fn between(reference: &Topic, found: &Topic) -> Differences {
    let mut differences = Differences::default();
    let (left, right) = (sorted(reference), sorted(found));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        let value = left.get(l).into_iter().chain(right.get(r)).min().copied().unwrap_or_default();
        let (wanted, there) = (run_of(&left, &mut l, value), run_of(&right, &mut r, value));
        differences.count(value, wanted, there);
    }
    let (order, disorder) = (by_key(reference), by_key(found));
    for (key, values) in &disorder {
        if order.get(key) != Some(values) {
            differences.disordered += 1;
            differences.examples.disordered = differences.examples.disordered.or(values.first().copied());
        }
    }
    differences
}

impl Differences {
    fn count(&mut self, value: u128, wanted: u64, there: u64) {
        let examples = &mut self.examples;
        if wanted > there {
            self.missing += wanted - there;
            examples.missing = examples.missing.or(Some(value));
        } else if wanted == 0 {
            self.foreign += there;
            examples.foreign = examples.foreign.or(Some(value));
        } else if there > wanted {
            self.twice += there - wanted;
            examples.twice = examples.twice.or(Some(value));
        }
    }
}

/// Digests of what follows from the events, in order of their value.
fn sorted(topic: &Topic) -> Vec<u128> {
    let mut values: Vec<u128> = topic.iter().flatten().filter(|entry| !entry.is_resolution).map(|entry| entry.value).collect();
    values.sort_unstable();
    values
}

/// Goes past all of this value.
fn run_of(values: &[u128], at: &mut usize, value: u128) -> u64 {
    let begun = *at;
    while values.get(*at) == Some(&value) {
        *at += 1;
    }
    (*at - begun) as u64
}

/// What each key's readers see, without repetitions.
fn by_key(topic: &Topic) -> BTreeMap<(usize, u128), Vec<u128>> {
    let mut order = BTreeMap::<_, Vec<u128>>::new();
    let mut known = BTreeSet::new();
    for (partition, entries) in topic.iter().enumerate() {
        for entry in entries.iter().filter(|entry| !entry.is_resolution && known.insert(entry.value)) {
            order.entry((partition, entry.key)).or_default().push(entry.value);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Entry;

    fn topic(partitions: &[&[(u128, u128)]]) -> Topic {
        let entry = |(offset, (key, value)): (usize, &(u128, u128))| Entry {
            offset: offset as i64,
            key: *key,
            value: *value,
            body: *value,
            event: -1,
            is_resolution: false,
        };
        partitions.iter().map(|entries| entries.iter().enumerate().map(entry).collect()).collect()
    }

    #[test]
    fn whatever_differs_is_counted() {
        let whole = topic(&[&[(1, 10), (2, 20), (1, 11)], &[(3, 30), (3, 31)]]);
        let check = |found: &[&[(u128, u128)]], counts: [u64; 4]| {
            let Differences { missing, twice, foreign, disordered, examples } = between(&whole, &topic(found));
            assert_eq!([missing, twice, foreign, disordered], counts, "{found:?}");
            let shown = [examples.missing, examples.twice, examples.foreign, examples.disordered];
            assert_eq!(shown.map(|example| example.is_some()), counts.map(|count| count > 0), "{found:?}");
        };
        check(&[&[(1, 10), (2, 20), (1, 11)], &[(3, 30), (3, 31)]], [0, 0, 0, 0]);
        check(&[&[(2, 20), (1, 10), (1, 11)], &[(3, 30), (3, 31)]], [0, 0, 0, 0]);
        check(&[&[(1, 10), (2, 20)], &[(3, 30), (3, 31)]], [1, 0, 0, 1]);
        check(&[&[(1, 10), (2, 20), (1, 11), (1, 11)], &[(3, 30), (3, 31)]], [0, 1, 0, 0]);
        check(&[&[(1, 10), (2, 20), (1, 11), (1, 12)], &[(3, 30), (3, 31)]], [0, 0, 1, 1]);
        check(&[&[(1, 11), (2, 20), (1, 10)], &[(3, 30), (3, 31)]], [0, 0, 0, 1]);
        check(&[&[(1, 10), (2, 20), (1, 11)], &[(3, 31), (3, 30), (3, 31), (3, 30)]], [0, 2, 0, 1]);
        check(&[&[], &[]], [5, 0, 0, 0]);
    }
}
