//! Where snapshots lie: a folder, or a store with the S3 protocol. A snapshot appears whole or not at all: in a folder by a rename
//! of what was synchronised before, in a store by its manifest, which goes last.

use std::fs::File;
use std::path::PathBuf;

use super::{MANIFEST, Manifest};
use crate::core::types::EventTime;
use crate::edge::objects::{Objects, disk};
use crate::edge::secret::redact_url;
use crate::error::{Error, Result};

const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A folder or a store, below which each pipeline has a folder of snapshots.
pub struct Place {
    kind: PlaceKind,
    shown: String,
}

enum PlaceKind {
    Folder(PathBuf),
    Store(Objects),
}

/// A folder in which a snapshot is made, or into which one was fetched. It goes with this, unless it became the snapshot.
pub struct Stage {
    folder: PathBuf,
    name: String,
    is_own: bool,
}

impl Stage {
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.is_own {
            // What stays behind begins with a dot and is never taken for a snapshot.
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

impl Place {
    /// `s3://bucket/prefix` (address, region and keys come from the usual `AWS_*` variables), `file:///path` or a path.
    ///
    /// # Errors
    /// `Config`: no such kind of place.
    pub fn open(text: &str) -> Result<Self> {
        let shown = redact_url(text);
        let kind = match text.split_once("://") {
            None => PlaceKind::Folder(PathBuf::from(text)),
            Some(("file", path)) => PlaceKind::Folder(PathBuf::from(path)),
            Some(("s3", _)) => PlaceKind::Store(Objects::open(text)?),
            Some((scheme, _)) => {
                return Err(Error::config(format!("{shown}: snapshots go to a folder or to s3://BUCKET/PREFIX, not to {scheme}://")));
            }
        };
        Ok(Self { kind, shown })
    }

    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A folder to make a snapshot in, named by the time.
    ///
    /// # Errors
    /// `Permanent`: it cannot be made.
    pub fn begin(&self, state: &str, now: EventTime) -> Result<Stage> {
        let name = now.to_string().replace(':', "-");
        let parent = match &self.kind {
            PlaceKind::Folder(folder) => folder.join(state),
            PlaceKind::Store(_) => std::env::temp_dir(),
        };
        let folder = parent.join(format!(".partial-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| disk(&folder, error))?;
        Ok(Stage { folder, name, is_own: true })
    }

    /// Makes what was staged a snapshot; returns where it is.
    ///
    /// # Errors
    /// `Permanent`: disk or store do not take it. Nothing is left that would be taken for a snapshot.
    pub fn publish(&self, state: &str, mut stage: Stage, manifest: &Manifest) -> Result<String> {
        let text = serde_json::to_vec_pretty(manifest).map_err(|error| Error::bug("a manifest is no JSON").because(error))?;
        let path = stage.path(MANIFEST);
        std::fs::write(&path, &text).and_then(|()| File::open(&path)?.sync_all()).map_err(|error| disk(&path, error))?;
        match &self.kind {
            PlaceKind::Folder(folder) => {
                let parent = folder.join(state);
                let whole = parent.join(&stage.name);
                let renamed = sync(&stage.folder).and_then(|()| std::fs::rename(&stage.folder, &whole)).and_then(|()| sync(&parent));
                renamed.map_err(|error| disk(&whole, error))?;
                stage.is_own = false;
                Ok(whole.display().to_string())
            }
            PlaceKind::Store(objects) => {
                for part in &manifest.parts {
                    objects.upload(&[state, &stage.name, &part.file], &stage.path(&part.file))?;
                }
                objects.write(&[state, &stage.name, MANIFEST], text)?;
                Ok(format!("{}/{state}/{}", self.shown.trim_end_matches('/'), stage.name))
            }
        }
    }

    /// The snapshots of a state that are whole, oldest first. The place may be one itself.
    ///
    /// # Errors
    /// `Transient`: the store does not answer. `Config`: what is there cannot be read.
    pub fn list(&self, state: &str) -> Result<Vec<Manifest>> {
        let mut found = vec![];
        if let Some(bytes) = self.read(&[MANIFEST])? {
            found.push(Manifest::parse(&bytes, &self.shown)?);
            return Ok(found);
        }
        for name in self.names(state)? {
            if let Some(bytes) = self.read(&[state, &name, MANIFEST])? {
                found.push(Manifest::parse(&bytes, &format!("{}/{state}/{name}", self.shown))?);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn names(&self, state: &str) -> Result<Vec<String>> {
        match &self.kind {
            PlaceKind::Folder(folder) => {
                let Ok(entries) = std::fs::read_dir(folder.join(state)) else { return Ok(vec![]) };
                let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                Ok(names.filter(|name| !name.starts_with('.')).collect())
            }
            PlaceKind::Store(objects) => objects.names(&[state]).map(|[folders, _]| folders),
        }
    }

    fn read(&self, names: &[&str]) -> Result<Option<Vec<u8>>> {
        match &self.kind {
            PlaceKind::Folder(folder) => {
                let path = names.iter().fold(folder.clone(), |path, name| path.join(name));
                match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(disk(&path, error)),
                }
            }
            PlaceKind::Store(objects) => Ok(objects.read(names, MANIFEST_BYTES_MAX)?.map(|(bytes, _)| bytes)),
        }
    }

    /// The files of a snapshot on this machine, each compared with its hash.
    ///
    /// # Errors
    /// `Permanent`: one is missing or damaged. `Transient`: the store does not answer.
    pub fn fetch(&self, state: &str, manifest: &Manifest) -> Result<Stage> {
        let name = &manifest.name;
        let stage = match &self.kind {
            PlaceKind::Folder(folder) if folder.join(MANIFEST).is_file() => {
                Stage { folder: folder.clone(), name: name.clone(), is_own: false }
            }
            PlaceKind::Folder(folder) => Stage { folder: folder.join(state).join(name), name: name.clone(), is_own: false },
            PlaceKind::Store(objects) => {
                let stage = self.begin(state, crate::edge::clock::wall())?;
                let is_one = self.read(&[MANIFEST])?.is_some();
                for part in &manifest.parts {
                    let (of_one, of_several) = ([part.file.as_str()], [state, name, &part.file]);
                    let names: &[&str] = if is_one { &of_one } else { &of_several };
                    objects.download(names, &stage.path(&part.file))?;
                }
                stage
            }
        };
        manifest.parts.iter().try_for_each(|part| super::check(&stage.path(&part.file), &part.blake3))?;
        Ok(stage)
    }
}

fn sync(folder: &std::path::Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
