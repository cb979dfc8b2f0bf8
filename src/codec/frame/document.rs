//! Splits JSON that spans lines into one record per element. Only finds where elements end: whether one is valid, its codec says.
//!
//! Strings end with their line at the latest, as JSON demands, so that one broken element does not hide the rest of the file.

use super::{Framed, OVERSIZE_KEPT_BYTES, Sink};

/// Non-blank bytes that decide what encloses the elements.
const PREFIX_BYTES_MAX: usize = 12;
const RECORDS: &[u8; PREFIX_BYTES_MAX] = b"{\"Records\":[";

#[derive(Debug, Default)]
pub struct Document {
    stage: Stage,
    /// Opening bytes without blanks, until they decide.
    prefix: Vec<u8>,
    element: Vec<u8>,
    element_bytes: u64,
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// The brace of `{"Records"` is still open.
    records: bool,
    /// The enclosing array ended on a line before this one.
    line_ended: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Opening,
    /// Between the elements of the enclosing array.
    Between,
    Inside,
    /// A number or a word where an element should be.
    Scalar,
    /// One object that nothing encloses.
    Alone,
    /// Behind the closing bracket, up to the end of its line.
    Closing,
    Finished,
}

/// Whether a line begins JSON that is to be split, or that goes on in the next line.
#[must_use]
pub fn opens(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    match line.split_first() {
        Some((b'[', rest)) => matches!(rest.trim_ascii_start().first(), None | Some(b'{')),
        Some((b'{', rest)) => rest.is_empty() || opens_records(line),
        _ => false,
    }
}

/// Whether a line begins `{"Records": [`.
#[must_use]
pub fn opens_records(line: &[u8]) -> bool {
    let mut expected = RECORDS.iter();
    for byte in line.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        match expected.next() {
            Some(next) if next == byte => {}
            Some(_) => return false,
            None => return true,
        }
    }
    expected.next().is_none()
}

impl Document {
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    /// Takes bytes up to the end of the document and says how many it took.
    pub fn feed(&mut self, bytes: &[u8], sink: Sink<'_>) -> usize {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.line_ended && byte != b'}' && !byte.is_ascii_whitespace() {
                self.stage = Stage::Finished;
            }
            if self.is_finished() {
                return at;
            }
            self.step(byte, sink);
        }
        bytes.len()
    }

    /// The stream ends: an unfinished element becomes a record of its own, and a dead letter by being truncated.
    pub fn finish(&mut self, sink: Sink<'_>) {
        if self.stage == Stage::Opening && !self.prefix.is_empty() {
            let prefix = std::mem::take(&mut self.prefix);
            prefix.iter().for_each(|byte| self.keep(*byte));
        }
        // The end of the last line is not part of what is on it.
        if self.element.len() as u64 == self.element_bytes {
            self.element.truncate(self.element.trim_ascii_end().len());
            self.element_bytes = self.element.len() as u64;
        }
        self.emit(sink);
        self.stage = Stage::Finished;
    }

    fn step(&mut self, byte: u8, sink: Sink<'_>) {
        match self.stage {
            Stage::Opening => self.open(byte, sink),
            Stage::Between => match byte {
                b']' => self.stage = Stage::Closing,
                b',' | b' ' | b'\t' | b'\r' | b'\n' => {}
                b'{' | b'[' => self.begin(Stage::Inside, byte, sink),
                _ => self.begin(Stage::Scalar, byte, sink),
            },
            Stage::Inside | Stage::Alone => self.inside(byte, sink),
            Stage::Scalar => match byte {
                b',' | b']' | b'\n' => {
                    self.emit(sink);
                    self.stage = if byte == b']' { Stage::Closing } else { Stage::Between };
                }
                _ => self.keep(byte),
            },
            Stage::Closing => match byte {
                b'\n' if self.records && self.element.is_empty() => self.line_ended = true,
                b'\n' => {
                    self.emit(sink);
                    self.stage = Stage::Finished;
                }
                b'}' if self.records => (self.records, self.line_ended) = (false, false),
                b' ' | b'\t' | b'\r' if self.element.is_empty() => {}
                // Something follows: a record of its own, so that it shows up as a dead letter.
                _ => self.keep(byte),
            },
            Stage::Finished => {}
        }
    }

    /// Decides by the first bytes what encloses the elements.
    fn open(&mut self, byte: u8, sink: Sink<'_>) {
        let in_name = self.prefix.iter().filter(|byte| **byte == b'"').count() == 1;
        if byte.is_ascii_whitespace() && !in_name {
            return;
        }
        self.prefix.push(byte);
        if self.prefix == b"[" {
            self.stage = Stage::Between;
        } else if self.prefix == RECORDS {
            self.records = true;
            self.stage = Stage::Between;
        } else if !RECORDS.starts_with(&self.prefix) {
            let prefix = std::mem::take(&mut self.prefix);
            self.stage = Stage::Alone;
            prefix.iter().for_each(|byte| self.inside(*byte, sink));
        }
    }

    fn begin(&mut self, stage: Stage, byte: u8, sink: Sink<'_>) {
        self.stage = stage;
        if stage == Stage::Inside { self.inside(byte, sink) } else { self.keep(byte) }
    }

    fn inside(&mut self, byte: u8, sink: Sink<'_>) {
        if self.in_string {
            self.keep(byte);
            self.in_string = self.escaped || !matches!(byte, b'"' | b'\n');
            self.escaped = !self.escaped && byte == b'\\';
            return;
        }
        match byte {
            b'\n' | b'\r' => self.keep(b' '),
            _ => self.keep(byte),
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => return,
        }
        if self.depth == 0 && !self.in_string {
            self.emit(sink);
            self.stage = if self.stage == Stage::Alone { Stage::Closing } else { Stage::Between };
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.element.len() < OVERSIZE_KEPT_BYTES {
            self.element.push(byte);
        }
        self.element_bytes += 1;
    }

    fn emit(&mut self, sink: Sink<'_>) {
        if self.element_bytes > 0 {
            sink(Framed { payload: &self.element, full_bytes: self.element_bytes });
        }
        self.element.clear();
        self.element_bytes = 0;
        self.depth = 0;
        self.in_string = false;
        self.escaped = false;
    }
}
