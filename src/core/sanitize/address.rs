//! IP addresses: one canonical form for every way to write one address, and nothing that only some readers take for an address.
//!
//! Octal, hexadecimal, decimal and shortened IPv4 forms are invalid: readers disagree on them (CVE-2021-29922). IPv4-mapped IPv6 is
//! IPv4. A zone (`%eth0`) names an interface of the sender and is taken off. A socket address (`1.2.3.4:443`, `[::1]:443`) gives its
//! address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const ABSENT: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What a text is as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) address: IpAddr,
    pub(super) zone_removed: bool,
    pub(super) port_removed: bool,
    /// The text is the canonical form already.
    pub(super) canonical: bool,
}

/// Whether a text stands for "none": sensors write a dash.
#[inline]
pub(super) fn is_none(text: &str) -> bool {
    matches!(text, "" | "-" | "0.0.0.0")
}

#[inline]
pub(super) fn parse(text: &str) -> Option<Parsed> {
    if let Some(v4) = ipv4(text.as_bytes()) {
        return Some(Parsed { address: IpAddr::V4(v4), zone_removed: false, port_removed: false, canonical: true });
    }
    other(text.trim())
}

fn other(text: &str) -> Option<Parsed> {
    let (bare, zone_removed) = match text.split_once('%') {
        // A zone belongs to an IPv6 address only, and one inside brackets would leave a port behind it.
        Some((address, zone)) if address.contains(':') && !zone.is_empty() && !address.starts_with('[') => (address, true),
        Some(_) => return None,
        None => (text, false),
    };
    let parsed = |address: IpAddr, port_removed| {
        Some(Parsed { address: address.to_canonical(), zone_removed, port_removed, canonical: false })
    };
    if let Ok(address) = bare.parse::<IpAddr>() {
        return parsed(address, false);
    }
    if let Some(inner) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return parsed(IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?), true);
    }
    parsed(bare.parse::<SocketAddr>().ok()?.ip(), true)
}

/// Four decimal numbers without leading zeros.
#[inline]
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    if text.len() > 15 {
        return None;
    }
    let mut octets = [0; 4];
    let (mut index, mut value, mut digits) = (0, 0_u32, 0);
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            if digits > 0 && value == 0 {
                return None;
            }
            value = value * 10 + u32::from(digit);
            digits += 1;
        } else if byte == b'.' && digits > 0 && value < 256 && index < 3 {
            octets[index] = value as u8;
            index += 1;
            (value, digits) = (0, 0);
        } else {
            return None;
        }
    }
    if index != 3 || digits == 0 || value > 255 {
        return None;
    }
    octets[3] = value as u8;
    Some(Ipv4Addr::from(octets))
}
