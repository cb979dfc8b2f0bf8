//! The pipeline files that ship: they validate, and the tests inside them pass.

use crate::process::run;
use crate::workbench::PACKAGE;

fn files() -> Vec<String> {
    let folder = std::path::Path::new(PACKAGE).join("pipelines");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().to_str().unwrap().to_owned());
    let mut files: Vec<String> = entries.filter(|path| path.ends_with(".yaml")).collect();
    files.sort();
    assert!(files.len() >= 2, "network and identity at least");
    files
}

fn with_files(verb: &str) -> Vec<String> {
    std::iter::once(verb.to_owned()).chain(files()).collect()
}

#[test]
fn shipped_pipelines_validate() {
    run(&with_files("validate")).ok();
}

#[test]
fn the_tests_inside_shipped_pipelines_pass() {
    let done = run(&with_files("test")).ok();
    println!("{}", done.out);
    assert!(done.out.trim_end().ends_with(" passed, 0 failed"), "{}", done.out);
}
