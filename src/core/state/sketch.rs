//! Bounded sketches: histogram with robust statistics, linear counting, Bloom filter. None of them ever grows.
//!
//! There are a million of each, so what follows from the rest is counted when it is asked for and not kept. The stored form has it.

use super::packed::Float;
use super::persist::{Persist, persist_fields};
use crate::core::numeric::log2;

/// A histogram of `N` unit-wide bins from 0, with a cached median and spread.
///
/// Bins are bytes; when one is full all are halved, which lets the distant past fade. Median and MAD (times 1.4826, so that it
/// estimates a standard deviation; Hampel 1974) are interpolated inside their bins and refreshed as the count grows.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Histogram<const N: usize> {
    median: Float,
    spread: Float,
    /// Values since the cache was made.
    stale: u8,
    bins: [u8; N],
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { bins: [0; N], stale: 0, median: Float::default(), spread: Float::default() }
    }
}

impl<const N: usize> Persist for Histogram<N> {
    fn write(&self, out: &mut Vec<u8>) {
        self.bins.write(out);
        self.stale.write(out);
        self.total().write(out);
        self.median.write(out);
        self.spread.write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        self.bins.read(input)?;
        self.stale.read(input)?;
        0_u16.read(input)?;
        self.median.read(input)?;
        self.spread.read(input)
    }
}

/// A spread is never taken for smaller than this share of a bin: the histogram cannot see finer.
const SPREAD_MIN: f32 = 0.35;
/// Refresh of the cache: at every value while there are few, at every so many once there are more.
const REFRESH_EVERY: u8 = 16;
const REFRESH_ALWAYS_BELOW: u16 = 32;

impl<const N: usize> Histogram<N> {
    /// Adds `value`, in bins; what is past the last bin counts in it.
    pub fn add(&mut self, value: f32) {
        let bin = (value.max(0.0) as usize).min(N - 1);
        // Read before a bin is written: what was written in part a moment ago would have to be waited for. Halving leaves many.
        let is_young = self.total() + 1 < REFRESH_ALWAYS_BELOW;
        if self.bins[bin] == u8::MAX {
            self.bins.iter_mut().for_each(|bin| *bin /= 2);
        }
        self.bins[bin] += 1;
        self.stale += 1;
        if is_young || self.stale >= REFRESH_EVERY {
            self.refresh();
        }
    }
    #[must_use]
    pub fn median(&self) -> f32 {
        self.median.get()
    }
    /// 1.4826 x the median absolute deviation, at least [`SPREAD_MIN`]; 0 while empty.
    #[must_use]
    pub fn spread(&self) -> f32 {
        self.spread.get()
    }

    fn total(&self) -> u16 {
        self.bins.iter().map(|bin| u16::from(*bin)).sum()
    }

    fn refresh(&mut self) {
        self.stale = 0;
        let mut cumulative = [0; N];
        let mut total = 0;
        for (sum, bin) in cumulative.iter_mut().zip(&self.bins) {
            total += u16::from(*bin);
            *sum = total;
        }
        let quantile = |share| self.quantile(share, &cumulative);
        let median = quantile(0.5);
        // With unit bins the deviation's median is half the interquartile width for symmetric data; the wider side counts.
        let (low, high) = (quantile(0.25), quantile(0.75));
        let deviation = (median - low).max(high - median);
        // What happens every day at one hour (a backup) is a habit too, however far from the median.
        let upper = (quantile(0.975) - median) / 1.96;
        self.spread = Float::of((1.4826 * deviation).max(upper).max(SPREAD_MIN));
        self.median = Float::of(median);
    }

    /// The value below which a `share` of a histogram that is not empty lies; `cumulative` are the sums of its bins.
    fn quantile(&self, share: f32, cumulative: &[u16; N]) -> f32 {
        let rank = share * f32::from(cumulative[N - 1]);
        // The first sum at or above the rank; counting those below it has no branch to guess.
        let whole = rank.ceil() as u16;
        let index = usize::from(cumulative.iter().map(|sum| u16::from(*sum < whole)).sum::<u16>()).min(N - 1);
        let (bin, upto) = (f32::from(self.bins[index]), f32::from(cumulative[index]));
        index as f32 + ((rank - (upto - bin)) / bin).clamp(0.0, 1.0)
    }
}

/// Linear counting of distinct values in `8 * B` bits (Whang, Vander-Zanden, Taylor 1990).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distinct<const B: usize> {
    bits: [u8; B],
}

impl<const B: usize> Default for Distinct<B> {
    fn default() -> Self {
        Self { bits: [0; B] }
    }
}

/// The bits, then how many are set.
impl<const B: usize> Persist for Distinct<B> {
    fn write(&self, out: &mut Vec<u8>) {
        self.bits.write(out);
        ones(&self.bits).write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        self.bits.read(input)?;
        0_u16.read(input)
    }
}

