//! Entity behaviour analytics: what this entity does against what it always did. Travel, time, volume, resources, context.
//!
//! Each part is a surprise in nats of its own kind; the strongest counts in full and the others in part. What compares with the
//! entity's own habits fades in as its history grows, so that nothing jumps on the day it is thought to be known.

mod words;

use super::surprise::{bounded, count_excess, ramp, robust_excess, share, strongest};
use super::{BEHAVIOR, Detector, Explanation, each_row};
use crate::core::features::row::{FeatureRows, RowView, Signal, SignalRow, signal};
use crate::core::numeric::log2;
use crate::core::settings::BehaviorSettings;

/// Nats of travel at the limit, and for each e-fold of speed above it: nobody flies faster from log-in to log-in, so that it is a
/// threat of its own, and twice the limit is a high one.
const TRAVEL_NATS: f32 = 14.0;
const TRAVEL_NATS_EFOLD: f32 = 8.0;
/// Databases misplace addresses by some hundred kilometres, and a phone's gateway may stand in the next town: from how many
/// kilometres on a distance counts, and after how many more it counts half.
const TRAVEL_NEAR_KM: f32 = 100.0;
const TRAVEL_ERROR_KM: f32 = 200.0;

/// Hours of history over which habits fade in; the number of events is a setting.
const HISTORY_HOURS: (f32, f32) = (1.0, 20.0);
/// The same for what is summed over a day.
const DAY_HISTORY_HOURS: (f32, f32) = (24.0, 72.0);

/// Spreads are not taken for smaller than this (octaves), for events in an hour, bytes of an event, bytes in an hour, bytes in a
/// day: a quiet week shows less than what people do in a year. Sums over a day vary less than single flows.
const SPREAD_MIN: [f32; 4] = [1.5, 3.0, 2.0, SPREAD_DAY];
/// Octaves by which the outside volume of a day varies from its slow average; there is no spread of its own.
const SPREAD_DAY: f32 = 1.5;
/// From 256 kB to 16 MB (log2) a volume begins to matter: a jump from 100 bytes to 10 kB is none.
const MATERIAL_BYTES: (f32, f32) = (18.0, 24.0);
/// The same for events in an hour.
const MATERIAL_EVENTS: (f32, f32) = (10.0, 60.0);
/// Centers are not taken for lower than what matters, in octaves: below it an entity is merely quiet, and being less quiet is
/// no surprise. log2(10 + 1) events, 256 kB.
const CENTER_MIN: [f32; 4] = [3.46, MATERIAL_BYTES.0, MATERIAL_BYTES.0, MATERIAL_BYTES.0];
/// Share of sent bytes from which a transfer goes out rather than comes in.
const OUTWARD: (f32, f32) = (0.5, 0.9);
/// What a volume counts that stays inside or comes in: backups, copies and updates, which are many, must not hide what leaves.
const INSIDE_WEIGHT: f32 = 0.4;
/// An upload to a destination never seen before is this much more telling.
const NEW_DESTINATION_BONUS: f32 = 0.25;
/// What a day's volume keeps at an event to a destination that everybody uses.
const COMMON_WEIGHT: f32 = 0.15;
/// Bytes, sums of bytes and number of events rise together.
const RELATED_VOLUMES: f32 = 0.25;

/// Different resources in an hour that anybody may use, beside their own average; use comes in bursts.
pub(crate) const ALLOWED_RESOURCES: f32 = 3.0;
const RESOURCES_SHAPE: f32 = 1.5;
const NEW_RESOURCE_BONUS: f32 = 0.25;
/// What the resources of a host count against a user's: the names that it asks for and the pages it fetches are not of its choosing.
const HOST_RESOURCES_WEIGHT: f32 = 0.3;
/// Resources used for the first time that are nothing special, within an hour and within a day.
const ALLOWED_NEW_RESOURCES: (f32, f32) = (4.0, 12.0);
/// Nats of unusual hours that new resources may have within a day: a late evening.
const ALLOWED_ODD_RESOURCES: f32 = 2.0;
/// What new resources count more at an unusual hour, and from how many nats of it to how many.
const ODD_HOUR_BONUS: f32 = 1.0;
const ODD_HOUR: (f32, f32) = (1.0, 3.0);
/// Bytes (octaves) sent to one destination outside within a day that are nothing special: a megabyte.
const SENT_MIN: f32 = 20.0;
const SENT_NATS_PER_OCTAVE: f32 = 1.0;

