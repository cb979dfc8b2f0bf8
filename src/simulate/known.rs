//! What the company's own security team would know and write into its pipeline files. Says nothing about campaigns.

use std::net::Ipv4Addr;

pub use super::geo::{RELAY_ASNS, SATELLITE_ASNS, VPN_ASNS};

/// Vulnerability scanners that are allowed to scan: to be allow-listed.
pub const ALLOWED_SCANNERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 50, 0, 250), Ipv4Addr::new(10, 50, 0, 251)];
/// Polls every server and looks after every laptop: wide fan-out is their work.
pub const MANAGEMENT_HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 50, 0, 60), Ipv4Addr::new(10, 50, 0, 80)];
/// The company's own networks.
pub const INTERNAL_NETWORKS: [&str; 2] = ["10.0.0.0/8", "193.104.40.0/24"];
/// Receives the nightly backups.
pub const BACKUP_SERVERS: [Ipv4Addr; 1] = [Ipv4Addr::new(10, 50, 0, 70)];

const fn infrastructure(last: u8) -> u32 {
    10 << 24 | 50 << 16 | last as u32
}

pub(super) const RESOLVER: u32 = infrastructure(53);
pub(super) const TIME_SERVER: u32 = infrastructure(123);
pub(super) const DOMAIN_CONTROLLERS: [u32; 2] = [infrastructure(10), infrastructure(11)];
pub(super) const BALANCER: u32 = infrastructure(5);
pub(super) const MAIL: u32 = infrastructure(25);
pub(super) const PATCH: u32 = infrastructure(60);
pub(super) const BACKUP: u32 = infrastructure(70);
pub(super) const COLLECTOR: u32 = infrastructure(80);
pub(super) const PRINTER: u32 = infrastructure(90);
pub(super) const SCANNER: u32 = infrastructure(250);
pub(super) const SCANNER_SECOND: u32 = infrastructure(251);

/// 193.104.40.0/24 faces the internet.
pub(super) const fn public(last: u8) -> u32 {
    193 << 24 | 104 << 16 | 40 << 8 | last as u32
}
pub(super) const PORTAL: u32 = public(10);
pub(super) const PUBLIC_MAIL: u32 = public(25);
pub(super) const PUBLIC_WEB: u32 = public(80);

/// Server number `index`.
pub(super) const fn server(index: u32) -> u32 {
    10 << 24 | 50 << 16 | (1 + index / 200) << 8 | (10 + index % 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_addresses_are_the_ones_in_use() {
        assert_eq!(ALLOWED_SCANNERS.map(u32::from), [SCANNER, SCANNER_SECOND]);
        assert_eq!(MANAGEMENT_HOSTS.map(u32::from), [PATCH, COLLECTOR]);
        assert_eq!(BACKUP_SERVERS.map(u32::from), [BACKUP]);
    }
}
