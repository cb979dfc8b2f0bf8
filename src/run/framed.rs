//! Files as a log: framed into self-contained records, numbered from 0 over all files, stamped with their record time.

use std::io::{self, BufRead, Read};

use bumpalo::Bump;

use crate::codec::frame::{Framed, Framer, Stamper};
use crate::core::types::{EventTime, Offset};
use crate::edge::Records;
use crate::edge::file::{Input, InputFile, Progress};
use crate::error::{Error, Result};
use crate::limits::{BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use crate::run::pipeline::Pipeline;

/// An input's records in order.
pub struct FramedInput {
    input: Input,
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
        Self { input, current: None, live: false, stamper: Stamper::default(), next: Offset(0), arena: Bump::new() }
    }

    /// Appends about `records_max` records; returns how many. 0 only at the end.
    ///
    /// # Errors
    /// `Permanent` where a file breaks off; what was appended stays valid, and the next call goes on with the next file.
    pub fn read(&mut self, pipeline: &Pipeline, out: &mut Records, records_max: usize) -> Result<usize> {
        let before = out.len();
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
                let error =
                    Error::permanent(format!("cannot read {} to its end; is it complete and not damaged?", file.name)).because(error);
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

    /// The first whole lines of the input as they are, which stay in it.
    ///
    /// # Errors
    /// The first file cannot be read.
    pub fn start(&mut self, lines: usize) -> Result<Vec<u8>> {
        let Some(mut file) = self.input.next_file()? else { return Ok(vec![]) };
        let mut start = vec![];
        while memchr::memchr_iter(b'\n', &start).count() < lines && start.len() < RECORD_BYTES_MAX {
            let failed = |error| Error::config(format!("cannot read {}", file.name)).because(error);
            let more = file.reader.fill_buf().map_err(failed)?;
            if more.is_empty() || (file.live && start.contains(&b'\n')) {
                break;
            }
            let used = more.len().min(CHUNK_BYTES);
            start.extend_from_slice(&more[..used]);
            file.reader.consume(used);
        }
        self.live = file.live;
        file.reader = Box::new(io::Cursor::new(start.clone()).chain(file.reader));
        self.current = Some((file, Framer::new()));
        start.truncate(memchr::memrchr(b'\n', &start).unwrap_or(start.len()));
        Ok(start)
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

/// Appends records to a batch, numbered from `next` on.
fn appended(next: &mut Offset, out: &mut Records) -> impl FnMut(Framed<'_>, Option<EventTime>) {
    move |framed, time| {
        out.push_of(*next, time, None, framed.payload, framed.full_bytes);
        *next = next.next();
    }
}

/// Small enough that a batch is never much larger than asked for.
const CHUNK_BYTES: usize = 64 * 1024;
