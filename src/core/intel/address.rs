//! Networks, and the addresses that no threat list may name. Never resolves or looks anything up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A prefix: canonical address (IPv4-mapped IPv6 is IPv4) with its host bits cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    pub address: IpAddr,
    /// Bits, `0 ..= 32` or `0 ..= 128`.
    pub length: u8,
}

impl Network {
    /// `None` when the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        match address {
            IpAddr::V4(v4) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Some(Self { address: Ipv4Addr::from(u32::from(v4) & mask).into(), length })
            }
            IpAddr::V6(v6) if length <= 128 => {
                if let Some(v4) = v6.to_ipv4_mapped()
                    && length >= 96
                {
                    return Self::new(v4.into(), length - 96);
                }
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Some(Self { address: Ipv6Addr::from(u128::from(v6) & mask).into(), length })
            }
            _ => None,
        }
    }

    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// `192.0.2.0/24`, `2001:db8::/32`, or an address alone. Octal and short forms are refused, as by the standard library.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            None => text.parse().ok().map(Self::host),
            Some((address, length)) => {
                let digits = !length.is_empty() && length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit());
                Self::new(address.parse().ok()?, if digits { length.parse().ok()? } else { return None })
            }
        }
    }

    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(_), address @ IpAddr::V4(_)) | (IpAddr::V6(_), address @ IpAddr::V6(_)) => {
                Self::new(address, self.length) == Some(self)
            }
            _ => false,
        }
    }
}

/// Addresses that name no host of the internet, so that a threat list naming one is wrong: unspecified (and the whole of
/// `0.0.0.0/8`, which also stands for "not known" on an event), loopback, private, link-local, shared (RFC 6598), multicast,
/// broadcast and reserved. Documentation networks count as ordinary ones: examples and tests use them as attackers.
#[must_use]
pub fn is_special(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            first == 0 || first >= 224 || v4.is_loopback() || v4.is_private() || v4.is_link_local() || (first == 100 && second & 0xC0 == 64)
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified() || v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast()
        }
    }
}
