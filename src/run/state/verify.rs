//! `threatguard state verify`: whether what is stored and what is committed fit together, and what to do where they do not.

use serde::Serialize;

use super::survey::Found;
use super::{Desk, Standing};
use crate::core::types::{Offset, Partition};
use crate::error::Result;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// A name that stays, for programs.
    pub code: &'static str,
    pub partition: Option<u32>,
    pub text: String,
    pub advice: String,
}

impl Finding {
    pub fn new(code: &'static str, partition: Option<Partition>, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, partition: partition.map(|partition| partition.0), text: text.into(), advice: advice.into() }
    }
}

pub(crate) const AWAY: &str = "bring a snapshot back (`threatguard state restore`), or score again from a point in time \
     (`threatguard run --from TIME`)";

/// More values than were counted: they lie where nobody expects them, and are right as far as they go.
const BROUGHT_BACK: &str = "if Redis has cut its append-only file at a start (\"Truncating the AOF\" in its log), it brings the values \
     of the transaction it cut back at the next start; run BGREWRITEAOF after such a start. Otherwise find out who else writes there";

impl Desk {
    /// Everything that is wrong. Beside a running pipeline it looks at what moves in an order in which only a real fault shows.
    ///
    /// # Errors
    /// Of brokers or store.
    pub fn verify(&mut self) -> Result<Vec<Finding>> {
        let found = self.survey(|_, _| Ok(()))?;
        // After the values: `C` only grows, so a value that is past it now was past it when it was read.
        let standing = self.standing()?;
        let mut findings = self.beyond()?;
        for (partition, (standing, found)) in self.each_partition().zip(standing.iter().zip(&found)) {
            self.check_note(partition, standing, &mut findings);
            check_meta(partition, standing, found, &mut findings);
            check_values(partition, standing, found, &mut findings);
        }
        Ok(findings)
    }

    /// States of partitions that the topic does not have.
    fn beyond(&mut self) -> Result<Vec<Finding>> {
        let count = self.outside.partitions();
        let beyond: Vec<String> =
            self.store.partitions()?.iter().filter(|partition| partition.0 >= count).map(|partition| partition.0.to_string()).collect();
        if beyond.is_empty() {
            return Ok(vec![]);
        }
        Ok(vec![Finding::new(
            "partitions",
            None,
            format!("the store has states of partitions {} and the topic has {count} partitions", beyond.join(", ")),
            "was the topic made anew with fewer? Remove the state of the old one (`threatguard state drop`)",
        )])
    }

    pub(crate) fn check_note(&self, partition: Partition, standing: &Standing, findings: &mut Vec<Finding>) {
        let mut add = |code, text: String, advice: &str| findings.push(Finding::new(code, Some(partition), text, advice));
        let Some(committed) = &standing.committed else { return };
        let Some(note) = &standing.note else {
            add(
                "note",
                format!("offset {} was committed without a note of ours, by another tool or an older version", committed.next.0),
                "if the stored state ends there, `threatguard state adopt` takes it over; else start from a point in time \
                 (`threatguard run --from TIME`)",
            );
            return;
        };
        let count = self.outside.partitions();
        if note.partitions != count {
            add(
                "partitions",
                format!("the topic had {} partitions when this was committed and has {count} now", note.partitions),
                "make the topic with the old number, or start with a new group and an empty store",
            );
        }
        if let (Some(then), Some(now)) = (note.topic, self.topic_id)
            && then != now
        {
            add(
                "topic",
                "the topic was deleted and made anew since the last commit: its offsets mean other records now".to_owned(),
                "start the new topic from a point in time (`threatguard run --from TIME`)",
            );
        }
        let ends = standing.ends;
        if committed.next < ends.start {
            add(
                "log_start",
                format!("the log begins at {}, past the committed offset {}: records are gone unread", ends.start.0, committed.next.0),
                "go on with what is left (`threatguard run --from TIME`), and give the topic a longer retention",
            );
        }
        if committed.next > ends.end {
            add(
                "log_end",
                format!("the log ends at {}, before the committed offset {}: it was cut or made anew", ends.end.0, committed.next.0),
                AWAY,
            );
        }
    }
}

