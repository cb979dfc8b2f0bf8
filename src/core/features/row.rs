//! The feature matrix of a batch: one row an event, written in stage 4, read by every detector and by explanations.
//!
//! A row has two parts. The *model* part is the 16 features that learned models see: one AVX-512 register. The *signals* are
//! what the specialised detectors read and what explanations show as observed and expected. A row is everything a score may
//! depend on: detectors never see the state, so that scoring is a pure function of rows and replay can leave it out.

use crate::core::detect::lstm::State as Memory;

/// Width of the model part.
pub const MODEL_WIDTH: usize = 16;

/// Which 16 features a pipeline computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "app", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// Flows, keyed by source.
    #[default]
    Network,
    /// User activity, keyed by user.
    Identity,
}

impl Schema {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Identity => "identity",
        }
    }
    /// Names of the model features, in column order.
    #[must_use]
    pub fn model_names(self) -> &'static [&'static str; MODEL_WIDTH] {
        match self {
            Self::Network => &[
                "hour_of_day",
                "day_of_week",
                "time_since_last_event",
                "event_frequency_1h",
                "event_frequency_24h",
                "bytes",
                "bytes_deviation",
                "bytes_out_share",
                "packets",
                "duration",
                "distinct_destinations",
                "distinct_ports",
                "port_rarity",
                "protocol_rarity",
                "failure_ratio",
                "new_destination_ratio",
            ],
            Self::Identity => &[
                "hour_of_day",
                "day_of_week",
                "time_since_last_event",
                "event_frequency_1h",
                "event_frequency_24h",
                "hour_rarity",
                "bytes",
                "bytes_deviation",
                "volume_deviation",
                "failure_ratio",
                "distinct_resources",
                "new_resource_ratio",
                "new_device",
                "new_country",
                "travel_speed",
                "action_rarity",
            ],
        }
    }
}

/// Model features that move with the clock: what was learned from is hardly ever all of their values.
pub const CALENDAR: [&str; 2] = ["hour_of_day", "day_of_week"];

impl Schema {
    /// The columns of [`CALENDAR`], as a set of bits.
    #[must_use]
    pub fn calendar(self) -> u64 {
        let names = self.model_names().iter().enumerate();
        names.filter(|(_, name)| CALENDAR.contains(name)).fold(0, |bits, (column, _)| bits | 1 << column)
    }
}

/// A column of the signals. Counts are before this event unless said otherwise; logarithms are base 2; 0 where not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Signal {
    /// Events of this entity before this one.
    Events,
    /// Hours since the entity was first seen.
    AgeHours,
    /// Surprise of this hour of the week for this entity, nats; 0 until there is enough history.
    HourRarity,
    /// Events in the current clock hour, this one included; and the robust centre and spread of log2(hourly count + 1).
    HourEvents,
    HourEventsMedian,
    HourEventsSpread,
    /// log2(bytes + 1) of this event; and the robust centre and spread of it.
    Bytes,
    BytesMedian,
    BytesSpread,
    /// log2(bytes sent + 1) in the current clock hour, this event included; and the robust centre and spread of it.
    HourVolume,
    HourVolumeMedian,
    HourVolumeSpread,
    /// Bytes sent, decayed with a time constant of a day, to destinations outside, log2(sum + 1); and its own slow average.
    DayVolume,
    DayVolumeMean,
    /// Share of bytes sent of all bytes of this event, 0..1.
    OutShare,
    /// 1 when the destination is a public address.
    External,
    /// Failures, this one included, decayed with 5 min, 1 h and 24 h.
    Failures5m,
    Failures1h,
    Failures24h,
    /// Attempts that have an outcome, decayed with 1 h.
    Attempts1h,
    /// Long-run share of failures of this entity, 0..1.
    FailureShare,
    /// 1 for a success that follows recent failures; their decayed count is in `Failures5m`.
    SuccessAfterFailures,
    /// 1 when this event is an attempt to authenticate.
    Authentication,
    /// Distinct values in the sliding 5 min window, this event included, and the slow average of closed windows.
    Hosts,
    HostsMean,
    Ports,
    PortsMean,
    /// Distinct users that failed from this source in the sliding 1 h window, and the slow average.
    FailedUsers,
    FailedUsersMean,
    /// Distinct internal hosts touched on administration ports in the sliding 1 h window, and the slow average.
    AdminHosts,
    AdminHostsMean,
    /// Distinct resources in the sliding 1 h window, and the slow average.
    Resources,
    ResourcesMean,
    /// 1 when new for this entity (and the entity has enough history to say so).
    NewDestination,
    NewPort,
    NewResource,
    NewDevice,
    NewCountry,
    /// Periodicity of this event's destination: mean interval (s), mean absolute deviation as a share of it, intervals seen.
    Period,
    PeriodJitter,
    PeriodCount,
    /// Hours since the entity first talked to this destination without a long break.
    PeriodAgeHours,
    /// Great-circle speed (km/h) and distance (km) from the log-in before; 0 when exempt.
    TravelSpeed,
    TravelDistance,
    /// DNS: characters and entropy (bits a character) of the part below the registered domain; distinct such names under it in
    /// the sliding 1 h window; queries in it.
    DnsLength,
    DnsEntropy,
    DnsNames,
    /// How common this event's destination (or, for DNS, the registered domain) was found to be, 0..1: 0 where nobody else uses it or
    /// nothing was learned, else `1 - 1 / entities`.
    DestinationCommon,
    /// log2(bytes + 1) sent to this event's destination, decayed with a day.
    DestinationSent,
    /// Distinct users that failed from this source in the sliding 24 h window, and the slow average.
    FailedUsersDay,
    FailedUsersDayMean,
    /// Resources used for the first time, decayed with 1 h and with 24 h.
    NewResources1h,
    NewResources24h,
    /// Nats of unusual hours at which resources were used for the first time, summed and decayed with 24 h.
    OddResources24h,
    /// Internal hosts reached on administration ports for the first time, decayed with 24 h.
    NewAdminHosts24h,
    /// 1 when this event reaches an internal host on an administration port.
    AdminPort,
    /// 1 when the entity is a user.
    User,
    /// Index + 1 of the threat-intelligence list that matched, and its confidence 0..1.
    IntelList,
    IntelConfidence,
    /// Detectors that are switched off for this entity, as a bit set of detector indices (an allowed scanner).
    Exempt,
}

