//! `threatguard run --from TIME`: sets the group back to a point in time before it starts, with the state of then from a snapshot or
//! with a new one. Outputs of everything after it come again, with the same ids.

use super::{Desk, Standing, Target};
use crate::core::types::{EventTime, Offset, Partition};
use crate::edge::kafka::{GroupOutside, topic_id};
use crate::edge::snapshot::{Manifest, Place};
use crate::edge::{Committed, TopicId};
use crate::error::{Error, Kind, Result};
use crate::run::stream::note::Note;

/// What was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// Of each partition that moved: where it was, and where outputs begin now.
    pub moved: Vec<(Partition, Option<Offset>, Offset)>,
    /// The snapshot whose state it goes on with; none where a new state begins.
    pub snapshot: Option<String>,
}

/// Sets a pipeline's group to the first records at or after a time.
///
/// No record is skipped that was not read yet and is still there: a partition that has not come so far goes on where it is.
///
/// # Errors
/// `Config`: the group has members, or no snapshot fits. Nothing was changed then.
pub fn rewind(target: Target, time: EventTime, place: Option<&Place>) -> Result<Rewound> {
    if target.redis.is_none() {
        return without_store(&target, time, place);
    }
    let mut desk = Desk::open(target)?;
    desk.outside.must_be_idle()?;
    let standing = desk.standing()?;
    let first = desk.outside.first_at(time)?;
    let goals: Vec<Option<Offset>> = standing.iter().zip(&first).map(|(standing, first)| goal(standing, *first, desk.topic_id)).collect();
    let moved: Vec<(Partition, Option<Offset>, Offset)> = desk
        .each_partition()
        .zip(standing.iter().zip(&goals))
        .filter_map(|(partition, (standing, goal))| Some((partition, standing.next(), (*goal)?)))
        .collect();
    let snapshot = match place {
        Some(place) if !moved.is_empty() => Some(desk.back_to(place, &standing, &goals, time)?),
        _ => {
            desk.anew(&standing, &moved)?;
            None
        }
    };
    Ok(Rewound { moved, snapshot })
}

/// What became of the correlation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Correlation {
    Rewound(Rewound),
    /// Left as it is: so many members of its group are at work, for other pipelines.
    InUse(usize),
}

/// Sets the correlation back with a pipeline. It reads the threats of that time again, from the same places of their log, so alerts
/// that began since come again with the same ids; the threats that the pipeline publishes again come after them, under ids that
/// count once.
///
/// # Errors
/// Of brokers or store.
pub fn rewind_correlation(target: Target, time: EventTime, place: Option<&Place>) -> Result<Correlation> {
    let outside = match GroupOutside::open(&target.kafka, &target.topic, &target.group) {
        // Nothing was ever published to it.
        Err(error) if error.kind == Kind::Config => return Ok(Correlation::Rewound(Rewound { moved: vec![], snapshot: None })),
        other => other?,
    };
    let members = outside.state()?.members;
    if members > 0 {
        return Ok(Correlation::InUse(members));
    }
    match place.map(|place| rewind(target.clone(), time, Some(place))) {
        // No snapshot of then: begun anew.
        Some(Err(error)) if error.kind == Kind::Config => {}
        Some(rewound) => return rewound.map(Correlation::Rewound),
        None => {}
    }
    rewind(target, time, None).map(Correlation::Rewound)
}

/// Where a partition begins; nothing where it stays. Offsets of a topic that is gone mean nothing, and one without a note gets one.
fn goal(standing: &Standing, first: Offset, topic: Option<TopicId>) -> Option<Offset> {
    let is_other = |note: &Note| note.topic.zip(topic).is_some_and(|(then, now)| then != now);
    let Some(next) = standing.next().filter(|_| !standing.note.as_ref().is_some_and(is_other)) else { return Some(first) };
    let at = first.min(next.max(standing.ends.start));
    (next != at || standing.note.is_none()).then_some(at)
}

impl Desk {
    /// Begins a new state at each of these offsets. The offsets first: until the old state is gone, a start is refused.
    fn anew(&mut self, standing: &[Standing], moved: &[(Partition, Option<Offset>, Offset)]) -> Result<()> {
        let mut commits = vec![];
        for (partition, _, at) in moved {
            let stored = self.store.stored(*partition)?.and_then(|meta| meta.owner);
            let note = self.note(standing[partition.0 as usize].note.as_ref(), stored, *at);
            commits.push((*partition, Committed { next: *at, note: note.to_text() }));
        }
        self.outside.set(&commits)?;
        let partitions: Vec<Partition> = moved.iter().map(|(partition, ..)| *partition).collect();
        self.store.wipe(&partitions).map(drop)
    }

