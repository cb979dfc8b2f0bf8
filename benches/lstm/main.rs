//! The LSTM over symbols: what it tells of system-call traces it never learned from. What its step costs is in `benches/models`; the
//! ensemble for sequences is measured by `scripts/baseline.py --only adfa-ld`.
//!
//!     cargo bench --no-default-features --bench lstm -- --json lstm.json
//!
//! Without the data folder (`THREATGUARD_DATA`, default `../shared/data`) there is nothing to do.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is what a bench is for.

#[path = "../support/mod.rs"]
mod support;
mod traces;
#[path = "../../tests/support/zip.rs"]
mod zip;

use std::process::ExitCode;

use serde_json::json;
use support::Arguments;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("lstm: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::read(&[("json", ""), ("seeds", "3"), ("epochs", "30"), ("threads", "1")])?;
    println!("{}", support::machine());
    let number = |name| arguments.number(name);
    let traces = traces::report(number("seeds")?, number("epochs")? as usize, number("threads")? as usize)?;
    arguments.write_json(&json!({ "machine": support::machine(), "traces": traces }))
}
