//! What a pipeline may set. The same structs are read from pipeline files, so their fields' words are the documentation.
//!
//! Defaults are meant to do for any log; nothing here knows a particular data set.

use serde::{Deserialize, Serialize};

use super::features::row::Schema;

/// A span of event time, written `90s`, `5m`, `6h`, `30d` in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub micros: i64,
}

impl Span {
    #[must_use]
    pub const fn seconds(seconds: i64) -> Self {
        Self { micros: seconds * 1_000_000 }
    }
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.micros as f64 / 1e6
    }
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.get(digits.len()..).unwrap_or_default();
        let scale = match unit {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => {
                return Err(format!("'{text}' is not a time span: write a whole number and ms, s, m, h or d, such as 5m"));
            }
        };
        let count: i64 =
            digits.parse().map_err(|_| format!("'{text}' is not a time span: write a whole number and ms, s, m, h or d, such as 5m"))?;
        let micros = count.checked_mul(scale).filter(|micros| *micros >= 0 && *micros <= 3_660 * 86_400_000_000);
        micros.map(|micros| Self { micros }).ok_or_else(|| format!("'{text}' is out of range: 0 to 3660d"))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (scale, unit) in [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s")] {
            if self.micros >= scale && self.micros % scale == 0 {
                return write!(f, "{}{unit}", self.micros / scale);
            }
        }
        write!(f, "{}ms", self.micros / 1_000)
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "app")]
impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "A span of time: 90s, 5m, 6h, 30d." })
    }
}

/// Which part of an event names its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    Source,
    Destination,
    User,
    Device,
}

/// Event-time windows and lateness.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WindowSettings {
    /// An event that was over this much before the newest of its own entity began is counted as late and not scored.
    pub allowed_lateness: Span,
    /// Length of the tumbling windows of `analytics.update`.
    pub analytics: Span,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self { allowed_lateness: Span::seconds(600), analytics: Span::seconds(60) }
    }
}

/// How much state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StateSettings {
    /// Entities kept in memory over all partitions of this process. Beyond it those seen least leave first, so that a flood of
    /// spoofed sources displaces itself and not the established entities.
    pub max_entities: usize,
    /// A state that saw nothing for this long starts anew.
    pub expire_after: Span,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self { max_entities: 1_000_000, expire_after: Span::seconds(30 * 86_400) }
    }
}

/// Learning without a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LearningSettings {
    /// Without a model bundle the first so many events are taken as ordinary and learned from.
    pub events: u64,
    /// Seed of every random choice in training.
    pub seed: u64,
}

impl Default for LearningSettings {
    fn default() -> Self {
        Self { events: 50_000, seed: 1 }
    }
}

/// When traffic has moved away from what was learned. Bounds are conventions; a window has enough rows for chance to stay below them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DriftSettings {
    /// Rows that a window compares, at least 1,000; of the events, one in eight is compared. A longer window where a 256th part of what
    /// was learned from is longer. Whatever the bounds, a window must lie clearly further away than windows of what was learned from did.
    pub rows: u64,
    /// Population stability index of a feature or a detector's score.
    pub psi: f64,
    /// Kolmogorov-Smirnov statistic.
    pub ks: f64,
    /// Events at or below a p-value of 1 % or 0.1 %, as a multiple of how many there should be.
    pub calibration: f64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self { rows: 2_000, psi: 0.25, ks: 0.1, calibration: 3.0 }
    }
}

/// Learning again what ordinary scores are, while a pipeline runs. Needs a registry of models (`--models`), which each new version
/// is put into.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RecalibrationSettings {
    pub enabled: bool,
    /// Recent ordinary rows that are kept, 1,000 to 200,000. A quarter of them is needed to begin with.
    pub rows: u64,
    /// Event time that they span: one row is kept for each such part of it. Longer than a day, or the night is taken for a change.
    pub span: Span,
    /// Event time between two versions.
    pub interval: Span,
    /// Rows of a smaller p-value teach nothing.
    pub p_value_min: f64,
    /// Scores may move so far away from those that were trained, as a multiple, and an alarm is raised from `alarm` on.
    pub bound: f32,
    pub alarm: f32,
}

impl Default for RecalibrationSettings {
    fn default() -> Self {
        let (span, interval) = (Span::seconds(2 * 86_400), Span::seconds(6 * 3_600));
        Self { enabled: false, rows: 20_000, span, interval, p_value_min: 1e-3, bound: 1.5, alarm: 1.25 }
    }
}

