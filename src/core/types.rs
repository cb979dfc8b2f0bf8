//! Small types that keep ids, times and counts apart.

use std::fmt;

/// A partition of the input log. Embedded input is partition 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Partition(pub u32);

/// A record's place in its partition. For a file, the number of the record in it, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where an event stands in the log: the idempotency key of everything derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    pub partition: Partition,
    pub offset: Offset,
}

/// One period of owning a partition. What was read under an older generation settles nothing under a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

/// Event time: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventTime(pub i64);

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

impl EventTime {
    /// Seconds from `earlier` to `self`, negative when `self` is earlier.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / MICROS_PER_SECOND as f64
    }
    /// Hour of the day in UTC with its fraction, `0.0 .. 24.0`.
    #[must_use]
    pub fn hour_of_day(self) -> f32 {
        (self.0.rem_euclid(MICROS_PER_DAY) as f64 / MICROS_PER_HOUR as f64) as f32
    }
    /// Day of the week in UTC, Monday 0 to Sunday 6.
    #[must_use]
    pub fn day_of_week(self) -> u8 {
        // 1970-01-01 was a Thursday.
        ((self.0.div_euclid(MICROS_PER_DAY) + 3).rem_euclid(7)) as u8
    }
    /// Hour of the week in UTC, `0 .. 168`, Monday 00:00 first.
    #[must_use]
    pub fn hour_of_week(self) -> usize {
        self.day_of_week() as usize * 24 + (self.0.rem_euclid(MICROS_PER_DAY) / MICROS_PER_HOUR) as usize
    }
}

/// RFC 3339 in UTC with microseconds: `2026-01-02T03:04:05.000006Z`.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.div_euclid(MICROS_PER_DAY);
        let micros = self.0.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let seconds = micros / MICROS_PER_SECOND;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            micros % MICROS_PER_SECOND
        )
    }
}

impl serde::Serialize for EventTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Proleptic Gregorian date of a day number counted from 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
#[must_use]
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Day number from 1970-01-01 of a proleptic Gregorian date; the inverse of [`civil_from_days`].
#[must_use]
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// What an entity is. Its name is only unique together with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// An IP address: `ip:10.0.0.1`.
    Ip,
    /// A user id: `user:alice`.
    User,
    /// A device or host: `host:web-3`.
    Host,
    /// An event that names nobody: all of them share one entity.
    Unknown,
}

impl EntityKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::User => "user",
            Self::Host => "host",
            Self::Unknown => "unknown",
        }
    }
}

/// 128 bits that stand for one entity in tables and in Redis.
///
/// An address is itself (IPv4 as IPv4-mapped IPv6), so two addresses never meet. A name is hashed with BLAKE3 together with its
/// kind, so nobody can choose two names that share a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntityKey(pub u128);

impl EntityKey {
    #[must_use]
    pub fn of_address(address: std::net::IpAddr) -> Self {
        match address {
            // By arithmetic: reading back the bytes of a mapped address waits for their stores.
            std::net::IpAddr::V4(v4) => Self(0xffff_0000_0000 | u128::from(v4.to_bits())),
            std::net::IpAddr::V6(v6) => Self(u128::from(v6)),
        }
    }
    #[must_use]
    pub fn of_name(kind: EntityKind, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.as_str().as_bytes());
        hasher.update(b":");
        hasher.update(name.as_bytes());
        Self::of_hash(&hasher.finalize())
    }
    /// [`Self::of_name`] of `kind:name`, as records have it; an address too is taken as a name.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self::of_hash(&blake3::hash(text.as_bytes()))
    }
    fn of_hash(hash: &blake3::Hash) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_bytes()[..16]);
        Self(u128::from_be_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip_and_known_days_hold() {
        for days in [-719_162, -1, 0, 1, 11_016, 19_782, 20_779, 2_932_896] {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
        }
        assert_eq!(civil_from_days(19_782), (2024, 2, 29));
        assert_eq!(EventTime(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(EventTime(0).day_of_week(), 3);
        assert_eq!(EventTime(1_795_305_600_000_000).to_string(), "2026-11-22T00:00:00.000000Z");
        assert_eq!(EventTime(1_795_305_600_000_000).day_of_week(), 6, "a Sunday");
    }

    #[test]
    fn the_same_address_in_both_families_is_one_entity() {
        let v4 = EntityKey::of_address("10.0.0.1".parse().unwrap());
        let mapped = EntityKey::of_address("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(v4, mapped);
        assert_ne!(EntityKey::of_name(EntityKind::User, "a"), EntityKey::of_name(EntityKind::Host, "a"));
    }
}