/// Number of signal columns; a multiple of 16 keeps rows on cache lines.
pub const SIGNAL_WIDTH: usize = 64;

const _: () = assert!((Signal::Exempt as usize) < SIGNAL_WIDTH);

pub type ModelRow = [f32; MODEL_WIDTH];
pub type SignalRow = [f32; SIGNAL_WIDTH];

/// The seconds since the entity's last event travel in the last signal column, which no detector reads.
pub const GAP: usize = SIGNAL_WIDTH - 1;

/// Where the parts of a state write what they knew of an event. They never read it back.
pub trait Signals {
    fn set(&mut self, which: Signal, value: impl FnOnce() -> f32);
    fn set_gap(&mut self, seconds: f32);
}

impl Signals for SignalRow {
    #[inline]
    fn set(&mut self, which: Signal, value: impl FnOnce() -> f32) {
        self[which as usize] = value();
    }
    #[inline]
    fn set_gap(&mut self, seconds: f32) {
        self[GAP] = seconds;
    }
}

/// Nobody looks: nothing is worked out that the state itself does not need.
pub struct Unseen;

impl Signals for Unseen {
    #[inline]
    fn set(&mut self, _: Signal, _: impl FnOnce() -> f32) {}
    #[inline]
    fn set_gap(&mut self, _: f32) {}
}

/// Rows of one batch, as detectors get them. Both slices have the same length.
#[derive(Clone, Copy, Debug)]
pub struct FeatureRows<'a> {
    pub schema: Schema,
    pub model: &'a [ModelRow],
    pub signals: &'a [SignalRow],
    /// One for each row where a network looks at sequences, else none.
    pub sequence: &'a [SequenceStep],
}

/// What a network made of a row after those of its entity before it. It is computed with the state, because it depends on order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequenceStep {
    /// About 1 for ordinary rows.
    pub error: f32,
    /// What the network remembered before the row: an explanation goes over the step again.
    pub before: Memory,
}

/// One row, as it is explained.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    pub model: &'a ModelRow,
    pub signals: &'a SignalRow,
    pub sequence: Option<&'a SequenceStep>,
}

impl FeatureRows<'_> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.model.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.model.is_empty()
    }
}

/// Reads a signal by name; for detectors and explanations.
#[must_use]
#[inline]
pub fn signal(row: &SignalRow, which: Signal) -> f32 {
    row[which as usize]
}
