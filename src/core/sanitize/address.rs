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

/// Four decimal numbers without leading zeros. Each octet's digits are taken as one word: a loop over digits mispredicts at each end.
#[inline]
pub(super) fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut low, mut high) = padded(text)?;
    let mut octets = [0; 4];
    let mut at = 0;
    for (index, octet) in octets.iter_mut().enumerate() {
        let word = low as u32;
        let digits = no_digits(word).trailing_zeros() / 8;
        if digits.wrapping_sub(1) > 2 {
            return None;
        }
        // The last digit to the top of three bytes, nothing below the first.
        let aligned = word << (8 * (3 - digits)) & 0x0f_0f0f;
        let value = (aligned & 0xff) * 100 + (aligned >> 8 & 0xff) * 10 + (aligned >> 16);
        at += digits as usize;
        let ends = if index < 3 { word >> (8 * digits) & 0xff == u32::from(b'.') } else { at == text.len() };
        let leading_zero = digits > 1 && word & 0xff == u32::from(b'0');
        if !ends || value > 255 || leading_zero {
            return None;
        }
        *octet = value as u8;
        at += 1;
        let taken = 8 * (digits + 1);
        low = low >> taken | high << (64 - taken);
        high >>= taken;
    }
    Some(Ipv4Addr::from(octets))
}

/// High bit of every byte that is no decimal digit, and no other.
#[inline(always)]
const fn no_digits(word: u32) -> u32 {
    let offset = word ^ 0x3030_3030;
    (((offset & 0x7f7f_7f7f) + 0x7676_7676) | offset) & 0x8080_8080
}

/// 7 to 15 bytes in two words, zeros behind them; nothing shorter or longer is an IPv4 address.
#[inline(always)]
fn padded(text: &[u8]) -> Option<(u64, u64)> {
    let length = text.len();
    match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) if length < 16 => {
            let behind = (u64::from_le_bytes(*last) >> 8) >> (8 * (15 - length));
            Some((u64::from_le_bytes(*first), behind))
        }
        (None, _) if length == 7 => {
            let mut bytes = [0; 8];
            bytes[..7].copy_from_slice(text);
            Some((u64::from_le_bytes(bytes), 0))
        }
        _ => None,
    }
}
