//! The last successful log-in with a place: great-circle speed between two of them.

use super::packed::Moment;
use super::persist::Persist;
use crate::core::event::{Event, Outcome};
use crate::core::features::row::{Signal, Signals};
use crate::core::numeric::hash_key;
use crate::core::types::{EntityKey, EventTime};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, packed)]
pub struct Login {
    latitude: f32,
    longitude: f32,
    /// Hash of the address, which only has to differ from another's.
    address: u32,
    /// Never: there was none, and the rest means nothing.
    time: Moment,
}

impl Persist for Login {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { latitude, longitude, address, time } = *self;
        latitude.write(out);
        longitude.write(out);
        time.micros().unwrap_or_default().write(out);
        address.write(out);
        u8::from(time.micros().is_some()).write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        let Self { mut latitude, mut longitude, mut address, mut time } = *self;
        let mut known = 0_u8;
        latitude.read(input)?;
        longitude.read(input)?;
        time.read(input)?;
        address.read(input)?;
        known.read(input)?;
        *self = if known == 0 { Self::default() } else { Self { latitude, longitude, address, time } };
        Some(())
    }
}

const EARTH_RADIUS_KM: f64 = 6_371.0;
/// Places closer than this are one: geo databases are no better.
const DISTANCE_KM_MIN: f64 = 100.0;
/// Speeds are measured over at least a minute, so that clocks that disagree by seconds do not make one infinite.
const HOURS_MIN: f64 = 1.0 / 60.0;

impl Login {
    /// Exempt, and not remembered: no success, no place, an exempt network (`exempt`: VPN, private relay, satellite). Exempt but
    /// remembered: the same address again. Out of order: neither.
    pub fn observe(&mut self, event: &Event<'_>, authentication: bool, exempt: bool, signals: &mut impl Signals) {
        let Some((latitude, longitude)) = event.geo.coordinates else { return };
        if !authentication || event.outcome != Outcome::Success || exempt || event.source_ip.is_unspecified() {
            return;
        }
        let before = self.time.micros();
        if before.is_some_and(|before| event.time.0 < before) {
            return;
        }
        let address = (hash_key(EntityKey::of_address(event.source_ip).0) >> 32) as u32;
        if let Some(before) = before.filter(|_| address != self.address) {
            let km = great_circle_km((self.latitude, self.longitude), (latitude, longitude));
            let hours = ((event.time.0 - before) as f64 / 3.6e9).max(HOURS_MIN);
            if km >= DISTANCE_KM_MIN {
                signals.set(Signal::TravelSpeed, || (km / hours) as f32);
                signals.set(Signal::TravelDistance, || km as f32);
            }
        }
        *self = Self { latitude, longitude, address, time: Moment::of(event.time.0) };
    }

    /// When and where the last one was.
    pub fn last(&self) -> Option<(EventTime, (f32, f32))> {
        self.time.micros().map(|micros| (EventTime(micros), (self.latitude, self.longitude)))
    }
}

/// Haversine distance in km between two points given as (latitude, longitude) in degrees.
#[must_use]
pub fn great_circle_km(a: (f32, f32), b: (f32, f32)) -> f64 {
    let radians = |degrees: f32| f64::from(degrees).to_radians();
    let (lat_a, lat_b) = (radians(a.0), radians(b.0));
    let half_lat = libm::sin((lat_b - lat_a) / 2.0);
    let half_lon = libm::sin((radians(b.1) - radians(a.1)) / 2.0);
    let h = half_lat * half_lat + libm::cos(lat_a) * libm::cos(lat_b) * half_lon * half_lon;
    2.0 * EARTH_RADIUS_KM * libm::asin(libm::sqrt(h.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances_hold() {
        let km = great_circle_km((52.52, 13.405), (40.7128, -74.006));
        assert!((km - 6_385.0).abs() < 10.0, "Berlin to New York: {km}");
        assert!(great_circle_km((0.0, 179.9), (0.0, -179.9)) < 30.0, "across the date line");
        assert!((great_circle_km((90.0, 0.0), (-90.0, 0.0)) - 20_015.0).abs() < 5.0);
    }
}
