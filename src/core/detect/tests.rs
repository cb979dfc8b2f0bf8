//! Detectors on rows made by hand: what is ordinary, what is an attack, and how scores order.

#![expect(clippy::float_cmp, reason = "an ordinary row scores exactly 0")]

use proptest::prelude::*;

use super::*;
use crate::core::features::row::{MODEL_WIDTH, SIGNAL_WIDTH, Schema};

use Signal as S;

type Set = [(Signal, f32)];

fn row(sets: &[&Set]) -> SignalRow {
    let mut row = [0.0; SIGNAL_WIDTH];
    for (which, value) in sets.iter().copied().flatten() {
        row[*which as usize] = *value;
    }
    row
}

fn detector(index: usize) -> Box<dyn Detector> {
    let mut all = rules(&DetectorsSettings::default());
    assert_eq!(all[index - 1].name(), NAMES[index]);
    all.remove(index - 1)
}

fn score(index: usize, row: &SignalRow) -> f32 {
    let (mut out, model) = ([f32::NAN], [[0.0; MODEL_WIDTH]]);
    detector(index).score(FeatureRows { schema: Schema::Network, model: &model, signals: &[*row], sequence: &[] }, &mut out);
    out[0]
}

fn explain(index: usize, row: &SignalRow) -> Explanation {
    let mut out = Explanation::default();
    detector(index).explain(RowView { model: &[0.0; MODEL_WIDTH], signals: row, sequence: None }, &mut out);
    out
}

/// A well-known workstation in the middle of its day.
const ORDINARY: &Set = &[
    (S::Events, 5_000.0),
    (S::AgeHours, 400.0),
    (S::HourEvents, 60.0),
    (S::HourEventsMedian, 6.2),
    (S::HourEventsSpread, 1.0),
    (S::Bytes, 13.0),
    (S::BytesMedian, 12.0),
    (S::BytesSpread, 3.0),
    (S::HourVolume, 22.0),
    (S::HourVolumeMedian, 22.5),
    (S::HourVolumeSpread, 2.0),
    (S::DayVolume, 26.0),
    (S::DayVolumeMean, 26.2),
    (S::OutShare, 0.2),
    (S::External, 1.0),
    (S::Failures24h, 1.2),
    (S::Attempts1h, 3.0),
    (S::FailureShare, 0.03),
    (S::Authentication, 1.0),
    (S::Hosts, 9.0),
    (S::HostsMean, 12.0),
    (S::Ports, 2.0),
    (S::PortsMean, 2.0),
    (S::Resources, 4.0),
    (S::ResourcesMean, 4.0),
    (S::Period, 40.0),
    (S::PeriodJitter, 0.8),
    (S::PeriodCount, 30.0),
    (S::PeriodAgeHours, 20.0),
    (S::DnsLength, 6.0),
    (S::DnsEntropy, 2.2),
    (S::DnsNames, 4.0),
    (S::AdminPort, 1.0),
    (S::User, 1.0),
];

/// One line: what it is, the detector, what it adds to the ordinary row, the type and the words its first anomaly must have, and
/// where its score must lie (nats). Low starts at 11.5 nats, high at 18.4.
struct Case(&'static str, usize, &'static Set, &'static str, &'static str, std::ops::Range<f32>);

