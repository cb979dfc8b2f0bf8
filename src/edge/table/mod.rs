//! Tables from files: CSV, JSON Lines or Parquet, each plain, gzip or zstd, told apart by their first bytes.
//!
//! Rules. A cell is missing where it is empty, `NA`, `N/A`, `NaN`, `null`, `None`, `?` or `-`. A column is one of numbers where every
//! cell that is there is a number. A repeated name gets `.1`, `.2` and so on. Text that is not UTF-8 is Latin-1. A line of nothing but
//! delimiters is no row. Must never pad or cut a row that has another number
//! of cells than the others.

mod builder;
mod csv;
mod jsonl;
mod parquet;

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use builder::Builder;

use super::file::open_input;
use crate::error::{Error, Result};
use crate::limits::{TABLE_BYTES_MAX, TABLE_ROWS_MAX};
use crate::models::table::frame::Frame;

/// Whether a column must be read as words (`Some(true)`) or as numbers (`Some(false)`); `None` leaves it to its cells.
pub type Expected<'a> = &'a dyn Fn(&str) -> Option<bool>;

/// Reads a table. `columns` names the columns of a CSV file without a header line.
///
/// # Errors
/// `Config`: the file cannot be read, is empty, too large, or no table; the text names the line.
pub fn read(path: &Path, columns: Option<&[String]>, expected: Expected<'_>) -> Result<Frame> {
    let name = path.display().to_string();
    let named = |error: Error| Error::config(format!("table {name}")).because(error);
    let bytes = bytes(path)?;
    let frame = if bytes.starts_with(parquet::MAGIC) {
        parquet::read(bytes, expected)
    } else {
        match text(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)) {
            Err(error) => Err(error),
            Ok(text) if text.trim_start().starts_with('{') => jsonl::read(&text, expected),
            Ok(text) => csv::read(&text, columns, expected),
        }
    };
    let frame = frame.map_err(named)?;
    if frame.rows() == 0 {
        return Err(named(Error::config("it has no rows")));
    }
    if frame.rows() > TABLE_ROWS_MAX {
        return Err(named(Error::config(format!("it has {} rows, at most {TABLE_ROWS_MAX} are possible; cut it up", frame.rows()))));
    }
    Ok(frame)
}

/// The names that `--columns` gives: a list with commas, or a file with one line of them or one name a line. Of a line with several
/// cells, where there are several lines, the first is the name.
///
/// # Errors
/// `Config`: the file cannot be read, or there is no name.
pub fn names(list_or_file: &str) -> Result<Vec<String>> {
    let is_file = Path::new(list_or_file).is_file();
    let text = if is_file {
        let bytes = bytes(Path::new(list_or_file))?;
        String::from_utf8(bytes).map_err(|error| Error::config(format!("{list_or_file} is not text")).because(error))?
    } else {
        list_or_file.to_owned()
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let plain = |name: &str| name.trim().trim_matches('"').to_owned();
    let names: Vec<String> = match lines.as_slice() {
        [one] => one.split(',').map(plain).collect(),
        several => several.iter().filter_map(|line| line.split(',').next()).map(plain).collect(),
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(Error::config(format!("--columns {list_or_file}: a name is empty; give them all, with commas between")));
    }
    Ok(names)
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let name = path.to_str().ok_or_else(|| Error::config(format!("{} is not a name of plain text", path.display())))?;
    if path.is_dir() {
        return Err(Error::config(format!("{name} is a folder; name one file")));
    }
    let file = open_input(name)?.next_file()?.ok_or_else(|| Error::config(format!("{name} is not a file")))?;
    let mut bytes = Vec::new();
    let read = file.reader.take(TABLE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::config(format!("cannot read {name}: it may be cut off")).because(error))?;
    if bytes.len() as u64 > TABLE_BYTES_MAX {
        return Err(Error::config(format!("{name} has more than {TABLE_BYTES_MAX} bytes once decompressed; cut it up")));
    }
    Ok(bytes)
}

/// UTF-8, or else Latin-1, in which every byte is a character of its own, so that no two cells become one.
fn text(bytes: &[u8]) -> Result<Cow<'_, str>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) if bytes.contains(&0) => Err(Error::config("it is neither text nor Parquet; convert it").because(error)),
        Err(_) => Ok(Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect())),
    }
}

/// Makes repeated names differ.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let mut candidate = name.clone();
        let mut count = 0;
        while seen.contains(&candidate) {
            count += 1;
            candidate = format!("{name}.{count}");
        }
        seen.push(candidate);
    }
    seen
}

fn frame(columns: Vec<(String, Builder)>, expected: Expected<'_>) -> Result<Frame> {
    Frame::new(columns.into_iter().map(|(name, cells)| cells.finish(&name, expected(&name))).collect())
}

#[cfg(test)]
mod tests;
