//! The framer: from the bytes of a file or stream to self-contained records. Never decodes a record, never holds more than one.
//!
//! - A line is a record and passes through as it is. White-space lines are not events and consume no record number, wherever they are.
//! - Zeek's header lines (`#fields` and its like) consume none either; rows under them become JSON rows ([`zeek_tsv`]).
//! - JSON that spans lines becomes one record per element: a stream that begins with an array of objects, with a lone `{`, or with
//!   `{"Records": [` ([`document`]). Later in a stream only a whole `{"Records": [...]}` line is split: a broken line must not
//!   take the lines after it along.
//! - A record over [`RECORD_BYTES_MAX`] is kept up to [`OVERSIZE_KEPT_BYTES`], by which the decoder knows and refuses it.
//!
//! Files and `replay` use the same framer, so both put the same records into the log. [`Stamper`] gives each its record time.

pub mod document;
mod stamp;
#[cfg(test)]
mod tests;
pub mod zeek_tsv;

pub use stamp::Stamper;

use document::Document;
use zeek_tsv::{Header, Line};

use crate::limits::RECORD_BYTES_MAX;

/// What is kept of an oversized record: one byte more than allowed, so that it can be told from one that just fits.
pub const OVERSIZE_KEPT_BYTES: usize = RECORD_BYTES_MAX + 1;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    /// At most [`OVERSIZE_KEPT_BYTES`] of it.
    pub payload: &'a [u8],
    /// Its true length.
    pub full_bytes: u64,
}

/// Receives the records of a framer, in order.
pub type Sink<'s> = &'s mut dyn FnMut(Framed<'_>);

/// State of one stream. A new file is a new framer.
#[derive(Debug, Default)]
pub struct Framer {
    /// The beginning of a line whose end has not been read yet.
    pending: Vec<u8>,
    pending_bytes: u64,
    document: Option<Document>,
    header: Option<Header>,
    /// Something other than white space and documents has been read.
    plain: bool,
    started: bool,
    scratch: Vec<u8>,
}

impl Framer {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream, cut anywhere.
    pub fn feed(&mut self, mut chunk: &[u8], sink: Sink<'_>) {
        while !chunk.is_empty() {
            if let Some(document) = &mut self.document {
                let used = document.feed(chunk, sink);
                chunk = &chunk[used..];
                self.drop_finished_document();
                continue;
            }
            let end = memchr::memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            chunk = &chunk[end.map_or(chunk.len(), |at| at + 1)..];
            if self.pending_bytes == 0 && end.is_some() {
                self.line(part, part.len() as u64, sink);
                continue;
            }
            self.hold(part);
            if end.is_some() {
                self.end_held_line(sink);
            } else if self.pending.len() == OVERSIZE_KEPT_BYTES && document::opens(&self.pending) {
                self.open_oversized_document(part, sink);
            }
        }
    }

    /// Ends the stream: what is pending becomes a record, be it complete or not.
    pub fn finish(&mut self, sink: Sink<'_>) {
        if self.pending_bytes > 0 {
            self.end_held_line(sink);
        }
        if let Some(mut document) = self.document.take() {
            document.finish(sink);
        }
    }

    /// Takes one line without its line feed, for callers who split lines themselves. `line` may be cut at any length of at least
    /// [`OVERSIZE_KEPT_BYTES`]; `full_bytes` is its true length. Not to be mixed with [`Framer::feed`] inside a line.
    pub fn line(&mut self, line: &[u8], full_bytes: u64, sink: Sink<'_>) {
        if let Some(document) = &mut self.document {
            let used = document.feed(line, sink);
            if !document.is_finished() {
                document.feed(b"\n", sink);
                self.drop_finished_document();
                return;
            }
            // It had ended before this line; the line counts for itself.
            self.document = None;
            return self.line(&line[used..], full_bytes - used as u64, sink);
        }
        let line = self.without_byte_order_mark(line);
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match text[0] {
            b'#' if Header::read(&mut self.header, text) => {}
            b'[' | b'{' | b' ' | b'\t' if document::opens(text) && self.may_split(text) => self.split(text, sink),
            _ => self.record(text, full_bytes - (line.len() - text.len()) as u64, sink),
        }
    }

    /// A line that is not part of a JSON document.
    fn record(&mut self, text: &[u8], full_bytes: u64, sink: Sink<'_>) {
        self.plain = true;
        if full_bytes <= RECORD_BYTES_MAX as u64
            && let Some(header) = &self.header
            && header.row(text, &mut self.scratch) == Line::Row
        {
            sink(framed(&self.scratch, self.scratch.len() as u64));
            return;
        }
        sink(framed(text, full_bytes));
    }

    fn split(&mut self, text: &[u8], sink: Sink<'_>) {
        let mut document = Document::default();
        document.feed(text, sink);
        document.feed(b"\n", sink);
        if !document.is_finished() && self.plain {
            document.finish(sink);
        }
        self.document = Some(document);
        self.drop_finished_document();
    }

    /// Whether a line that opens a document may take the following lines with it, or needs none of them.
    fn may_split(&self, text: &[u8]) -> bool {
        !self.plain || (document::opens_records(text) && text.trim_ascii_end().ends_with(b"]}"))
    }

    /// A document on one line longer than a record: its elements are records as soon as they are complete.
    fn open_oversized_document(&mut self, last: &[u8], sink: Sink<'_>) {
        let mut document = Document::default();
        // The held bytes end inside `last` where the line was cut for size.
        let cut = (self.pending_bytes - self.pending.len() as u64) as usize;
        document.feed(&self.pending, sink);
        document.feed(&last[last.len() - cut..], sink);
        self.pending.clear();
        self.pending_bytes = 0;
        self.document = Some(document);
        self.drop_finished_document();
    }

    fn hold(&mut self, part: &[u8]) {
        let room = OVERSIZE_KEPT_BYTES - self.pending.len();
        self.pending.extend_from_slice(&part[..part.len().min(room)]);
        self.pending_bytes += part.len() as u64;
    }

    fn end_held_line(&mut self, sink: Sink<'_>) {
        let held = std::mem::take(&mut self.pending);
        let bytes = std::mem::take(&mut self.pending_bytes);
        self.line(&held, bytes, sink);
        self.pending = held;
        self.pending.clear();
    }

    fn drop_finished_document(&mut self) {
        if self.document.as_ref().is_some_and(Document::is_finished) {
            self.document = None;
        }
    }

    /// Editors put U+FEFF at the start of a file; it is not part of its first line.
    fn without_byte_order_mark<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let first = !std::mem::replace(&mut self.started, true);
        if first { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line }
    }
}

fn framed(payload: &[u8], full_bytes: u64) -> Framed<'_> {
    Framed { payload: &payload[..payload.len().min(OVERSIZE_KEPT_BYTES)], full_bytes }
}
