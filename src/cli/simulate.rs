//! `threatguard simulate`: the simulator's events and labels to files or standard output.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::args::{ScenarioFlags, SimulateArgs};
use super::progress::Progress;
use super::{Outcome, company, output};
use crate::core::event::FieldId;
use crate::core::types::MICROS_PER_DAY;
use crate::error::{Error, Result};
use crate::simulate::{Family, Scenario, Simulator};

const BUFFER_BYTES: usize = 256 * 1024;

impl ScenarioFlags {
    /// The scenario that the flags ask for.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        let mut scenario = match self.scenario.as_str() {
            "small" => Scenario::small(),
            "month" => Scenario::month(),
            _ => Scenario::demo(),
        };
        scenario.seed = self.seed;
        scenario.days = self.days.unwrap_or(scenario.days);
        if let Some(factor) = self.scale {
            scenario = scenario.scaled(factor);
        }
        if self.benign { scenario.benign() } else { scenario }
    }
}

/// The name of a field that events do not have yet.
pub(super) fn new_field(name: &str) -> Result<String, String> {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !plain {
        return Err("write a name of letters, digits, '-' and '_'".into());
    }
    if name == "geo" || FieldId::NAMES.contains(&name) {
        return Err("events have such a field already; write another name, such as label".into());
    }
    Ok(name.to_owned())
}

pub(super) fn run(args: &SimulateArgs) -> Result<Outcome> {
    args.pipelines.as_deref().map_or(Ok(()), company::write)?;
    let scenario = args.scenario.scenario();
    let mut simulator = Simulator::new(&scenario)?;
    match &args.out {
        Some(file) => {
            let mut out = create(file)?;
            events(&mut simulator, &scenario, args, &mut out).map_err(|failure| unwritten(file, failure))?;
        }
        None => output::written(events(&mut simulator, &scenario, args, &mut std::io::stdout().lock()))?,
    }
    if let Some(file) = &args.labels {
        let mut out = create(file)?;
        labels(&simulator, &mut out).map_err(|failure| unwritten(file, failure))?;
    }
    Ok(Outcome::Clean)
}

fn events(simulator: &mut Simulator, scenario: &Scenario, args: &SimulateArgs, out: &mut dyn Write) -> std::io::Result<()> {
    let only = args.only.as_deref().map(|only| if only == "network" { Family::Network } else { Family::Identity });
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let mut progress = Progress::new("simulating", "hours", Some((scenario.days * 24.0) as u64));
    let mut line = Vec::with_capacity(1024);
    while let Some(emitted) = simulator.next(&mut line) {
        if only.is_none_or(|only| only == emitted.family) {
            if let Some(field) = &args.label {
                let class = emitted.label.map_or("benign", |label| simulator.campaigns()[label.0 as usize].kind.as_str());
                labelled(&mut line, field, class);
            }
            line.push(b'\n');
            out.write_all(&line)?;
        }
        line.clear();
        progress.set(((emitted.time.0 - scenario.start.0).max(0) * 24 / MICROS_PER_DAY).unsigned_abs());
    }
    progress.finish();
    out.flush()
}

/// Puts the label behind the event's last field.
fn labelled(line: &mut Vec<u8>, field: &str, class: &str) {
    line.pop();
    line.extend_from_slice(format!(",\"{field}\":\"{class}\"}}").as_bytes());
}

fn labels(simulator: &Simulator, out: &mut dyn Write) -> std::io::Result<()> {
    for campaign in simulator.campaigns() {
        serde_json::to_writer(&mut *out, campaign)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn create(file: &Path) -> Result<BufWriter<File>> {
    File::create(file).map(BufWriter::new).map_err(|failure| Error::config(format!("cannot write {}", file.display())).because(failure))
}

fn unwritten(file: &Path, failure: std::io::Error) -> Error {
    Error::permanent(format!("cannot write {}", file.display())).because(failure)
}
