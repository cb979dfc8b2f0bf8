//! The tail beyond which counting says nothing more: generalised Pareto, fitted to the largest scores of a reservoir.
//!
//! Must never extrapolate to a certain end: a shape below 0, which makes some finite score impossible, holds inside the reservoir only.

/// Exceedances of `0` that follow `P(X > x) = (1 + shape * x / scale)^(-1 / shape)`, or `exp(-x / scale)` for shape 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pareto {
    pub(super) scale: f64,
    pub(super) shape: f64,
}

/// Weight, in observations, of the prior belief in shape 0.5 (a heavy tail) that keeps small samples cautious.
const PRIOR_WEIGHT: f64 = 10.0;
const PRIOR_SHAPE: f64 = 0.5;
const SHAPE_MAX: f64 = 1.0;

impl Pareto {
    /// Fits positive `excesses`, ascending. `None` where they cannot be told apart.
    ///
    /// Source: Zhang, Stephens, "A New and Efficient Estimation Method for the Generalized Pareto Distribution", Technometrics
    /// 51(3), 2009; the prior on the shape is that of Vehtari et al., "Pareto Smoothed Importance Sampling", JMLR 25, 2024.
    pub(super) fn fit(excesses: &[f64]) -> Option<Self> {
        let count = excesses.len();
        let (largest, quarter) = (*excesses.last()?, *excesses.get((count / 4).min(count - 1))?);
        if quarter <= 0.0 || largest <= quarter {
            return None;
        }
        let n = count as f64;
        let candidates = 30 + libm::sqrt(n) as usize;
        // -shape / scale; its profile likelihood weighs the candidates.
        let theta = |j: usize| 1.0 / largest + (1.0 - libm::sqrt(candidates as f64 / (j as f64 + 0.5))) / (3.0 * quarter);
        let shape_of = |theta: f64| excesses.iter().map(|x| libm::log1p(-theta * x)).sum::<f64>() / n;
        let likelihood = |theta: f64| {
            let shape = shape_of(theta);
            n * (libm::log(-theta / shape) - shape - 1.0)
        };
        let likelihoods: Vec<f64> = (0..candidates).map(|j| likelihood(theta(j))).collect();
        let highest = likelihoods.iter().copied().filter(|l| l.is_finite()).reduce(f64::max)?;
        let (mut weighted, mut weights) = (0.0, 0.0);
        for (j, likelihood) in likelihoods.iter().enumerate().filter(|(_, l)| l.is_finite()) {
            let weight = libm::exp(likelihood - highest);
            weighted += weight * theta(j);
            weights += weight;
        }
        let theta = weighted / weights;
        let shape = shape_of(theta);
        let scale = -shape / theta;
        let shape = (shape * n + PRIOR_SHAPE * PRIOR_WEIGHT) / (n + PRIOR_WEIGHT);
        (scale.is_finite() && scale > 0.0 && shape.is_finite()).then_some(Self { scale, shape: shape.clamp(-SHAPE_MAX, SHAPE_MAX) })
    }

    /// `-ln P(X > excess)` in nats; infinite from the end of a tail that has one.
    pub(super) fn surprise(self, excess: f64) -> f64 {
        let y = excess.max(0.0) / self.scale;
        let stretched = self.shape * y;
        if stretched.abs() < 1e-9 {
            y
        } else if stretched <= -1.0 {
            f64::INFINITY
        } else {
            libm::log1p(stretched) / self.shape
        }
    }

    /// The distribution of what exceeds `excess`, which is of the same family; an exponential one where the tail would end.
    pub(super) fn beyond(self, excess: f64) -> Self {
        if self.shape > 0.0 {
            Self { scale: self.scale + self.shape * excess.max(0.0), shape: self.shape }
        } else {
            Self { shape: 0.0, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantiles of a generalised Pareto distribution, so that a fit has no sampling noise to blame.
    fn quantiles(shape: f64, scale: f64, count: usize) -> Vec<f64> {
        (0..count)
            .map(|i| {
                let survival = 1.0 - (i as f64 + 0.5) / count as f64;
                if shape.abs() < 1e-9 { -scale * libm::log(survival) } else { scale * (libm::pow(survival, -shape) - 1.0) / shape }
            })
            .collect()
    }

    #[test]
    fn known_tails_are_recovered() {
        for (shape, scale, shape_error) in [(-0.2, 1.0, 0.03), (0.0, 1.0, 0.03), (0.25, 2.0, 0.04), (0.5, 0.1, 0.04), (0.8, 5.0, 0.06)] {
            let fit = Pareto::fit(&quantiles(shape, scale, 1_000)).unwrap();
            assert!((fit.shape - shape).abs() < shape_error, "shape {shape}: {fit:?}");
            assert!((fit.scale / scale - 1.0).abs() < 0.1, "scale {scale}: {fit:?}");
        }
        let bounded = Pareto::fit(&quantiles(-0.4, 1.0, 1_000)).unwrap();
        assert!((bounded.shape + 0.4).abs() < 0.05, "{bounded:?}");
        let beyond = bounded.beyond(2.4);
        assert!(beyond.shape.abs() < 1e-12 && beyond.surprise(5.0).is_finite(), "extrapolated as an exponential tail: {beyond:?}");
        assert!(bounded.surprise(9.0).is_infinite());
    }

    #[test]
    fn what_has_no_tail_is_not_fitted() {
        for excesses in [vec![], vec![0.0; 50], vec![2.0; 50], vec![1.0]] {
            assert_eq!(Pareto::fit(&excesses), None, "{excesses:?}");
        }
    }

    #[test]
    fn beyond_a_point_the_tail_goes_on_as_before() {
        let tail = Pareto { scale: 2.0, shape: 0.3 };
        let joined = tail.surprise(5.0) + tail.beyond(5.0).surprise(7.0);
        assert!((joined - tail.surprise(12.0)).abs() < 1e-12);
    }
}
