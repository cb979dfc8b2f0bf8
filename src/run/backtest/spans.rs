//! Labels that stand beside the events: who attacked from when to when, a JSON object a line, such as the simulator's label file.
//!
//! Every event of such an entity in its time counts as an attack, because nothing tells them apart; all others are benign.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::core::sanitize::parse_time;
use crate::error::{Error, Result};

/// What events outside of every span are called.
pub(super) const BENIGN: &str = "benign";

/// A line; other fields are for people.
#[derive(Deserialize)]
struct Line {
    /// As `kind:name`: `ip:10.0.0.5`, `user:alice`.
    entities: Vec<String>,
    start: String,
    end: String,
    /// The class.
    kind: String,
}

/// By entity: first and last microsecond, and class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spans(BTreeMap<String, Vec<(i64, i64, String)>>);

impl Spans {
    /// # Errors
    /// `Config`: a line that is no such object, or a time that is none.
    pub fn parse(text: &str) -> Result<Self> {
        let mut spans = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |why: String| Error::config(format!("labels, line {}: {why}", number + 1));
            let line: Line = serde_json::from_str(line).map_err(|failure| {
                wrong("write {\"entities\": [\"ip:10.0.0.5\"], \"start\": TIME, \"end\": TIME, \"kind\": CLASS}".into()).because(failure)
            })?;
            let time = |text: &str| {
                let problem = || wrong(format!("'{}' is no time like 2026-01-02T03:04:05Z", text.escape_debug()));
                parse_time(text).ok_or_else(problem).map(|time| time.0)
            };
            let (start, end) = (time(&line.start)?, time(&line.end)?);
            for entity in line.entities {
                spans.0.entry(entity).or_default().push((start, end, line.kind.clone()));
            }
        }
        Ok(spans)
    }

    /// The class of an entity's event: of several spans, the first one's.
    #[must_use]
    pub fn class(&self, entity: &str, micros: i64) -> &str {
        let of_entity = self.0.get(entity).into_iter().flatten();
        of_entity.into_iter().find(|(start, end, _)| (*start..=*end).contains(&micros)).map_or(BENIGN, |(_, _, class)| class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_attacks_in_its_time_alone_and_lines_that_are_none_are_named() {
        let line = r#"{"id":3,"entities":["ip:10.0.0.1"],"start":"1970-01-01T00:00:01Z","end":"1970-01-01T00:00:02Z","kind":"scan"}"#;
        let spans = Spans::parse(&format!("{line}\n\n")).unwrap();
        let classes = [999_999, 1_000_000, 2_000_000, 2_000_001].map(|micros| spans.class("ip:10.0.0.1", micros).to_owned());
        assert_eq!(classes, ["benign", "scan", "scan", "benign"]);
        assert_eq!(spans.class("ip:10.0.0.2", 1_000_000), "benign");
        let refused = |text: &str| Spans::parse(text).unwrap_err().to_string();
        assert!(refused(&format!("{line}\n{{}}")).starts_with("labels, line 2: write {"));
        assert!(refused(&line.replace("00:00:02Z", "soon")).contains("is no time"));
    }
}
