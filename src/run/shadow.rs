//! A bundle that scores beside the champion: the same rows, no outputs of its own. Costs nothing while there is none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::detect::lstm::Network;
use crate::core::engine::{Engine, Scorer, Scores};
use crate::core::event::Event;
use crate::core::features::row::{FeatureRows, SequenceStep, Signal, SignalRow};
use crate::core::state::Memory;
use crate::core::types::EntityKey;
use crate::error::Result;
use crate::limits::SHADOW_ENTITIES_MAX;
use crate::models::bundle::Bundle;
use crate::models::comparison::{Compared, Comparison};
use crate::run::pipeline::Pipeline;

/// The bundle, and what all shards have seen of it.
pub struct Shadow {
    version: String,
    scorer: Scorer,
    comparison: Mutex<Comparison>,
}

impl Shadow {
    /// # Errors
    /// `Config`: the bundle does not fit the pipeline.
    pub fn new(pipeline: &Pipeline, bundle: &Bundle) -> Result<Self> {
        let scorer = pipeline.scorer(Some(bundle))?;
        Ok(Self { version: bundle.manifest.version.clone(), scorer, comparison: Mutex::default() })
    }

    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    #[must_use]
    pub fn figures(&self) -> Compared {
        self.comparison().figures()
    }

    fn comparison(&self) -> MutexGuard<'_, Comparison> {
        self.comparison.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One shard's part of it: what its network remembers of entities, and places to compute in.
pub struct Beside {
    shadow: Arc<Shadow>,
    memories: BTreeMap<EntityKey, Memory>,
    signals: Vec<SignalRow>,
    sequence: Vec<SequenceStep>,
    scores: Scores,
}

impl Beside {
    #[must_use]
    pub fn new(shadow: Arc<Shadow>) -> Self {
        Self { shadow, memories: BTreeMap::new(), signals: vec![], sequence: vec![], scores: Scores::default() }
    }

