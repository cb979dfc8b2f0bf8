//! What scores rows: the members for columns, or those for sequences. Must never hand the one's rows to the other.

use super::members::{FOREST, Members, NAMES, Raw, steps};
use super::nearness::Distances;
use super::rows::Rows;
use super::schema::TableSchema;
use super::wire::{Reader, Writer};
use crate::core::ensemble::Unit;
use crate::error::{Error, Result};
use crate::models::sequence::{self, Traces};

#[derive(Clone, Debug)]
pub enum Scorers {
    Columns(Box<Members>),
    Sequence(Traces),
}

impl Scorers {
    /// Fits to rows of either kind; those that are sequences are all taken as benign.
    ///
    /// # Errors
    /// `Config`: what the members refuse.
    pub fn fit(rows: &Rows, attack: &[bool], seed: u64, done: &mut dyn FnMut()) -> Result<Self> {
        match rows {
            Rows::Numbers(matrix) => Ok(Self::Columns(Box::new(Members::fit(matrix, attack, seed, done)?))),
            Rows::Traces { traces, alphabet } => {
                let fitted = Traces::fit(traces.clone(), *alphabet)?;
                done();
                Ok(Self::Sequence(fitted))
            }
        }
    }

    /// Steps that [`Self::fit`] reports.
    #[must_use]
    pub fn steps(rows: &Rows, supervised: bool) -> usize {
        if matches!(rows, Rows::Numbers(_)) { steps(supervised) } else { 1 }
    }

    /// The scores of every member and, where they are asked for, the distances to what is known.
    ///
    /// # Errors
    /// `Bug`: rows of the other kind.
    pub fn scores(&self, rows: Rows, with_distances: bool) -> Result<Raw> {
        match (self, rows) {
            (Self::Columns(members), Rows::Numbers(matrix)) => Ok(members.scores(matrix, with_distances)),
            (Self::Sequence(learned), Rows::Traces { traces, .. }) => {
                let mut scores = vec![Vec::with_capacity(traces.len()); sequence::MEMBERS.len()];
                for trace in &traces {
                    scores.iter_mut().zip(learned.answers(trace)).for_each(|(scores, answer)| scores.push(answer));
                }
                Ok(Raw { scores, distances: Distances::default() })
            }
            _ => Err(Error::bug("rows of numbers and sequences are mixed up")),
        }
    }

    /// The members' names, in the order of their scores.
    #[must_use]
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Columns(members) => &NAMES[..members.all().len()],
            Self::Sequence(_) => &sequence::MEMBERS,
        }
    }

    /// What a member's scores are measured in. The forest's lie within 0 and 1, those of other members for columns are in nats.
    #[must_use]
    pub fn unit(&self, member: usize) -> Unit {
        match self {
            Self::Columns(_) if member == FOREST => Unit::ForestScore,
            Self::Columns(_) => Unit::Sum,
            Self::Sequence(_) => sequence::UNITS[member],
        }
    }

    /// Whether distances to known rows can be told.
    #[must_use]
    pub fn knows(&self) -> bool {
        matches!(self, Self::Columns(members) if members.knows())
    }

    /// As [`Members::contributions`]; `None` for sequences.
    #[must_use]
    pub fn contributions(&self, row: &[f32]) -> Option<Vec<f32>> {
        if let Self::Columns(members) = self { members.contributions(row) } else { None }
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Columns(members) => members.to_bytes(),
            Self::Sequence(learned) => {
                let mut out = Writer::default();
                learned.write(&mut out);
                out.finish()
            }
        }
    }

    /// # Errors
    /// `Config`: not what [`Self::to_bytes`] gives for rows of this schema.
    pub fn from_bytes(bytes: &[u8], schema: &TableSchema) -> Result<Self> {
        let Some((_, symbols)) = schema.sequence() else {
            return Ok(Self::Columns(Box::new(Members::from_bytes(bytes, schema.width())?)));
        };
        let mut from = Reader::new(bytes);
        let learned = Traces::read(&mut from, symbols.len())?;
        if !from.is_at_end() || !symbols.is_sound() {
            return Err(Error::config("the sequences of the model are damaged; train it again"));
        }
        Ok(Self::Sequence(learned))
    }
}

#[cfg(test)]
mod tests;
