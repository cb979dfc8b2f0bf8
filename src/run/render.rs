//! From what a batch led to, to the records that are published: the same bytes for files and for Kafka.

use crate::core::engine::{Engine, Verdict, VerdictRecords, traffic::Window};
use crate::core::event::{Event, Reject};
use crate::core::output::{
    AnalyticsCounts, AnalyticsKind, AnalyticsRecord, AnomalyRecord, ContributionRecord, DeadLetterRecord, DetectorRecord, Envelope,
    EvidenceRecord, MitreRecord, Severity, ThreatRecord, ThreatStatus, VerdictWriter, WindowRecord, output_id, write_record,
};
use crate::core::types::{EventTime, Partition, Position};
use crate::core::verdict::{self, DetectorPart, Scored, Share, Technique, Threat, ThreatAnomaly};
use crate::edge::TopicRole;
use crate::run::outbox::Outbox;

/// Names that outputs are derived from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub pipeline: String,
    /// The input topic, or the input's name for files.
    pub topic: String,
}

impl Origin {
    /// A dead letter for each reject; `sizes` gives the true size where a payload was cut.
    pub fn dead_letters(&self, rejects: &[Reject<'_>], times: impl Fn(&Reject<'_>) -> (Option<EventTime>, u64), outbox: &mut Outbox) {
        for reject in rejects {
            let (time, size) = times(reject);
            let evidence = EvidenceRecord::new(&self.topic, reject.at);
            let reason = reject.reason.as_str();
            let record = DeadLetterRecord::new(&self.pipeline, evidence, time, reason, &reject.detail, reject.raw, size);
            outbox.push(TopicRole::DeadLetters, record.id.as_bytes(), |out| write_record(out, &record));
        }
    }

    /// `threat.detected` for each verdict that is one, keyed by its entity.
    pub fn threats(
        &self,
        engine: &Engine,
        events: &[Event<'_>],
        verdicts: &[Verdict],
        outbox: &mut Outbox,
        mut each: impl FnMut(&ThreatRecord),
    ) {
        for verdict in verdicts {
            let Some(severity) = verdict.severity else { continue };
            let record = self.threat(engine, &events[verdict.event as usize], verdict, severity);
            each(&record);
            let key = record.entity.clone();
            outbox.push(TopicRole::Threats, key.as_bytes(), |out| Envelope::ThreatDetected(record).write_json(out));
        }
    }

    fn threat(&self, engine: &Engine, event: &Event<'_>, verdict: &Verdict, severity: Severity) -> ThreatRecord {
        let (scorer, row) = (engine.scorer(), verdict.row as usize);
        let scored = Scored {
            surprise: verdict.surprise,
            severity,
            parts: engine.scores().raw(row),
            parts_surprise: scorer.weighted(engine.scores().parts(row)),
            learning: scorer.is_learning(),
        };
        let view = engine.rows().view(row);
        let threat = verdict::threat(event, view, &scored, scorer.detectors(), scorer.thresholds());
        let id = output_id(&self.pipeline, &self.topic, event.at, "threat");
        self.record(threat, id)
    }

    fn record(&self, threat: Threat<'_>, id: String) -> ThreatRecord {
        ThreatRecord {
            id,
            threat_type: threat.kind.name.to_owned(),
            severity: threat.severity,
            threat_score: f64::from(threat.threat_score),
            risk_score: f64::from(threat.risk_score),
            confidence: f64::from(threat.confidence),
            status: ThreatStatus::Detected,
            timestamp: threat.time,
            source: threat.source,
            target: threat.target,
            entity: format!("{}:{}", threat.entity.kind.as_str(), threat.entity.name),
            description: threat.description,
            anomalies: threat.anomalies.into_iter().map(anomaly).collect(),
            contributions: threat.contributions.into_iter().map(contribution).collect(),
            detectors: threat.detectors.into_iter().map(detector).collect(),
            mitre: threat.kind.mitre.iter().map(technique).collect(),
            recommendations: threat.kind.recommendations.iter().map(|text| (*text).to_owned()).collect(),
            evidence: EvidenceRecord::new(&self.topic, threat.at),
            metadata: threat.metadata,
        }
    }

    /// One JSON verdict for each scored event, keyed by its entity, to the partition that the event came from: an entity's verdicts
    /// stay together and in order without a hash of every key.
    pub fn verdicts(&self, engine: &Engine, events: &[Event<'_>], verdicts: &[Verdict], outbox: &mut Outbox) {
        let mut writer = VerdictWriter::default();
        let records = VerdictRecords::of(engine);
        for verdict in verdicts {
            let event = &events[verdict.event as usize];
            let record = records.record(event, verdict);
            let write = |out: &mut Vec<u8>| writer.write(&record, out);
            outbox.push_at(TopicRole::Verdicts, event.at.partition, event.entity.name.as_bytes(), write);
        }
    }

    /// `analytics.update` for each closed window.
    pub fn windows(&self, partition: Partition, windows: &[Window], outbox: &mut Outbox) {
        for window in windows {
            let record = self.window(partition, window);
            let key = record.id.clone();
            outbox.push(TopicRole::Analytics, key.as_bytes(), |out| Envelope::AnalyticsUpdate(record).write_json(out));
        }
    }

    fn window(&self, partition: Partition, window: &Window) -> AnalyticsRecord {
        let owned =
            |counts: std::collections::BTreeMap<&str, u64>| counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let at = Position { partition, offset: window.last_offset };
        AnalyticsRecord {
            id: output_id(&self.pipeline, &self.topic, at, &format!("traffic:{}", window.start_micros)),
            kind: AnalyticsKind::Traffic,
            pipeline: self.pipeline.clone(),
            partition: partition.0,
            window: WindowRecord { start: EventTime(window.start_micros), end: EventTime(window.end_micros) },
            counts: AnalyticsCounts {
                events: window.events,
                late: window.late,
                dead_lettered: window.dead_lettered,
                failures: window.failures,
                bytes: window.bytes,
                distinct_entities: window.distinct_entities(),
                by_event_type: owned(window.by_event_type.sorted()),
                by_protocol: owned(window.by_protocol.sorted()),
                by_severity: std::collections::BTreeMap::new(),
            },
        }
    }
}

fn anomaly(anomaly: ThreatAnomaly) -> AnomalyRecord {
    let ThreatAnomaly { anomaly, severity } = anomaly;
    AnomalyRecord {
        name: anomaly.name.to_owned(),
        description: anomaly.description,
        observed: f64::from(anomaly.observed),
        expected: f64::from(anomaly.expected),
        severity,
    }
}

fn contribution(share: Share) -> ContributionRecord {
    ContributionRecord {
        feature: share.feature.to_owned(),
        observed: f64::from(share.observed),
        expected: f64::from(share.expected),
        share: f64::from(share.share),
    }
}

fn detector(part: DetectorPart) -> DetectorRecord {
    DetectorRecord { name: part.name.to_owned(), model_version: part.version, score: f64::from(part.score), p_value: part.p }
}

fn technique(technique: &Technique) -> MitreRecord {
    MitreRecord { technique: technique.id.to_owned(), name: technique.name.to_owned(), tactic: technique.tactic.to_owned() }
}
