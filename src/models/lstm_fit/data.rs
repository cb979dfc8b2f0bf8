//! Sequences as training takes them: pieces of similar length in groups. Must never mix two sequences' elements.

use super::pass::{Elements, Stretch};
use crate::core::detect::lstm::RowWeights;
use crate::core::detect::lstm::kernel::CLIP;
use crate::models::matrix::Matrix;
use crate::models::random::Random;

/// Longer sequences are cut; each piece begins without a memory, as an entity does.
const PIECE_MAX: usize = 1_024;

pub(super) struct Data {
    sequences: Vec<Elements>,
    width: usize,
    pieces: Vec<Piece>,
}

/// A part of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    sequence: usize,
    start: usize,
    pub(super) length: usize,
}

impl Data {
    pub(super) fn rows(sequences: &[Matrix], weights: &RowWeights) -> Self {
        let width = weights.center.len();
        let standardised = sequences.iter().map(|matrix| {
            let values = matrix.iter().flat_map(|row| {
                row.iter().zip(&weights.center).zip(&weights.inverse_spread).map(|((value, center), inverse)| {
                    let value = (value - center) * inverse;
                    if value.is_nan() { 0.0 } else { value.clamp(-CLIP, CLIP) }
                })
            });
            Elements::Rows(values.collect())
        });
        Self::new(standardised.collect(), width)
    }

    pub(super) fn symbols(traces: &[Vec<u32>], alphabet: usize) -> Self {
        let known = |symbol: &u32| if (*symbol as usize) < alphabet { *symbol } else { 0 };
        Self::new(traces.iter().map(|trace| Elements::Symbols(trace.iter().map(known).collect())).collect(), 1)
    }

    fn new(sequences: Vec<Elements>, width: usize) -> Self {
        let mut pieces = vec![];
        for (sequence, elements) in sequences.iter().enumerate() {
            let length = match elements {
                Elements::Rows(values) => values.len() / width.max(1),
                Elements::Symbols(symbols) => symbols.len(),
            };
            pieces.extend((0..length).step_by(PIECE_MAX).map(|start| Piece { sequence, start, length: PIECE_MAX.min(length - start) }));
        }
        Self { sequences, width, pieces }
    }

    pub(super) fn is_of_symbols(&self) -> bool {
        matches!(self.sequences.first(), Some(Elements::Symbols(_)))
    }

    pub(super) fn elements(&self) -> usize {
        self.pieces.iter().map(|piece| piece.length).sum()
    }

    /// Groups of up to `size` pieces of similar length, longest first; shuffled where there is a `random`.
    pub(super) fn groups(&self, size: usize, random: Option<&mut Random>) -> Vec<Vec<Piece>> {
        let mut pieces = self.pieces.clone();
        let Some(random) = random else {
            pieces.sort_by_key(|piece| std::cmp::Reverse(piece.length));
            return pieces.chunks(size).map(<[Piece]>::to_vec).collect();
        };
        shuffle(&mut pieces, random);
        // A length counts up to a quarter more, drawn anew each time, so that the same pieces do not always meet.
        let mut keyed: Vec<(u64, Piece)> = pieces.into_iter().map(|piece| (piece.length as u64 * (64 + random.below(16)), piece)).collect();
        keyed.sort_by_key(|(key, _)| std::cmp::Reverse(*key));
        let mut groups: Vec<Vec<Piece>> = keyed.chunks(size).map(|group| group.iter().map(|(_, piece)| *piece).collect()).collect();
        for group in &mut groups {
            group.sort_by_key(|piece| std::cmp::Reverse(piece.length));
        }
        shuffle(&mut groups, random);
        groups
    }

    /// `steps` elements of each piece from its `from`th on.
    pub(super) fn stretch(&self, pieces: &[Piece], from: usize, steps: usize) -> Stretch {
        let mut present = Vec::with_capacity(steps * pieces.len());
        let (mut rows, mut symbols) = (vec![], vec![]);
        for step in from..from + steps {
            for piece in pieces {
                let inside = step < piece.length;
                present.push(f32::from(u8::from(inside)));
                let at = piece.start + step;
                match &self.sequences[piece.sequence] {
                    Elements::Rows(values) if inside => rows.extend_from_slice(&values[at * self.width..][..self.width]),
                    Elements::Rows(_) => rows.resize(rows.len() + self.width, 0.0),
                    Elements::Symbols(trace) => symbols.push(if inside { trace[at] } else { 0 }),
                }
            }
        }
        let elements = if symbols.is_empty() { Elements::Rows(rows) } else { Elements::Symbols(symbols) };
        Stretch { elements, present, sequences: pieces.len() }
    }
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}
