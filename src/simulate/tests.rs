//! The simulator as a whole: determinism, order, shape of the benign traffic, and the campaigns.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::core::event::FieldId;
use crate::core::types::{EventTime, MICROS_PER_DAY};

/// Runs a scenario to its end, calling `each` with every event and its line.
fn run(scenario: &Scenario, mut each: impl FnMut(&Emitted, &[u8])) -> Simulator {
    let mut simulator = Simulator::new(scenario).unwrap();
    let mut line = Vec::new();
    loop {
        line.clear();
        let Some(emitted) = simulator.next(&mut line) else { return simulator };
        each(&emitted, &line);
    }
}

fn digest(scenario: &Scenario) -> (blake3::Hash, String) {
    let mut hasher = blake3::Hasher::new();
    let simulator = run(scenario, |_, line| {
        hasher.update(line);
        hasher.update(b"\n");
    });
    let labels: Vec<String> = simulator.campaigns().iter().map(|campaign| serde_json::to_string(campaign).unwrap()).collect();
    (hasher.finalize(), labels.join("\n"))
}

/// Scenario: the same seed twice, and another one. Guarantees: bytes and labels depend on the seed and on nothing else.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let scenario = Scenario::small();
    assert_eq!(digest(&scenario), digest(&scenario));
    assert_ne!(digest(&scenario).0, digest(&Scenario { seed: scenario.seed + 1, ..scenario }).0);
}

/// Scenario: with and without campaigns. Guarantees: attackers change nothing of what everyone else does.
#[test]
fn campaigns_leave_the_benign_events_alone() {
    let benign = |scenario: &Scenario| {
        let mut hasher = blake3::Hasher::new();
        run(scenario, |emitted, line| {
            if emitted.label.is_none() {
                hasher.update(line);
            }
        });
        hasher.finalize()
    };
    let scenario = Scenario { background_per_hour: 0.0, ..Scenario::small() };
    assert_eq!(benign(&scenario), benign(&scenario.clone().benign()));
}

#[test]
fn events_come_in_order_within_the_stated_disorder() {
    let mut latest = EventTime(i64::MIN);
    let mut late = 0;
    let scenario = Scenario::small();
    run(&scenario, |emitted, _| {
        assert!(emitted.time.0 >= latest.0.saturating_sub(DISORDER_MICROS_MAX));
        assert!((scenario.start..scenario.end()).contains(&emitted.time));
        late += u32::from(emitted.time < latest);
        latest = latest.max(emitted.time);
    });
    assert!(late > 100, "some sensors report late, so that lateness is exercised");
}

/// What a field of product.md 1.1 must look like.
fn check_field(name: &str, value: &Value, line: &str) {
    let fits = match name {
        "timestamp" => value.as_str().is_some_and(|text| text.len() == 27 && text.ends_with('Z')),
        "source_ip" | "dest_ip" => value.as_str().is_some_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok()),
        "port" => value.as_u64().is_some_and(|port| u16::try_from(port).is_ok()),
        "bytes_transferred" | "bytes_out" | "bytes_in" | "packets" | "geo.asn" => value.is_u64(),
        "duration" => value.as_f64().is_some_and(|seconds| seconds >= 0.0),
        "geo.lat" => value.as_f64().is_some_and(|degrees| degrees.abs() <= 90.0),
        "geo.lon" => value.as_f64().is_some_and(|degrees| degrees.abs() <= 180.0),
        "event_type" => value.as_str().is_some_and(|text| (1..=50).contains(&text.len())),
        "protocol" => matches!(value.as_str(), Some("tcp" | "udp")),
        "outcome" => matches!(value.as_str(), Some("success" | "failure")),
        _ => FieldId::NAMES.contains(&name) && value.as_str().is_some_and(|text| (1..=250).contains(&text.len())),
    };
    assert!(fits, "{name} in {line}");
}

