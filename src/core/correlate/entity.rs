//! One entity's risk and its open group of threats. All of it follows from the entity's own signals; time passes only by them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::settings::CorrelationSettings;
use super::signal::ThreatSignal;
use crate::core::output::number::quantised;
use crate::core::output::{EvidenceRecord, MitreRecord, Severity};
use crate::core::types::{EventTime, Offset, Partition, Position};
use crate::limits::{CORRELATED_IDS_MAX, CORRELATED_SHOWN_MAX, CORRELATED_THREATS_MAX, CORRELATED_TYPES_MAX};

/// Highest risk of an entity.
pub(super) const RISK_MAX: f64 = 10.0;
/// The tactic bonus stops growing after this many tactics.
const TACTICS_MAX: usize = 5;
/// From so many tactics on, a group is a chain of attack steps and one severity worse than its worst threat.
const CHAIN_TACTICS: usize = 3;

/// What is kept of a threat until it is resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stub {
    pub(super) id: String,
    pub(super) threat_type: String,
    pub(super) severity: Severity,
    pub(super) time: i64,
    pub(super) score: f64,
    pub(super) risk: f64,
    pub(super) confidence: f64,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) mitre: Vec<MitreRecord>,
    pub(super) evidence: EvidenceRecord,
}

impl Stub {
    pub(super) fn of(signal: &ThreatSignal) -> Self {
        Self {
            id: signal.id.clone(),
            threat_type: signal.threat_type.clone(),
            severity: signal.severity,
            time: signal.time.0,
            score: quantised(signal.score).clamp(0.0, 100.0),
            risk: usable_risk(signal),
            confidence: quantised(signal.confidence).clamp(0.0, 1.0),
            source: signal.source.clone(),
            target: signal.target.clone(),
            mitre: signal.mitre.iter().take(CORRELATED_SHOWN_MAX).cloned().collect(),
            evidence: signal.evidence.clone(),
        }
    }
}

/// Risk by threats of one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TypeRisk {
    pub(super) name: String,
    /// At the entity's `time`.
    points: f64,
    pub(super) count: u64,
}

/// A fingerprint that counted, and until when its like is suppressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Recent {
    fingerprint: u64,
    since: i64,
    risk: f64,
}

/// An entity with open threats, or with threats that were told as resolved while its source may yet bring one that belongs to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entity {
    /// Latest event time of its signals; `points` hold for it.
    pub(super) time: i64,
    pub(super) types: Vec<TypeRisk>,
    recent: Vec<Recent>,
    /// Digests of the latest threat ids.
    ids: VecDeque<u128>,
    tactics: Vec<String>,
    pub(super) mitre: Vec<MitreRecord>,
    pub(super) recommendations: Vec<String>,
    /// Accounts that its threats name: whose access was used from this host. Not the entity itself.
    #[serde(default)]
    pub(super) accounts: Vec<String>,
    pub(super) threats: Vec<Stub>,
    /// The source of its latest threat that was new.
    #[serde(default)]
    pub(super) source: String,
    /// Place of its first signal in the threats log (partition, offset): what its alert id comes from.
    first: (u32, u64),
    pub(super) first_seen: i64,
    pub(super) worst: Severity,
    pub(super) count: u64,
    pub(super) suppressed: u64,
    /// Published revisions of its alert, 0 before there is one, and the severity of the last.
    pub(super) revision: u32,
    pub(super) published: Severity,
    /// Its threats were told as resolved, and nothing new came since.
    #[serde(default)]
    pub(super) told: bool,
}

/// What a signal was to its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Another threat that shows nothing new.
    Suppressed,
    Counted,
}

