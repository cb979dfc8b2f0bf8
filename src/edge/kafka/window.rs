//! Which records are durable when acknowledgements arrive out of order: the highest number up to which none is missing.

use std::collections::VecDeque;

/// A window of acknowledgements over sequence numbers from 1. One bit a record between the first missing one and the newest.
#[derive(Debug, Default)]
pub(super) struct AckWindow {
    /// Everything up to this number was acknowledged.
    low: u64,
    /// Bit `i` of word `w` stands for `base + 64 w + i`.
    base: u64,
    words: VecDeque<u64>,
}

impl AckWindow {
    pub(super) fn new() -> Self {
        Self { low: 0, base: 1, words: VecDeque::new() }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.low
    }

    /// Notes one number; each comes at most once.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        debug_assert!(sequence > self.low, "each record is acknowledged once");
        let distance = sequence - self.base;
        let (word, bit) = ((distance / 64) as usize, distance % 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
        if sequence == self.low + 1 {
            self.advance();
        }
    }

    fn advance(&mut self) {
        while let Some(first) = self.words.front() {
            let run = u64::from(first.trailing_ones());
            self.low = self.base + run - 1;
            if run < 64 {
                return;
            }
            self.words.pop_front();
            self.base += 64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unbroken_run_counts() {
        let mut window = AckWindow::new();
        for (sequence, delivered) in [(2, 0), (3, 0), (1, 3), (5, 3), (4, 5)] {
            window.acknowledge(sequence);
            assert_eq!(window.delivered(), delivered, "after {sequence}");
        }
        for sequence in (6..=1_000).rev() {
            assert_eq!(window.delivered(), 5);
            window.acknowledge(sequence);
        }
        assert_eq!(window.delivered(), 1_000);
        for sequence in 1_001..=10_000 {
            window.acknowledge(sequence);
            assert_eq!(window.delivered(), sequence);
        }
        assert!(window.words.len() <= 1);
    }
}