const CASES: &[Case] = &[
    Case(
        "London to New York in an hour",
        BEHAVIOR,
        &[(S::TravelSpeed, 5570.0), (S::TravelDistance, 5570.0)],
        "impossible_travel",
        "5570 km between two log-ins would need 5570 km/h; 1000 km/h is the limit",
        25.0..29.0,
    ),
    Case(
        "just above the limit",
        BEHAVIOR,
        &[(S::TravelSpeed, 1001.0), (S::TravelDistance, 2000.0)],
        "impossible_travel",
        "1001",
        12.0..14.0,
    ),
    Case("a night shift of one's own making", BEHAVIOR, &[(S::HourRarity, 8.0)], "unusual_time", "active 2981 times less", 7.9..8.1),
    Case(
        "database uploaded to somewhere new",
        BEHAVIOR,
        &[(S::HourVolume, 33.0), (S::DayVolume, 33.1), (S::Bytes, 31.0), (S::OutShare, 0.99), (S::NewDestination, 1.0)],
        "data_exfiltration",
        "8.6 GB sent in this hour; 5.9 MB are usual",
        11.5..30.0,
    ),
    Case(
        "slow upload over a day",
        BEHAVIOR,
        &[(S::DayVolume, 32.0), (S::OutShare, 0.95)],
        "data_exfiltration",
        "4.3 GB sent outside within a day",
        5.0..10.0,
    ),
    Case(
        "large download",
        BEHAVIOR,
        &[(S::Bytes, 33.0), (S::OutShare, 0.01)],
        "unusual_volume",
        "8.6 GB in one event; 4.1 kB are usual",
        2.0..6.0,
    ),
    Case("busy hour", BEHAVIOR, &[(S::HourEvents, 3000.0)], "unusual_volume", "3000 events in this hour; 73 are usual", 4.0..8.0),
    Case(
        "every share of the file server",
        BEHAVIOR,
        &[(S::Resources, 200.0), (S::NewResource, 1.0)],
        "unusual_resources",
        "Used 200 resources within an hour, this one for the first time; 7 would",
        11.5..60.0,
    ),
    Case("somebody else's session", BEHAVIOR, &[(S::NewCountry, 1.0), (S::NewDevice, 1.0)], "credential_compromise", "device", 2.5..3.5),
    Case(
        "implant that calls home every minute for two hours",
        BEACONING,
        &[(S::Period, 60.0), (S::PeriodJitter, 0.05), (S::PeriodCount, 120.0), (S::PeriodAgeHours, 2.0)],
        "beaconing",
        "Contacts an external destination every 60 s, 120 times with 5 % deviation",
        11.5..20.0,
    ),
    Case(
        "slow implant with jitter",
        BEACONING,
        &[(S::Period, 3600.0), (S::PeriodJitter, 0.15), (S::PeriodCount, 30.0), (S::PeriodAgeHours, 30.0)],
        "beaconing",
        "every 60 min",
        6.0..12.0,
    ),
    Case(
        "300 guesses in 5 minutes",
        BRUTE_FORCE,
        &[(S::Failures5m, 300.0), (S::Failures1h, 310.0), (S::Failures24h, 310.0), (S::Attempts1h, 310.0)],
        "brute_force",
        "300 failed log-ins within 5 minutes; 1.6 would be ordinary",
        18.4..200.0,
    ),
    Case(
        "one guess every ten minutes for a day",
        BRUTE_FORCE,
        &[(S::Failures5m, 0.8), (S::Failures1h, 6.0), (S::Failures24h, 140.0), (S::Attempts1h, 6.0)],
        "brute_force",
        "140 failed log-ins within a day",
        4.0..15.0,
    ),
    Case(
        "one password for sixty users",
        BRUTE_FORCE,
        &[(S::Failures5m, 20.0), (S::Failures1h, 60.0), (S::Failures24h, 61.0), (S::Attempts1h, 61.0), (S::FailedUsers, 60.0)],
        "password_spraying",
        "failed log-ins within",
        18.4..60.0,
    ),
    Case(
        "the right guess after fifty",
        BRUTE_FORCE,
        &[(S::Failures5m, 50.0), (S::Failures1h, 52.0), (S::Failures24h, 53.0), (S::Attempts1h, 53.0), (S::SuccessAfterFailures, 1.0)],
        "credential_compromise",
        "50 failed log-ins",
        18.4..60.0,
    ),
    Case("a thousand ports", FAN_OUT, &[(S::Ports, 1000.0), (S::Failures5m, 900.0)], "port_scan", "Reached 1000 ports", 18.4..300.0),
    Case(
        "a whole network",
        FAN_OUT,
        &[(S::Hosts, 254.0), (S::Failures5m, 200.0)],
        "port_scan",
        "Reached 254 hosts within 5 minutes; 22 would be ordinary",
        5.0..30.0,
    ),
    Case(
        "from desk to desk",
        FAN_OUT,
        &[(S::AdminHosts, 20.0), (S::Hosts, 20.0)],
        "lateral_movement",
        "administration services of 20 hosts inside",
        11.5..40.0,
    ),
    Case(
        "looking for administration services",
        FAN_OUT,
        &[(S::AdminHosts, 20.0), (S::Hosts, 20.0), (S::FailureShare, 0.9)],
        "port_scan",
        "administration services of 20 hosts inside",
        11.5..40.0,
    ),
    Case(
        "one closed port every few minutes",
        FAN_OUT,
        &[(S::FailureShare, 1.0), (S::NewPort, 1.0)],
        "port_scan",
        "for the first time, after 100 % of its attempts had failed",
        7.9..8.1,
    ),
    Case(
        "a file in host names",
        DNS_TUNNEL,
        &[(S::DnsNames, 600.0), (S::DnsLength, 180.0), (S::DnsEntropy, 4.4)],
        "dns_tunneling",
        "Asked for 600 different names below one domain within an hour",
        18.4..60.0,
    ),
    Case("slow tunnel", DNS_TUNNEL, &[(S::DnsNames, 60.0), (S::DnsLength, 60.0), (S::DnsEntropy, 3.9)], "dns_tunneling", "60", 3.0..9.0),
    Case(
        "known command server",
        THREAT_INTEL,
        &[(S::IntelList, 1.0), (S::IntelConfidence, 0.9)],
        "threat_intel_match",
        "list of 90 % confidence",
        23.3..23.5,
    ),
];

