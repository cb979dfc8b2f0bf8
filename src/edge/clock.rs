//! The only place that reads the host's clock. Event time never comes from here; deadlines, rates and log lines do.
#![allow(clippy::disallowed_methods)] // this is the one reader that the lint points to

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::types::EventTime;

thread_local! {
    /// How far a simulation has moved this thread's clock, which then stands still otherwise.
    static SIMULATED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// Now, for durations and deadlines.
#[must_use]
pub fn now() -> Instant {
    match SIMULATED.get() {
        Some((begun, passed)) => begun + passed,
        None => Instant::now(),
    }
}

/// Waits; in a simulation, time passes at once.
pub fn sleep(wait: Duration) {
    match SIMULATED.get() {
        Some((begun, passed)) => SIMULATED.set(Some((begun, passed + wait))),
        None => std::thread::sleep(wait),
    }
}

/// From now on this thread's time passes only by [`sleep`]. For tests of what depends on time.
pub fn simulate() {
    SIMULATED.set(Some((Instant::now(), Duration::ZERO)));
}

/// How long ago a moment was, by this clock.
#[must_use]
pub fn since(moment: Instant) -> Duration {
    now().saturating_duration_since(moment)
}

/// Now in UTC, for reports to people. A clock before 1970 reads as 1970.
#[must_use]
pub fn wall() -> EventTime {
    if let Some((_, passed)) = SIMULATED.get() {
        return EventTime(SIMULATED_START_MICROS + passed.as_micros() as i64);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// When a simulation begins: 2026-01-01T00:00:00Z.
const SIMULATED_START_MICROS: i64 = 1_767_225_600_000_000;

/// A point in time after which waiting ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        let now = now();
        // A wait that the clock cannot express is as good as a century.
        Self(now.checked_add(wait).unwrap_or(now + Duration::from_secs(3_155_760_000)))
    }
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(now())
    }
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}
