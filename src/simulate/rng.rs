//! The simulator's random source: xoshiro256++ seeded by splitmix64. Never seeded by anything but the scenario.
//!
//! Source: D. Blackman and S. Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021; both generators are in the public domain.

/// A stream of random numbers. Every person, server and campaign has its own, so that one more of them changes no other.
#[derive(Clone, Debug)]
pub(super) struct Rng([u64; 4]);

/// One step of splitmix64 over `state`.
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream `stream` of `seed`; different streams are unrelated.
    pub(super) fn of(seed: u64, stream: u64) -> Self {
        let mut state = seed;
        let mut state = splitmix(&mut state) ^ stream.wrapping_mul(0xd134_2543_de82_ef95);
        Self([splitmix(&mut state), splitmix(&mut state), splitmix(&mut state), splitmix(&mut state)])
    }

    pub(super) fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[0, bound)`; 0 for a bound of 0. Lemire's multiplication, whose bias below 2^-32 does not matter here.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Uniform index below `len`.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u32) as usize
    }

    /// Index below `len` with a heavy head: density falls with about `rank^(-3/4)`, as favourites and popular sites do.
    pub(super) fn skewed(&mut self, len: usize) -> usize {
        let u = self.unit();
        ((u * u * u * u) * len as f64) as usize
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.index(items.len())]
    }

    /// Exponential waiting time of the given mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(1.0 - self.unit()) * mean
    }

    /// Standard normal deviate. Sum of uniforms: the tail beyond 3.5 sigma is never needed, and it costs no logarithm.
    pub(super) fn normal(&mut self) -> f64 {
        let mut sum = 0u64;
        for _ in 0..3 {
            let bits = self.bits();
            sum += (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
        }
        sum as f64 / 65_536.0 - 6.0 + 12.0 / 131_072.0
    }

    /// Log-normal with the given median; `sigma` is the deviation of the logarithm.
    pub(super) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// Log-normal number of bytes.
    pub(super) fn bytes(&mut self, median: f64, sigma: f64) -> u64 {
        self.log_normal(median, sigma) as u64
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_its_published_sequence() {
        let mut state = 1_234_567;
        assert_eq!([splitmix(&mut state), splitmix(&mut state)], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let take = |seed, stream| Rng::of(seed, stream).bits();
        assert_eq!(take(1, 2), take(1, 2));
        assert_ne!(take(1, 2), take(1, 3));
        assert_ne!(take(1, 2), take(2, 2));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut rng = Rng::of(7, 0);
        let n = 100_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || rng.unit()) - 0.5).abs() < 0.01);
        let mut rng = Rng::of(8, 0);
        assert!((mean(&mut || rng.exponential(3.0)) - 3.0).abs() < 0.05);
        let mut rng = Rng::of(9, 0);
        assert!((mean(&mut || rng.normal().powi(2)) - 1.0).abs() < 0.02);
        let mut rng = Rng::of(10, 0);
        assert!((mean(&mut || f64::from(rng.below(10))) - 4.5).abs() < 0.05);
    }
}
