//! Password guessing: more failed log-ins than this entity's habits explain, over 5 minutes, an hour and a day; many users tried
//! from one source; a success after many failures. Looks at attempts to authenticate only.

use super::surprise::{count_excess, ramp, share, strongest};
use super::{BRUTE_FORCE, Detector, Explanation, Figures, each_row, threat_type, words};
use crate::core::features::row::{FeatureRows, RowView, Signal, SignalRow, signal};

/// Share of failures of log-ins by people who know their password.
const SHARE_PRIOR: f32 = 0.05;
/// How far an entity's own habit of failing may excuse its failures. Less than 1, for an attacker who goes on has that habit too.
const HABIT_TRUST: f32 = 0.5;
/// Nobody mistypes more often than this: the rest of the habit is guessing.
const HABIT_SHARE_MAX: f32 = 0.3;
/// Hours after which a habit counts half.
const HABIT_HOURS: f32 = 24.0;
/// The same for one of always failing.
const STUCK_HOURS: f32 = 720.0;
/// Failures anybody may have in 5 minutes, an hour and a day: a mistyped or changed password, a phone that has the old one.
const ALLOWED: [f32; 3] = [1.5, 3.0, 6.0];
/// How many decayed hours each window is.
const WINDOW_HOURS: [f32; 3] = [1.0 / 12.0, 1.0, 24.0];
/// Users that may fail from one source (or, for a user, sources) in an hour: a family, a shared computer. More at a gateway,
/// which has its own average.
const ALLOWED_USERS: f32 = 1.5;
/// The same within a day.
const ALLOWED_USERS_DAY: f32 = 4.0;
/// Failures come in bursts: negative binomial with this shape is geometric.
const SHAPE: f32 = 1.0;
/// The day counts while it goes on, by failures in the hour: one failure long after an attack is no attack.
const GOING_ON: (f32, f32) = (1.0, 3.0);
/// Three windows are looked at: ln 3.
const WINDOWS_PRICE: f32 = 1.1;
/// Windows and users see the same failures, so the weaker evidence counts half.
const RELATED: f32 = 0.5;
/// What a success adds to the failures before it: the guess that ends them is the one that matters.
const SUCCESS_BONUS: f32 = 0.5;
/// Below this many nats of failures a success is somebody who remembered the password.
const SUCCESS_FROM: f32 = 2.0;
/// Spraying tries few passwords a user: at least this many users a failure.
const SPRAYING_USERS_PER_FAILURE: f32 = 0.3;

#[derive(Clone, Copy, Debug, Default)]
pub struct BruteForce;

/// What the score is made of, nats.
struct Parts {
    failures: f32,
    /// Which window is the most surprising.
    window: usize,
    users: f32,
    /// Whether the users of the day tell more than those of the hour.
    users_day: bool,
    success: f32,
}

impl Parts {
    #[inline]
    fn total(&self) -> f32 {
        strongest([self.failures, self.users], RELATED) + self.success
    }
}

#[inline]
fn nats(row: &SignalRow) -> f32 {
    if signal(row, Signal::Authentication) > 0.0 { parts(row).total() } else { 0.0 }
}

const FAILURES: [Signal; 3] = [Signal::Failures5m, Signal::Failures1h, Signal::Failures24h];

/// Failures expected in the window, given the entity's successes and habits.
#[inline]
fn expected(row: &SignalRow, window: usize) -> f32 {
    let age = signal(row, Signal::AgeHours).max(0.0);
    let habit = share(signal(row, Signal::FailureShare));
    let mistypes = SHARE_PRIOR + HABIT_TRUST * age / (age + HABIT_HOURS) * (habit.min(HABIT_SHARE_MAX) - SHARE_PRIOR).max(0.0);
    // In proportion to the log-ins that succeed: whoever never succeeds does not mistype.
    let attempts = signal(row, Signal::Attempts1h);
    let successes = (attempts - signal(row, Signal::Failures1h)).max(0.0);
    // But for a service that has had the wrong password for weeks.
    let stuck = HABIT_TRUST * age / (age + STUCK_HOURS) * habit * attempts;
    ALLOWED[window] + WINDOW_HOURS[window] * (mistypes / (1.0 - mistypes) * successes + stuck)
}