#[test]
fn an_ordinary_row_surprises_nobody() {
    for (index, name) in RULES.map(|index| (index, NAMES[index])) {
        assert_eq!(score(index, &row(&[ORDINARY])), 0.0, "{name}");
        assert_eq!(score(index, &row(&[])), 0.0, "{name}: nothing known");
        assert_eq!(explain(index, &row(&[])).anomalies, [], "{name}");
    }
}

#[test]
fn attacks_are_found_and_explained() {
    for Case(what, index, set, threat_type, text, range) in CASES {
        let row = row(&[ORDINARY, set]);
        let score = score(*index, &row);
        assert!(range.contains(&score), "{what}: {score} not in {range:?}");
        let explanation = explain(*index, &row);
        assert_eq!(explanation.threat_type, *threat_type, "{what}: {explanation:?}");
        assert!(threat_type::ALL.contains(threat_type));
        assert!(explanation.anomalies[0].description.contains(text), "{what}: {:?}", explanation.anomalies);
        assert!(!explanation.contributions.is_empty(), "{what}");
        for contribution in &explanation.contributions {
            assert!(contribution.weight > 0.0 && contribution.weight.is_finite(), "{what}: {contribution:?}");
        }
    }
}

#[test]
fn an_exempt_detector_is_silent_and_only_that_one() {
    for Case(what, index, set, ..) in CASES {
        let exempt = |bits: u32| score(*index, &row(&[ORDINARY, set, &[(S::Exempt, bits as f32)]]));
        assert_eq!(exempt(1 << *index), 0.0, "{what}");
        assert!(exempt(0x7f & !(1 << *index)) > 0.0, "{what}");
    }
}

