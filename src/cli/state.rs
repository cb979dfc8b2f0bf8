//! `threatguard state`: looks at a pipeline's state, checks it, keeps it and brings it back.

use serde::Serialize;

use super::args_state::{StateArgs, StateFlags, StateVerb};
use super::{Outcome, output, state_view};
use crate::config::pipeline;
use crate::edge::snapshot::Place;
use crate::error::{Error, Result};
use crate::run::state::restore::ToOffsets;
use crate::run::state::{Desk, Target, folder_of};

pub(super) fn run(args: &StateArgs) -> Result<Outcome> {
    match &args.verb {
        StateVerb::Inspect { entity: Some(name), flags, .. } => entity(name, flags),
        StateVerb::Inspect { snapshot: Some(place), flags, .. } => list(place, flags),
        StateVerb::Inspect { flags, .. } => {
            let found = open(flags)?.inspect()?;
            show(flags, &found, || state_view::inspection(&found))
        }
        StateVerb::Verify { flags } => verify(flags),
        StateVerb::Snapshot { to, flags } => {
            let place = Place::open(to)?;
            let (manifest, at) = open(flags)?.snapshot(&place)?;
            show(flags, &manifest, || state_view::snapshot(&manifest, &at))
        }
        StateVerb::Restore { from_snapshot, name, to_offsets, flags } => {
            let to = if to_offsets == "snapshot" { ToOffsets::Snapshot } else { ToOffsets::Keep };
            restore(from_snapshot, name.as_deref(), to, flags)
        }
        StateVerb::Drop { yes: false, flags } => {
            let file = pipeline::load(&flags.pipeline)?;
            Err(Error::config(format!(
                "this removes everything that is remembered by pipeline '{}': say --yes if that is meant",
                file.name
            )))
        }
        StateVerb::Drop { flags, .. } => {
            let dropped = open(flags)?.drop_states()?;
            show(flags, &dropped, || state_view::dropped(&dropped))
        }
        StateVerb::Adopt { flags } => {
            let adopted = open(flags)?.adopt()?;
            show(flags, &adopted, || state_view::adopted(&adopted))
        }
    }
}

fn open(flags: &StateFlags) -> Result<Desk> {
    Desk::open(target(flags)?)
}

fn target(flags: &StateFlags) -> Result<Target> {
    let settings = flags.service.resolve()?.settings;
    let file = pipeline::load(&flags.pipeline)?;
    if flags.correlation { Target::of_correlation(&settings, &file) } else { Target::of_pipeline(&settings, &file) }
}

fn show(flags: &StateFlags, record: &impl Serialize, text: impl FnOnce() -> String) -> Result<Outcome> {
    if flags.json {
        output::json(record)?
    } else {
        output::print(&text())?
    }
    Ok(Outcome::Clean)
}

fn entity(name: &str, flags: &StateFlags) -> Result<Outcome> {
    let mut desk = open(flags)?;
    if !desk.target.has_entities {
        return Err(Error::config("the correlation keeps no values of single entities"));
    }
    let found = desk.entity(name)?;
    if found.is_empty() && !flags.json {
        let shown = crate::core::printable::printable(name);
        output::print(&format!("nothing is stored of {shown}; an entity that is new or changed is stored within a few seconds\n"))?;
        return Ok(Outcome::Findings);
    }
    // What is remembered has no better form for people than its fields by their names.
    output::json(&found)?;
    Ok(if found.is_empty() { Outcome::Findings } else { Outcome::Clean })
}

fn list(place: &str, flags: &StateFlags) -> Result<Outcome> {
    let folder = folder_of(&flags.service.resolve()?.settings, &pipeline::load(&flags.pipeline)?, flags.correlation);
    let snapshots = Place::open(place)?.list(&folder)?;
    show(flags, &snapshots, || state_view::snapshots(&snapshots))
}

fn verify(flags: &StateFlags) -> Result<Outcome> {
    let findings = open(flags)?.verify()?;
    show(flags, &findings, || state_view::findings(&findings))?;
    Ok(if findings.is_empty() { Outcome::Clean } else { Outcome::Findings })
}

fn restore(place: &str, name: Option<&str>, to: ToOffsets, flags: &StateFlags) -> Result<Outcome> {
    let place = Place::open(place)?;
    let mut desk = open(flags)?;
    desk.outside.must_be_idle()?;
    let manifest = desk.newest(&place, |manifest| name.is_none_or(|name| manifest.name == name))?;
    let restored = desk.restore(&place, &manifest, to)?;
    show(flags, &restored, || state_view::restored(&manifest, &restored, to))
}
