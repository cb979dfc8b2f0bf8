//! From the scores of a batch to the records of its verdicts. Never writes them.

use super::{Engine, PARTS, Verdict};
use crate::core::ensemble::{combine::p_value, threat_score};
use crate::core::event::Event;
use crate::core::output::{Part, VerdictRecord};

/// Makes the records of one batch's verdicts.
pub struct VerdictRecords<'e> {
    engine: &'e Engine,
    /// Detectors that said anything at all in this batch: of the others there is nothing to look up.
    heard: Vec<usize>,
}

impl<'e> VerdictRecords<'e> {
    #[must_use]
    pub fn of(engine: &'e Engine) -> Self {
        let heard = (0..PARTS).filter(|part| engine.scores().is_heard(*part)).collect();
        Self { engine, heard }
    }

    #[inline]
    #[must_use]
    pub fn record<'b>(&self, event: &Event<'b>, verdict: &Verdict) -> VerdictRecord<'b> {
        let mut detectors = [Part::NOTHING; PARTS];
        for part in &self.heard {
            let (raw, surprise) = self.engine.scores().part(*part, verdict.row as usize);
            detectors[*part] = Part { score: f64::from(raw), p_value: p_value(surprise) };
        }
        VerdictRecord {
            position: event.at,
            entity_kind: event.entity.kind,
            entity_name: event.entity.name,
            timestamp: event.time,
            score: f64::from(threat_score(verdict.surprise)),
            p_value: p_value(verdict.surprise),
            threat: verdict.severity.is_some(),
            learning: self.engine.scorer().is_learning(),
            models: self.engine.scorer().models(),
            repairs: event.repairs,
            detectors,
        }
    }
}
