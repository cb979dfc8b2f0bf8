//! The behaviour detector's explanation. Called for threats only; recomputes nothing that the score did not say.

use super::super::{Explanation, Figures, threat_type, words};
use super::{ALLOWED_RESOURCES, Parts, outward};
use crate::core::features::row::{Signal, SignalRow, signal};

/// Share of sent bytes at which a volume anomaly is called exfiltration.
const EXFILTRATION_OUTWARD: f32 = 0.25;

pub(super) fn explain(parts: &Parts, travel_kmh_max: f32, row: &SignalRow, out: &mut Explanation) {
    out.threat_type = type_of(parts, row);
    travel(parts, travel_kmh_max, row, out);
    time(parts, row, out);
    volume(parts, row, out);
    resources(parts, row, out);
    context(parts, out);
}

fn is_exfiltration(parts: &Parts, row: &SignalRow) -> bool {
    let sent = parts.hour_volume.max(parts.day_volume).max(parts.sent);
    sent > 0.0 && sent >= parts.hour_events && outward(row) >= EXFILTRATION_OUTWARD
}

/// The strongest part's type; ties go to the first.
fn type_of(parts: &Parts, row: &SignalRow) -> &'static str {
    let volume = if is_exfiltration(parts, row) { threat_type::DATA_EXFILTRATION } else { threat_type::UNUSUAL_VOLUME };
    // New circumstances matter most where somebody proves who they are.
    let authentication = signal(row, Signal::Authentication) > 0.0;
    let context = if authentication { threat_type::CREDENTIAL_COMPROMISE } else { threat_type::UNUSUAL_RESOURCES };
    let candidates = [
        (parts.travel, threat_type::IMPOSSIBLE_TRAVEL),
        (parts.time, threat_type::UNUSUAL_TIME),
        (parts.volume(), volume),
        (parts.all_resources(), threat_type::UNUSUAL_RESOURCES),
        (parts.context(), context),
    ];
    let mut best = (0.0, "");
    for candidate in candidates {
        if candidate.0 > best.0 {
            best = candidate;
        }
    }
    best.1
}

fn travel(parts: &Parts, limit: f32, row: &SignalRow, out: &mut Explanation) {
    let (speed, distance) = (signal(row, Signal::TravelSpeed), signal(row, Signal::TravelDistance));
    out.add("impossible_travel", "travel_speed", Figures { observed: speed, expected: limit, surprise: parts.travel }, || {
        format!(
            "{} km between two log-ins would need {} km/h; {} km/h is the limit.",
            words::count(distance),
            words::count(speed),
            words::count(limit)
        )
    });
}

fn time(parts: &Parts, row: &SignalRow, out: &mut Explanation) {
    let rarity = signal(row, Signal::HourRarity);
    out.add("unusual_time", "hour_rarity", Figures { observed: rarity, expected: 0.0, surprise: parts.time }, || {
        let less = libm::expf(rarity.min(60.0));
        format!("At this hour of the week this entity is active {} times less than at its usual hours.", words::count(less))
    });
}

fn volume(parts: &Parts, row: &SignalRow, out: &mut Explanation) {
    let name = if is_exfiltration(parts, row) { "data_exfiltration" } else { "unusual_volume" };
    let octaves = |which: Signal| words::from_log2(signal(row, which));
    let strongest = parts.bytes.max(parts.hour_volume).max(parts.day_volume).max(parts.sent);
    let features = [
        ("bytes", signal(row, Signal::Bytes), Signal::BytesMedian, parts.bytes, "in one event"),
        ("bytes_sent_1h", parts.hour_octaves, Signal::HourVolumeMedian, parts.hour_volume, "sent in this hour"),
        ("bytes_sent_outside_24h", signal(row, Signal::DayVolume), Signal::DayVolumeMean, parts.day_volume, "sent outside within a day"),
        (
            "bytes_sent_to_destination_24h",
            signal(row, Signal::DestinationSent),
            Signal::DayVolumeMean,
            parts.sent,
            "sent to this one destination outside",
        ),
    ];
    for (feature, value, center, surprise, what) in features {
        let figures = Figures { observed: words::from_log2(value), expected: octaves(center), surprise };
        // One sentence for what is most telling; the others show as contributions.
        if surprise >= strongest && out.anomalies.iter().all(|anomaly| anomaly.name != name) {
            out.add(name, feature, figures, || {
                format!("{} {what}; {} are usual.", words::bytes(figures.observed), words::bytes(figures.expected))
            });
        } else {
            out.support(feature, figures);
        }
    }
    let (events, usual) = (signal(row, Signal::HourEvents), octaves(Signal::HourEventsMedian));
    out.add("unusual_activity", "event_frequency_1h", Figures { observed: events, expected: usual, surprise: parts.hour_events }, || {
        format!("{} in this hour; {} are usual.", words::plural(events, "event", "events"), words::count(usual))
    });
}

fn resources(parts: &Parts, row: &SignalRow, out: &mut Explanation) {
    let observed = signal(row, Signal::Resources);
    let expected = ALLOWED_RESOURCES + signal(row, Signal::ResourcesMean).max(0.0);
    out.add("unusual_resources", "distinct_resources", Figures { observed, expected, surprise: parts.resources }, || {
        let new = if signal(row, Signal::NewResource) > 0.0 { ", this one for the first time" } else { "" };
        format!(
            "Used {} within an hour{new}; {} would be ordinary.",
            words::plural(observed, "resource", "resources"),
            words::count(expected)
        )
    });
    let (hour, day) = (signal(row, Signal::NewResources1h), signal(row, Signal::NewResources24h));
    let figures = Figures { observed: hour, expected: super::ALLOWED_NEW_RESOURCES.0, surprise: parts.new_resources };
    out.add("new_resources", "new_resources_1h", figures, || {
        format!(
            "Used {} for the first time in an hour or so, {} in a day.",
            words::plural(hour, "resource", "resources"),
            words::count(day)
        )
    });
}

fn context(parts: &Parts, out: &mut Explanation) {
    let new = |surprise| Figures { observed: 1.0, expected: 0.0, surprise };
    out.add("new_device", "new_device", new(parts.new_device), || "A device that this entity never used before.".to_owned());
    out.add("new_country", "new_country", new(parts.new_country), || "A country that this entity never was in before.".to_owned());
}