/// Of each pair the first is less of an attack.
const PAIRS: &[(&str, usize, &Set, &Set)] = &[
    ("speed", BEHAVIOR, &[(S::TravelSpeed, 1001.0), (S::TravelDistance, 900.0)], &[(S::TravelSpeed, 3000.0), (S::TravelDistance, 900.0)]),
    (
        "distance",
        BEHAVIOR,
        &[(S::TravelSpeed, 3000.0), (S::TravelDistance, 60.0)],
        &[(S::TravelSpeed, 3000.0), (S::TravelDistance, 6000.0)],
    ),
    (
        "below the limit",
        BEHAVIOR,
        &[(S::TravelSpeed, 999.0), (S::TravelDistance, 9000.0)],
        &[(S::TravelSpeed, 1001.0), (S::TravelDistance, 160.0)],
    ),
    (
        "several moderate ones add up",
        BEHAVIOR,
        &[(S::HourRarity, 7.0)],
        &[(S::HourRarity, 7.0), (S::NewCountry, 1.0), (S::NewDevice, 1.0), (S::HourEvents, 3000.0)],
    ),
    ("little history", BEHAVIOR, &[(S::HourRarity, 7.0), (S::Events, 40.0)], &[(S::HourRarity, 7.0)]),
    (
        "a tiny volume",
        BEHAVIOR,
        &[(S::HourVolume, 17.0), (S::HourVolumeMedian, 6.0)],
        &[(S::HourVolume, 29.0), (S::HourVolumeMedian, 18.0)],
    ),
    ("inside", BEACONING, &[(S::External, 0.0), (S::PeriodJitter, 0.05)], &[(S::PeriodJitter, 0.05)]),
    ("as old as the entity", BEACONING, &[(S::PeriodAgeHours, 400.0), (S::PeriodJitter, 0.05)], &[(S::PeriodJitter, 0.05)]),
    ("a stream", BEACONING, &[(S::Period, 2.0), (S::PeriodJitter, 0.05)], &[(S::PeriodJitter, 0.05)]),
    ("forgot the password", BRUTE_FORCE, &[(S::Failures5m, 4.0), (S::Attempts1h, 4.0)], &[(S::Failures5m, 40.0), (S::Attempts1h, 40.0)]),
    (
        "the owner's slip after an attack",
        BRUTE_FORCE,
        &[(S::Failures24h, 140.0), (S::Failures1h, 1.1)],
        &[(S::Failures24h, 140.0), (S::Failures1h, 3.0)],
    ),
    (
        "copied inside",
        BEHAVIOR,
        &[(S::HourVolume, 33.0), (S::OutShare, 1.0), (S::External, 0.0)],
        &[(S::HourVolume, 33.0), (S::DayVolume, 33.0), (S::OutShare, 1.0)],
    ),
    (
        "a page opened during a backup",
        BEHAVIOR,
        &[(S::HourVolume, 36.0), (S::OutShare, 1.0)],
        &[(S::HourVolume, 36.0), (S::OutShare, 1.0), (S::External, 0.0)],
    ),
    (
        "a service that always fails",
        BRUTE_FORCE,
        &[(S::Failures1h, 60.0), (S::Attempts1h, 60.0), (S::FailureShare, 1.0)],
        &[(S::Failures1h, 60.0), (S::Attempts1h, 60.0)],
    ),
    ("a gateway", BRUTE_FORCE, &[(S::FailedUsers, 30.0), (S::FailedUsersMean, 20.0)], &[(S::FailedUsers, 30.0)]),
    ("a monitor", FAN_OUT, &[(S::Hosts, 200.0), (S::HostsMean, 180.0)], &[(S::Hosts, 200.0)]),
    ("nothing refused", FAN_OUT, &[(S::Ports, 100.0)], &[(S::Ports, 100.0), (S::Failures5m, 90.0)]),
    ("an administrator", FAN_OUT, &[(S::AdminHosts, 20.0), (S::AdminHostsMean, 15.0)], &[(S::AdminHosts, 20.0)]),
    (
        "a content network",
        DNS_TUNNEL,
        &[(S::DnsNames, 600.0), (S::DnsLength, 14.0), (S::DnsEntropy, 3.9)],
        &[(S::DnsNames, 60.0), (S::DnsLength, 60.0), (S::DnsEntropy, 3.9)],
    ),
    (
        "words",
        DNS_TUNNEL,
        &[(S::DnsNames, 60.0), (S::DnsLength, 60.0), (S::DnsEntropy, 2.9)],
        &[(S::DnsNames, 60.0), (S::DnsLength, 60.0), (S::DnsEntropy, 3.9)],
    ),
    (
        "an uncertain list",
        THREAT_INTEL,
        &[(S::IntelList, 2.0), (S::IntelConfidence, 0.3)],
        &[(S::IntelList, 1.0), (S::IntelConfidence, 0.9)],
    ),
];

