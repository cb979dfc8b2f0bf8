//! `threatguard verify`: what anybody can see of a running deployment, compared with what it promises. Reads, never writes; memory is
//! bounded by the number of records that are read.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::outputs::{Coverage, Ids, Outputs};
use super::verify::{Finding, check_meta};
use super::{Desk, Standing, Target};
use crate::core::types::{EventTime, Offset, Partition};
use crate::edge::kafka::{GroupOutside, GroupState, LogEnds, TopicNames, existing, read_tail};
use crate::edge::{TopicRole, clock};
use crate::error::Result;

/// Offsets without a verdict whose records are looked at, of each partition.
const GAPS_LOOKED_AT_MAX: usize = 1_000;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub target: Target,
    pub topics: TopicNames,
    pub since: Option<EventTime>,
    /// Of each output topic, at most so many records.
    pub last: u64,
    /// How long a transaction may be open.
    pub patience: Duration,
}

/// A partition of the input.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputReport {
    pub partition: u32,
    pub committed: Option<u64>,
    pub checkpoint: Option<u64>,
    /// `C - R`.
    pub checkpoint_lag: Option<i64>,
    /// What is not read yet.
    pub lag: u64,
    /// High watermark less last stable offset: what is in open transactions.
    pub unstable: u64,
    pub log_start: u64,
    pub log_end: u64,
}

/// An output topic.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputReport {
    pub role: &'static str,
    pub topic: String,
    pub exists: bool,
    pub records: u64,
    pub duplicates: u64,
    pub unreadable: u64,
    pub unstable: u64,
    /// Earlier records were left out.
    pub is_cut: bool,
}

/// What `threatguard verify` found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub pipeline: String,
    pub topic: String,
    pub group: String,
    pub group_state: String,
    pub members: usize,
    pub exactly_once: bool,
    pub input: Vec<InputReport>,
    pub outputs: Vec<OutputReport>,
    /// Verdicts that were read; packed ones are counted one by one.
    pub verdicts: u64,
    /// Threats and dead letters of this pipeline whose positions were compared with what is committed.
    pub positions: u64,
    /// Input records that were looked for among verdicts and dead letters, and how many have neither.
    pub covered: u64,
    pub gaps: u64,
    /// More that have neither, which may have been late: their windows of the analytics are not published yet.
    pub undecided: u64,
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub notes: Vec<String>,
}

/// Where the pieces of a check meet.
struct Check<'a> {
    asked: &'a Asked,
    outside: GroupOutside,
    standing: Vec<Standing>,
    report: Deployment,
}

/// # Errors
/// `Transient`: brokers or Redis do not answer. `Config`: addresses, rights.
pub fn check(asked: &Asked) -> Result<Deployment> {
    let target = &asked.target;
    let mut desk = target.redis.is_some().then(|| Desk::open(target.clone())).transpose()?;
    // The store first: what is stored was committed before, so an `R` that is past a `C` read later is wrong.
    let stored = match &mut desk {
        Some(desk) => desk.each_partition().map(|partition| desk.store.stored(partition)).collect::<Result<Vec<_>>>()?,
        None => vec![],
    };
    let outside = GroupOutside::open(&target.kafka, &target.topic, &target.group)?;
    let committed = outside.committed()?;
    let mut standing = vec![];
    for (number, committed) in committed.into_iter().enumerate() {
        let note = committed.as_ref().and_then(|committed| crate::run::stream::note::Note::parse(&committed.note));
        standing.push(Standing { committed, note, ends: outside.ends(Partition(number as u32))? });
    }
    let GroupState { state, members } = outside.state()?;
    let report = Deployment {
        pipeline: target.name.clone(),
        topic: target.topic.clone(),
        group: target.group.clone(),
        group_state: state,
        members,
        exactly_once: standing.iter().filter_map(|standing| standing.note.as_ref()).all(|note| note.exactly_once),
        input: vec![],
        outputs: vec![],
        verdicts: 0,
        positions: 0,
        covered: 0,
        gaps: 0,
        undecided: 0,
        findings: vec![],
        notes: vec![],
    };
    let mut check = Check { asked, outside, standing, report };
    check.offsets(desk.as_ref(), &stored);
    let outputs = check.outputs()?;
    check.ahead(&outputs)?;
    check.coverage(&outputs)?;
    check.hanging()?;
    Ok(check.report)
}

