//! Two models on the same rows: who finds what, and how their surprises differ. Bounded, whatever the number of rows.

use serde::{Deserialize, Serialize};

/// Differences are counted in steps of a quarter nat, up to the largest surprise either way.
const STEPS_PER_NAT: f32 = 4.0;
const NATS_MAX: f32 = 60.0;
const STEPS: usize = 2 * (NATS_MAX * STEPS_PER_NAT) as usize + 1;

/// What was counted so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    rows: u64,
    both: u64,
    champion_only: u64,
    shadow_only: u64,
    /// Of shadow less champion, nats.
    sum: f64,
    steps: Vec<u64>,
}

/// The figures of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    pub rows: u64,
    /// Threats that both find, and those that one of them finds alone.
    pub both: u64,
    pub champion_only: u64,
    pub shadow_only: u64,
    /// The shadow's surprise less the champion's, nats; quantiles to a quarter nat.
    pub mean: f64,
    pub p1: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Default for Comparison {
    fn default() -> Self {
        Self { rows: 0, both: 0, champion_only: 0, shadow_only: 0, sum: 0.0, steps: vec![0; STEPS] }
    }
}

impl Comparison {
    /// Counts a row: surprises in nats, and whether that is a threat.
    pub fn add(&mut self, champion: (f32, bool), shadow: (f32, bool)) {
        self.rows += 1;
        match (champion.1, shadow.1) {
            (true, true) => self.both += 1,
            (true, false) => self.champion_only += 1,
            (false, true) => self.shadow_only += 1,
            (false, false) => {}
        }
        let difference = shadow.0 - champion.0;
        self.sum += f64::from(difference);
        let step = libm::roundf((difference.clamp(-NATS_MAX, NATS_MAX) + NATS_MAX) * STEPS_PER_NAT);
        self.steps[(step as usize).min(STEPS - 1)] += 1;
    }

    /// Adds what another lane counted.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.both += other.both;
        self.champion_only += other.champion_only;
        self.shadow_only += other.shadow_only;
        self.sum += other.sum;
        self.steps.iter_mut().zip(&other.steps).for_each(|(mine, its)| *mine += its);
    }

    #[must_use]
    pub fn figures(&self) -> Compared {
        let Self { rows, both, champion_only, shadow_only, .. } = *self;
        let mean = if rows == 0 { 0.0 } else { self.sum / rows as f64 };
        Compared {
            rows,
            both,
            champion_only,
            shadow_only,
            mean,
            p1: self.quantile(0.01),
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
        }
    }

    fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.rows as f64 * share).max(1.0);
        let mut counted = 0;
        let reached = |count: &u64| {
            counted += count;
            counted as f64 >= wanted
        };
        let step = if self.rows == 0 { None } else { self.steps.iter().position(reached) };
        step.map_or(0.0, |step| step as f64 / f64::from(STEPS_PER_NAT) - f64::from(NATS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_what_and_by_how_much_is_counted_whatever_the_lanes() {
        let (mut one, mut other) = (Comparison::default(), Comparison::default());
        for row in 0..1_000 {
            let champion = row as f32 * 0.01;
            let shadow = champion + if row < 900 { 0.5 } else { -3.0 };
            let lane = if row % 2 == 0 { &mut one } else { &mut other };
            lane.add((champion, champion >= 9.0), (shadow, shadow >= 7.0));
        }
        one.merge(&other);
        let figures = one.figures();
        // The shadow alone: 6.5 <= champion < 9; the champion alone: the last 100, which fall to 6 .. 7.
        assert_eq!((figures.rows, figures.both, figures.champion_only, figures.shadow_only), (1_000, 0, 100, 250));
        assert!((figures.mean - 0.15).abs() < 1e-4, "{figures:?}");
        assert_eq!([figures.p1, figures.p50, figures.p99].map(f64::to_bits), [-3.0_f64, 0.5, 0.5].map(f64::to_bits));
        assert_eq!(Comparison::default().figures(), Compared::default());
        let mut far = Comparison::default();
        far.add((0.0, false), (1e9, true));
        assert_eq!((far.figures().p99, far.figures().shadow_only), (60.0, 1));
    }
}