#[test]
fn what_is_less_of_an_attack_scores_less() {
    for (what, index, less, more) in PAIRS {
        let (less, more) = (score(*index, &row(&[ORDINARY, less])), score(*index, &row(&[ORDINARY, more])));
        assert!(less < more * 0.8, "{what}: {less} against {more}");
    }
}

#[test]
fn nothing_counts_before_the_entity_is_known_but_what_needs_no_history() {
    let stranger: &Set = &[(S::Events, 5.0), (S::AgeHours, 0.1), (S::HourRarity, 9.0), (S::Resources, 50.0), (S::NewCountry, 1.0)];
    assert_eq!(score(BEHAVIOR, &row(&[ORDINARY, stranger])), 0.0);
    let guessing: &Set = &[(S::Failures5m, 50.0), (S::Attempts1h, 50.0), (S::Authentication, 1.0), (S::FailureShare, 1.0)];
    assert!(score(BRUTE_FORCE, &row(&[&[(S::AgeHours, 0.1)], guessing])) > 11.5, "a stranger who does nothing but fail");
    assert_eq!(score(BRUTE_FORCE, &row(&[guessing, &[(S::Authentication, 0.0)]])), 0.0, "not log-ins");
}

#[test]
fn below_what_matters_a_baseline_is_merely_quiet() {
    let busy: &Set = &[(S::HourVolume, 27.0), (S::HourVolumeSpread, 0.4)];
    let of = |median: f32| score(BEHAVIOR, &row(&[ORDINARY, busy, &[(S::HourVolumeMedian, median)]]));
    assert!(of(0.7) == of(17.0) && of(0.7) > of(22.0), "{} {} {}", of(0.7), of(17.0), of(22.0));
    assert!(of(0.7) < 11.5, "130 MB after nothing is no threat by itself: {}", of(0.7));
}

#[test]
fn a_batch_is_scored_row_by_row_whatever_its_size() {
    let signals: Vec<SignalRow> = CASES.iter().map(|Case(_, _, set, ..)| row(&[ORDINARY, set])).collect();
    let model = vec![[0.0; MODEL_WIDTH]; signals.len()];
    for index in RULES {
        let mut out = vec![f32::NAN; signals.len()];
        detector(index).score(FeatureRows { schema: Schema::Identity, model: &model, signals: &signals, sequence: &[] }, &mut out);
        let alone: Vec<f32> = signals.iter().map(|row| score(index, row)).collect();
        assert_eq!(out.iter().map(|s| s.to_bits()).collect::<Vec<_>>(), alone.iter().map(|s| s.to_bits()).collect::<Vec<_>>());
    }
}

