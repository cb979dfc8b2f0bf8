//! From the service configuration and a pipeline file to the settings of the Kafka and Redis clients. Plain translation, no
//! connection.

use super::pipeline::PipelineFile;
use super::service::{ServiceSettings, Verdicts};
use crate::edge::kafka::{
    CleanupPolicy, ConsumerSettings, KafkaSettings, ProducerSettings, Protocol, Security, TimestampType, TopicNames, TopicSpec,
};
use crate::edge::redis::RedisSettings;
use crate::edge::secret::Secret;

/// The state store, if there is one.
#[must_use]
pub fn redis(service: &ServiceSettings) -> Option<RedisSettings> {
    let tls = &service.redis_tls;
    service.redis.as_ref().map(|url| RedisSettings {
        url: Secret::new(url.expose()),
        ca: tls.ca.clone(),
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        ..RedisSettings::default()
    })
}

/// Every topic that a pipeline touches, and what it should be.
#[must_use]
pub fn topics(service: &ServiceSettings, pipeline: &PipelineFile) -> Vec<TopicSpec> {
    let (source, routes) = (&pipeline.source, &pipeline.routes);
    let spec = |name: &String, timestamp: Option<TimestampType>, is_output: bool| TopicSpec {
        partitions: service.kafka.partitions,
        replication: service.kafka.replication,
        // Compaction would take events away that have the same key.
        cleanup: Some(CleanupPolicy::Delete),
        timestamp,
        is_output,
        ..TopicSpec::named(name)
    };
    // A producer's clock must not decide what is late. A re-keyed record keeps the time that the broker gave the first one.
    let mut specs = vec![spec(&source.topic, Some(TimestampType::LogAppendTime), false)];
    specs.extend(source.rekey.as_ref().map(|topic| spec(topic, Some(TimestampType::CreateTime), true)));
    let mut outputs = vec![&routes.threats, &routes.alerts, &routes.analytics, &routes.dead_letters];
    if service.verdicts != Verdicts::None {
        outputs.push(&routes.verdicts);
    }
    specs.extend(outputs.into_iter().map(|topic| spec(topic, None, true)));
    specs
}

/// What every client of this process shares.
#[must_use]
pub fn connection(service: &ServiceSettings) -> KafkaSettings {
    let (tls, sasl) = (&service.kafka.tls, &service.kafka.sasl);
    let protocol = match (tls.enabled, sasl.mechanism.is_some()) {
        (false, false) => Protocol::Plaintext,
        (true, false) => Protocol::Ssl,
        (false, true) => Protocol::SaslPlaintext,
        (true, true) => Protocol::SaslSsl,
    };
    KafkaSettings {
        brokers: service.brokers.0.join(","),
        security: Security {
            protocol,
            ca: tls.ca.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            key_password: tls.key_password.clone(),
            mechanism: sasl.mechanism.unwrap_or_default(),
            username: sasl.username.clone(),
            password: sasl.password.clone(),
        },
        librdkafka: service.kafka.overrides.clone(),
        ..KafkaSettings::default()
    }
}

/// The input of a pipeline: its re-keyed topic where it has one. The group carries the pipeline's name, because each pipeline
/// reads everything.
#[must_use]
pub fn consumer(service: &ServiceSettings, pipeline: &PipelineFile) -> ConsumerSettings {
    ConsumerSettings {
        topic: pipeline.source.rekey.as_ref().unwrap_or(&pipeline.source.topic).clone(),
        group: format!("{}.{}", service.group_id, pipeline.name),
        ..ConsumerSettings::default()
    }
}

/// The outputs of a pipeline.
#[must_use]
pub fn producer(service: &ServiceSettings, pipeline: &PipelineFile) -> ProducerSettings {
    let routes = &pipeline.routes;
    let default = TopicNames::default();
    ProducerSettings {
        topics: TopicNames {
            threats: routes.threats.clone(),
            alerts: routes.alerts.clone(),
            analytics: routes.analytics.clone(),
            dead_letters: routes.dead_letters.clone(),
            verdicts: routes.verdicts.clone(),
            rekeyed: pipeline.source.rekey.clone().unwrap_or(default.rekeyed),
        },
        linger_ms: (service.kafka.linger.micros / 1_000).unsigned_abs(),
        compression: service.kafka.compression,
        ..ProducerSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_clients() {
        let service: ServiceSettings = serde_norway::from_str(
            "brokers: [a:1, b:2]\ngroup_id: soc\nkafka: {linger: 2ms, partitions: 6, compression: zstd, tls: {enabled: true}, sasl: {mechanism: SCRAM-SHA-256, username: u, password: p}, overrides: {client.rack: x}}",
        )
        .unwrap();
        let pipeline: PipelineFile =
            serde_norway::from_str("name: n\nsource: {rekey: internal}\nroutes: {alerts: pager}\ntests: []").unwrap();
        let kafka = connection(&service);
        assert_eq!((kafka.brokers.as_str(), kafka.security.protocol), ("a:1,b:2", Protocol::SaslSsl));
        assert_eq!(kafka.security.password.as_ref().map(|secret| secret.expose()), Some("p"));
        assert_eq!(kafka.librdkafka["client.rack"], "x");
        let (consumer, producer) = (consumer(&service, &pipeline), producer(&service, &pipeline));
        assert_eq!((consumer.topic.as_str(), consumer.group.as_str()), ("internal", "soc.n"));
        assert_eq!((producer.linger_ms, producer.topics.alerts.as_str(), producer.topics.rekeyed.as_str()), (2, "pager", "internal"));
        let specs = topics(&service, &pipeline);
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["security.events.raw", "internal", "security.threats", "pager", "security.analytics", "security.dead-letters"]);
        assert_eq!((specs[0].partitions, specs[0].is_output, specs[1].is_output), (Some(6), false, true));
        assert!(redis(&service).is_none());
        assert_eq!(connection(&ServiceSettings::default()).security.protocol, Protocol::Plaintext);
    }
}
