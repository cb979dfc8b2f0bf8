//! Weights of the members by a logistic regression on held-out rows. Must never give a negative weight: a member that would get one
//! is left out. Nor may the others cost what one member tells alone: they count where they clearly tell more.

use linfa::Dataset;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};

/// Strength of the ridge, small beside the rows there are.
const RIDGE: f64 = 1.0;
const ROUNDS_MAX: u64 = 200;
/// Weights are rounded to this share, so that machines whose logarithms differ in the last bits agree.
const GRAIN: f64 = 1e-4;
/// Standard errors by which all together must tell more than one alone.
const ERRORS_MIN: f64 = 3.0;

/// Weights and what is added to their sum: log-odds.
struct Fitted {
    weights: Vec<f32>,
    base: f64,
}

/// One weight a member; `parts` holds the surprises of every row, one behind the other. Only `alone` has one where the others do not tell
/// clearly more. `None` where nothing can be learned.
#[must_use]
pub fn weights(parts: &[f32], members: usize, attack: &[bool], alone: usize) -> Option<Vec<f32>> {
    let all = fitted(parts, members, attack, (0..members).collect())?;
    let Some(one) = fitted(parts, members, attack, vec![alone]) else { return Some(all.weights) };
    let gains: Vec<f64> =
        parts.chunks_exact(members).zip(attack).map(|(row, attack)| one.loss(row, *attack) - all.loss(row, *attack)).collect();
    let sum: f64 = gains.iter().sum();
    let error = libm::sqrt(gains.iter().map(|gain| gain * gain).sum());
    Some(if sum > ERRORS_MIN * error { all.weights } else { one.weights })
}

impl Fitted {
    /// The logarithmic loss of a row.
    fn loss(&self, parts: &[f32], attack: bool) -> f64 {
        let sum = self.base + self.weights.iter().zip(parts).map(|(weight, part)| f64::from(weight * part)).sum::<f64>();
        let against = if attack { -sum } else { sum };
        against.max(0.0) + libm::log1p(libm::exp(-against.abs()))
    }
}

/// Weights of these members; those that would get a negative one are left out, worst first.
fn fitted(parts: &[f32], members: usize, attack: &[bool], mut left: Vec<usize>) -> Option<Fitted> {
    while !left.is_empty() {
        let columns: Vec<f64> = parts.chunks_exact(members).flat_map(|row| left.iter().map(|m| f64::from(row[*m]))).collect();
        let rows = Array2::from_shape_vec((attack.len(), left.len()), columns).ok()?;
        let dataset = Dataset::new(rows, Array1::from(attack.to_vec()));
        let model = LogisticRegression::default().alpha(RIDGE).max_iterations(ROUNDS_MAX).fit(&dataset).ok()?;
        // The regression takes whichever class it likes as positive.
        let sign = if model.labels().pos.class { 1.0 } else { -1.0 };
        let fitted: Vec<f64> = model.params().iter().map(|weight| sign * weight).collect();
        let Some(worst) = (0..left.len()).filter(|i| fitted[*i] < 0.0).min_by(|a, b| fitted[*a].total_cmp(&fitted[*b])) else {
            let mut weights = vec![0.0; members];
            left.iter().zip(&fitted).for_each(|(member, weight)| weights[*member] = (libm::round(weight / GRAIN) * GRAIN) as f32);
            let base = sign * model.intercept();
            return weights.iter().any(|weight| *weight > 0.0).then_some(Fitted { weights, base });
        };
        left.remove(worst);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::random::Random;

    #[test]
    fn a_member_that_tells_gets_the_weight_and_one_that_misleads_gets_none() {
        let mut random = Random::new(1);
        let (mut parts, mut attack) = (Vec::new(), Vec::new());
        for i in 0..4_000 {
            let is_attack = i % 4 == 0;
            let shift = if is_attack { 3.0 } else { 0.0 };
            parts.extend([shift + 2.0 * random.unit(), 5.0 * random.unit(), 4.0 - shift + 6.0 * random.unit()].map(|v| v as f32));
            attack.push(is_attack);
        }
        let all = weights(&parts, 3, &attack, 1).unwrap();
        assert!(all[0] > 1.0 && all[1].abs() < 0.5 && all[2].abs() < 1e-9, "{all:?}");
        let one = weights(&parts, 3, &attack, 0).unwrap();
        assert!(one[0] > 1.0 && one[1..] == [0.0, 0.0], "the others tell nothing that it does not: {one:?}");
    }
}
