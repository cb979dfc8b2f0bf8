//! What a table's columns mean, learned at training, and rows of numbers by it.
//!
//! Rules. A column with one value is left out. A column of words becomes one column a word for the most frequent words and, where
//! there are more, one that says how frequent the word was: half a row for a word never seen, which belongs to no other column. A missing
//! number stays missing (NaN), a missing word is a word. An infinite number is a missing one. Where cells were missing in training,
//! a further column says so. A column that hardly repeats a word is described by its shape where it is text, and otherwise an
//! identifier, which is left out; so are whole numbers that only number the rows. A column of sequences is the only one of its schema.

use std::collections::BTreeMap;
use std::ops::Range;

use super::frame::{Cells, Column, Frame, MISSING};
use super::rows::Rows;
use super::symbols::{self, Symbols};
use super::text;
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;

/// Words of one column that get a column of their own, and those whose frequency is kept.
const WORDS_OWN: usize = 84;
const WORDS_KEPT: usize = 4_096;
/// Columns of the encoded rows; more would make a table of words explode.
pub const WIDTH_MAX: usize = 4_096;
/// Words are identifiers where so many differ and they are more than half of the rows.
const IDENTIFIERS_MIN: usize = 200;
/// What a missing word is called.
const NO_WORD: &str = "";
/// Larger numbers are taken as this, so that differences stay finite.
const NUMBER_MAX: f64 = 1e30;

/// The columns in the order in which they are encoded.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableSchema {
    pub fields: Vec<Field>,
    /// Columns that were left out, with the reason.
    pub left_out: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// `missing`: cells were missing in training.
    Number { missing: bool },
    /// Words with the rows they were in, most frequent first; the first `own` have a column each.
    Words { words: Vec<(String, u64)>, own: usize, rows: u64 },
    /// The shape of text.
    Text,
    /// A sequence of symbols.
    Sequence { symbols: Symbols },
}

impl Field {
    pub(super) fn width(&self) -> usize {
        match &self.kind {
            Kind::Number { missing } => 1 + usize::from(*missing),
            Kind::Words { words, own, .. } => own + usize::from(words.len() > *own),
            Kind::Text => text::WIDTH,
            Kind::Sequence { .. } => 1,
        }
    }
}

impl TableSchema {
    /// Learns from all rows of a frame without its label.
    ///
    /// # Errors
    /// `Config`: no row, no column with more than one value, or too many columns.
    pub fn learn(frame: &Frame) -> Result<Self> {
        if frame.rows() == 0 {
            return Err(Error::config("the table has no rows; there is nothing to learn from"));
        }
        let (mut fields, mut left_out) = (Vec::new(), BTreeMap::new());
        for column in frame.columns() {
            match learned(column) {
                Ok(kinds) => fields.extend(kinds.into_iter().map(|kind| Field { name: column.name.clone(), kind })),
                Err(why) => drop(left_out.insert(column.name.clone(), why.to_owned())),
            }
        }
        if fields.is_empty() {
            return Err(Error::config("no column has more than one value; there is nothing to learn from"));
        }
        let schema = Self { fields, left_out };
        if schema.width() > WIDTH_MAX {
            return Err(Error::config(format!(
                "the table needs {} columns once its words are encoded, at most {WIDTH_MAX} are possible; leave some out with --drop",
                schema.width()
            )));
        }
        Ok(schema)
    }

    /// Learns from all rows of a frame whose only column holds sequences.
    ///
    /// # Errors
    /// `Config`: there are other columns, or the cells are no sequences.
    pub fn of_sequence(frame: &Frame, name: &str) -> Result<Self> {
        let column = frame.column(name).ok_or_else(|| frame.absent(name))?;
        let others: Vec<&str> = frame.columns().iter().map(|other| other.name.as_str()).filter(|other| *other != name).collect();
        if !others.is_empty() {
            let others = others.join(",");
            return Err(Error::config(format!(
                "a model of sequences looks at nothing beside them: leave the others out by --drop '{others}'"
            )));
        }
        let kind = Kind::Sequence { symbols: Symbols::learn(column)? };
        Ok(Self { fields: vec![Field { name: name.to_owned(), kind }], left_out: BTreeMap::new() })
    }

    /// The column of sequences and its symbols, where there is one.
    #[must_use]
    pub fn sequence(&self) -> Option<(&str, &Symbols)> {
        match self.fields.as_slice() {
            [Field { name, kind: Kind::Sequence { symbols } }] => Some((name, symbols)),
            _ => None,
        }
    }

