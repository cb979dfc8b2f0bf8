//! A registry of bundles: `REGISTRY/<pipeline>/<version>/`, and beside them files that say who has which role, how far retraining is,
//! and how shadows compared. In a folder or an object store: see [`Depot`].
//!
//! Whoever reads it sees the roles before a change or after it; of two who change them at once, one begins anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bundle::{Bundle, Manifest};
use super::depot::{Depot, Folder, Tag};
use super::registry::{Roles, is_version};
use super::retrain::job::Job;
use crate::core::types::EventTime;
use crate::error::{Error, Result};
use crate::limits::{REGISTRY_FILE_BYTES_MAX, REGISTRY_JOBS_MAX};

const ROLES_FILE: &str = "roles.json";
/// Folder of the retraining jobs' records.
const JOBS: &str = "jobs";
/// So often at most a change of roles begins anew because somebody else was quicker.
const TRIES: usize = 100;

/// The bundles of one pipeline.
#[derive(Clone, Debug)]
pub struct Shelf {
    depot: Arc<dyn Depot>,
    /// Its place below; none where the depot is the shelf itself.
    below: Option<String>,
    folder: PathBuf,
    pipeline: String,
}

impl Shelf {
    /// The shelf of a pipeline in a registry, which need not exist yet.
    ///
    /// # Errors
    /// `Config`: no pipeline has such a name.
    pub fn new(registry: &Path, pipeline: &str) -> Result<Self> {
        Self::of(Arc::new(Folder(registry.to_owned())), pipeline)
    }

