//! A state in words and numbers that people can read. It shows; nothing is decided by it.

use serde::Serialize;

use super::EntityState;
use crate::core::types::EventTime;

/// What is remembered of one entity, without the sketches themselves.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateSummary {
    /// The first offset that is not in it.
    pub next_offset: u64,
    pub events: u32,
    pub first_seen: Option<EventTime>,
    pub last_seen: Option<EventTime>,
    pub rates: RatesSummary,
    pub profile: ProfileSummary,
    pub new_destination_share: f32,
    pub new_resource_share: f32,
    pub last_login: Option<LoginSummary>,
}

/// Decayed counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RatesSummary {
    pub events_1h: f32,
    pub events_24h: f32,
    pub failures_1h: f32,
    pub failures_24h: f32,
    pub failure_share: f32,
}

/// Medians of whole clock hours and of single events, in their own units.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSummary {
    pub active_hours: u16,
    pub hour_events_median: f32,
    pub hour_bytes_median: f32,
    pub event_bytes_median: f32,
    /// Spread of the last in octaves: 1 is a factor of two.
    pub event_bytes_spread_octaves: f32,
}

/// The last successful log-in with a place.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginSummary {
    pub time: EventTime,
    pub latitude: f32,
    pub longitude: f32,
}

impl EntityState {
    #[must_use]
    pub fn summary(&self) -> StateSummary {
        let (events_1h, events_24h) = self.rates();
        let (failures_1h, failures_24h, failure_share) = self.rates.failures();
        let (active_hours, hour_events, hour_bytes) = self.hours.profile();
        let (event_bytes, event_bytes_spread_octaves) = self.volume.profile();
        let (new_destination_share, new_resource_share) = self.novelty_ratios();
        // Histograms count octaves of one more.
        let whole = |octaves: f32| if octaves > 0.0 { libm::exp2f(octaves) - 1.0 } else { 0.0 };
        StateSummary {
            next_offset: self.next_offset,
            events: self.events,
            first_seen: self.first.micros().map(EventTime),
            last_seen: self.newest.micros().map(EventTime),
            rates: RatesSummary { events_1h, events_24h, failures_1h, failures_24h, failure_share },
            profile: ProfileSummary {
                active_hours,
                hour_events_median: whole(hour_events),
                hour_bytes_median: whole(hour_bytes),
                event_bytes_median: whole(event_bytes),
                event_bytes_spread_octaves,
            },
            new_destination_share,
            new_resource_share,
            last_login: self.login.last().map(|(time, (latitude, longitude))| LoginSummary { time, latitude, longitude }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_nothing_shows_nothing() {
        let summary = serde_json::to_value(EntityState::default().summary()).unwrap();
        assert_eq!((&summary["events"], &summary["firstSeen"], &summary["lastLogin"]), (&0.into(), &None::<u8>.into(), &None::<u8>.into()));
    }
}
