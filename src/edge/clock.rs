//! The only place that reads the host's clock. Event time never comes from here; deadlines, rates and log lines do.
#![allow(clippy::disallowed_methods)] // this is the one reader that the lint points to

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::types::EventTime;

/// Now, for durations and deadlines.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Now in UTC, for reports to people. A clock before 1970 reads as 1970.
#[must_use]
pub fn wall() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A point in time after which waiting ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        let now = Instant::now();
        // A wait that the clock cannot express is as good as a century.
        Self(now.checked_add(wait).unwrap_or(now + Duration::from_secs(3_155_760_000)))
    }
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}
