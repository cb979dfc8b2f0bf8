//! The service as a client sees it, over plain sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Bounds, Readiness, Service, State};
use crate::run::telemetry::{Held, Metrics};

const ANY: &str = "127.0.0.1:0";
/// Far beyond what any answer takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(bounds: Bounds) -> (Service, Arc<Readiness>, Arc<Metrics>) {
    let (readiness, metrics) = (Arc::new(Readiness::new(&["kafka", "redis"])), Arc::new(Metrics::new()));
    let service = Service::start_bounded(ANY.parse().unwrap(), Arc::clone(&metrics), Arc::clone(&readiness), bounds).unwrap();
    (service, readiness, metrics)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the other side closes.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = vec![];
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(failure) if failure.kind() == ErrorKind::ConnectionReset => {}
        Err(failure) => panic!("the connection was not closed: {failure}"),
    }
    String::from_utf8(bytes).unwrap()
}

/// Status, head and body of one request.
fn ask(addr: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = connect(addr);
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nX-Correlation-Id: abc-1\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let answer = rest(stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|failure| panic!("{failure}: {body}"))
}

#[test]
fn health_has_its_envelope() {
    let (service, ..) = start(Bounds::default());
    let (status, head, body) = ask(service.addr(), "GET /health");
    let body = json(&body);
    assert_eq!((status, &body["success"], &body["data"]["status"]), (200, &true.into(), &"healthy".into()));
    assert_eq!((&body["data"]["service"], &body["data"]["version"]), (&"threatguard".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(body["data"]["uptime"].is_f64() && body["data"]["memory"]["residentBytes"].is_u64() && body["data"]["timestamp"].is_string());
    assert_eq!(body["correlationId"], "abc-1");
    assert!(head.to_lowercase().contains("x-correlation-id: abc-1"), "{head}");
    assert!(body["metadata"]["processingTime"].as_str().unwrap().ends_with("ms") && body["metadata"]["timestamp"].is_string());
    service.stop();
}

#[test]
fn ready_names_what_is_missing_until_nothing_is() {
    let (service, readiness, _) = start(Bounds::default());
    readiness.set("redis", State::Missing("connection refused".into()));
    let (status, _, body) = ask(service.addr(), "GET /health/ready");
    let body = json(&body);
    assert_eq!((status, &body["success"], &body["error"]), (503, &false.into(), &"not ready: kafka, redis".into()));
    assert_eq!(body["details"][0], serde_json::json!({ "path": "kafka", "message": "starting", "code": "missing" }));
    assert_eq!(body["details"][1]["message"], "connection refused");
    assert_eq!(body["data"], serde_json::json!({ "ready": false, "dependencies": { "kafka": "missing", "redis": "missing" } }));
    readiness.set("kafka", State::Ok);
    readiness.set("redis", State::Ok);
    let (status, _, body) = ask(service.addr(), "GET /health/ready");
    assert_eq!((status, &json(&body)["data"]["ready"]), (200, &true.into()));
    assert!(readiness.is_ready());
    service.stop();
}

#[test]
fn metrics_are_in_the_text_format() {
    let (service, _, metrics) = start(Bounds::default());
    metrics.set_held(0, Held { entities: 12, ..Held::default() });
    let (status, head, body) = ask(service.addr(), "GET /metrics");
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in body.lines() {
        let sample = line.rsplit_once(' ').is_some_and(|(name, value)| name.starts_with("threatguard_") && value.parse::<f64>().is_ok());
        assert!(sample || line.starts_with("# HELP threatguard_") || line.starts_with("# TYPE threatguard_"), "{line}");
    }
    assert!(body.contains("\nthreatguard_entities_resident 12\n"), "{body}");
    service.stop();
}

#[test]
fn what_is_not_there_is_said_in_the_envelope() {
    let (service, ..) = start(Bounds::default());
    for (request, expected) in [("GET /nothing", 404), ("POST /health", 405), ("GET /../etc/passwd", 404)] {
        let (status, _, body) = ask(service.addr(), request);
        assert_eq!((status, &json(&body)["success"]), (expected, &false.into()), "{request}");
    }
    service.stop();
}

#[test]
fn an_address_in_use_is_a_configuration_error() {
    let (service, readiness, metrics) = start(Bounds::default());
    let error = Service::start(service.addr(), metrics, readiness).unwrap_err();
    assert_eq!(error.kind, crate::error::Kind::Config);
    assert!(error.to_string().starts_with(&format!("cannot listen on {}", service.addr())), "{error}");
    service.stop();
}

/// Scenario: clients that send nothing, half a head, or a head that never ends.
/// Guarantees: each is cut off by the service, and others are answered meanwhile.
#[test]
fn slow_and_endless_clients_are_cut_off() {
    let (service, ..) = start(Bounds { head: Duration::from_millis(200), ..Bounds::default() });
    let silent = connect(service.addr());
    let mut slow = connect(service.addr());
    slow.write_all(b"GET /health HTTP/1.1\r\nHo").unwrap();
    let mut endless = connect(service.addr());
    endless.write_all(b"GET /health HTTP/1.1\r\n").unwrap();
    assert_eq!(ask(service.addr(), "GET /health").0, 200);
    let filler = format!("X-Filler: {}\r\n", "x".repeat(1000)).repeat(100);
    // The service may close before it has taken everything.
    endless.write_all(filler.as_bytes()).ok();
    for stream in [silent, slow, endless] {
        let answer = rest(stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    service.stop();
}

/// Scenario: more connections than are allowed, then one of the first leaves.
/// Guarantees: the one too many is closed unread, and there is room again afterwards.
#[test]
fn connections_are_capped() {
    let (service, ..) = start(Bounds { connections: 1, ..Bounds::default() });
    let mut first = connect(service.addr());
    first.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    first.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(rest(connect(service.addr())), "", "one too many");
    drop(first);
    let again = || {
        let mut stream = connect(service.addr());
        // Closed at once while the service has not seen the first one leave.
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok();
        rest(stream).starts_with("HTTP/1.1 200")
    };
    assert!((0..10_000).any(|_| again()), "there is room again");
    service.stop();
}

#[test]
fn a_stopped_service_closes_idle_connections() {
    let (service, ..) = start(Bounds::default());
    let mut idle = connect(service.addr());
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    let addr = service.addr();
    service.stop();
    rest(idle);
    assert!(TcpStream::connect(addr).is_err());
}