pub(crate) fn check_meta(partition: Partition, standing: &Standing, found: &Found, findings: &mut Vec<Finding>) {
    let mut add = |code, text: String, advice: &str| findings.push(Finding::new(code, Some(partition), text, advice));
    let begun = standing.note.as_ref().is_some_and(|note| standing.next() > Some(note.base));
    let Some(meta) = found.before.as_ref().filter(|meta| meta.checkpoint.is_some() || meta.unreadable.is_some()) else {
        let values = found.entities();
        if values > 0 {
            let text = format!("{values} values are stored and no meta: nobody can tell what they contain");
            add("meta", text, "remove them (`threatguard state drop`); the state is then made anew from the log, or from a snapshot");
        } else if let Some(note) = standing.note.as_ref().filter(|_| begun) {
            let gone = standing.ends.start > note.base;
            let text = format!("nothing is stored, and the state began at offset {}", note.base.0);
            let rebuilt = "the next start makes it anew from the log";
            add("meta", text, if gone { AWAY } else { rebuilt });
        }
        return;
    };
    if let Some(field) = meta.unreadable {
        add("meta", format!("field {field} of the meta is no number: was it written by something else?"), AWAY);
        return;
    }
    let Some(checkpoint) = meta.checkpoint else { return };
    if standing.ends.start > checkpoint && standing.next() != Some(checkpoint) {
        let text =
            format!("the log begins at {}, past the checkpoint {}: what is between is in no state", standing.ends.start.0, checkpoint.0);
        add("log_start", text, AWAY);
    }
    let Some(committed) = standing.next() else {
        let text = format!("a state is stored up to {} and the group has committed nothing", checkpoint.0);
        add("committed", text, "take it over for this group (`threatguard state adopt`), or remove it (`threatguard state drop`)");
        return;
    };
    let Some(note) = &standing.note else { return };
    if meta.state.is_some_and(|state| state != note.state) {
        let stored = meta.state.unwrap_or_default().0;
        add("generation", format!("the stored state is generation {stored}, the group's is {}", note.state.0), AWAY);
    }
    if meta.owner.is_some_and(|owner| owner > note.owner) {
        let text = format!("the store's owner {} is later than the group's {}", meta.owner.unwrap_or_default().0, note.owner.0);
        add("owner", text, "use one group for one store; to take the state over for this group: `threatguard state adopt`");
    }
    // At least once, states are stored before their offsets are committed.
    if checkpoint > committed && note.exactly_once {
        add("checkpoint", format!("the state goes to {}, past the committed {}", checkpoint.0, committed.0), AWAY);
    }
}

