//! What is wrong with a configuration file, said once for every place, with the line it stands on and the nearest valid name.

use std::fmt;

use super::locate;
use crate::error::Error;

/// One step of a path inside a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Key(String),
    Index(usize),
}

/// Where in a file: `detectors.behavior.weight`, `tests[0].given[2].event`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Segment>);

impl Path {
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.into()));
        path
    }
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }
}

/// Written as users write it in messages. Keys of a file are shown escaped, because a file may be hostile.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if place == 0 => write!(f, "{}", key.escape_debug())?,
                Segment::Key(key) => write!(f, ".{}", key.escape_debug())?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One thing to change, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Empty for the file as a whole.
    pub path: Path,
    /// Lower case, no full stop; says what would be right.
    pub message: String,
    /// 1-based, where it could be found.
    pub line: Option<usize>,
}

impl Problem {
    pub fn new(path: Path, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), line: None }
    }
}

/// Every problem of one file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as the user named it.
    pub file: String,
    pub list: Vec<Problem>,
}

impl Problems {
    /// Finds the lines of the problems in `text` and sorts by them.
    #[must_use]
    pub fn located(file: &str, text: &str, mut list: Vec<Problem>) -> Self {
        for problem in &mut list {
            if problem.line.is_none() {
                problem.line = locate::line_of(text, &problem.path.0);
            }
        }
        list.sort_by_key(|problem| problem.line);
        list.dedup();
        Self { file: file.into(), list }
    }
}

/// One line a problem: `pipelines/network.yaml:12: detectors.behaviour: unknown key, did you mean 'behavior'?`
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.list.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.file)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if !problem.path.0.is_empty() {
                write!(f, ": {}", problem.path)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::config(problems.to_string())
    }
}

/// The closest of `valid` to `name`, if one is close enough to have been meant.
#[must_use]
pub fn nearest<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let allowed = (name.chars().count() / 3).clamp(1, 4) + 1;
    valid
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, candidate)| candidate)
}

/// "did you mean" for a name that is not one of `valid`; all of them where none is close.
#[must_use]
pub fn suggestion(name: &str, valid: &[&str]) -> String {
    match nearest(name, valid.iter().copied()) {
        Some(near) => format!("did you mean '{near}'? valid: {}", valid.join(", ")),
        None => format!("valid: {}", valid.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not_offered() {
        let valid = ["isolation_forest", "behavior", "beaconing", "thresholds"];
        for (name, expected) in [
            ("behaviour", Some("behavior")),
            ("isolation-forest", Some("isolation_forest")),
            ("Tresholds", Some("thresholds")),
            ("beconing", Some("beaconing")),
            ("xyzzy", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, valid), expected, "{name}");
        }
    }
}
