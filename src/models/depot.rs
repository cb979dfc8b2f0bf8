//! Where a registry keeps its files: in a folder, or wherever else what implements this puts them.
//!
//! Whoever reads a file sees what one writer wrote, whole. A bundle appears whole or not at all.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::bundle::{Bundle, Manifest};
use super::{bundle_files, sealed};
use crate::error::{Error, Result};
use crate::limits::REGISTRY_FILE_BYTES_MAX;

/// What a file was when it was read, as its place calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    pub tag: Option<String>,
    pub version: Option<String>,
}

/// Files by their names from the registry on.
pub trait Depot: Debug + Send + Sync {
    /// A name as people know it.
    fn shown(&self, names: &[&str]) -> String;

    /// A small file; none where there is none.
    ///
    /// # Errors
    /// `Config`: it cannot be read. `Transient`: the place does not answer.
    fn read(&self, names: &[&str], bytes_max: u64) -> Result<Option<(Vec<u8>, Tag)>>;

    /// # Errors
    /// `Permanent`, `Config`, `Transient`: it cannot be written; then it is as it was.
    fn write(&self, names: &[&str], bytes: &[u8]) -> Result<()>;

    /// Writes a file that is still what it was when it was read. False: it is not, and was left alone.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn write_if(&self, names: &[&str], bytes: &[u8], before: Option<&Tag>) -> Result<bool>;

    /// # Errors
    /// As for [`Self::write`].
    fn remove(&self, names: &[&str]) -> Result<()>;

    /// Names of all that lies directly below; none where there is nothing.
    ///
    /// # Errors
    /// As for [`Self::read`].
    fn names(&self, below: &[&str]) -> Result<Vec<String>>;

    /// Puts a bundle's files there, one of which is the manifest.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn save(&self, names: &[&str], files: &[(&str, Vec<u8>)]) -> Result<()>;

    /// Whether a bundle is loaded with what its parent has beside it, so that it may be kept without that.
    fn reads_beside(&self) -> bool {
        false
    }

    /// Whether there is a bundle.
    ///
    /// # Errors
    /// As for [`Self::read`].
    fn has_bundle(&self, names: &[&str]) -> Result<bool>;

    /// A bundle, verified by its hashes.
    ///
    /// # Errors
    /// `Config`: what is wrong with it. Else as for [`Self::read`].
    fn load(&self, names: &[&str]) -> Result<Bundle>;

    /// Its manifest alone.
    ///
    /// # Errors
    /// As for [`Self::load`].
    fn manifest(&self, names: &[&str]) -> Result<Manifest>;
}

/// A folder of this machine.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    fn path(&self, names: &[&str]) -> PathBuf {
        names.iter().fold(self.0.clone(), |path, name| path.join(name))
    }
}

impl Depot for Folder {
    fn shown(&self, names: &[&str]) -> String {
        self.path(names).display().to_string()
    }

    fn read(&self, names: &[&str], bytes_max: u64) -> Result<Option<(Vec<u8>, Tag)>> {
        let (path, mut bytes) = (self.path(names), vec![]);
        match File::open(&path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes)) {
            Ok(_) => {
                let tag = Tag { tag: Some(sealed::hash(&bytes)), version: None };
                Ok(Some((bytes, tag)))
            }
            Err(error) if is_absent(error.kind()) => Ok(None),
            Err(error) => Err(Error::config(format!("{} cannot be read", path.display())).because(error)),
        }
    }

    fn write(&self, names: &[&str], bytes: &[u8]) -> Result<()> {
        let path = self.path(names);
        replace(&path, bytes).map_err(|error| failed(&path, error))
    }

    /// Others who do the same wait meanwhile.
    fn write_if(&self, names: &[&str], bytes: &[u8], before: Option<&Tag>) -> Result<bool> {
        let path = self.path(names);
        let locked = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
            let lock = File::create(path.with_extension("lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        // Let go when it is dropped, or with the process.
        let _lock: File = locked().map_err(|error| failed(&path, error))?;
        let now = self.read(names, REGISTRY_FILE_BYTES_MAX)?.map(|(_, tag)| tag);
        if now.as_ref() != before {
            return Ok(false);
        }
        self.write(names, bytes).map(|()| true)
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        let path = self.path(names);
        match fs::remove_file(&path) {
            Err(error) if !is_absent(error.kind()) => Err(Error::permanent(format!("cannot remove {}", path.display())).because(error)),
            _ => Ok(()),
        }
    }

    fn names(&self, below: &[&str]) -> Result<Vec<String>> {
        let folder = self.path(below);
        match fs::read_dir(&folder) {
            Ok(entries) => Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
            Err(error) if is_absent(error.kind()) => Ok(vec![]),
            Err(error) => Err(Error::config(format!("{} cannot be read", folder.display())).because(error)),
        }
    }

    fn save(&self, names: &[&str], files: &[(&str, Vec<u8>)]) -> Result<()> {
        bundle_files::save_files(files, &self.path(names))
    }
    fn reads_beside(&self) -> bool {
        true
    }
    fn has_bundle(&self, names: &[&str]) -> Result<bool> {
        Ok(bundle_files::exists(&self.path(names)))
    }
    fn load(&self, names: &[&str]) -> Result<Bundle> {
        bundle_files::load(&self.path(names))
    }
    fn manifest(&self, names: &[&str]) -> Result<Manifest> {
        bundle_files::load_manifest(&self.path(names))
    }
}

/// Below a file there is nothing either.
fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Writes a file whole, in the place of the one before.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent();
    folder.map_or(Ok(()), fs::create_dir_all)?;
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    bundle_files::sync_folder(folder)
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::permanent(format!("cannot write {}", path.display())).because(error)
}
