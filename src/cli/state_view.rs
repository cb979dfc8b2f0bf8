//! How `threatguard state` and `threatguard verify` look to people. Pure: records in, text out.

use super::output::table;
use crate::core::printable::printable;
use crate::edge::snapshot::Manifest;
use crate::run::state::deployment::Deployment;
use crate::run::state::mend::{Adopted, Dropped};
use crate::run::state::report::Inspection;
use crate::run::state::restore::{Restored, ToOffsets};
use crate::run::state::verify::Finding;

fn cells(row: &[&str]) -> Vec<String> {
    row.iter().map(|cell| (*cell).to_owned()).collect()
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A table without its heading says nothing; with it, each line stands for a partition.
fn by_partition(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines = vec![cells(heading)];
    lines.extend(rows);
    table(&lines)
}

pub(super) fn inspection(found: &Inspection) -> String {
    let Inspection { pipeline, topic, group, group_state, members, .. } = found;
    let head = format!(
        "{} on {}, group {}: {} ({members} members)\n\n",
        printable(pipeline),
        printable(topic),
        printable(group),
        printable(group_state)
    );
    let heading = ["partition", "R", "C", "C-R", "owner", "generation", "entities", "bytes", "log", "lag", ""];
    let rows = found.partitions.iter().map(|row| {
        let differs = row.generation.is_some() && row.stored_generation.is_some() && row.generation != row.stored_generation;
        let mark = match (row.unreadable, differs) {
            (0, false) => String::new(),
            (0, true) => "not the group's generation".to_owned(),
            (count, _) => format!("{count} unreadable"),
        };
        vec![
            row.partition.to_string(),
            or_none(row.checkpoint),
            or_none(row.committed),
            or_none(row.replay),
            or_none(row.owner),
            or_none(row.stored_generation.or(row.generation)),
            row.entities.to_string(),
            row.bytes.to_string(),
            format!("{}..{}", row.log_start, row.log_end),
            row.lag.to_string(),
            mark,
        ]
    });
    head + &by_partition(&heading, rows)
}

pub(super) fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "state, offsets and log fit together\n".to_owned();
    }
    let mut text = String::new();
    for Finding { partition, text: what, advice, .. } in findings {
        let place = partition.map_or(String::new(), |partition| format!("partition {partition}: "));
        text.push_str(&format!("{place}{}\n  {}\n", printable(what), printable(advice)));
    }
    text + &format!("{} {}\n", findings.len(), if findings.len() == 1 { "finding" } else { "findings" })
}

pub(super) fn snapshot(manifest: &Manifest, at: &str) -> String {
    let (entities, bytes) = sums(manifest);
    let parts = manifest.parts.len();
    format!("{entities} entities of {parts} partitions in {bytes} bytes: {}\n", printable(at))
}

fn sums(manifest: &Manifest) -> (u64, u64) {
    manifest.parts.iter().fold((0, 0), |(entities, bytes), part| (entities + part.entities, bytes + part.bytes))
}

pub(super) fn snapshots(all: &[Manifest]) -> String {
    if all.is_empty() {
        return "no snapshot of this state is there\n".to_owned();
    }
    by_partition(
        &["name", "partitions", "entities", "bytes", "group"],
        all.iter().map(|manifest| {
            let (entities, bytes) = sums(manifest);
            vec![manifest.name.clone(), manifest.parts.len().to_string(), entities.to_string(), bytes.to_string(), manifest.group.clone()]
        }),
    )
}

pub(super) fn restored(manifest: &Manifest, restored: &[Restored], to: ToOffsets) -> String {
    let rows = restored.iter().map(|row| {
        let numbers = [u64::from(row.partition), row.entities, row.checkpoint, row.publishes_from];
        numbers.iter().map(ToString::to_string).collect()
    });
    let next = match to {
        ToOffsets::Keep => "The next start replays from R without publishing, and goes on where the group is.",
        ToOffsets::Snapshot => {
            "The group is back at the snapshot: everything from there on is published again, with the same ids. What reads it counts \
             each id once."
        }
    };
    let table = by_partition(&["partition", "entities", "R", "publishes from"], rows);
    format!("restored {}\n\n{table}\n{next}\n", printable(&manifest.name))
}

pub(super) fn dropped(dropped: &Dropped) -> String {
    let mut text = format!("{} keys removed\n", dropped.keys);
    for rebuild in &dropped.rebuilds {
        let (partition, from) = (rebuild.partition, rebuild.from);
        let line = if rebuild.possible {
            format!("partition {partition}: the next start makes the state anew from offset {from}\n")
        } else {
            format!(
                "partition {partition}: the log no longer has offset {from}, where the state began; start with `threatguard run --from TIME`\n"
            )
        };
        text.push_str(&line);
    }
    text
}

pub(super) fn adopted(adopted: &[Adopted]) -> String {
    let rows = adopted.iter().map(|row| {
        let numbers = [u64::from(row.partition), row.checkpoint, row.committed, row.owner];
        numbers.iter().map(ToString::to_string).collect()
    });
    by_partition(&["partition", "R", "C", "owner"], rows)
}

pub(super) fn deployment(found: &Deployment) -> String {
    let delivery = if found.exactly_once { "exactly once" } else { "at least once" };
    let (pipeline, topic, group) = (printable(&found.pipeline), printable(&found.topic), printable(&found.group));
    let head =
        format!("{pipeline} on {topic}, group {group}: {} ({} members), {delivery}\n\n", printable(&found.group_state), found.members);
    let input = found.input.iter().map(|row| {
        let lag = or_none(row.checkpoint_lag);
        let log = format!("{}..{}", row.log_start, row.log_end);
        let (lags, unstable) = (row.lag.to_string(), row.unstable.to_string());
        vec![row.partition.to_string(), or_none(row.checkpoint), or_none(row.committed), lag, log, lags, unstable]
    });
    let outputs = found.outputs.iter().map(|row| {
        let records = if row.exists { row.records.to_string() } else { "no such topic".to_owned() };
        vec![row.role.to_owned(), row.topic.clone(), records, row.duplicates.to_string(), row.unstable.to_string()]
    });
    let mut text = head + &by_partition(&["partition", "R", "C", "C-R", "log", "lag", "unstable"], input);
    text.push('\n');
    text.push_str(&by_partition(&["output", "topic", "records", "repeated", "unstable"], outputs));
    text.push_str(&format!("\n{} verdicts, and {} positions of threats and dead letters; ", found.verdicts, found.positions));
    text.push_str(&format!("{} input records looked for among verdicts and dead letters, {} without\n", found.covered, found.gaps));
    for note in &found.notes {
        text.push_str(&format!("note: {}\n", printable(note)));
    }
    text.push('\n');
    text + &if found.findings.is_empty() { "every invariant that could be checked holds\n".to_owned() } else { findings(&found.findings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_and_inert() {
        assert!(findings(&[]).contains("fit together"));
        let shown = findings(&[Finding::new("note", None, "a\u{1b}[31mb", "do this")]);
        assert!(shown.contains("a\\u{1b}[31mb") && shown.ends_with("1 finding\n"), "{shown}");
    }
}
