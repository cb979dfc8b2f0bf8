//! Threat intelligence: who is listed, by which list, how surely. Millions of addresses, networks, domains and file hashes.
//!
//! An [`IntelSet`] is built from parsed lists and then only read; a changed list means a new set. It never reads a file, never
//! asks anyone, and never matches a private or unspecified address against a threat list.
//!
//! Lists serve one of three purposes. `Threat` lists make hits. `Exempt` lists (allow-lists) take hits away again, whatever the
//! prefix lengths: what an operator allows is allowed. `Context` lists (VPN, Tor, data centre) say what an address is.

mod address;
pub mod centroid;
pub mod geo;
mod parse;
mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use address::{Network, is_special};
pub use parse::{Entry, FileHash, Indicator, ListKind, ParsedList, RejectedLine, parse_list};

use self::table::{Domains, DomainsBuilder, Exact, Ranges, Tag};
use crate::error::{Error, Result};
use crate::limits::INTEL_LISTS_MAX;

/// What a list is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    Threat,
    Context,
    Exempt,
}

/// What of the event was found in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    Address,
    /// A network that contains the address; the longest listed prefix.
    Network,
    Domain,
    /// A listed parent of the domain; the closest one.
    ParentDomain,
    Hash,
}

impl Matched {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Network => "network",
            Self::Domain => "domain",
            Self::ParentDomain => "parent_domain",
            Self::Hash => "hash",
        }
    }
}

/// An answer. Where several lists name the same indicator, the most confident one answers, and of equals the first added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntelHit {
    /// Index into [`IntelSet::lists`].
    pub list: u16,
    /// `0.0 ..= 1.0`, in steps of 0.01.
    pub confidence: f32,
    pub matched: Matched,
}

/// A list that a set was built from, and what became of its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct ListInfo {
    pub name: String,
    pub purpose: Purpose,
    /// Confidence of entries without their own.
    pub confidence: f32,
    /// Entries taken.
    pub entries: usize,
    /// Lines that were no indicator, with the first few of them.
    pub rejected: usize,
    pub examples: Vec<RejectedLine>,
    /// Threat entries left out because they name private, loopback or other special addresses.
    pub special: usize,
    /// Threat networks left out because they are wider than any real one: IPv4 under /8, IPv6 under /16.
    pub too_wide: usize,
    /// Entries left out because a table was full.
    pub over_limit: usize,
}

/// Collects lists; [`IntelBuilder::build`] makes the set. Adding order decides list ids and ties, nothing else does.
#[derive(Default)]
pub struct IntelBuilder {
    lists: Vec<ListInfo>,
    groups: [GroupBuilder; 3],
}

impl IntelBuilder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a list; entries without a confidence of their own get `confidence`. The answer is the list's id.
    ///
    /// # Errors
    /// `Config` when there are more than [`INTEL_LISTS_MAX`] lists.
    pub fn add(&mut self, list: ParsedList, purpose: Purpose, confidence: f32) -> Result<u16> {
        if self.lists.len() >= INTEL_LISTS_MAX {
            return Err(Error::config(format!("more than {INTEL_LISTS_MAX} intelligence lists; merge some of them")));
        }
        let id = self.lists.len() as u16;
        let ParsedList { name, entries, rejected, examples } = list;
        let mut info = ListInfo { name, purpose, confidence, entries: 0, rejected, examples, special: 0, too_wide: 0, over_limit: 0 };
        for entry in entries {
            if let (Purpose::Threat, Indicator::Network(network)) = (purpose, &entry.indicator) {
                if is_special(network.address) {
                    info.special += 1;
                    continue;
                }
                if network.length < if network.address.is_ipv4() { 8 } else { 16 } {
                    info.too_wide += 1;
                    continue;
                }
            }
            let tag = Tag::new(id, entry.confidence.unwrap_or(confidence));
            if self.groups[purpose as usize].add(&entry.indicator, tag) {
                info.entries += 1;
            } else {
                info.over_limit += 1;
            }
        }
        self.lists.push(info);
        Ok(id)
    }

    #[must_use]
    pub fn build(self) -> IntelSet {
        let [threats, context, exempt] = self.groups.map(GroupBuilder::build);
        IntelSet { lists: self.lists, threats, context, exempt }
    }
}

/// Look-ups take tens of nanoseconds and allocate nothing.
pub struct IntelSet {
    lists: Vec<ListInfo>,
    threats: Group,
    context: Group,
    exempt: Group,
}

impl Default for IntelSet {
    fn default() -> Self {
        IntelBuilder::new().build()
    }
}

