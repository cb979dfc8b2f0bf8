//! What a table's columns mean, learned at training, and rows of numbers by it.
//!
//! Rules. A column with one value is left out. A column of words becomes one column a word for the most frequent words and, where
//! there are more, one that says how frequent the word was: half a row for a word never seen, which belongs to no other column. A missing
//! number stays missing (NaN), a missing word is a word. Infinities are the largest finite numbers. Where cells were missing in
//! training, a further column says so. A column that hardly repeats a word is an identifier and is left out.

use std::collections::BTreeMap;
use std::ops::Range;

use super::frame::{Cells, Column, Frame, MISSING};
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
}

impl Field {
    fn width(&self) -> usize {
        match &self.kind {
            Kind::Number { missing } => 1 + usize::from(*missing),
            Kind::Words { words, own, .. } => own + usize::from(words.len() > *own),
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
                Ok(kind) => fields.push(Field { name: column.name.clone(), kind }),
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
            }
        }
        names
    }

    /// Whether the column was one of words at training; `None` for a column that is not looked at.
    #[must_use]
    pub fn is_words(&self, name: &str) -> Option<bool> {
        self.fields.iter().find(|field| field.name == name).map(|field| matches!(field.kind, Kind::Words { .. }))
    }

    /// Whether a frame can be encoded. Columns that are not in the schema are not looked at; their order does not matter.
    ///
    /// # Errors
    /// `Config`: a column is absent, or holds words where training saw numbers.
    pub fn check(&self, frame: &Frame) -> Result<()> {
        for Field { name, kind } in &self.fields {
            let column =
                frame.column(name).ok_or_else(|| Error::config(format!("{}; the model was trained with it", frame.absent(name))))?;
            if let (Kind::Number { .. }, Cells::Words { codes, words }) = (kind, &column.cells) {
                let text = |code: &u32| words.get(*code as usize).filter(|word| word.parse::<f64>().is_err());
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

    /// Some of the rows of a frame that was checked.
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
    fn put(&mut self, row: usize, place: usize, value: f32) {
        self.rows[row * self.width + self.at + place] = value;
    }
}

impl Field {
    fn fill(&self, cells: &Cells, some: Range<usize>, slots: &mut Slots<'_>) {
        match &self.kind {
            Kind::Number { missing } => {
                let parsed: Vec<f64> = match cells {
                    Cells::Words { words, .. } => words.iter().map(|word| word.parse().unwrap_or(f64::NAN)).collect(),
                    Cells::Numbers(_) => Vec::new(),
                };
                for (row, from) in some.enumerate() {
                    let value = match cells {
                        Cells::Numbers(values) => values[from],
                        Cells::Words { codes, .. } => parsed.get(codes[from] as usize).copied().unwrap_or(f64::NAN),
                    };
                    slots.put(row, 0, value.clamp(-NUMBER_MAX, NUMBER_MAX) as f32);
                    if *missing {
                        slots.put(row, 1, f32::from(u8::from(value.is_nan())));
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
        }
    }
}

/// What a column is, or why it is left out.
fn learned(column: &Column) -> Result<Kind, &'static str> {
    match &column.cells {
        Cells::Numbers(values) => {
            let missing = values.iter().any(|value| value.is_nan());
            let mut present = values.iter().filter(|value| !value.is_nan()).map(|value| value.clamp(-NUMBER_MAX, NUMBER_MAX) as f32);
            let first = present.next().ok_or("it has no value")?;
            let varies = present.any(|value| value.to_bits() != first.to_bits());
            if varies || missing { Ok(Kind::Number { missing }) } else { Err("it has one value only") }
        }
        Cells::Words { codes, words } => {
            let mut counts = vec![0_u64; words.len() + 1];
            codes.iter().for_each(|code| counts[(*code as usize).min(words.len())] += 1);
            let word = |code: usize| words.get(code).map_or(NO_WORD, String::as_str).to_owned();
            let mut seen: Vec<(String, u64)> =
                counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(code, count)| (word(code), *count)).collect();
            if seen.len() < 2 {
                return Err("it has one value only");
            }
            if seen.len() >= IDENTIFIERS_MIN && seen.len() * 2 > codes.len() {
                return Err("its words hardly repeat: an identifier");
            }
            seen.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            seen.truncate(WORDS_KEPT);
            let own = seen.len().min(WORDS_OWN);
            Ok(Kind::Words { words: seen, own, rows: codes.len() as u64 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, cells: &[&str]) -> Column {
        let mut words: Vec<String> = Vec::new();
        let mut code = |cell: &&str| {
            if cell.is_empty() {
                return MISSING;
            }
            words.iter().position(|word| word == cell).unwrap_or_else(|| {
                words.push((*cell).to_owned());
                words.len() - 1
            }) as u32
        };
        let codes = cells.iter().map(&mut code).collect();
        Column { name: name.into(), cells: Cells::Words { codes, words } }
    }
    fn numbers(name: &str, values: &[f64]) -> Column {
        Column { name: name.into(), cells: Cells::Numbers(values.to_vec()) }
    }
    fn frame(columns: Vec<Column>) -> Frame {
        Frame::new(columns).unwrap()
    }

    #[test]
    fn words_numbers_missing_and_unseen_cells_are_encoded_by_stated_rules() {
        let training = frame(vec![
            numbers("bytes", &[1.0, f64::NAN, 3.0, f64::INFINITY]),
            words("service", &["http", "http", "", "dns"]),
            numbers("one", &[7.0; 4]),
        ]);
        let schema = TableSchema::learn(&training).unwrap();
        assert_eq!(schema.names(), ["bytes", "bytes?", "service=http", "service=", "service=dns"]);
        assert!(schema.left_out["one"].contains("one value"));
        let rows = schema.encode(&training).unwrap();
        assert_eq!(&rows.row(0)[..5], [1.0, 0.0, 1.0, 0.0, 0.0]);
        assert!(rows.row(1)[0].is_nan() && rows.row(1)[1] > 0.5 && rows.row(3)[0] > 9e29);
        assert!(rows.row(2)[3] > 0.5);
        // Another order of columns, one more, and a word never seen.
        let other = frame(vec![words("x", &["a"]), words("service", &["ftp"]), numbers("bytes", &[2.0])]);
        let row = schema.encode(&other).unwrap();
        assert_eq!(&row.row(0)[..5], [2.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn rare_words_are_told_by_their_frequency() {
        let text: Vec<String> = (0..400).map(|i| if i < 200 { "usual".to_owned() } else { format!("w{}", i % 100) }).collect();
        let text: Vec<&str> = text.iter().map(String::as_str).collect();
        let schema = TableSchema::learn(&frame(vec![words("service", &text)])).unwrap();
        assert_eq!(schema.width(), WORDS_OWN + 1);
        let row = |word: &str| schema.encode(&frame(vec![words("service", &[word])])).unwrap().row(0).to_vec();
        assert!((row("usual")[WORDS_OWN] - libm::logf(0.5)).abs() < 1e-6 && row("usual")[0] > 0.5);
        assert!((row("new")[WORDS_OWN] - libm::logf(0.5 / 400.0)).abs() < 1e-6);
        assert!((row("w99")[WORDS_OWN] - libm::logf(2.0 / 400.0)).abs() < 1e-6, "seen, without a column of its own");
    }

    #[test]
    fn a_column_absent_or_of_another_type_is_an_error_that_names_it() {
        let schema = TableSchema::learn(&frame(vec![numbers("bytes", &[1.0, 2.0]), words("flag", &["a", "b"])])).unwrap();
        let absent = schema.encode(&frame(vec![numbers("byte", &[1.0])])).unwrap_err().to_string();
        assert!(absent.contains("'bytes'") && absent.contains("'byte'"), "{absent}");
        let typed = schema.encode(&frame(vec![words("bytes", &["", "x"]), words("flag", &["a", "b"])])).unwrap_err().to_string();
        assert!(typed.contains("'bytes' holds 'x' in row 2"), "{typed}");
        let digits = schema.encode(&frame(vec![numbers("bytes", &[1.0]), numbers("flag", &[1.0])])).unwrap();
        assert!(digits.row(0)[1].abs() < 1e-9 && digits.row(0)[2].abs() < 1e-9, "numbers where words were are words never seen");
    }

    #[test]
    fn nothing_to_learn_from_is_an_error_and_identifiers_are_left_out() {
        assert!(TableSchema::learn(&Frame::default()).unwrap_err().to_string().contains("no rows"));
        assert!(TableSchema::learn(&frame(vec![numbers("a", &[1.0, 1.0])])).unwrap_err().to_string().contains("more than one value"));
        let ids: Vec<String> = (0..300).map(|i| format!("id{i}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let values: Vec<f64> = (0..300).map(f64::from).collect();
        let schema = TableSchema::learn(&frame(vec![words("id", &ids), numbers("v", &values)])).unwrap();
        assert!(schema.left_out["id"].contains("identifier") && schema.names() == ["v"]);
    }
}
