//! What must come out: one undisturbed pass over the final input, and the comparison with what did.

use std::collections::BTreeMap;

use threatguard::core::types::{EntityKey, Offset, Partition};
use threatguard::edge::TopicRole;
use threatguard::run::outbox::Outbox;
use threatguard::run::telemetry::Delta;
use threatguard::run::worker::{Out, Silent};

use super::broker::{Target, index_of};
use super::input::{Scene, poison, records};
use super::log::Log;
use super::world::World;

type Payload = Vec<u8>;

/// Of one partition.
struct Expected {
    verdicts: Vec<Payload>,
    values: BTreeMap<EntityKey, Vec<u8>>,
    value: Vec<u8>,
    next: u64,
}

pub struct Reference {
    partitions: Vec<Expected>,
    /// Every output and how often, by role.
    outputs: BTreeMap<(usize, Payload), i64>,
    /// By role and key, in order.
    by_key: BTreeMap<(usize, Payload), Vec<Payload>>,
}

impl Reference {
    pub fn of(scene: &Scene, inputs: &[Log]) -> Self {
        let mut made = Self { partitions: vec![], outputs: BTreeMap::new(), by_key: BTreeMap::new() };
        for (number, log) in inputs.iter().enumerate() {
            let mut worker = scene.worker();
            let partition = Partition(number as u32);
            worker.engine().assign(partition, Offset(0), &[]).unwrap();
            let (mut outbox, mut delta) = (Outbox::default(), Delta::default());
            let all = records(log);
            let mut out = Out { outbox: &mut outbox, listener: &mut Silent, delta: &mut delta };
            worker.process(partition, &all, Offset(0), Some(&poison(&all)), |_, _| Ok(()), &mut out).unwrap().assert_conserved();
            let (mut values, mut scratch, mut value) = (BTreeMap::new(), vec![], vec![]);
            worker.engine().take_dirty(partition, usize::MAX, |key, state, memory| {
                let mut bytes = vec![];
                state.encode(memory, &mut scratch, &mut bytes);
                values.insert(key, bytes);
            });
            worker.states().partition_value(partition, &mut value);
            let mut verdicts = vec![];
            for outgoing in outbox.iter() {
                let role = index_of(outgoing.role);
                *made.outputs.entry((role, outgoing.payload.to_vec())).or_default() += 1;
                if outgoing.role == TopicRole::Verdicts {
                    verdicts.push(outgoing.payload.to_vec());
                } else if let Some(key) = outgoing.key {
                    made.by_key.entry((role, key.to_vec())).or_default().push(outgoing.payload.to_vec());
                }
            }
            let next = all.last().map_or(0, |record| record.offset.0 + 1);
            made.partitions.push(Expected { verdicts, values, value, next });
        }
        made
    }

    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Every difference, in words; without any the run was right.
    pub fn compare(&self, world: &World, exactly_once: bool) -> Vec<String> {
        let mut found = vec![];
        self.compare_outputs(&world.broker.outputs, exactly_once, &mut found);
        for (number, expected) in self.partitions.iter().enumerate() {
            let partition = number as u32;
            let committed = world.broker.group.stable(partition).ok().flatten().map(|stored| stored.next);
            if committed.unwrap_or(0) != expected.next {
                found.push(format!("partition {number}: committed {committed:?}, not {}", expected.next));
            }
            let empty = Default::default();
            let kept = world.store.partitions.get(&partition).unwrap_or(&empty);
            let checkpoint = kept.stored.as_ref().map(|stored| stored.1);
            if checkpoint.unwrap_or(0) != expected.next {
                found.push(format!("partition {number}: state up to {checkpoint:?}, not {}", expected.next));
            }
            let value = kept.stored.as_ref().map(|stored| stored.2.clone()).unwrap_or_default();
            let differing =
                expected.values.iter().filter(|(key, value)| kept.values.get(key).map(AsRef::as_ref) != Some(value.as_slice())).count();
            let unknown = kept.values.keys().filter(|key| !expected.values.contains_key(key)).count();
            if differing + unknown > 0 || (expected.next > 0 && value != expected.value) {
                let same = value == expected.value;
                found.push(format!("partition {number}: {differing} states differ, {unknown} unknown, its own value is the same: {same}"));
            }
        }
        found
    }

    /// Only what should not be there, where a run could not reach its end.
    pub fn extra(&self, world: &World, exactly_once: bool) -> Vec<String> {
        let mut left = self.outputs.clone();
        let outputs = world.broker.outputs.iter().flat_map(|((role, _), log)| {
            let records = log.read(0, u64::MAX).0.into_iter();
            records.map(|(_, record)| (*role, record.payload.to_vec()))
        });
        let is_extra = |output: (usize, Payload)| match left.get_mut(&output) {
            Some(count) if *count > 0 || !exactly_once => {
                *count -= 1;
                false
            }
            _ => true,
        };
        let extra = outputs.map(is_extra).filter(|is_extra| *is_extra).count();
        if extra > 0 { vec![format!("outputs: {extra} extra")] } else { vec![] }
    }

    fn compare_outputs(&self, logs: &BTreeMap<Target, Log>, exactly_once: bool, found: &mut Vec<String>) {
        let mut left = self.outputs.clone();
        let mut by_key: BTreeMap<(usize, Payload), Vec<Payload>> = BTreeMap::new();
        let (verdicts, mut extra) = (index_of(TopicRole::Verdicts), 0);
        for ((role, partition), log) in logs {
            if log.stable() != log.end() {
                found.push(format!("topic {role} partition {partition}: a transaction was left open"));
            }
            let mut seen = vec![];
            for (_, record) in log.read(0, u64::MAX).0 {
                let payload = record.payload.to_vec();
                match left.get_mut(&(*role, payload.clone())) {
                    Some(count) if *count > 0 => *count -= 1,
                    Some(_) if !exactly_once => continue,
                    _ => extra += 1,
                }
                if *role == verdicts {
                    seen.push(payload);
                } else if let Some(key) = &record.key {
                    by_key.entry((*role, key.clone())).or_default().push(payload);
                }
            }
            if *role == verdicts && extra == 0 && seen != self.partitions[*partition as usize].verdicts {
                found.push(format!("verdicts of partition {partition} are not in order"));
            }
        }
        let missing: i64 = left.values().sum();
        if missing > 0 || extra > 0 {
            found.push(format!("outputs: {missing} missing, {extra} extra, of {}", self.outputs.len()));
        } else if by_key != self.by_key {
            found.push("outputs of an entity are not in order".to_owned());
        }
    }
}
