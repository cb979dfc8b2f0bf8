//! Numbers, times and text as JSON bytes. Quantised first, so that the same value is the same bytes on every machine and in
//! every writer; never a number that JSON does not have.

use crate::core::types::{EventTime, MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil};

/// Values from here on are written without a fraction.
const WHOLE_FROM: f64 = 1e9;
/// Largest magnitude written; every whole number up to it is exact in an f64.
const MAGNITUDE_MAX: f64 = 9e15;
const FRACTION: f64 = 1e4;
/// Smallest p-value written.
pub const P_VALUE_MIN: f64 = 1e-300;

/// Rounds to four decimals, from 1e9 on to a whole number. NaN becomes 0, what is too large the largest (9e15).
#[must_use]
pub fn quantised(value: f64) -> f64 {
    if value.is_nan() {
        return 0.0;
    }
    let value = value.clamp(-MAGNITUDE_MAX, MAGNITUDE_MAX);
    // Adding 0.0 turns the negative zero into zero.
    if value.abs() < WHOLE_FROM { (value * FRACTION).round() / FRACTION + 0.0 } else { value.round() }
}

/// Appends [`quantised`] of the value.
pub fn write_number(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.push(b'0');
        return;
    }
    let value = value.clamp(-MAGNITUDE_MAX, MAGNITUDE_MAX);
    let small = value.abs() < WHOLE_FROM;
    let scaled = if small { (value * FRACTION).round() } else { value.round() } as i64;
    if scaled < 0 {
        out.push(b'-');
    }
    let scaled = scaled.unsigned_abs();
    if !small {
        write_unsigned(out, scaled);
        return;
    }
    write_unsigned(out, scaled / 10_000);
    let fraction = (scaled % 10_000) as usize;
    if fraction != 0 {
        // Always four digits: finding and cutting the zeros behind them costs more than it saves.
        let [a, b, c, d] = four_digits(fraction);
        out.extend_from_slice(&[b'.', a, b, c, d]);
    }
}

#[inline]
fn four_digits(number: usize) -> [u8; 4] {
    let ([a, b], [c, d]) = (pair(number / 100), pair(number % 100));
    [a, b, c, d]
}

#[inline]
fn pair(number: usize) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// A p-value as four significant digits: `mantissa * 10^-places`, mantissa 1000 ..= 9999.
#[inline]
pub(super) fn significant(p_value: f64) -> (u32, u32) {
    // NaN is no evidence at all.
    let p_value = if p_value.is_nan() { 1.0 } else { p_value.clamp(P_VALUE_MIN, 1.0) };
    // log10(2) * the binary exponent is at most one below the decimal exponent.
    let exponent = ((p_value.to_bits() >> 52) as i64 - 1023) * 30_103;
    let mut places = (3 - exponent.div_euclid(100_000)) as u32;
    let mut scaled = (p_value * power_of_ten(places)).round();
    if scaled >= 10_000.0 {
        places -= 1;
        scaled = (p_value * power_of_ten(places)).round();
    }
    (scaled as u32, places)
}

/// Powers of ten up to 1e303, from constants: the same on every machine.
fn power_of_ten(places: u32) -> f64 {
    const LOW: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    const HIGH: [f64; 20] = [
        1e0, 1e16, 1e32, 1e48, 1e64, 1e80, 1e96, 1e112, 1e128, 1e144, 1e160, 1e176, 1e192, 1e208, 1e224, 1e240, 1e256, 1e272, 1e288, 1e304,
    ];
    LOW[places as usize % 16] * HIGH[places as usize / 16]
}

/// Rounds a p-value to four significant digits within `1e-300 ..= 1`; NaN becomes 1.
#[must_use]
pub fn quantised_p(p_value: f64) -> f64 {
    let mut text = Vec::with_capacity(16);
    write_p_value(&mut text, p_value);
    std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).expect("what was written is a number")
}

/// Appends [`quantised_p`] of the p-value.
pub fn write_p_value(out: &mut Vec<u8>, p_value: f64) {
    let (mantissa, places) = significant(p_value);
    let mantissa = mantissa as usize;
    if places == 3 {
        // 1000 * 10^-3 is the only one.
        out.push(b'1');
        return;
    }
    let [a, b, c, d] = four_digits(mantissa);
    match places - 3 {
        1 => out.extend_from_slice(&[b'0', b'.', a, b, c, d]),
        exponent @ 2..10 => out.extend_from_slice(&[a, b'.', b, c, d, b'e', b'-', b'0' + exponent as u8]),
        exponent @ 10..100 => {
            let [tens, ones] = pair(exponent as usize);
            out.extend_from_slice(&[a, b'.', b, c, d, b'e', b'-', tens, ones]);
        }
        exponent => {
            let [_, hundreds, tens, ones] = four_digits(exponent as usize);
            out.extend_from_slice(&[a, b'.', b, c, d, b'e', b'-', hundreds, tens, ones]);
        }
    }
}

pub fn write_unsigned(out: &mut Vec<u8>, mut number: u64) {
    // Short numbers are most numbers, and a copy of a length known beforehand is a single store.
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    if number < 100 {
        out.extend_from_slice(&pair(number as usize));
        return;
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while number >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair((number % 100) as usize));
        number /= 100;
    }
    if number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair(number as usize));
    } else {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The time within what four digits of a year can say.
pub(super) fn writable(time: EventTime) -> EventTime {
    EventTime(time.0.clamp(-62_167_219_200_000_000, 253_402_300_799_999_999))
}

/// Appends the time as `EventTime` displays it, without quotes. Years outside 0 ..= 9999 are clamped to them.
pub fn write_time(out: &mut Vec<u8>, time: EventTime) {
    let EventTime(time) = writable(time);
    let (year, month, day) = civil_from_days(time.div_euclid(MICROS_PER_DAY));
    let micros = time.rem_euclid(MICROS_PER_DAY);
    let seconds = (micros / MICROS_PER_SECOND) as usize;
    let fraction = (micros % MICROS_PER_SECOND) as usize;
    let (year, month, day) = (year as usize, month as usize, day as usize);
    let [y, z, m, d] = [pair(year / 100), pair(year % 100), pair(month), pair(day)];
    let [h, i, s] = [pair(seconds / 3600), pair(seconds / 60 % 60), pair(seconds % 60)];
    let [f, g, k] = [pair(fraction / 10_000), pair(fraction / 100 % 100), pair(fraction % 100)];
    out.extend_from_slice(&[
        y[0], y[1], z[0], z[1], b'-', m[0], m[1], b'-', d[0], d[1], b'T', h[0], h[1], b':', i[0], i[1], b':', s[0], s[1], b'.', f[0], f[1],
        g[0], g[1], k[0], k[1], b'Z',
    ]);
}

/// Reads a time back that [`write_time`] wrote. Nothing else is accepted: this is no parser for what others send.
#[must_use]
pub fn parse_time(text: &str) -> Option<EventTime> {
    let bytes: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let number = |from: usize, to: usize| -> Option<i64> {
        bytes[from..to].iter().try_fold(0i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
        return None;
    }
    let days = days_from_civil(number(0, 4)?, number(5, 7)? as u32, number(8, 10)? as u32);
    let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let time = EventTime(days * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + number(20, 26)?);
    // A day or an hour that does not exist comes back as another one.
    let mut again = Vec::with_capacity(27);
    write_time(&mut again, time);
    (again == bytes).then_some(time)
}

/// Appends the inside of a JSON string, without quotes.
pub fn write_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut from = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

/// Standard base64 with padding (RFC 4648 section 4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= chunk.len() { ALPHABET[sextet] as char } else { '=' });
        }
    }
    text
}
