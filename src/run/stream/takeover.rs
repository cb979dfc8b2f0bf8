//! Taking a partition over: whether what the group has committed and what the store holds belong together, and where to go on.
//!
//! Pure, so that every way in which they may not fit is a case of a test. Never guesses: what does not fit is an error that names
//! the way out.

use super::note::Note;
use crate::core::types::{Offset, Partition};
use crate::edge::{Committed, Owner, PartitionMeta, StateGeneration, TopicId};
use crate::error::{Error, Result};

/// Where a partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `R`: events from here on are applied to the states.
    pub from: Offset,
    /// `C`: outputs of events before it are published already.
    pub live: Offset,
    /// What is committed with `live`, to take the partition over.
    pub note: Note,
    /// The store holds nothing of it: an entity that is not in memory is new.
    pub fresh: bool,
}

/// What is known about a partition when it is taken over.
#[derive(Clone, Copy, Debug)]
pub struct Known<'k> {
    pub partition: Partition,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Which topic it is, where the broker tells.
    pub topic: Option<TopicId>,
    pub committed: Option<&'k Committed>,
    /// Where it starts without a commit.
    pub start: Offset,
    pub meta: Option<&'k PartitionMeta>,
    /// The store survives this process.
    pub durable: bool,
    pub exactly_once: bool,
    /// Names a state that begins now.
    pub now: StateGeneration,
}

const AWAY: &str =
    "bring the state back (`threatguard state restore`), or score again from a point in time (`threatguard run --from TIME`)";

/// # Errors
/// `Config`: state and offsets do not belong together; the message says what to do.
pub fn plan(known: Known<'_>) -> Result<Plan> {
    let note = known.committed.map(|committed| Note::parse(&committed.note));
    match (known.committed, note) {
        (Some(committed), Some(Some(note))) => resume(known, committed.next, note),
        (Some(committed), _) => adopt(known, committed.next),
        (None, _) => begin(known),
    }
}

/// The group has never committed.
fn begin(known: Known<'_>) -> Result<Plan> {
    match known.meta.filter(|_| known.durable) {
        Some(meta) if meta.checkpoint > Offset(0) => Err(refuse(
            known,
            &format!(
                "the store has a state up to offset {}, but the group has no offset: was the topic made anew, or the group?",
                meta.checkpoint.0
            ),
            "go on with the group that the state belongs to, or remove the state (`threatguard state drop`)",
        )),
        // A state that holds nothing yet is as good as a new one, under its own name: the store takes no other beside it.
        Some(meta) => {
            let plan = anew(known, known.start, Owner(0));
            Ok(Plan { note: Note { state: meta.state, ..plan.note }, ..plan })
        }
        None => Ok(anew(known, known.start, Owner(0))),
    }
}

/// The offset was set by something else, or by a version that left no note.
fn adopt(known: Known<'_>, next: Offset) -> Result<Plan> {
    match known.meta.filter(|_| known.durable) {
        None => Ok(anew(known, next, Owner(0))),
        Some(meta) if meta.checkpoint == next => {
            let base = Offset::default();
            let note = note(known, meta.owner, meta.state, base);
            Ok(Plan { from: next, live: next, note, fresh: false })
        }
        Some(meta) => Err(refuse(
            known,
            &format!("the group's offset was set to {} by something else, and the state goes to {}", next.0, meta.checkpoint.0),
            AWAY,
        )),
    }
}

fn resume(known: Known<'_>, live: Offset, last: Note) -> Result<Plan> {
    if last.partitions != known.partitions {
        return Err(refuse(
            known,
            &format!(
                "the topic had {} partitions and has {} now: entities have moved and their state has not",
                last.partitions, known.partitions
            ),
            "make the topic with the old number, or start with a new group and an empty store",
        ));
    }
    if let (Some(then), Some(now)) = (last.topic, known.topic)
        && then != now
    {
        return Err(refuse(
            known,
            "the topic was deleted and made anew since the group's last commit: its offsets mean other records now",
            "start the new topic from a point in time (`threatguard run --from TIME`), or with a new group and an empty store \
             (`threatguard state drop`)",
        ));
    }
    let last = Note { topic: known.topic.or(last.topic), ..last };
    let Some(meta) = known.meta else { return rebuild(known, live, last) };
    if meta.state != last.state {
        return Err(refuse(
            known,
            &format!(
                "the stored state is generation {}, the group's is {}: it belongs to another group or another time",
                meta.state.0, last.state.0
            ),
            AWAY,
        ));
    }
    if meta.checkpoint > live && last.exactly_once {
        return Err(refuse(
            known,
            &format!(
                "the state goes to offset {}, past the group's {}: offsets were set back, or the state is not of this group",
                meta.checkpoint.0, live.0
            ),
            AWAY,
        ));
    }
    // At least once, what is stored was published before: it passes by without a trace, until the group has caught up.
    let live = live.max(meta.checkpoint);
    let note = Note { exactly_once: known.exactly_once, owner: Owner(last.owner.0.max(meta.owner.0) + 1), ..last };
    Ok(Plan { from: meta.checkpoint, live, note, fresh: false })
}

/// Nothing is stored, because nothing was yet or because it was lost. The log makes it anew from where it began.
fn rebuild(known: Known<'_>, live: Offset, last: Note) -> Result<Plan> {
    if !known.durable {
        // States of this kind live as long as the process, and another one has committed.
        return Ok(anew(known, live, last.owner));
    }
    if last.base < live {
        tracing::warn!(
            partition = known.partition.0,
            from = last.base.0,
            to = live.0,
            "nothing is stored of this partition: its state is made anew from the log"
        );
    }
    let note = Note { exactly_once: known.exactly_once, owner: Owner(last.owner.0 + 1), ..last };
    Ok(Plan { from: note.base, live, note, fresh: true })
}

fn anew(known: Known<'_>, at: Offset, last: Owner) -> Plan {
    let owner = known.meta.map_or(last, |meta| meta.owner.max(last));
    // A state that was begun and has nothing in it yet is taken up; the store would refuse another one.
    let begun = known.meta.filter(|meta| known.durable && meta.checkpoint == Offset(0));
    let state = begun.map_or(known.now, |meta| meta.state);
    Plan { from: at, live: at, note: note(known, owner, state, at), fresh: true }
}

fn note(known: Known<'_>, last: Owner, state: StateGeneration, base: Offset) -> Note {
    let Known { partitions, exactly_once, topic, .. } = known;
    Note { owner: Owner(last.0 + 1), state, base, partitions, exactly_once, ticked: None, topic }
}

fn refuse(known: Known<'_>, what: &str, advice: &str) -> Error {
    Error::config(format!("partition {}: {what}. Nothing was changed; {advice}", known.partition.0))
}
