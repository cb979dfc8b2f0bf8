//! What correlation reads of a threat. A record of the threats log that is no new threat is none.

use serde_json::Value;

use crate::core::event::{self, FieldId};
use crate::core::output::number::quantised;
use crate::core::output::{Envelope, EvidenceRecord, MitreRecord, Severity, ThreatRecord};
use crate::core::types::{EventTime, Position};

/// A detected threat with its place in the threats log.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreatSignal {
    pub position: Position,
    pub id: String,
    pub time: EventTime,
    /// When its event was over.
    pub ended: EventTime,
    pub entity: String,
    pub threat_type: String,
    pub severity: Severity,
    /// 0..100.
    pub score: f64,
    /// 0..10.
    pub risk: f64,
    pub confidence: f64,
    pub source: String,
    pub target: String,
    /// The account that the event names, empty where it names none.
    pub account: String,
    pub mitre: Vec<MitreRecord>,
    pub recommendations: Vec<String>,
    pub evidence: EvidenceRecord,
}

impl ThreatSignal {
    /// What anybody reads of the record in the log: its figures as they are written there.
    #[must_use]
    pub fn new(position: Position, record: ThreatRecord) -> Self {
        let field = |id: FieldId| record.metadata.get("event").map(|event| &event[FieldId::NAMES[id as usize]]);
        let account = field(FieldId::UserId).and_then(Value::as_str);
        // As it was before it was written: the same from memory and from the log.
        let lasted = field(FieldId::Duration).and_then(Value::as_f64).unwrap_or_default() as f32;
        Self {
            position,
            account: account.unwrap_or_default().to_owned(),
            id: record.id,
            time: record.timestamp,
            ended: event::ended(record.timestamp, lasted.max(0.0)),
            entity: record.entity,
            threat_type: record.threat_type,
            severity: record.severity,
            score: quantised(record.threat_score),
            risk: quantised(record.risk_score),
            confidence: quantised(record.confidence),
            source: record.source,
            target: record.target,
            mitre: record.mitre,
            recommendations: record.recommendations,
            evidence: record.evidence,
        }
    }

    /// Reads a record of the threats log; `None` for one that is well-formed but no new threat (a resolved one).
    ///
    /// # Errors
    /// What is wrong with the record, for its dead letter.
    pub fn parse(position: Position, payload: &[u8]) -> Result<Option<Self>, String> {
        match serde_json::from_slice(payload) {
            Ok(Envelope::ThreatDetected(record)) => Ok(Some(Self::new(position, record))),
            Ok(_) => Ok(None),
            Err(error) => Err(format!("not a threat record: {error}")),
        }
    }

    /// Threats of one entity with the same fingerprint show the same thing: type and target.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.threat_type.len() as u64).to_le_bytes());
        hasher.update(self.threat_type.as_bytes());
        hasher.update(self.target.as_bytes());
        u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("a digest has 32 bytes"))
    }
}
