//! Lines as records: offset is the line's number over all files, from 0. A line past `RECORD_BYTES_MAX` is cut and its true
//! length kept, and it never takes more memory than that.

use std::io;

use super::input::{Input, InputFile, Progress};
use crate::core::types::Offset;
use crate::edge::records::Records;
use crate::error::{Error, Result};
use crate::limits::RECORD_BYTES_MAX;

/// Reads the lines of an [`Input`] into batches.
///
/// A line ends at a line feed, and a carriage return before it is taken off; the last line of a file needs neither. Empty lines are
/// records too. Guarantee: every line is handed over once, in order.
pub struct Lines {
    input: Input,
    current: Option<InputFile>,
    next: Offset,
    /// The start of a line whose end was not read yet, and how long it is so far.
    partial: Vec<u8>,
    partial_len: u64,
}

impl Lines {
    #[must_use]
    pub fn new(input: Input) -> Self {
        Self { input, current: None, next: Offset(0), partial: Vec::new(), partial_len: 0 }
    }

    /// Appends lines until `out` holds `records_max` records or `bytes_max` bytes, or until a live input has no more for now.
    ///
    /// Returns how many were appended; 0 only at the end. `Permanent` when a file breaks off (corrupt or cut compression, a read
    /// error): the message names it, what was appended before stays valid, and the next call goes on with the next file.
    pub fn read(&mut self, out: &mut Records, records_max: usize, bytes_max: usize) -> Result<usize> {
        let before = out.len();
        while out.len() < records_max.max(before + 1) && out.bytes() < bytes_max.max(1) {
            let Some(file) = &mut self.current else {
                match self.input.next_file()? {
                    Some(file) => self.current = Some(file),
                    None => break,
                }
                continue;
            };
            let buffer = match file.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(error)),
            };
            if buffer.is_empty() {
                self.current = None;
                if self.partial_len > 0 {
                    self.end_partial(out);
                }
                continue;
            }
            let (live, room) = (file.live, records_max.max(before + 1) - out.len());
            let used = take_lines(buffer, room, &mut self.next, &mut self.partial, &mut self.partial_len, out);
            let drained = used == buffer.len();
            file.reader.consume(used);
            if live && drained && out.len() > before {
                break;
            }
        }
        Ok(out.len() - before)
    }

    #[must_use]
    pub fn progress(&self) -> Progress {
        self.input.progress()
    }
    /// The file being read, for messages.
    #[must_use]
    pub fn current_name(&self) -> Option<&str> {
        self.current.as_ref().map(|file| file.name.as_str())
    }

    fn end_partial(&mut self, out: &mut Records) {
        push_line(&self.partial, self.partial_len, &mut self.next, out);
        self.partial.clear();
        self.partial_len = 0;
    }

    fn broken(&mut self, error: io::Error) -> Error {
        let name = self.current.take().map_or_else(String::new, |file| file.name);
        self.partial.clear();
        self.partial_len = 0;
        Error::permanent(format!("cannot read {name} to its end; is it complete and not damaged? (line {})", self.next.0)).because(error)
    }
}

/// Takes up to `room` lines from the buffer and returns how many bytes were used.
fn take_lines(buffer: &[u8], room: usize, next: &mut Offset, partial: &mut Vec<u8>, partial_len: &mut u64, out: &mut Records) -> usize {
    let mut used = 0;
    for _ in 0..room {
        let rest = &buffer[used..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            keep(rest, partial, partial_len);
            return buffer.len();
        };
        if *partial_len == 0 {
            push_line(&rest[..end], end as u64, next, out);
        } else {
            keep(&rest[..end], partial, partial_len);
            push_line(partial, *partial_len, next, out);
            partial.clear();
            *partial_len = 0;
        }
        used += end + 1;
    }
    used
}

fn keep(piece: &[u8], partial: &mut Vec<u8>, partial_len: &mut u64) {
    // One byte more than a record may have, so that a carriage return at its very end is seen.
    let room = (RECORD_BYTES_MAX + 1).saturating_sub(partial.len());
    partial.extend_from_slice(&piece[..piece.len().min(room)]);
    *partial_len += piece.len() as u64;
}

