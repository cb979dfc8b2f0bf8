//! Every way in which offsets, notes and meta may or may not fit, and what is planned or said then.

use super::note::Note;
use super::takeover::{Known, Plan, plan};
use crate::core::types::{EventTime, Offset, Partition};
use crate::edge::{Committed, Owner, PartitionMeta, StateGeneration, TopicId};
use crate::error::Kind;

const NOW: StateGeneration = StateGeneration(900);
const START: Offset = Offset(10);

fn note() -> Note {
    Note {
        owner: Owner(5),
        state: StateGeneration(7),
        base: Offset(20),
        partitions: 4,
        exactly_once: true,
        ticked: None,
        topic: Some(TopicId(1)),
    }
}

fn meta(checkpoint: u64) -> PartitionMeta {
    PartitionMeta { owner: Owner(5), state: StateGeneration(7), checkpoint: Offset(checkpoint), value: vec![] }
}

/// One case: what is there, in words that name only what differs from a state that fits.
struct Case {
    committed: Option<Committed>,
    meta: Option<PartitionMeta>,
    durable: bool,
    exactly_once: bool,
    partitions: u32,
    topic: Option<TopicId>,
}

impl Case {
    /// The group is at 100 and the state at 90.
    fn fitting() -> Self {
        Self { committed: None, meta: Some(meta(90)), durable: true, exactly_once: true, partitions: 4, topic: Some(TopicId(1)) }
            .noted(100, |_| ())
    }
    fn noted(mut self, next: u64, change: impl FnOnce(&mut Note)) -> Self {
        let mut note = note();
        change(&mut note);
        self.committed = Some(Committed { next: Offset(next), note: note.to_text() });
        self
    }
    fn text(mut self, next: u64, note: &str) -> Self {
        self.committed = Some(Committed { next: Offset(next), note: note.to_owned() });
        self
    }
    fn never_committed(mut self) -> Self {
        self.committed = None;
        self
    }
    fn meta(mut self, change: impl FnMut(&mut PartitionMeta)) -> Self {
        self.meta.iter_mut().for_each(change);
        self
    }
    fn no_meta(mut self) -> Self {
        self.meta = None;
        self
    }
    fn in_memory(mut self) -> Self {
        self.durable = false;
        self
    }

    fn plan(&self) -> crate::error::Result<Plan> {
        plan(Known {
            partition: Partition(2),
            partitions: self.partitions,
            topic: self.topic,
            committed: self.committed.as_ref(),
            start: START,
            meta: self.meta.as_ref(),
            durable: self.durable,
            exactly_once: self.exactly_once,
            now: NOW,
        })
    }

    /// `R`, `C`, whether nothing is stored, and the note's owner, generation and base.
    #[track_caller]
    fn goes_on(self, from: u64, live: u64, fresh: bool, note: (u64, u64, u64)) -> Note {
        let plan = self.plan().unwrap_or_else(|error| panic!("refused: {error}"));
        let Plan { from: r, live: c, fresh: is_fresh, note: planned } = plan;
        assert_eq!((r.0, c.0, is_fresh), (from, live, fresh));
        assert_eq!((planned.owner.0, planned.state.0, planned.base.0), note);
        assert_eq!((planned.partitions, planned.exactly_once), (self.partitions, self.exactly_once), "what holds now");
        planned
    }

