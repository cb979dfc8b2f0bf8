//! What is known of each threat type: its title, MITRE ATT&CK techniques and what to do. Constants only.
//!
//! Technique ids, names and tactics as in ATT&CK Enterprise v18. A type that ATT&CK has no technique for has none.

use crate::core::detect::threat_type as t;

/// A MITRE ATT&CK technique, and the tactic it serves here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique {
    pub id: &'static str,
    pub name: &'static str,
    pub tactic: &'static str,
}

/// A threat type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// For the beginning of a sentence.
    pub title: &'static str,
    pub mitre: &'static [Technique],
    pub recommendations: &'static [&'static str],
}

const fn technique(id: &'static str, name: &'static str, tactic: &'static str) -> Technique {
    Technique { id, name, tactic }
}

const VALID_ACCOUNTS: Technique = technique("T1078", "Valid Accounts", "initial-access");

/// The entry of a type; that of `anomalous_behavior` for a name which is none.
#[must_use]
pub fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or(&KINDS[KINDS.len() - 1])
}

/// In the order of [`t::ALL`].
pub const KINDS: [Kind; 14] = [
    Kind {
        name: t::BRUTE_FORCE,
        title: "Password guessing",
        mitre: &[technique("T1110.001", "Password Guessing", "credential-access")],
        recommendations: &[
            "Check whether one of the attempts succeeded.",
            "Block the source at the edge, or limit its attempts.",
            "Require a second factor for the accounts that were tried.",
        ],
    },
    Kind {
        name: t::PASSWORD_SPRAYING,
        title: "Password spraying",
        mitre: &[technique("T1110.003", "Password Spraying", "credential-access")],
        recommendations: &[
            "List the accounts that were tried from this source and check each for a success.",
            "Block the source at the edge.",
            "Reset the passwords of accounts that it got into, and require a second factor.",
        ],
    },
    Kind {
        name: t::CREDENTIAL_COMPROMISE,
        title: "Account takeover",
        mitre: &[VALID_ACCOUNTS, technique("T1110", "Brute Force", "credential-access")],
        recommendations: &[
            "End the sessions of the account and reset its password.",
            "Ask the owner whether the log-in was theirs.",
            "Review what the account did since this log-in.",
        ],
    },
    Kind {
        name: t::PORT_SCAN,
        title: "Port scan",
        mitre: &[technique("T1046", "Network Service Discovery", "discovery")],
        recommendations: &[
            "Find out whether the source is an approved scanner; if so, exempt it in the pipeline.",
            "Check what answered the scan, and whether connections to it followed.",
            "Isolate the source if it is one of your own hosts.",
        ],
    },
    Kind {
        name: t::LATERAL_MOVEMENT,
        title: "Lateral movement",
        mitre: &[technique("T1021", "Remote Services", "lateral-movement")],
        recommendations: &[
            "Find out whether an administrator works from this host.",
            "Isolate the host and look for the account that it used.",
            "Check the reached hosts for new services, tasks and log-ins.",
        ],
    },
    Kind {
        name: t::BEACONING,
        title: "Beaconing",
        mitre: &[technique("T1071", "Application Layer Protocol", "command-and-control")],
        recommendations: &[
            "Look up the owner and the age of the destination.",
            "Find the process on the host that makes the connections.",
            "Block the destination if nobody can explain it, and search for other hosts that contact it.",
        ],
    },
    Kind {
        name: t::DATA_EXFILTRATION,
        title: "Data exfiltration",
        mitre: &[
            technique("T1048", "Exfiltration Over Alternative Protocol", "exfiltration"),
            technique("T1567", "Exfiltration Over Web Service", "exfiltration"),
        ],
        recommendations: &[
            "Find out what was sent and who owns the destination.",
            "Block further transfers to the destination.",
            "Keep the host and its logs as evidence before you clean it.",
        ],
    },
    Kind {
        name: t::DNS_TUNNELING,
        title: "DNS tunnelling",
        mitre: &[technique("T1071.004", "DNS", "command-and-control"), technique("T1572", "Protocol Tunneling", "command-and-control")],
        recommendations: &[
            "Look up the owner of the domain.",
            "Block the domain at your resolvers.",
            "Find the process on the host that asks for these names.",
        ],
    },
    Kind {
        name: t::IMPOSSIBLE_TRAVEL,
        title: "Impossible travel",
        mitre: &[VALID_ACCOUNTS],
        recommendations: &[
            "Ask the owner of the account which of the two log-ins was theirs.",
            "End the other session, reset the password and require a second factor.",
            "Exempt the network if it is a VPN or a relay.",
        ],
    },
    Kind {
        name: t::UNUSUAL_TIME,
        title: "Activity at an unusual time",
        mitre: &[VALID_ACCOUNTS],
        recommendations: &["Ask the owner whether they were at work.", "Compare what was done with what this entity usually does."],
    },
    Kind {
        name: t::UNUSUAL_VOLUME,
        title: "Unusual volume",
        mitre: &[technique("T1119", "Automated Collection", "collection")],
        recommendations: &[
            "Find out what was transferred and why.",
            "Check for a backup, an update or a new job before you treat it as an attack.",
        ],
    },
    Kind {
        name: t::UNUSUAL_RESOURCES,
        title: "Use of unusual resources",
        mitre: &[technique("T1213", "Data from Information Repositories", "collection")],
        recommendations: &[
            "Check whether the entity's task changed and needs these resources.",
            "Restrict its access to what it needs.",
            "Review what was read or copied.",
        ],
    },
    Kind {
        name: t::THREAT_INTEL_MATCH,
        title: "Known bad address, domain or file",
        mitre: &[technique("T1071", "Application Layer Protocol", "command-and-control")],
        recommendations: &[
            "Read what the list says about the entry, and how old it is.",
            "Block the entry at the edge.",
            "Search for other hosts that were in contact with it.",
        ],
    },
    Kind {
        name: t::ANOMALOUS_BEHAVIOR,
        title: "Anomalous behaviour",
        mitre: &[],
        recommendations: &[
            "Look at the contributions: they say what is unlike anything that was learned.",
            "Compare with the entity's other events around this time.",
        ],
    },
];
