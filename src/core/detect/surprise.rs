//! The statistics of the detectors: how surprising an observation is, in nats.
//!
//! Every function gives 0 for what is expected, grows continuously and without bound, and never more than the logarithm of the
//! tail it stands for: `exp(-surprise)` may be read as a p-value that errs on the safe side. The common case leaves early and
//! costs a comparison; transcendental functions come from `libm` only. Nothing here ever panics or gives NaN for finite input.

/// From 1.4826 x the median absolute deviation to the scale of a logistic distribution, whose MAD is `scale * ln 3`.
const LOGISTIC_SCALE: f32 = 0.613_95;

/// Larger surprises than this mean nothing more, and sums of them stay finite.
pub const NATS_MAX: f32 = 10_000.0;

/// Cuts into `0..=NATS_MAX`; NaN becomes 0.
#[must_use]
#[inline]
pub fn bounded(nats: f32) -> f32 {
    // Not `clamp`, which would keep NaN.
    if nats > 0.0 { nats.min(NATS_MAX) } else { 0.0 }
}

/// Cuts into `0..=1`; NaN becomes 0.
#[must_use]
#[inline]
pub fn share(value: f32) -> f32 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// 0 up to `from`, 1 past `to`, linear between.
#[must_use]
#[inline]
pub fn ramp(value: f32, from: f32, to: f32) -> f32 {
    // With constant bounds the reciprocal is one too.
    share((value - from) * (1.0 / (to - from)))
}

/// Surprise of seeing at least `observed` where `expected` is the mean of a negative binomial distribution with this `shape`.
///
/// The variance is `expected + expected^2 / shape`: events of people and machines come in bursts, so a shape of 1 or 2 suits
/// them, and a large one nears Poisson. The value is the Chernoff bound (Chernoff 1952) `x ln(x/m) - (x+r) ln((x+r)/(m+r))`,
/// which holds for fractional (decayed) counts too. An `expected` of 0 would make everything infinitely surprising: callers
/// add what a stranger may do.
#[must_use]
#[inline]
pub fn count_excess(observed: f32, expected: f32, shape: f32) -> f32 {
    // Written so that NaN leaves here too.
    if observed > expected && expected > 0.0 { count_tail(observed, expected, shape) } else { 0.0 }
}

#[cold]
fn count_tail(observed: f32, expected: f32, shape: f32) -> f32 {
    let more = observed - expected;
    // x ln(x (m+r) / (m (x+r))) - r ln((x+r) / (m+r)), each logarithm of 1 + something small where they would cancel.
    let gain = observed * libm::log1pf(shape * more / (expected * (observed + shape)));
    let spread = shape * libm::log1pf(more / (expected + shape));
    bounded(gain - spread)
}

/// [`count_excess`] without bursts: Poisson, `x ln(x/m) - (x - m)`.
#[must_use]
#[inline]
pub fn poisson_excess(observed: f32, expected: f32) -> f32 {
    if observed > expected && expected > 0.0 { bounded(observed * libm::logf(observed / expected) - (observed - expected)) } else { 0.0 }
}

/// Surprise of a value above its own robust centre, given `1.4826 x MAD` as `spread`.
///
/// Under a logistic distribution with that MAD the two-sided tail is `ln((1 + e^y) / 2)` with `y` the distance in scales; this is
/// its lower bound `sqrt(1 + y^2) - 1`, which costs a square root. For logarithms of volumes it means log-logistic tails, which
/// fall as a power of the volume. `spread_min` keeps a constant history from making any change infinitely surprising. A spread
/// of 0 says that there is no history: 0.
#[must_use]
#[inline]
pub fn robust_excess(value: f32, center: f32, spread: f32, spread_min: f32) -> f32 {
    // Selections instead of branches: half of all values lie above their median, so a branch would be guessed wrong often.
    let above = if value > center { value - center } else { 0.0 };
    let known = if spread > 0.0 { 1.0 } else { 0.0 };
    let y = above / (LOGISTIC_SCALE * spread.max(spread_min));
    bounded(known * ((1.0 + y * y).sqrt() - 1.0))
}

/// Mean absolute deviation of intervals as a share of their mean when they are random (exponential): 2/e.
pub const RANDOM_JITTER: f32 = 0.735_76;
/// Clocks, queues and whole-second time stamps make no machine more regular than this.
const JITTER_MIN: f32 = 0.02;
/// An entity has hundreds of destinations, each of which may look regular for a while: ln 400.
const SEARCH_PRICE: f32 = 6.0;

/// Log-likelihood ratio, nats, of regular intervals against random ones, less the price of having looked at many series.
///
/// Regular is a Laplace distribution around the mean interval, whose best scale is the mean absolute deviation; random is an
/// exponential distribution with the same mean. With `count` intervals and `jitter` their mean absolute deviation as a share of
/// the mean, the ratio is `count * ln(1 / (2 jitter))` (Laplace and exponential densities at their maximum likelihood).
#[must_use]
#[inline]
pub fn periodic_excess(count: f32, jitter: f32) -> f32 {
    if count > 0.0 && jitter < 0.5 { bounded(-count * libm::logf(2.0 * jitter.max(JITTER_MIN)) - SEARCH_PRICE) } else { 0.0 }
}

