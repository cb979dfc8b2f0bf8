//! What is to be simulated: size, time, and which campaigns. Plain data.

use super::campaign::{CampaignKind, Variant};
use crate::core::types::{EventTime, MICROS_PER_DAY};
use crate::error::{Error, Result};

/// Everything that decides a simulation: the same scenario gives the same bytes.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub start: EventTime,
    pub days: f64,
    /// People with an account.
    pub users: u32,
    pub servers: u32,
    /// Multiplies how often people and servers do things. What has a strict period keeps it.
    pub rate: f64,
    /// Share of the time that stays free of campaigns, at its beginning.
    pub learning: f64,
    /// The day, counted from 0, on which many passwords expire. At or past the end: never.
    pub password_expiry_day: u32,
    /// Share of the people who only start half-way.
    pub new_hires: f64,
    /// Probes from the internet at the addresses that face it, an hour.
    pub background_per_hour: f64,
    pub campaigns: Vec<Plan>,
}

/// One campaign to run. Where and when exactly, and on whom, is drawn from the seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub kind: CampaignKind,
    pub variant: Variant,
    /// Earliest start, as a share of the time after learning: `0.0 .. 1.0`.
    pub begin: f64,
}

/// 2026-03-03T00:00:00Z, a Tuesday.
const START: EventTime = EventTime(1_772_496_000_000_000);

impl Scenario {
    /// Three working days of about 300 people, some 660,000 events, every campaign kind in both variants.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            seed: 42,
            start: START,
            days: 3.0,
            users: 300,
            servers: 40,
            rate: 1.0,
            learning: 0.4,
            password_expiry_day: 2,
            new_hires: 0.03,
            background_per_hour: 30.0,
            campaigns: Self::all_campaigns(),
        }
    }

    /// About 60,000 events over two days, for tests.
    #[must_use]
    pub fn small() -> Self {
        Self { days: 2.0, users: 24, servers: 6, rate: 0.4, password_expiry_day: 1, background_per_hour: 5.0, ..Self::demo() }
    }

    /// Four weeks, so that weekly habits show and the slowest campaigns take days. About 5 million events.
    #[must_use]
    pub fn month() -> Self {
        Self { days: 28.0, password_expiry_day: 16, ..Self::demo() }
    }

    /// The same world and campaigns with `factor` times the people and servers, and so about as many times the events.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let scale = |count: u32| ((f64::from(count) * factor) as u32).max(1);
        self.users = scale(self.users);
        self.servers = scale(self.servers);
        self.background_per_hour *= factor;
        self
    }

    /// The same benign world without campaigns: what to learn from.
    #[must_use]
    pub fn benign(mut self) -> Self {
        self.campaigns.clear();
        self.background_per_hour = 0.0;
        self
    }

    /// Every kind once loud and once slow; the slow ones begin early because they take long.
    #[must_use]
    pub fn all_campaigns() -> Vec<Plan> {
        let count = CampaignKind::ATTACKS.len() as f64;
        let loud = CampaignKind::ATTACKS.iter().enumerate().map(|(i, &kind)| {
            // Seven is prime to nine, so kinds that belong together do not follow each other.
            let begin = 0.05 + 0.8 * ((i * 7 % 9) as f64 / count);
            Plan { kind, variant: Variant::Loud, begin }
        });
        let slow = CampaignKind::ATTACKS.iter().enumerate().map(|(i, &kind)| {
            let begin = 0.01 + 0.12 * (i as f64 / count);
            Plan { kind, variant: Variant::Slow, begin }
        });
        loud.chain(slow).collect()
    }

    #[must_use]
    pub fn end(&self) -> EventTime {
        EventTime(self.start.0 + (self.days * MICROS_PER_DAY as f64) as i64)
    }

    /// When learning ends and the first campaign may begin.
    #[must_use]
    pub fn learned(&self) -> EventTime {
        EventTime(self.start.0 + (self.days * self.learning * MICROS_PER_DAY as f64) as i64)
    }

    /// # Errors
    /// Names every setting that is out of its range, with the range.
    pub fn check(&self) -> Result<()> {
        let attack_days = self.days * (1.0 - self.learning);
        let rules = [
            (self.days > 0.0 && self.days <= 400.0, "days must be above 0 and at most 400"),
            ((20..=100_000).contains(&self.users), "users must be 20 to 100000"),
            ((6..=10_000).contains(&self.servers), "servers must be 6 to 10000"),
            (self.rate > 0.0 && self.rate <= 100.0, "rate must be above 0 and at most 100"),
            ((0.0..1.0).contains(&self.learning), "learning must be from 0 to below 1"),
            ((0.0..=0.5).contains(&self.new_hires), "new_hires must be 0 to 0.5"),
            ((0.0..=100_000.0).contains(&self.background_per_hour), "background_per_hour must be 0 to 100000"),
            (self.campaigns.len() <= 1_000, "at most 1000 campaigns"),
            (self.campaigns.is_empty() || attack_days >= 1.0, "campaigns need at least one day after learning"),
            (self.campaigns.iter().all(|c| (0.0..1.0).contains(&c.begin)), "a campaign's begin must be from 0 to below 1"),
            (self.start.0 >= crate::limits::EVENT_TIME_MIN_MICROS, "start must be 1990 or later"),
            (self.start.0 <= crate::limits::EVENT_TIME_MAX_MICROS / 4 * 3, "start must be before 2066"),
        ];
        let broken: Vec<&str> = rules.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| rule).collect();
        if broken.is_empty() { Ok(()) } else { Err(Error::config(format!("scenario: {}", broken.join("; ")))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_hold_every_kind_in_both_variants() {
        for scenario in [Scenario::demo(), Scenario::small(), Scenario::month(), Scenario::demo().scaled(3.0), Scenario::small().benign()] {
            scenario.check().unwrap();
        }
        for kind in CampaignKind::ATTACKS {
            for variant in [Variant::Loud, Variant::Slow] {
                assert_eq!(Scenario::all_campaigns().iter().filter(|p| p.kind == kind && p.variant == variant).count(), 1);
            }
        }
    }

    #[test]
    fn every_broken_setting_is_named_at_once() {
        let broken = Scenario { days: 0.0, users: 1, rate: -1.0, ..Scenario::demo() };
        let message = broken.check().unwrap_err().to_string();
        for name in ["days", "users", "rate", "campaigns"] {
            assert!(message.contains(name), "{message}");
        }
    }
}
