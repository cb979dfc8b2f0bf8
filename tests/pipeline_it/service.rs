//! Scenario: the service as its operators see it: it starts, becomes ready, is measured, and is told to go.
//! Guarantees: not ready names what is missing; the figures agree with each other and with the summary, nothing is unaccounted for;
//! SIGTERM ends it within ten seconds with everything settled.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use threatguard::edge::clock;

use crate::process::{Running, finish, json, summary, until};
use crate::support;
use crate::workbench::{Services, Workbench};

/// Status and body of a GET.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The sum of a metric over its labels.
fn metric(text: &str, name: &str) -> f64 {
    let of = |line: &str| {
        line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{'])).map(|rest| rest.rsplit(' ').next().unwrap().to_owned())
    };
    let values: Vec<String> = text.lines().filter_map(of).collect();
    assert!(!values.is_empty(), "{name} in {text}");
    values.iter().map(|value| value.parse::<f64>().unwrap()).sum()
}

/// A door in front of Redis: connections are taken at once, but nothing passes until it is opened.
struct Door {
    port: u16,
    open: Arc<AtomicBool>,
}

impl Door {
    fn closed(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, open) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let opened = Arc::clone(&open);
        // The thread ends with the test process; it holds nothing but sockets.
        std::thread::spawn(move || {
            for inside in listener.incoming().map_while(Result::ok) {
                let (to, opened) = (to.clone(), Arc::clone(&opened));
                std::thread::spawn(move || {
                    until("the door is opened", || opened.load(Ordering::Relaxed).then_some(()));
                    let outside = TcpStream::connect(to).unwrap();
                    let (mut from, mut into) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut from, &mut into).ok());
                    let (mut from, mut into) = (outside, inside);
                    std::io::copy(&mut from, &mut into).ok();
                });
            }
        });
        Self { port, open }
    }
}

#[test]
fn the_service_becomes_ready_counts_everything_and_stops_within_ten_seconds() {
    let Some(services) = Services::find("the_service_becomes_ready", 8) else { return };
    let bench = Workbench::new();
    let input = bench.simulated("events.jsonl", &["--only", "network"]);
    let models = bench.trained("models", "network", &input, "threatguard");
    let raw = support::fresh("service");
    let pipeline = bench.pipeline("network", &raw, &raw);
    services.replay(&pipeline, &input, "threatguard", &raw, 2);
    let total = crate::process::lines(std::path::Path::new(&input)).len() as u64;

    let (address, database) = services.redis.trim_start_matches("redis://").split_once('/').unwrap();
    let door = Door::closed(address.to_owned());
    let behind = Services { redis: format!("redis://127.0.0.1:{}/{database}", door.port), brokers: services.brokers.clone() };
    let file = bench.text("summary.json");
    // Long enough for what is in flight to be seen.
    let given = ["--models", &models, "--verdicts", "json", "--summary", &file, "--commit-interval", "2s"];
    let mut running = Running::start(behind.command(&pipeline, &raw, &given).env("THREATGUARD_KAFKA_PARTITIONS", "2"));
    let listening: SocketAddr = running.line_after("listening on http://").parse().unwrap();
    assert!(listening.ip().is_loopback() && listening.port() != 0);

    let (status, body) = get(listening, "/health");
    assert_eq!((status, &json(&body)["data"]["status"]), (200, &Value::from("healthy")), "alive before it is ready");
    let (status, body) = get(listening, "/health/ready");
    let answer = json(&body);
    assert_eq!((status, &answer["success"]), (503, &Value::from(false)), "{body}");
    for missing in ["kafka", "redis", "partitions"] {
        assert!(answer["error"].as_str().unwrap().contains(missing), "{body}");
        assert_eq!(answer["data"]["dependencies"][missing], "missing", "{body}");
    }

    door.open.store(true, Ordering::Relaxed);
    let ready = until("it is ready", || Some(get(listening, "/health/ready")).filter(|(status, _)| *status == 200)).1;
    assert_eq!(json(&ready)["data"]["ready"], true);
    let mut most = 0;
    let seen = until("everything is committed", || {
        let text = get(listening, "/metrics").1;
        assert_eq!(metric(&text, "threatguard_conservation") as i64, 0, "{text}");
        let (received, in_flight) =
            (metric(&text, "threatguard_events_received_total") as u64, metric(&text, "threatguard_events_in_flight") as u64);
        most = most.max(in_flight);
        assert!(in_flight <= received, "{text}");
        (received == total && in_flight == 0).then_some(text)
    });
    assert!(most > 0, "what waits for the commit is in flight");
    let count = |name: &str| metric(&seen, name) as u64;
    assert_eq!(count("threatguard_conservation"), 0, "{seen}");
    let (scored, late) = (count("threatguard_events_scored_total"), count("threatguard_events_late_total"));
    let dead = count("threatguard_events_dead_lettered_total");
    assert_eq!(scored + late + dead, total);

    let begun = clock::now();
    let code = running.terminate(Duration::from_secs(10));
    println!("SIGTERM to the end: {} ms", begun.elapsed().as_millis());
    assert_eq!(code, Some(0), "{:#?}", running.said);
    let ended = summary(std::path::Path::new(&file));
    for (name, metric) in
        [("received", total), ("scored", scored), ("late", late), ("deadLettered", dead), ("threats", count("threatguard_threats_total"))]
    {
        assert_eq!(ended[name], metric, "{name}: {ended}");
    }

    // Everything is committed: the next run of the same group has nothing to do.
    let again = bench.text("again.json");
    let given = ["--models", &models, "--once", "--summary", &again];
    finish(services.command(&pipeline, &raw, &given).env("THREATGUARD_KAFKA_PARTITIONS", "2"), b"").ok();
    assert_eq!(summary(std::path::Path::new(&again))["received"], 0);
}
