//! Published records as a check sees them: their ids, and which input offsets they speak for.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashTable;
use serde::Deserialize;

use super::{Target, arrow_rows};
use crate::core::output::{output_id, time_text};
use crate::core::types::{Offset, Partition, Position};
use crate::edge::TopicRole;

/// Offsets without anything that are kept, of each partition.
const MISSING_MAX: usize = 100_000;

/// The ids of one topic, as hashes.
#[derive(Debug, Default)]
pub struct Ids {
    seen: HashTable<u128>,
    pub duplicates: u64,
    /// The first one that came twice.
    pub first: Option<String>,
    pub unreadable: u64,
}

impl Ids {
    fn note(&mut self, kind: &str, id: &str) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.as_bytes()).update(b":").update(id.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let hash = u128::from_be_bytes(first);
        if self.seen.find(hash as u64, |other| *other == hash).is_some() {
            self.duplicates += 1;
            self.first.get_or_insert_with(|| id.to_owned());
            return false;
        }
        self.seen.insert_unique(hash as u64, hash, |other| *other as u64);
        true
    }
}

/// What the outputs say about the input.
#[derive(Debug, Default)]
pub struct Outputs {
    pipeline: String,
    topic: String,
    /// Offsets that have a verdict or a dead letter, and the first verdict of each partition.
    spoken: BTreeMap<Partition, Vec<u64>>,
    first: BTreeMap<Partition, u64>,
    pub verdicts: u64,
    /// One position has different verdicts: they are of several pipelines.
    pub has_foreign_verdicts: bool,
    /// Events that came too late, by the window aggregates.
    pub late: u64,
    /// The end of the newest window that was published, of each partition; and where the windows after it begin.
    closed: BTreeMap<Partition, String>,
    open: BTreeMap<Partition, u64>,
    hashes: BTreeMap<Partition, HashTable<(u64, u64)>>,
    /// Threats and dead letters of this pipeline, and the latest event that one speaks for.
    pub positions: u64,
    newest: BTreeMap<Partition, Offset>,
}

/// How far one partition of the input is spoken for.
#[derive(Debug)]
pub struct Coverage {
    pub seen: u64,
    pub missing: BTreeSet<Offset>,
    /// From here on windows are open: nobody has been told yet how many of these events were late.
    pub open: Offset,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    id: &'a str,
    pipeline: Option<&'a str>,
    kind: Option<&'a str>,
    /// An alert comes again under its id when its severity has risen.
    revision: Option<u32>,
    partition: Option<u32>,
    #[serde(borrow)]
    window: Option<Window<'a>>,
    counts: Option<LateCount>,
    /// What a threat was found in.
    #[serde(borrow)]
    evidence: Option<Evidence<'a>>,
}

/// Times of one form, so their order is that of their text.
#[derive(Deserialize)]
struct Window<'a> {
    end: &'a str,
}

#[derive(Deserialize)]
struct LateCount {
    #[serde(default)]
    late: u64,
}

#[derive(Deserialize)]
struct DeadLetter<'a> {
    id: &'a str,
    #[serde(flatten, borrow)]
    at: Evidence<'a>,
}

#[derive(Deserialize)]
struct Evidence<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
}

#[derive(Deserialize)]
struct Verdict<'a> {
    position: Place,
    timestamp: &'a str,
}

#[derive(Deserialize)]
struct Place {
    partition: u32,
    offset: u64,
}

impl Outputs {
    #[must_use]
    pub fn new(target: &Target) -> Self {
        Self { pipeline: target.name.clone(), topic: target.topic.clone(), ..Self::default() }
    }

    /// Takes a record; those of analytics have to come before verdicts.
    pub fn take(&mut self, role: TopicRole, payload: &[u8], ids: &mut Ids) {
        let read = match role {
            TopicRole::Verdicts => self.verdict(payload, ids),
            TopicRole::DeadLetters => self.dead_letter(payload, ids),
            _ => self.enveloped(payload, ids),
        };
        ids.unreadable += u64::from(read.is_none());
    }

    fn enveloped(&mut self, payload: &[u8], ids: &mut Ids) -> Option<()> {
        let Envelope { kind, data } = serde_json::from_slice(payload).ok()?;
        let kind = data.revision.map_or_else(|| kind.to_owned(), |revision| format!("{kind}/{revision}"));
        let is_new = ids.note(&kind, data.id);
        if is_new && data.kind == Some("traffic") && data.pipeline == Some(self.pipeline.as_str()) {
            self.late += data.counts.map_or(0, |counts| counts.late);
            if let Some((partition, window)) = data.partition.zip(data.window) {
                let closed = self.closed.entry(Partition(partition)).or_default();
                *closed = std::mem::take(closed).max(window.end.to_owned());
            }
        }
        if let Some(evidence) = data.evidence {
            self.speaks_for(&evidence, "threat", data.id);
        }
        Some(())
    }