    /// Columns of an encoded row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.fields.iter().map(Field::width).sum()
    }

    /// The names of the encoded columns: `service`, `service=http`, `bytes?` for whether it is missing.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.width());
        for Field { name, kind } in &self.fields {
            match kind {
                Kind::Number { missing } => {
                    names.push(name.clone());
                    names.extend(missing.then(|| format!("{name}?")));
                }
                Kind::Words { words, own, .. } => {
                    names.extend(words.iter().take(*own).map(|(word, _)| format!("{name}={word}")));
                    names.extend((words.len() > *own).then(|| name.clone()));
                }
                Kind::Text => names.extend(text::names(name)),
                Kind::Sequence { .. } => names.push(name.clone()),
            }
        }
        names
    }

    /// Whether the column was one of words at training; `None` for a column that is not looked at.
    #[must_use]
    pub fn is_words(&self, name: &str) -> Option<bool> {
        self.fields.iter().find(|field| field.name == name).map(|field| !matches!(field.kind, Kind::Number { .. }))
    }

    /// Whether a frame can be encoded. Columns that are not in the schema are not looked at; their order does not matter.
    ///
    /// # Errors
    /// `Config`: a column is absent, or holds words where training saw numbers.
    pub fn check(&self, frame: &Frame) -> Result<()> {
        for Field { name, kind } in &self.fields {
            let column =
                frame.column(name).ok_or_else(|| Error::config(format!("{}; the model was trained with it", frame.absent(name))))?;
            if let Kind::Sequence { .. } = kind {
                symbols::readable(column)?;
            }
            if let (Kind::Number { .. }, Cells::Words { codes, words }) = (kind, &column.cells) {
                let text = |code: &u32| words.get(*code as usize).filter(|word| number(word).is_none());
                if let Some((row, word)) = codes.iter().enumerate().find_map(|(row, code)| text(code).map(|word| (row, word))) {
                    return Err(Error::config(format!(
                        "column '{name}' holds '{word}' in row {}, and numbers when the model was trained; mend the file or train again",
                        row + 1
                    )));
                }
            }
        }
        Ok(())
    }

    /// Rows of numbers.
    ///
    /// # Errors
    /// As for [`Self::check`].
    pub fn encode(&self, frame: &Frame) -> Result<Matrix> {
        self.check(frame)?;
        Ok(self.encode_some(frame, 0..frame.rows()))
    }

    /// Some of the rows of a frame that was checked, as the members take them.
    #[must_use]
    pub fn rows(&self, frame: &Frame, some: Range<usize>) -> Rows {
        match (self.sequence(), self.fields.first().and_then(|field| frame.column(&field.name))) {
            (Some((_, symbols)), Some(column)) => {
                Rows::Traces { traces: some.map(|row| symbols.trace(&column.cells, row)).collect(), alphabet: symbols.len() }
            }
            _ => Rows::Numbers(self.encode_some(frame, some)),
        }
    }

    /// Some of the rows of a frame of numbers and words that was checked.
    #[must_use]
    pub fn encode_some(&self, frame: &Frame, some: Range<usize>) -> Matrix {
        let width = self.width();
        let mut rows = vec![0.0_f32; some.len() * width];
        let mut at = 0;
        for field in &self.fields {
            if let Some(column) = frame.column(&field.name) {
                field.fill(&column.cells, some.clone(), &mut Slots { rows: &mut rows, width, at });
            }
            at += field.width();
        }
        let mut matrix = Matrix::new(width);
        rows.chunks_exact(width).for_each(|row| matrix.push(row));
        matrix
    }
}

/// Where a field's values go.
struct Slots<'a> {
    rows: &'a mut [f32],
    width: usize,
    at: usize,
}

impl Slots<'_> {
    fn all(&mut self, row: usize, width: usize) -> &mut [f32] {
        &mut self.rows[row * self.width + self.at..][..width]
    }
    fn put(&mut self, row: usize, place: usize, value: f32) {
        self.rows[row * self.width + self.at + place] = value;
    }
}

