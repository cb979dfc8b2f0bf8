//! A registry of bundles in a folder: `REGISTRY/<pipeline>/<version>/`, and beside them one file that says who has which role.
//!
//! Whoever reads it sees the roles before a change or after it; two who change them at once wait for each other.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::bundle::{Bundle, Manifest};
use super::bundle_files;
use super::registry::{Roles, is_version};
use crate::error::{Error, Result};
use crate::limits::REGISTRY_FILE_BYTES_MAX;

const ROLES_FILE: &str = "roles.json";
const LOCK_FILE: &str = "roles.lock";

/// The bundles of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    folder: PathBuf,
    pipeline: String,
}

impl Shelf {
    /// The shelf of a pipeline in a registry, which need not exist yet.
    ///
    /// # Errors
    /// `Config`: no pipeline has such a name.
    pub fn new(registry: &Path, pipeline: &str) -> Result<Self> {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if pipeline.is_empty() || !pipeline.bytes().all(fits) {
            return Err(Error::config(format!("'{pipeline}' is no name of a pipeline: those have lower case letters, digits and '-'")));
        }
        Ok(Self { folder: registry.join(pipeline), pipeline: pipeline.to_owned() })
    }

    /// The shelf of a pipeline where `folder` is a registry, or the shelf itself.
    #[must_use]
    pub fn find(folder: &Path, pipeline: &str) -> Option<Self> {
        let at = |folder: PathBuf| Self { folder, pipeline: pipeline.to_owned() };
        [folder.join(pipeline), folder.to_owned()].map(at).into_iter().find(|shelf| shelf.folder.join(ROLES_FILE).is_file())
    }

    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// # Errors
    /// `Config`: the file cannot be read or used. `Transient` never: a missing file is an empty one.
    pub fn roles(&self) -> Result<Roles> {
        let path = self.folder.join(ROLES_FILE);
        let mut bytes = vec![];
        match File::open(&path).and_then(|file| file.take(REGISTRY_FILE_BYTES_MAX).read_to_end(&mut bytes)) {
            Ok(_) => Roles::parse(&bytes).map_err(|error| Error::config(path.display().to_string()).because(error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Roles::default()),
            Err(error) => Err(Error::config(format!("{} cannot be read", path.display())).because(error)),
        }
    }

    /// Changes roles; `change` says whether it did.
    ///
    /// # Errors
    /// Of `change`. `Permanent`: the file cannot be written; then it is as it was.
    pub fn change(&self, change: impl FnOnce(&mut Roles) -> Result<bool>) -> Result<Roles> {
        let failed =
            |error: std::io::Error| Error::permanent(format!("cannot change {}", self.folder.join(ROLES_FILE).display())).because(error);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        // Let go when it is dropped, or with the process.
        let lock = File::create(self.folder.join(LOCK_FILE)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut roles = self.roles()?;
        if change(&mut roles)? || !self.folder.join(ROLES_FILE).exists() {
            self.write(&roles.to_bytes()).map_err(failed)?;
        }
        Ok(roles)
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let new = self.folder.join(format!("{ROLES_FILE}.new"));
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(ROLES_FILE))?;
        bundle_files::sync_folder(Some(&self.folder))
    }

    /// Puts a bundle on the shelf, where it has no role yet; of a recalibrated one, what its parent there has not. False: it is there
    /// already.
    ///
    /// # Errors
    /// As for [`bundle_files::save`].
    pub fn add(&self, bundle: &Bundle) -> Result<bool> {
        let place = self.place(&bundle.manifest.version)?;
        if bundle_files::load(&place).is_ok() {
            return Ok(false);
        }
        let parent = bundle.manifest.recalibrated.as_ref().and_then(|made| self.manifest(&made.parent).ok());
        let files = parent.map_or_else(|| bundle.to_files(), |parent| bundle.files_beside(&parent));
        bundle_files::save_files(&files, &place)?;
        self.change(|_| Ok(false))?;
        Ok(true)
    }

    /// # Errors
    /// `Config`: there is none of that version, or it is damaged.
    pub fn load(&self, version: &str) -> Result<Bundle> {
        let bundle = bundle_files::load(&self.known(version)?)?;
        self.check(version, &bundle.manifest)?;
        Ok(bundle)
    }

    /// # Errors
    /// As for [`Self::load`].
    pub fn manifest(&self, version: &str) -> Result<Manifest> {
        let manifest = bundle_files::load_manifest(&self.known(version)?)?;
        self.check(version, &manifest)?;
        Ok(manifest)
    }

    fn check(&self, version: &str, manifest: &Manifest) -> Result<()> {
        if manifest.version == version {
            return Ok(());
        }
        Err(Error::config(format!(
            "{} holds version {}; give the folder its name back",
            self.folder.join(version).display(),
            manifest.version
        )))
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
    /// `Config`: the folder cannot be read.
    pub fn versions(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
            other => other.map_err(|error| Error::config(format!("{} cannot be read", self.folder.display())).because(error))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut versions: Vec<String> = names.filter(|name| is_version(name)).collect();
        versions.sort();
        Ok(versions)
    }

    fn known(&self, version: &str) -> Result<PathBuf> {
        let place = self.place(version)?;
        if bundle_files::exists(&place) { Ok(place) } else { Err(self.unknown(version)) }
    }

    fn place(&self, version: &str) -> Result<PathBuf> {
        if is_version(version) { Ok(self.folder.join(version)) } else { Err(self.unknown(version)) }
    }

    fn unknown(&self, version: &str) -> Error {
        Error::config(format!("there is no version '{version}' in {}; 'threatguard model list' shows them", self.folder.display()))
    }
}

/// Names of the pipelines that a registry has shelves of.
///
/// # Errors
/// `Config`: the folder cannot be read.
pub fn pipelines(registry: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(registry).map_err(|error| Error::config(format!("{} cannot be read", registry.display())).because(error))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| registry.join(name).join(ROLES_FILE).is_file()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(pipelines(folder.path()).unwrap(), ["network"]);
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