/// Grows like `nats` below `knee` and like its logarithm above: for evidence whose every further item says less than the one
/// before, because what is unusual about it is one habit and not many.
#[must_use]
#[inline]
pub fn compressed(nats: f32, knee: f32) -> f32 {
    if nats > 0.0 { bounded(knee * libm::log1pf(nats / knee)) } else { 0.0 }
}

/// The largest of several surprises and the share `others` of each other one: one strong anomaly is enough, several moderate ones add
/// up, and related ones are not counted twice.
#[must_use]
#[inline]
pub fn strongest<const N: usize>(parts: [f32; N], others: f32) -> f32 {
    let (mut sum, mut most) = (0.0_f32, 0.0_f32);
    for part in parts {
        sum += part;
        most = most.max(part);
    }
    bounded(most + others * (sum - most))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what is expected scores exactly 0")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// -ln P(X >= observed) of a negative binomial by summing its terms in f64.
    fn exact_tail(observed: u32, mean: f64, shape: f64) -> f64 {
        let p = mean / (mean + shape);
        let mut term = libm::exp(shape * libm::log(1.0 - p));
        let mut below = 0.0;
        let mut above = 0.0;
        for k in 0..observed + 5_000 {
            if k < observed {
                below += term
            } else {
                above += term
            }
            term *= p * (shape + f64::from(k)) / f64::from(k + 1);
        }
        -libm::log(if above > 0.0 { above } else { 1.0 - below })
    }

    #[test]
    fn the_bound_is_never_above_the_exact_tail_and_close_to_it() {
        for (observed, mean, shape) in [(5, 1.5, 1.0), (30, 1.5, 1.0), (100, 20.0, 1.0), (12, 2.0, 4.0), (60, 8.0, 1.5), (40, 10.0, 1e5)] {
            let exact = exact_tail(observed, mean, shape) as f32;
            let bound = count_excess(observed as f32, mean as f32, shape as f32);
            assert!(bound <= exact + 1e-2 && bound > exact - 4.0, "{observed} of {mean}: bound {bound}, exact {exact}");
        }
        let near_poisson = count_excess(40.0, 10.0, 1e4);
        assert!((poisson_excess(40.0, 10.0) - near_poisson).abs() < 0.2, "{near_poisson}");
    }

    #[test]
    fn robust_excess_stays_below_the_logistic_tail() {
        for step in 1..2_000 {
            let y = step as f32 * 0.02;
            let logistic = libm::logf((1.0 + libm::expf(y)) / 2.0);
            let value = robust_excess(y * LOGISTIC_SCALE, 0.0, 1.0, 0.1);
            assert!(value <= logistic + 1e-4 && value >= logistic - 0.5, "y {y}: {value} against {logistic}");
        }
        assert_eq!(robust_excess(100.0, 1.0, 0.0, 1.0), 0.0, "no history");
    }

    #[test]
    fn regular_intervals_beat_random_ones() {
        assert_eq!(periodic_excess(1_000.0, RANDOM_JITTER), 0.0);
        assert!((periodic_excess(100.0, 0.25) - (100.0 * libm::logf(2.0) - SEARCH_PRICE)).abs() < 1e-3);
        assert_eq!(periodic_excess(3.0, 0.2), 0.0, "three regular intervals happen by chance");
    }

    proptest! {
        #[test]
        fn surprises_are_finite_and_monotone(
            a in 0.0f32..1e5, more in 0.0f32..1e5, expected in 0.01f32..1e4, shape in 0.5f32..8.0, jitter in 0.0f32..1.0,
        ) {
            let slack = |value: f32| value * (1.0 + 1e-4) + 1e-2;
            let pairs = [
                (count_excess(a, expected, shape), count_excess(a + more, expected, shape)),
                (count_excess(a, expected + more, shape), count_excess(a, expected, shape)),
                (poisson_excess(a, expected), poisson_excess(a + more, expected)),
                (robust_excess(a, expected, shape, 1.0), robust_excess(a + more, expected, shape, 1.0)),
                (periodic_excess(a, jitter), periodic_excess(a + more, jitter)),
                (periodic_excess(a, (jitter + more).min(1.0)), periodic_excess(a, jitter)),
                (compressed(a, 4.0), compressed(a + more, 4.0)),
                (strongest([a, expected], 0.5), strongest([a + more, expected], 0.5)),
            ];
            for (index, (small, large)) in pairs.into_iter().enumerate() {
                prop_assert!(small.is_finite() && small >= 0.0, "{index}");
                prop_assert!(small <= slack(large), "{index}: {small} above {large}");
            }
        }
    }
}
