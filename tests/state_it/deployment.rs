//! Scenario: a deployment that loses verdicts, or holds a transaction open.
//! Guarantees: `threatguard verify` names it with exit code 1; a sound one gives 0, an absent broker 3.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

use crate::process::{Done, json};
use crate::site::Site;

fn codes(done: &Done) -> Vec<String> {
    let findings = json(&done.out)["findings"].clone();
    findings.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn gaps_and_hanging_transactions_are_found() {
    let Some(site) = Site::open("gaps_and_hanging_transactions") else { return };
    let quick = ["--json", "--patience", "1"];
    site.send(0);
    site.run(&["--verdicts", "json"]);
    let sound = site.verify(&quick);
    assert_eq!((sound.code, codes(&sound)), (Some(0), vec![]), "{}", sound.out);
    // The verdicts of this piece are not published.
    site.send(1);
    site.run(&["--verdicts", "none"]);
    site.send(2);
    site.run(&["--verdicts", "json"]);
    let found = site.verify(&quick);
    assert_eq!((found.code, codes(&found)), (Some(1), vec!["gaps".to_owned()]), "{}", found.out);

    let hanging: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &site.services.brokers)
        .set("transactional.id", &site.raw)
        .set("transaction.timeout.ms", "60000")
        .create()
        .unwrap();
    hanging.init_transactions(Duration::from_secs(30)).unwrap();
    hanging.begin_transaction().unwrap();
    let topic = format!("{}.threats", site.group);
    hanging.send(BaseRecord::<(), [u8]>::to(&topic).payload(b"{}")).map_err(|(error, _)| error).unwrap();
    hanging.flush(Duration::from_secs(30)).unwrap();
    let found = site.verify(&quick);
    assert_eq!((found.code, codes(&found)), (Some(1), vec!["gaps".to_owned(), "transaction".to_owned()]), "{}", found.out);
    hanging.abort_transaction(Duration::from_secs(30)).unwrap();
    assert_eq!(codes(&site.verify(&quick)), ["gaps"]);

    // A threat is explained from its topic, too.
    let plain: BaseProducer = ClientConfig::new().set("bootstrap.servers", &site.services.brokers).create().unwrap();
    let threat =
        br#"{"type":"threat.detected","data":{"id":"feed5eed00000000","severity":"low","type":"beaconing","entity":"ip:10.0.0.7"}}"#;
    plain.send(BaseRecord::<(), [u8]>::to(&topic).payload(threat)).map_err(|(error, _)| error).unwrap();
    plain.flush(Duration::from_secs(30)).unwrap();
    let explain = |id: &str| crate::process::run(&["explain", id, "--brokers", &site.services.brokers, "--topic", &topic]);
    assert!(explain("feed5").ok().out.contains("ip:10.0.0.7"));
    let unknown = explain("feed6");
    assert!(unknown.code == Some(1) && unknown.out.contains("feed5eed00000000"), "{}", unknown.out);
}

/// A record that nobody can read: it has a dead letter and no verdict.
fn send_broken(site: &Site) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &site.services.brokers).create().unwrap();
    producer.send(BaseRecord::<(), [u8]>::to(&site.raw).partition(0).payload(b"{\"broken")).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}

#[test]
fn packed_verdicts_tell_as_much_and_none_tells_what_it_can() {
    let Some(site) = Site::open("packed_verdicts") else { return };
    let quick = ["--json", "--patience", "1"];
    site.send(0);
    send_broken(&site);
    // Without verdicts, the rest is checked, and what is not is said.
    site.run(&["--verdicts", "none"]);
    let plain = site.verify(&quick);
    let report = json(&plain.out);
    assert_eq!((plain.code, codes(&plain)), (Some(0), vec![]), "{}", plain.out);
    assert!(report["positions"] == 1 && report["verdicts"] == 0, "the dead letter's position: {report}");
    assert!(report["notes"].to_string().contains("no verdicts are published"), "{report}");
    assert!(!report["notes"].to_string().contains("unreadable"), "{report}");
    site.run(&["--verdicts", "arrow", "--from", "2001-01-01T00:00:00Z"]);
    let sound = site.verify(&quick);
    let report = json(&sound.out);
    let counted = (&report["verdicts"], &report["covered"], &report["gaps"]);
    assert_eq!(counted, (&1_500.into(), &1_501.into(), &0.into()), "{report}");
    // The dead letter came again on purpose; no verdict did.
    assert_eq!(report["outputs"].as_array().unwrap().iter().find(|one| one["role"] == "verdicts").unwrap()["duplicates"], 0, "{report}");
    site.send(1);
    site.run(&["--verdicts", "none"]);
    site.send(2);
    site.run(&["--verdicts", "arrow"]);
    let found = site.verify(&quick);
    assert!(found.code == Some(1) && codes(&found).contains(&"gaps".to_owned()), "{}", found.out);
    assert!(json(&found.out)["gaps"].as_u64().unwrap() >= 1_400, "{}", found.out);
}

#[test]
fn outputs_ahead_of_the_committed_offsets_are_found() {
    let Some(site) = Site::open("outputs_ahead") else { return };
    let place = site.bench.text("snapshots");
    site.send(0);
    site.run(&[]);
    site.state(&["snapshot", "--to", &place]).ok();
    send_broken(&site);
    site.run(&[]);
    assert_eq!(codes(&site.verify(&["--json"])), Vec::<String>::new());
    site.state(&["restore", "--from-snapshot", &place, "--to-offsets", "snapshot"]).ok();
    let found = site.verify(&["--json"]);
    assert_eq!((found.code, codes(&found)), (Some(1), vec!["ahead".to_owned()]), "{}", found.out);
}

#[test]
fn an_absent_broker_is_no_finding() {
    let pipeline = crate::workbench::shipped("network");
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let done = crate::process::run(&["verify", "--pipeline", pipeline.to_str().unwrap(), "--brokers", &address]);
    done.fails(3, &[&address]);
}