/// People get new devices and travel: taken alone neither is worth a look, beside something else both are.
const NEW_DEVICE_NATS: f32 = 1.0;
const NEW_COUNTRY_NATS: f32 = 2.0;

/// Several moderate anomalies of different kinds add up to this part.
const UNRELATED: f32 = 0.5;

/// The behaviour detector, with the settings it reads in the hot loop.
#[derive(Clone, Copy, Debug)]
pub struct Behavior {
    travel_kmh_max: f32,
    history_events_min: f32,
}

/// Surprises in nats, already weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Parts {
    travel: f32,
    time: f32,
    hour_events: f32,
    bytes: f32,
    hour_volume: f32,
    /// What `hour_volume` looked at, octaves: what left for the outside at an event that sends outside, else everything sent.
    hour_octaves: f32,
    /// Sent outside over a day.
    day_volume: f32,
    /// Sent to this one destination over a day.
    sent: f32,
    resources: f32,
    /// Resources never used before, within an hour or a day.
    new_resources: f32,
    new_device: f32,
    new_country: f32,
}

impl Parts {
    #[inline]
    fn volume(&self) -> f32 {
        strongest([self.hour_events, self.bytes, self.hour_volume, self.day_volume, self.sent], RELATED_VOLUMES)
    }
    #[inline]
    fn all_resources(&self) -> f32 {
        strongest([self.resources, self.new_resources], UNRELATED)
    }
    #[inline]
    fn context(&self) -> f32 {
        self.new_device + self.new_country
    }
    #[inline]
    fn total(&self) -> f32 {
        strongest([self.travel, self.time, self.volume(), self.all_resources(), self.context()], UNRELATED)
    }
}

impl Behavior {
    #[must_use]
    pub fn new(settings: &BehaviorSettings) -> Self {
        Self { travel_kmh_max: settings.travel_kmh_max.max(1.0), history_events_min: settings.history_events_min as f32 }
    }

    /// How well the entity's habits are known, 0..1.
    #[inline]
    fn history(&self, row: &SignalRow) -> f32 {
        let events = ramp(signal(row, Signal::Events), self.history_events_min, 2.0 * self.history_events_min + 1.0);
        events * ramp(signal(row, Signal::AgeHours), HISTORY_HOURS.0, HISTORY_HOURS.1)
    }

    #[inline]
    fn travel(&self, row: &SignalRow) -> f32 {
        let speed = signal(row, Signal::TravelSpeed);
        if speed > self.travel_kmh_max { travel_nats(speed / self.travel_kmh_max, signal(row, Signal::TravelDistance)) } else { 0.0 }
    }

    #[inline]
    fn parts(&self, row: &SignalRow) -> Parts {
        let mut parts = Parts { travel: self.travel(row), sent: sent(row), ..Parts::default() };
        let history = self.history(row);
        if history > 0.0 {
            parts.time = history * bounded(signal(row, Signal::HourRarity));
            volumes(row, history, &mut parts);
            let whose = HOST_RESOURCES_WEIGHT + (1.0 - HOST_RESOURCES_WEIGHT) * share(signal(row, Signal::User));
            parts.resources = history * whose * resources(row);
            parts.new_resources = history * whose * new_resources(row, parts.time);
            parts.new_device = history * NEW_DEVICE_NATS * share(signal(row, Signal::NewDevice));
            parts.new_country = history * NEW_COUNTRY_NATS * share(signal(row, Signal::NewCountry));
        }
        parts
    }
}

#[cold]
fn travel_nats(ratio: f32, distance: f32) -> f32 {
    let distance = (distance - TRAVEL_NEAR_KM).max(0.0);
    bounded((TRAVEL_NATS + TRAVEL_NATS_EFOLD * libm::logf(ratio)) * distance / (distance + TRAVEL_ERROR_KM))
}

/// Whether the event's bytes leave: 0..1.
#[inline]
fn outward(row: &SignalRow) -> f32 {
    share(signal(row, Signal::External)) * ramp(signal(row, Signal::OutShare), OUTWARD.0, OUTWARD.1)
}

