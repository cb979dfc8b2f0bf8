//! Objects below a prefix of a store with the S3 protocol: read and written whole, listed, changed only where nobody else did
//! meanwhile. Address, region and keys come from the usual `AWS_*` variables and are never shown.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, UpdateVersion, WriteMultipart};
use tokio::runtime::Runtime;

use super::secret::redact_url;
use crate::error::{Error, Result};

/// One request up or down; memory does not grow with a file.
const PIECE_BYTES: usize = 8 * 1024 * 1024;

/// A store, from a prefix on.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    /// Asks one thing at a time, from whichever thread.
    runtime: Arc<Runtime>,
    shown: String,
}

/// Whether a place is one of a store, and no folder.
#[must_use]
pub fn is_store(text: &str) -> bool {
    text.starts_with("s3://")
}

impl Objects {
    /// `s3://bucket/prefix`.
    ///
    /// # Errors
    /// `Config`: it is no such address, or nothing says where and who.
    pub fn open(url: &str) -> Result<Self> {
        let shown = redact_url(url);
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
        Self::of(Arc::new(store), path, shown)
    }

    fn of(store: Arc<dyn ObjectStore>, path: &str, shown: String) -> Result<Self> {
        let prefix = Key::parse(path.trim_matches('/')).map_err(|error| Error::config(format!("{shown} is no address")).because(error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Arc::new(runtime.map_err(|error| Error::transient("cannot start a runtime").because(error))?);
        Ok(Self { store, prefix, runtime, shown })
    }

    /// In this process, for tests.
    #[cfg(test)]
    pub fn in_memory() -> Result<Self> {
        Self::of(Arc::new(object_store::memory::InMemory::new()), "models", "memory".to_owned())
    }

    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn key(&self, names: &[&str]) -> Key {
        names.iter().fold(self.prefix.clone(), |key, name| key.join(*name))
    }

    fn away(&self, error: object_store::Error) -> Error {
        away(&self.shown, error)
    }

    /// An object of at most so many bytes, and what its version is called; none where there is none.
    ///
    /// # Errors
    /// `Transient`: the store does not answer. `Config`: it refuses, or the object is larger.
    pub fn read(&self, names: &[&str], bytes_max: u64) -> Result<Option<(Vec<u8>, UpdateVersion)>> {
        let key = self.key(names);
        let got = self.runtime.block_on(async {
            let got = self.store.get(&key).await?;
            let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
            let size = got.meta.size;
            let bytes = if size > bytes_max { vec![] } else { got.bytes().await?.to_vec() };
            Ok((size, bytes, version))
        });
        match got {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.away(error)),
            Ok((size, ..)) if size > bytes_max => {
                Err(Error::config(format!("{}: {key} has {size} bytes, at most {bytes_max} were expected", self.shown)))
            }
            Ok((_, bytes, version)) => Ok(Some((bytes, version))),
        }
    }

    /// # Errors
    /// `Transient`: the store does not do it. `Config`: it refuses.
    pub fn write(&self, names: &[&str], bytes: Vec<u8>) -> Result<()> {
        let put = self.runtime.block_on(self.store.put(&self.key(names), bytes.into()));
        put.map(drop).map_err(|error| self.away(error))
    }

    /// Writes an object that is as it was read: `before` is its version, or that there was none. False: somebody else has changed it.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn write_if(&self, names: &[&str], bytes: Vec<u8>, before: Option<UpdateVersion>) -> Result<bool> {
        let mode = before.map_or(PutMode::Create, PutMode::Update);
        match self.runtime.block_on(self.store.put_opts(&self.key(names), bytes.into(), mode.into())) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error @ object_store::Error::NotImplemented { .. }) => Err(Error::config(format!(
                "{}: this store cannot change an object only where nobody else did; use one with conditional writes, or a folder",
                self.shown
            ))
            .because(error)),
            Err(error) => Err(self.away(error)),
        }
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn remove(&self, names: &[&str]) -> Result<()> {
        match self.runtime.block_on(self.store.delete(&self.key(names))) {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.away(error)),
        }
    }

    /// Names of what lies directly below: folders, then objects.
    ///
    /// # Errors
    /// `Transient`: the store does not answer. `Config`: it refuses.
    pub fn names(&self, below: &[&str]) -> Result<[Vec<String>; 2]> {
        let list = self.runtime.block_on(self.store.list_with_delimiter(Some(&self.key(below)))).map_err(|error| self.away(error))?;
        let name = |key: &Key| key.filename().map(str::to_owned);
        let folders = list.common_prefixes.iter().filter_map(name).collect();
        Ok([folders, list.objects.iter().filter_map(|object| name(&object.location)).collect()])
    }

    /// Sends a file, in pieces where it is large.
    ///
    /// # Errors
    /// `Permanent`: the file cannot be read. Else as for [`Self::write`].
    pub fn upload(&self, names: &[&str], path: &Path) -> Result<()> {
        self.runtime.block_on(upload(self.store.as_ref(), &self.key(names), path))
    }

    /// Fetches an object into a file that is not there yet.
    ///
    /// # Errors
    /// `Permanent`: the file cannot be written. Else as for [`Self::read`].
    pub fn download(&self, names: &[&str], path: &Path) -> Result<()> {
        self.runtime.block_on(download(self.store.as_ref(), &self.key(names), path))
    }
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

/// An error of a local file.
pub(super) fn disk(path: &Path, error: std::io::Error) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_as_written_listed_and_changed_by_one_at_a_time() {
        let objects = Objects::in_memory().unwrap();
        assert!(objects.read(&["a", "b"], 9).unwrap().is_none());
        assert!(objects.write_if(&["a", "b"], b"1".to_vec(), None).unwrap());
        assert!(!objects.write_if(&["a", "b"], b"2".to_vec(), None).unwrap(), "it is there");
        let (bytes, version) = objects.read(&["a", "b"], 9).unwrap().unwrap();
        assert_eq!(bytes, b"1");
        assert!(objects.write_if(&["a", "b"], b"2".to_vec(), Some(version.clone())).unwrap());
        assert!(!objects.write_if(&["a", "b"], b"3".to_vec(), Some(version)).unwrap(), "it has changed");
        objects.write(&["a", "c", "d"], b"4".to_vec()).unwrap();
        assert_eq!(objects.names(&["a"]).unwrap(), [["c".to_owned()], ["b".to_owned()]]);
        assert!(objects.read(&["a", "b"], 0).unwrap_err().to_string().contains("at most 0 were expected"));
        objects.remove(&["a", "b"]).unwrap();
        objects.remove(&["a", "b"]).unwrap();
        assert!(objects.read(&["a", "b"], 9).unwrap().is_none());
    }

    #[test]
    fn large_files_go_up_and_down_in_pieces() {
        let (objects, folder) = (Objects::in_memory().unwrap(), tempfile::tempdir().unwrap());
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        for size in [0, 10, PIECE_BYTES + 7] {
            let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
            std::fs::write(&from, &bytes).unwrap();
            objects.upload(&["x"], &from).unwrap();
            objects.download(&["x"], &to).unwrap();
            assert!(std::fs::read(&to).unwrap() == bytes, "{size}");
            std::fs::remove_file(&to).unwrap();
        }
        assert!(objects.download(&["absent"], &to).unwrap_err().to_string().contains("is not in the object store"));
    }

    #[test]
    fn addresses_show_no_password() {
        let shown = Objects::open("s3://user:secret@bucket/models").map_or_else(|error| error.to_string(), |objects| objects.shown);
        assert!(!shown.contains("secret"), "{shown}");
        assert!(is_store("s3://bucket/models") && !is_store("/s3/models"));
    }
}
