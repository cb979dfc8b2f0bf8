//! Pieces of one line in a fixed buffer: decimal digits by arithmetic on words, text by whole stores. For the records on the hot path.
//!
//! Writes what [`super::number`] writes, byte for byte; a test compares the two. Never longer than the buffer: whoever uses it
//! bounds what goes in, and a piece that does not fit panics instead of being cut.

use super::number::{significant, write_number, write_unsigned};

/// Longest text that is taken as it is; a longer one goes around the line.
pub(super) const PLAIN_BYTES_MAX: usize = 128;
const EIGHT: u64 = 100_000_000;
const LOW_BITS: u64 = u64::from_ne_bytes([0x01; 8]);
const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Text with room behind it, so that copying it is a few stores of a length known beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Padded<const N: usize> {
    pub(super) bytes: [u8; N],
    pub(super) len: usize,
}

impl<const N: usize> Padded<N> {
    /// # Panics
    /// When the text is longer than the room: a bug in the caller.
    pub(super) const fn joined(parts: &[&[u8]]) -> Self {
        let mut all = Self { bytes: [0; N], len: 0 };
        let (mut part, mut at) = (0, 0);
        while part < parts.len() {
            if at == parts[part].len() {
                (part, at) = (part + 1, 0);
                continue;
            }
            all.bytes[all.len] = parts[part][at];
            (all.len, at) = (all.len + 1, at + 1);
        }
        all
    }
}

/// A line while it is made. Small and local, so that its end stays in a register.
pub(super) struct Line<'a, const N: usize> {
    bytes: &'a mut [u8; N],
    at: usize,
}

impl<'a, const N: usize> Line<'a, N> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a mut [u8; N]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Moves what there is to `out` and starts again.
    #[inline(always)]
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.at]);
        self.at = 0;
    }

    #[inline(always)]
    pub(super) fn put<const M: usize>(&mut self, piece: &[u8; M]) {
        self.put_start(piece, M);
    }

    /// The first `len` bytes of a piece. The others are written too, and over by what comes next.
    #[inline(always)]
    pub(super) fn put_start<const M: usize>(&mut self, piece: &[u8; M], len: usize) {
        self.bytes[self.at..self.at + M].copy_from_slice(piece);
        self.at += len;
    }

    #[inline(always)]
    pub(super) fn put_padded<const M: usize>(&mut self, piece: &Padded<M>) {
        self.put_start(&piece.bytes, piece.len);
    }

    /// Something else in place of the last byte.
    #[inline(always)]
    pub(super) fn replace_last<const M: usize>(&mut self, piece: &[u8; M]) {
        self.at -= 1;
        self.put(piece);
    }

    /// Text of any length within the bound.
    #[inline(always)]
    pub(super) fn put_text(&mut self, text: &[u8]) {
        self.bytes[self.at..self.at + text.len()].copy_from_slice(text);
        self.at += text.len();
    }

    /// The inside of a JSON string; false, and nothing, where a character must be escaped or the text is long.
    #[inline(always)]
    pub(super) fn put_plain(&mut self, text: &str) -> bool {
        let text = text.as_bytes();
        let (Some(last), true) = (text.last_chunk::<8>(), text.len() <= PLAIN_BYTES_MAX) else { return self.put_short(text) };
        let place = &mut self.bytes[self.at..self.at + text.len()];
        let mut escapes = escapes(*last);
        for (to, chunk) in place.as_chunks_mut::<8>().0.iter_mut().zip(text.as_chunks::<8>().0) {
            escapes |= self::escapes(*chunk);
            *to = *chunk;
        }
        if let Some(to) = place.last_chunk_mut() {
            *to = *last;
        }
        let plain = escapes == 0;
        self.at += if plain { text.len() } else { 0 };
        plain
    }

    /// Fewer than eight bytes; or too many.
    #[inline(never)]
    fn put_short(&mut self, text: &[u8]) -> bool {
        let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
        if text.len() > PLAIN_BYTES_MAX || !text.iter().all(plain) {
            return false;
        }
        self.put_text(text);
        true
    }

    /// As [`write_unsigned`].
    #[inline(always)]
    pub(super) fn put_unsigned(&mut self, number: u64) {
        if number < EIGHT {
            return self.put_leading(eight_digits(number as u32));
        }
        self.put_long(number);
    }

    #[inline(never)]
    fn put_long(&mut self, number: u64) {
        let mut digits = Vec::with_capacity(20);
        write_unsigned(&mut digits, number);
        self.put_text(&digits);
    }

    /// Digits without the zeros in front of them, of which the last one stays.
    #[inline(always)]
    fn put_leading(&mut self, digits: u64) {
        let zeros = (digits | 1 << 56).trailing_zeros() / 8;
        let text = (digits | ZEROS) >> (8 * zeros);
        self.put_start(&text.to_le_bytes(), 8 - zeros as usize);
    }

    /// As [`write_number`].
    #[inline(always)]
    pub(super) fn put_number(&mut self, value: f64) {
        let Some(scaled) = ten_thousandths(value) else { return self.put_other_number(value) };
        let digits = eight_digits(scaled);
        let (whole, fraction) = (digits as u32, (digits >> 32) as u32);
        let zeros = (whole | 1 << 24).trailing_zeros() / 8;
        let text = (whole | 0x3030_3030) >> (8 * zeros);
        self.put_start(&text.to_le_bytes(), 4 - zeros as usize);
        let text = u64::from(fraction | 0x3030_3030) << 8 | u64::from(b'.');
        self.put_start(&text.to_le_bytes(), if fraction == 0 { 0 } else { 5 });
    }

    #[inline(never)]
    fn put_other_number(&mut self, value: f64) {
        let mut digits = Vec::with_capacity(24);
        write_number(&mut digits, value);
        self.put_text(&digits);
    }

    /// As [`super::number::write_p_value`].
    #[inline(always)]
    pub(super) fn put_p_value(&mut self, p_value: f64) {
        let (mantissa, places) = significant(p_value);
        let digits = four_digits(mantissa) | 0x3030_3030;
        match places {
            // 1000 * 10^-3 is the only one.
            0..=3 => self.put(b"1"),
            4 => self.put(&(u64::from(digits) << 16 | 0x2e30).to_le_bytes().first_chunk::<6>().copied().unwrap_or_default()),
            _ => {
                let text = u64::from(digits & 0xff) | 0x2e00 | u64::from(digits >> 8) << 16 | 0x2d65 << 40;
                self.put_start(&text.to_le_bytes(), 7);
                self.put_unsigned(u64::from(places - 3));
            }
        }
    }
}

