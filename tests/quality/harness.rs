//! The whole pipeline over a stream of records: decode, score, learn, render, correlate, with each scored event to look at. Shared
//! by the quality tests and the detection bench. Must never know what a record is labelled, nor do by itself what the program does.

#![allow(dead_code, reason = "the tests and the bench each use a part of it")]

use std::sync::Arc;

use bumpalo::Bump;
use threatguard::config::pipeline::{PipelineFile, built_in};
use threatguard::core::correlate::{Correlated, CorrelationSettings, Correlator, ThreatSignal};
use threatguard::core::decode::Decoded;
use threatguard::core::engine::{Engine, PARTS};
use threatguard::core::ensemble::combine::p_value;
use threatguard::core::event::{Event, Record};
use threatguard::core::features::row::{ModelRow, SignalRow};
use threatguard::core::output::{AlertRecord, ThreatRecord};
use threatguard::core::settings::ExemptSettings;
use threatguard::core::types::{EventTime, Offset, Partition, Position};
use threatguard::models::bundle::Bundle;
use threatguard::models::sample::Fitted;
use threatguard::run::learning::{Learning, ScoredPart};
use threatguard::run::outbox::Outbox;
use threatguard::run::pipeline::Pipeline;
use threatguard::run::render::Origin;
use threatguard::simulate::known;

const PARTITION: Partition = Partition(0);
const TOPIC: &str = "quality";

/// A threat as it is published, with what tests and tables want to know beside.
#[derive(Clone, Debug)]
pub struct Found {
    pub lane: String,
    pub record: ThreatRecord,
    /// Combined, and what each detector weighs in it, nats.
    pub surprise: f32,
    pub parts: [f32; PARTS],
}

/// `pipelines/network.yaml`.
#[must_use]
pub fn network() -> PipelineFile {
    built_in("network").unwrap()
}

/// `pipelines/identity.yaml`.
#[must_use]
pub fn identity() -> PipelineFile {
    built_in("identity").unwrap()
}

/// What the simulated company's own security team would add to both.
#[must_use]
pub fn configured(mut file: PipelineFile) -> PipelineFile {
    for (address, reason) in known::ALLOWED_SCANNERS
        .map(|address| (address, "allowed scanner"))
        .into_iter()
        .chain(known::MANAGEMENT_HOSTS.map(|address| (address, "manages every host")))
    {
        file.exempt.push(ExemptSettings { entity: format!("ip:{address}"), detectors: vec![], reason: reason.to_owned() });
    }
    let asns = known::VPN_ASNS.iter().chain(known::RELAY_ASNS.iter()).chain(known::SATELLITE_ASNS.iter());
    file.detectors.behavior.travel_exempt_asns = asns.copied().collect();
    file
}

/// Correlation as in the pipeline files.
#[must_use]
pub fn correlation() -> CorrelationSettings {
    network().correlation
}

/// An event and what it was scored.
pub struct ScoredEvent<'e, 'b> {
    pub event: &'e Event<'b>,
    pub model: &'e ModelRow,
    pub signals: &'e SignalRow,
    /// Combined, nats.
    pub surprise: f32,
    /// Calibrated and raw, by detector.
    pub parts: [f32; PARTS],
    pub raw: [f32; PARTS],
}

/// One pipeline: engine, learning, and the threats of the latest batch.
pub struct Lane {
    pipeline: Pipeline,
    engine: Engine,
    learning: Learning,
    origin: Origin,
    outbox: Outbox,
    seen: u64,
    pub bundle: Option<Arc<Bundle>>,
    pub found: Vec<Found>,
}

impl Lane {
    /// Learns until it is told that it has learned enough.
    #[must_use]
    pub fn new(file: PipelineFile, codec: &str) -> Self {
        Self::that(file, codec, |pipeline| Learning::new(pipeline, None, None).unwrap())
    }

    /// One that learns in its own way.
    #[must_use]
    pub fn that(mut file: PipelineFile, codec: &str, learning: impl FnOnce(&Pipeline) -> Learning) -> Self {
        file.learning.events = u64::MAX;
        let pipeline = Pipeline::open(file, Some(codec)).unwrap();
        let learning = learning(&pipeline);
        let mut engine = pipeline.engine(learning.scorer(), false, 1).unwrap();
        engine.assign(PARTITION, Offset(0), &[]).unwrap();
        let origin = Origin { pipeline: pipeline.file.name.clone(), topic: TOPIC.to_owned() };
        Self { pipeline, engine, learning, origin, outbox: Outbox::default(), seen: 0, bundle: None, found: vec![] }
    }

