//! JSON Lines in a folder, one file a role. A line counts as written only when all of it is in the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::edge::{Outgoing, Publisher, Sequence, TopicRole};
use crate::error::{Error, Kind, Result};
use crate::limits::OUTPUT_BYTES_MAX;

const BUFFER_BYTES: usize = 256 * 1024;
const ROLES: usize = TopicRole::ALL.len();
const _: () = assert!(OUTPUT_BYTES_MAX > BUFFER_BYTES, "the buffer's bound is one output more than its size");

/// What happens to a file of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is emptied; one that this run does not write goes, because what it says is of another run than what lies beside it.
    Replace,
    /// New lines follow its last whole one.
    Append,
}

/// An output folder.
///
/// Guarantee: in order per file. What [`Publisher::delivered`] covers is handed to the operating system and survives this process;
/// after [`JsonlSink::sync`] it survives a power cut too. When the disk is full the file is cut back to its last whole line, the
/// rest stays in memory, and writing is tried again with the next call.
pub struct JsonlSink {
    state: Mutex<State>,
}

struct State {
    files: [Option<Output>; ROLES],
    produced: u64,
    failure: Option<(Kind, String)>,
}

struct Output {
    path: PathBuf,
    file: Box<dyn Target>,
    /// Bytes of whole lines in the file.
    len: u64,
    buffer: Vec<u8>,
    /// The first sequence number that is only in the buffer.
    first_unwritten: Option<u64>,
    lines: u64,
    lines_unwritten: u64,
}

/// The part of a file that is needed, so that a test can have a full disk.
trait Target: Write + Send {
    fn cut(&mut self, len: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Target for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        use std::io::Seek;
        self.set_len(len)?;
        self.seek(io::SeekFrom::Start(len)).map(|_| ())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl JsonlSink {
    /// Makes the folder and one file for each of `roles`. `Config` names what cannot be made.
    pub fn create(folder: &Path, roles: &[TopicRole], existing: Existing) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::config(format!("cannot make the folder {}", folder.display())).because(error))?;
        let mut files = [const { None }; ROLES];
        for role in TopicRole::ALL {
            let Some(path) = role.file_name().map(|name| folder.join(name)) else { continue };
            if !roles.contains(&role) {
                if existing == Existing::Replace {
                    remove(&path).map_err(|error| Error::config(format!("cannot remove {}", path.display())).because(error))?;
                }
                continue;
            }
            let (file, len) =
                open(&path, existing).map_err(|error| Error::config(format!("cannot write {}", path.display())).because(error))?;
            files[role as usize] = Some(Output::new(path, Box::new(file), len));
        }
        Ok(Self { state: Mutex::new(State { files, produced: 0, failure: None }) })
    }

    /// Whole lines in the file of this role, by this sink.
    #[must_use]
    pub fn lines_written(&self, role: TopicRole) -> u64 {
        self.lock().files[role as usize].as_ref().map_or(0, |output| output.lines)
    }

