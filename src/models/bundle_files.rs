//! Bundles as folders. A reader never sees a half-written one, and an old one is only removed once the new one is in place.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::bundle::{Bundle, MANIFEST_FILE, Manifest};
use crate::error::{Error, Result};
use crate::limits::BUNDLE_PART_BYTES_MAX;

/// Writes a sealed bundle to `folder`, which is made, or replaced if it holds a bundle.
///
/// Everything is written beside it and moved into place. An error of kind `Config` where the folder holds something else, and
/// `Permanent` where the disk is full or cannot be written; then the folder is as it was before.
pub fn save(bundle: &Bundle, folder: &Path) -> Result<()> {
    save_files(&bundle.to_files(), folder)
}

/// Whether a bundle may be saved to `folder`.
///
/// # Errors
/// `Config`: the folder holds something else.
pub fn check(folder: &Path) -> Result<()> {
    if folder.exists() && !folder.join(MANIFEST_FILE).is_file() && !is_empty(folder) {
        return Err(Error::config(format!("{} holds something else than a model bundle; choose another folder", folder.display())));
    }
    Ok(())
}

/// [`save`] of files under their names; one of them is the manifest.
pub fn save_files(files: &[(&str, Vec<u8>)], folder: &Path) -> Result<()> {
    let (new, previous) = (beside(folder, "new")?, beside(folder, "previous")?);
    check(folder)?;
    let written = write_files(files, &new).and_then(|()| {
        remove(&previous)?;
        if folder.exists() {
            fs::rename(folder, &previous)?;
        }
        fs::rename(&new, folder)?;
        sync_folder(folder.parent())?;
        remove(&previous)
    });
    written.map_err(|error| {
        // What was written is of no use; the first error is the one to tell.
        let left = remove(&new).err().map_or(String::new(), |_| format!(", and {} is left over", new.display()));
        Error::permanent(format!("cannot save the model bundle to {}: {}{left}", folder.display(), what_to_do(error.kind()))).because(error)
    })
}

/// Whether there is a bundle to [`load`]: in the folder itself, or left beside it by a replacement that was interrupted.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    stored(folder).join(MANIFEST_FILE).is_file()
}

/// Where the bundle of `folder` lies. Where a crash came between the two steps of a replacement, that is the one to be replaced.
fn stored(folder: &Path) -> PathBuf {
    let previous = beside(folder, "previous").ok().filter(|previous| !folder.exists() && previous.exists());
    previous.unwrap_or_else(|| folder.to_owned())
}

/// Reads and verifies a bundle. The parts that a recalibrated one has not itself are those of its parent, in the folder beside it.
///
/// An error of kind `Config` for whatever is wrong with it; its text names the file and what to do. Where a crash came between
/// the two steps of a replacement, the bundle that was to be replaced is read.
pub fn load(folder: &Path) -> Result<Bundle> {
    let parent = load_manifest(folder)?.recalibrated.map(|made| stored(&folder.with_file_name(made.parent)));
    let has = |name: &str| stored(folder).join(name).exists();
    load_with(folder, |own| {
        Bundle::from_files(|name| match parent.as_deref().filter(|_| !has(name)) {
            Some(parent) => read(&parent.join(name)),
            None => own(name),
        })
    })
}

/// [`load`] of a bundle of whatever kind; `from` is given what reads a file's content.
pub fn load_with<T>(folder: &Path, from: impl FnOnce(&mut dyn FnMut(&str) -> Result<Vec<u8>>) -> Result<T>) -> Result<T> {
    let folder = &stored(folder);
    let named = |error: Error| Error::new(error.kind, format!("model bundle {}", folder.display())).because(error);
    from(&mut |name| read(&folder.join(name))).map_err(named)
}

/// Reads a bundle's manifest alone. Errors as for [`load`].
pub fn load_manifest(folder: &Path) -> Result<Manifest> {
    let folder = &stored(folder);
    let named = |error: Error| Error::new(error.kind, format!("model bundle {}", folder.display())).because(error);
    read(&folder.join(MANIFEST_FILE)).and_then(|bytes| Manifest::parse(&bytes)).map_err(named)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let cannot = |error: std::io::Error| {
        let why =
            if error.kind() == ErrorKind::NotFound { "is missing; `threatguard train --out` writes a bundle" } else { "cannot be read" };
        Error::config(format!("{} {why}", path.display())).because(error)
    };
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(BUNDLE_PART_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > BUNDLE_PART_BYTES_MAX {
        return Err(Error::config(format!("{} is larger than any part of a bundle ({BUNDLE_PART_BYTES_MAX} bytes)", path.display())));
    }
    Ok(bytes)
}

fn write_files(files: &[(&str, Vec<u8>)], folder: &Path) -> std::io::Result<()> {
    remove(folder)?;
    fs::create_dir_all(folder)?;
    for (name, bytes) in files {
        let mut file = fs::File::create(folder.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    sync_folder(Some(folder))
}

fn what_to_do(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full: free some space or choose another folder",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "it may not be written to: choose another folder",
        _ => "writing failed",
    }
}

/// A name next to the folder, on the same file system.
fn beside(folder: &Path, suffix: &str) -> Result<PathBuf> {
    let name = folder.file_name().ok_or_else(|| Error::config(format!("{} is not a folder's name", folder.display())))?;
    let mut name = name.to_os_string();
    name.push(format!(".{suffix}"));
    Ok(folder.with_file_name(name))
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Makes renames last over a power cut.
pub(super) fn sync_folder(folder: Option<&Path>) -> std::io::Result<()> {
    match folder.filter(|f| !f.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => fs::File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::bundle::tests::{bundle, changed};

    #[test]
    fn a_saved_bundle_loads_and_a_second_one_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/models");
        let (first, second) = (bundle(), changed());
        for bundle in [&first, &second, &first] {
            save(bundle, &path).unwrap();
            assert_eq!(&load(&path).unwrap(), bundle);
        }
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["models"], "nothing is left over");
    }

    #[test]
    fn after_a_crash_between_the_two_renames_the_previous_one_loads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models");
        save(&bundle(), &path).unwrap();
        fs::rename(&path, folder.path().join("models.previous")).unwrap();
        assert_eq!(load(&path).unwrap(), bundle());
        save(&changed(), &path).unwrap();
        assert_eq!(load(&path).unwrap(), changed());
    }

    #[test]
    fn what_is_not_a_bundle_is_neither_loaded_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let text = load(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(text.contains("manifest.json is missing"), "{text}");
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("precious.txt"), "x").unwrap();
        let error = save(&bundle(), &other).unwrap_err();
        assert!(error.kind == crate::error::Kind::Config && error.to_string().contains("something else"), "{error}");
        assert!(other.join("precious.txt").exists());
        fs::write(folder.path().join("file"), "x").unwrap();
        assert!(save(&bundle(), &folder.path().join("file/models")).is_err());
    }

    #[test]
    fn a_full_disk_is_named() {
        // The system's own numbers for ENOSPC, EDQUOT and EROFS.
        for (number, expected) in [(28, "disk is full"), (122, "disk is full"), (30, "choose another folder")] {
            let text = what_to_do(std::io::Error::from_raw_os_error(number).kind());
            assert!(text.contains(expected), "{number}: {text}");
        }
    }

    #[test]
    fn a_part_that_was_cut_off_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models");
        save(&bundle(), &path).unwrap();
        let part = path.join("forest.bin");
        let bytes = fs::read(&part).unwrap();
        fs::write(&part, &bytes[..bytes.len() - 1]).unwrap();
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains("forest.bin is not the one its manifest names"), "{text}");
    }
}
