//! Permutation importance: how many fewer attacks are found at a false-positive rate of 0.8 % when one feature's values are dealt out
//! anew among the rows. Source: Breiman, "Random Forests", Machine Learning 45, 2001, with the rate in place of accuracy.
//!
//! Features that tell the same share their importance. Must never give another result for the same rows and seed.

use serde::Serialize;

use super::random::Random;
use super::table::report::found_at;
use crate::error::Result;

/// The false-positive rate.
pub const RATE: f64 = 0.008;

/// What scores rows: as they are, or with one feature's values in another order.
pub trait Scorer {
    /// Names of the features, and whether each is one detector's whole score.
    fn features(&self) -> Vec<(String, Kind)>;
    /// Row `i` has the value of row `order[i]` in `feature`; as it is without one.
    ///
    /// # Errors
    /// The rows do not fit the model.
    fn scores(&mut self, permuted: Option<(usize, &[usize])>) -> Result<Vec<f32>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Feature,
    Detector,
}

/// One feature's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    pub feature_name: String,
    pub kind: Kind,
    /// How much less is found: mean, standard deviation, least and most over the repeats.
    pub importance: f64,
    pub spread: f64,
    pub least: f64,
    pub most: f64,
}

/// Everything, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Importance {
    pub model_id: String,
    pub analysis_type: &'static str,
    /// What is found with all features as they are.
    pub tpr_at_fpr008: f64,
    pub rows: u64,
    pub attacks: u64,
    pub repeats: u32,
    pub seed: u64,
    /// Most important first.
    pub features: Vec<Feature>,
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub repeats: u32,
    pub seed: u64,
}

