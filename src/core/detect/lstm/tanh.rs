//! Hyperbolic tangent and sigmoid by one rational function: the same bits on every machine and in every vector width.
//!
//! Fused multiplications, additions and one division in a fixed order; must never call the platform's mathematics.

/// Beyond this the function is 1 to within its error.
const LIMIT: f32 = 7.0;

/// tanh, absolute error below 3e-6; NaN counts as the lower limit.
///
/// `x P(x^2) / Q(x^2)` with polynomials of degree 3, fitted to the least largest error on `[0, 7]` by Lawson's reweighting.
#[must_use]
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // Comparisons in this form are one instruction each; `clamp` would let NaN through.
    let x = if x > -LIMIT { x } else { -LIMIT };
    let x = if x < LIMIT { x } else { LIMIT };
    let z = x * x;
    let p = 3.929_967e-6_f32.mul_add(z, 0.002_276_979_3).mul_add(z, 0.123_021_72).mul_add(z, 0.999_995_7);
    let q = 1.423_498e-4_f32.mul_add(z, 0.021_072_136).mul_add(z, 0.456_340_2).mul_add(z, 1.0);
    x * p / q
}

/// 1 / (1 + e^-2x): the sigmoid of twice `x`. The factor is part of the gates' weights, where it costs nothing.
#[must_use]
#[inline(always)]
pub fn sigmoid_of_twice(x: f32) -> f32 {
    0.5_f32.mul_add(tanh(x), 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_stated_error() {
        for i in -400_000..400_000 {
            let x = i as f32 * 5e-5;
            let exact = libm::tanh(f64::from(x));
            assert!((f64::from(tanh(x)) - exact).abs() < 3e-6, "tanh({x}) is {}, not {exact}", tanh(x));
            let exact = 1.0 / (1.0 + libm::exp(-2.0 * f64::from(x)));
            assert!((f64::from(sigmoid_of_twice(x)) - exact).abs() < 2e-6, "sigmoid_of_twice({x})");
        }
    }

    #[test]
    fn is_odd_bounded_and_defined_everywhere() {
        for bits in (0..=u32::MAX).step_by(65_521) {
            let x = f32::from_bits(bits);
            assert!(tanh(x).abs() <= 1.0, "tanh({x}) is {}", tanh(x));
            if !x.is_nan() {
                assert_eq!(tanh(-x).to_bits(), (-tanh(x)).to_bits(), "{x}");
            }
        }
        assert!(tanh(f32::INFINITY) > 0.999_99 && tanh(f32::NEG_INFINITY) < -0.999_99 && tanh(f32::NAN) < -0.999_99);
    }

    #[test]
    fn has_the_bits_it_had() {
        let bits = [0.1_f32, 0.5, 1.0, 2.0, 5.0].map(|x| tanh(x).to_bits());
        assert_eq!(bits, [1036787334, 1055693451, 1061353445, 1064749684, 1065351694]);
    }
}
