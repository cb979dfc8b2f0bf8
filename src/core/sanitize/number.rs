//! Ports, counts, coordinates and durations: clamped into their range, zero where they cannot be read. Never wraps, never yields NaN.

use crate::core::event::{Field, Repair, Repairs};

/// A number as it could be read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Read {
    Absent,
    Whole(u64),
    /// Negative, or beyond 64 bits, or with a fraction.
    Real(f64),
    Unreadable,
}

/// By reference: copying a field that was just written waits for its narrow stores.
#[inline]
fn read(field: &Field<'_>) -> Read {
    match *field {
        Field::Missing | Field::Text("" | "-") => Read::Absent,
        Field::Number(digits) => digits_of(digits),
        Field::Text(text) => digits_of(text.trim()),
        Field::Unsigned(number) => Read::Whole(number),
        Field::Real(number) if !number.is_nan() => Read::Real(number),
        Field::Real(_) | Field::Bool(_) | Field::Nested(_) => Read::Unreadable,
    }
}

#[inline]
fn digits_of(text: &str) -> Read {
    let bytes = text.as_bytes();
    if let Some(value) = few_digits(bytes) {
        return Read::Whole(u64::from(value));
    }
    // Up to 19 digits cannot overflow.
    if !bytes.is_empty() && bytes.len() <= 19 && bytes.iter().all(u8::is_ascii_digit) {
        return Read::Whole(bytes.iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0')));
    }
    decimal(bytes).map_or_else(|| other_number(text), Read::Real)
}

/// The value of one to eight digits, all of them in one word; `None` for anything else.
#[inline(always)]
pub(super) fn few_digits(digits: &[u8]) -> Option<u32> {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    let length = digits.len();
    let word = match (digits.first_chunk::<4>(), digits.last_chunk::<4>(), digits) {
        (Some(first), Some(last), _) if length <= 8 => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4))
        }
        (None, _, [first, .., last]) => {
            u64::from(*first) | u64::from(digits[length / 2]) << (8 * (length / 2)) | u64::from(*last) << (8 * (length - 1))
        }
        (None, _, [only]) => u64::from(*only),
        _ => return None,
    };
    // Zeros in front; what is no digit has a bit outside the low four, or a low half beyond nine.
    let missing = 8 * (8 - length);
    let word = if missing == 0 { word } else { word << missing | ZEROS >> (64 - missing) };
    let values = word ^ ZEROS;
    if (values | (values + u64::from_ne_bytes([6; 8]))) & u64::from_ne_bytes([0xf0; 8]) != 0 {
        return None;
    }
    // Neighbours are put together three times: to pairs, to fours, to all eight.
    let pairs = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) as u32)
}

/// Up to eight digits, a point, and up to eight digits: two whole numbers that a double holds exactly, so that one division gives the
/// nearest double, as parsing does.
#[inline]
fn decimal(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 9] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    let point = text.iter().take(9).position(|byte| *byte == b'.')?;
    let (whole, fraction) = (&text[..point], &text[point + 1..]);
    // 15 digits stay below 2^53.
    if point + fraction.len() > 15 {
        return None;
    }
    let power = POWERS[fraction.len().min(8)];
    Some((f64::from(few_digits(whole)?) * power + f64::from(few_digits(fraction)?)) / power)
}

#[cold]
fn other_number(text: &str) -> Read {
    // `inf`, `nan` and `+1` are numbers to Rust only.
    let decimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E');
    if text.starts_with('+') || !text.bytes().all(decimal) {
        return Read::Unreadable;
    }
    match (text.parse::<u64>(), text.parse::<f64>()) {
        (Ok(whole), _) => Read::Whole(whole),
        (_, Ok(real)) if !real.is_nan() => Read::Real(real),
        _ => Read::Unreadable,
    }
}

