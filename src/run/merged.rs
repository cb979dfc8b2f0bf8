//! Several files as one log: each file in its own order, all of them by time, as one place would have received them while they were
//! written. Read one after another, the DNS log of a day would be a day late behind its connection log.
//!
//! A file's place in time is a clock that only goes forward: Zeek writes a connection when it ends and dates it by its beginning, and
//! such a line must not be waited for. A single line dated ahead does not move the clock; those behind it have to agree.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufRead};

use bumpalo::Bump;

use crate::codec::frame::{Framed, Framer, Stamper};
use crate::core::types::{EventTime, Offset};
use crate::edge::Records;
use crate::edge::file::{Input, InputFile};
use crate::error::{Error, Result};
use crate::limits::{BATCH_BYTES_MAX, FILES_OPEN_MAX};
use crate::run::framed::CHUNK_BYTES;
use crate::run::pipeline::Pipeline;

/// So many records say where a file is in time.
const AHEAD: usize = 4;

/// Where a file is in time, then its place among the files. What has no time goes first.
type Key = (Option<i64>, usize);

/// Files that are read side by side.
#[derive(Default)]
pub struct Merged {
    /// Whether every file's beginning has been looked at.
    known: bool,
    /// Files whose time has not come, the first one last.
    waiting: Vec<Key>,
    turns: BinaryHeap<Reverse<Key>>,
    open: BTreeMap<usize, Source>,
}

/// One open file, some records ahead.
struct Source {
    file: InputFile,
    framer: Framer,
    stamper: Stamper,
    ready: Records,
    taken: usize,
    ended: bool,
    failure: Option<Error>,
    clock: Option<i64>,
}

impl Merged {
    /// Appends about `records_max` records, numbered from `next` on. None only at the end.
    ///
    /// # Errors
    /// `Permanent` where a file breaks off; the next call goes on with the others.
    pub fn read(&mut self, input: &Input, pipeline: &Pipeline, next: &mut Offset, out: &mut Records, records_max: usize) -> Result<()> {
        let mut arena = Bump::new();
        if !std::mem::replace(&mut self.known, true) {
            self.waiting = (0..input.files()).map(|place| (beginning(input, place, pipeline, &mut arena), place)).collect();
            self.waiting.sort_unstable_by(|a, b| b.cmp(a));
        }
        let before = out.len();
        let is_full = |out: &Records| out.len() - before >= records_max || out.bytes() >= BATCH_BYTES_MAX;
        while !is_full(out) {
            self.wake(input, pipeline, &mut arena)?;
            let Some(Reverse((_, place))) = self.turns.pop() else { break };
            let Some(source) = self.open.get_mut(&place) else { continue };
            let other = self.turns.peek().map(|Reverse(key)| *key);
            // One that waits for room is as far as it can be.
            let asleep = self.waiting.last().copied().filter(|_| self.turns.len() + 1 < FILES_OPEN_MAX);
            let limit = [other, asleep].into_iter().flatten().min();
            while source.take(next, out) {
                source.fill(pipeline, &mut arena);
                if is_full(out) || limit.is_some_and(|limit| (source.key(), place) > limit) {
                    break;
                }
            }
            if source.is_at_end() {
                if let Some(failure) = self.open.remove(&place).and_then(|source| source.failure) {
                    return Err(failure);
                }
            } else {
                self.turns.push(Reverse((source.key(), place)));
            }
        }
        Ok(())
    }

    /// Opens the files whose time has come.
    fn wake(&mut self, input: &Input, pipeline: &Pipeline, arena: &mut Bump) -> Result<()> {
        while let Some(key) = self.waiting.last().copied()
            && self.turns.len() < FILES_OPEN_MAX
            && self.turns.peek().is_none_or(|Reverse(first)| key < *first)
        {
            self.waiting.pop();
            let mut source = Source::new(input.open(key.1, true)?);
            source.fill(pipeline, arena);
            self.turns.push(Reverse((source.key(), key.1)));
            self.open.insert(key.1, source);
        }
        Ok(())
    }
}

/// Where a file begins in time. One that cannot be read says so when its turn comes.
fn beginning(input: &Input, place: usize, pipeline: &Pipeline, arena: &mut Bump) -> Option<i64> {
    let mut source = Source::new(input.open(place, false).ok()?);
    source.fill(pipeline, arena);
    source.key()
}

impl Source {
    fn new(file: InputFile) -> Self {
        let (framer, stamper, ready) = (Framer::new(), Stamper::default(), Records::default());
        Self { file, framer, stamper, ready, taken: 0, ended: false, failure: None, clock: None }
    }

    /// Reads until enough is there to tell the time by, or the file has ended.
    fn fill(&mut self, pipeline: &Pipeline, arena: &mut Bump) {
        while self.ready.len() - self.taken < AHEAD && !self.ended {
            let mut rest = Records::default();
            self.ready.iter().skip(self.taken).for_each(|r| rest.push_of(r.offset, r.time, r.key, r.payload, r.whole_len));
            (self.ready, self.taken) = (rest, 0);
            self.step(pipeline, arena);
        }
    }

