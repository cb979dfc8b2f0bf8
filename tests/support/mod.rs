//! Helpers of the tests that need real services. They start nothing that they do not end themselves.

pub mod redis_server;

use threatguard::edge::clock;
use threatguard::edge::kafka::KafkaSettings;
use threatguard::edge::secret::Secret;

/// The broker that `tests/run` has started, or none, said plainly.
pub fn kafka(test: &str) -> Option<KafkaSettings> {
    let brokers = from_environment(test, "THREATGUARD_TEST_KAFKA")?;
    Some(KafkaSettings { brokers, ..KafkaSettings::default() })
}

pub fn redis_url(test: &str) -> Option<Secret> {
    from_environment(test, "THREATGUARD_TEST_REDIS").map(Secret::new)
}

fn from_environment(test: &str, name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("{test}: skipped, {name} is not set; tests/run starts what is needed");
    }
    value
}

/// A name that no earlier run has used, so that services may outlive a run.
pub fn fresh(stem: &str) -> String {
    format!("{stem}-{}-{}", std::process::id(), clock::wall().0)
}
