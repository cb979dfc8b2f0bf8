//! The whole pure pipeline over a stream of records: decode, score, learn, correlate. Shared by the quality tests and the
//! detection bench. Must never know what a record is labelled.

#![allow(dead_code, reason = "the tests and the bench each use a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bumpalo::Bump;
use threatguard::codec::Codec;
use threatguard::core::correlate::{Correlated, CorrelationSettings, Correlator, ThreatSignal};
use threatguard::core::decode::{Decoded, decode_batch};
use threatguard::core::detect::{self, NAMES, THREAT_INTEL};
use threatguard::core::engine::{Engine, PARTS, Parts, Scorer, Verdict};
use threatguard::core::ensemble::combine::{Column, p_value};
use threatguard::core::ensemble::{Ensemble, SeverityThresholds};
use threatguard::core::event::{Event, Record};
use threatguard::core::features::row::{ModelRow, Schema, Signal, SignalRow};
use threatguard::core::intel::IntelBuilder;
use threatguard::core::output::{AlertRecord, EvidenceRecord, MitreRecord, Severity, output_id};
use threatguard::core::sanitize::{KeyChoice, Sanitizer};
use threatguard::core::settings::{CoreSettings, ExemptSettings, KeyPart};
use threatguard::core::types::{EventTime, Offset, Partition, Position};
use threatguard::core::verdict::{self, Scored};
use threatguard::models::bundle::Bundle;
use threatguard::models::forest_fit::ForestParams;
use threatguard::models::train::{TrainOptions, Trainer};
use threatguard::simulate::known;

const PARTITION: Partition = Partition(0);
const TOPIC: &str = "quality";

/// A threat as correlation sees it, with what tests and tables want to know beside.
#[derive(Clone, Debug)]
pub struct Found {
    pub lane: &'static str,
    pub time: EventTime,
    pub entity: String,
    pub kind: &'static str,
    pub severity: Severity,
    pub target: String,
    pub surprise: f32,
    pub raw: [f32; PARTS],
    pub parts: [f32; PARTS],
    pub description: String,
    pub signals: SignalRow,
}

/// Settings as in `pipelines/network.yaml`.
#[must_use]
pub fn network() -> CoreSettings {
    CoreSettings { features: Schema::Network, key: vec![KeyPart::Source, KeyPart::Device], ..CoreSettings::default() }
}

/// Settings as in `pipelines/identity.yaml`.
#[must_use]
pub fn identity() -> CoreSettings {
    let mut settings =
        CoreSettings { features: Schema::Identity, key: vec![KeyPart::User, KeyPart::Source, KeyPart::Device], ..CoreSettings::default() };
    settings.detectors.beaconing.enabled = false;
    settings.detectors.dns_tunnel.enabled = false;
    settings
}

/// What the simulated company's own security team would add to both.
pub fn configured(mut settings: CoreSettings) -> CoreSettings {
    for (address, reason) in known::ALLOWED_SCANNERS
        .map(|address| (address, "allowed scanner"))
        .into_iter()
        .chain(known::MANAGEMENT_HOSTS.map(|address| (address, "manages every host")))
    {
        settings.exempt.push(ExemptSettings { entity: format!("ip:{address}"), detectors: vec![], reason: reason.to_owned() });
    }
    let asns = known::VPN_ASNS.iter().chain(known::RELAY_ASNS.iter()).chain(known::SATELLITE_ASNS.iter());
    settings.detectors.behavior.travel_exempt_asns = asns.copied().collect();
    settings
}

/// Correlation as in the pipeline files.
#[must_use]
pub fn correlation() -> CorrelationSettings {
    CorrelationSettings { alert_risk: 4.0, ..CorrelationSettings::default() }
}

fn columns(settings: &CoreSettings) -> Vec<Column> {
    let all = &settings.detectors;
    let weights = [
        (all.isolation_forest.enabled, all.isolation_forest.weight),
        (all.behavior.enabled, all.behavior.weight),
        (all.beaconing.enabled, all.beaconing.weight),
        (all.brute_force.enabled, all.brute_force.weight),
        (all.fan_out.enabled, all.fan_out.weight),
        (all.dns_tunnel.enabled, all.dns_tunnel.weight),
        (true, 1.0),
    ];
    let column = |(index, (enabled, weight)): (usize, (bool, f32))| Column {
        name: NAMES[index].to_owned(),
        weight: if enabled { weight } else { 0.0 },
        evidence: index == THREAT_INTEL,
    };
    weights.into_iter().enumerate().map(column).collect()
}

fn scorer(settings: &CoreSettings, bundle: Option<&Bundle>) -> Scorer {
    let thresholds = SeverityThresholds::new(&settings.thresholds);
    let mut detectors = detect::rules(&settings.detectors);
    let columns = columns(settings);
    let Some(bundle) = bundle else {
        return Scorer::new(detectors, Ensemble::declared(&columns, &BTreeMap::new(), None), thresholds, true);
    };
    if let Some(forest) = bundle.detector() {
        detectors.insert(0, Box::new(forest));
    }
    Scorer::new(detectors, bundle.ensemble(&columns), thresholds, false).with_prevalence(bundle.prevalence.clone())
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
    pub name: &'static str,
    settings: CoreSettings,
    sanitizer: Sanitizer,
    pub engine: Engine,
    trainer: Option<Trainer>,
    pub bundle: Option<Bundle>,
    pub found: Vec<Found>,
}