impl Field {
    fn fill(&self, cells: &Cells, some: Range<usize>, slots: &mut Slots<'_>) {
        match &self.kind {
            Kind::Number { missing } => {
                let parsed: Vec<f64> = match cells {
                    Cells::Words { words, .. } => words.iter().map(|word| number(word).unwrap_or(f64::NAN)).collect(),
                    Cells::Numbers(_) => Vec::new(),
                };
                for (row, from) in some.enumerate() {
                    let value = match cells {
                        Cells::Numbers(values) => values[from],
                        Cells::Words { codes, .. } => parsed.get(codes[from] as usize).copied().unwrap_or(f64::NAN),
                    };
                    let value = present(value);
                    slots.put(row, 0, value.unwrap_or(f32::NAN));
                    if *missing {
                        slots.put(row, 1, f32::from(u8::from(value.is_none())));
                    }
                }
            }
            Kind::Words { words, own, rows } => {
                let places: BTreeMap<&str, usize> = words.iter().enumerate().map(|(place, (word, _))| (word.as_str(), place)).collect();
                let look = |word: &str| places.get(word).copied();
                let known: Vec<Option<usize>> = match cells {
                    Cells::Words { words, .. } => words.iter().map(|word| look(word)).collect(),
                    Cells::Numbers(_) => Vec::new(),
                };
                for (row, from) in some.enumerate() {
                    let place = match cells {
                        Cells::Words { codes, .. } if codes[from] != MISSING => known[codes[from] as usize],
                        cells => look(cells.text(from).as_deref().unwrap_or(NO_WORD)),
                    };
                    if let Some(place) = place.filter(|place| place < own) {
                        slots.put(row, place, 1.0);
                    }
                    if words.len() > *own {
                        let count = place.map_or(0.5, |place| words[place].1 as f64);
                        slots.put(row, *own, libm::log(count / *rows as f64) as f32);
                    }
                }
            }
            Kind::Text => {
                for (row, from) in some.enumerate() {
                    match cells.text(from) {
                        Some(cell) => text::fill(&cell, slots.all(row, text::WIDTH)),
                        None => slots.all(row, text::WIDTH).fill(f32::NAN),
                    }
                }
            }
            // Sequences are no numbers: see `TableSchema::rows`.
            Kind::Sequence { .. } => {}
        }
    }
}

/// A cell as a number, also where it is written to the base of sixteen.
#[must_use]
pub fn number(cell: &str) -> Option<f64> {
    let whole = |digits| u64::from_str_radix(digits, 16).ok().map(|value| value as f64);
    cell.parse().ok().or_else(|| cell.strip_prefix("0x").or_else(|| cell.strip_prefix("0X")).and_then(whole))
}

/// A number that is neither missing nor infinite.
fn present(value: f64) -> Option<f32> {
    value.is_finite().then(|| value.clamp(-NUMBER_MAX, NUMBER_MAX) as f32)
}

/// What a column is, or why it is left out.
fn learned(column: &Column) -> Result<Vec<Kind>, &'static str> {
    match &column.cells {
        Cells::Numbers(values) => numbers(values).map(|kind| vec![kind]),
        Cells::Words { codes, words } => {
            let mut counts = vec![0_u64; words.len() + 1];
            codes.iter().for_each(|code| counts[(*code as usize).min(words.len())] += 1);
            let word = |code: usize| words.get(code).map_or(NO_WORD, String::as_str).to_owned();
            let mut seen: Vec<(String, u64)> =
                counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(code, count)| (word(code), *count)).collect();
            if seen.len() < 2 {
                return Err("it has one value only");
            }
            let many = seen.len() >= IDENTIFIERS_MIN;
            let is_text = many && text::is_text(seen.iter().map(|(word, _)| word.as_str()));
            if many && seen.len() * 2 > codes.len() {
                return if is_text { Ok(vec![Kind::Text]) } else { Err("its words hardly repeat: an identifier") };
            }
            seen.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            seen.truncate(WORDS_KEPT);
            let own = seen.len().min(WORDS_OWN);
            let words = Kind::Words { words: seen, own, rows: codes.len() as u64 };
            Ok(if is_text { vec![words, Kind::Text] } else { vec![words] })
        }
    }
}

fn numbers(values: &[f64]) -> Result<Kind, &'static str> {
    let mut known = values.iter().filter_map(|value| present(*value));
    let first = known.next().ok_or("it has no value")?;
    let varies = known.any(|value| value.to_bits() != first.to_bits());
    let missing = values.iter().any(|value| !value.is_finite());
    if !varies && !missing {
        return Err("it has one value only");
    }
    if numbers_rows(values) { Err("it numbers the rows") } else { Ok(Kind::Number { missing }) }
}

/// Whole numbers, no two alike, that fill at least half of their range, as the rows' numbers do even when some rows were taken out.
fn numbers_rows(values: &[f64]) -> bool {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    // A missing or broken number is found below, on its way into its place.
    if values.len() < IDENTIFIERS_MIN || !(high - low).is_finite() || high - low >= 2.0 * values.len() as f64 {
        return false;
    }
    let mut taken = vec![false; (high - low) as usize + 1];
    values.iter().all(|value| {
        let place = value - low;
        place.fract().abs() <= 0.0 && !std::mem::replace(&mut taken[place as usize], true)
    })
}

#[cfg(test)]
mod tests;