#[test]
fn every_line_is_an_event_of_the_contract() {
    let mut families = BTreeSet::new();
    run(&Scenario::small(), |emitted, line| {
        let line = std::str::from_utf8(line).unwrap();
        let event: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        for (name, value) in &event {
            match value {
                Value::Object(geo) => geo.iter().for_each(|(part, value)| check_field(&format!("{name}.{part}"), value, line)),
                _ => check_field(name, value, line),
            }
        }
        assert_eq!(event["timestamp"], emitted.time.to_string());
        assert_eq!(event["source_ip"], emitted.source.to_string());
        let identity = ["auth.", "file.", "app.", "mail.", "admin."].iter().any(|p| event["event_type"].as_str().unwrap().starts_with(p));
        assert_eq!(identity, emitted.family == Family::Identity, "{line}");
        assert!(!identity || event.contains_key("user_id"), "{line}");
        families.insert((emitted.family, emitted.label.is_some()));
    });
    assert_eq!(families.len(), 4);
}

#[test]
fn people_work_by_day_and_on_weekdays_and_servers_always() {
    // Monday 2026-03-02 to Sunday, one office's time zone ahead of UTC by an hour: the largest.
    let scenario = Scenario { start: EventTime(1_772_409_600_000_000), days: 7.0, users: 60, ..Scenario::small() }.benign();
    let (mut by_day, mut night, mut machines) = ([0u32; 7], 0u32, [0u32; 7]);
    let mut people = 0u32;
    run(&scenario, |emitted, _| {
        let day = emitted.time.day_of_week() as usize;
        if emitted.family == Family::Network {
            machines[day] += u32::from(emitted.source.octets()[..2] == [10, 50]);
        } else if emitted.account.is_some_and(|account| account < scenario.users) {
            by_day[day] += 1;
            people += 1;
            night += u32::from((22.0..24.0).contains(&emitted.time.hour_of_day()) || emitted.time.hour_of_day() < 3.0);
        }
    });
    let weekday = f64::from(by_day[..5].iter().sum::<u32>()) / 5.0;
    let weekend = f64::from(by_day[5..].iter().sum::<u32>()) / 2.0;
    assert!(weekend < 0.12 * weekday && weekend > 0.0, "{by_day:?}");
    assert!(f64::from(night) < 0.15 * f64::from(people) && night > 0, "{night} of {people}");
    let (least, most) = (machines.iter().min().unwrap(), machines.iter().max().unwrap());
    assert!(f64::from(*least) > 0.6 * f64::from(*most), "{machines:?}");
}

#[test]
fn every_campaign_happens_after_learning_with_its_entities() {
    for scenario in [
        Scenario::small(),
        Scenario { seed: 7, ..Scenario::small() },
        Scenario { start: EventTime(1_772_755_200_000_000), ..Scenario::small() },
    ] {
        let mut seen: BTreeMap<LabelId, BTreeSet<String>> = BTreeMap::new();
        let mut events: BTreeMap<LabelId, u64> = BTreeMap::new();
        let mut lines = Vec::new();
        let simulator = run(&scenario, |emitted, _| {
            if let Some(label) = emitted.label {
                lines.push((label, *emitted));
                *events.entry(label).or_default() += 1;
            }
        });
        for (label, emitted) in &lines {
            let campaign = &simulator.campaigns()[label.0 as usize];
            assert!((campaign.start..=campaign.end).contains(&emitted.time), "{campaign:?} {emitted:?}");
            let named = seen.entry(*label).or_default();
            named.insert(format!("ip:{}", emitted.source));
            named.extend(emitted.account.map(|account| format!("user:{}", simulator.account(account))));
        }
        for campaign in simulator.campaigns() {
            assert_eq!(campaign.events, events[&campaign.id], "{campaign:?}");
            if campaign.kind == CampaignKind::BackgroundScan {
                continue;
            }
            assert!(campaign.start >= scenario.learned() && campaign.end <= scenario.end(), "{campaign:?}");
            let named = &seen[&campaign.id];
            assert!(campaign.events >= 5 && campaign.entities.iter().all(|entity| named.contains(entity)), "{campaign:?}");
            let touched: BTreeSet<String> = campaign.touched.iter().map(|touched| touched.entity.clone()).collect();
            assert_eq!(&touched, named);
        }
    }
}

