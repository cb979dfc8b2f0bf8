//! Event times: every usual way to write one, and what is done with those that cannot be true. Never reads a clock.

use super::number::few_digits;
use crate::core::event::Field;
use crate::core::types::{EventTime, MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil};
use crate::limits::{EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS};

const SECONDS_PER_DAY: i64 = MICROS_PER_DAY / MICROS_PER_SECOND;
const MONTHS: [&[u8; 3]; 12] = [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
/// Candidate years around the record's; four on either side always include a leap year.
const YEARS_AROUND: i64 = 4;

/// A timestamp as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    At(EventTime),
    /// A leap second, already put back to the last microsecond of its day.
    LeapSecond(EventTime),
    /// RFC 3164: no year.
    Yearless {
        month: u32,
        day: u32,
        micros_of_day: i64,
    },
}

/// Whether a time can be an event's: 1990 up to 2100.
#[must_use]
pub(super) fn is_plausible(time: EventTime) -> bool {
    (EVENT_TIME_MIN_MICROS..EVENT_TIME_MAX_MICROS).contains(&time.0)
}

/// Reads a timestamp field; `None` if it is not one.
///
/// Text: RFC 3339 and ISO 8601 with any of `T`, `t` or a blank between, basic form, date only, minutes only, a comma for the point,
/// any number of fraction digits (cut to microseconds), `Z`, `+hh:mm`, `+hhmm`, `+hh`, or no zone, which is UTC; RFC 3164; digits as
/// below. Numbers: seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by their size, which no two of them
/// share between 1990 and 2100.
#[inline]
pub(super) fn read(field: &Field<'_>) -> Option<Written> {
    match *field {
        Field::Text(text) => {
            let bytes = text.as_bytes();
            extended(bytes).or_else(|| other_text(bytes.trim_ascii()))
        }
        Field::Number(digits) => epoch(digits.as_bytes()).map(Written::At),
        Field::Unsigned(number) => i64::try_from(number).ok().and_then(|whole| scaled(whole, 0)).map(Written::At),
        Field::Real(number) => epoch_of_float(number).map(Written::At),
        Field::Missing | Field::Bool(_) | Field::Nested(_) => None,
    }
}

/// A point in time that somebody typed: RFC 3339 or ISO 8601 with a date and a time, UTC where no zone is given.
#[must_use]
pub fn parse_time(text: &str) -> Option<EventTime> {
    match extended(text.trim().as_bytes())? {
        Written::At(time) | Written::LeapSecond(time) => Some(time),
        Written::Yearless { .. } => None,
    }
}

/// The point in time that is nearest to `near`, or the one in `default_year`.
pub(super) fn with_year(month: u32, day: u32, micros_of_day: i64, near: Option<EventTime>, default_year: i64) -> Option<EventTime> {
    let (centre, years) = match near {
        Some(time) => (crate::core::types::civil_from_days(time.0.div_euclid(MICROS_PER_DAY)).0, YEARS_AROUND),
        None => (default_year, 0),
    };
    let candidates = (centre - years..=centre + years).filter(|year| day <= days_in_month(*year, month));
    let times = candidates.map(|year| EventTime(days_from_civil(year, month, day) * MICROS_PER_DAY + micros_of_day));
    times.min_by_key(|time| near.map_or(0, |near| (time.0 - near.0).abs()))
}

/// `2026-01-02T03:04:05.678+01:00`, the shape nearly every producer writes.
#[inline]
fn extended(text: &[u8]) -> Option<Written> {
    let head: &[u8; 19] = text.first_chunk()?;
    let word = |at: usize| head[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let (date, clock) = (word(0)?, word(11)?);
    let separators = date & DATE_MARKS == DATE_SHAPE & DATE_MARKS && clock & CLOCK_MARKS == CLOCK_SHAPE & CLOCK_MARKS;
    if !separators || !matches!(head[10], b'T' | b' ' | b't') {
        return None;
    }
    // The digits of all pairs at once: the marks between them become zeros.
    let ([century, year, month], [hour, minute, second]) = (pairs(date ^ DATE_SHAPE, [0, 2, 5])?, pairs(clock ^ CLOCK_SHAPE, [0, 3, 6])?);
    let (micros, rest) = fraction(&text[19..])?;
    assemble([century * 100 + year, month, two(head, 8)?], [hour, minute, second], micros, zone(rest)?)
}

const DATE_SHAPE: u64 = u64::from_le_bytes(*b"0000-00-");
const DATE_MARKS: u64 = u64::from_le_bytes([0, 0, 0, 0, 0xff, 0, 0, 0xff]);
const CLOCK_SHAPE: u64 = u64::from_le_bytes(*b"00:00:00");
const CLOCK_MARKS: u64 = u64::from_le_bytes([0, 0, 0xff, 0, 0, 0xff, 0, 0]);

/// Numbers of two digits at these bytes of a word of values; `None` where one of its bytes is no digit's value.
#[inline(always)]
fn pairs(values: u64, at: [u32; 3]) -> Option<[u32; 3]> {
    if (values | (values + u64::from_ne_bytes([6; 8]))) & u64::from_ne_bytes([0xf0; 8]) != 0 {
        return None;
    }
    let pairs = values * 10 + (values >> 8);
    Some(at.map(|at| (pairs >> (8 * at)) as u32 & 0xff))
}

#[inline(always)]
fn two(text: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(u32::from(tens) * 10 + u32::from(ones))
}

/// Microseconds of `.123456789` or `,123`, and what follows.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let (b'.' | b',') = *text.first().unwrap_or(&b' ') else { return Some((0, text)) };
    // Microseconds and a letter behind them are what most producers write.
    if let ([_, rest @ ..], Some(micros), Some(b'Z')) = (text, text.get(1..7).and_then(few_digits), text.get(7)) {
        return Some((i64::from(micros), &rest[6..]));
    }
    let digits = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let micros = micros_of_fraction(&text[1..=digits]);
    (digits > 0).then_some((micros, &text[digits + 1..]))
}