    #[track_caller]
    fn refused_with(self, said: &[&str]) {
        let error = self.plan().expect_err("planned");
        assert_eq!(error.kind, Kind::Config);
        let text = error.to_string();
        for part in said.iter().chain(&["partition 2: ", "Nothing was changed; "]) {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}

#[test]
fn a_group_that_never_committed() {
    // Nothing anywhere: a new state where the settings say.
    Case::fitting().never_committed().no_meta().goes_on(10, 10, true, (1, 900, 10));
    Case::fitting().never_committed().no_meta().in_memory().goes_on(10, 10, true, (1, 900, 10));
    // A state of somebody before that holds nothing: above that owner, under its generation, which the store insists on.
    Case::fitting().never_committed().meta(|meta| meta.checkpoint = Offset(0)).goes_on(10, 10, true, (6, 7, 10));
    Case::fitting().never_committed().in_memory().goes_on(10, 10, true, (6, 900, 10));
    // A state without offsets belongs to somebody else, or the topic was made anew.
    Case::fitting().never_committed().refused_with(&["state up to offset 90", "no offset", "state drop"]);
    Case::fitting().never_committed().meta(|meta| meta.checkpoint = Offset(1)).refused_with(&["up to offset 1"]);
}

#[test]
fn an_offset_without_a_note() {
    for text in ["", "set by hand", "tg2 o=1", "tg1 o=", "tg1 n"] {
        // Nothing stored: a new state begins at the offset, and nothing before it is published.
        Case::fitting().text(100, text).no_meta().goes_on(100, 100, true, (1, 900, 100));
        // The state ends where the offset is: it is the one.
        Case::fitting().text(90, text).goes_on(90, 90, false, (6, 7, 0));
        // Anything else was set by somebody who knew nothing of the state.
        Case::fitting().text(100, text).refused_with(&[
            "set to 100 by something else",
            "the state goes to 90",
            "state restore",
            "run --from",
        ]);
        Case::fitting().text(80, text).refused_with(&["set to 80 by something else"]);
        // States that end with the process do not count.
        Case::fitting().text(100, text).in_memory().goes_on(100, 100, true, (6, 900, 100));
    }
}

#[test]
fn offsets_and_state_that_fit() {
    Case::fitting().goes_on(90, 100, false, (6, 7, 20));
    // Everything is stored, or nothing past the base.
    Case::fitting().meta(|meta| meta.checkpoint = Offset(100)).goes_on(100, 100, false, (6, 7, 20));
    Case::fitting().meta(|meta| meta.checkpoint = Offset(20)).goes_on(20, 100, false, (6, 7, 20));
    // The store may know a later owner, or an older one: a later number than both.
    Case::fitting().meta(|meta| meta.owner = Owner(8)).goes_on(90, 100, false, (9, 7, 20));
    Case::fitting().meta(|meta| meta.owner = Owner(1)).goes_on(90, 100, false, (6, 7, 20));
    // What passed without records is part of the state.
    let note = Case::fitting().noted(100, |note| note.ticked = Some(EventTime(77))).goes_on(90, 100, false, (6, 7, 20));
    assert_eq!(note.ticked, Some(EventTime(77)));
}

#[test]
fn offsets_and_state_that_do_not_fit() {
    let other = |meta: &mut PartitionMeta| meta.state = StateGeneration(8);
    Case::fitting().meta(other).refused_with(&["generation 8, the group's is 7", "state restore", "run --from"]);
    // State from the future: offsets were set back, or expired and were made anew.
    Case::fitting().meta(|meta| meta.checkpoint = Offset(101)).refused_with(&["offset 101, past the group's 100", "state restore"]);
    Case::fitting().noted(89, |_| ()).refused_with(&["offset 90, past the group's 89"]);
    Case::fitting().noted(0, |_| ()).refused_with(&["past the group's 0"]);
    // Partitions were added, or taken with a new topic.
    for partitions in [3, 5] {
        Case { partitions, ..Case::fitting() }.refused_with(&["had 4 partitions", &format!("has {partitions} now"), "new group"]);
    }
    Case { partitions: 5, ..Case::fitting().no_meta() }.refused_with(&["had 4 partitions"]);
    Case { partitions: 5, ..Case::fitting().in_memory() }.refused_with(&["had 4 partitions"]);
}

#[test]
fn a_topic_that_was_made_anew() {
    let another = || Case { topic: Some(TopicId(2)), ..Case::fitting() };
    another().refused_with(&["deleted and made anew", "run --from", "state drop"]);
    another().no_meta().refused_with(&["deleted and made anew"]);
    another().in_memory().refused_with(&["deleted and made anew"]);
    // Whoever does not know the id cannot say, and what is known is kept.
    let note = Case { topic: None, ..Case::fitting() }.goes_on(90, 100, false, (6, 7, 20));
    assert_eq!(note.topic, Some(TopicId(1)), "an id that the broker does not tell today is still the topic's");
    let note = Case::fitting().noted(100, |note| note.topic = None).goes_on(90, 100, false, (6, 7, 20));
    assert_eq!(note.topic, Some(TopicId(1)), "notes of versions before it are completed");
    let note = Case::fitting().never_committed().no_meta().goes_on(10, 10, true, (1, 900, 10));
    assert_eq!(note.topic, Some(TopicId(1)));
}

#[test]
fn at_least_once_a_state_may_be_ahead() {
    let ahead = |case: Case| case.meta(|meta| meta.checkpoint = Offset(110));
    // Its outputs were published before it was stored: nothing of `[C, R)` comes again.
    ahead(Case::fitting().noted(100, |note| note.exactly_once = false)).goes_on(110, 110, false, (6, 7, 20));
    // Who has committed decides, not who takes over.
    let mut now_at_least = ahead(Case::fitting());
    now_at_least.exactly_once = false;
    now_at_least.refused_with(&["offset 110, past the group's 100"]);
    let mut before_at_least = ahead(Case::fitting().noted(100, |note| note.exactly_once = false));
    before_at_least.exactly_once = false;
    before_at_least.goes_on(110, 110, false, (6, 7, 20));
}

#[test]
fn a_store_that_is_empty() {
    // The log makes it anew from where the state began, and nothing is published twice.
    Case::fitting().no_meta().goes_on(20, 100, true, (6, 7, 20));
    // A state that began where the group is has nothing to make anew.
    Case::fitting().no_meta().noted(20, |_| ()).goes_on(20, 20, true, (6, 7, 20));
    Case::fitting().no_meta().noted(100, |note| note.base = Offset(0)).goes_on(0, 100, true, (6, 7, 0));
    // In memory nothing is expected: a new state where the group is.
    Case::fitting().no_meta().in_memory().goes_on(100, 100, true, (6, 900, 100));
    let note =
        Case::fitting().no_meta().in_memory().noted(100, |note| note.ticked = Some(EventTime(7))).goes_on(100, 100, true, (6, 900, 100));
    assert_eq!(note.ticked, None, "what passed belongs to a state that is gone");
}
