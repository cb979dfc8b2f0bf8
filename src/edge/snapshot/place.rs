//! Where snapshots lie: a folder, or a store with the S3 protocol. A snapshot appears whole or not at all: in a folder by a rename
//! of what was synchronised before, in a store by its manifest, which goes last.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::runtime::Runtime;

use super::{MANIFEST, Manifest};
use crate::core::types::EventTime;
use crate::edge::secret::redact_url;
use crate::error::{Error, Result};

/// One request up or down; memory does not grow with a snapshot.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A folder or a store, below which each pipeline has a folder of snapshots.
pub struct Place {
    kind: PlaceKind,
    shown: String,
}

enum PlaceKind {
    Folder(PathBuf),
    Store { store: Arc<dyn ObjectStore>, prefix: Key, runtime: Runtime },
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
            Some(("s3", _)) => Self::store(text, &shown)?,
            Some((scheme, _)) => {
                return Err(Error::config(format!("{shown}: snapshots go to a folder or to s3://BUCKET/PREFIX, not to {scheme}://")));
            }
        };
        Ok(Self { kind, shown })
    }

    fn store(url: &str, shown: &str) -> Result<PlaceKind> {
        // Every TLS client of the process uses this one; a second call changes nothing.
        rustls::crypto::ring::default_provider().install_default().ok();
        let wrong = |error: object_store::Error| {
            Error::config(format!(
                "{shown} cannot be used; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT say where and who \
                 (AWS_ALLOW_HTTP=true for an address without TLS)"
            ))
            .because(error)
        };
        let store = AmazonS3Builder::from_env().with_url(url).build().map_err(wrong)?;
        let path = url.trim_start_matches("s3://").split_once('/').map_or("", |(_, path)| path);
        let prefix = Key::parse(path.trim_matches('/')).map_err(|error| Error::config(format!("{shown} is no address")).because(error))?;
        Ok(PlaceKind::Store { store: Arc::new(store), prefix, runtime: runtime()? })
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
            PlaceKind::Store { .. } => std::env::temp_dir(),
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
            PlaceKind::Store { store, prefix, runtime } => {
                let base = Key::from_iter(prefix.parts().chain([state.into(), stage.name.as_str().into()]));
                for part in &manifest.parts {
                    runtime.block_on(upload(store.as_ref(), &base.clone().join(part.file.as_str()), &stage.path(&part.file)))?;
                }
                let put = runtime.block_on(store.put(&base.clone().join(MANIFEST), text.into()));
                put.map_err(|error| away(&self.shown, error))?;
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
            PlaceKind::Store { store, prefix, runtime } => {
                let below = prefix.clone().join(state);
                let list = runtime.block_on(store.list_with_delimiter(Some(&below))).map_err(|error| away(&self.shown, error))?;
                Ok(list.common_prefixes.iter().filter_map(|key| key.filename().map(str::to_owned)).collect())
            }
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
            PlaceKind::Store { store, prefix, runtime } => {
                let key = names.iter().fold(prefix.clone(), |key, name| key.join(*name));
                let got = runtime.block_on(async {
                    let got = store.get(&key).await?;
                    if got.meta.size > MANIFEST_BYTES_MAX {
                        return Ok(Some(vec![]));
                    }
                    Ok(Some(got.bytes().await?.to_vec()))
                });
                match got {
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    other => other.map_err(|error| away(&self.shown, error)),
                }
            }
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
            PlaceKind::Store { store, prefix, runtime } => {
                let stage = self.begin(state, crate::edge::clock::wall())?;
                let is_one = self.read(&[MANIFEST])?.is_some();
                let base = if is_one { prefix.clone() } else { prefix.clone().join(state).join(name.as_str()) };
                for part in &manifest.parts {
                    let (key, path) = (base.clone().join(part.file.as_str()), stage.path(&part.file));
                    runtime.block_on(download(store.as_ref(), &key, &path))?;
                }
                stage
            }
        };
        manifest.parts.iter().try_for_each(|part| super::check(&stage.path(&part.file), &part.blake3))?;
        Ok(stage)
    }
}

fn runtime() -> Result<Runtime> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| Error::transient("cannot start a runtime").because(error))
}

async fn upload(store: &dyn ObjectStore, key: &Key, path: &Path) -> Result<()> {
    let shown = key.to_string();
    let mut file = File::open(path).map_err(|error| disk(path, error))?;
    if file.metadata().is_ok_and(|data| data.len() <= PIECE_BYTES as u64) {
        let bytes = std::fs::read(path).map_err(|error| disk(path, error))?;
        return store.put(key, bytes.into()).await.map(drop).map_err(|error| away(&shown, error));
    }
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(key).await.map_err(|error| away(&shown, error))?, PIECE_BYTES);
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = match std::io::Read::read(&mut file, &mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                upload.abort().await.ok();
                return Err(disk(path, error));
            }
        };
        upload.wait_for_capacity(2).await.map_err(|error| away(&shown, error))?;
        upload.write(&buffer[..read]);
    }
    upload.finish().await.map(drop).map_err(|error| away(&shown, error))
}

async fn download(store: &dyn ObjectStore, key: &Key, path: &Path) -> Result<()> {
    let shown = key.to_string();
    let size = store.head(key).await.map_err(|error| away(&shown, error))?.size;
    let mut file = File::create_new(path).map_err(|error| disk(path, error))?;
    let mut at = 0;
    while at < size {
        let upto = size.min(at + PIECE_BYTES as u64);
        let piece = store.get_range(key, at..upto).await.map_err(|error| away(&shown, error))?;
        std::io::Write::write_all(&mut file, &piece).map_err(|error| disk(path, error))?;
        at = upto;
    }
    Ok(())
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn disk(path: &Path, error: std::io::Error) -> Error {
    let what = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            ": the disk is full; free some space or choose another place"
        }
        _ => "",
    };
    Error::permanent(format!("{}{what}", path.display())).because(error)
}

fn away(shown: &str, error: object_store::Error) -> Error {
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Error::config(format!("{shown}: the object store refuses these keys")).because(error)
        }
        object_store::Error::NotFound { .. } => Error::config(format!("{shown} is not in the object store")).because(error),
        _ => Error::transient(format!("{shown}: the object store did not do it")).because(error),
    }
}
