//! `threatguard explain`: finds a threat's record in a file of threats. Rendering is [`super::explain_view`]'s.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::{ExplainArgs, ServiceFlags, ThreatFlags};
use super::explain_view;
use super::progress::Progress;
use super::{Outcome, output};
use crate::core::printable::printable;
use crate::error::{Error, Result};

/// Shorter beginnings of an id name too many threats.
const PREFIX_CHARS_MIN: usize = 4;
const HINTS_SHOWN: usize = 3;

pub(super) fn run(args: &ExplainArgs) -> Result<Outcome> {
    let file = threats_file(&args.threat)?;
    let found = search(&file, &args.threat.id)?;
    match found.chosen() {
        Some(threat) if args.json => output::print(&output::inert(&format!("{:#}\n", threat.record)))?,
        Some(threat) => output::print(&explain_view::render(&threat.record, threat.resolved))?,
        None => {
            output::print(&found.hints(&args.threat.id, &file))?;
            return Ok(Outcome::Findings);
        }
    }
    Ok(Outcome::Clean)
}

/// The file of threats that is named, or that of the folder of results.
///
/// # Errors
/// `Config`: what says where that is.
pub(super) fn threats_file(threat: &ThreatFlags) -> Result<PathBuf> {
    let ThreatFlags { threats, output, config, .. } = threat.clone();
    if let Some(file) = threats {
        return Ok(file);
    }
    let flags = ServiceFlags { config, output, ..ServiceFlags::default() };
    Ok(flags.resolve()?.settings.output.join("threats.jsonl"))
}

/// A record that fits, and whether a later one resolves it.
#[derive(Debug)]
pub(super) struct Found {
    id: String,
    pub(super) record: Value,
    pub(super) resolved: bool,
}

/// What a search met.
#[derive(Debug, Default)]
pub(super) struct Search {
    fitting: Vec<Found>,
    /// Nearest other ids: distance, id, what and whom.
    near: Vec<(usize, String, String)>,
    threats: u64,
}

impl Search {
    /// The threat, if it is clear which one is meant.
    pub(super) fn chosen(&self) -> Option<&Found> {
        match self.fitting.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// What to try instead.
    pub(super) fn hints(&self, id: &str, file: &Path) -> String {
        let mut shown = match self.fitting.len() {
            0 => format!("no threat has the id {} in {}", printable(id), printable(&file.display().to_string())),
            many => format!("{many} threats begin with {}; write more of the id", printable(id)),
        };
        shown.push_str(&format!(" ({} looked at)\n", self.threats));
        let fitting = self.fitting.iter().map(|found| (found.id.as_str(), summary(&found.record)));
        let near = self.near.iter().map(|(_, id, summary)| (id.as_str(), summary.clone()));
        for (id, summary) in fitting.chain(near).take(HINTS_SHOWN) {
            shown.push_str(&format!("  {}  {}\n", printable(id), printable(&summary)));
        }
        shown
    }

    /// Takes one line of the file; what is no threat is passed over.
    fn take(&mut self, line: &[u8], id: &str) {
        let Ok(envelope) = serde_json::from_slice::<Value>(line) else { return };
        let resolved = envelope["type"] == "threat.resolved";
        let record = if envelope["data"].is_object() { envelope["data"].clone() } else { envelope };
        let Some(other) = record["id"].as_str().map(str::to_owned) else { return };
        self.threats += 1;
        if let Some(known) = self.fitting.iter_mut().find(|found| found.id == other) {
            known.resolved |= resolved;
        } else if other == id || (id.len() >= PREFIX_CHARS_MIN && other.starts_with(id)) {
            self.fitting.push(Found { id: other, record, resolved });
        } else {
            self.offer(id, other, &record);
        }
    }

    fn offer(&mut self, id: &str, other: String, record: &Value) {
        let head: String = other.chars().take(id.chars().count().max(PREFIX_CHARS_MIN)).collect();
        let distance = strsim::damerau_levenshtein(&head, id);
        let worst = self.near.last().map_or(usize::MAX, |(distance, ..)| *distance);
        if self.near.len() < HINTS_SHOWN || distance < worst {
            self.near.push((distance, other, summary(record)));
            self.near.sort_by_key(|(distance, ..)| *distance);
            self.near.truncate(HINTS_SHOWN);
        }
    }
}

/// One line about a threat.
fn summary(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().unwrap_or("?");
    format!("{} {} of {}, {}", text("severity"), text("type"), text("entity"), text("timestamp"))
}

/// Reads the whole file, because a threat may be resolved far behind where it was found.
///
/// # Errors
/// `Config`: the file cannot be read.
pub(super) fn search(file: &Path, id: &str) -> Result<Search> {
    let unread = |failure| {
        Error::config(format!("cannot read threats from {}; name the folder with --output or the file with --threats", file.display()))
            .because(failure)
    };
    let opened = File::open(file).map_err(unread)?;
    let total = opened.metadata().map(|metadata| metadata.len()).ok();
    let mut reader = BufReader::with_capacity(256 * 1024, opened);
    let mut progress = Progress::new("searching", "bytes", total);
    let (mut search, mut line) = (Search::default(), vec![]);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(unread)?;
        if read == 0 {
            break;
        }
        search.take(&line, id);
        progress.advance(read as u64);
    }
    progress.finish();
    Ok(search)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_on_a_terminal_is_inert_and_says_the_same() {
        let record = serde_json::json!({ "name": "a\u{9b}31m\u{202e}b\u{7f}", "plain": "\u{e4}\n" });
        let shown = output::inert(&format!("{record:#}\n"));
        assert!(!shown.chars().any(|character| crate::core::printable::is_unsafe(character) && character != '\n'), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), record);
    }
}