    /// Scores the rows that the engine has at hand once more and counts how that differs.
    pub fn compare(&mut self, engine: &Engine, events: &[Event<'_>]) {
        let rows = engine.rows();
        if rows.is_empty() {
            return;
        }
        let scorer = &self.shadow.scorer;
        // What is common depends on the bundle, all other signals on the events alone.
        self.signals.clone_from(&rows.signals);
        for (signals, place) in self.signals.iter_mut().zip(&rows.places) {
            signals[Signal::DestinationCommon as usize] = scorer.prevalence().common(*place);
        }
        self.sequence.clear();
        if let Some(network) = scorer.network() {
            let entities = rows.event.iter().map(|event| events[*event as usize].entity.key);
            let steps = entities.zip(&rows.model).zip(&self.signals).map(|((entity, row), signals)| {
                let is_new = signals[Signal::Events as usize] == 0.0;
                step(&mut self.memories, network, entity, row, is_new)
            });
            self.sequence.extend(steps);
        }
        let matrix = FeatureRows { schema: rows.schema, model: &rows.model, signals: &self.signals, sequence: &self.sequence };
        scorer.detect(matrix, &mut self.scores);
        scorer.combine(&mut self.scores);
        let mut comparison = self.shadow.comparison();
        for verdict in &engine.effects().verdicts {
            let surprise = self.scores.surprise(verdict.row as usize);
            comparison.add((verdict.surprise, verdict.severity.is_some()), (surprise, scorer.severity(surprise).is_some()));
        }
    }
}

/// The shadow's memory is its own and bounded: beyond that it begins anew, which only the comparison shows.
fn step(
    memories: &mut BTreeMap<EntityKey, Memory>,
    network: &Network,
    entity: EntityKey,
    row: &crate::core::features::row::ModelRow,
    is_new: bool,
) -> SequenceStep {
    if memories.len() >= SHADOW_ENTITIES_MAX && !memories.contains_key(&entity) {
        memories.pop_first();
    }
    let memory = memories.entry(entity).or_default();
    if is_new {
        *memory = Memory::default();
    }
    let before = *memory;
    SequenceStep { error: network.step(memory, row), before }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pipeline::PipelineFile;
    use crate::config::service::Verdicts;
    use crate::core::types::{EventTime, Offset, Partition};
    use crate::edge::Records;
    use crate::models::bundle::tests::{bundle, trainer};
    use crate::run::learning::Learning;
    use crate::run::outbox::Outbox;
    use crate::run::render::Origin;
    use crate::run::telemetry::Delta;
    use crate::run::worker::{Out, Worker};

    const EVENTS: u64 = 400;

    /// Scores the next events; returns the outputs.
    fn process(worker: &mut Worker) -> Vec<u8> {
        let (mut records, first) = (Records::default(), worker.engine().next(Partition(0)).unwrap_or_default().0);
        for number in first..first + EVENTS {
            let time = EventTime(1_772_438_400_000_000 + number as i64 * 1_000_000);
            let (source, port) = (number % 7, 1 + number * number % 4_000);
            let text =
                format!(r#"{{"timestamp":"{time}","source_ip":"10.0.0.{source}","dest_ip":"10.9.9.9","port":{port},"event_type":"flow"}}"#);
            records.push(Offset(number), Some(time), None, text.as_bytes());
        }
        let (mut outbox, mut delta) = (Outbox::default(), Delta::default());
        let mut out = Out { outbox: &mut outbox, listener: &mut crate::run::worker::Silent, delta: &mut delta };
        worker.process(Partition(0), &records, Offset(0), None, |_, _| Ok(()), &mut out).unwrap();
        outbox.iter().flat_map(|message| message.payload.to_vec()).collect()
    }

    #[test]
    fn a_shadow_is_compared_and_changes_no_output_and_offered_models_wait_to_be_taken() {
        let mut file = PipelineFile::plain();
        file.thresholds.low = 0.2;
        let pipeline = Arc::new(Pipeline::open(file, None).unwrap());
        let (champion, other) = (bundle(), trainer(5, 900).finish().unwrap());
        let start = || {
            let learning = Arc::new(Learning::new(&pipeline, Some(&champion), None).unwrap());
            let origin = Origin { pipeline: "plain".to_owned(), topic: "input".to_owned() };
            let mut worker = Worker::new(Arc::clone(&pipeline), Arc::clone(&learning), origin, Verdicts::Json, false, 1).unwrap();
            worker.engine().assign(Partition(0), Offset(0), &[]).unwrap();
            (learning, worker)
        };
        let (_, mut alone) = start();
        let expected = [process(&mut alone), process(&mut alone)];
        let (learning, mut worker) = start();
        let shadow_of = |bundle: &Bundle| Arc::new(Shadow::new(&pipeline, bundle).unwrap());
        let (same, differs) = (shadow_of(&champion), shadow_of(&other));
        learning.set_shadow(Some(Arc::clone(&same)));
        assert_eq!(process(&mut worker), expected[0]);
        let figures = same.figures();
        assert_eq!((figures.rows, figures.champion_only, figures.shadow_only), (EVENTS, 0, 0), "it is the same bundle");
        assert!(figures.both > 0 && figures.mean.abs() < 1e-9 && figures.p99.abs() < 1e-9, "{figures:?}");
        learning.set_shadow(Some(Arc::clone(&differs)));
        assert_eq!(process(&mut worker), expected[1]);
        assert_eq!((same.figures().rows, differs.figures().rows), (EVENTS, EVENTS));
        assert!(differs.figures().mean.abs() > 1e-3, "{:?}", differs.figures());

        learning.set_shadow(None);
        learning.offer_models(&pipeline, &other).unwrap();
        let versions = |worker: &Worker| {
            let forest = worker.states().scorer().detectors().first().map(|detector| detector.version().to_owned());
            forest.unwrap_or_default()
        };
        process(&mut worker);
        assert!(worker.wants_models() && versions(&worker) == champion.manifest.version, "nobody has said that it may");
        worker.take_models();
        process(&mut worker);
        assert!(!worker.wants_models() && versions(&worker) == other.manifest.version);
        assert_eq!(differs.figures().rows, EVENTS, "no shadow any more");
    }
}
