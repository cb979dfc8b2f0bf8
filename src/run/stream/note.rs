//! What is kept beside a committed offset: whose it is, which state belongs to it, and what the log looked like then.
//!
//! It commits with the offset or not at all, so it survives whatever happens to the state store. An offset without a note was set
//! by another tool.

use crate::core::types::{EventTime, Offset};
use crate::edge::{Owner, StateGeneration, TopicId};

/// The first word of every note; a later form gets another one.
const FORM: &str = "tg1";

/// A note, as one line of `name=number` words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who has committed. The next owner takes the next number.
    pub owner: Owner,
    pub state: StateGeneration,
    /// Where this state began with nothing: a replay from here on makes it anew.
    pub base: Offset,
    /// Of the input topic.
    pub partitions: u32,
    /// Outputs were committed together with the offset. Otherwise a state may be ahead of it.
    pub exactly_once: bool,
    /// The last time that passed in a silent partition and led to outputs; part of the state from this offset on.
    pub ticked: Option<EventTime>,
    /// The input topic's own id, where the broker tells it.
    pub topic: Option<TopicId>,
}

impl Note {
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { owner, state, base, partitions, exactly_once, ticked, topic } = self;
        let ticked = ticked.map_or(String::new(), |time| format!(" w={}", time.0));
        let topic = topic.map_or(String::new(), |id| format!(" t={:032x}", id.0));
        let exact = u8::from(*exactly_once);
        format!("{FORM} o={} g={} b={} n={partitions} x={exact}{ticked}{topic}", owner.0, state.0, base.0)
    }

    /// `None` where it is not a note of ours. Words that are not known are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        if words.next() != Some(FORM) {
            return None;
        }
        let mut note = Self {
            owner: Owner::default(),
            state: StateGeneration::default(),
            base: Offset::default(),
            partitions: 0,
            exactly_once: false,
            ticked: None,
            topic: None,
        };
        for word in words {
            let (name, value) = word.split_once('=')?;
            match name {
                "o" => note.owner = Owner(value.parse().ok()?),
                "g" => note.state = StateGeneration(value.parse().ok()?),
                "b" => note.base = Offset(value.parse().ok()?),
                "n" => note.partitions = value.parse().ok()?,
                "x" => note.exactly_once = value == "1",
                "w" => note.ticked = Some(EventTime(value.parse().ok()?)),
                "t" => note.topic = Some(TopicId(u128::from_str_radix(value, 16).ok()?)),
                _ => {}
            }
        }
        Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = Note {
            owner: Owner(u64::MAX),
            state: StateGeneration(1_790_000_000_000_000),
            base: Offset(u64::MAX),
            partitions: 4_096,
            exactly_once: true,
            ticked: Some(EventTime(-1)),
            topic: Some(TopicId(u128::MAX)),
        };
        let text = note.to_text();
        assert!(text.is_ascii() && text.len() < 200, "{text}");
        assert_eq!(Note::parse(&text), Some(note.clone()));
        let plain = Note { ticked: None, topic: None, exactly_once: false, ..note };
        assert_eq!(Note::parse(&format!("{} later=1", plain.to_text())), Some(plain));
    }

    #[test]
    fn what_is_no_note_is_none() {
        for text in ["", "tg2 o=1", "set by hand", "tg1 o=-1", "tg1 o", "tg1 w=x", "tg1 t=topic"] {
            assert_eq!(Note::parse(text), None, "{text}");
        }
    }
}
