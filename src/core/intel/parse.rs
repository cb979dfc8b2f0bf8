//! Reads intelligence lists as they are published: plain lines, CIDR, `ip<TAB>count`, CSV, hosts files, MISP warning lists.
//!
//! A line that is no indicator is counted and, for the first few, kept as an example; parsing a list never fails as a whole and
//! never guesses an indicator from the middle of a line.

use std::net::IpAddr;

use serde::Deserialize;

use super::address::{Network, is_special};
use super::table::DOMAIN_BYTES_MAX;
use crate::core::printable::printable;

/// What a list holds. `Auto` decides line by line: address or network, else file hash, else domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    #[default]
    Auto,
    Address,
    Domain,
    Hash,
}

/// MD5, SHA-1 or SHA-256 of a file: its length and first 16 bytes, which are enough to tell hashes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHash {
    first: u128,
    bytes: u8,
}

impl FileHash {
    /// Hex digits, 32, 40 or 64 of them, in either case.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        if !matches!(hex.len(), 32 | 40 | 64) {
            return None;
        }
        let mut first = 0u128;
        for (index, byte) in hex.bytes().enumerate() {
            let digit = (byte as char).to_digit(16)?;
            if index < 32 {
                first = first << 4 | u128::from(digit);
            }
        }
        Some(Self { first, bytes: (hex.len() / 2) as u8 })
    }
    /// One number for all three lengths; equal beginnings of different lengths stay apart.
    pub(super) fn key(self) -> u128 {
        self.first ^ u128::from(self.bytes)
    }
}

/// One thing that a list names.
#[derive(Clone, Debug, PartialEq)]
pub enum Indicator {
    /// An address is a network of full length.
    Network(Network),
    /// Lower case, no leading or trailing dot; stands for its subdomains too.
    Domain(Box<str>),
    Hash(FileHash),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub indicator: Indicator,
    /// `0.0 ..= 1.0` where the list says how sure it is.
    pub confidence: Option<f32>,
}

/// An example of what a list had that was no indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// Line number from 1; in a JSON list, the number of its element.
    pub line: usize,
    /// Its beginning, escaped for showing.
    pub text: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedList {
    pub name: String,
    pub entries: Vec<Entry>,
    pub rejected: usize,
    /// At most [`EXAMPLES_MAX`].
    pub examples: Vec<RejectedLine>,
}

const EXAMPLES_MAX: usize = 5;
const EXAMPLE_CHARS_MAX: usize = 80;

/// Parses a list in any of the supported formats, told apart by their first character: `{` or `[` begin JSON.
#[must_use]
pub fn parse_list(name: &str, kind: ListKind, text: &str) -> ParsedList {
    let mut list = ParsedList { name: name.to_owned(), ..ParsedList::default() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) && text.trim_end().ends_with(['}', ']']) {
        parse_json(kind, text, &mut list);
        return list;
    }
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '!']) || line.starts_with("//") {
            continue;
        }
        match parse_line(kind, line) {
            Ok(entry) => list.entries.push(entry),
            Err(reason) => list.reject(index + 1, line, reason),
        }
    }
    list
}

impl ParsedList {
    fn reject(&mut self, line: usize, text: &str, reason: &'static str) {
        self.rejected += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let start: String = text.chars().take(EXAMPLE_CHARS_MAX).collect();
            self.examples.push(RejectedLine { line, text: printable(&start).into_owned(), reason });
        }
    }
}

/// MISP warning list (`{"list": [...]}`) or a bare array of strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonList {
    Misp { list: Vec<String> },
    Bare(Vec<String>),
}

fn parse_json(kind: ListKind, text: &str, list: &mut ParsedList) {
    let Ok(JsonList::Misp { list: items } | JsonList::Bare(items)) = serde_json::from_str(text) else {
        list.reject(1, text, "neither a MISP warning list nor an array of strings");
        return;
    };
    for (index, item) in items.iter().enumerate() {
        match parse_indicator(kind, item.trim()) {
            Ok(indicator) => list.entries.push(Entry { indicator, confidence: None }),
            Err(reason) => list.reject(index + 1, item, reason),
        }
    }
}

fn parse_line(kind: ListKind, line: &str) -> Result<Entry, &'static str> {
    const SEPARATORS: [char; 6] = [',', ';', '\t', ' ', '#', '|'];
    let (first, rest) = match line.find(SEPARATORS) {
        // `||bad.example^` of advertisement filters would be cut to nothing.
        Some(0) => (line, ""),
        Some(at) => line.split_at(at),
        None => (line, ""),
    };
    let first = first.trim_matches(['"', '\'']);
    if let Some(name) = hosts_file_name(first, rest) {
        return match kind {
            ListKind::Auto | ListKind::Domain => Ok(Entry { indicator: parse_domain(name)?, confidence: None }),
            ListKind::Address | ListKind::Hash => Err("a line of a hosts file names a domain"),
        };
    }
    Ok(Entry { indicator: parse_indicator(kind, first)?, confidence: confidence_of_count(rest) })
}

/// `0.0.0.0 bad.example` and `127.0.0.1 bad.example` name the domain, not the address.
fn hosts_file_name<'l>(first: &str, rest: &'l str) -> Option<&'l str> {
    let address: IpAddr = first.parse().ok()?;
    let name = rest.split_whitespace().next()?;
    (is_special(address) && name.contains('.') && !name.starts_with(['#', ';', ','])).then_some(name)
}

/// `ip<TAB>count`: on how many lists the address is. Each listing is taken to be wrong one time in two, independently.
fn confidence_of_count(rest: &str) -> Option<f32> {
    let count: u32 = rest.strip_prefix('\t')?.trim().parse().ok()?;
    (count > 0).then(|| 1.0 - 1.0 / (1u32 << count.min(20)) as f32)
}

fn parse_indicator(kind: ListKind, text: &str) -> Result<Indicator, &'static str> {
    match kind {
        ListKind::Address => parse_network(text).ok_or("not an address or network"),
        ListKind::Hash => FileHash::parse(text).map(Indicator::Hash).ok_or("not an MD5, SHA-1 or SHA-256"),
        ListKind::Domain => parse_domain(text),
        ListKind::Auto => match parse_network(text) {
            Some(indicator) => Ok(indicator),
            None => match FileHash::parse(text) {
                Some(hash) => Ok(Indicator::Hash(hash)),
                None => parse_domain(text),
            },
        },
    }
}

/// An address, a network, or an address with a port, which is left off.
fn parse_network(text: &str) -> Option<Indicator> {
    let network = Network::parse(text).or_else(|| {
        let socket: std::net::SocketAddr = text.parse().ok()?;
        Some(Network::host(socket.ip()))
    })?;
    Some(Indicator::Network(network))
}

/// `bad.example`, `.bad.example`, `*.bad.example`, `||bad.example^`: all stand for the domain and what is under it.
fn parse_domain(text: &str) -> Result<Indicator, &'static str> {
    let name = text.strip_prefix("||").unwrap_or(text);
    let name = name.strip_suffix('^').unwrap_or(name);
    let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > DOMAIN_BYTES_MAX {
        return Err("longer than a domain can be");
    }
    let Some((_, top)) = name.rsplit_once('.') else {
        return Err("not an address, a hash or a domain with a dot");
    };
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if !name.split('.').all(label) {
        return Err("not a domain name (international names are listed as xn--)");
    }
    if top.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("neither an address nor a domain: its last label is a number");
    }
    Ok(Indicator::Domain(name.to_ascii_lowercase().into()))
}
