//! Properties of librdkafka that users may set by name, and those they may not.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use crate::error::{Error, Result};

/// Settings of ours or of the contract: another value would lose, repeat or reorder records, or show a secret.
pub const RESERVED: [&str; 20] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "sasl.password",
    "sasl.username",
    "ssl.key.password",
    "transaction.timeout.ms",
    "transactional.id",
];

pub(super) fn apply_overrides(config: &mut ClientConfig, overrides: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in overrides {
        if RESERVED.contains(&name.as_str()) {
            return Err(Error::config(format!(
                "kafka property {name:?} cannot be overridden: it has a setting of its own or delivery rests on it"
            )));
        }
        config.set(name, value);
    }
    Ok(())
}