/// The isolation forest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ForestSettings {
    pub enabled: bool,
    pub weight: f32,
    pub trees: usize,
    /// Rows each tree is grown from; at most 256.
    pub sample: usize,
}

impl Default for ForestSettings {
    fn default() -> Self {
        Self { enabled: true, weight: 0.6, trees: 100, sample: 256 }
    }
}

/// A detector that has nothing else to set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DetectorSettings {
    pub enabled: bool,
    pub weight: f32,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self { enabled: true, weight: 1.0 }
    }
}

/// Entity behaviour analytics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct BehaviorSettings {
    pub enabled: bool,
    pub weight: f32,
    /// Impossible travel starts at this speed.
    pub travel_kmh_max: f32,
    /// Autonomous systems whose location says nothing: VPN, private relay, satellite.
    pub travel_exempt_asns: Vec<u32>,
    /// Networks whose location says nothing, in CIDR notation.
    pub travel_exempt_networks: Vec<String>,
    /// Events an entity must have before its own habits count.
    pub history_events_min: u32,
}

impl Default for BehaviorSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            weight: 1.0,
            travel_kmh_max: 1000.0,
            travel_exempt_asns: vec![],
            travel_exempt_networks: vec![],
            history_events_min: 30,
        }
    }
}

/// One list of known bad addresses, networks, domains or hashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IntelListSettings {
    pub name: String,
    /// A file with one entry a line (also CSV, MISP warning lists); gzip is read.
    pub path: String,
    /// How much a hit of this list means, 0..1.
    #[serde(default = "full_confidence")]
    pub confidence: f32,
}

fn full_confidence() -> f32 {
    0.9
}

/// Threat-intelligence match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct IntelSettings {
    pub enabled: bool,
    pub lists: Vec<IntelListSettings>,
    /// Files of addresses, networks and domains that never match.
    pub allow: Vec<String>,
}

impl Default for IntelSettings {
    fn default() -> Self {
        Self { enabled: true, lists: vec![], allow: vec![] }
    }
}

/// The detectors, by the names they have in every output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DetectorsSettings {
    pub isolation_forest: ForestSettings,
    pub behavior: BehaviorSettings,
    pub beaconing: DetectorSettings,
    pub brute_force: DetectorSettings,
    pub fan_out: DetectorSettings,
    pub dns_tunnel: DetectorSettings,
    pub threat_intel: IntelSettings,
    /// There once `threatguard train` has fitted it.
    pub lstm_autoencoder: DetectorSettings,
    /// There once `threatguard train` was given labels.
    pub boosted_trees: DetectorSettings,
}

/// An entity for which some detectors are switched off, such as an allowed vulnerability scanner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExemptSettings {
    /// `ip:10.0.0.0/24`, `ip:10.0.0.5`, `user:backup` or `host:scanner-1`.
    pub entity: String,
    /// Detector names; all when empty.
    #[serde(default)]
    pub detectors: Vec<String>,
    /// Why, for whoever reads the file next.
    pub reason: String,
}

/// From which combined p-value an event is a threat of which severity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ThresholdSettings {
    pub low: f64,
    pub medium: f64,
    pub high: f64,
    pub critical: f64,
}

impl Default for ThresholdSettings {
    fn default() -> Self {
        Self { low: 1e-4, medium: 1e-5, high: 1e-7, critical: 1e-10 }
    }
}

/// Everything the core needs to know of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CoreSettings {
    pub features: Schema,
    /// The first of these that an event has names its entity.
    pub key: Vec<KeyPart>,
    pub windows: WindowSettings,
    pub state: StateSettings,
    pub learning: LearningSettings,
    pub detectors: DetectorsSettings,
    pub exempt: Vec<ExemptSettings>,
    pub thresholds: ThresholdSettings,
}

impl Default for CoreSettings {
    fn default() -> Self {
        Self {
            features: Schema::Network,
            key: vec![KeyPart::Source],
            windows: WindowSettings::default(),
            state: StateSettings::default(),
            learning: LearningSettings::default(),
            detectors: DetectorsSettings::default(),
            exempt: vec![],
            thresholds: ThresholdSettings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_trip_and_bad_ones_say_how_to_write_them() {
        for text in ["0ms", "250ms", "90s", "5m", "6h", "30d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["", "5", "m", "-1s", "1.5h", "5 m", "5y", "99999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
