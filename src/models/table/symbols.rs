//! Cells that hold sequences of symbols: what the symbols are, and which columns look like it. Must never guess what is no symbol.
//!
//! Symbols lie between spaces or commas, or are the members of a JSON list. A missing cell and an empty list are sequences without
//! symbols; a single symbol is a sequence of one. A whole number is the same symbol with and without `.0`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::frame::{Cells, Column, Frame};
use crate::error::{Error, Result};
use crate::limits::{SEQUENCE_ALPHABET_MAX, SEQUENCE_SYMBOLS_MAX};
use crate::models::sequence::Trace;

/// A column looks like sequences where this share of its cells has at least so many symbols, ...
const SEQUENCES_SHARE: f64 = 0.9;
const SYMBOLS_MIN: usize = 3;
/// ... where there are few different ones, each of them often on average, and no signs as in what people write.
const DIFFERENT_MAX: usize = 1_000;
const OFTEN: usize = 20;

/// The symbols that were learned from, sorted: the first one's number is 1.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Symbols(Vec<String>);

impl Symbols {
    /// Learns a column's symbols.
    ///
    /// # Errors
    /// `Config`: there are too many, cells cannot be read, or none is a sequence.
    pub fn learn(column: &Column) -> Result<Self> {
        let (mut symbols, mut is_sequence) = (BTreeSet::new(), false);
        check(column, |cell| {
            let mut count = 0;
            each(cell, |symbol| {
                count += 1;
                if !symbols.contains(symbol) {
                    symbols.insert(symbol.to_owned());
                }
            })?;
            is_sequence |= count > 1;
            Ok(count)
        })?;
        let name = &column.name;
        if !is_sequence {
            return Err(Error::config(format!(
                "column '{name}' holds no sequences: no cell has two symbols with a space or comma between them, nor is one a list of them"
            )));
        }
        if symbols.len() > SEQUENCE_ALPHABET_MAX {
            return Err(Error::config(format!(
                "column '{name}' has {} different symbols, at most {SEQUENCE_ALPHABET_MAX} are possible; write what matters of each",
                symbols.len()
            )));
        }
        Ok(Self(symbols.into_iter().collect()))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Whether symbols read from a file can be looked up.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.0.is_empty() && self.0.len() <= SEQUENCE_ALPHABET_MAX && self.0.is_sorted_by(|a, b| a < b)
    }

    /// The numbers of a cell's symbols, as far as it can be read.
    #[must_use]
    pub fn trace(&self, cells: &Cells, row: usize) -> Trace {
        let mut trace = Trace::new();
        let number = |symbol: &str| self.0.binary_search_by(|known| known.as_str().cmp(symbol)).map_or(0, |place| place as u32 + 1);
        if let Some(cell) = cells.word(row) {
            each(cell, |symbol| trace.push(number(symbol))).ok();
        }
        trace
    }
}

/// Whether all cells of a column can be read.
///
/// # Errors
/// `Config`: the row that cannot, and why.
pub fn readable(column: &Column) -> Result<()> {
    check(column, |cell| {
        let mut count = 0;
        each(cell, |_| count += 1)?;
        Ok(count)
    })
}

/// Asks for the number of symbols of each different cell that a row has.
fn check(column: &Column, mut count: impl FnMut(&str) -> Result<usize, &'static str>) -> Result<()> {
    let Cells::Words { codes, words } = &column.cells else {
        return Err(Error::config(format!("column '{}' holds numbers, not sequences of symbols", column.name)));
    };
    let mut asked = vec![false; words.len()];
    for (row, code) in codes.iter().enumerate() {
        let Some((word, asked)) = words.get(*code as usize).zip(asked.get_mut(*code as usize)) else { continue };
        if std::mem::replace(asked, true) {
            continue;
        }
        let why = match count(word) {
            Ok(symbols) if symbols <= SEQUENCE_SYMBOLS_MAX => continue,
            Ok(symbols) => format!("has {symbols} symbols, at most {SEQUENCE_SYMBOLS_MAX} are possible; cut it up"),
            Err(why) => why.to_owned(),
        };
        return Err(Error::config(format!("row {} of column '{}' {why}", row + 1, column.name)));
    }
    Ok(())
}

/// The symbols of a cell, one after another.
fn each(cell: &str, mut take: impl FnMut(&str)) -> Result<(), &'static str> {
    if cell.starts_with('[')
        && let Ok(Value::Array(members)) = serde_json::from_str(cell)
    {
        for member in &members {
            match member {
                Value::String(text) => take(text),
                Value::Number(number) => take(whole(&number.to_string())),
                _ => return Err("holds a list of something else than text and numbers; symbols are either"),
            }
        }
        return Ok(());
    }
    let inner = cell.strip_prefix('[').and_then(|cell| cell.strip_suffix(']')).unwrap_or(cell);
    let parts = inner.split(|c: char| c.is_whitespace() || c == ',').map(|part| part.trim_matches(['"', '\'']));
    parts.filter(|part| !part.is_empty()).for_each(|part| take(whole(part)));
    Ok(())
}

