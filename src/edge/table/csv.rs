//! Comma-separated values, RFC 4180, with the delimiter found out. A header line that comes again, as where files were put together,
//! is no row, nor is a line of nothing but delimiters, as spreadsheets leave them. Must never lose count of the line it is in.

use std::borrow::Cow;

use super::builder::Builder;
use super::{Expected, distinct, frame};
use crate::error::{Error, Result};
use crate::models::table::frame::Frame;

const DELIMITERS: [u8; 4] = *b",\t;|";
/// Lines looked at to find the delimiter.
const LINES_LOOKED_AT: usize = 20;

pub(super) fn read(text: &str, columns: Option<&[String]>, expected: Expected<'_>) -> Result<Frame> {
    let mut records = Records { text, at: 0, line: 1, delimiter: delimiter(text) };
    let mut cells: Vec<Cow<'_, str>> = Vec::new();
    let names = match columns {
        Some(names) => names.to_vec(),
        None => {
            if records.next(&mut cells)?.is_none() {
                return Err(Error::config("it is empty"));
            }
            cells.iter().map(|cell| cell.trim().to_owned()).collect()
        }
    };
    let header: Vec<String> = if columns.is_some() { Vec::new() } else { names.clone() };
    let mut builders: Vec<Builder> = names.iter().map(|_| Builder::default()).collect();
    while let Some(line) = records.next(&mut cells)? {
        let is_blank = cells.len() > 1 && cells.iter().all(|cell| cell.trim().is_empty());
        if is_blank || cells.iter().map(|cell| cell.trim()).eq(header.iter()) {
            continue;
        }
        if cells.len() != names.len() {
            let wanted = if columns.is_some() { "--columns names" } else { "the first line has" };
            return Err(Error::config(format!("line {line} has {} cells, {wanted} {}", cells.len(), names.len())));
        }
        builders.iter_mut().zip(&cells).for_each(|(builder, cell)| builder.push(cell));
    }
    frame(distinct(names.into_iter()).into_iter().zip(builders).collect(), expected)
}

/// The delimiter of which every one of the first lines has as many, and most of them.
fn delimiter(text: &str) -> u8 {
    let count = |delimiter: u8| -> usize {
        let mut records = Records { text, at: 0, line: 1, delimiter };
        let mut cells = Vec::new();
        let mut counts = Vec::new();
        while counts.len() < LINES_LOOKED_AT
            && let Ok(Some(_)) = records.next(&mut cells)
        {
            counts.push(cells.len());
        }
        if counts.windows(2).all(|pair| pair[0] == pair[1]) { counts.first().copied().unwrap_or(0) } else { 0 }
    };
    // Where none is regular the most usual one is taken, and its irregular line named.
    let best = DELIMITERS.into_iter().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(DELIMITERS[0]);
    if count(best) > 1 { best } else { DELIMITERS[0] }
}

struct Records<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    delimiter: u8,
}

impl<'a> Records<'a> {
    /// The next record that is not blank, and the line it begins in.
    fn next(&mut self, cells: &mut Vec<Cow<'a, str>>) -> Result<Option<usize>> {
        let bytes = self.text.as_bytes();
        while let Some(end) = bytes.get(self.at).filter(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line += usize::from(*end == b'\n');
            self.at += 1;
        }
        if self.at >= bytes.len() {
            return Ok(None);
        }
        let line = self.line;
        cells.clear();
        loop {
            let cell = self.cell()?;
            cells.push(cell);
            match bytes.get(self.at) {
                Some(byte) if *byte == self.delimiter => self.at += 1,
                _ => break,
            }
        }
        Ok(Some(line))
    }

    /// A cell, up to its delimiter or the end of its line.
    fn cell(&mut self) -> Result<Cow<'a, str>> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) == Some(&b'"') {
            return self.quoted();
        }
        let start = self.at;
        let ends = |byte: u8| byte == self.delimiter || byte == b'\n' || byte == b'\r';
        self.at = bytes[start..].iter().position(|byte| ends(*byte)).map_or(bytes.len(), |length| start + length);
        let cell = self.text.get(start..self.at).ok_or_else(|| Error::bug("a cell ends within a character"))?;
        Ok(Cow::Borrowed(cell.trim()))
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>> {
        let (bytes, line) = (self.text.as_bytes(), self.line);
        let mut cell = String::new();
        self.at += 1;
        loop {
            let length = memchr::memchr(b'"', &bytes[self.at..])
                .ok_or_else(|| Error::config(format!("line {line} begins a quoted cell that never ends")))?;
            let part = self.text.get(self.at..self.at + length).ok_or_else(|| Error::bug("a quote within a character"))?;
            self.line += part.bytes().filter(|byte| *byte == b'\n').count();
            cell.push_str(part);
            self.at += length + 1;
            if bytes.get(self.at) != Some(&b'"') {
                break;
            }
            cell.push('"');
            self.at += 1;
        }
        match bytes.get(self.at) {
            None => Ok(Cow::Owned(cell)),
            Some(byte) if *byte == self.delimiter || matches!(byte, b'\n' | b'\r') => Ok(Cow::Owned(cell)),
            Some(_) => Err(Error::config(format!("line {} goes on after a closing quote; write a quote in a cell twice", self.line))),
        }
    }
}