impl Entity {
    pub(super) fn new(signal: &ThreatSignal) -> Self {
        Self {
            time: signal.time.0,
            types: Vec::new(),
            recent: Vec::new(),
            ids: VecDeque::new(),
            tactics: Vec::new(),
            mitre: Vec::new(),
            recommendations: Vec::new(),
            accounts: Vec::new(),
            threats: Vec::new(),
            source: String::new(),
            first: (signal.position.partition.0, signal.position.offset.0),
            first_seen: signal.time.0,
            worst: signal.severity,
            count: 0,
            suppressed: 0,
            revision: 0,
            published: Severity::Low,
            told: false,
        }
    }

    /// The next group of the same entity: begins anew, but does not take the same threat a second time.
    pub(super) fn after(before: Self, signal: &ThreatSignal) -> Self {
        Self { ids: before.ids, ..Self::new(signal) }
    }

    pub(super) fn first(&self) -> Position {
        Position { partition: Partition(self.first.0), offset: Offset(self.first.1) }
    }

    /// Whether it has taken that threat already.
    pub(super) fn knows(&self, signal: &ThreatSignal) -> bool {
        self.ids.contains(&id_digest(&signal.id))
    }

    /// Takes a threat that it does not know. What was told as resolved is open again.
    pub(super) fn take(&mut self, signal: &ThreatSignal, settings: &CorrelationSettings) -> Taken {
        if self.ids.len() == CORRELATED_IDS_MAX {
            self.ids.pop_front();
        }
        self.ids.push_back(id_digest(&signal.id));
        self.advance(signal.time, settings);
        self.told = false;
        self.count += 1;
        self.first_seen = self.first_seen.min(signal.time.0);
        self.worst = self.worst.max(signal.severity);
        self.keep(signal);
        self.name_account(signal);
        let added = self.added_risk(signal, settings);
        self.add_points(signal, added, settings);
        if added <= 0.0 {
            self.suppressed += 1;
            return Taken::Suppressed;
        }
        for mitre in &signal.mitre {
            remember(&mut self.mitre, mitre, CORRELATED_SHOWN_MAX);
            remember(&mut self.tactics, &mitre.tactic, TACTICS_MAX);
        }
        for recommendation in &signal.recommendations {
            remember(&mut self.recommendations, recommendation, CORRELATED_SHOWN_MAX);
        }
        Taken::Counted
    }

    /// Risk that the signal brings: all of it the first time, later only what it exceeds the like of it by.
    fn added_risk(&mut self, signal: &ThreatSignal, settings: &CorrelationSettings) -> f64 {
        let risk = usable_risk(signal);
        let fingerprint = signal.fingerprint();
        if let Some(recent) = self.recent.iter_mut().find(|recent| recent.fingerprint == fingerprint) {
            if (signal.time.0 - recent.since).abs() < settings.suppression.micros {
                let excess = (risk - recent.risk).max(0.0);
                recent.risk += excess;
                return excess;
            }
            (recent.since, recent.risk) = (signal.time.0, risk);
            return risk;
        }
        if self.recent.len() == CORRELATED_THREATS_MAX {
            let oldest = (0..self.recent.len()).min_by_key(|place| (self.recent[*place].since, self.recent[*place].fingerprint));
            self.recent.swap_remove(oldest.expect("the list is full, not empty"));
        }
        self.recent.push(Recent { fingerprint, since: signal.time.0, risk });
        risk
    }

    /// Every threat of a type adds less than the one before, so that noise of one kind cannot pile up.
    fn add_points(&mut self, signal: &ThreatSignal, added: f64, settings: &CorrelationSettings) {
        let place = self.types.iter().position(|known| known.name == signal.threat_type).unwrap_or_else(|| {
            if self.types.len() < CORRELATED_TYPES_MAX {
                self.types.push(TypeRisk { name: signal.threat_type.clone(), points: 0.0, count: 0 });
            }
            self.types.len() - 1
        });
        let risk = &mut self.types[place];
        risk.count += 1;
        // A signal from before the latest one brings what is left of it by now. What lasted until then is not over, but moves no time:
        // nobody may wear off the risk of what others see by a duration.
        let left = decay((self.time - signal.ended.0).max(0), settings);
        let room = (1.0 - risk.points / settings.type_risk_max.max(added * left)).max(0.0);
        risk.points += added * left * room;
        if added > 0.0 {
            // The type is never less risky than the worst single threat of it.
            risk.points = risk.points.max(usable_risk(signal) * left);
        }
    }

