//! Files as a log: framed into self-contained records, numbered from 0 over all files, stamped with their record time. Several files
//! are read side by side ([`Merged`]).

use std::io::{self, BufRead, Read};

use bumpalo::Bump;

use crate::codec::frame::{Framed, Framer, Stamper};
use crate::core::types::{EventTime, Offset};
use crate::edge::Records;
use crate::edge::file::{Input, InputFile, Progress};
use crate::error::{Error, Result};
use crate::limits::{BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use crate::run::merged::Merged;
use crate::run::pipeline::Pipeline;

/// An input's records in order.
pub struct FramedInput {
    input: Input,
    /// Where there are several files.
    merged: Option<Merged>,
    current: Option<(InputFile, Framer)>,
    /// The file at hand, or the last one, is a live one that was not read to its end.
    live: bool,
    stamper: Stamper,
    next: Offset,
    arena: Bump,
}

impl FramedInput {
    #[must_use]
    pub fn new(input: Input) -> Self {
        let merged = (input.files() > 1).then(Merged::default);
        Self { input, merged, current: None, live: false, stamper: Stamper::default(), next: Offset(0), arena: Bump::new() }
    }

    /// Appends about `records_max` records; returns how many. 0 only at the end.
    ///
    /// # Errors
    /// `Permanent` where a file breaks off; what was appended stays valid, and the next call goes on with the other files.
    pub fn read(&mut self, pipeline: &Pipeline, out: &mut Records, records_max: usize) -> Result<usize> {
        let before = out.len();
        if let Some(merged) = &mut self.merged {
            merged.read(&self.input, pipeline, &mut self.next, out, records_max)?;
            return Ok(out.len() - before);
        }
        while out.len() - before < records_max && out.bytes() < BATCH_BYTES_MAX {
            if self.current.is_none() {
                let Some(file) = self.input.next_file()? else {
                    self.stamper.finish(&mut appended(&mut self.next, out));
                    self.live = false;
                    break;
                };
                self.live = file.live;
                self.current = Some((file, Framer::new()));
            }
            let live = self.step(pipeline, out)?;
            if live && out.len() > before {
                break;
            }
        }
        Ok(out.len() - before)
    }

    /// One buffer of the current file. Returns whether it is a live one that may have no more for now.
    fn step(&mut self, pipeline: &Pipeline, out: &mut Records) -> Result<bool> {
        let Self { current, stamper, next, arena, .. } = self;
        let Some((file, framer)) = current else { return Ok(false) };
        let mut append = appended(next, out);
        let mut take = |framed: Framed<'_>| {
            arena.reset();
            stamper.push(pipeline.codec.as_ref(), &pipeline.sanitizer, framed, arena, &mut append);
        };
        let used = match file.reader.fill_buf() {
            Ok([]) => {
                framer.finish(&mut take);
                *current = None;
                return Ok(false);
            }
            Ok(bytes) => {
                let part = &bytes[..bytes.len().min(CHUNK_BYTES)];
                framer.feed(part, &mut take);
                part.len()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                framer.finish(&mut take);
                let error = file.broken_off(error);
                *current = None;
                return Err(error);
            }
        };
        file.reader.consume(used);
        if file.live {
            stamper.begin(&mut append);
        }
        Ok(file.live)
    }

    /// Files of the input.
    #[must_use]
    pub fn files(&self) -> usize {
        self.input.files()
    }

    /// The first whole lines of one of the files as they are, which stay in it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn start(&mut self, place: usize, lines: usize) -> Result<Vec<u8>> {
        if self.merged.is_some() {
            return Ok(whole_lines(first_bytes(&mut self.input.open(place, false)?, lines)?));
        }
        let Some(mut file) = self.input.next_file()? else { return Ok(vec![]) };
        let start = first_bytes(&mut file, lines)?;
        self.live = file.live;
        file.reader = Box::new(io::Cursor::new(start.clone()).chain(file.reader));
        self.current = Some((file, Framer::new()));
        Ok(whole_lines(start))
    }

    /// Whether a live file is being read and not at its end. It has one after a stop, and everything up to there is to be read: what
    /// was taken from a pipe is nowhere else any more.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    #[must_use]
    pub fn progress(&self) -> Progress {
        self.input.progress()
    }
}

/// The beginning of a file, which is taken out of it.
fn first_bytes(file: &mut InputFile, lines: usize) -> Result<Vec<u8>> {
    let mut start = vec![];
    while memchr::memchr_iter(b'\n', &start).count() < lines && start.len() < RECORD_BYTES_MAX {
        let more = match file.reader.fill_buf() {
            Ok(more) => more,
            Err(error) => return Err(Error::config(format!("cannot read {}", file.name)).because(error)),
        };
        if more.is_empty() || (file.live && start.contains(&b'\n')) {
            break;
        }
        let used = more.len().min(CHUNK_BYTES);
        start.extend_from_slice(&more[..used]);
        file.reader.consume(used);
    }
    Ok(start)
}

fn whole_lines(mut start: Vec<u8>) -> Vec<u8> {
    start.truncate(memchr::memrchr(b'\n', &start).unwrap_or(start.len()));
    start
}

/// Appends records to a batch, numbered from `next` on.
fn appended(next: &mut Offset, out: &mut Records) -> impl FnMut(Framed<'_>, Option<EventTime>) {
    move |framed, time| {
        out.push_of(*next, time, None, framed.payload, framed.full_bytes);
        *next = next.next();
    }
}

/// Small enough that a batch is never much larger than asked for.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