pub(crate) fn check_values(partition: Partition, standing: &Standing, found: &Found, findings: &mut Vec<Finding>) {
    let mut add = |code, text: String, advice: &str| findings.push(Finding::new(code, Some(partition), text, advice));
    if let Some((key, why)) = found.shown.first() {
        let text = format!("{} of {} values cannot be read; one is {:032x}: {why}", found.unreadable, found.entities(), key.0);
        add("value", text, "run the version that wrote them, or bring a snapshot back (`threatguard state restore`)");
    }
    let exactly_once = standing.note.as_ref().is_some_and(|note| note.exactly_once);
    let bound = if exactly_once { standing.next() } else { standing.next().map(|_| standing.ends.end) };
    if let Some(bound) = bound {
        let ahead = found.values.iter().filter(|(_, next, _)| *next > bound).count();
        if ahead > 0 {
            let newest = found.values.iter().map(|(_, next, _)| *next).max().unwrap_or(Offset(0));
            let text = format!("{ahead} values have seen events up to {}, past offset {}: they come from the future", newest.0, bound.0);
            add("future", text, AWAY);
        }
    }
    let counted = |meta: &Option<crate::edge::redis::Stored>| meta.as_ref().and_then(|meta| meta.entities);
    if let (Some(before), Some(after)) = (counted(&found.before), counted(&found.after)) {
        let is = found.entities();
        // Values are only added while a pipeline runs: the pass sees all that were there and perhaps some of the others.
        if is < before || is > after.max(before) {
            let expected = if before == after { before.to_string() } else { format!("{before} to {after}") };
            let text = format!("{is} values are stored where {expected} were counted: some were removed or added behind our back");
            add("count", text, if is < before { AWAY } else { BROUGHT_BACK });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::EntityKey;
    use crate::edge::kafka::LogEnds;
    use crate::edge::redis::Stored;
    use crate::edge::{Committed, Owner, StateGeneration};
    use crate::run::stream::note::Note;

    fn standing(next: u64) -> Standing {
        let note = Note {
            owner: Owner(3),
            state: StateGeneration(7),
            base: Offset(0),
            partitions: 1,
            exactly_once: true,
            ticked: None,
            topic: None,
        };
        let committed = Some(Committed { next: Offset(next), note: note.to_text() });
        Standing { committed, note: Some(note), ends: LogEnds { start: Offset(0), stable: Offset(100), end: Offset(100) } }
    }

    fn found() -> Found {
        let meta = Stored {
            owner: Some(Owner(3)),
            state: Some(StateGeneration(7)),
            checkpoint: Some(Offset(40)),
            entities: Some(2),
            ..Stored::default()
        };
        let values = vec![(EntityKey(1), Offset(30), 9), (EntityKey(2), Offset(45), 9)];
        Found { before: Some(meta.clone()), after: Some(meta), values, ..Found::default() }
    }

    fn check(change: impl FnOnce(&mut Standing, &mut Found), said: &[&str]) {
        let (mut standing, mut found) = (standing(50), found());
        change(&mut standing, &mut found);
        let mut findings = vec![];
        check_meta(Partition(0), &standing, &found, &mut findings);
        check_values(Partition(0), &standing, &found, &mut findings);
        let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, said, "{findings:#?}");
    }

    fn meta(found: &mut Found, change: impl Fn(&mut Stored)) {
        [&mut found.before, &mut found.after].into_iter().flatten().for_each(change);
    }

    #[test]
    fn each_way_not_to_fit_has_its_finding() {
        check(|_, _| (), &[]);
        check(|_, found| (found.before, found.after, found.values) = (None, None, vec![]), &["meta"]);
        check(|_, found| (found.before, found.after) = (None, None), &["meta"]);
        check(|_, found| meta(found, |meta| meta.unreadable = Some("R")), &["meta"]);
        check(|standing, _| standing.committed = None, &["committed"]);
        check(|_, found| meta(found, |meta| meta.state = Some(StateGeneration(8))), &["generation"]);
        check(|_, found| meta(found, |meta| meta.owner = Some(Owner(4))), &["owner"]);
        check(|_, found| meta(found, |meta| meta.checkpoint = Some(Offset(51))), &["checkpoint"]);
        check(|_, found| found.values[1].1 = Offset(51), &["future"]);
        check(|standing, _| standing.ends.start = Offset(41), &["log_start"]);
        check(|_, found| found.values.truncate(found.values.len().saturating_sub(1)), &["count"]);
        check(|_, found| found.values.push((EntityKey(3), Offset(3), 9)), &["count"]);
        check(|_, found| (found.unreadable, found.shown) = (0, vec![(EntityKey(1), "damaged".to_owned())]), &["value"]);
    }

    #[test]
    fn a_running_pipeline_is_no_finding() {
        // One entity was added while the values were read.
        check(|_, found| found.after.as_mut().unwrap().entities = Some(3), &[]);
        check(|_, found| meta(found, |meta| meta.entities = None), &[]);
        let at_least_once = |standing: &mut Standing, found: &mut Found| {
            standing.note.as_mut().unwrap().exactly_once = false;
            found.values[1].1 = Offset(60);
            meta(found, |meta| meta.checkpoint = Some(Offset(55)));
        };
        check(at_least_once, &[]);
        check(|standing, found| (standing.ends.start, found.before.as_mut().unwrap().checkpoint) = (Offset(50), Some(Offset(50))), &[]);
    }
}