/// Number of events in this hour, bytes of this event, bytes sent in this hour, bytes sent outside within a day, each in octaves
/// against its own baseline. Four lanes of one computation without branches: these are looked at for every event.
#[inline]
fn volumes(row: &SignalRow, history: f32, parts: &mut Parts) {
    let at = |which| signal(row, which);
    let events = at(Signal::HourEvents);
    let outward = outward(row);
    // A backup inside is no exfiltration by the page that is opened meanwhile: no more left in the hour than in the day.
    let outside_max = if outward > 0.0 { at(Signal::DayVolume) } else { f32::MAX };
    parts.hour_octaves = at(Signal::HourVolume).min(outside_max);
    let values = [log2(events + 1.0), at(Signal::Bytes), parts.hour_octaves, at(Signal::DayVolume)];
    let centers = [at(Signal::HourEventsMedian), at(Signal::BytesMedian), at(Signal::HourVolumeMedian), at(Signal::DayVolumeMean)];
    let day_spread = if at(Signal::DayVolumeMean) > 0.0 { SPREAD_DAY } else { 0.0 };
    let spreads = [at(Signal::HourEventsSpread), at(Signal::BytesSpread), at(Signal::HourVolumeSpread), day_spread];
    let mut excess = [0.0; 4];
    for lane in 0..4 {
        excess[lane] = robust_excess(values[lane], centers[lane].max(CENTER_MIN[lane]), spreads[lane], SPREAD_MIN[lane]);
    }
    let moved = history * (INSIDE_WEIGHT + (1.0 - INSIDE_WEIGHT) * outward * (1.0 - share(at(Signal::DestinationCommon))));
    let bonus = 1.0 + NEW_DESTINATION_BONUS * share(at(Signal::NewDestination)) * outward;
    let material = |octaves| ramp(octaves, MATERIAL_BYTES.0, MATERIAL_BYTES.1);
    parts.hour_events = history * ramp(events, MATERIAL_EVENTS.0, MATERIAL_EVENTS.1) * excess[0];
    parts.bytes = moved * material(values[1]) * excess[1];
    parts.hour_volume = moved * bonus * material(values[2]) * excess[2];
    // The day's volume counts at events that send outside.
    // To where everybody sends, it is the service that is large.
    let rare = 1.0 - (1.0 - COMMON_WEIGHT) * share(at(Signal::DestinationCommon));
    let days = ramp(at(Signal::AgeHours), DAY_HISTORY_HOURS.0, DAY_HISTORY_HOURS.1);
    parts.day_volume = history * days * bonus * rare * outward * material(values[3]) * excess[3];
}

#[inline]
fn resources(row: &SignalRow) -> f32 {
    let usual = ALLOWED_RESOURCES + signal(row, Signal::ResourcesMean).max(0.0);
    let bonus = 1.0 + NEW_RESOURCE_BONUS * share(signal(row, Signal::NewResource));
    bonus * count_excess(signal(row, Signal::Resources), usual, RESOURCES_SHAPE)
}

/// New resources, which tell more at an hour that is not the entity's.
#[inline]
fn new_resources(row: &SignalRow, time: f32) -> f32 {
    if signal(row, Signal::NewResource) <= 0.0 {
        return 0.0;
    }
    let hour = count_excess(signal(row, Signal::NewResources1h), ALLOWED_NEW_RESOURCES.0, RESOURCES_SHAPE);
    let day = count_excess(signal(row, Signal::NewResources24h), ALLOWED_NEW_RESOURCES.1, RESOURCES_SHAPE);
    let odd = if time > 0.0 { count_excess(signal(row, Signal::OddResources24h), ALLOWED_ODD_RESOURCES, RESOURCES_SHAPE) } else { 0.0 };
    (hour.max(day) * (1.0 + ODD_HOUR_BONUS * ramp(time, ODD_HOUR.0, ODD_HOUR.1))).max(odd)
}

/// Octaves sent to one destination outside above what the entity sends to all of them in a day, where nobody else sends anything.
#[inline]
fn sent(row: &SignalRow) -> f32 {
    let outward = outward(row);
    if outward <= 0.0 {
        return 0.0;
    }
    let usual = signal(row, Signal::DayVolumeMean).max(SENT_MIN);
    let octaves = (signal(row, Signal::DestinationSent) - usual).max(0.0);
    let rare = 1.0 - share(signal(row, Signal::DestinationCommon));
    SENT_NATS_PER_OCTAVE * octaves * outward * rare
}

impl Detector for Behavior {
    fn name(&self) -> &'static str {
        super::NAMES[BEHAVIOR]
    }
    fn version(&self) -> &str {
        super::RULES_VERSION
    }
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        each_row(rows, BEHAVIOR, out, |row| self.parts(row).total());
    }
    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        let row = row.signals;
        words::explain(&self.parts(row), self.travel_kmh_max, row, out);
    }
}