    fn dead_letter(&mut self, payload: &[u8], ids: &mut Ids) -> Option<()> {
        let DeadLetter { id, at } = serde_json::from_slice(payload).ok()?;
        self.speaks_for(&at, "dead_letter", id);
        if ids.note("dead letter", id) && at.topic == self.topic {
            self.spoken.entry(Partition(at.partition)).or_default().push(at.offset);
        }
        Some(())
    }

    /// Verdicts have no id but their position. Two that say the same are one that came twice; two that differ are of two pipelines.
    fn verdict(&mut self, payload: &[u8], ids: &mut Ids) -> Option<()> {
        if !payload.starts_with(b"{") {
            let rows = arrow_rows::rows(payload)?;
            rows.into_iter().for_each(|row| self.position(row.partition, row.offset, row.content, &time_text(row.time), ids));
            return Some(());
        }
        let Verdict { position: Place { partition, offset }, timestamp } = serde_json::from_slice(payload).ok()?;
        let hash = blake3::hash(payload);
        let content = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.position(Partition(partition), offset, content, timestamp, ids);
        Some(())
    }

    fn position(&mut self, partition: Partition, offset: u64, content: u64, timestamp: &str, ids: &mut Ids) {
        self.verdicts += 1;
        let place = crate::core::numeric::mix(offset);
        let hashes = self.hashes.entry(partition).or_default();
        match hashes.find(place, |(other, _)| *other == offset) {
            Some((_, other)) if *other == content => {
                ids.duplicates += 1;
                ids.first.get_or_insert_with(|| format!("the verdict on partition {}, offset {offset}", partition.0));
            }
            Some(_) => self.has_foreign_verdicts = true,
            None => {
                hashes.insert_unique(place, (offset, content), |(other, _)| crate::core::numeric::mix(*other));
                self.spoken.entry(partition).or_default().push(offset);
                let first = self.first.entry(partition).or_insert(offset);
                *first = offset.min(*first);
                if self.closed.get(&partition).is_none_or(|end| timestamp >= end.as_str()) {
                    let open = self.open.entry(partition).or_insert(offset);
                    *open = offset.min(*open);
                }
            }
        }
    }

    /// Ids tell this pipeline's outputs from those of others that read the same topic.
    fn speaks_for(&mut self, evidence: &Evidence<'_>, kind: &str, id: &str) {
        let position = Position { partition: Partition(evidence.partition), offset: Offset(evidence.offset) };
        if evidence.topic == self.topic && output_id(&self.pipeline, &self.topic, position, kind) == id {
            self.positions += 1;
            let newest = self.newest.entry(position.partition).or_insert(position.offset);
            *newest = position.offset.max(*newest);
        }
    }

    /// The latest event of a partition that a threat or a dead letter of this pipeline speaks for.
    #[must_use]
    pub fn newest(&self, partition: Partition) -> Option<Offset> {
        self.newest.get(&partition).copied()
    }

