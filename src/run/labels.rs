//! What is known of the events of a stream: which are attacks, by a field of theirs or by analysts' verdicts, and which are held out.
//!
//! Only training and measuring look at them. A verdict goes over the field.

use std::sync::Arc;

use crate::core::event::Event;
use crate::core::numeric::hash_key;
use crate::core::types::Offset;
use crate::models::feedback::Judgements;
use crate::models::table::truth::BENIGN;

/// Where the label of an event is; without a field and verdicts no event has one.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub field: Option<String>,
    /// The value of benign events; the usual words where left out.
    pub benign: Option<String>,
    /// What analysts found.
    pub judgements: Arc<Judgements>,
    /// Events that teach nothing.
    pub held_out: HeldOut,
}

/// Events that models are measured on, and not fitted to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum HeldOut {
    #[default]
    None,
    /// All events of this share of the entities.
    Entities(f64),
    /// From a record on.
    From(Offset),
}

/// Has nothing to do with where states lie, nor with what training holds out of itself.
const SALT: u128 = 0x6865_6c64_206f_7574;

impl Labels {
    /// Whether the event is an attack; none where nobody has said.
    #[must_use]
    pub fn attack(&self, event: &Event<'_>) -> Option<bool> {
        let judged = || self.judgements.attack(event.entity.kind, event.entity.name, event.time);
        let judged = if self.judgements.is_empty() { None } else { judged() };
        judged.or_else(|| self.class(event).map(|class| !self.is_benign(class)))
    }

    /// What the event teaches those who learn from attacks too. Where only attacks are pointed out, all others are taken as benign, as
    /// everywhere in training.
    #[must_use]
    pub fn lesson(&self, event: &Event<'_>) -> Option<bool> {
        let taken = || (self.field.is_none() && self.judgements.has_attacks()).then_some(false);
        self.attack(event).or_else(taken)
    }

    /// Whether anything says what an attack is.
    #[must_use]
    pub fn tell_attacks(&self) -> bool {
        self.field.is_some() || self.judgements.has_attacks()
    }

    #[must_use]
    pub fn is_held_out(&self, event: &Event<'_>) -> bool {
        match self.held_out {
            HeldOut::None => false,
            HeldOut::Entities(share) => (hash_key(event.entity.key.0 ^ SALT) as f64) < share * u64::MAX as f64,
            HeldOut::From(first) => event.at.offset >= first,
        }
    }

    /// The label itself.
    #[must_use]
    pub fn class<'e>(&self, event: &Event<'e>) -> Option<&'e str> {
        let field = self.field.as_deref()?;
        let (_, value) = event.extra.iter().find(|(name, _)| *name == field)?;
        Some(value.trim_matches('"').trim()).filter(|value| !value.is_empty() && *value != "-" && *value != "null")
    }

    fn is_benign(&self, class: &str) -> bool {
        match &self.benign {
            Some(benign) => class == benign,
            None => BENIGN.iter().any(|benign| class.eq_ignore_ascii_case(benign)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::{Entity, Record};
    use crate::core::types::{EntityKey, EntityKind, EventTime, Partition, Position};
    use crate::models::feedback::Finding;
    use crate::models::feedback::tests::feedback;

    fn event<'e>(offset: u64, name: &'e str, extra: &'e [(&'e str, &'e str)]) -> Event<'e> {
        let at = Position { partition: Partition(0), offset: Offset(offset) };
        let entity = Entity { kind: EntityKind::User, key: EntityKey(offset.into()), name };
        Event { time: EventTime(1_000_000), entity, extra, ..Event::blank(&Record { at, payload: b"", time: None }) }
    }

    #[test]
    fn a_verdict_goes_over_the_field_and_alone_makes_all_others_benign() {
        let line = |finding| feedback("a", finding, "user:eve", "1970-01-01T00:00:01Z").to_line();
        let labels = |finding, field: Option<&str>| {
            let judgements = Arc::new(Judgements::parse(&line(finding)).unwrap());
            Labels { field: field.map(str::to_owned), judgements, ..Labels::default() }
        };
        let attack = [("label", "\"scan\"")];
        let both = labels(Finding::Benign, Some("label"));
        assert_eq!([both.attack(&event(1, "eve", &attack)), both.attack(&event(1, "bob", &attack))], [Some(false), Some(true)]);
        assert_eq!(both.lesson(&event(1, "bob", &[])), None, "the field says what is benign");
        let alone = labels(Finding::True, None);
        assert_eq!([alone.attack(&event(1, "eve", &[])), alone.attack(&event(1, "bob", &[]))], [Some(true), None]);
        assert_eq!(alone.lesson(&event(1, "bob", &[])), Some(false));
        assert!(alone.tell_attacks() && !labels(Finding::Benign, None).tell_attacks());
        assert_eq!(labels(Finding::Benign, None).lesson(&event(1, "bob", &[])), None);
    }

    #[test]
    fn whole_entities_or_the_last_events_are_held_out() {
        let held = |held_out, offset| Labels { held_out, ..Labels::default() }.is_held_out(&event(offset, "eve", &[]));
        assert_eq!([6, 7].map(|offset| held(HeldOut::From(Offset(7)), offset)), [false, true]);
        let share = (0..10_000).filter(|offset| held(HeldOut::Entities(0.25), *offset)).count();
        assert!((2_300..2_700).contains(&share) && !held(HeldOut::None, 1), "{share}");
    }
}