    /// [`Self::new`] wherever the registry is.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn of(depot: Arc<dyn Depot>, pipeline: &str) -> Result<Self> {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if pipeline.is_empty() || !pipeline.bytes().all(fits) {
            return Err(Error::config(format!("'{pipeline}' is no name of a pipeline: those have lower case letters, digits and '-'")));
        }
        Ok(Self::at(depot, Some(pipeline), pipeline))
    }

    fn at(depot: Arc<dyn Depot>, below: Option<&str>, pipeline: &str) -> Self {
        let folder = PathBuf::from(below.map_or_else(|| depot.shown(&[]), |below| depot.shown(&[below])));
        Self { depot, below: below.map(str::to_owned), folder, pipeline: pipeline.to_owned() }
    }

    /// The shelf of a pipeline where `folder` is a registry, or the shelf itself.
    #[must_use]
    pub fn find(folder: &Path, pipeline: &str) -> Option<Self> {
        // A folder that cannot be read holds none.
        Self::find_in(&(Arc::new(Folder(folder.to_owned())) as Arc<dyn Depot>), pipeline).ok().flatten()
    }

    /// [`Self::find`] wherever it is.
    ///
    /// # Errors
    /// `Transient`, `Config`: the place cannot be read.
    pub fn find_in(depot: &Arc<dyn Depot>, pipeline: &str) -> Result<Option<Self>> {
        for below in [Some(pipeline), None] {
            let shelf = Self::at(Arc::clone(depot), below, pipeline);
            if shelf.read(&[ROLES_FILE])?.is_some() {
                return Ok(Some(shelf));
            }
        }
        Ok(None)
    }

    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }
    /// Where it is, for people; and for whoever knows that it is a folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn within<'n>(&'n self, names: &[&'n str]) -> Vec<&'n str> {
        self.below.as_deref().into_iter().chain(names.iter().copied()).collect()
    }

    fn read(&self, names: &[&str]) -> Result<Option<(Vec<u8>, Tag)>> {
        self.depot.read(&self.within(names), REGISTRY_FILE_BYTES_MAX)
    }

    /// A small file beside the bundles; none where there is none.
    ///
    /// # Errors
    /// `Transient`, `Config`: it cannot be read.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read(&[name])?.map(|(bytes, _)| bytes))
    }
    /// [`Self::note`] of at most so many bytes.
    ///
    /// # Errors
    /// As for that.
    pub fn large_note(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.depot.read(&self.within(&[name]), bytes_max)?.map(|(bytes, _)| bytes))
    }
    /// Keeps a small file beside the bundles.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_note(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.depot.write(&self.within(&[name]), bytes)
    }
    /// Names of all that is beside the bundles, and theirs.
    ///
    /// # Errors
    /// `Transient`, `Config`: the place cannot be read.
    pub fn notes(&self) -> Result<Vec<String>> {
        self.depot.names(&self.within(&[]))
    }

    fn roles_and_tag(&self) -> Result<(Roles, Option<Tag>)> {
        let Some((bytes, tag)) = self.read(&[ROLES_FILE])? else { return Ok((Roles::default(), None)) };
        let shown = || self.depot.shown(&self.within(&[ROLES_FILE]));
        Ok((Roles::parse(&bytes).map_err(|error| Error::config(shown()).because(error))?, Some(tag)))
    }

    /// # Errors
    /// `Config`: the file cannot be read or used. A missing file is an empty one. `Transient`: an object store does not answer.
    pub fn roles(&self) -> Result<Roles> {
        Ok(self.roles_and_tag()?.0)
    }

    /// Changes roles; `change` says whether it did, and is asked again where somebody else has changed them meanwhile.
    ///
    /// # Errors
    /// Of `change`. `Permanent`, `Transient`: the file cannot be written; then it is as it was.
    pub fn change(&self, mut change: impl FnMut(&mut Roles) -> Result<bool>) -> Result<Roles> {
        for _ in 0..TRIES {
            let (mut roles, before) = self.roles_and_tag()?;
            if !change(&mut roles)? && before.is_some() {
                return Ok(roles);
            }
            if self.depot.write_if(&self.within(&[ROLES_FILE]), &roles.to_bytes(), before.as_ref())? {
                return Ok(roles);
            }
        }
        Err(Error::transient(format!("{} is changed by others all the time; try again", self.depot.shown(&self.within(&[ROLES_FILE])))))
    }

    /// Puts a bundle on the shelf, where it has no role yet; of a recalibrated one, what its parent there has not. False: it is there
    /// already.
    ///
    /// # Errors
    /// As for [`Depot::save`].
    pub fn add(&self, bundle: &Bundle) -> Result<bool> {
        let version = self.is_name(&bundle.manifest.version)?;
        if self.depot.load(&self.within(&[version])).is_ok() {
            return Ok(false);
        }
        let made = bundle.manifest.recalibrated.as_ref().filter(|_| self.depot.reads_beside());
        let parent = made.and_then(|made| self.manifest(&made.parent).ok());
        let files = parent.map_or_else(|| bundle.to_files(), |parent| bundle.files_beside(&parent));
        self.depot.save(&self.within(&[version]), &files)?;
        self.change(|_| Ok(false))?;
        Ok(true)
    }

    /// # Errors
    /// `Config`: there is none of that version, or it is damaged.
    pub fn load(&self, version: &str) -> Result<Bundle> {
        let bundle = self.depot.load(&self.known(version)?)?;
        self.check(version, &bundle.manifest)?;
        Ok(bundle)
    }

    /// # Errors
    /// As for [`Self::load`].
    pub fn manifest(&self, version: &str) -> Result<Manifest> {
        let manifest = self.depot.manifest(&self.known(version)?)?;
        self.check(version, &manifest)?;
        Ok(manifest)
    }

    fn check(&self, version: &str, manifest: &Manifest) -> Result<()> {
        if manifest.version == version {
            return Ok(());
        }
        let shown = self.depot.shown(&self.within(&[version]));
        Err(Error::config(format!("{shown} holds version {}; give the folder its name back", manifest.version)))
    }

    /// A version by its first digits, as long as they mean one.
    ///
    /// # Errors
    /// `Config`: they mean none or several.
    pub fn version(&self, digits: &str) -> Result<String> {
        let meant: Vec<String> = self.versions()?.into_iter().filter(|version| version.starts_with(digits)).collect();
        match meant.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(self.unknown(digits)),
            _ => Err(Error::config(format!("'{digits}' may be {}; give more digits", meant.join(" or ")))),
        }
    }

    /// All versions, in no order that means anything.
    ///
    /// # Errors
    /// `Config`: the place cannot be read.
    pub fn versions(&self) -> Result<Vec<String>> {
        let mut versions = self.notes()?;
        versions.retain(|name| is_version(name));
        versions.sort();
        Ok(versions)
    }

    fn is_name<'v>(&self, version: &'v str) -> Result<&'v str> {
        if is_version(version) { Ok(version) } else { Err(self.unknown(version)) }
    }

    fn known<'n>(&'n self, version: &'n str) -> Result<Vec<&'n str>> {
        let names = self.within(&[self.is_name(version)?]);
        if self.depot.has_bundle(&names)? { Ok(names) } else { Err(self.unknown(version)) }
    }

    fn unknown(&self, version: &str) -> Error {
        Error::config(format!("there is no version '{version}' in {}; 'threatguard model list' shows them", self.folder.display()))
    }

    /// The retraining jobs as they are now, oldest first.
    ///
    /// # Errors
    /// `Config`: a record cannot be read or used.
    pub fn jobs(&self, now: EventTime) -> Result<Vec<Job>> {
        let records = self.job_names()?.into_iter().map(|name| self.job(&name, now));
        records.collect()
    }

    /// # Errors
    /// `Config`: there is no such job, or its record cannot be used.
    pub fn job(&self, name: &str, now: EventTime) -> Result<Job> {
        let unknown =
            || Error::config(format!("there is no job '{name}' in {}; 'threatguard model jobs' shows them", self.folder.display()));
        let file = format!("{name}.json");
        let record = if Job::is_name(name) { self.read(&[JOBS, &file])? } else { None };
        let (bytes, _) = record.ok_or_else(unknown)?;
        let shown = || self.depot.shown(&self.within(&[JOBS, &file]));
        Ok(Job::parse(&bytes).map_err(|error| Error::config(shown()).because(error))?.as_of(now))
    }

    fn job_names(&self) -> Result<Vec<String>> {
        let all = self.depot.names(&self.within(&[JOBS]))?;
        let mut names: Vec<String> = all.iter().filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
        names.retain(|name| Job::is_name(name));
        names.sort();
        Ok(names)
    }

    /// Keeps a job's record: whoever reads it sees the one before or this one.
    ///
    /// # Errors
    /// `Permanent`, `Transient`: it cannot be written.
    pub fn keep_job(&self, job: &Job) -> Result<()> {
        self.depot.write(&self.within(&[JOBS, &format!("{}.json", job.job_id)]), &job.to_bytes())
    }

    /// Removes the oldest records of jobs beyond the bound.
    ///
    /// # Errors
    /// `Permanent`, `Transient`: one cannot be removed.
    pub fn tidy_jobs(&self) -> Result<()> {
        let names = self.job_names()?;
        let beyond = names.len().saturating_sub(REGISTRY_JOBS_MAX);
        names[..beyond].iter().try_for_each(|name| self.depot.remove(&self.within(&[JOBS, &format!("{name}.json")])))
    }
}