    /// Takes a batch; `learn` says whether it may be learned from, and `scored` sees every scored event.
    pub fn process(&mut self, records: &[Record<'_>], arena: &Bump, learn: bool, mut scored: impl FnMut(&ScoredEvent<'_, '_>)) {
        let mut decoded = Decoded::default();
        self.pipeline.decode(records, arena, &mut decoded);
        let rejects: Vec<Offset> = decoded.rejects.iter().map(|reject| reject.at.offset).collect();
        let events = decoded.events.as_slice();
        self.engine.apply(PARTITION, events, &rejects);
        let (engine, verdicts) = (&self.engine, self.engine.effects().verdicts.as_slice());
        for verdict in verdicts {
            let (event, at) = (&events[verdict.event as usize], verdict.row as usize);
            let (rows, scores) = (engine.rows(), engine.scores());
            let (model, signals) = (&rows.model[at], &rows.signals[at]);
            scored(&ScoredEvent { event, model, signals, surprise: verdict.surprise, parts: scores.parts(at), raw: scores.raw(at) });
        }
        self.seen += verdicts.len() as u64;
        let mut rendered = vec![];
        self.outbox.clear();
        self.origin.threats(engine, events, verdicts, &mut self.outbox, |record| rendered.push(record.clone()));
        let threats = verdicts.iter().filter(|verdict| verdict.severity.is_some()).zip(rendered);
        let found = threats.map(|(verdict, record)| Found {
            lane: self.pipeline.file.name.clone(),
            record,
            surprise: verdict.surprise,
            parts: engine.scorer().weighted(engine.scores().parts(verdict.row as usize)),
        });
        self.found = found.collect();
        if learn {
            let reserved = self.learning.reserve(verdicts.len() as u64);
            self.learning.offer(&self.pipeline, reserved, ScoredPart { engine, events, verdicts }).unwrap();
        }
    }

    /// Scores with what was learned from now on. Without a word where there was nothing.
    pub fn finish_learning(&mut self) {
        self.bundle = self.learning.finish_early(&self.pipeline).unwrap();
        self.engine.set_scorer(self.learning.scorer());
    }

    /// The models that look at sequences, of what was collected for them.
    #[must_use]
    pub fn fitted(&self) -> Fitted {
        self.learning.take_sample().fit(2, self.pipeline.file.learning.seed, &mut |_, _, _| Ok(())).unwrap()
    }

    pub fn use_bundle(&mut self, bundle: &Bundle) {
        self.learning = Learning::new(&self.pipeline, Some(bundle), None).unwrap();
        self.engine.set_scorer(self.learning.scorer());
    }

    #[must_use]
    pub fn is_learning(&self) -> bool {
        self.learning.missing() > 0
    }
    /// Events scored so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }
    #[must_use]
    pub fn watermark(&self) -> Option<EventTime> {
        self.engine.watermark(PARTITION)
    }
}

/// Correlation over the threats of all lanes.
pub struct Alerts {
    correlator: Correlator,
    next: Offset,
}

impl Alerts {
    #[must_use]
    pub fn new(settings: CorrelationSettings) -> Self {
        Self { correlator: Correlator::new("correlation", "security.threats", settings), next: Offset(0) }
    }

    /// The alerts that these threats led to, each with the threat that tipped the scales.
    pub fn take<'f>(&mut self, found: &'f [Found], watermark: Option<EventTime>) -> Vec<(AlertRecord, &'f Found)> {
        let (mut alerts, mut out) = (vec![], vec![]);
        for threat in found {
            let position = Position { partition: PARTITION, offset: self.next };
            self.next = self.next.next();
            self.correlator.apply(&ThreatSignal::new(position, threat.record.clone()), &mut out);
            alerts.extend(out.drain(..).filter_map(|output| match output {
                Correlated::Alert(alert) => Some((alert, threat)),
                Correlated::Resolved(_) => None,
            }));
        }
        if let Some(watermark) = watermark {
            self.correlator.tick(watermark, &mut out);
        }
        alerts
    }
}

/// p-value of a threat.
#[must_use]
pub fn p_of(threat: &Found) -> f64 {
    p_value(threat.surprise)
}
