//! Chance with a seed that is printed, so that a run can be had again: `THREATGUARD_FAULTS_SEED=N`.

use std::ops::Range;
use std::time::Duration;

use threatguard::edge::clock;

/// A xorshift generator; nothing here needs better.
pub struct Dice(u64);

impl Dice {
    pub fn new(test: &str) -> Self {
        let named = std::env::var("THREATGUARD_FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = named.unwrap_or_else(|| clock::wall().0.unsigned_abs());
        println!("{test}: seed {seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The low bits of a xorshift are its weakest.
        (self.0 >> 16) % bound.max(1)
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// A pause between so many milliseconds.
    pub fn pause(&mut self, ms: Range<u64>) -> Duration {
        Duration::from_millis(self.within(ms))
    }
}
