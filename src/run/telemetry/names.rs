//! The metrics' names and what they say. Nothing else may be exposed, nor used by the dashboard or the alert rules.

/// A metric's name and what it says. All of them; the dashboard may use no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub &'static str, pub &'static str);

pub const RECEIVED: Name = Name("threatguard_events_received_total", "Records consumed, each once.");
pub const SCORED: Name = Name("threatguard_events_scored_total", "Events that got a verdict.");
pub const LATE: Name = Name("threatguard_events_late_total", "Events older than the allowed lateness of their entity.");
pub const DEAD_LETTERED: Name = Name("threatguard_events_dead_lettered_total", "Records that could not be used, by reason.");
pub const REPLAYED: Name = Name("threatguard_events_replayed_total", "Records delivered again whose results were durable already.");
pub const IN_FLIGHT: Name = Name("threatguard_events_in_flight", "Records received whose results are not committed yet.");
pub const CONSERVATION: Name =
    Name("threatguard_conservation", "received - scored - late - dead_lettered - in_flight: 0 unless something was lost.");
pub const THREATS: Name = Name("threatguard_threats_total", "Threats published, by severity.");
pub const ALERTS: Name = Name("threatguard_alerts_total", "Alerts published.");
pub const RESOLVED: Name = Name("threatguard_threats_resolved_total", "Threats resolved because the risk has decayed.");
pub const FIRED: Name = Name("threatguard_detector_fired_total", "Threats in which a detector had a part, by detector.");
pub const SURPRISE: Name =
    Name("threatguard_detector_surprise_nats_total", "Sum of the surprise a detector gave to all events, by detector.");
pub const STAGE_SECONDS: Name = Name("threatguard_stage_seconds_total", "Time spent, by stage.");
pub const LATENCY: Name = Name("threatguard_latency_seconds", "From consuming a record to publishing its verdict.");
pub const LAG: Name = Name("threatguard_lag_records", "Records of a partition that wait to be consumed, by partition.");
pub const CHECKPOINT_AGE: Name = Name("threatguard_checkpoint_age_seconds", "Age of the newest stored state, by partition.");
pub const ENTITIES: Name = Name("threatguard_entities_resident", "Entities whose state is in memory.");
pub const EVICTED: Name = Name("threatguard_entities_evicted_total", "Entities that left memory to make room.");
pub const LEARNING: Name = Name("threatguard_learning_progress", "Share of the learning that is done, 0 to 1.");
pub const PARTITIONS: Name = Name("threatguard_partitions_assigned", "Partitions that this process owns.");
pub const BUILD: Name = Name("threatguard_build_info", "1, with the version as a label.");
pub const MODEL_INFO: Name = Name("threatguard_model_info", "1, with the version of the models that score and their role as labels.");
pub const SHADOW_THREATS: Name =
    Name("threatguard_shadow_threats", "Threats that champion and shadow both found, or one of them alone, since the shadow is compared.");
pub const SHADOW_DIFFERENCE: Name =
    Name("threatguard_shadow_difference_nats", "The shadow's surprise less the champion's: mean and quantiles.");
pub const DRIFT: Name =
    Name("threatguard_drift", "How far a feature or a detector's score has moved from what was learned, by PSI and KS statistic.");
pub const CALIBRATION_RATIO: Name =
    Name("threatguard_calibration_ratio", "Share of events at or below a p-value, as a multiple of what it should be.");
pub const DRIFT_ALARMS: Name = Name("threatguard_drift_alarms_total", "Windows in which a bound of drift was passed, by statistic.");

pub const RECALIBRATION_FACTOR: Name =
    Name("threatguard_recalibration_factor", "Ordinary scores of a detector as a multiple of those that were trained.");
pub const RECALIBRATION_ALARM: Name =
    Name("threatguard_recalibration_alarm", "Detectors whose ordinary scores have moved past the alarm's bound.");
pub const RECALIBRATED: Name =
    Name("threatguard_recalibration_timestamp_seconds", "Event time up to which rows were in the last calibration that this process made.");

pub const NAMES: [Name; 30] = [
    RECEIVED,
    SCORED,
    LATE,
    DEAD_LETTERED,
    REPLAYED,
    IN_FLIGHT,
    CONSERVATION,
    THREATS,
    ALERTS,
    RESOLVED,
    FIRED,
    SURPRISE,
    STAGE_SECONDS,
    LATENCY,
    LAG,
    CHECKPOINT_AGE,
    ENTITIES,
    EVICTED,
    LEARNING,
    PARTITIONS,
    BUILD,
    MODEL_INFO,
    SHADOW_THREATS,
    SHADOW_DIFFERENCE,
    DRIFT,
    CALIBRATION_RATIO,
    DRIFT_ALARMS,
    RECALIBRATION_FACTOR,
    RECALIBRATION_ALARM,
    RECALIBRATED,
];