impl Check<'_> {
    fn offsets(&mut self, desk: Option<&Desk>, stored: &[Option<crate::edge::redis::Stored>]) {
        if desk.is_none() {
            self.report.notes.push("no --redis: the stored state was not looked at".to_owned());
        }
        let findings = &mut self.report.findings;
        if self.standing.iter().all(|standing| standing.committed.is_none()) {
            let text = format!("group {} has committed nothing", self.asked.target.group);
            findings.push(Finding::new("committed", None, text, "is it the group of this deployment, and has it run?"));
        }
        for (number, standing) in self.standing.iter().enumerate() {
            let partition = Partition(number as u32);
            let meta = stored.get(number).cloned().flatten();
            let checkpoint = meta.as_ref().and_then(|meta| meta.checkpoint);
            if let Some(desk) = desk {
                desk.check_note(partition, standing, findings);
                let found = super::survey::Found { before: meta.clone(), after: meta, ..Default::default() };
                check_meta(partition, standing, &found, findings);
            }
            let (next, ends) = (standing.next(), standing.ends);
            let lag = |next: Offset| i64::try_from(next.0).unwrap_or(i64::MAX);
            self.report.input.push(InputReport {
                partition: partition.0,
                committed: next.map(|next| next.0),
                checkpoint: checkpoint.map(|checkpoint| checkpoint.0),
                checkpoint_lag: next.zip(checkpoint).map(|(next, checkpoint)| lag(next) - lag(checkpoint)),
                lag: ends.end.0.saturating_sub(next.map_or(ends.start.0, |next| next.0)),
                unstable: ends.end.0.saturating_sub(ends.stable.0),
                log_start: ends.start.0,
                log_end: ends.end.0,
            });
        }
    }

    /// Reads what was published: each id once.
    fn outputs(&mut self) -> Result<Outputs> {
        let mut outputs = Outputs::new(&self.asked.target);
        for role in [TopicRole::Threats, TopicRole::Alerts, TopicRole::Analytics, TopicRole::DeadLetters, TopicRole::Verdicts] {
            let topic = self.asked.topics.of(role);
            let mut ids = Ids::default();
            let each = |_, _, payload: &[u8]| outputs.take(role, payload, &mut ids);
            let tail = read_tail(&self.asked.target.kafka, topic, self.asked.since, self.asked.last, each)?;
            let report = OutputReport {
                role: role.as_str(),
                topic: topic.to_owned(),
                exists: tail.is_some(),
                records: tail.map_or(0, |tail| tail.records),
                duplicates: ids.duplicates,
                unreadable: ids.unreadable,
                unstable: 0,
                is_cut: tail.is_some_and(|tail| tail.is_cut),
            };
            self.judge_ids(&report, &ids);
            self.report.outputs.push(report);
        }
        Ok(outputs)
    }

    fn judge_ids(&mut self, report: &OutputReport, ids: &Ids) {
        let (topic, count) = (&report.topic, ids.duplicates);
        let first = ids.first.as_deref().unwrap_or("");
        if count > 0 && self.report.exactly_once {
            let text = format!("{count} records of {topic} repeat an id of another, such as {first}");
            let advice = "was the log replayed on purpose (`run --from`, `state restore --to-offsets snapshot`)? Then look from that \
                          time on (--since); else report it";
            self.report.findings.push(Finding::new("duplicates", None, text, advice));
        } else if count > 0 {
            self.report.notes.push(format!("{count} records of {topic} repeat an id: at least once, that is what a crash may do"));
        }
        if ids.unreadable > 0 {
            let text = format!("{} records of {topic} are not ours or unreadable", ids.unreadable);
            self.report.notes.push(text);
        }
        if report.is_cut {
            self.report.notes.push(format!("{topic}: only the last {} records were read (--last)", report.records));
        }
    }

    /// No output of an event at or past `C`. Outputs and `C` are committed together, and `C` is read after them.
    fn ahead(&mut self, outputs: &Outputs) -> Result<()> {
        (self.report.verdicts, self.report.positions) = (outputs.verdicts, outputs.positions);
        if !self.report.exactly_once {
            self.report.notes.push("at least once: outputs may be ahead of the committed offsets, so these were not compared".to_owned());
            return Ok(());
        }
        for (number, committed) in self.outside.committed()?.into_iter().enumerate() {
            let partition = Partition(number as u32);
            let (Some(committed), Some(newest)) = (committed, outputs.newest(partition)) else { continue };
            if newest >= committed.next {
                let text = format!("an output of the event at offset {} is published, and {} is committed", newest.0, committed.next.0);
                let advice = "is the log being replayed on purpose (`run --from`, `state restore --to-offsets snapshot`)? Then it passes; \
                              else offsets were set back by something else: `threatguard state verify`";
                self.report.findings.push(Finding::new("ahead", Some(partition), text, advice));
            }
        }
        Ok(())
    }

    /// Each input record that was scored has one verdict or is a dead letter, unless it was late.
    fn coverage(&mut self, outputs: &Outputs) -> Result<()> {
        if outputs.has_foreign_verdicts {
            self.report.notes.push("several pipelines publish verdicts to one topic: gaps cannot be seen".to_owned());
            return Ok(());
        }
        if outputs.verdicts == 0 {
            let text = "no verdicts are published (`--verdicts json` or `arrow`): whether every event was scored, and once, cannot be \
                        seen. What could be: ids of threats, alerts and dead letters, their positions, offsets and state";
            self.report.notes.push(text.to_owned());
            return Ok(());
        }
        let (mut gaps, mut undecided, mut first) = (0, 0, None);
        for (number, standing) in self.standing.iter().enumerate() {
            let partition = Partition(number as u32);
            let (Some(next), Some(Coverage { seen, missing, open })) = (standing.next(), outputs.coverage(partition, standing.next()))
            else {
                continue;
            };
            self.report.covered += seen;
            // What the log no longer has cannot be looked at.
            let looked: BTreeSet<Offset> =
                missing.into_iter().filter(|offset| *offset >= standing.ends.start && *offset < next).take(GAPS_LOOKED_AT_MAX).collect();
            if looked.len() == GAPS_LOOKED_AT_MAX {
                self.report.notes.push(format!("partition {number}: only the first {GAPS_LOOKED_AT_MAX} gaps were looked at"));
            }
            let real = existing(&self.asked.target.kafka, &self.asked.target.topic, partition, &looked)?;
            let told = real.iter().filter(|offset| **offset < open).count();
            gaps += told as u64;
            undecided += (real.len() - told) as u64;
            first = first.or(real.first().filter(|offset| **offset < open).map(|offset| (partition, *offset)));
        }
        (self.report.gaps, self.report.undecided) = (gaps, undecided);
        if undecided > 0 {
            let text =
                format!("{undecided} of the newest input records have no verdict; whether they were late is told when their window ends");
            self.report.notes.push(text);
        }
        let late = outputs.late;
        match first {
            Some((partition, offset)) if gaps > late => {
                let text = format!(
                    "{gaps} input records have neither a verdict nor a dead letter, the first at offset {}, and only {late} events were late",
                    offset.0
                );
                let advice = "score them again from a point in time (`threatguard run --from TIME`) and report it";
                self.report.findings.push(Finding::new("gaps", Some(partition), text, advice));
            }
            Some(_) => self.report.notes.push(format!("{gaps} input records have no verdict; {late} events were late, which have none")),
            None => {}
        }
        Ok(())
    }

    /// A transaction that stays open holds back everybody who reads committed records.
    fn hanging(&mut self) -> Result<()> {
        let mut open = vec![];
        for report in &self.report.input {
            if report.unstable > 0 {
                open.push((self.asked.target.topic.clone(), Partition(report.partition)));
            }
        }
        for number in 0..self.report.outputs.len() {
            let topic = self.report.outputs[number].topic.clone();
            let count = self.outside.partitions_of(&self.asked.target.kafka, &topic)?.unwrap_or(0);
            for partition in (0..count).map(Partition) {
                let ends = self.outside.ends_of(&topic, partition)?;
                self.report.outputs[number].unstable += ends.end.0.saturating_sub(ends.stable.0);
                if ends.stable < ends.end {
                    open.push((topic.clone(), partition));
                }
            }
        }
        for (topic, partition, ends) in self.still_open(open)? {
            let (seconds, held) = (self.asked.patience.as_secs(), ends.end.0 - ends.stable.0);
            let text =
                format!("{topic}: {held} records have waited for {seconds} s behind the end of a transaction at offset {}", ends.stable.0);
            let advice = "is its producer still at work? Brokers end it after its time-out; `kafka-transactions.sh find-hanging` names \
                          one that they do not";
            self.report.findings.push(Finding::new("transaction", Some(partition), text, advice));
        }
        Ok(())
    }

    /// Those whose last stable offset does not move.
    fn still_open(&self, open: Vec<(String, Partition)>) -> Result<Vec<(String, Partition, LogEnds)>> {
        let deadline = clock::Deadline::after(self.asked.patience);
        let mut watched = vec![];
        for (topic, partition) in open {
            let ends = self.outside.ends_of(&topic, partition)?;
            watched.push((topic, partition, ends));
        }
        loop {
            let mut stuck = vec![];
            for (topic, partition, before) in watched {
                let now = self.outside.ends_of(&topic, partition)?;
                if now.stable == before.stable && now.stable < now.end {
                    stuck.push((topic, partition, before));
                }
            }
            if stuck.is_empty() || deadline.passed() {
                return Ok(stuck);
            }
            watched = stuck;
            clock::sleep(LOOK_AGAIN);
        }
    }
}