/// Measures every feature. `progress` is told the scorings that are done, of how many.
///
/// # Errors
/// Of the scorer.
pub fn importance(
    model_id: &str,
    attack: &[bool],
    scorer: &mut dyn Scorer,
    settings: Settings,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Importance> {
    let whole = found_at(&scorer.scores(None)?, attack, RATE);
    let names = scorer.features();
    let (repeats, mut done) = (settings.repeats.max(1), 0);
    let mut features = vec![];
    for (feature, (name, kind)) in names.iter().enumerate() {
        // Each feature has numbers of its own: leaving one out changes no other.
        let mut random = Random::new(settings.seed ^ (feature as u64 + 1) << 32);
        let mut drops = vec![];
        for _ in 0..repeats {
            let order = shuffled(attack.len(), &mut random);
            drops.push(whole - found_at(&scorer.scores(Some((feature, &order)))?, attack, RATE));
            done += 1;
            progress(done, names.len() * repeats as usize);
        }
        features.push(summed(name, *kind, &drops));
    }
    features.sort_by(|a, b| b.importance.total_cmp(&a.importance));
    Ok(Importance {
        model_id: model_id.to_owned(),
        analysis_type: "permutation",
        tpr_at_fpr008: whole,
        rows: attack.len() as u64,
        attacks: attack.iter().filter(|attack| **attack).count() as u64,
        repeats,
        seed: settings.seed,
        features,
    })
}

fn shuffled(rows: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    (1..rows).for_each(|row| order.swap(row, random.below(row as u64 + 1) as usize));
    order
}

fn summed(name: &str, kind: Kind, drops: &[f64]) -> Feature {
    let count = drops.len() as f64;
    let mean = drops.iter().sum::<f64>() / count;
    let squares: f64 = drops.iter().map(|drop| (drop - mean) * (drop - mean)).sum();
    Feature {
        feature_name: name.to_owned(),
        kind,
        importance: mean,
        spread: libm::sqrt(squares / (count - 1.0).max(1.0)),
        least: drops.iter().copied().fold(f64::INFINITY, f64::min),
        most: drops.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Rows of both kinds, at most so many of each: a uniform sample (Vitter's algorithm R), in no order.
#[derive(Clone, Debug)]
pub struct Chosen<T> {
    rows: [Vec<T>; 2],
    seen: [u64; 2],
    most: usize,
    random: Random,
}

impl<T> Chosen<T> {
    #[must_use]
    pub fn new(most: usize, seed: u64) -> Self {
        Self { rows: [vec![], vec![]], seen: [0; 2], most: most.max(1), random: Random::new(seed) }
    }

    /// Takes a row; it is made only if it is kept.
    pub fn push(&mut self, attack: bool, row: impl FnOnce() -> T) {
        let kind = usize::from(attack);
        self.seen[kind] += 1;
        if self.rows[kind].len() < self.most {
            return self.rows[kind].push(row());
        }
        let place = self.random.below(self.seen[kind]) as usize;
        if place < self.most {
            self.rows[kind][place] = row();
        }
    }

    /// The rows, and which are attacks.
    #[must_use]
    pub fn into_rows(self) -> (Vec<T>, Vec<bool>) {
        let [benign, attacks] = self.rows;
        let labels = std::iter::repeat_n(false, benign.len()).chain(std::iter::repeat_n(true, attacks.len())).collect();
        (benign.into_iter().chain(attacks).collect(), labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first column tells everything, the second half as much, the third nothing.
    struct Planted(Vec<[f32; 3]>);

    impl Scorer for Planted {
        fn features(&self) -> Vec<(String, Kind)> {
            ["planted", "weak", "noise"].map(|name| (name.to_owned(), Kind::Feature)).to_vec()
        }
        fn scores(&mut self, permuted: Option<(usize, &[usize])>) -> Result<Vec<f32>> {
            let cell = |row: usize, feature: usize| match permuted {
                Some((other, order)) if other == feature => self.0[order[row]][feature],
                _ => self.0[row][feature],
            };
            Ok((0..self.0.len()).map(|row| cell(row, 0) + 0.3 * cell(row, 1)).collect())
        }
    }

    fn planted() -> (Planted, Vec<bool>) {
        let mut random = Random::new(3);
        let attack: Vec<bool> = (0..4_000).map(|row| row % 10 == 0).collect();
        let row = |attack: &bool| {
            let step = if *attack { 4.0 } else { 0.0 };
            [step + random.unit() as f32 * 3.0, step + random.unit() as f32 * 5.0, random.unit() as f32]
        };
        (Planted(attack.iter().map(row).collect()), attack)
    }

    #[test]
    fn a_planted_feature_stands_first_and_noise_counts_for_nothing() {
        let (mut scorer, attack) = planted();
        let (settings, mut told) = (Settings { repeats: 5, seed: 1 }, 0);
        let found = importance("v", &attack, &mut scorer, settings, &mut |done, of| told = of - done).unwrap();
        assert!(found.tpr_at_fpr008 > 0.95 && told == 0 && (found.rows, found.attacks) == (4_000, 400), "{found:?}");
        let [first, second, last] = found.features.as_slice() else { panic!("{found:?}") };
        assert_eq!([&first.feature_name, &second.feature_name, &last.feature_name], ["planted", "weak", "noise"]);
        assert!(first.importance > 0.5 && first.spread > 0.0 && first.least <= first.importance && first.most >= first.importance);
        assert!(second.importance > 0.0 && second.importance < first.importance);
        assert_eq!((last.importance.to_bits(), last.spread.to_bits()), (0.0_f64.to_bits(), 0.0_f64.to_bits()));
        assert_eq!(importance("v", &attack, &mut scorer, settings, &mut |_, _| {}).unwrap(), found, "the same seed");
        let other = importance("v", &attack, &mut scorer, Settings { seed: 2, ..settings }, &mut |_, _| {}).unwrap();
        assert_ne!(other.features[0].importance.to_bits(), found.features[0].importance.to_bits());
    }

    #[test]
    fn rows_of_both_kinds_are_kept_up_to_the_bound() {
        let mut chosen = Chosen::new(100, 1);
        (0..10_000).for_each(|row| chosen.push(row % 200 == 0, || row));
        let (rows, attack) = chosen.into_rows();
        assert_eq!((rows.len(), attack.iter().filter(|attack| **attack).count()), (150, 50));
        assert!(rows.iter().zip(&attack).all(|(row, attack)| (row % 200 == 0) == *attack));
        assert!(rows[..100].iter().filter(|row| **row > 5_000).count() > 30, "of all of them");
    }
}
