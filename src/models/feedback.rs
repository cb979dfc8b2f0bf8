//! Analysts' verdicts on threats: a JSON object a line, appended and never changed. The last one on a threat holds.
//!
//! A verdict names the threat's evidence. Other readings of the same events count them otherwise, so an event is known again by its
//! entity and its time. Must never guess what a line means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::core::sanitize::parse_time;
use crate::core::state::persist::Persist;
use crate::core::types::{EntityKey, EntityKind, EventTime, MICROS_PER_DAY};
use crate::error::{Error, Result};
use crate::limits::{FEEDBACK_NAME_CHARS_MAX, STRING_CHARS_MAX};

/// What an analyst found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// It is a threat.
    True,
    /// It is nothing.
    Benign,
}

/// Where the threat's event stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Feedback {
    pub threat_id: String,
    pub verdict: Finding,
    /// When it was given, RFC 3339.
    pub at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of the threat: `ip:10.0.0.1`, and the event's time.
    pub entity: String,
    pub time: String,
    pub evidence: Evidence,
}

impl Feedback {
    /// # Errors
    /// `Config`: a name or a note that is too long.
    pub fn check(&self) -> Result<()> {
        let long = |text: &Option<String>, most: usize| text.as_ref().is_some_and(|text| text.chars().count() > most);
        if long(&self.by, FEEDBACK_NAME_CHARS_MAX) || long(&self.note, STRING_CHARS_MAX) {
            return Err(Error::config(format!(
                "a verdict takes a name of {FEEDBACK_NAME_CHARS_MAX} and a note of {STRING_CHARS_MAX} characters at most; shorten them"
            )));
        }
        Ok(())
    }

    /// The line that is appended.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("a verdict is text and numbers under names");
        line.push('\n');
        line
    }
}

/// The verdict that holds on one threat.
#[derive(Debug)]
struct Judged {
    entity: String,
    attack: bool,
    /// Whether an event was asked about that it is of.
    met: AtomicBool,
}

/// The verdicts that hold, by the events that they are of.
#[derive(Debug, Default)]
pub struct Judgements(BTreeMap<i64, Vec<Judged>>);

impl Judgements {
    /// Reads a file of verdicts.
    ///
    /// # Errors
    /// `Config`: a line that is none, by its number.
    pub fn parse(text: &str) -> Result<Self> {
        let mut last: BTreeMap<String, (usize, Feedback, i64)> = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |why: &str| Error::config(format!("line {}: {why}", number + 1));
            let feedback: Feedback = serde_json::from_str(line)
                .map_err(|error| wrong("it is no verdict as 'threatguard verdict' writes one; mend or remove it").because(error))?;
            let time = parse_time(&feedback.time).ok_or_else(|| wrong("its time is none like 2026-01-02T03:04:05Z; mend or remove it"))?;
            last.insert(feedback.threat_id.clone(), (number, feedback, time.0));
        }
        let mut in_order: Vec<(usize, Feedback, i64)> = last.into_values().collect();
        in_order.sort_by_key(|(number, ..)| *number);
        let mut judgements = Self::default();
        for (_, feedback, micros) in in_order {
            judgements.add(feedback.entity, micros, feedback.verdict == Finding::True);
        }
        Ok(judgements)
    }

    /// Two threats of one entity at one time are one event's: what was said last holds.
    fn add(&mut self, entity: String, micros: i64, attack: bool) {
        let at_time = self.0.entry(micros).or_default();
        match at_time.iter_mut().find(|judged| judged.entity == entity) {
            Some(judged) => judged.attack = attack,
            None => at_time.push(Judged { entity, attack, met: AtomicBool::new(false) }),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Verdicts that are of no event that was asked about so far.
    #[must_use]
    pub fn unmet(&self) -> usize {
        self.0.values().flatten().filter(|judged| !judged.met.load(Ordering::Relaxed)).count()
    }
    #[must_use]
    pub fn has_attacks(&self) -> bool {
        self.0.values().flatten().any(|judged| judged.attack)
    }

    /// What was found of an entity's events at a time: an attack or not, if anybody has said.
    #[must_use]
    pub fn attack(&self, kind: EntityKind, name: &str, time: EventTime) -> Option<bool> {
        let is_entity = |entity: &str| entity.strip_prefix(kind.as_str()).and_then(|rest| rest.strip_prefix(':')) == Some(name);
        let judged = self.0.get(&time.0)?.iter().find(|judged| is_entity(&judged.entity))?;
        judged.met.store(true, Ordering::Relaxed);
        Some(judged.attack)
    }
}

/// Whose row it is and when its event was, as verdicts know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whose {
    pub entity: EntityKey,
    pub time: EventTime,
}

impl Whose {
    #[must_use]
    pub fn of(kind: EntityKind, name: &str, time: EventTime) -> Self {
        Self { entity: EntityKey::of_name(kind, name), time }
    }
}

impl Persist for Whose {
    fn write(&self, out: &mut Vec<u8>) {
        ((self.entity.0 >> 64) as u64).write(out);
        (self.entity.0 as u64).write(out);
        self.time.0.write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        let (mut high, mut low) = (0u64, 0u64);
        high.read(input)?;
        low.read(input)?;
        self.entity = EntityKey(u128::from(high) << 64 | u128::from(low));
        self.time.0.read(input)
    }
}

/// The verdicts that hold, for rows whose events are gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    attacks: BTreeSet<Whose>,
    benign: BTreeSet<Whose>,
}

impl Told {
    /// An entity of which a threat was true teaches nothing for a day before and after: what is ordinary in it may be the attacker's.
    #[must_use]
    pub fn is_suspect(&self, whose: Whose) -> bool {
        let at = |micros: i64| Whose { entity: whose.entity, time: EventTime(micros) };
        let near = at(whose.time.0.saturating_sub(MICROS_PER_DAY))..=at(whose.time.0.saturating_add(MICROS_PER_DAY));
        self.attacks.range(near).next().is_some()
    }

    /// Whether the event itself was found to be nothing.
    #[must_use]
    pub fn is_benign(&self, whose: Whose) -> bool {
        self.benign.contains(&whose)
    }
}

impl Judgements {
    /// What they say of rows.
    #[must_use]
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        for (micros, judged) in self.0.iter().flat_map(|(micros, all)| all.iter().map(move |judged| (*micros, judged))) {
            let whose = Whose { entity: EntityKey::of_text(&judged.entity), time: EventTime(micros) };
            if judged.attack {
                told.attacks.insert(whose)
            } else {
                told.benign.insert(whose)
            };
        }
        told
    }
}

#[cfg(test)]
pub(crate) mod tests;
