//! `threatguard validate`: every problem of every file. Connects to nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::{ServiceFlags, ValidateArgs};
use super::{Outcome, output};
use crate::config::pipeline;
use crate::core::printable::printable;
use crate::error::{Error, Kind, Result};

pub(super) fn run(args: &ValidateArgs) -> Result<Outcome> {
    let files = pipeline_files(&args.files)?;
    let mut shown = String::new();
    let mut problems = service_problems(args)?;
    let mut names: BTreeMap<String, &Path> = BTreeMap::new();
    for file in &files {
        match pipeline::load(file) {
            Ok(pipeline) => {
                let tests = pipeline.tests.len();
                shown.push_str(&format!("{}: ok, {tests} {}\n", printable(&file.display().to_string()), plural(tests, "test")));
                if let Some(other) = names.insert(pipeline.name.clone(), file) {
                    problems.push(format!("{}: name: '{}' is the name of {} too", file.display(), pipeline.name, other.display()));
                }
            }
            Err(found) => problems.extend(found.to_string().lines().map(str::to_owned)),
        }
    }
    for problem in &problems {
        shown.push_str(&printable(problem));
        shown.push('\n');
    }
    let (count, files) = (problems.len(), files.len());
    shown.push_str(&format!("{files} {}, {count} {}\n", plural(files, "pipeline file"), plural(count, "problem")));
    output::print(&shown)?;
    Ok(if problems.is_empty() { Outcome::Clean } else { Outcome::Findings })
}

/// Problems of the service configuration are findings here and not a wrong call, unless a named file is not there.
fn service_problems(args: &ValidateArgs) -> Result<Vec<String>> {
    let flags = ServiceFlags { config: args.config.clone(), ..ServiceFlags::default() };
    match flags.resolve() {
        Err(error) if error.kind == Kind::Config && args.config.as_ref().is_none_or(|file| file.is_file()) => {
            Ok(error.to_string().lines().map(str::to_owned).collect())
        }
        other => other.map(|_| vec![]),
    }
}

/// The files that were named, or all of `pipelines/`, in the order of their names.
///
/// # Errors
/// `Config`: one is not there, or there is none.
pub(super) fn pipeline_files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if let Some(absent) = named.iter().find(|file| !file.is_file()) {
        return Err(Error::config(format!("there is no file {}", absent.display())));
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let entries = std::fs::read_dir("pipelines").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = entries.filter(is_yaml).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::config("name a pipeline file: there is no pipelines/*.yaml here"));
    }
    Ok(files)
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { what.to_owned() } else { format!("{what}s") }
}
