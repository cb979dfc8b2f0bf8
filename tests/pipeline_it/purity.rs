//! The rules of the sources that no compiler checks: what the pure part may not use, and what every file has.

use std::path::{Path, PathBuf};

use crate::workbench::PACKAGE;

/// Folders whose code depends on nothing but its arguments.
const PURE: [&str; 4] = ["src/core", "src/codec", "src/models", "src/simulate"];
/// What would make it depend on more. Tests may read files and use threads.
const IMPURE: [&str; 19] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "thread::spawn",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "tokio::",
    "rayon::",
    "rand::",
    "HashMap",
    "HashSet",
    "RandomState",
    "crate::edge",
];
/// Files of a pure folder that are the edge of it, switched off with `--no-default-features`, and what they may use.
const EXCEPTIONS: [(&str, &[&str]); 3] = [
    ("src/models/depot.rs", &["std::fs"]),
    ("src/models/bundle_files.rs", &["std::fs", "std::process"]),
    // Threads of the training add up fixed shares in a fixed order: their number shows in no bit.
    ("src/models/lstm_fit/descent.rs", &["std::thread"]),
];

const LINES_MAX: usize = 400;

struct Source {
    name: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.name.ends_with("tests.rs") || self.name.contains("/tests/")
    }
    /// Without the tests at its end.
    fn untested(&self) -> &str {
        let text = self.text.trim_end_matches("\n#[cfg(test)]\nmod tests;\n");
        text.find("\n#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
    }
    /// Without comments either.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.untested()
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line))
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = vec![];
    collect(&Path::new(PACKAGE).join(folder), &mut found);
    found.sort();
    let name = |path: &PathBuf| path.strip_prefix(PACKAGE).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| Source { name: name(path), text: std::fs::read_to_string(path).unwrap() }).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[track_caller]
fn none(what: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{what}:\n{}", problems.join("\n"));
}

#[test]
fn the_pure_part_has_neither_input_nor_clock_nor_chance() {
    let mut problems = vec![];
    let mut seen = 0;
    for source in PURE.iter().flat_map(|folder| sources(folder)).filter(|source| !source.is_test()) {
        seen += 1;
        let allowed = EXCEPTIONS.iter().find(|(name, _)| *name == source.name).map_or(&[] as &[&str], |(_, words)| words);
        for (number, line) in source.code() {
            for word in IMPURE.iter().filter(|word| line.contains(**word) && !allowed.contains(word)) {
                problems.push(format!("{}:{number}: {word}: {}", source.name, line.trim()));
            }
        }
    }
    assert!(seen > 100, "the folders have moved: {seen} files");
    none("not pure", &problems);
}

#[test]
fn every_source_says_what_it_is_in_ascii_and_is_short() {
    let mut problems = vec![];
    for source in ["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)) {
        let Source { name, text } = &source;
        if !text.starts_with("//!") {
            problems.push(format!("{name}: does not begin with //!"));
        }
        if let Some(line) = text.lines().position(|line| !line.is_ascii()) {
            problems.push(format!("{name}:{}: not ASCII", line + 1));
        }
        let lines = source.untested().lines().count();
        if lines > LINES_MAX && !source.is_test() {
            problems.push(format!("{name}: {lines} lines, more than {LINES_MAX}"));
        }
    }
    none("sources", &problems);
}

#[test]
fn only_the_native_folder_is_unsafe_and_nothing_unwraps_or_is_left_open() {
    let open_ends = ["todo!(", "unimplemented!(", concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut problems = vec![];
    for source in sources("src").into_iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| line.contains(form));
            if is_unsafe && !source.name.starts_with("src/native/") {
                problems.push(format!("{}:{number}: unsafe outside src/native", source.name));
            }
            if line.contains(".unwrap()") {
                problems.push(format!("{}:{number}: unwrap outside tests", source.name));
            }
        }
        for word in open_ends {
            if source.text.contains(word) {
                problems.push(format!("{}: {word}", source.name));
            }
        }
    }
    none("sources", &problems);
}