/// A number without its `.0`.
fn whole(symbol: &str) -> &str {
    symbol.strip_suffix(".0").filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).unwrap_or(symbol)
}

/// The first column that looks like sequences of symbols.
#[must_use]
pub fn found(frame: &Frame) -> Option<&str> {
    frame.columns().iter().find(|column| looks_like(&column.cells)).map(|column| column.name.as_str())
}

fn looks_like(cells: &Cells) -> bool {
    let Cells::Words { codes, words } = cells else { return false };
    let (mut different, mut all, mut long) = (BTreeSet::new(), 0, vec![false; words.len()]);
    for (cell, long) in words.iter().zip(&mut long) {
        let (before, mut plain) = (all, true);
        let read = each(cell, |symbol| {
            all += 1;
            plain &= symbol.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
            if different.len() <= DIFFERENT_MAX && !different.contains(symbol) {
                different.insert(symbol.to_owned());
            }
        });
        if read.is_err() || different.len() > DIFFERENT_MAX {
            return false;
        }
        *long = plain && all - before >= SYMBOLS_MIN;
    }
    let rows = codes.iter().filter(|code| long.get(**code as usize) == Some(&true)).count();
    rows as f64 >= SEQUENCES_SHARE * codes.len() as f64 && rows > 0 && all >= OFTEN * different.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::table::frame::MISSING;

    fn column(cells: &[&str]) -> Column {
        let codes = cells.iter().enumerate().map(|(i, cell)| if cell.is_empty() { MISSING } else { i as u32 }).collect();
        Column { name: "calls".into(), cells: Cells::Words { codes, words: cells.iter().map(|cell| (*cell).to_owned()).collect() } }
    }

    #[track_caller]
    fn refused(cells: &[&str], why: &str) {
        let error = Symbols::learn(&column(cells)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn every_spelling_of_a_sequence_is_the_same_one() {
        let symbols = Symbols::learn(&column(&["6 6 63 open"])).unwrap();
        assert_eq!((symbols.len(), symbols.is_sound()), (3, true));
        let cells = column(&["6, 6,63  open", "[6, 6.0, 63, \"open\"]", "['6', '6', '63', 'open']", "[6, 6, 63, open]"]).cells;
        for row in 0..4 {
            assert_eq!(symbols.trace(&cells, row), [1, 1, 2, 3], "{row}");
        }
        let odd = column(&["", "[]", "7 63 x", "6"]).cells;
        assert_eq!((0..4).map(|row| symbols.trace(&odd, row)).collect::<Vec<_>>(), [vec![], vec![], vec![0, 2, 0], vec![1]]);
        let spaced = Symbols::learn(&column(&["[\"open file\", \"a,b\"]"])).unwrap();
        assert_eq!(spaced.0, ["a,b", "open file"]);
    }

    #[test]
    fn what_is_no_sequence_or_too_long_is_refused_by_its_row() {
        refused(&["open", "close", ""], "no cell has two symbols");
        refused(&["1 2", "[1, [2]]"], "row 2 of column 'calls' holds a list");
        refused(&["1 2", "[null]"], "text and numbers");
        refused(&["1 2", &"7 ".repeat(SEQUENCE_SYMBOLS_MAX + 1)], "row 2 of column 'calls' has 1000001 symbols");
        let many: Vec<String> = (0..=SEQUENCE_ALPHABET_MAX).map(|i| i.to_string()).collect();
        refused(&[&many.join(" ")], "65537 different symbols");
        let numbers = Column { name: "n".into(), cells: Cells::Numbers(vec![1.0]) };
        assert!(Symbols::learn(&numbers).unwrap_err().to_string().contains("'n' holds numbers"));
    }

    #[test]
    fn sequences_are_told_from_words_addresses_and_what_people_write() {
        let of = |cells: Vec<String>| looks_like(&column(&cells.iter().map(String::as_str).collect::<Vec<_>>()).cells);
        let made = |make: &dyn Fn(usize) -> String| of((0..60).map(make).collect());
        assert!(made(&|i| format!("{} 6 63 6 42 {} 6", i % 9, i % 7)) && made(&|i| format!("[{}, 1, 2, 3, 1]", i % 5)));
        assert!(!made(&|i| format!("see you at {} o'clock, bring the {}!", i % 9, i % 7)), "signs");
        assert!(!made(&|i| format!("user{i} opened file{i} twice")), "symbols that hardly repeat");
        assert!(!made(&|i| format!("10.0.0.{i}")) && !made(&|i| ["tcp", "udp"][i % 2].to_owned()), "words");
        assert!(!made(&|i| if i % 2 == 0 { String::new() } else { "1 2 3 1 2 3 1 2 3".to_owned() }), "half of the cells");
    }
}
