//! `threatguard verdict`: what analysts find, a line a verdict; and reading such files.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::args_retrain::VerdictArgs;
use super::explain::Threats;
use super::{Outcome, output};
use crate::core::printable::printable;
use crate::edge::clock;
use crate::error::{Error, Result};
use crate::models::feedback::{Evidence, Feedback, Finding, Judgements};
use crate::run::verdicts;

/// Beside the threats.
const FILE: &str = "feedback.jsonl";

pub(super) fn run(args: &VerdictArgs) -> Result<Outcome> {
    let threats = Threats::of(&args.threat)?;
    let found = threats.search(&args.threat.id)?;
    let Some(threat) = found.chosen() else {
        output::print(&found.hints(&args.threat.id, &threats.name()))?;
        return Ok(Outcome::Findings);
    };
    let feedback = feedback(&threat.record, args)?;
    let file = args.feedback.clone().unwrap_or_else(|| beside(&threats));
    append(&file, &feedback)?;
    if args.json {
        output::json(&feedback)?;
    } else {
        let what = if feedback.verdict == Finding::True { "a threat" } else { "nothing" };
        let (id, entity) = (printable(&feedback.threat_id), printable(&feedback.entity));
        output::print(&format!("{id} of {entity} is {what}: noted in {}\n", file.display()))?;
    }
    Ok(Outcome::Clean)
}

/// Beside the threats; in the working folder where those are in a topic.
fn beside(threats: &Threats) -> PathBuf {
    let folder = if let Threats::File(file) = threats { file.parent() } else { None };
    folder.map_or_else(|| PathBuf::from(FILE), |folder| folder.join(FILE))
}

fn feedback(record: &Value, args: &VerdictArgs) -> Result<Feedback> {
    let absent = |name: &str| Error::config(format!("the threat's record has no {name}: is it one that threatguard wrote?"));
    let text = |name: &str| record[name].as_str().map(str::to_owned).ok_or_else(|| absent(name));
    let evidence: Evidence = serde_json::from_value(record["evidence"].clone()).map_err(|error| absent("evidence").because(error))?;
    let feedback = Feedback {
        threat_id: text("id")?,
        verdict: if args.verdict == "true" { Finding::True } else { Finding::Benign },
        at: clock::wall().to_string(),
        by: args.by.clone(),
        note: args.note.clone(),
        entity: text("entity")?,
        time: text("timestamp")?,
        evidence,
    };
    feedback.check()?;
    Ok(feedback)
}

/// Appends a line by one write, after a line that a crash has cut off too.
fn append(path: &Path, feedback: &Feedback) -> Result<()> {
    let failed = |error| Error::permanent(format!("cannot write {}", path.display())).because(error);
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
    let mut line = feedback.to_line();
    let mut last = [b'\n'];
    if file.metadata().map_err(failed)?.len() > 0 {
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(failed)?;
    }
    if last != [b'\n'] {
        line.insert(0, '\n');
    }
    file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)
}

/// The verdicts of a file; none without one.
///
/// # Errors
/// `Config`: it cannot be read, or a line is none.
pub(super) fn read(path: Option<&Path>) -> Result<Arc<Judgements>> {
    path.map_or_else(|| Ok(Arc::default()), |path| verdicts::read(path).map(Arc::new))
}
