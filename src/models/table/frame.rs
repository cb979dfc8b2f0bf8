//! A table as it was read: named columns of numbers or of words, each cell possibly missing. Must never guess a cell.

use crate::error::{Error, Result};

/// The code of a missing word.
pub const MISSING: u32 = u32::MAX;

/// Columns of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub cells: Cells,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// NaN is missing.
    Numbers(Vec<f64>),
    /// Indices of `words`; [`MISSING`] is missing.
    Words { codes: Vec<u32>, words: Vec<String> },
}

impl Cells {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Words { codes, .. } => codes.len(),
        }
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A word; `None` where it is missing, or where there are numbers.
    #[must_use]
    pub fn word(&self, row: usize) -> Option<&str> {
        match self {
            Self::Numbers(_) => None,
            Self::Words { codes, words } => words.get(codes[row] as usize).map(String::as_str),
        }
    }
    /// A cell as text; `None` where it is missing.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<String> {
        match self {
            Self::Numbers(values) => Some(values[row]).filter(|v| !v.is_nan()).map(|v| v.to_string()),
            Self::Words { .. } => self.word(row).map(str::to_owned),
        }
    }
    fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(values) => Self::Numbers(rows.iter().map(|row| values[*row]).collect()),
            Self::Words { codes, words } => Self::Words { codes: rows.iter().map(|row| codes[*row]).collect(), words: words.clone() },
        }
    }
}

impl Frame {
    /// # Errors
    /// `Config`: columns of several lengths, or two of one name.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        let rows = columns.first().map_or(0, |column| column.cells.len());
        if let Some(other) = columns.iter().find(|column| column.cells.len() != rows) {
            return Err(Error::config(format!("column '{}' has {} rows and others have {rows}", other.name, other.cells.len())));
        }
        let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::config(format!("two columns are named '{}'; rename one of them or give names with --columns", pair[0])));
        }
        Ok(Self { columns, rows })
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Takes a column out.
    ///
    /// # Errors
    /// `Config`: there is none of that name; the nearest names are named.
    pub fn take(&mut self, name: &str) -> Result<Column> {
        let place = self.columns.iter().position(|column| column.name == name).ok_or_else(|| self.absent(name))?;
        Ok(self.columns.remove(place))
    }

    /// The error for a column that is not there.
    #[must_use]
    pub fn absent(&self, name: &str) -> Error {
        let near = self
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)).then(b.cmp(a)));
        let hint = near.map_or(String::new(), |near| format!("; the nearest is '{near}'"));
        Error::config(format!("there is no column '{name}'{hint}"))
    }

    /// One column's cells in another order, all others as they are.
    #[must_use]
    pub fn permuted(&self, column: usize, order: &[usize]) -> Self {
        let mut columns = self.columns.clone();
        columns[column].cells = self.columns[column].cells.select(order);
        Self { columns, rows: self.rows }
    }

    /// These rows, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|c| Column { name: c.name.clone(), cells: c.cells.select(rows) }).collect();
        Self { columns, rows: rows.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str, values: &[f64]) -> Column {
        Column { name: name.into(), cells: Cells::Numbers(values.to_vec()) }
    }

    #[test]
    fn columns_must_fit_and_names_differ() {
        assert!(Frame::new(vec![numbers("a", &[1.0]), numbers("b", &[])]).is_err());
        assert!(Frame::new(vec![numbers("a", &[1.0]), numbers("a", &[2.0])]).unwrap_err().to_string().contains("'a'"));
        let mut frame = Frame::new(vec![numbers("bytes", &[1.0, f64::NAN, 3.0]), numbers("packets", &[4.0, 5.0, 6.0])]).unwrap();
        assert!(frame.take("byte").unwrap_err().to_string().contains("the nearest is 'bytes'"));
        let chosen = frame.select(&[2, 1]);
        assert_eq!((chosen.columns()[0].cells.text(0), chosen.columns()[0].cells.text(1)), (Some("3".into()), None));
        assert_eq!(frame.take("packets").unwrap().cells.len(), 3);
        assert_eq!(frame.columns().len(), 1);
    }
}