/// The value in ten-thousandths, where it is small enough for eight digits.
#[inline(always)]
fn ten_thousandths(value: f64) -> Option<u32> {
    if !(0.0..9_999.0).contains(&value) {
        return None;
    }
    Some((value * 1e4).round() as u32)
}

/// Not zero if any byte must be escaped in a JSON string. Exact as a whole, not for each byte.
#[inline(always)]
const fn escapes(chunk: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(chunk);
    let (quote, backslash) = (word ^ (LOW_BITS * b'"' as u64), word ^ (LOW_BITS * b'\\' as u64));
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    (control | (quote.wrapping_sub(LOW_BITS) & !quote) | (backslash.wrapping_sub(LOW_BITS) & !backslash)) & HIGH_BITS
}

/// The digits of a number below 10^8, 0 to 9 each, the first in the lowest byte: halves, quarters, eighths, each in one step.
#[inline(always)]
const fn eight_digits(number: u32) -> u64 {
    let (high, low) = (number / 10_000, number % 10_000);
    let fours = high as u64 | (low as u64) << 32;
    // A 100th and a 10th as products that are exact in these ranges, in all lanes at once.
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// [`eight_digits`] of a number below 10^4, in four.
#[inline(always)]
const fn four_digits(number: u32) -> u32 {
    let hundreds = (number * 10_486) >> 20;
    let twos = hundreds | (number - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// Six digits and what follows them.
#[inline(always)]
pub(super) const fn six_digits_and(number: u32, last: u8) -> [u8; 7] {
    let text = ((eight_digits(number) | ZEROS) >> 16 | (last as u64) << 48).to_le_bytes();
    [text[0], text[1], text[2], text[3], text[4], text[5], text[6]]
}

#[cfg(test)]
mod tests {
    use super::super::number::{write_escaped, write_p_value};
    use super::*;
    use proptest::prelude::*;

    fn line(put: impl Fn(&mut Line<'_, 512>)) -> Vec<u8> {
        let (mut bytes, mut out) = ([b'#'; 512], vec![]);
        let mut line = Line::new(&mut bytes);
        put(&mut line);
        line.flush(&mut out);
        out
    }

    fn plain(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![];
        write(&mut out);
        out
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in (0..EIGHT as u32).step_by(9_973).chain([0, 9, 10, 99, 100, 9_999, 10_000, 99_999_999]) {
            let text = (eight_digits(number) | ZEROS).to_le_bytes();
            assert_eq!(text, *format!("{number:08}").as_bytes());
            assert_eq!(line(|line| line.put_unsigned(u64::from(number))), number.to_string().into_bytes());
        }
        for number in 0..10_000 {
            assert_eq!((four_digits(number) | 0x3030_3030).to_le_bytes(), *format!("{number:04}").as_bytes());
        }
        assert_eq!(six_digits_and(12_345, b'Z'), *b"012345Z");
        assert_eq!(line(|line| line.put_unsigned(u64::MAX)), u64::MAX.to_string().into_bytes());
    }

    proptest! {
        #[test]
        fn lines_are_what_the_plain_writers_write(value in prop_oneof![prop::num::f64::ANY, 0.0..1.0, 0.0..110.0, -1.0..20_000.0], exponent in -310i32..2, text in "(\\PC|[\\x00-\\x7f]){0,30}|[a-z0-9.:]{0,140}") {
            prop_assert_eq!(line(|line| line.put_number(value)), plain(|out| write_number(out, value)));
            for p_value in [value, value.abs().fract() * 10f64.powi(exponent)] {
                prop_assert_eq!(line(|line| line.put_p_value(p_value)), plain(|out| write_p_value(out, p_value)));
            }
            let mut bytes = [0; 512];
            let mut line = Line::new(&mut bytes);
            let (taken, mut out) = (line.put_plain(&text), vec![]);
            line.flush(&mut out);
            let escaped = plain(|out| write_escaped(out, &text));
            prop_assert_eq!(taken, escaped == text.as_bytes() && text.len() <= PLAIN_BYTES_MAX);
            prop_assert_eq!(out, if taken { escaped } else { vec![] });
        }
    }
}