/// How many bits are set.
#[inline]
fn ones<const B: usize>(bits: &[u8; B]) -> u16 {
    let (eights, rest) = bits.as_chunks::<8>();
    let (fours, rest) = rest.as_chunks::<4>();
    let of_eights: u32 = eights.iter().map(|bytes| u64::from_ne_bytes(*bytes).count_ones()).sum();
    let of_fours: u32 = fours.iter().map(|bytes| u32::from_ne_bytes(*bytes).count_ones()).sum();
    (of_eights + of_fours + rest.iter().map(|byte| byte.count_ones()).sum::<u32>()) as u16
}

/// More than the bits of any sketch that is set.
const ONES: usize = 512;

impl<const B: usize> Distinct<B> {
    /// Estimates by the number of bits that are set: with a logarithm each they would be asked for six times an event.
    const ESTIMATES: [f32; ONES] = {
        assert!(8 * B < ONES, "every number of bits has its estimate");
        let m = (8 * B) as f32;
        let (mut estimates, mut ones) = ([0.0; ONES], 0);
        while ones < ONES {
            let zeros = if ones < 8 * B { (8 * B - ones) as f32 } else { 1.0 };
            estimates[ones] = if ones <= 2 { ones as f32 } else { m * log2(m / zeros) * std::f32::consts::LN_2 };
            ones += 1;
        }
        estimates
    };

    /// Returns how many bits are set then; counted before one is written, which would have to be waited for.
    pub fn insert(&mut self, hash: u64) -> u16 {
        let bit = (hash % (8 * B as u64)) as usize;
        let (byte, mask) = (bit / 8, 1u8 << (bit % 8));
        let ones = ones(&self.bits) + u16::from(self.bits[byte] & mask == 0);
        self.bits[byte] |= mask;
        ones
    }
    /// The estimate: `-m ln(zeros / m)`; a full sketch says what one zero would say.
    #[must_use]
    pub fn estimate(&self) -> f32 {
        Self::estimate_of(ones(&self.bits))
    }
    fn estimate_of(ones: u16) -> f32 {
        Self::ESTIMATES[usize::from(ones).min(ONES - 1)]
    }
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A Bloom filter of `8 * B` bits and two hashes. Once more than 60 % of its bits are set it stops calling anything new:
/// an entity that knows very many things is surprised by none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bloom<const B: usize> {
    bits: [u8; B],
}

impl<const B: usize> Default for Bloom<B> {
    fn default() -> Self {
        Self { bits: [0; B] }
    }
}

/// The bits, then how many are set.
impl<const B: usize> Persist for Bloom<B> {
    fn write(&self, out: &mut Vec<u8>) {
        self.bits.write(out);
        ones(&self.bits).write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        self.bits.read(input)?;
        0_u16.read(input)
    }
}

impl<const B: usize> Bloom<B> {
    /// Adds a hash; true when it was not known and the filter is not too full to say so.
    pub fn insert_is_new(&mut self, hash: u64) -> bool {
        let m = 8 * B as u64;
        let places = [hash % m, (hash >> 32) % m].map(|bit| ((bit / 8) as usize, 1u8 << (bit % 8)));
        if places.iter().all(|(byte, mask)| self.bits[*byte] & mask != 0) {
            return false;
        }
        // Counted before any is written, which would have to be waited for.
        let mut ones = ones(&self.bits);
        for (byte, mask) in places {
            ones += u16::from(self.bits[byte] & mask == 0);
            self.bits[byte] |= mask;
        }
        !Self::are_too_many(ones)
    }
    #[must_use]
    pub fn is_full(&self) -> bool {
        Self::are_too_many(ones(&self.bits))
    }
    fn are_too_many(ones: u16) -> bool {
        usize::from(ones) * 10 > 8 * B * 6
    }
}

/// A distinct count over a sliding window made of the open tumbling window and what is left of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Windowed<const B: usize> {
    current: Distinct<B>,
    /// How many bits were set at the end of the window before; 0 where that was not the one next to this. A full sketch of 256
    /// bits says the same with one less.
    previous: u8,
    closed: u8,
    mean: Float,
}

/// The average of closed windows weighs the last 32 of them.
const MEAN_WINDOWS: u8 = 32;

/// The stored form has the estimate of the window before, not its bits.
impl<const B: usize> Persist for Windowed<B> {
    fn write(&self, out: &mut Vec<u8>) {
        self.current.write(out);
        self.previous().write(out);
        self.mean.write(out);
        self.closed.write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        let mut previous = 0.0_f32;
        self.current.read(input)?;
        previous.read(input)?;
        let below = Distinct::<B>::ESTIMATES[..8 * B].partition_point(|estimate| *estimate < previous);
        self.previous = below.min(8 * B - 1) as u8;
        self.mean.read(input)?;
        self.closed.read(input)
    }
}

impl<const B: usize> Windowed<B> {
    const PREVIOUS_MAX: u16 = {
        assert!(8 * B <= 256, "one less than all bits fits into a byte");
        8 * B as u16 - 1
    };

