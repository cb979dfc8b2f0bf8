//! Numbers without alignment, so that no part of a state ends in a gap.

use super::persist::Persist;

/// A number that may lie anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Float([u8; 4]);

impl Float {
    #[inline]
    #[must_use]
    pub fn of(value: f32) -> Self {
        Self(value.to_ne_bytes())
    }
    #[inline]
    #[must_use]
    pub fn get(self) -> f32 {
        f32::from_ne_bytes(self.0)
    }
}

impl Persist for Float {
    fn write(&self, out: &mut Vec<u8>) {
        self.get().write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        let mut value = 0.0_f32;
        value.read(input)?;
        *self = Self::of(value);
        Some(())
    }
}

/// Microseconds since the epoch in seven bytes, or never. Events lie between 1990 and 2100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment([u8; 7]);

/// More than a thousand years before and after the epoch.
const MICROS_MAX: i64 = (1 << 55) - 1;

impl Moment {
    /// Where no time can be: the smallest that seven bytes can tell.
    pub const NEVER: Self = Self([0, 0, 0, 0, 0, 0, 0x80]);

    #[must_use]
    pub fn of(micros: i64) -> Self {
        let [.., a, b, c, d, e, f, g] = (micros.clamp(-MICROS_MAX, MICROS_MAX) << 8).to_le_bytes();
        Self([a, b, c, d, e, f, g])
    }
    #[inline]
    #[must_use]
    pub fn micros(self) -> Option<i64> {
        let [a, b, c, d, e, f, g] = self.0;
        (self != Self::NEVER).then_some(i64::from_le_bytes([0, a, b, c, d, e, f, g]) >> 8)
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self::NEVER
    }
}

/// Eight bytes; the smallest number is never.
impl Persist for Moment {
    fn write(&self, out: &mut Vec<u8>) {
        self.micros().unwrap_or(i64::MIN).write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        let mut micros = 0_i64;
        micros.read(input)?;
        *self = if micros == i64::MIN { Self::NEVER } else { Self::of(micros) };
        (self.micros().unwrap_or(i64::MIN) == micros).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS};

    #[test]
    fn every_time_of_an_event_is_kept_and_what_is_none_is_refused() {
        let stored = |micros: i64| {
            let (mut out, mut moment) = (vec![], Moment::NEVER);
            micros.write(&mut out);
            moment.read(&mut out.as_slice()).map(|()| moment)
        };
        for micros in [EVENT_TIME_MIN_MICROS, EVENT_TIME_MAX_MICROS, 1_772_442_000_123_456, 0, -1, MICROS_MAX, -MICROS_MAX] {
            assert_eq!(Moment::of(micros).micros(), Some(micros));
            assert_eq!(stored(micros), Some(Moment::of(micros)));
        }
        assert_eq!((Moment::default().micros(), stored(i64::MIN)), (None, Some(Moment::NEVER)));
        assert_eq!((stored(MICROS_MAX + 1), stored(-MICROS_MAX - 1)), (None, None));
    }
}
