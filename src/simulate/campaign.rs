//! What is known about a campaign: the label, and its line in `labels.jsonl`. Plain data.

use serde::{Deserialize, Serialize};

use crate::core::types::EventTime;

/// What an attacker does. [`CampaignKind::BackgroundScan`] is the internet's noise: a finding about it is neither true nor false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignKind {
    BruteForce,
    PasswordSpraying,
    PortScan,
    Beaconing,
    Exfiltration,
    LateralMovement,
    ImpossibleTravel,
    InsiderNight,
    DnsTunnel,
    BackgroundScan,
}

impl CampaignKind {
    pub const ATTACKS: [Self; 9] = [
        Self::BruteForce,
        Self::PasswordSpraying,
        Self::PortScan,
        Self::Beaconing,
        Self::Exfiltration,
        Self::LateralMovement,
        Self::ImpossibleTravel,
        Self::InsiderNight,
        Self::DnsTunnel,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BruteForce => "brute_force",
            Self::PasswordSpraying => "password_spraying",
            Self::PortScan => "port_scan",
            Self::Beaconing => "beaconing",
            Self::Exfiltration => "exfiltration",
            Self::LateralMovement => "lateral_movement",
            Self::ImpossibleTravel => "impossible_travel",
            Self::InsiderNight => "insider_night",
            Self::DnsTunnel => "dns_tunnel",
            Self::BackgroundScan => "background_scan",
        }
    }

    /// MITRE ATT&CK technique.
    #[must_use]
    pub fn technique(self, variant: Variant) -> &'static str {
        match (self, variant) {
            (Self::BruteForce, _) => "T1110.001",
            (Self::PasswordSpraying, _) => "T1110.003",
            (Self::PortScan | Self::BackgroundScan, _) => "T1046",
            (Self::Beaconing, _) => "T1071.001",
            (Self::Exfiltration, Variant::Loud) => "T1048",
            (Self::Exfiltration, Variant::Slow) => "T1041",
            (Self::LateralMovement, _) => "T1021",
            (Self::ImpossibleTravel, _) => "T1078",
            (Self::InsiderNight, Variant::Loud) => "T1530",
            (Self::InsiderNight, Variant::Slow) => "T1078",
            (Self::DnsTunnel, _) => "T1071.004",
        }
    }
}

/// How much noise a campaign makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    Loud,
    /// Slow and low.
    Slow,
}

impl Variant {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loud => "loud",
            Self::Slow => "slow",
        }
    }
}

/// Index into [`super::Simulator::campaigns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelId(pub u32);

/// A campaign's label. As JSON it is a line of `labels.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    pub id: LabelId,
    pub kind: CampaignKind,
    pub variant: Variant,
    /// Its first event is not before `start` and its last not after `end`.
    #[serde(with = "rfc3339")]
    pub start: EventTime,
    #[serde(with = "rfc3339")]
    pub end: EventTime,
    /// Who has to be found, as `kind:name`: `ip:10.1.2.3`, `user:alice`.
    pub entities: Vec<String>,
    pub description: String,
    /// MITRE ATT&CK technique.
    pub technique: String,
    /// Events written so far.
    pub events: u64,
    /// Everyone its events name, and when: a finding about a password sprayer's victims is true while they are its victims.
    pub touched: Vec<Touched>,
}

/// A span of time in which a campaign's events name an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Touched {
    pub entity: String,
    #[serde(with = "rfc3339")]
    pub first: EventTime,
    #[serde(with = "rfc3339")]
    pub last: EventTime,
    /// A stranger got into this account: what its owner does next seems strange, too.
    pub taken_over: bool,
}

/// Event times as the text that the pipeline writes.
mod rfc3339 {
    use super::EventTime;
    use crate::core::output::number::parse_time;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<EventTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_time(&text).ok_or_else(|| D::Error::custom("expected a time like 2026-01-02T03:04:05.000006Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_line_round_trips() {
        let time = EventTime(1_772_496_012_345_678);
        let campaign = Campaign {
            id: LabelId(3),
            kind: CampaignKind::DnsTunnel,
            variant: Variant::Slow,
            start: time,
            end: EventTime(time.0 + 1),
            entities: vec!["ip:10.0.0.1".into()],
            description: "text".into(),
            technique: "T1071.004".into(),
            events: 7,
            touched: vec![Touched { entity: "ip:10.0.0.1".into(), first: time, last: time, taken_over: false }],
        };
        let line = serde_json::to_string(&campaign).unwrap();
        assert!(line.contains(r#""kind":"dns_tunnel","variant":"slow","start":"2026-03-03T00:00:12.345678Z""#), "{line}");
        assert_eq!(serde_json::from_str::<Campaign>(&line).unwrap(), campaign);
    }

    #[test]
    fn a_broken_time_is_refused() {
        let line =
            r#"{"entity":"ip:10.0.0.1","first":"2026-13-03T00:00:12.345678Z","last":"2026-03-03T00:00:12.345678Z","taken_over":false}"#;
        let read = |line: &str| serde_json::from_str::<Touched>(line).is_ok();
        assert!(!read(line) && read(&line.replace("-13-", "-03-")));
    }
}