    fn previous(&self) -> f32 {
        Distinct::<B>::ESTIMATES[usize::from(self.previous)]
    }
    /// Closes the open window; `adjacent` says that the next one follows it directly.
    ///
    /// A closed window counts for at most half more than the average and one, so that one flood does not make the next one ordinary.
    pub fn roll(&mut self, adjacent: bool) {
        let count = self.current.estimate();
        self.previous = if adjacent { ones(&self.current.bits).min(Self::PREVIOUS_MAX) as u8 } else { 0 };
        if count > 0.0 {
            let bounded = if self.closed == 0 { count.min(16.0) } else { count.min(1.5 * self.mean() + 1.0) };
            self.closed = (self.closed + 1).min(MEAN_WINDOWS);
            self.mean = Float::of(self.mean() + (bounded - self.mean()) / f32::from(self.closed));
        }
        self.current.clear();
    }
    /// Takes a value, where there is one, and returns what [`Self::value`] asks for.
    #[inline]
    pub fn insert(&mut self, hash: Option<u64>) -> u16 {
        if let Some(hash) = hash { self.current.insert(hash) } else { ones(&self.current.bits) }
    }
    /// Distinct values; `left` is the share of the window before that still lies in the sliding one, 0..1.
    #[must_use]
    pub fn value(&self, ones: u16, left: f32) -> f32 {
        Distinct::<B>::estimate_of(ones).max(self.previous() * left)
    }
    #[must_use]
    pub fn mean(&self) -> f32 {
        self.mean.get()
    }
}

/// Which tumbling window is open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WindowClock {
    index: u32,
}
persist_fields!(WindowClock { index });

impl WindowClock {
    /// The clock of an entity whose newest event was at `micros`.
    pub fn at(micros: i64, length_micros: i64) -> Self {
        Self { index: (micros / length_micros) as u32 }
    }
    /// Moves to the window of `micros`. Returns `Some(adjacent)` when a window was closed by that. An event of an earlier window
    /// counts in the open one: lateness was decided before.
    pub fn advance(&mut self, micros: i64, length_micros: i64) -> Option<bool> {
        let index = (micros / length_micros) as u32;
        if index <= self.index {
            return None;
        }
        let adjacent = index == self.index + 1;
        self.index = index;
        Some(adjacent)
    }
    /// Share of the window before that still lies in a sliding window ending at `micros`.
    #[must_use]
    pub fn left(&self, micros: i64, length_micros: i64) -> f32 {
        let into = (micros - i64::from(self.index) * length_micros).clamp(0, length_micros);
        1.0 - into as f32 / length_micros as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::numeric::mix;

    #[test]
    fn histogram_statistics_match_sorted_data() {
        let mut histogram = Histogram::<32>::default();
        let mut values: Vec<f32> = (0..400u64).map(|i| 10.0 + (mix(i) % 8000) as f32 / 1000.0).collect();
        values.iter().for_each(|value| histogram.add(*value));
        values.sort_by(f32::total_cmp);
        assert!((histogram.median() - values[200]).abs() < 0.7, "{} {}", histogram.median(), values[200]);
        let mut deviations: Vec<f32> = values.iter().map(|value| (value - values[200]).abs()).collect();
        deviations.sort_by(f32::total_cmp);
        assert!((histogram.spread() - 1.4826 * deviations[200]).abs() < 1.0);
        for _ in 0..100_000 {
            histogram.add(31.0);
        }
        assert!(histogram.total() <= 255 * 32 && histogram.median() > 30.0);
    }

    #[test]
    fn linear_counting_is_close_and_bounded() {
        for n in [1u64, 5, 20, 100, 400] {
            let mut sketch = Distinct::<32>::default();
            (0..n).for_each(|i| {
                sketch.insert(mix(i));
                sketch.insert(mix(i));
            });
            let error = (sketch.estimate() - n as f32).abs() / n as f32;
            assert!(error < 0.25, "{n}: {}", sketch.estimate());
        }
        let mut full = Distinct::<8>::default();
        (0..10_000).for_each(|i| {
            full.insert(mix(i));
        });
        assert!(full.estimate().is_finite());
    }

    #[test]
    fn a_full_bloom_filter_calls_nothing_new() {
        let mut bloom = Bloom::<16>::default();
        assert!(bloom.insert_is_new(mix(1)));
        assert!(!bloom.insert_is_new(mix(1)));
        (0..200).for_each(|i| {
            bloom.insert_is_new(mix(i));
        });
        assert!(!bloom.insert_is_new(mix(9_999)));
    }

    #[test]
    fn one_flood_does_not_become_the_norm() {
        let mut window = Windowed::<32>::default();
        for _ in 0..10 {
            (0..4).for_each(|i| _ = window.insert(Some(mix(i))));
            window.roll(true);
        }
        (0..500).for_each(|i| _ = window.insert(Some(mix(i))));
        window.roll(true);
        assert!(window.mean() < 6.0, "{}", window.mean());
        assert!(window.value(0, 0.5) > 100.0);
    }
}