impl IntelSet {
    /// A threat list's entry for the address or the longest prefix over it. None for special and exempt addresses.
    #[must_use]
    pub fn lookup_ip(&self, address: IpAddr) -> Option<IntelHit> {
        let address = address.to_canonical();
        let hit = self.threats.address(address)?;
        (!is_special(address) && self.exempt.address(address).is_none()).then_some(hit)
    }
    /// A threat list's entry for the domain or its closest listed parent; case and a trailing dot do not matter.
    #[must_use]
    pub fn lookup_domain(&self, name: &str) -> Option<IntelHit> {
        let hit = self.threats.domain(name)?;
        self.exempt.domain(name).is_none().then_some(hit)
    }
    /// A threat list's entry for an MD5, SHA-1 or SHA-256 in hex; anything else has none.
    #[must_use]
    pub fn lookup_hash(&self, hex: &str) -> Option<IntelHit> {
        let hash = FileHash::parse(hex)?;
        let hit = self.threats.hash(hash)?;
        self.exempt.hash(hash).is_none().then_some(hit)
    }
    /// What a context list says of the address (VPN, Tor, data centre). Exemptions do not touch it.
    #[must_use]
    pub fn context_ip(&self, address: IpAddr) -> Option<IntelHit> {
        self.context.address(address.to_canonical())
    }
    /// What a context list says of the domain (dynamic DNS, disposable mail).
    #[must_use]
    pub fn context_domain(&self, name: &str) -> Option<IntelHit> {
        self.context.domain(name)
    }
    /// The allow-list that names the address. Private addresses can be on one.
    #[must_use]
    pub fn exempt_ip(&self, address: IpAddr) -> Option<IntelHit> {
        self.exempt.address(address.to_canonical())
    }
    #[must_use]
    pub fn exempt_domain(&self, name: &str) -> Option<IntelHit> {
        self.exempt.domain(name)
    }
    /// The lists in the order of their ids.
    #[must_use]
    pub fn lists(&self) -> &[ListInfo] {
        &self.lists
    }
    /// Name of a hit's list.
    #[must_use]
    pub fn list_name(&self, list: u16) -> &str {
        self.lists.get(usize::from(list)).map_or("", |info| &info.name)
    }
    /// Distinct indicators that can make a hit.
    #[must_use]
    pub fn threat_entries(&self) -> usize {
        self.threats.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.threats.len() + self.context.len() + self.exempt.len() == 0
    }
    /// Heap bytes of the tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.threats.bytes() + self.context.bytes() + self.exempt.bytes()
    }
}

#[derive(Default)]
struct GroupBuilder {
    v4: Vec<(u32, Tag)>,
    v4_networks: Vec<(u32, u32, Tag)>,
    v6: Vec<(u128, Tag)>,
    v6_networks: Vec<(u128, u128, Tag)>,
    domains: DomainsBuilder,
    hashes: Vec<(u128, Tag)>,
}

impl GroupBuilder {
    fn add(&mut self, indicator: &Indicator, tag: Tag) -> bool {
        match indicator {
            Indicator::Network(Network { address: IpAddr::V4(address), length }) => {
                let first = u32::from(*address);
                match length {
                    32 => self.v4.push((first, tag)),
                    _ => self.v4_networks.push((first, first | (u32::MAX >> length), tag)),
                }
                true
            }
            Indicator::Network(Network { address: IpAddr::V6(address), length }) => {
                let first = u128::from(*address);
                match length {
                    128 => self.v6.push((first, tag)),
                    _ => self.v6_networks.push((first, first | (u128::MAX >> length), tag)),
                }
                true
            }
            Indicator::Domain(name) => self.domains.add(name, tag),
            Indicator::Hash(hash) => {
                self.hashes.push((hash.key(), tag));
                true
            }
        }
    }

    fn build(self) -> Group {
        Group {
            v4: Exact::new(self.v4),
            v4_networks: Ranges::new(self.v4_networks),
            v6: Exact::new(self.v6),
            v6_networks: Ranges::new(self.v6_networks),
            domains: self.domains.build(),
            hashes: Exact::new(self.hashes),
        }
    }
}

struct Group {
    v4: Exact<u32>,
    v4_networks: Ranges<u32>,
    v6: Exact<u128>,
    v6_networks: Ranges<u128>,
    domains: Domains,
    hashes: Exact<u128>,
}

fn hit(tag: Tag, matched: Matched) -> IntelHit {
    IntelHit { list: tag.list(), confidence: tag.confidence(), matched }
}

impl Group {
    /// `address` is canonical. A listed host is a longer prefix than any network.
    fn address(&self, address: IpAddr) -> Option<IntelHit> {
        let (host, network) = match address {
            IpAddr::V4(v4) => {
                let key = u32::from(v4);
                let host = self.v4.get(key);
                (host, if host.is_none() { self.v4_networks.get(key) } else { None })
            }
            IpAddr::V6(v6) => {
                let key = u128::from(v6);
                let host = self.v6.get(key);
                (host, if host.is_none() { self.v6_networks.get(key) } else { None })
            }
        };
        host.map(|tag| hit(tag, Matched::Address)).or_else(|| network.map(|tag| hit(tag, Matched::Network)))
    }
    fn domain(&self, name: &str) -> Option<IntelHit> {
        let (tag, whole) = self.domains.get(name)?;
        Some(hit(tag, if whole { Matched::Domain } else { Matched::ParentDomain }))
    }
    fn hash(&self, hash: FileHash) -> Option<IntelHit> {
        self.hashes.get(hash.key()).map(|tag| hit(tag, Matched::Hash))
    }
    fn len(&self) -> usize {
        self.v4.len() + self.v4_networks.len() + self.v6.len() + self.v6_networks.len() + self.domains.len() + self.hashes.len()
    }
    fn bytes(&self) -> usize {
        self.v4.bytes() + self.v4_networks.bytes() + self.v6.bytes() + self.v6_networks.bytes() + self.domains.bytes() + self.hashes.bytes()
    }
}