#[inline]
fn micros_of_fraction(digits: &[u8]) -> i64 {
    let kept = &digits[..digits.len().min(6)];
    let value = kept.iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
    value * 10_i64.pow(6 - kept.len() as u32)
}

/// Seconds east of UTC.
#[inline]
fn zone(text: &[u8]) -> Option<i64> {
    let sign = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b' ', rest @ ..] if !rest.is_empty() => return zone(rest),
        b"UTC" | b"GMT" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hours, minutes) = match text.len() {
        3 => (two(text, 1)?, 0),
        5 => (two(text, 1)?, two(text, 3)?),
        6 if text[3] == b':' => (two(text, 1)?, two(text, 4)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * i64::from(hours * 60 + minutes) * 60)
}

#[inline]
fn assemble(date: [u32; 3], clock: [u32; 3], micros: i64, east: i64) -> Option<Written> {
    let ([year, month, day], [hour, minute, second]) = (date, clock);
    let year = i64::from(year);
    if !(1..=12).contains(&month) || day == 0 || (day > 28 && day > days_in_month(year, month)) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + i64::from(hour * 3600 + minute * 60 + second) - east;
    if second < 60 {
        return Some(Written::At(EventTime(seconds * MICROS_PER_SECOND + micros)));
    }
    // A leap second is only ever inserted at the end of a UTC day; `seconds` is then the next day's first.
    let ends_day = seconds.rem_euclid(SECONDS_PER_DAY) == 0;
    ends_day.then_some(Written::LeapSecond(EventTime(seconds * MICROS_PER_SECOND - 1)))
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cold]
fn other_text(text: &[u8]) -> Option<Written> {
    if let Some(time) = epoch(text) {
        return Some(Written::At(time));
    }
    extended(text).or_else(|| short(text)).or_else(|| basic(text)).or_else(|| log_style(text))
}

/// `2026-01-02`, `2026-01-02T03:04`, `2026-01-02T03:04Z`
fn short(text: &[u8]) -> Option<Written> {
    let head: &[u8; 10] = text.first_chunk()?;
    if head[4] != b'-' || head[7] != b'-' {
        return None;
    }
    let date = [two(head, 0)? * 100 + two(head, 2)?, two(head, 5)?, two(head, 8)?];
    match &text[10..] {
        [] => assemble(date, [0; 3], 0, 0),
        [b'T' | b't' | b' ', clock @ ..] if clock.len() >= 5 && clock[2] == b':' => {
            assemble(date, [two(clock, 0)?, two(clock, 3)?, 0], 0, zone(&clock[5..])?)
        }
        _ => None,
    }
}

/// `20260102T030405Z`, `20260102T030405.678+0100`
fn basic(text: &[u8]) -> Option<Written> {
    let head: &[u8; 15] = text.first_chunk()?;
    if !matches!(head[8], b'T' | b't') {
        return None;
    }
    let (micros, rest) = fraction(&text[15..])?;
    let date = [two(head, 0)? * 100 + two(head, 2)?, two(head, 4)?, two(head, 6)?];
    assemble(date, [two(head, 9)?, two(head, 11)?, two(head, 13)?], micros, zone(rest)?)
}