    /// Restores the newest snapshot that has seen nothing of what is to be scored again.
    fn back_to(&mut self, place: &Place, standing: &[Standing], goals: &[Option<Offset>], time: EventTime) -> Result<String> {
        let goal = |partition: u32| goals.get(partition as usize).copied().flatten();
        let fits = |manifest: &Manifest| {
            let in_time = |part: &crate::edge::snapshot::Part| {
                let ends = standing.get(part.partition as usize).map(|standing| standing.ends);
                goal(part.partition).is_none_or(|goal| {
                    let is_kept = ends.is_some_and(|ends| ends.start.0 <= part.checkpoint || part.checkpoint == goal.0);
                    part.as_of <= goal.0 && is_kept
                })
            };
            self.check_manifest(manifest).is_ok() && manifest.parts.iter().all(in_time)
        };
        let manifest = self.newest(place, fits).map_err(|error| {
            Error::config(format!(
                "there is no snapshot from before {time} that the log can carry on to it; without --snapshot a new state begins there"
            ))
            .because(error)
        })?;
        // Partitions that stay keep their state, and those that had none at the snapshot begin anew.
        let is_moving = |part: &&crate::edge::snapshot::Part| goal(part.partition).is_some();
        let parts: Vec<_> = manifest.parts.iter().filter(is_moving).cloned().collect();
        let live: Vec<Option<Offset>> = parts.iter().map(|part| goal(part.partition)).collect();
        let has_part = |number: usize| parts.iter().any(|part| part.partition as usize == number);
        let rest = goals.iter().enumerate().filter(|(number, _)| !has_part(*number));
        let rest = rest.filter_map(|(number, goal)| Some((Partition(number as u32), standing[number].next(), (*goal)?)));
        let rest: Vec<_> = rest.collect();
        let moving = Manifest { parts, ..manifest };
        self.restore_at(place, &moving, standing, &live)?;
        self.anew(standing, &rest)?;
        Ok(moving.name)
    }
}

/// States that end with the process need no more than the offsets.
fn without_store(target: &Target, time: EventTime, place: Option<&Place>) -> Result<Rewound> {
    if place.is_some() {
        return Err(Error::config("--snapshot needs --redis URL: without Redis, state lives and ends with the process"));
    }
    let outside = GroupOutside::open(&target.kafka, &target.topic, &target.group)?;
    outside.must_be_idle()?;
    let topic = topic_id(&target.kafka, &target.topic)?;
    let (committed, first) = (outside.committed()?, outside.first_at(time)?);
    let (mut moved, mut commits) = (vec![], vec![]);
    for (number, (committed, first)) in committed.into_iter().zip(first).enumerate() {
        let partition = Partition(number as u32);
        let note = committed.as_ref().and_then(|committed| Note::parse(&committed.note));
        let standing = Standing { committed, note, ends: outside.ends(partition)? };
        let Some(at) = goal(&standing, first, topic) else { continue };
        let last = standing.note.as_ref().map_or(0, |note| note.owner.0);
        let note = Note {
            owner: crate::edge::Owner(last + 1),
            state: crate::edge::StateGeneration(crate::edge::clock::wall().0.unsigned_abs()),
            base: at,
            partitions: outside.partitions(),
            exactly_once: target.exactly_once,
            ticked: None,
            topic,
        };
        moved.push((partition, standing.next(), at));
        commits.push((partition, Committed { next: at, note: note.to_text() }));
    }
    outside.set(&commits)?;
    Ok(Rewound { moved, snapshot: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::kafka::LogEnds;

    #[test]
    fn nothing_unread_is_skipped_unless_it_is_gone() {
        let check = |next: Option<u64>, start: u64, first: u64, expected: Option<u64>| {
            let note = next.and_then(|_| Note::parse("tg1 n=1 t=1"));
            let committed = next.map(|next| Committed { next: Offset(next), note: String::new() });
            let ends = LogEnds { start: Offset(start), stable: Offset(900), end: Offset(900) };
            let mut standing = Standing { committed, note, ends };
            let goal = |standing: &Standing, topic| goal(standing, Offset(first), Some(TopicId(topic))).map(|goal| goal.0);
            assert_eq!(goal(&standing, 1), expected);
            assert_eq!(goal(&standing, 2), if next.is_some() { Some(first) } else { expected }, "of a topic that is gone");
            standing.note = None;
            assert_eq!(goal(&standing, 1), expected.or(next), "without a note it gets one");
        };
        check(Some(500), 0, 300, Some(300));
        check(Some(500), 0, 500, None);
        check(Some(500), 0, 700, None);
        check(None, 0, 300, Some(300));
        check(Some(500), 600, 700, Some(600));
        check(Some(500), 600, 600, Some(600));
    }
}
