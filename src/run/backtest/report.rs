//! The measures of a backtest: of events, of entities by the worst event of each, and of incidents; each detector beside all.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bars::{self, Case};
use super::incidents::incidents;
pub use super::incidents::{Found, Incident, Incidents, Seconds};
use super::{Collector, Fates};
use crate::config::backtest::Bars;
use crate::core::detect::NAMES;
use crate::core::engine::PARTS;
use crate::error::{Error, Result};
use crate::models::table::report::{Measures, Truth, measure};

/// Everything, as it is written.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub pipeline: String,
    /// Version of the bundle that scored; none where the run learned for itself.
    pub models: Option<String>,
    pub fates: Fates,
    /// From which surprise, in nats, an event is a threat; a detector alone is held against the same.
    pub threshold: f32,
    pub events: Level,
    /// None where all entities attack, or none.
    pub entities: Option<Level>,
    pub incidents: Incidents,
    pub bars: Vec<Case>,
}

/// The measures at one level.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    pub rows: u64,
    /// Share of attacks.
    pub base_rate: f64,
    pub ensemble: Measures,
    pub members: BTreeMap<&'static str, Measures>,
}

/// Whose results these are.
#[derive(Clone, Debug)]
pub struct Subject {
    pub pipeline: String,
    pub models: Option<String>,
}

impl Collector {
    /// Measures what was heard.
    ///
    /// # Errors
    /// `Config`: nothing was measured, or there is only one of attacks and benign events.
    pub fn report(mut self, subject: Subject, bars: &Bars) -> Result<Report> {
        self.check()?;
        self.check_rows()?;
        self.threats.sort();
        self.fired.iter_mut().for_each(super::Sightings::sort);
        let events = self.level(&self.measured.score, &self.measured.parts, &self.measured.truth);
        let mut report = Report {
            pipeline: subject.pipeline,
            models: subject.models,
            fates: self.fates,
            threshold: self.threshold,
            events,
            entities: self.entities(),
            incidents: incidents(&self),
            bars: vec![],
        };
        report.bars = bars::cases(&report, bars);
        Ok(report)
    }

    fn check_rows(&self) -> Result<()> {
        let (rows, Fates { scored, warming_up, .. }) = (self.measured.score.len(), self.fates);
        let attacks = self.measured.truth.attack.iter().filter(|attack| **attack).count();
        let field = self.labels.field.as_deref().unwrap_or_default().escape_debug();
        let classes = || self.measured.truth.classes.iter().take(5).map(|class| class.escape_debug().to_string()).collect::<Vec<_>>();
        match (scored, rows) {
            (0, _) => Err(Error::config("nothing was scored: check the input and its codec")),
            (_, 0) if scored == warming_up => Err(Error::config(format!(
                "all {scored} events were for learning or warming up; give models with --models, or a longer input"
            ))),
            (_, 0) => Err(Error::config(format!("no event has a label in '{field}'; unknown fields are kept as they are in the input"))),
            _ if attacks == 0 => Err(Error::config(format!(
                "all {rows} labels are benign ({}): there is nothing to find; name the benign value with --benign",
                classes().join(", ")
            ))),
            _ if attacks == rows => Err(Error::config(format!(
                "none of {rows} labels is benign ({}); name the benign value with --benign",
                classes().join(", ")
            ))),
            _ => Ok(()),
        }
    }

    fn level(&self, score: &[f32], parts: &[Vec<f32>; PARTS], truth: &Truth) -> Level {
        let attacks = truth.attack.iter().filter(|attack| **attack).count();
        Level {
            rows: score.len() as u64,
            base_rate: attacks as f64 / score.len() as f64,
            ensemble: self.measures(score, truth),
            members: self.at_work.iter().map(|part| (NAMES[*part], self.measures(&parts[*part], truth))).collect(),
        }
    }

    /// The pipeline's threshold is where threats begin, the measures' where they do not yet.
    fn measures(&self, score: &[f32], truth: &Truth) -> Measures {
        let mut measures = measure(score, truth, self.threshold.next_down());
        measures.deployed.threshold = f64::from(self.threshold);
        measures
    }

    /// An entity's score is its worst; it attacks if one of its events does, and then has the class of the first that does.
    fn entities(&self) -> Option<Level> {
        let measured = &self.measured;
        let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
        let (mut score, mut parts): (Vec<f32>, [Vec<f32>; PARTS]) = (vec![], std::array::from_fn(|_| vec![]));
        let mut truth = Truth { attack: vec![], class: vec![], classes: measured.truth.classes.clone() };
        for row in 0..measured.score.len() {
            let (attack, class) = (measured.truth.attack[row], measured.truth.class[row]);
            let place = *seen.entry(measured.entity[row]).or_insert_with(|| {
                score.push(f32::NEG_INFINITY);
                self.at_work.iter().for_each(|part| parts[*part].push(f32::NEG_INFINITY));
                truth.attack.push(attack);
                truth.class.push(class);
                score.len() - 1
            });
            score[place] = score[place].max(measured.score[row]);
            for part in &self.at_work {
                parts[*part][place] = parts[*part][place].max(measured.parts[*part][row]);
            }
            if attack && !truth.attack[place] {
                (truth.attack[place], truth.class[place]) = (true, class);
            }
        }
        let attackers = truth.attack.iter().filter(|attack| **attack).count();
        (attackers > 0 && attackers < score.len()).then(|| self.level(&score, &parts, &truth))
    }
}
