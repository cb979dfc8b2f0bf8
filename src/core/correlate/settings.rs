//! What correlation may be set to. Numbers only; nothing here knows an entity.

use serde::{Deserialize, Serialize};

use crate::core::settings::Span;

/// Entity risk, suppression and alerts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CorrelationSettings {
    /// An entity's risk halves in this time.
    pub half_life: Span,
    /// A threat of the same type against the same target counts once within this time; at most the half-life.
    pub suppression: Span,
    /// An alert is created when the entity's risk (0..10) reaches this.
    pub alert_risk: f64,
    /// The entity's threats are resolved when its risk has decayed to this.
    pub resolve_risk: f64,
    /// Threats of one type add up to about this much risk, however many there are.
    pub type_risk_max: f64,
    /// Each further ATT&CK tactic multiplies the risk by 1 + this.
    pub tactic_bonus: f64,
    /// Entities with open threats kept at once; beyond it, the one quiet for longest is resolved early.
    pub max_entities: usize,
    /// Threats may arrive this much later than a tick says, and still find their entity as it was.
    pub allowed_lateness: Span,
}

impl Default for CorrelationSettings {
    fn default() -> Self {
        Self {
            half_life: Span::seconds(6 * 3_600),
            suppression: Span::seconds(3_600),
            alert_risk: 5.0,
            resolve_risk: 1.0,
            type_risk_max: 7.0,
            tactic_bonus: 0.25,
            max_entities: 50_000,
            allowed_lateness: Span::seconds(600),
        }
    }
}

impl CorrelationSettings {
    /// Everything that is wrong, each as the setting's name and what to change.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        check(self.half_life.micros > 0, "half_life must be above 0");
        // An entity that alerted takes longer than this to be resolved, so its evidence cannot alert again.
        check(self.suppression <= self.half_life, "suppression must not be longer than half_life");
        check(
            self.resolve_risk > 0.0 && self.resolve_risk * 2.0 <= self.alert_risk,
            "resolve_risk must be above 0 and at most half of alert_risk",
        );
        check(self.alert_risk > 0.0 && self.alert_risk <= 10.0, "alert_risk must be above 0 and at most 10");
        check(self.type_risk_max > 0.0 && self.type_risk_max <= 100.0, "type_risk_max must be above 0 and at most 100");
        check((0.0..=10.0).contains(&self.tactic_bonus), "tactic_bonus must be 0 to 10");
        check(self.max_entities > 0, "max_entities must be above 0");
        problems
    }
}
