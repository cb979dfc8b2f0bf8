//! Beaconing: contacts to one destination at intervals too regular for people. Sees only the destination of the row's own event.
//!
//! Regularity is what machines do, and most of it is harmless (time servers, updates, monitoring). So the evidence of many
//! intervals is compressed, and what makes a series interesting weighs it: the destination is outside, the entity did not always
//! do this, and the pace is that of a check-in and not of a stream.

use super::surprise::{RANDOM_JITTER, compressed, periodic_excess, ramp, share};
use super::{BEACONING, Detector, Explanation, Figures, each_row, threat_type, words};
use crate::core::features::row::{FeatureRows, RowView, Signal, SignalRow, signal};

/// Fewer intervals than this are no series.
pub const COUNT_MIN: f32 = 4.0;
/// Nats of regularity up to which evidence counts in full: one harmless periodic series among some fifty destinations.
const KNEE: f32 = 4.0;
/// Jitter is an average over about so many intervals: more of them prove no more regularity, only that it goes on.
const COUNT_JUDGED: f32 = 64.0;
/// What each e-fold of going on beyond that adds.
const LONG_LIVED: f32 = 0.15;
/// A regular contact inside is mostly monitoring, but command servers relay through inside hosts too.
const INTERNAL_WEIGHT: f32 = 0.35;
/// What a series keeps that is as old as the entity itself: it may have been infected before we looked.
const FURNITURE_WEIGHT: f32 = 0.5;
/// What a series to a destination keeps that everybody uses: a service of theirs, not somebody's command server.
const COMMON_WEIGHT: f32 = 0.02;
/// Before a day has been seen nobody's habits are known, so nothing can be called furniture.
const HABIT_HOURS: f32 = 24.0;
/// Seconds between which the pace turns from a stream's into a check-in's.
const PACE: (f32, f32) = (1.0, 10.0);

#[derive(Clone, Copy, Debug, Default)]
pub struct Beaconing;

#[inline]
fn nats(row: &SignalRow) -> f32 {
    let (count, jitter) = (signal(row, Signal::PeriodCount), signal(row, Signal::PeriodJitter));
    if count >= COUNT_MIN && jitter < 0.5 {
        weight(row) * long_lived(count) * compressed(periodic_excess(count.min(COUNT_JUDGED), jitter), KNEE)
    } else {
        0.0
    }
}

#[inline]
fn long_lived(count: f32) -> f32 {
    if count > COUNT_JUDGED { 1.0 + LONG_LIVED * libm::logf(count / COUNT_JUDGED) } else { 1.0 }
}

/// How interesting a regular series to this destination would be, 0..1.
fn weight(row: &SignalRow) -> f32 {
    let external = INTERNAL_WEIGHT + (1.0 - INTERNAL_WEIGHT) * share(signal(row, Signal::External));
    let known_share = signal(row, Signal::PeriodAgeHours) / signal(row, Signal::AgeHours).max(HABIT_HOURS);
    let novel = FURNITURE_WEIGHT + (1.0 - FURNITURE_WEIGHT) * (1.0 - ramp(known_share, 0.0, 1.0));
    let rare = 1.0 - (1.0 - COMMON_WEIGHT) * share(signal(row, Signal::DestinationCommon));
    external * novel * rare * ramp(signal(row, Signal::Period), PACE.0, PACE.1)
}

impl Detector for Beaconing {
    fn name(&self) -> &'static str {
        super::NAMES[BEACONING]
    }
    fn version(&self) -> &str {
        super::RULES_VERSION
    }
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        each_row(rows, BEACONING, out, nats);
    }
    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        let row = row.signals;
        let (count, jitter, period) = (signal(row, Signal::PeriodCount), signal(row, Signal::PeriodJitter), signal(row, Signal::Period));
        let place = if signal(row, Signal::External) > 0.0 { "external" } else { "internal" };
        out.threat_type = threat_type::BEACONING;
        out.add("beaconing", "period_jitter", Figures { observed: jitter, expected: RANDOM_JITTER, surprise: nats(row) }, || {
            format!(
                "Contacts an {place} destination every {}, {} times with {} deviation (random contacts deviate by {}), for {}.",
                words::seconds(period),
                words::count(count),
                words::percent(jitter),
                words::percent(RANDOM_JITTER),
                words::seconds(3_600.0 * signal(row, Signal::PeriodAgeHours)),
            )
        });
        // Half of the evidence is how regular the series is, half how long it went on.
        if let Some(contribution) = out.contributions.last_mut() {
            contribution.weight *= 0.5;
            let surprise = contribution.weight;
            out.support("period_count", Figures { observed: count, expected: 0.0, surprise });
        }
    }
}
