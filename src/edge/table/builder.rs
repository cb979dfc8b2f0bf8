//! One column as its cells come in: every different text once. Must never turn `007` into a number before it is known that all
//! cells are numbers.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::models::table::frame::{Cells, Column, MISSING};
use crate::models::table::schema::number;

const NOTHING: [&str; 9] = ["", "NA", "N/A", "NaN", "nan", "null", "None", "?", "-"];

#[derive(Debug, Default)]
pub struct Builder {
    codes: Vec<u32>,
    words: Vec<String>,
    places: HashTable<u32>,
    hasher: FixedState,
}

impl Builder {
    /// A column whose first rows have no cell.
    #[must_use]
    pub fn after(rows: usize) -> Self {
        Self { codes: vec![MISSING; rows], ..Self::default() }
    }

    pub fn push(&mut self, cell: &str) {
        if NOTHING.contains(&cell) {
            self.codes.push(MISSING);
            return;
        }
        let Self { words, places, hasher, .. } = self;
        let hash = |word: &str| hasher.hash_one(word);
        let entry = places.entry(hash(cell), |at| words[*at as usize] == cell, |at| hash(&words[*at as usize]));
        let code = match entry {
            hashbrown::hash_table::Entry::Occupied(known) => *known.get(),
            hashbrown::hash_table::Entry::Vacant(free) => {
                let code = words.len() as u32;
                free.insert(code);
                words.push(cell.to_owned());
                code
            }
        };
        self.codes.push(code);
    }

    pub fn push_missing(&mut self) {
        self.codes.push(MISSING);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// The column: of words where `words` says so or where a cell is no number.
    #[must_use]
    pub fn finish(self, name: &str, words: Option<bool>) -> Column {
        let name = name.to_owned();
        let numbers: Option<Vec<f64>> = if words == Some(true) { None } else { self.words.iter().map(|word| number(word)).collect() };
        let cells = match numbers {
            Some(numbers) => {
                let value = |code: &u32| numbers.get(*code as usize).copied().unwrap_or(f64::NAN);
                Cells::Numbers(self.codes.iter().map(value).collect())
            }
            None => Cells::Words { codes: self.codes, words: self.words },
        };
        Column { name, cells }
    }
}