/// Signals that may only raise, and only lower, a detector's score.
const RAISING: &[(usize, &[Signal])] = &[
    (
        BEHAVIOR,
        &[
            S::TravelSpeed,
            S::TravelDistance,
            S::HourRarity,
            S::HourEvents,
            S::Bytes,
            S::HourVolume,
            S::DayVolume,
            S::Resources,
            S::NewDevice,
            S::NewCountry,
            S::NewResource,
            S::Events,
            S::AgeHours,
        ],
    ),
    (BEACONING, &[S::PeriodCount, S::Period, S::External]),
    (BRUTE_FORCE, &[S::Failures5m, S::Failures1h, S::Failures24h, S::FailedUsers, S::SuccessAfterFailures]),
    (FAN_OUT, &[S::AdminHosts, S::Failures5m]),
    (DNS_TUNNEL, &[S::DnsNames, S::DnsLength, S::DnsEntropy]),
    (THREAT_INTEL, &[S::IntelConfidence]),
];
const LOWERING: &[(usize, &[Signal])] = &[
    (BEHAVIOR, &[S::HourEventsMedian, S::BytesMedian, S::HourVolumeMedian, S::ResourcesMean]),
    (BEACONING, &[S::PeriodJitter, S::PeriodAgeHours]),
    (BRUTE_FORCE, &[S::Attempts1h, S::FailureShare, S::FailedUsersMean, S::AgeHours]),
    (FAN_OUT, &[S::PortsMean, S::HostsMean, S::AdminHostsMean]),
];

/// Largest sensible value of a signal.
fn largest(which: usize) -> f32 {
    let flags = [S::OutShare, S::External, S::FailureShare, S::SuccessAfterFailures, S::Authentication, S::NewDestination, S::NewPort];
    let more = [S::NewResource, S::NewDevice, S::NewCountry, S::IntelConfidence];
    let octaves = [S::HourEventsMedian, S::Bytes, S::BytesMedian, S::HourVolume, S::HourVolumeMedian, S::DayVolume, S::DayVolumeMean];
    let is = |set: &[Signal]| set.iter().any(|signal| *signal as usize == which);
    match which {
        _ if which == S::Exempt as usize => 0.0,
        _ if is(&flags) || is(&more) => 1.0,
        _ if is(&octaves) => 45.0,
        _ if is(&[S::PeriodJitter]) => 2.0,
        _ if is(&[S::DnsEntropy, S::HourEventsSpread, S::BytesSpread, S::HourVolumeSpread]) => 6.0,
        _ => 3_000.0,
    }
}

fn any_row() -> impl Strategy<Value = SignalRow> {
    // Skewed towards small values, as real rows are.
    proptest::collection::vec(0.0f32..1.0, SIGNAL_WIDTH)
        .prop_map(|shares| std::array::from_fn(|i| largest(i) * if largest(i) > 100.0 { shares[i].powi(4) } else { shares[i] }))
}

proptest! {
    #[test]
    fn any_row_scores_finite_monotone_and_in_words(row in any_row(), which in 0usize..16, more in 0.0f32..1.0) {
        for (sign, table) in [(1.0, RAISING), (-1.0, LOWERING)] {
            for (index, signals) in table {
                let which = signals[which % signals.len()] as usize;
                let mut higher = row;
                higher[which] += more * (largest(which) - row[which]);
                let (low, high) = if sign > 0.0 { (score(*index, &row), score(*index, &higher)) } else { (score(*index, &higher), score(*index, &row)) };
                prop_assert!(low.is_finite() && low >= 0.0);
                prop_assert!(low <= high * (1.0 + 1e-4) + 1e-3, "{} signal {which}: {low} then {high}", NAMES[*index]);
            }
        }
        for (index, name) in RULES.map(|index| (index, NAMES[index])) {
            let explanation = explain(index, &row);
            prop_assert!(explanation.anomalies.iter().all(|a| a.description.ends_with('.') && !a.description.contains("NaN")), "{name}");
            prop_assert!(score(index, &row) == 0.0 || !explanation.contributions.is_empty());
        }
    }

    #[test]
    fn broken_numbers_never_leave_a_detector(which in 0usize..SIGNAL_WIDTH, bad in prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(-5.0f32), Just(f32::MAX)], base in any_row()) {
        let mut row = base;
        row[which] = bad;
        for (index, name) in RULES.map(|index| (index, NAMES[index])) {
            let score = score(index, &row);
            prop_assert!(score.is_finite() && score >= 0.0, "{name}: {score}");
        }
    }
}