#[inline]
fn parts(row: &SignalRow) -> Parts {
    let mut parts = Parts { failures: 0.0, window: 0, users: 0.0, users_day: false, success: 0.0 };
    let going_on = [1.0, 1.0, ramp(signal(row, Signal::Failures1h), GOING_ON.0, GOING_ON.1)];
    for (window, failures) in FAILURES.into_iter().enumerate() {
        let nats = going_on[window] * count_excess(signal(row, failures), expected(row, window), SHAPE) - WINDOWS_PRICE;
        if nats > parts.failures {
            (parts.failures, parts.window) = (nats, window);
        }
    }
    let hour = count_excess(signal(row, Signal::FailedUsers), users_expected(row), SHAPE);
    let day = count_excess(signal(row, Signal::FailedUsersDay), users_day_expected(row), SHAPE);
    parts.users_day = day > hour;
    parts.users = hour.max(day);
    if signal(row, Signal::SuccessAfterFailures) > 0.0 {
        parts.success = SUCCESS_BONUS * (parts.failures.max(parts.users) - SUCCESS_FROM).max(0.0);
    }
    parts
}

#[inline]
fn users_expected(row: &SignalRow) -> f32 {
    ALLOWED_USERS + signal(row, Signal::FailedUsersMean).max(0.0)
}

#[inline]
fn users_day_expected(row: &SignalRow) -> f32 {
    ALLOWED_USERS_DAY + signal(row, Signal::FailedUsersDayMean).max(0.0)
}

fn type_of(parts: &Parts, row: &SignalRow) -> &'static str {
    let (users, failures) = if parts.users_day {
        (signal(row, Signal::FailedUsersDay), signal(row, Signal::Failures24h))
    } else {
        (signal(row, Signal::FailedUsers), signal(row, Signal::Failures1h))
    };
    if parts.success > 0.0 {
        threat_type::CREDENTIAL_COMPROMISE
    } else if parts.users > SUCCESS_FROM && users >= SPRAYING_USERS_PER_FAILURE * failures {
        threat_type::PASSWORD_SPRAYING
    } else {
        threat_type::BRUTE_FORCE
    }
}

impl Detector for BruteForce {
    fn name(&self) -> &'static str {
        super::NAMES[BRUTE_FORCE]
    }
    fn version(&self) -> &str {
        super::RULES_VERSION
    }
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        each_row(rows, BRUTE_FORCE, out, nats);
    }
    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        let row = row.signals;
        let parts = parts(row);
        out.threat_type = type_of(&parts, row);
        let observed = signal(row, FAILURES[parts.window]);
        let usual = expected(row, parts.window);
        let (feature, span) = [("failures_5m", "5 minutes"), ("failures_1h", "an hour"), ("failures_24h", "a day")][parts.window];
        out.add("failed_logins", feature, Figures { observed, expected: usual, surprise: parts.failures }, || {
            format!(
                "{} within {span}; {} would be ordinary.",
                words::plural(observed, "failed log-in", "failed log-ins"),
                words::count(usual)
            )
        });
        let (users, users_usual, span) = if parts.users_day {
            (signal(row, Signal::FailedUsersDay), users_day_expected(row), "a day")
        } else {
            (signal(row, Signal::FailedUsers), users_expected(row), "an hour")
        };
        out.add("many_users_tried", "failed_users", Figures { observed: users, expected: users_usual, surprise: parts.users }, || {
            format!(
                "Log-ins failed for {} within {span}; {} would be ordinary.",
                words::plural(users, "other party", "different parties"),
                words::count(users_usual)
            )
        });
        out.add(
            "success_after_failures",
            "success_after_failures",
            Figures { observed: 1.0, expected: 0.0, surprise: parts.success },
            || format!("A log-in succeeded after {}.", words::plural(observed, "recent failure", "recent failures")),
        );
    }
}
