//! Names asked for below one registered domain: data leaves through DNS as many long, random-looking names.

use super::facts::Facts;
use super::persist::persist_fields;
use super::sketch::{WindowClock, Windowed};
use crate::core::features::row::{Signal, Signals};
use crate::core::numeric::{hash_bytes, log2};
use crate::core::types::MICROS_PER_HOUR;

/// Only names with so many characters below the registered domain compete for the place: shorter ones carry little.
const LENGTH_MIN: usize = 12;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Dns {
    domain: u32,
    clock: WindowClock,
    /// Votes that keep the domain (Boyer-Moore majority): another one takes its place when they are used up.
    votes: u16,
    names: Windowed<16>,
}
persist_fields!(Dns { domain, votes, clock, names });

impl Dns {
    pub fn observe(&mut self, name: &str, facts: &Facts, signals: &mut impl Signals) {
        let (below, domain) = split_registered(name);
        signals.set(Signal::DnsLength, || below.len() as f32);
        if below.len() < LENGTH_MIN {
            return;
        }
        signals.set(Signal::DnsEntropy, || entropy(below.as_bytes()));
        let domain_hash = (hash_bytes(domain.as_bytes()) >> 32) as u32 | 1;
        if self.domain != domain_hash {
            if self.votes > 0 {
                self.votes -= 1;
                return;
            }
            *self = Self { domain: domain_hash, ..Self::default() };
        }
        self.votes = self.votes.saturating_add(1).min(1_000);
        if let Some(adjacent) = self.clock.advance(facts.micros, MICROS_PER_HOUR) {
            self.names.roll(adjacent);
        }
        let names = self.names.insert(Some(hash_bytes(below.as_bytes())));
        signals.set(Signal::DnsNames, || self.names.value(names, self.clock.left(facts.micros, MICROS_PER_HOUR)));
    }
}

/// Splits a name into what stands below the registered domain and the domain itself.
///
/// Without a public-suffix list: two labels, or three where the last two are both short (`co.uk`, `com.au`).
#[must_use]
pub fn split_registered(name: &str) -> (&str, &str) {
    let name = name.trim_end_matches('.');
    let mut dots = name.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
    let (Some(last), second) = (dots.next(), dots.next()) else { return ("", name) };
    let Some(second) = second else { return ("", name) };
    let suffix_is_short = name.len() - last <= 3 && last - second <= 4;
    let cut = if suffix_is_short { dots.next() } else { Some(second) };
    cut.and_then(|cut| Some((name.get(..cut)?, name.get(cut + 1..)?))).unwrap_or(("", name))
}

/// Shannon entropy of the bytes, bits a character; at most the first 128 count.
fn entropy(bytes: &[u8]) -> f32 {
    let bytes = &bytes[..bytes.len().min(128)];
    let mut counts = [0u8; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let n = bytes.len() as f32;
    counts.iter().filter(|count| **count > 0).map(|count| f32::from(*count) / n * log2(n / f32::from(*count))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_domains_are_split_off() {
        for (name, below, domain) in [
            ("example.com", "", "example.com"),
            ("www.example.com.", "www", "example.com"),
            ("a.b.example.co.uk", "a.b", "example.co.uk"),
            ("localhost", "", "localhost"),
            ("co.uk", "", "co.uk"),
            ("", "", ""),
        ] {
            assert_eq!(split_registered(name), (below, domain), "{name}");
        }
    }

    #[test]
    fn random_names_have_more_entropy_than_words() {
        assert!(entropy(b"mzxw6ytboi4dsmzrge3tqnzwgq2dkna") > entropy(b"static-assets-images-images-cdn") + 0.5);
        assert!(entropy(b"aaaaaaaa").abs() < 1e-6);
    }
}