impl Lane {
    #[must_use]
    pub fn new(name: &'static str, settings: CoreSettings) -> Self {
        let choice = |part: &KeyPart| match part {
            KeyPart::Source => KeyChoice::Source,
            KeyPart::Destination => KeyChoice::Dest,
            KeyPart::User => KeyChoice::User,
            KeyPart::Device => KeyChoice::Device,
        };
        let sanitizer = Sanitizer { key: settings.key.iter().map(choice).collect(), ..Sanitizer::default() };
        let parts =
            Parts { intel: Arc::new(IntelBuilder::new().build()), scorer: Arc::new(scorer(&settings, None)), stored: false, table_seed: 1 };
        let mut engine = Engine::new(&settings, parts).unwrap();
        engine.assign(PARTITION, Offset(0), &[]).unwrap();
        let mut options = TrainOptions::new(name, settings.features, columns(&settings), settings.learning.seed);
        options.detectors = settings.detectors.clone();
        let forest = settings.detectors.isolation_forest;
        options.forest = ForestParams { trees: forest.trees as u32, sample: forest.sample as u32 };
        Self { name, sanitizer, engine, trainer: Some(Trainer::new(options)), bundle: None, found: vec![], settings }
    }

    /// Takes a batch; `learn` says for each event whether it may be learned from, and `scored` sees every scored event.
    pub fn process(
        &mut self,
        codec: &dyn Codec,
        records: &[Record<'_>],
        arena: &Bump,
        learn: impl Fn(&Event<'_>) -> bool,
        mut scored: impl FnMut(&ScoredEvent<'_, '_>),
    ) {
        let mut decoded = Decoded::default();
        decode_batch(codec, &self.sanitizer, records, arena, &mut decoded);
        let rejects: Vec<Offset> = decoded.rejects.iter().map(|reject| reject.at.offset).collect();
        self.engine.apply(PARTITION, &decoded.events, &rejects);
        self.found.clear();
        for verdict in &self.engine.effects().verdicts {
            let (event, at) = (&decoded.events[verdict.event as usize], verdict.row as usize);
            let (rows, scores) = (self.engine.rows(), self.engine.scores());
            let (model, signals, raw) = (&rows.model[at], &rows.signals[at], scores.raw(at));
            if let Some(trainer) = self.trainer.as_mut().filter(|_| learn(event)) {
                if signals[Signal::Exempt as usize] == 0.0 {
                    trainer.push_event(event.time, model, &raw, signals, event.entity.key, rows.places[at]);
                } else {
                    trainer.skip();
                }
            }
            scored(&ScoredEvent { event, model, signals, surprise: verdict.surprise, parts: scores.parts(at), raw });
            if let Some(severity) = verdict.severity {
                self.found.push(found(self.name, &self.engine, event, verdict, severity));
            }
        }
    }

    /// Scores with what was learned from now on. Without a word where there was nothing.
    pub fn finish_learning(&mut self) {
        if let Some(trainer) = self.trainer.take().filter(|trainer| trainer.kept() > 0) {
            self.use_bundle(trainer.finish().unwrap());
        }
    }

    pub fn use_bundle(&mut self, bundle: Bundle) {
        self.trainer = None;
        self.engine.set_scorer(Arc::new(scorer(&self.settings, Some(&bundle))));
        self.bundle = Some(bundle);
    }

    #[must_use]
    pub fn is_learning(&self) -> bool {
        self.trainer.is_some()
    }
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.trainer.as_ref().map_or(0, Trainer::seen)
    }
    #[must_use]
    pub fn watermark(&self) -> Option<EventTime> {
        self.engine.watermark(PARTITION)
    }
}

fn found(lane: &'static str, engine: &Engine, event: &Event<'_>, verdict: &Verdict, severity: Severity) -> Found {
    let (scorer, row) = (engine.scorer(), verdict.row as usize);
    let scored = Scored {
        surprise: verdict.surprise,
        severity,
        parts: engine.scores().raw(row),
        parts_surprise: scorer.weighted(engine.scores().parts(row)),
        learning: scorer.is_learning(),
    };
    let rows = (&engine.rows().model[row], &engine.rows().signals[row]);
    let threat = verdict::threat(event, rows, &scored, scorer.detectors(), scorer.thresholds());
    Found {
        lane,
        time: event.time,
        entity: format!("{}:{}", event.entity.kind.as_str(), event.entity.name),
        kind: threat.kind.name,
        severity,
        target: threat.target,
        surprise: verdict.surprise,
        raw: scored.parts,
        parts: scored.parts_surprise,
        description: threat.description,
        signals: *rows.1,
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
            self.correlator.apply(&signal(threat, position), &mut out);
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

fn signal(threat: &Found, position: Position) -> ThreatSignal {
    let kind = verdict::kind(threat.kind);
    let mitre = |technique: &verdict::Technique| MitreRecord {
        technique: technique.id.to_owned(),
        name: technique.name.to_owned(),
        tactic: technique.tactic.to_owned(),
    };
    ThreatSignal {
        position,
        id: output_id(threat.lane, TOPIC, position, "threat"),
        time: threat.time,
        entity: threat.entity.clone(),
        threat_type: threat.kind.to_owned(),
        severity: threat.severity,
        score: f64::from(threatguard::core::ensemble::threat_score(threat.surprise)),
        risk: f64::from(threatguard::core::ensemble::risk_score(threat.surprise)),
        confidence: 0.5,
        source: threat.entity.clone(),
        target: threat.target.clone(),
        account: String::new(),
        mitre: kind.mitre.iter().map(mitre).collect(),
        recommendations: vec![],
        evidence: EvidenceRecord::new(TOPIC, position),
    }
}

/// p-value of a threat.
#[must_use]
pub fn p_of(threat: &Found) -> f64 {
    p_value(threat.surprise)
}
