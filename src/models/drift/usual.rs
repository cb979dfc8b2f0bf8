//! How far stretches of what was learned from lay from the whole of it, for stretches of several lengths: day and night differ, an
//! entity's rows come together, and chance adds to both. Must never know anything of the traffic that is judged by it.

use serde::{Deserialize, Serialize};

use super::{Counts, NOMINAL, Reference, ks, psi};

/// What was learned from is cut into so many stretches of equally many rows.
const PARTS: [usize; 7] = [256, 128, 64, 32, 16, 8, 4];
/// Shorter stretches show nothing but chance.
const ROWS_MIN: usize = 100;
/// The shortest stretch that is looked at, as a part of the whole.
pub const PART_MIN: f64 = 1.0 / 256.0;

/// Of stretches of one length: something known.
pub trait Stretches {
    /// How many of them make the whole.
    fn parts(&self) -> u32;
}

/// The most that any stretch lay from the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsualDistance {
    pub parts: u32,
    pub psi: f64,
    pub ks: f64,
}

/// How much the shares of small p-values differ, beyond chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsualShares {
    pub parts: u32,
    /// Standard deviation of how often each of [`NOMINAL`] came, as a multiple of how often it should.
    pub spreads: [f64; NOMINAL.len()],
}

impl Stretches for UsualDistance {
    fn parts(&self) -> u32 {
        self.parts
    }
}

impl Stretches for UsualShares {
    fn parts(&self) -> u32 {
        self.parts
    }
}

impl UsualDistance {
    pub(super) fn is_sound(&self) -> bool {
        self.parts > 0 && [self.psi, self.ks].iter().all(|value| value.is_finite() && *value >= 0.0)
    }
}

/// What is known of the longest stretches that are no longer than `part` of the whole; of the shortest where all are longer.
pub(super) fn covered<T: Stretches>(known: &[T], part: f64) -> Option<&T> {
    let fits = known.iter().filter(|of| 1.0 / f64::from(of.parts()) <= part);
    fits.min_by_key(|of| of.parts()).or_else(|| known.iter().max_by_key(|of| of.parts()))
}

/// Cuts rows in order of time into as many stretches as `parts` says, where they are long enough.
fn stretches<T>(rows: &[T], parts: usize) -> Option<impl Iterator<Item = &[T]>> {
    let cut = move |part: usize| part * rows.len() / parts;
    (rows.len() >= parts * ROWS_MIN).then(|| (0..parts).map(move |part| &rows[cut(part)..cut(part + 1)]))
}

/// Of the values that `reference` was made of, in order of time.
pub(super) fn distances(reference: &Reference, values: &[f32]) -> Vec<UsualDistance> {
    let of_parts = |parts: usize| {
        // A stretch is a part of what it is compared with, which later ones are not: these lie further away.
        let part = 1.0 / parts as f64;
        let further = (1.0 + part) / (1.0 - part);
        let mut usual = UsualDistance { parts: parts as u32, psi: 0.0, ks: 0.0 };
        for stretch in stretches(values, parts)? {
            let mut counts = Counts { bins: vec![0; reference.group_of.len()], rows: 0 };
            stretch.iter().filter(|value| !value.is_nan()).for_each(|value| counts.add(reference, *value));
            if counts.rows > 0 {
                usual.psi = usual.psi.max(further * psi(reference, &counts));
                usual.ks = usual.ks.max(libm::sqrt(further) * ks(reference, &counts));
            }
        }
        Some(usual)
    };
    PARTS.into_iter().filter_map(of_parts).collect()
}

/// Of the surprises, in nats, of what was learned from, in order of time.
#[must_use]
pub fn shares(surprises: &[f32]) -> Vec<UsualShares> {
    let of_parts = |parts: usize| {
        let mut squares = [0.0; NOMINAL.len()];
        for stretch in stretches(surprises, parts)? {
            for (square, nominal) in squares.iter_mut().zip(NOMINAL) {
                let expected = nominal * stretch.len() as f64;
                let count = stretch.iter().filter(|nats| f64::from(**nats) >= -libm::log(nominal)).count() as f64;
                let off = count / expected - 1.0;
                *square += (off * off - 1.0 / expected) / parts as f64;
            }
        }
        Some(UsualShares { parts: parts as u32, spreads: squares.map(|square| libm::sqrt(square.max(0.0))) })
    };
    PARTS.into_iter().filter_map(of_parts).collect()
}
