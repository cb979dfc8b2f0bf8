//! First contact with the brokers. A client that only waits for an answer hears silence, whether the address is wrong, a certificate is
//! not trusted or a password refused; this one listens meanwhile to what its connections say. Must never show a password.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use super::settings::KafkaSettings;
use super::{kind_of, log_line, refuse, unreachable};
use crate::edge::clock::{self, Deadline};
use crate::error::{Error, Kind, Result};

/// The first wait for an answer; each further one is twice as long, because the way may be slow.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LISTEN: Duration = Duration::from_millis(20);
/// How long other brokers have after one has refused us.
const GRACE: Duration = Duration::from_secs(1);

/// What a connection has said last, and since when it says what waiting does not mend.
#[derive(Default)]
struct Complaint {
    last: Option<(RDKafkaErrorCode, String)>,
    refused: Option<Instant>,
}

#[derive(Default)]
struct Listening(Mutex<Complaint>);

impl ClientContext for Listening {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // Follows what each of them has said.
            None | Some(RDKafkaErrorCode::AllBrokersDown) => {}
            Some(code) => {
                // What a broker does not like of our side of TLS comes as a broken connection.
                let code = if reason.contains("SSL alert number") { RDKafkaErrorCode::SSL } else { code };
                let mut complaint = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let is_refusal = kind_of(code) == Kind::Config;
                complaint.refused = if is_refusal { complaint.refused.or_else(|| Some(clock::now())) } else { None };
                complaint.last = Some((code, reason.to_owned()));
            }
        }
    }
}

impl ProducerContext for Listening {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

pub(super) struct Contact {
    client: BaseProducer<Listening>,
}

impl Contact {
    pub(super) fn open(kafka: &KafkaSettings) -> Result<Self> {
        let made = kafka.client()?.create_with_context(Listening::default());
        let client = made.map_err(|error| refuse(Kind::Config, "the Kafka client's settings are refused".to_owned(), &error))?;
        Ok(Self { client })
    }

    /// What the brokers say of a topic. `Config`: they refuse us, or we them. `Transient`: no answer in time.
    pub(super) fn metadata(&self, kafka: &KafkaSettings, topic: &str) -> Result<Metadata> {
        let deadline = Deadline::after(Duration::from_millis(kafka.connect_timeout_ms));
        let mut wait = FIRST_WAIT;
        loop {
            let asked = self.client.client().fetch_metadata(Some(topic), wait.min(deadline.left()));
            let error = match asked {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            self.client.poll(LISTEN);
            let complaint = self.client.context().0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_refused = complaint.refused.is_some_and(|since| clock::since(since) >= GRACE);
            if is_refused || deadline.passed() {
                return Err(explain(kafka, complaint.last.as_ref(), &error));
            }
            wait = if complaint.refused.is_some() { FIRST_WAIT } else { wait * 2 };
        }
    }
}

/// What to change, and the client's own words, which name brokers and mechanisms and no credentials.
fn explain(kafka: &KafkaSettings, complaint: Option<&(RDKafkaErrorCode, String)>, error: &KafkaError) -> Error {
    let (brokers, security) = (&kafka.brokers, &kafka.security);
    let within_ms = kafka.connect_timeout_ms;
    let Some((code, reason)) = complaint else { return unreachable(kafka, within_ms, error) };
    let reason = reason.trim();
    match code {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::UnsupportedSASLMechanism => {
            let (user, mechanism) = (security.username.as_deref().unwrap_or_default(), security.mechanism.as_str());
            Error::config(format!(
                "Kafka at {brokers} refuses user {user:?} by {mechanism}; check `username`, `password` and `mechanism` under kafka.sasl: \
                 {reason}"
            ))
        }
        RDKafkaErrorCode::SSL if reason.contains("certificate verify failed") => Error::config(format!(
            "the certificate of Kafka at {brokers} is not trusted; name the PEM file of the authority that signed it by kafka.tls.ca, and \
             the brokers as their certificates do: {reason}"
        )),
        RDKafkaErrorCode::SSL => Error::config(format!(
            "no TLS with Kafka at {brokers}; check that the port is that of a TLS listener, and what it asks of clients: \
             `certificate` and `key` under kafka.tls: {reason}"
        )),
        _ => Error::new(Kind::Transient, format!("{}: {reason}", unreachable(kafka, within_ms, error))),
    }
}