    /// From the first verdict that was read up to what is committed. `None` where no verdict was read.
    #[must_use]
    pub fn coverage(&self, partition: Partition, committed: Option<Offset>) -> Option<Coverage> {
        let (first, next) = (*self.first.get(&partition)?, committed?.0);
        let mut spoken: Vec<u64> = self.spoken.get(&partition)?.iter().copied().filter(|offset| (first..next).contains(offset)).collect();
        spoken.sort_unstable();
        spoken.dedup();
        let mut missing = BTreeSet::new();
        let mut expected = first;
        for offset in spoken.iter().copied().chain([next]) {
            missing.extend((expected..offset).take(MISSING_MAX.saturating_sub(missing.len())).map(Offset));
            expected = offset + 1;
        }
        let open = Offset(self.open.get(&partition).copied().unwrap_or(next));
        Some(Coverage { seen: spoken.len() as u64, missing, open })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::output::{DeadLetterRecord, EvidenceRecord};

    fn verdict(offset: u64, score: u32) -> Vec<u8> {
        let (minute, place) = (offset % 60, format!(r#"{{"partition":0,"offset":{offset}}}"#));
        format!(r#"{{"position":{place},"entity":"ip:10.0.0.1","timestamp":"2026-01-05T09:{minute:02}:00.000000Z","score":{score}}}"#)
            .into_bytes()
    }

    fn dead_letter(topic: &str, offset: u64) -> Vec<u8> {
        let at = EvidenceRecord::new(topic, Position { partition: Partition(0), offset: Offset(offset) });
        serde_json::to_vec(&DeadLetterRecord::new("p", at, None, "malformed", "a \"quoted\" word", b"\"\n", 2)).unwrap()
    }

    #[test]
    fn gaps_repetitions_and_other_pipelines_are_told_apart() {
        let (mut outputs, mut ids) = (Outputs { topic: "in".to_owned(), ..Outputs::default() }, Ids::default());
        for offset in [3, 4, 6, 9] {
            outputs.take(TopicRole::Verdicts, &verdict(offset, 1), &mut ids);
        }
        outputs.take(TopicRole::DeadLetters, &dead_letter("in", 5), &mut ids);
        outputs.take(TopicRole::DeadLetters, &dead_letter("other", 7), &mut ids);
        assert_eq!(ids.unreadable, 0);
        let coverage = outputs.coverage(Partition(0), Some(Offset(11))).unwrap();
        assert_eq!(coverage.seen, 5);
        assert_eq!(coverage.missing.into_iter().map(|offset| offset.0).collect::<Vec<_>>(), [7, 8, 10]);
        assert_eq!((ids.duplicates, ids.unreadable, outputs.has_foreign_verdicts), (0, 0, false));
        outputs.take(TopicRole::Verdicts, &verdict(4, 1), &mut ids);
        assert_eq!((ids.duplicates, outputs.has_foreign_verdicts), (1, false));
        outputs.take(TopicRole::Verdicts, &verdict(6, 2), &mut ids);
        assert!(outputs.has_foreign_verdicts);
        for damaged in [&b"ARROW1"[..], &[0xff; 4], &[0xff; 12], b"\xff\xff\xff\xff\x04\0\0\0\0\0\0\0", b""] {
            let before = ids.unreadable;
            outputs.take(TopicRole::Verdicts, damaged, &mut ids);
            assert_eq!(ids.unreadable, before + 1, "{damaged:?}");
        }
    }

    #[test]
    fn threats_of_this_pipeline_say_how_far_it_is() {
        let (mut outputs, mut ids) = (Outputs { pipeline: "p".to_owned(), topic: "in".to_owned(), ..Outputs::default() }, Ids::default());
        let mut take = |pipeline: &str, offset: u64| {
            let id = output_id(pipeline, "in", Position { partition: Partition(1), offset: Offset(offset) }, "threat");
            let evidence = format!(r#"{{"topic":"in","partition":1,"offset":{offset}}}"#);
            let payload = format!(r#"{{"type":"threat.detected","data":{{"id":"{id}","evidence":{evidence}}}}}"#);
            outputs.take(TopicRole::Threats, payload.as_bytes(), &mut ids);
        };
        take("p", 7);
        take("p", 5);
        take("other", 99);
        assert_eq!((outputs.newest(Partition(1)), outputs.newest(Partition(0))), (Some(Offset(7)), None));
        assert_eq!((outputs.positions, ids.unreadable), (2, 0));
    }

    #[test]
    fn what_may_still_be_told_to_be_late_is_open() {
        let (mut outputs, mut ids) = (Outputs { pipeline: "p".to_owned(), topic: "in".to_owned(), ..Outputs::default() }, Ids::default());
        for (id, pipeline, end) in [("a", "p", "04"), ("b", "p", "05"), ("c", "other", "30")] {
            let window = format!(r#""window":{{"start":"2026-01-05T09:00:00.000000Z","end":"2026-01-05T09:{end}:00.000000Z"}}"#);
            let data = format!(r#""id":"{id}","kind":"traffic","pipeline":"{pipeline}","partition":0,{window},"counts":{{"late":1}}"#);
            outputs.take(TopicRole::Analytics, format!(r#"{{"type":"analytics.update","data":{{{data}}}}}"#).as_bytes(), &mut ids);
        }
        for offset in [3, 4, 6, 9] {
            outputs.take(TopicRole::Verdicts, &verdict(offset, 1), &mut ids);
        }
        let coverage = outputs.coverage(Partition(0), Some(Offset(11))).unwrap();
        assert_eq!((outputs.late, coverage.open), (2, Offset(6)));
    }

    #[test]
    fn ids_are_of_a_kind() {
        let (mut outputs, mut ids) = (Outputs::default(), Ids::default());
        for kind in ["threat.detected", "threat.resolved", "threat.detected"] {
            let payload = format!(r#"{{"type":"{kind}","data":{{"id":"a","type":"beaconing"}}}}"#);
            outputs.take(TopicRole::Threats, payload.as_bytes(), &mut ids);
        }
        assert_eq!((ids.duplicates, ids.first.as_deref()), (1, Some("a")));
        for revision in [1, 2] {
            let payload = format!(r#"{{"type":"alert.created","data":{{"id":"b","revision":{revision}}}}}"#);
            outputs.take(TopicRole::Alerts, payload.as_bytes(), &mut ids);
        }
        assert_eq!(ids.duplicates, 1, "an alert that escalates is no repetition");
    }
}
