//! `threatguard model`: the bundles of a registry, and which of them scores.

use std::path::Path;

use serde::Serialize;

use super::args_model::{ModelArgs, ModelVerb, RegistryFlags};
use super::{Outcome, importance, imported, model_view, models, output, retrain};
use crate::edge::clock;
use crate::error::{Error, Result};
use crate::models::bundle::{Manifest, Origin};
use crate::models::bundle_files;
use crate::models::compare::compare;
use crate::models::registry::{Change, Role, Roles};
use crate::models::registry_files::{Shelf, pipelines};
use crate::run::recalibration::RecalibrationRecord;
use crate::run::succession::{ShadowRecord, judgements, records};

/// The versions of a pipeline.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub pipeline: String,
    pub versions: Vec<Version>,
    pub history: Vec<Change>,
}

/// One of them; `problem` is set where it cannot be read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub version: String,
    pub role: Role,
    pub trained_from: Option<Origin>,
    pub detectors: Vec<String>,
    pub problem: Option<String>,
}

/// One version in full.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    pub role: Role,
    pub manifest: Manifest,
    /// How it compared as a shadow.
    pub comparisons: Vec<ShadowRecord>,
    /// How far recent ordinary scores lie from those it was trained on.
    pub recalibration: Vec<RecalibrationRecord>,
}

/// Who has which role now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Now {
    pub pipeline: String,
    pub champion: Option<String>,
    pub shadow: Option<String>,
    /// What a rollback would lead to.
    pub before: Option<String>,
}

pub(super) fn run(args: &ModelArgs) -> Result<Outcome> {
    match &args.verb {
        ModelVerb::List { flags } => list(flags),
        ModelVerb::Show { version, flags } => show(version.as_deref(), flags),
        ModelVerb::Add { bundle, flags } => add(bundle, flags),
        ModelVerb::Promote { version, flags } => promote(version, flags),
        ModelVerb::Shadow { version, flags, .. } => shadow(version.as_deref(), flags),
        ModelVerb::Rollback { flags } => rollback(flags),
        ModelVerb::Retrain(args) => retrain::run(args),
        ModelVerb::Importance(args) => importance::run(args),
        ModelVerb::Import(args) => imported::import(args),
        ModelVerb::Jobs { job, flags } => retrain::jobs(job.as_deref(), flags),
        ModelVerb::Diff { from, to, flags } => {
            let shelf = shelf(flags)?;
            let of = |digits: &str| shelf.load(&shelf.version(digits)?);
            let difference = compare(&of(from)?, &of(to)?);
            print(flags, &difference, || model_view::difference(&difference))
        }
    }
}

pub(super) fn print(flags: &RegistryFlags, record: &impl Serialize, text: impl FnOnce() -> String) -> Result<Outcome> {
    if flags.json {
        output::json(record)?
    } else {
        output::print(&text())?
    }
    Ok(Outcome::Clean)
}

/// The shelf that is meant: of the pipeline named, or the only one.
pub(super) fn shelf(flags: &RegistryFlags) -> Result<Shelf> {
    let (place, registry) = (flags.models.display(), models::depot(&flags.models)?);
    let names = match &flags.pipeline {
        Some(name) => vec![name.clone()],
        None => pipelines(&registry)?,
    };
    match names.as_slice() {
        [name] => Shelf::find_in(&registry, name)?
            .ok_or_else(|| Error::config(format!("{place} keeps no bundles of pipeline '{name}'; 'threatguard model add' puts one there"))),
        [] => Err(Error::config(format!("{place} is no registry of bundles; 'threatguard model add' makes one"))),
        _ => Err(Error::config(format!("{place} keeps bundles of {}: say which by --pipeline NAME", names.join(", ")))),
    }
}

fn list(flags: &RegistryFlags) -> Result<Outcome> {
    let shelf = shelf(flags)?;
    let roles = shelf.roles()?;
    let mut versions: Vec<Version> = shelf.versions()?.into_iter().map(|version| listed(&shelf, &roles, version)).collect();
    versions.sort_by_key(|version| version.trained_from.as_ref().map(|origin| origin.newest_micros));
    let found = Listed { pipeline: shelf.pipeline().to_owned(), versions, history: roles.history };
    print(flags, &found, || model_view::list(&found))
}

fn listed(shelf: &Shelf, roles: &Roles, version: String) -> Version {
    let role = roles.role(&version);
    match shelf.manifest(&version) {
        Ok(manifest) => {
            let detectors = manifest.detectors.keys().filter(|name| *name != crate::models::train::COMBINED).cloned().collect();
            Version { version, role, trained_from: Some(manifest.created_from), detectors, problem: None }
        }
        Err(error) => Version { version, role, trained_from: None, detectors: vec![], problem: Some(error.to_string()) },
    }
}

fn show(digits: Option<&str>, flags: &RegistryFlags) -> Result<Outcome> {
    let shelf = shelf(flags)?;
    let roles = shelf.roles()?;
    let version = match digits {
        Some(digits) => shelf.version(digits)?,
        None => roles.champion.clone().ok_or_else(|| Error::config("there is no champion yet: name a version"))?,
    };
    let manifest = shelf.load(&version)?.manifest;
    let trained = manifest.recalibrated.as_ref().map_or(&version, |made| &made.parent);
    let (comparisons, recalibration) = (records(&shelf, &version), judgements(&shelf, trained));
    let shown = Shown { role: roles.role(&version), manifest, comparisons, recalibration };
    print(flags, &shown, || model_view::shown(&shown))
}

