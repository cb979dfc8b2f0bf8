//! Bytes as text, and the ends of JSON strings and numbers, eight bytes at a time. Reads bytes only; decides nothing about values.

use crate::core::event::RejectReason;
use crate::native::ascii_text;

/// What is wrong with a JSON text and where. Becomes a [`crate::codec::DecodeError`] at the codec's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub reason: RejectReason,
    /// Byte offset in the record or, for a nested value, in its own text.
    pub at: usize,
    pub what: &'static str,
}

const LOW_BITS: u64 = repeat(0x01);
const HIGH_BITS: u64 = repeat(0x80);

const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// High bit of every byte that is zero. Bytes above the first hit may be wrong, the first never is.
///
/// Source: Mycroft's test, in Warren, "Hacker's Delight", 6-1.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS
}

/// High bit of every quote, backslash and control character.
#[inline(always)]
const fn string_stops(word: u64) -> u64 {
    let control = word.wrapping_sub(repeat(0x20)) & !word & HIGH_BITS;
    zero_bytes(word ^ repeat(b'"')) | zero_bytes(word ^ repeat(b'\\')) | control
}

/// High bit of every byte that is no decimal digit, and no other.
#[inline(always)]
const fn no_digits(word: u64) -> u64 {
    let offset = word ^ repeat(b'0');
    (((offset & !HIGH_BITS) + repeat(0x76)) | offset) & HIGH_BITS
}

/// Most records are ASCII throughout, which takes a few vectors to see.
#[inline]
pub(super) fn text_of(payload: &[u8]) -> Result<&str, Fault> {
    let fault = |error: std::str::Utf8Error| Fault { reason: RejectReason::InvalidUtf8, at: error.valid_up_to(), what: "not UTF-8" };
    ascii_text(payload).map_or_else(|| std::str::from_utf8(payload).map_err(fault), Ok)
}

/// Index of the first quote, backslash or control character from `at` on, or the length.
#[inline]
pub(super) fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let stops = string_stops(u64::from_le_bytes(*chunk));
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            return at;
        }
        at += 1;
    }
    at
}

#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

#[inline]
fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    // Nearly all numbers end within eight bytes, and a loop over digits mispredicts at each end.
    if let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let others = no_digits(u64::from_le_bytes(*chunk));
        if others != 0 {
            return at + (others.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The end of the number that starts at `at`, by JSON's grammar.
///
/// # Errors
/// `Malformed`, or `Truncated` where the text ends inside the number.
#[inline]
pub(super) fn number_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let whole = if bytes.get(at) == Some(&b'-') { at + 1 } else { at };
    let mut end = skip_digits(bytes, whole);
    if end == whole {
        return Err(unexpected(bytes, end, "expected a digit"));
    }
    if bytes[whole] == b'0' && end > whole + 1 {
        return Err(Fault { reason: RejectReason::Malformed, at: whole, what: "a number must not start with 0" });
    }
    if bytes.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = skip_digits(bytes, fraction);
        if end == fraction {
            return Err(unexpected(bytes, end, "expected a digit after the point"));
        }
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = end + 1 + sign;
        end = skip_digits(bytes, exponent);
        if end == exponent {
            return Err(unexpected(bytes, end, "expected a digit in the exponent"));
        }
    }
    Ok(end)
}

/// The fault of finding something else at `at`: truncated if there is nothing there.
#[cold]
pub(super) fn unexpected(bytes: &[u8], at: usize, what: &'static str) -> Fault {
    let reason = if at >= bytes.len() { RejectReason::Truncated } else { RejectReason::Malformed };
    Fault { reason, at: at.min(bytes.len()), what }
}
