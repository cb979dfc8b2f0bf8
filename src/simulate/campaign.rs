//! What is known about a campaign: the label, and its line in `labels.jsonl`. Plain data.

use serde::{Deserialize, Serialize};

use crate::core::types::{EventTime, days_from_civil};

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
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<EventTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_time(&text).ok_or_else(|| D::Error::custom("expected a time like 2026-01-02T03:04:05.000006Z"))
    }
}

/// The inverse of [`EventTime`]'s `Display`, for label files that we wrote; not a parser for foreign time stamps.
fn parse_time(text: &str) -> Option<EventTime> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00.000000Z";
    let fits = bytes.len() == shape.len()
        && bytes.iter().zip(shape).all(|(have, want)| if *want == b'0' { have.is_ascii_digit() } else { have == want });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| bytes[from..to].iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (month, day) = (number(5, 7), number(8, 10));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(number(0, 4), month as u32, day as u32);
    let seconds = days * 86_400 + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
    Some(EventTime(seconds * 1_000_000 + number(20, 26)))
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
    fn broken_times_are_refused() {
        for text in ["", "2026-03-03", "2026-13-03T00:00:12.345678Z", "2026-03-03T00:00:12.345678+", "x026-03-03T00:00:12.345678Z"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
