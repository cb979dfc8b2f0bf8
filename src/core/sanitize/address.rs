//! IP addresses: one canonical form for every way to write one address, and nothing that only some readers take for an address.
//!
//! Octal, hexadecimal, decimal and shortened IPv4 forms are invalid: readers disagree on them (CVE-2021-29922). IPv4-mapped IPv6 is
//! IPv4. A zone (`%eth0`) names an interface of the sender and is taken off. A socket address (`1.2.3.4:443`, `[::1]:443`) gives its
//! address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a text is as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) address: IpAddr,
    pub(super) zone_removed: bool,
    pub(super) port_removed: bool,
}

/// Whether a text stands for "none": sensors write a dash.
#[inline]
pub(super) fn is_none(text: &str) -> bool {
    matches!(text, "" | "-" | "0.0.0.0")
}

/// Reads what is not a plain IPv4 address.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    let (bare, zone_removed) = match text.split_once('%') {
        // A zone belongs to an IPv6 address only, and one inside brackets would leave a port behind it.
        Some((address, zone)) if address.contains(':') && !zone.is_empty() && !address.starts_with('[') => (address, true),
        Some(_) => return None,
        None => (text, false),
    };
    let parsed = |address: IpAddr, port_removed| Some(Parsed { address: address.to_canonical(), zone_removed, port_removed });
    if let Ok(address) = bare.parse::<IpAddr>() {
        return parsed(address, false);
    }
    if let Some(inner) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return parsed(IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?), true);
    }
    parsed(bare.parse::<SocketAddr>().ok()?.ip(), true)
}

/// Four decimal numbers without leading zeros. Works on all bytes at once: a loop over octets of varying length mispredicts at each.
#[inline]
pub(super) fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let length = text.len();
    let word = padded(text)?;
    let dots = high_bits_where_equal(word, b'.');
    // Exactly the dots and what lies behind the end may be no digit, which also excludes NUL.
    if dots.count_ones() != 3 || no_digits(word) != dots | HIGH << (8 * length) {
        return None;
    }
    let mut octets = [0; 4];
    let (mut start, mut rest, mut invalid) = (0, dots | 0x80 << (8 * length), false);
    for octet in &mut octets {
        let end = rest.trailing_zeros() / 8;
        rest &= rest.wrapping_sub(1);
        let digits = end - start;
        let written = (word >> (8 * start)) as u32;
        // The last digit to the top of three bytes, nothing below the first.
        let aligned = written << (8 * (3 - digits.min(3))) & 0x0f_0f0f;
        let value = (aligned & 0xff) * 100 + (aligned >> 8 & 0xff) * 10 + (aligned >> 16);
        let leading_zero = digits > 1 && written & 0xff == u32::from(b'0');
        invalid |= digits.wrapping_sub(1) > 2 || value > 255 || leading_zero;
        *octet = value as u8;
        start = end + 1;
    }
    (!invalid).then(|| Ipv4Addr::from(octets))
}

const HIGH: u128 = u128::from_ne_bytes([0x80; 16]);

/// High bit of every byte that is no decimal digit, and no other.
#[inline(always)]
const fn no_digits(word: u128) -> u128 {
    let offset = word ^ u128::from_ne_bytes([b'0'; 16]);
    (((offset & !HIGH) + u128::from_ne_bytes([0x76; 16])) | offset) & HIGH
}

/// Up to 15 bytes in one word, zeros above them; shorter than any address is none.
#[inline(always)]
fn padded(text: &[u8]) -> Option<u128> {
    let length = text.len();
    if length > 15 {
        return None;
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        let low = u128::from(u64::from_le_bytes(*first));
        return Some(low | u128::from(u64::from_le_bytes(*last)) << (8 * (length - 8)));
    }
    if length < 7 {
        return None;
    }
    let mut bytes = [0; 16];
    bytes[..7].copy_from_slice(text);
    Some(u128::from_le_bytes(bytes))
}

/// High bit of every byte that equals `byte`, and no other.
#[inline(always)]
const fn high_bits_where_equal(word: u128, byte: u8) -> u128 {
    let difference = word ^ u128::from_ne_bytes([byte; 16]);
    !(((difference & !HIGH) + !HIGH) | difference | !HIGH)
}