/// `Dec 10 06:55:46` without and `Dec 10 2005 06:55:46` with a year, with or without a fraction; `17/May/2015:10:05:03 +0000`.
fn log_style(text: &[u8]) -> Option<Written> {
    if text.get(2) == Some(&b'/') && text.len() >= 20 {
        let (micros, rest) = fraction(&text[20..])?;
        let date = [two(text, 7)? * 100 + two(text, 9)?, month(&text[3..6])?, two(text, 0)?];
        let ordered = text[6] == b'/' && text[11] == b':' && text[14] == b':' && text[17] == b':';
        return if ordered { assemble(date, [two(text, 12)?, two(text, 15)?, two(text, 18)?], micros, zone(rest)?) } else { None };
    }
    let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let month = month(words.next()?)?;
    let day = small_number(words.next()?)?;
    let mut clock = words.next()?;
    let year = if clock.len() == 4 { Some(small_number(clock)?) } else { None };
    if year.is_some() {
        clock = words.next()?;
    }
    if words.next().is_some() || clock.len() < 8 || clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    let (micros, rest) = fraction(&clock[8..])?;
    let parts = [two(clock, 0)?, two(clock, 3)?, two(clock, 6)?];
    let east = zone(rest)?;
    // Without a year, one with a 29 February stands in for checking the date.
    let checked = assemble([year.unwrap_or(2000), month, day], parts, micros, east)?;
    match (year, checked) {
        (Some(_), _) => Some(checked),
        (None, Written::At(time)) => {
            Some(Written::Yearless { month, day, micros_of_day: time.0 - days_from_civil(2000, month, day) * MICROS_PER_DAY })
        }
        (None, _) => None,
    }
}

fn month(word: &[u8]) -> Option<u32> {
    let place = MONTHS.iter().position(|name| word.eq_ignore_ascii_case(*name))?;
    Some(place as u32 + 1)
}

fn small_number(digits: &[u8]) -> Option<u32> {
    let valid = !digits.is_empty() && digits.len() <= 4 && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| digits.iter().fold(0, |value, byte| value * 10 + u32::from(byte - b'0')))
}

/// Digits with an optional fraction, exactly; with an exponent, through a float.
fn epoch(digits: &[u8]) -> Option<EventTime> {
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if whole == 0 || whole > 19 {
        return None;
    }
    let value = digits[..whole].iter().try_fold(0_i64, |value, byte| value.checked_mul(10)?.checked_add(i64::from(byte - b'0')))?;
    match &digits[whole..] {
        [] => scaled(value, 0),
        [b'.', fraction @ ..] if !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit) => {
            scaled(value, micros_of_fraction(fraction))
        }
        [b'.' | b'e' | b'E', ..] => epoch_of_float(std::str::from_utf8(digits).ok()?.parse().ok()?),
        _ => None,
    }
}

/// A whole number of the unit that its size tells, and the millionths of that unit behind its point.
fn scaled(whole: i64, millionths: i64) -> Option<EventTime> {
    let micros = match whole {
        0..100_000_000_000 => whole * MICROS_PER_SECOND + millionths,
        100_000_000_000..100_000_000_000_000 => whole * 1_000 + millionths / 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => whole,
        100_000_000_000_000_000.. => whole / 1_000,
        _ => return None,
    };
    Some(EventTime(micros))
}

fn epoch_of_float(number: f64) -> Option<EventTime> {
    if !(0.0..1e19).contains(&number) {
        return None;
    }
    let whole = number as i64;
    scaled(whole, libm::round((number - whole as f64) * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// [`extended`] digit by digit.
    fn by_the_book(text: &[u8]) -> Option<Written> {
        let head: &[u8; 19] = text.first_chunk()?;
        let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        if marks.iter().any(|(at, mark)| head[*at] != *mark) || !matches!(head[10], b'T' | b' ' | b't') {
            return None;
        }
        let year = two(head, 0)? * 100 + two(head, 2)?;
        let clock = [two(head, 11)?, two(head, 14)?, two(head, 17)?];
        let (mut micros, mut rest) = (0, &text[19..]);
        if let [b'.' | b',', behind @ ..] = rest {
            let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (micros, rest) = (micros_of_fraction(&behind[..digits]), if digits > 0 { &behind[digits..] } else { b"?" });
        }
        assemble([year, two(head, 5)?, two(head, 8)?], clock, micros, zone(rest)?)
    }

    proptest! {
        #[test]
        fn the_usual_shape_is_read_as_digit_by_digit(text in "20[0-9]{2}-(0[0-9]|1[0-2])-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,9})?(Z|z|[+-]0[0-9]:?30|x)?", at in any::<prop::sample::Index>(), other in prop_oneof![Just(b'0'), b' '..=b'~', any::<u8>()], times in 0..2) {
            let mut text = text.into_bytes();
            for _ in 0..times {
                let at = at.index(text.len());
                text[at] = other;
            }
            prop_assert_eq!(extended(&text), by_the_book(&text), "{}", String::from_utf8_lossy(&text));
        }
    }
}