/// A port; a fraction is cut off.
#[inline]
pub(super) fn port(field: &Field<'_>, repairs: &mut Repairs) -> u16 {
    let (value, exact) = match read(field) {
        Read::Absent => return 0,
        Read::Whole(number) => (number.min(65_535) as u16, number <= 65_535),
        Read::Real(number) => (number as u16, (0.0..=65_535.0).contains(&number) && number.fract() <= 0.0),
        Read::Unreadable => {
            repairs.add(Repair::PortInvalid);
            return 0;
        }
    };
    if !exact {
        repairs.add(Repair::PortClamped);
    }
    value
}

/// A count of bytes; a fraction is cut off. More than 64 bits is the largest count.
#[inline]
pub(super) fn bytes(field: &Field<'_>, repairs: &mut Repairs) -> Option<u64> {
    match read(field) {
        Read::Absent => None,
        Read::Whole(number) => Some(number),
        Read::Real(number) => {
            // Casting saturates at both ends, which is the clamp.
            if number < 0.0 || number >= u64::MAX as f64 {
                repairs.add(Repair::BytesClamped);
            }
            Some(number as u64)
        }
        Read::Unreadable => {
            repairs.add(Repair::BytesInvalid);
            Some(0)
        }
    }
}

/// Packets: like bytes, but of no field of their own in the contract.
#[inline]
pub(super) fn packets(field: &Field<'_>, repairs: &mut Repairs) -> u64 {
    let mut own = Repairs::default();
    let value = bytes(field, &mut own).unwrap_or(0);
    if !own.is_empty() {
        repairs.add(Repair::WrongType);
    }
    value
}

/// Seconds, finite and not negative.
#[inline]
pub(super) fn duration(field: &Field<'_>, repairs: &mut Repairs) -> f32 {
    let seconds = match read(field) {
        Read::Absent => return 0.0,
        Read::Whole(number) => number as f64,
        Read::Real(number) => number,
        Read::Unreadable => -1.0,
    };
    if (0.0..=f64::from(f32::MAX)).contains(&seconds) {
        return seconds as f32;
    }
    repairs.add(Repair::WrongType);
    0.0
}

/// A coordinate within `-limit ..= limit` degrees: `Ok(None)` if absent, `Err` if it is none.
pub(super) fn degrees(field: &Field<'_>, limit: f64) -> Result<Option<f32>, ()> {
    let value = match read(field) {
        Read::Absent => return Ok(None),
        Read::Whole(number) => number as f64,
        Read::Real(number) => number,
        Read::Unreadable => return Err(()),
    };
    if value.abs() <= limit { Ok(Some(value as f32)) } else { Err(()) }
}

/// An autonomous system number: `64500`, `"64500"` or `"AS64500"`.
pub(super) fn autonomous_system(field: &Field<'_>) -> Result<u32, ()> {
    let number = match field {
        Field::Text(text) if text.len() > 2 && text.as_bytes()[..2].eq_ignore_ascii_case(b"as") => digits_of(&text[2..]),
        other => read(other),
    };
    match number {
        Read::Absent => Ok(0),
        Read::Whole(number) => u32::try_from(number).map_err(|_| ()),
        Read::Real(_) | Read::Unreadable => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn short_ways_read_what_parsing_reads(text in "[0-9]{0,21}|[0-9]{0,10}[.][0-9]{0,10}|[-+.e0-9]{0,9}|[0-9]{0,4}[ -~\u{e9}][0-9]{0,4}") {
            if let Some(value) = few_digits(text.as_bytes()) {
                prop_assert_eq!(text.parse::<u32>(), Ok(value));
            } else {
                prop_assert!(text.len() > 8 || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()));
            }
            if let Some(value) = decimal(text.as_bytes()) {
                prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
            }
            prop_assert_eq!(digits_of(&text), by_the_book(&text));
        }
    }

    /// What a number is, without short ways.
    fn by_the_book(text: &str) -> Read {
        let digits = !text.is_empty() && text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { Read::Whole(text.parse().unwrap()) } else { other_number(text) }
    }
}
