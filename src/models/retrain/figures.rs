//! What two models make of the same held-out rows: rates at a false-positive rate, their difference with an interval, agreement.
//!
//! Rows of one entity in one hour are drawn together, because they stand and fall together.

use crate::models::random::Random;

/// Draws of the interval.
const DRAWS: usize = 400;

/// The rows that both models scored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truths {
    /// Of each row: an attack, benign, or unknown.
    pub attack: Vec<Option<bool>>,
    /// What the row is drawn together with, from 0 on without gaps.
    pub cluster: Vec<u32>,
}

/// What one model made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// Nats.
    pub surprise: Vec<f32>,
    /// Whether the row is a threat by the pipeline's thresholds.
    pub threat: Vec<bool>,
}

/// A difference, new less old, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    pub value: f64,
    pub interval95: [f64; 2],
}

impl Truths {
    /// Attacks and benign rows.
    #[must_use]
    pub fn counts(&self) -> [usize; 2] {
        [true, false].map(|wanted| self.attack.iter().filter(|attack| **attack == Some(wanted)).count())
    }

    /// Different clusters among attacks.
    #[must_use]
    pub fn attack_clusters(&self) -> usize {
        let mut clusters: Vec<u32> =
            self.attack.iter().zip(&self.cluster).filter(|(attack, _)| **attack == Some(true)).map(|(_, cluster)| *cluster).collect();
        clusters.sort_unstable();
        clusters.dedup();
        clusters.len()
    }

    fn clusters(&self) -> usize {
        self.cluster.iter().max().map_or(0, |last| *last as usize + 1)
    }
}

/// Labelled rows of a model, most surprising first.
struct Ranked<'t> {
    truths: &'t Truths,
    /// Row, and whether the next one is less surprising.
    order: Vec<(u32, bool)>,
}

impl<'t> Ranked<'t> {
    fn new(truths: &'t Truths, scored: &Scored) -> Self {
        let surprise = |row: u32| scored.surprise[row as usize];
        let mut rows: Vec<u32> = (0..truths.attack.len() as u32).filter(|row| truths.attack[*row as usize].is_some()).collect();
        rows.sort_unstable_by(|a, b| surprise(*b).total_cmp(&surprise(*a)).then(a.cmp(b)));
        let ends = |place: usize| rows.get(place + 1).is_none_or(|next| surprise(*next) < surprise(rows[place]));
        let order = (0..rows.len()).map(|place| (rows[place], ends(place))).collect();
        Self { truths, order }
    }

    /// The share of attacks found at a threshold that at most `limit` of the benign rows reach; each cluster counts `weights` times.
    fn found(&self, weights: &[u32], limit: f64) -> f64 {
        let weight = |row: u32| u64::from(weights[self.truths.cluster[row as usize] as usize]);
        let (mut attacks, mut benign) = (0, 0);
        for (row, _) in &self.order {
            let of = if self.truths.attack[*row as usize] == Some(true) { &mut attacks } else { &mut benign };
            *of += weight(*row);
        }
        let (mut found, mut wrong, mut reached) = (0, 0, 0);
        for (row, ends) in &self.order {
            let of = if self.truths.attack[*row as usize] == Some(true) { &mut found } else { &mut wrong };
            *of += weight(*row);
            if wrong as f64 > limit * benign as f64 {
                break;
            }
            if *ends {
                reached = found;
            }
        }
        reached as f64 / attacks.max(1) as f64
    }
}

/// The share of attacks that a model finds at a false-positive rate of `limit` among the labelled rows.
#[must_use]
pub fn found_at(truths: &Truths, scored: &Scored, limit: f64) -> f64 {
    Ranked::new(truths, scored).found(&vec![1; truths.clusters()], limit)
}

/// How much more the new model finds at a false-positive rate of `limit`.
#[must_use]
pub fn difference(truths: &Truths, [old, new]: [&Scored; 2], limit: f64, seed: u64) -> Difference {
    let [old, new] = [old, new].map(|scored| Ranked::new(truths, scored));
    drawn(truths, seed, |weights| new.found(weights, limit) - old.found(weights, limit))
}

/// How many more of the attacks are threats by the pipeline's own thresholds.
#[must_use]
pub fn difference_of_threats(truths: &Truths, sides: [&Scored; 2], seed: u64) -> Difference {
    drawn(truths, seed, |weights| {
        let [old, new] = sides.map(|scored| threats_among(truths, scored, true, weights));
        new - old
    })
}

/// The share of the attacks, or of the benign rows, that are threats.
#[must_use]
pub fn share_of_threats(truths: &Truths, scored: &Scored, attack: bool) -> f64 {
    threats_among(truths, scored, attack, &vec![1; truths.clusters()])
}

fn threats_among(truths: &Truths, scored: &Scored, attack: bool, weights: &[u32]) -> f64 {
    let (mut all, mut threats) = (0, 0);
    let rows = truths.attack.iter().zip(&truths.cluster).zip(&scored.threat).filter(|((label, _), _)| **label == Some(attack));
    for ((_, cluster), threat) in rows {
        let weight = u64::from(weights[*cluster as usize]);
        all += weight;
        threats += weight * u64::from(*threat);
    }
    threats as f64 / all.max(1) as f64
}

/// A difference and its interval, by draws of clusters with replacement.
fn drawn(truths: &Truths, seed: u64, of: impl Fn(&[u32]) -> f64) -> Difference {
    let clusters = truths.clusters();
    let mut random = Random::new(seed);
    let mut draws: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let mut weights = vec![0_u32; clusters];
            (0..clusters).for_each(|_| weights[random.below(clusters as u64) as usize] += 1);
            of(&weights)
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| draws[((DRAWS - 1) as f64 * share) as usize];
    Difference { value: of(&vec![1; clusters]), interval95: [at(0.025), at(0.975)] }
}

/// Of the `share` most surprising rows by one model, the part that is among as many by the other.
#[must_use]
pub fn agreement(a: &Scored, b: &Scored, share: f64) -> f64 {
    let rows = a.surprise.len();
    let wanted = ((rows as f64 * share) as usize).clamp(1, rows.max(1));
    let top = |scored: &Scored| {
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_unstable_by(|a, b| scored.surprise[*b].total_cmp(&scored.surprise[*a]).then(a.cmp(b)));
        order.truncate(wanted);
        order.sort_unstable();
        order
    };
    let (a, b) = (top(a), top(b));
    a.iter().filter(|row| b.binary_search(row).is_ok()).count() as f64 / wanted as f64
}

#[cfg(test)]
pub(crate) mod tests;
