//! DNS tunnelling: data carried in the names that are asked for. Many different, long and dense names below one domain.
//!
//! Each of the three alone is ordinary: content networks use many names, tracking uses long ones, and hashes are dense. Only
//! together they carry data, so length and density multiply what the number of names says.

use super::surprise::{compressed, count_excess, ramp};
use super::{DNS_TUNNEL, Detector, Explanation, Figures, each_row, threat_type, words};
use crate::core::features::row::{FeatureRows, RowView, Signal, SignalRow, signal};

/// Different names below one domain in an hour that browsing gives.
const ALLOWED_NAMES: f32 = 5.0;
/// Browsing asks in bursts: geometric.
const SHAPE: f32 = 1.0;
/// Characters below the registered domain: below the first a name hardly carries anything, from the second on it does so in
/// earnest, and the third is what tunnels use that want speed (the limit of a name is 253).
const LENGTH: (f32, f32, f32) = (15.0, 50.0, 150.0);
const LONG_BONUS: f32 = 0.5;
/// Bits a character: words have some 3, hexadecimal digits nearly 4, base 32 and 64 more.
const ENTROPY: (f32, f32) = (2.6, 3.8);
/// Block lists and content networks ask for thousands of names an hour: past this, more names say little more.
const KNEE: f32 = 6.0;

#[derive(Clone, Copy, Debug, Default)]
pub struct DnsTunnel;

/// How well names like this one carry data, 0..1.5.
#[inline]
fn density(row: &SignalRow) -> f32 {
    let length = signal(row, Signal::DnsLength);
    let long = ramp(length, LENGTH.0, LENGTH.1) + LONG_BONUS * ramp(length, LENGTH.1, LENGTH.2);
    long * ramp(signal(row, Signal::DnsEntropy), ENTROPY.0, ENTROPY.1)
}

#[inline]
fn nats(row: &SignalRow) -> f32 {
    let names = signal(row, Signal::DnsNames);
    if names > ALLOWED_NAMES && signal(row, Signal::DnsLength) > LENGTH.0 {
        density(row) * compressed(count_excess(names, ALLOWED_NAMES, SHAPE), KNEE)
    } else {
        0.0
    }
}

impl Detector for DnsTunnel {
    fn name(&self) -> &'static str {
        super::NAMES[DNS_TUNNEL]
    }
    fn version(&self) -> &str {
        super::RULES_VERSION
    }
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        each_row(rows, DNS_TUNNEL, out, nats);
    }
    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        let row = row.signals;
        let (names, length, entropy) = (signal(row, Signal::DnsNames), signal(row, Signal::DnsLength), signal(row, Signal::DnsEntropy));
        let third = nats(row) / 3.0;
        out.threat_type = threat_type::DNS_TUNNELING;
        out.add("dns_tunneling", "dns_names", Figures { observed: names, expected: ALLOWED_NAMES, surprise: nats(row) }, || {
            format!(
                "Asked for {} below one domain within an hour, this one with {} characters at {} bits each: together they can carry {}.",
                words::plural(names, "name", "different names"),
                words::count(length),
                words::count(entropy),
                words::bytes(names * length * entropy / 8.0),
            )
        });
        if let Some(contribution) = out.contributions.last_mut() {
            contribution.weight = third;
        }
        out.support("dns_length", Figures { observed: length, expected: LENGTH.0, surprise: third });
        out.support("dns_entropy", Figures { observed: entropy, expected: ENTROPY.0, surprise: third });
    }
}