fn add(folder: &Path, flags: &RegistryFlags) -> Result<Outcome> {
    let bundle = bundle_files::load(folder)?;
    let Manifest { version, created_from, .. } = &bundle.manifest;
    let pipeline = flags.pipeline.as_deref().unwrap_or(&created_from.pipeline);
    let shelf = Shelf::of(models::depot(&flags.models)?, pipeline)?;
    let added = shelf.add(&bundle)?;
    let now = now(&shelf, shelf.roles()?);
    let what = if added { "added to" } else { "is already in" };
    print(flags, &now, || format!("{version} {what} {}\n{}", shelf.folder().display(), model_view::now(&now)))
}

fn promote(digits: &str, flags: &RegistryFlags) -> Result<Outcome> {
    let shelf = shelf(flags)?;
    // Whoever runs would refuse a damaged one: it is looked at before.
    let version = shelf.load(&shelf.version(digits)?)?.manifest.version;
    let roles = shelf.change(|roles| Ok(roles.promote(&version, &time())))?;
    told(&shelf, roles, flags)
}

fn shadow(digits: Option<&str>, flags: &RegistryFlags) -> Result<Outcome> {
    let shelf = shelf(flags)?;
    let load = |digits: &str| -> Result<String> { Ok(shelf.load(&shelf.version(digits)?)?.manifest.version) };
    let version = digits.map(load).transpose()?;
    let roles = shelf.change(|roles| roles.set_shadow(version.as_deref(), &time()))?;
    told(&shelf, roles, flags)
}

fn rollback(flags: &RegistryFlags) -> Result<Outcome> {
    let shelf = shelf(flags)?;
    let back = |roles: &mut Roles| {
        let version = roles.roll_back(&time())?;
        shelf.load(&version).map(|_| true)
    };
    let roles = shelf.change(back)?;
    told(&shelf, roles, flags)
}

fn told(shelf: &Shelf, roles: Roles, flags: &RegistryFlags) -> Result<Outcome> {
    let now = now(shelf, roles);
    print(flags, &now, || model_view::now(&now))
}

fn now(shelf: &Shelf, roles: Roles) -> Now {
    let before = roles.before().map(str::to_owned);
    Now { pipeline: shelf.pipeline().to_owned(), champion: roles.champion, shadow: roles.shadow, before }
}

fn time() -> String {
    clock::wall().to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};
    use crate::models::bundle::tests::{bundle, changed};

    fn model(line: &str, registry: &Path) -> Result<Outcome> {
        let words = format!("threatguard model {line} --json --models");
        let cli = Cli::try_parse_from(words.split(' ').chain(registry.to_str())).map_err(|error| Error::config(error.to_string()))?;
        let Verb::Model(args) = cli.verb else { return Err(Error::config("another verb")) };
        run(&args)
    }

    #[test]
    fn a_bundle_becomes_shadow_then_champion_and_is_rolled_back() {
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("registry");
        let refused = |line: &str, expected: &str| {
            let error = model(line, &registry).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        };
        std::fs::create_dir(&registry).unwrap();
        refused("list", "is no registry");
        for bundle in [bundle(), changed()] {
            let path = folder.path().join(&bundle.manifest.version);
            bundle_files::save(&bundle, &path).unwrap();
            model(&format!("add {}", path.display()), &registry).unwrap();
        }
        let [a, b] = [bundle(), changed()].map(|bundle| bundle.manifest.version);
        let roles = || Shelf::find(&registry, "network").unwrap().roles().unwrap();
        refused("show", "no champion yet");
        refused("rollback", "no champion before");
        model(&format!("promote {a}"), &registry).unwrap();
        refused(&format!("shadow {a}"), "is the champion");
        refused("shadow", "required");
        model(&format!("shadow {}", &b[..8]), &registry).unwrap();
        assert_eq!((roles().champion, roles().shadow), (Some(a.clone()), Some(b.clone())));
        model("shadow --off", &registry).unwrap();
        model(&format!("promote {b} --pipeline network"), &registry).unwrap();
        for line in ["list".to_owned(), "show".to_owned(), format!("diff {a} {b}")] {
            model(&line, &registry).unwrap();
        }
        model("rollback", &registry).unwrap();
        assert_eq!((roles().champion, roles().shadow), (Some(a.clone()), None));
        refused("promote 123", "there is no version");
        std::fs::write(registry.join("network").join(&b).join("forest.bin"), "x").unwrap();
        refused(&format!("promote {b}"), "forest.bin is not the one");
        model("list", &registry).unwrap();
        assert_eq!(roles().champion, Some(a), "as it was");
    }

    #[test]
    fn people_see_roles_history_and_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path(), "network").unwrap();
        for bundle in [bundle(), changed()] {
            shelf.add(&bundle).unwrap();
            shelf.change(|roles| Ok(roles.promote(&bundle.manifest.version, "2026-05-01T00:00:00Z"))).unwrap();
        }
        let roles = shelf.roles().unwrap();
        let versions = shelf.versions().unwrap().into_iter().map(|version| listed(&shelf, &roles, version)).collect();
        let text = model_view::list(&Listed { pipeline: "network".to_owned(), versions, history: roles.history.clone() });
        assert!(text.contains("champion  3000    1970-01-01T00:00:00") && text.contains("behavior isolation_forest"), "{text}");
        assert!(text.contains("2026-05-01T00:00:00Z  promote"), "{text}");
        let text = model_view::difference(&compare(&bundle(), &changed()));
        assert!(text.contains("changed: references.json"), "{text}");
        let text =
            model_view::shown(&Shown { role: Role::Shadow, manifest: bundle().manifest, comparisons: vec![], recalibration: vec![] });
        assert!(text.contains("shadow\npipeline network, 3000 events"), "{text}");
        assert!(model_view::now(&now(&shelf, roles)).contains("a rollback leads to"));
    }
}
