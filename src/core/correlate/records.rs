//! Alerts and resolved threats as records. Says what is known of an entity; decides nothing.

use serde_json::{Value, json};

use super::Resolution;
use super::entity::{Entity, Stub};
use crate::core::output::{AlertRecord, AlertStatus, Metadata, ThreatRecord, ThreatStatus, time_text};
use crate::core::types::EventTime;
use crate::limits::CORRELATED_SHOWN_MAX;

/// Accounts that a description names; the metadata have all that are kept.
const ACCOUNTS_NAMED: usize = 3;

/// The entity's alert in its present revision.
pub(super) fn alert(id: &str, key: &str, entity: &Entity, risk: f64) -> AlertRecord {
    let types: Vec<String> = entity.types.iter().map(|risk| risk.name.clone()).collect();
    let mut threats: Vec<&Stub> = entity.threats.iter().collect();
    threats.sort_by_key(|stub| stub.time);
    let by_type: Metadata = entity.types.iter().map(|risk| (risk.name.clone(), json!(risk.count))).collect();
    let mut metadata = Metadata::from([("threatsByType".to_owned(), Value::Object(by_type.into_iter().collect()))]);
    if !entity.accounts.is_empty() {
        metadata.insert("accounts".to_owned(), json!(entity.accounts));
    }
    AlertRecord {
        id: id.to_owned(),
        revision: entity.revision,
        severity: entity.published,
        title: format!("{key}: {}", types.join(", ")),
        entity: key.to_owned(),
        risk_score: risk,
        threat_types: types,
        threats: threats.into_iter().map(|stub| stub.id.clone()).collect(),
        first_seen: EventTime(entity.first_seen),
        last_seen: EventTime(entity.time),
        count: entity.count,
        mitre: entity.mitre.clone(),
        description: describe(key, entity, risk),
        recommendations: entity.recommendations.iter().take(CORRELATED_SHOWN_MAX).cloned().collect(),
        status: if entity.revision == 1 { AlertStatus::Open } else { AlertStatus::Escalated },
        suppressed_count: entity.suppressed,
        metadata,
    }
}

fn describe(key: &str, entity: &Entity, risk: f64) -> String {
    let plural = |count: u64, noun: &str| if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") };
    let mut text = format!(
        "{} of {} for {key} from {} to {}; risk {} of 10",
        plural(entity.count, "threat"),
        plural(entity.types.len() as u64, "type"),
        time_text(EventTime(entity.first_seen)),
        time_text(EventTime(entity.time)),
        (risk * 10.0).round() / 10.0,
    );
    let (named, more) = entity.accounts.split_at(entity.accounts.len().min(ACCOUNTS_NAMED));
    if !named.is_empty() {
        text.push_str(&format!("; with the account of {}", named.join(", ")));
    }
    if !more.is_empty() {
        text.push_str(&format!(" and {} more", more.len()));
    }
    text
}

/// `threat.resolved` for one kept threat: what identifies it, and in `metadata` when, why and with what it was resolved.
pub(super) fn resolved(stub: &Stub, key: &str, entity: &Entity, at: EventTime, why: Resolution, alert: Option<&str>) -> ThreatRecord {
    let (reason, description) = match why {
        Resolution::Decayed => ("risk_decayed", format!("the risk of {key} has decayed")),
        Resolution::Evicted => ("evicted", format!("{key} was quiet for longest and made room for another entity")),
    };
    ThreatRecord {
        id: stub.id.clone(),
        threat_type: stub.threat_type.clone(),
        severity: stub.severity,
        threat_score: stub.score,
        risk_score: stub.risk,
        confidence: stub.confidence,
        status: ThreatStatus::Resolved,
        timestamp: EventTime(stub.time),
        source: stub.source.clone(),
        target: stub.target.clone(),
        entity: key.to_owned(),
        description,
        anomalies: vec![],
        contributions: vec![],
        detectors: vec![],
        mitre: stub.mitre.clone(),
        recommendations: vec![],
        evidence: stub.evidence.clone(),
        metadata: Metadata::from([
            ("resolvedAt".to_owned(), json!(time_text(at))),
            ("reason".to_owned(), json!(reason)),
            ("alert".to_owned(), json!(alert)),
            ("entityThreats".to_owned(), json!(entity.count)),
            ("entitySuppressed".to_owned(), json!(entity.suppressed)),
        ]),
    }
}
