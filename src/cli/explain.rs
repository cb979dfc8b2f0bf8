//! `threatguard explain`: finds a threat's record in a file of threats, or in their topic. Rendering is [`super::explain_view`]'s.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::ServiceFlags;
use super::args_explain::{ExplainArgs, ThreatFlags};
use super::explain_view;
use super::progress::Progress;
use super::{Outcome, output};
use crate::config::clients;
use crate::core::printable::printable;
use crate::edge::kafka::{KafkaSettings, read_tail};
use crate::error::{Error, Result};

/// Shorter beginnings of an id name too many threats.
const PREFIX_CHARS_MIN: usize = 4;
const HINTS_SHOWN: usize = 3;
/// Records of the topic that are looked at, the newest ones.
const RECORDS_MAX: u64 = 5_000_000;

pub(super) fn run(args: &ExplainArgs) -> Result<Outcome> {
    let threats = Threats::of(&args.threat)?;
    let found = threats.search(&args.threat.id)?;
    match found.chosen() {
        Some(threat) if args.json => output::print(&output::inert(&format!("{:#}\n", threat.record)))?,
        Some(threat) => output::print(&explain_view::render(&threat.record, threat.resolved))?,
        None => {
            output::print(&found.hints(&args.threat.id, &threats.name()))?;
            return Ok(Outcome::Findings);
        }
    }
    Ok(Outcome::Clean)
}

/// Where threats are.
pub(super) enum Threats {
    File(PathBuf),
    Topic(Box<KafkaSettings>, String),
}

impl Threats {
    /// The file or topic that is named; else the file in the folder of results, or, where there is none and the configuration names
    /// brokers, the topic.
    ///
    /// # Errors
    /// `Config`: what says where that is.
    pub(super) fn of(threat: &ThreatFlags) -> Result<Self> {
        let ThreatFlags { threats, output, config, brokers, topic, .. } = threat.clone();
        if let Some(file) = threats {
            return Ok(Self::File(file));
        }
        let in_folder = output.is_some();
        let settings = ServiceFlags { config, output, brokers, ..ServiceFlags::default() }.resolve()?.settings;
        let file = settings.output.join("threats.jsonl");
        if in_folder || settings.brokers.0.is_empty() || (threat.brokers.is_none() && file.exists()) {
            return Ok(Self::File(file));
        }
        Ok(Self::Topic(Box::new(clients::connection(&settings)), topic))
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::File(file) => file.display().to_string(),
            Self::Topic(_, topic) => topic.clone(),
        }
    }

    /// Looks at all of them, because a threat may be resolved far behind where it was found.
    ///
    /// # Errors
    /// `Config`: they cannot be read. `Transient`: no broker answers.
    pub(super) fn search(&self, id: &str) -> Result<Search> {
        match self {
            Self::File(file) => search(file, id),
            Self::Topic(kafka, topic) => {
                let (mut search, mut progress) = (Search::default(), Progress::new("searching", "records", None));
                let each = |_, _, payload: &[u8]| {
                    search.take(payload, id);
                    progress.advance(1);
                };
                let tail = read_tail(kafka, topic, None, RECORDS_MAX, each)?;
                progress.finish();
                tail.map(|_| search)
                    .ok_or_else(|| Error::config(format!("there is no topic {topic}; name that of the threats with --topic")))
            }
        }
    }
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
    pub(super) fn hints(&self, id: &str, place: &str) -> String {
        let mut shown = match self.fitting.len() {
            0 => format!("no threat has the id {} in {}", printable(id), printable(place)),
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

fn search(file: &Path, id: &str) -> Result<Search> {
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
