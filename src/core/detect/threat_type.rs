//! The vocabulary of threat types, as published in `type`. Names here are contract: rename none, add at the end.

pub const BRUTE_FORCE: &str = "brute_force";
pub const PASSWORD_SPRAYING: &str = "password_spraying";
pub const CREDENTIAL_COMPROMISE: &str = "credential_compromise";
pub const PORT_SCAN: &str = "port_scan";
pub const LATERAL_MOVEMENT: &str = "lateral_movement";
pub const BEACONING: &str = "beaconing";
pub const DATA_EXFILTRATION: &str = "data_exfiltration";
pub const DNS_TUNNELING: &str = "dns_tunneling";
pub const IMPOSSIBLE_TRAVEL: &str = "impossible_travel";
pub const UNUSUAL_TIME: &str = "unusual_time";
pub const UNUSUAL_VOLUME: &str = "unusual_volume";
pub const UNUSUAL_RESOURCES: &str = "unusual_resources";
pub const THREAT_INTEL_MATCH: &str = "threat_intel_match";
/// What the isolation forest finds: odd as a whole, without a name.
pub const ANOMALOUS_BEHAVIOR: &str = "anomalous_behavior";

/// All of them.
pub const ALL: [&str; 14] = [
    BRUTE_FORCE,
    PASSWORD_SPRAYING,
    CREDENTIAL_COMPROMISE,
    PORT_SCAN,
    LATERAL_MOVEMENT,
    BEACONING,
    DATA_EXFILTRATION,
    DNS_TUNNELING,
    IMPOSSIBLE_TRAVEL,
    UNUSUAL_TIME,
    UNUSUAL_VOLUME,
    UNUSUAL_RESOURCES,
    THREAT_INTEL_MATCH,
    ANOMALOUS_BEHAVIOR,
];