fn push_line(line: &[u8], whole_len: u64, next: &mut Offset, out: &mut Records) {
    let is_whole = whole_len == line.len() as u64;
    let (line, whole_len) = match line {
        [line @ .., b'\r'] if is_whole => (line, whole_len - 1),
        _ => (line, whole_len),
    };
    out.push_of(*next, None, None, line, whole_len);
    *next = next.next();
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::edge::file::open_input;

    fn read_all(path: &std::path::Path, records_max: usize) -> Result<Vec<(u64, String, u64)>> {
        let mut lines = Lines::new(open_input(path.to_str().unwrap())?);
        let mut all = Vec::new();
        let mut records = Records::default();
        loop {
            records.clear();
            let read = lines.read(&mut records, records_max, 1 << 20);
            all.extend(records.iter().map(|r| (r.offset.0, String::from_utf8_lossy(r.payload).into_owned(), r.whole_len)));
            if read? == 0 {
                return Ok(all);
            }
        }
    }

    fn check(content: &[u8], expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        let mut two_members = gzip.finish().unwrap();
        two_members.extend(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()).finish().unwrap());
        for (name, bytes) in [("plain", content.to_vec()), ("gzip", two_members), ("zstd", zstd::encode_all(content, 1).unwrap())] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            for records_max in [1, 2, 1000] {
                let expected: Vec<_> = expected.iter().enumerate().map(|(i, l)| (i as u64, (*l).to_owned(), l.len() as u64)).collect();
                assert_eq!(read_all(&path, records_max).unwrap(), expected, "{name}, {records_max} at a time");
            }
        }
    }

    #[test]
    fn lines_are_records_in_every_compression() {
        check(b"", &[]);
        check(b"a", &["a"]);
        check(b"a\n", &["a"]);
        check(b"a\r\n\r\nb\rc\n\n", &["a", "", "b\rc", ""]);
        check(b"\x1f\n\x28/\n", &["\x1f", "(/"]);
    }

    #[test]
    fn a_long_line_is_cut_and_its_length_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let mut content = vec![b'x'; 10 << 20];
        content.extend(b"\nshort\n");
        std::fs::write(&path, &content).unwrap();
        let mut lines = Lines::new(open_input(path.to_str().unwrap()).unwrap());
        let mut records = Records::default();
        assert_eq!(lines.read(&mut records, 10, usize::MAX).unwrap(), 2);
        assert!(lines.partial.capacity() <= 2 * (RECORD_BYTES_MAX + 1), "{}", lines.partial.capacity());
        let long = records.get(0).unwrap();
        assert_eq!((long.payload.len(), long.whole_len, long.is_cut()), (RECORD_BYTES_MAX, 10 << 20, true));
        assert_eq!(records.get(1).unwrap().payload, b"short");
        assert_eq!(lines.progress(), Progress { bytes_read: content.len() as u64, bytes_total: Some(content.len() as u64) });
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_its_paths() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        for (name, content) in [("c.log", "3"), ("a.log", "1\n"), ("b/x", "2"), (".hidden", "no")] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let lines: Vec<_> = read_all(folder.path(), 10).unwrap().into_iter().map(|(at, line, _)| (at, line)).collect();
        assert_eq!(lines, [(0, "1".to_owned()), (1, "2".to_owned()), (2, "3".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&b"line\n".repeat(10_000)).unwrap();
        let gzip = gzip.finish().unwrap();
        std::fs::write(folder.path().join("cut.gz"), &gzip[..gzip.len() / 2]).unwrap();
        std::fs::write(folder.path().join("bad.gz"), [&gzip[..20], &[0xff; 40]].concat()).unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        for (name, text) in [("cut.gz", "complete"), ("bad.gz", "damaged"), ("empty", "no files"), ("missing", "does not exist")] {
            let error = read_all(&folder.path().join(name), 100).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(text), "{error}");
        }
    }
}