#[test]
fn presets_have_about_the_size_they_state() {
    let count = |scenario: &Scenario| {
        let (mut events, mut labelled) = (0u64, 0u64);
        run(scenario, |emitted, _| {
            events += 1;
            labelled += u64::from(emitted.label.is_some());
        });
        (events, labelled)
    };
    let (events, labelled) = count(&Scenario::small());
    assert!((40_000..70_000).contains(&events), "{events}");
    assert!(labelled * 3 < events, "{labelled} of {events}");
    let (events, _) = count(&Scenario { days: 1.0, ..Scenario::demo().benign() });
    assert!((170_000..270_000).contains(&events), "{events} a day");
}

/// The mistakes that detectors make with honest people are all there.
#[test]
fn the_classic_traps_are_set() {
    let (mut expiry_failures, mut other_failures) = (0u32, 0u32);
    let mut destinations: BTreeMap<std::net::Ipv4Addr, BTreeSet<String>> = BTreeMap::new();
    let (mut longest_name, mut largest_upload) = (0, 0);
    let scenario = Scenario { users: 80, ..Scenario::small() }.benign();
    run(&scenario, |emitted, line| {
        let event: Value = serde_json::from_slice(line).unwrap();
        let day = (emitted.time.0 - scenario.start.0) / MICROS_PER_DAY;
        if event["event_type"] == "auth.login" && event["outcome"] == "failure" {
            *(if day == i64::from(scenario.password_expiry_day) { &mut expiry_failures } else { &mut other_failures }) += 1;
        }
        if event["event_type"] == "dns.query" {
            longest_name = longest_name.max(event["resource"].as_str().unwrap().len());
        }
        largest_upload = largest_upload.max(event["bytes_out"].as_u64().unwrap_or(0));
        if let Some(dest) = event["dest_ip"].as_str() {
            destinations.entry(emitted.source).or_default().insert(dest.to_owned());
        }
    });
    assert!(expiry_failures > 3 * other_failures && other_failures > 0, "{expiry_failures} {other_failures}");
    assert!(longest_name > 40, "reputation look-ups are long and random");
    assert!(largest_upload > 1_000_000_000, "backups are huge");
    for scanner in known::ALLOWED_SCANNERS.iter().chain(&known::MANAGEMENT_HOSTS) {
        assert!(destinations[scanner].len() >= 6, "{scanner} reaches many hosts");
    }
    let gateway = std::net::Ipv4Addr::new(10, 13, 0, 1);
    assert!(destinations[&gateway].len() > 50, "an office hides behind one address");
}

/// Log-ins of honest people never imply more than 1000 km/h over a real distance, but for exits that product.md exempts.
#[test]
fn honest_travellers_are_plausible() {
    let exempt: Vec<u64> = [&known::VPN_ASNS[..], &known::SATELLITE_ASNS, &known::RELAY_ASNS].concat().into_iter().map(u64::from).collect();
    let mut last: BTreeMap<u32, (EventTime, geo::Geo)> = BTreeMap::new();
    let (mut journeys, mut exempted) = (0, 0);
    let scenario = Scenario { days: 12.0, users: 60, rate: 0.2, ..Scenario::small() }.benign();
    run(&scenario, |emitted, line| {
        let text = std::str::from_utf8(line).unwrap();
        if !text.contains("\"auth.login\"") || !text.contains("\"success\"") || !text.contains("\"geo\"") {
            return;
        }
        let event: Value = serde_json::from_str(text).unwrap();
        let e4 = |name: &str| (event["geo"][name].as_f64().unwrap() * 1e4) as i32;
        if exempt.contains(&event["geo"]["asn"].as_u64().unwrap()) {
            exempted += 1;
            return;
        }
        let here = geo::Geo { city: 0, lat_e4: e4("lat"), lon_e4: e4("lon"), asn: 0 };
        if let Some((time, there)) = last.insert(emitted.account.unwrap(), (emitted.time, here)) {
            let kilometres = geo::distance_km(there, here);
            let hours = emitted.time.seconds_since(time) / 3600.0;
            journeys += u32::from(kilometres > 1_500.0);
            assert!(kilometres < 350.0 || kilometres / hours < 1_000.0, "{kilometres} km in {hours} h: {text}");
        }
    });
    assert!(journeys >= 4 && exempted >= 4, "{journeys} {exempted}");
}
