//! Everything that is allowed: people at work, servers, upkeep, and the internet's own noise. Must never look at campaigns.

pub(super) mod noise;
pub(super) mod office;
pub(super) mod servers;
pub(super) mod upkeep;
pub(super) mod web;

use super::world::World;
use crate::core::types::EventTime;

/// How busy the company is at `now`, 0.05 to 1: what its servers feel.
pub(super) fn activity(world: &World, now: i64) -> f64 {
    let mut sum: f64 = 0.05;
    for (site, share) in [0.42, 0.28, 0.18, 0.12].into_iter().enumerate() {
        let offset = i64::from(super::geo::CITIES[site].utc_offset_minutes) * 60_000_000;
        let local = EventTime(now + offset);
        let hour = f64::from(local.hour_of_day());
        let day = if local.day_of_week() >= 5 { 0.1 } else { 1.0 };
        let bump = 1.0 - ((hour - 13.0) / 6.0) * ((hour - 13.0) / 6.0);
        sum += share * day * bump.max(0.0);
    }
    sum.min(1.0) / world.gap
}
