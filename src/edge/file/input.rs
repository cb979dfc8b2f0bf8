//! Opens what a path names and decompresses it by its first bytes, never by its name.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::live::Live;
use crate::error::{Error, Result};

const BUFFER_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The files that a path names, opened one after another.
pub struct Input {
    rest: VecDeque<Source>,
    bytes_total: Option<u64>,
    bytes_read: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Source {
    Path(PathBuf),
    Stdin,
}

/// One opened file: its decompressed bytes.
pub struct InputFile {
    /// The path, or `standard input`.
    pub name: String,
    /// Whether more may arrive later (standard input): readers hand on what is there instead of waiting for more.
    pub live: bool,
    pub reader: Box<dyn BufRead + Send>,
}

impl InputFile {
    /// The error for a file whose end cannot be reached.
    #[must_use]
    pub fn broken_off(&self, error: io::Error) -> Error {
        Error::permanent(format!("cannot read {} to its end; is it complete and not damaged?", self.name)).because(error)
    }
}

/// How far reading has come, in bytes of the files themselves (compressed ones count compressed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub bytes_read: u64,
    /// Not known for standard input.
    pub bytes_total: Option<u64>,
}

/// Opens a file, a folder or `-` for standard input.
///
/// A folder is read with its sub-folders, files in the byte order of their paths; names that start with a dot are left out, and
/// linked folders are not followed. `Config` names what is missing, unreadable or empty.
pub fn open_input(path: &str) -> Result<Input> {
    open_input_until(path, Arc::default())
}

/// [`open_input`] of which a live one (standard input, a pipe, a device) is at its end once `stop` is set: nobody waits for a
/// writer that may never write again.
pub fn open_input_until(path: &str, stop: Arc<AtomicBool>) -> Result<Input> {
    let bytes_read = Arc::default();
    if path == "-" {
        return Ok(Input { rest: [Source::Stdin].into(), bytes_total: None, bytes_read, stop });
    }
    let start = Path::new(path);
    let metadata = std::fs::metadata(start).map_err(|error| cannot_read(start, error))?;
    let mut files = Vec::new();
    if metadata.is_dir() {
        collect(start, &mut files)?;
        files.sort_by(|a, b| a.0.as_os_str().cmp(b.0.as_os_str()));
        if files.is_empty() {
            return Err(Error::config(format!("the folder {path} has no files to read")));
        }
    } else {
        // Fails now rather than after the pipeline has started. A pipe would wait here for its writer.
        if metadata.is_file() {
            File::open(start).map_err(|error| cannot_read(start, error))?;
        }
        files.push((start.to_owned(), metadata.len()));
    }
    // A pipe or a device has no length to measure progress by.
    let bytes_total = (metadata.is_dir() || metadata.is_file()).then(|| files.iter().map(|(_, len)| len).sum());
    Ok(Input { rest: files.into_iter().map(|(path, _)| Source::Path(path)).collect(), bytes_total, bytes_read, stop })
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|error| cannot_read(folder, error))? {
        let entry = entry.map_err(|error| cannot_read(folder, error))?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(|error| cannot_read(&path, error))?;
        if kind.is_dir() {
            collect(&path, files)?;
            continue;
        }
        let metadata = std::fs::metadata(&path).map_err(|error| cannot_read(&path, error))?;
        if metadata.is_file() {
            files.push((path, metadata.len()));
        }
    }
    Ok(())
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "it does not exist",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => return Error::config(format!("cannot read {}", path.display())).because(error),
    };
    Error::config(format!("cannot read {}: {why}", path.display()))
}

impl Input {
    /// Opens the next file; `None` after the last.
    pub fn next_file(&mut self) -> Result<Option<InputFile>> {
        self.rest.pop_front().map(|source| self.opened(&source, &self.bytes_read)).transpose()
    }

    /// Files that `next_file` has not opened.
    #[must_use]
    pub fn files(&self) -> usize {
        self.rest.len()
    }

    /// Opens the file at this place among those, which stays among them. Only what is counted is progress.
    pub fn open(&self, place: usize, is_counted: bool) -> Result<InputFile> {
        let source = self.rest.get(place).ok_or_else(|| Error::bug(format!("there is no file {place}")))?;
        let (counted, uncounted) = (&self.bytes_read, &Arc::default());
        self.opened(source, if is_counted { counted } else { uncounted })
    }

    fn opened(&self, source: &Source, count: &Arc<AtomicU64>) -> Result<InputFile> {
        let (name, live, reader): (_, _, Box<dyn Read + Send>) = match source.clone() {
            Source::Stdin => {
                let name = "standard input".to_owned();
                let live = Live::start(&name, Arc::clone(&self.stop), || Ok(io::stdin()))?;
                (name, true, Box::new(live))
            }
            Source::Path(path) if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) => {
                let name = path.display().to_string();
                let live = Live::start(&name, Arc::clone(&self.stop), move || File::open(path))?;
                (name, true, Box::new(live))
            }
            Source::Path(path) => {
                let file = File::open(&path).map_err(|error| cannot_read(&path, error))?;
                (path.display().to_string(), false, Box::new(file))
            }
        };
        let counted = Counted { inner: reader, count: count.clone() };
        let reader = decompress(counted).map_err(|error| Error::config(format!("cannot read {name}")).because(error))?;
        Ok(InputFile { name, live, reader })
    }

    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { bytes_read: self.bytes_read.load(Ordering::Relaxed), bytes_total: self.bytes_total }
    }
}

fn decompress(mut counted: Counted) -> io::Result<Box<dyn BufRead + Send>> {
    // A pipe may give the first bytes one by one.
    let mut start = Vec::with_capacity(ZSTD_MAGIC.len());
    while start.len() < ZSTD_MAGIC.len() && !differs(&start) {
        let mut byte = [0; 1];
        match counted.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => start.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let gzip = start.starts_with(&GZIP_MAGIC);
    let zstd = start.starts_with(&ZSTD_MAGIC);
    let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(counted));
    Ok(if gzip {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::bufread::MultiGzDecoder::new(whole)))
    } else if zstd {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::stream::read::Decoder::with_buffer(whole)?))
    } else {
        Box::new(whole)
    })
}

/// Whether these first bytes already rule out both formats, so that a live input is not asked for more.
fn differs(start: &[u8]) -> bool {
    !GZIP_MAGIC.starts_with(&start[..start.len().min(GZIP_MAGIC.len())]) && !ZSTD_MAGIC.starts_with(start)
}

struct Counted {
    inner: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