    /// One buffer of the file.
    fn step(&mut self, pipeline: &Pipeline, arena: &mut Bump) {
        let Self { file, framer, stamper, ready, ended, failure, .. } = self;
        let mut keep = |framed: Framed<'_>, time: Option<EventTime>| {
            ready.push_of(Offset(0), time, None, framed.payload, framed.full_bytes);
        };
        let mut take = |framed: Framed<'_>| {
            arena.reset();
            stamper.push(pipeline.codec.as_ref(), &pipeline.sanitizer, framed, arena, &mut keep);
        };
        let used = match file.reader.fill_buf() {
            Ok([]) => {
                *ended = true;
                0
            }
            Ok(bytes) => {
                let part = &bytes[..bytes.len().min(CHUNK_BYTES)];
                framer.feed(part, &mut take);
                part.len()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                *failure = Some(file.broken_off(error));
                *ended = true;
                0
            }
        };
        file.reader.consume(used);
        if *ended {
            framer.finish(&mut take);
            stamper.finish(&mut keep);
        }
    }

    /// The time that the next records agree upon, never behind that of those before.
    fn key(&self) -> Option<i64> {
        let ahead = (self.taken..self.taken + AHEAD).filter_map(|place| self.ready.get(place)?.time);
        ahead.map(|time| time.0).min().max(self.clock)
    }

    /// Hands on the next record.
    fn take(&mut self, next: &mut Offset, out: &mut Records) -> bool {
        self.clock = self.key();
        let Some(record) = self.ready.get(self.taken) else { return false };
        out.push_of(*next, record.time, None, record.payload, record.whole_len);
        *next = next.next();
        self.taken += 1;
        true
    }

    fn is_at_end(&self) -> bool {
        self.ended && self.taken == self.ready.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pipeline::PipelineFile;
    use crate::edge::file::open_input;
    use crate::run::framed::FramedInput;

    fn line(minute: u32, name: &str) -> String {
        let (hour, minute) = (9 + minute / 60, minute % 60);
        format!("{{\"timestamp\":\"2026-03-03T{hour:02}:{minute:02}:00Z\",\"source_ip\":\"10.0.0.1\",\"user_id\":\"{name}\"}}\n")
    }

    fn records(files: &[(&str, String)], batch: usize) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        let mut input = FramedInput::new(open_input(folder.path().to_str().unwrap()).unwrap());
        let pipeline = Pipeline::open(PipelineFile::plain(), None).unwrap();
        let (mut found, mut offset) = (vec![], 0);
        loop {
            let mut out = Records::default();
            if input.read(&pipeline, &mut out, batch).unwrap() == 0 {
                return found;
            }
            for record in out.iter() {
                assert_eq!(record.offset, Offset(offset));
                offset += 1;
                let text = String::from_utf8_lossy(record.payload).into_owned();
                let user = text.split("user_id\":\"").nth(1).map_or("?", |rest| rest.trim_end_matches("\"}"));
                found.push(user.to_owned());
            }
        }
    }

    #[test]
    fn files_of_a_folder_are_one_log_in_time() {
        let a: String = [0, 10, 20, 30].map(|minute| line(minute, &format!("a{minute}"))).concat();
        let b: String = [5, 15, 25, 26].map(|minute| line(minute, &format!("b{minute}"))).concat();
        let c: String = [20, 40].map(|minute| line(minute, &format!("c{minute}"))).concat();
        let files = [("README.md", "# words\n".to_owned()), ("a.log", a), ("b.log", b), ("c.log", c)];
        let found = records(&files, 1_000);
        assert_eq!(found, ["?", "a0", "b5", "a10", "b15", "a20", "c20", "b25", "b26", "a30", "c40"]);
        assert_eq!(records(&files, 1), found, "however much is read at a time");
    }

    #[test]
    fn neither_a_line_from_before_nor_one_ahead_holds_its_file_back() {
        let a: String = [10, 1, 11, 700, 12, 13, 14, 15].map(|minute| line(minute, &format!("a{minute}"))).concat();
        let b: String = [9, 10, 11, 12, 13, 14, 15, 16].map(|minute| line(minute, &format!("b{minute}"))).concat();
        let found = records(&[("a", a), ("b", b)], 1_000);
        let place = |name: &str| found.iter().position(|other| other == name).unwrap();
        assert!(place("a13") < place("b14") && place("b12") < place("a14"), "{found:?}");
        assert_eq!(
            found.iter().filter(|name| name.starts_with('a')).collect::<Vec<_>>(),
            ["a10", "a1", "a11", "a700", "a12", "a13", "a14", "a15"]
        );
    }

    #[test]
    fn more_files_than_may_be_open_come_all() {
        let files: Vec<(String, String)> =
            (0..FILES_OPEN_MAX + 50).map(|file| (format!("{file:04}"), line(0, &format!("f{file}")) + &line(60, "end"))).collect();
        let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        let found = records(&files, 100);
        assert_eq!(found.len(), 2 * files.len());
        assert_eq!(found.iter().filter(|name| *name == "end").count(), files.len());
    }
}
