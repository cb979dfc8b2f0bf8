//! What is measured: codec, sanitizer and engine as a network pipeline has them, with models learned from the traffic itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bumpalo::Bump;
use threatguard::codec::threatguard::ThreatGuard;
use threatguard::core::decode::{Decoded, decode_batch};
use threatguard::core::detect::{self, NAMES, THREAT_INTEL};
use threatguard::core::engine::{Engine, Parts, Scorer};
use threatguard::core::ensemble::{Column, Ensemble, SeverityThresholds};
use threatguard::core::event::Record;
use threatguard::core::features::row::MODEL_WIDTH;
use threatguard::core::intel::IntelBuilder;
use threatguard::core::sanitize::Sanitizer;
use threatguard::core::settings::{CoreSettings, KeyPart};
use threatguard::core::types::{Offset, Partition};
use threatguard::error::Result;
use threatguard::models::bundle::Bundle;
use threatguard::models::sample::{Fitted, Sample};
use threatguard::models::train::{TrainOptions, Trainer};

pub const PARTITION: Partition = Partition(0);

/// A pipeline's core and one engine that owns [`PARTITION`].
pub struct Subject {
    pub codec: ThreatGuard,
    pub sanitizer: Sanitizer,
    pub settings: CoreSettings,
    pub engine: Engine,
}

impl Subject {
    /// Scores with the detectors that learn nothing.
    pub fn new(max_entities: usize) -> Result<Self> {
        let settings = CoreSettings::default();
        let ensemble = Ensemble::declared(&columns(), &BTreeMap::new(), None);
        let thresholds = SeverityThresholds::new(&settings.thresholds);
        Self::with(max_entities, Arc::new(Scorer::new(detect::rules(&settings.detectors), ensemble, thresholds, true)))
    }

    /// Default settings, without any state.
    pub fn with(max_entities: usize, scorer: Arc<Scorer>) -> Result<Self> {
        let mut settings = CoreSettings::default();
        settings.state.max_entities = max_entities;
        let parts = Parts { intel: Arc::new(IntelBuilder::new().build()), scorer, stored: false, table_seed: 7 };
        let mut engine = Engine::new(&settings, parts)?;
        engine.assign(PARTITION, Offset(0), &[])?;
        Ok(Self { codec: ThreatGuard, sanitizer: Sanitizer { key: vec![KeyPart::Source], ..Sanitizer::default() }, settings, engine })
    }

    /// The whole core: every stage for one batch.
    pub fn process(&mut self, records: &[Record<'_>], arena: &Bump) {
        let mut decoded = Decoded::default();
        decode_batch(&self.codec, &self.sanitizer, records, arena, &mut decoded);
        assert!(decoded.rejects.is_empty(), "the traffic is well-formed");
        self.engine.apply(PARTITION, &decoded.events, &[]);
    }

    /// [`Subject::process`], and keeps the rows as what models are fitted to.
    pub fn process_and_sample(&mut self, records: &[Record<'_>], arena: &Bump, sample: &mut Sample) {
        let mut decoded = Decoded::default();
        decode_batch(&self.codec, &self.sanitizer, records, arena, &mut decoded);
        self.engine.apply(PARTITION, &decoded.events, &[]);
        let rows = self.engine.rows();
        for (event, row) in rows.event.iter().zip(&rows.model) {
            sample.push(decoded.events[*event as usize].entity.key, row, None);
        }
    }

    pub fn trainer(&self) -> Trainer {
        Trainer::new(TrainOptions::new("bench", self.settings.features, columns(), self.settings.learning.seed))
    }

    /// [`Subject::process`], and learns from what was scored.
    pub fn process_and_learn(&mut self, records: &[Record<'_>], arena: &Bump, trainer: &mut Trainer) {
        let mut decoded = Decoded::default();
        decode_batch(&self.codec, &self.sanitizer, records, arena, &mut decoded);
        self.engine.apply(PARTITION, &decoded.events, &[]);
        for verdict in &self.engine.effects().verdicts {
            let (row, rows) = (verdict.row as usize, self.engine.rows());
            let event = &decoded.events[verdict.event as usize];
            let raw = self.engine.scores().raw(row);
            trainer.push_event(event.time, &rows.model[row], &raw, &rows.signals[row], event.entity.key, rows.places[row]);
        }
    }

    /// All detectors with what `trainer` saw, models and calibrations included.
    pub fn learned(&self, trainer: &Trainer) -> Result<Arc<Scorer>> {
        Ok(self.scorer_with(&trainer.finish()?))
    }

    /// All detectors with what a bundle has.
    pub fn scorer_with(&self, bundle: &Bundle) -> Arc<Scorer> {
        let mut detectors = detect::rules(&self.settings.detectors);
        detectors.extend(bundle.detectors());
        let thresholds = SeverityThresholds::new(&self.settings.thresholds);
        let scorer = Scorer::new(detectors, bundle.ensemble(&columns()), thresholds, false);
        Arc::new(scorer.with_prevalence(bundle.prevalence.clone()).with_network(bundle.lstm.clone()))
    }

    /// The detectors that learn nothing with models whose scores nothing is known of yet: what their calibrations are learned from.
    pub fn scorer_of(&self, models: &Fitted) -> Arc<Scorer> {
        let mut detectors = detect::rules(&self.settings.detectors);
        detectors.extend(models.detectors("", self.settings.features, &[0.0; MODEL_WIDTH]));
        let ensemble = Ensemble::declared(&columns(), &BTreeMap::new(), None);
        let thresholds = SeverityThresholds::new(&self.settings.thresholds);
        Arc::new(Scorer::new(detectors, ensemble, thresholds, true).with_network(models.lstm.clone()))
    }
}

fn columns() -> Vec<Column> {
    let column = |(index, name): (usize, &&str)| Column { name: (*name).to_owned(), weight: 1.0, evidence: index == THREAT_INTEL };
    NAMES.iter().enumerate().map(column).collect()
}