    /// Writes what is buffered and has the disk confirm it.
    pub fn sync(&self) -> Result<()> {
        let mut state = self.lock();
        state.write_all()?;
        for output in state.files.iter_mut().flatten() {
            output.file.sync().map_err(|error| output.cannot_write(error))?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes away what an earlier run wrote. A pipe or a folder of that name was made by somebody else.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_file() || found.is_symlink() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Opens for writing after the last line feed, or from the start.
fn open(path: &Path, existing: Existing) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(existing == Existing::Replace).open(path)?;
    let len = whole_lines_len(&mut file)?;
    // A device or pipe has no length to cut to.
    if file.metadata()?.is_file() {
        file.cut(len)?;
    }
    Ok((file, len))
}

/// Length up to and including the last line feed, found from the end.
fn whole_lines_len(file: &mut File) -> io::Result<u64> {
    use std::io::{Read, Seek};
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 64 * 1024];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(io::SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl Publisher for JsonlSink {
    fn publish(&self, record: Outgoing<'_>) -> Result<Sequence> {
        let mut state = self.lock();
        let sequence = state.produced + 1;
        let output = state.files[record.role as usize]
            .as_mut()
            .ok_or_else(|| Error::bug(format!("no file for {} was opened", record.role.as_str())))?;
        if record.payload.len() > OUTPUT_BYTES_MAX || memchr::memchr(b'\n', record.payload).is_some() {
            return Err(Error::bug(format!("a record of {} bytes for {} is not one line", record.payload.len(), output.path.display())));
        }
        if output.buffer.len() >= BUFFER_BYTES
            && let Err(error) = output.write()
        {
            return Err(state.fail(error));
        }
        output.buffer.extend_from_slice(record.payload);
        output.buffer.push(b'\n');
        output.lines_unwritten += 1;
        output.first_unwritten.get_or_insert(sequence);
        state.produced = sequence;
        Ok(Sequence(sequence))
    }

    fn produced(&self) -> Sequence {
        Sequence(self.lock().produced)
    }

    fn delivered(&self) -> Sequence {
        let state = self.lock();
        let first = state.files.iter().flatten().filter_map(|output| output.first_unwritten).min();
        Sequence(first.map_or(state.produced, |first| first - 1))
    }

    fn failure(&self) -> Option<Error> {
        self.lock().failure.clone().map(|(kind, text)| Error::new(kind, text))
    }

    /// Hands everything to the operating system; a file does not wait for a deadline.
    fn flush(&self, _deadline: Duration) -> Result<()> {
        self.lock().write_all()
    }
}

impl State {
    fn write_all(&mut self) -> Result<()> {
        for index in 0..ROLES {
            if let Some(output) = &mut self.files[index]
                && let Err(error) = output.write()
            {
                return Err(self.fail(error));
            }
        }
        self.failure = None;
        Ok(())
    }
    fn fail(&mut self, error: Error) -> Error {
        self.failure = Some((error.kind, error.to_string()));
        error
    }
}

impl Output {
    fn new(path: PathBuf, file: Box<dyn Target>, len: u64) -> Self {
        Self { path, file, len, buffer: Vec::with_capacity(BUFFER_BYTES), first_unwritten: None, lines: 0, lines_unwritten: 0 }
    }

    fn write(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Nothing half-written stays behind. Should even that fail, the next attempt cuts again before it writes.
            let cut = self.file.cut(self.len);
            let error = self.cannot_write(error);
            return Err(if cut.is_err() { Error::permanent(format!("{error}; its last line may be incomplete")) } else { error });
        }
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        self.lines += self.lines_unwritten;
        self.lines_unwritten = 0;
        self.first_unwritten = None;
        Ok(())
    }

    fn cannot_write(&self, error: io::Error) -> Error {
        let path = self.path.display();
        let lines = self.lines_unwritten;
        let text = match error.kind() {
            io::ErrorKind::StorageFull => format!("the disk is full: {lines} lines of {path} are not written"),
            _ => format!("cannot write {path}: {lines} lines of it are not written"),
        };
        Error::permanent(text).because(error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn line(text: &str) -> Outgoing<'_> {
        Outgoing { role: TopicRole::Threats, partition: None, key: None, payload: text.as_bytes(), time: None }
    }
    const NOW: Duration = Duration::ZERO;

    #[test]
    fn lines_are_delivered_when_they_are_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("deep/out");
        let path = out.join("threats.jsonl");
        let sink = JsonlSink::create(&out, &TopicRole::ALL, Existing::Replace).unwrap();
        assert_eq!(sink.publish(line("{\"a\":1}")).unwrap(), Sequence(1));
        assert_eq!(sink.publish(Outgoing { role: TopicRole::Alerts, ..line("{}") }).unwrap(), Sequence(2));
        assert_eq!((sink.produced(), sink.delivered()), (Sequence(2), Sequence(0)));
        sink.flush(NOW).unwrap();
        sink.sync().unwrap();
        assert_eq!((sink.delivered(), sink.lines_written(TopicRole::Threats)), (Sequence(2), 1));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n");
        assert_eq!(sink.publish(line("two\nlines")).unwrap_err().kind, Kind::Bug);

        std::fs::write(&path, "{\"a\":1}\n{\"cut").unwrap();
        let sink = JsonlSink::create(&out, &[TopicRole::Threats], Existing::Append).unwrap();
        sink.publish(line("{\"b\":2}")).unwrap();
        sink.flush(NOW).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"b\":2}\n");
        JsonlSink::create(&out, &[TopicRole::Threats], Existing::Replace).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn what_an_earlier_run_wrote_and_this_one_does_not_goes() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        JsonlSink::create(out, &TopicRole::ALL, Existing::Replace).unwrap();
        std::fs::write(out.join("verdicts.jsonl"), "{}\n").unwrap();
        std::fs::write(out.join("notes.jsonl"), "{}\n").unwrap();
        std::fs::remove_file(out.join("alerts.jsonl")).unwrap();
        std::fs::create_dir(out.join("alerts.jsonl")).unwrap();
        let files = || {
            let mut names: Vec<String> =
                std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names.join(" ")
        };
        let roles = [TopicRole::Threats, TopicRole::Analytics];
        JsonlSink::create(out, &roles, Existing::Append).unwrap();
        assert_eq!(files(), "alerts.jsonl analytics.jsonl dead-letters.jsonl notes.jsonl threats.jsonl verdicts.jsonl");
        JsonlSink::create(out, &roles, Existing::Replace).unwrap();
        assert_eq!(files(), "alerts.jsonl analytics.jsonl notes.jsonl threats.jsonl", "what is not ours stays");
        #[cfg(unix)]
        {
            let kept = folder.path().join("kept");
            std::fs::write(&kept, "{}\n").unwrap();
            std::os::unix::fs::symlink(&kept, out.join("verdicts.jsonl")).unwrap();
            JsonlSink::create(out, &roles, Existing::Replace).unwrap();
            assert!(kept.exists() && !out.join("verdicts.jsonl").exists(), "the link goes and not what it points to");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = JsonlSink::create(&folder.path().join("file/out"), &TopicRole::ALL, Existing::Replace).err().unwrap();
        assert!(error.kind == Kind::Config && error.to_string().contains("file/out"), "{error}");
    }

    /// A disk with room for a few bytes.
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let room = disk.1 - disk.0.len();
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = buffer.len().min(room);
            disk.0.extend_from_slice(&buffer[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target for Disk {
        fn cut(&mut self, len: u64) -> io::Result<()> {
            self.0.lock().unwrap().0.truncate(len as usize);
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_leaves_whole_lines_and_loses_nothing() {
        let disk = Arc::new(Mutex::new((Vec::new(), 10)));
        let mut files = [const { None }; ROLES];
        files[TopicRole::Threats as usize] = Some(Output::new("out/threats.jsonl".into(), Box::new(Disk(disk.clone())), 0));
        let sink = JsonlSink { state: Mutex::new(State { files, produced: 0, failure: None }) };
        sink.publish(line("first")).unwrap();
        sink.flush(NOW).unwrap();
        sink.publish(line("second")).unwrap();
        let error = sink.flush(NOW).unwrap_err();
        assert!(error.kind == Kind::Permanent && error.to_string().contains("the disk is full: 1 lines of out/threats.jsonl"), "{error}");
        assert_eq!(disk.lock().unwrap().0, b"first\n");
        assert_eq!((sink.delivered(), sink.lines_written(TopicRole::Threats)), (Sequence(1), 1));
        assert!(sink.failure().is_some());
        disk.lock().unwrap().1 = 100;
        sink.flush(NOW).unwrap();
        assert_eq!((sink.delivered(), disk.lock().unwrap().0.as_slice()), (Sequence(2), &b"first\nsecond\n"[..]));
        assert!(sink.failure().is_none());
    }
}