    /// Keeps the signal for `threat.resolved`; when full, in place of the least risky one.
    fn keep(&mut self, signal: &ThreatSignal) {
        let stub = Stub::of(signal);
        if self.threats.len() == CORRELATED_THREATS_MAX {
            let least = (0..self.threats.len()).rev().min_by(|a, b| self.threats[*a].risk.total_cmp(&self.threats[*b].risk));
            let least = least.expect("the list is full, not empty");
            if self.threats[least].risk >= stub.risk {
                return;
            }
            self.threats.remove(least);
        }
        self.threats.push(stub);
    }

    fn name_account(&mut self, signal: &ThreatSignal) {
        let is_itself = signal.entity.strip_prefix("user:").is_some_and(|name| name.eq_ignore_ascii_case(&signal.account));
        if !signal.account.is_empty() && !is_itself {
            remember(&mut self.accounts, &signal.account, CORRELATED_SHOWN_MAX);
        }
    }

    fn advance(&mut self, to: EventTime, settings: &CorrelationSettings) {
        if to.0 > self.time {
            let factor = decay(to.0 - self.time, settings);
            for risk in &mut self.types {
                risk.points *= factor;
            }
            self.time = to.0;
        }
    }

    /// Risk at the entity's `time`: points of all types with the tactic bonus, at most [`RISK_MAX`].
    fn risk_then(&self, settings: &CorrelationSettings) -> f64 {
        let sum: f64 = self.types.iter().map(|risk| risk.points).sum();
        (sum * (1.0 + settings.tactic_bonus * self.tactics.len().saturating_sub(1) as f64)).min(RISK_MAX)
    }

    /// 0..10 at `now`; for a time before its latest signal, the risk then.
    pub(super) fn risk(&self, now: EventTime, settings: &CorrelationSettings) -> f64 {
        self.risk_then(settings) * decay((now.0 - self.time).max(0), settings)
    }

    /// When the risk reaches `resolve_risk` if nothing more happens, to the microsecond.
    pub(super) fn resolves_at(&self, settings: &CorrelationSettings) -> EventTime {
        let above = libm::log2(self.risk_then(settings) / settings.resolve_risk);
        let micros = if above > 0.0 { libm::ceil(above * settings.half_life.micros as f64) } else { 0.0 };
        EventTime(self.time.saturating_add(micros as i64))
    }

    /// The worst threat's severity, one worse for a chain over several tactics.
    pub(super) fn severity(&self) -> Severity {
        match self.worst {
            severity if self.tactics.len() < CHAIN_TACTICS => severity,
            Severity::Low => Severity::Medium,
            Severity::Medium => Severity::High,
            Severity::High | Severity::Critical => Severity::Critical,
        }
    }
}

/// The signal's risk within `0 ..= RISK_MAX`; none where it is no number.
fn usable_risk(signal: &ThreatSignal) -> f64 {
    if signal.risk.is_nan() { 0.0 } else { signal.risk.clamp(0.0, RISK_MAX) }
}

/// `2^(-micros / half-life)`.
fn decay(micros: i64, settings: &CorrelationSettings) -> f64 {
    libm::exp2(-(micros as f64) / settings.half_life.micros as f64)
}

fn remember<T: PartialEq + Clone>(list: &mut Vec<T>, item: &T, max: usize) {
    if list.len() < max && !list.contains(item) {
        list.push(item.clone());
    }
}

fn id_digest(id: &str) -> u128 {
    let digest = blake3::hash(id.as_bytes());
    u128::from_le_bytes(digest.as_bytes()[..16].try_into().expect("a digest has 32 bytes"))
}