/// Names of the pipelines that a registry has shelves of.
///
/// # Errors
/// `Config`: the place cannot be read.
pub fn pipelines(registry: &Arc<dyn Depot>) -> Result<Vec<String>> {
    let mut names = vec![];
    for name in registry.names(&[])? {
        if registry.read(&[&name, ROLES_FILE], REGISTRY_FILE_BYTES_MAX).is_ok_and(|found| found.is_some()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::models::bundle::tests::{bundle, changed, recalibrated};

    #[test]
    fn bundles_are_kept_by_version_and_roles_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path(), "network").unwrap();
        assert!(Shelf::find(folder.path(), "network").is_none() && shelf.versions().unwrap().is_empty());
        let (first, second) = (bundle(), changed());
        assert!(shelf.add(&first).unwrap() && shelf.add(&second).unwrap() && !shelf.add(&first).unwrap());
        let (a, b) = (&first.manifest.version, &second.manifest.version);
        assert_eq!(shelf.versions().unwrap().len(), 2);
        assert_eq!((shelf.load(a).unwrap(), shelf.manifest(b).unwrap()), (first.clone(), second.manifest.clone()));
        assert_eq!((shelf.version(&a[..6]).unwrap(), shelf.version("").is_err()), (a.clone(), true));
        shelf.change(|roles| Ok(roles.promote(a, "then"))).unwrap();
        shelf.change(|roles| Ok(roles.promote(b, "now"))).unwrap();
        let found = Shelf::find(folder.path(), "network").unwrap();
        assert_eq!(found.roles().unwrap().champion.as_ref(), Some(b));
        assert_eq!(Shelf::find(found.folder(), "network").unwrap().roles().unwrap().before(), Some(a.as_str()));
        assert_eq!(pipelines(&(Arc::new(Folder(folder.path().to_owned())) as Arc<dyn Depot>)).unwrap(), ["network"]);
    }

    #[test]
    fn a_recalibrated_bundle_is_kept_small_beside_its_parent_and_whole_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let (parent, made) = (bundle(), recalibrated());
        let files = |shelf: &Shelf| {
            let entries = fs::read_dir(shelf.folder().join(&made.manifest.version)).unwrap();
            let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let alone = Shelf::new(folder.path(), "alone").unwrap();
        alone.add(&made).unwrap();
        assert!(files(&alone).len() > 2);
        let shelf = Shelf::new(folder.path(), "network").unwrap();
        shelf.add(&parent).unwrap();
        assert!(shelf.add(&made).unwrap() && !shelf.add(&made).unwrap());
        assert_eq!(files(&shelf), ["calibration.json", "manifest.json"]);
        for shelf in [&shelf, &alone] {
            assert_eq!(shelf.load(&made.manifest.version).unwrap(), made);
        }
        fs::remove_file(shelf.folder().join(&parent.manifest.version).join("forest.bin")).unwrap();
        assert!(shelf.load(&made.manifest.version).unwrap_err().to_string().contains("forest.bin is missing"));
    }

    #[test]
    fn a_failed_change_changes_nothing_and_others_wait_for_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path(), "network").unwrap();
        assert!(shelf.change(|_| Err(Error::config("no"))).is_err() && shelf.roles().unwrap() == Roles::default());
        std::thread::scope(|scope| {
            for number in 0..16 {
                let shelf = &shelf;
                scope.spawn(move || shelf.change(|roles| Ok(roles.promote(&format!("{number:016x}"), "now"))).unwrap());
            }
        });
        assert_eq!(shelf.roles().unwrap().history.len(), 16, "none was lost");
    }

    #[test]
    fn names_lead_nowhere_else_and_what_is_damaged_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Shelf::new(folder.path(), "../etc").is_err() && Shelf::new(folder.path(), "").is_err());
        let shelf = Shelf::new(folder.path(), "network").unwrap();
        assert!(shelf.load("../../network").is_err());
        shelf.add(&bundle()).unwrap();
        let version = bundle().manifest.version;
        fs::rename(shelf.folder().join(&version), shelf.folder().join("0123456789abcdef")).unwrap();
        assert!(shelf.load("0123456789abcdef").unwrap_err().to_string().contains("give the folder its name back"));
        fs::write(shelf.folder().join(ROLES_FILE), "{").unwrap();
        let text = shelf.roles().unwrap_err().to_string();
        assert!(text.contains("roles.json") && text.contains("not usable"), "{text}");
    }
}
