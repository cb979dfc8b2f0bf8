//! Scenario: another group, offsets that another tool has set, a topic that was made anew.
//! Guarantees: the run is refused with the command that helps, and that command helps.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::process::finish;
use crate::site::{PARTITIONS, Site};

/// Sets a group's offsets as any tool can do it.
fn set(site: &Site, next: i64, note: &str) {
    let group = format!("{}.network", site.group);
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &site.services.brokers).set("group.id", &group).create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let mut element = list.add_partition(&site.raw, partition as i32);
        element.set_offset(Offset::Offset(next)).unwrap();
        element.set_metadata(note);
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

fn refused(site: &Site, said: &[&str]) {
    finish(&mut site.command(&["--once"]), b"").fails(2, said);
}

#[test]
fn another_group_is_refused_until_it_adopts_the_state() {
    let Some(mut site) = Site::open("another_group_is_refused") else { return };
    site.send(0);
    site.run(&[]);
    let entities = site.sum("entities");
    site.group = format!("{}.new", site.group);
    refused(&site, &["the group has no offset", "state drop"]);
    assert_eq!(site.codes(), ["committed", "committed"]);
    site.state(&["adopt"]).ok();
    assert!(site.codes().is_empty());
    // The correlation has a state and a group of its own.
    site.state(&["adopt", "--correlation"]).ok();
    site.send(1);
    let (_, summary) = site.run(&[]);
    assert_eq!(summary["received"], 1_500, "it goes on where the state ends");
    assert!(site.sum("entities") >= entities && site.codes().is_empty());
}

#[test]
fn offsets_of_another_tool_are_refused_until_the_state_fits() {
    let Some(site) = Site::open("offsets_of_another_tool") else { return };
    let place = site.bench.text("snapshots");
    site.send(0);
    site.run(&[]);
    site.state(&["snapshot", "--to", &place]).ok();
    set(&site, 3, "");
    refused(&site, &["set to 3 by something else", "state restore", "run --from"]);
    site.state(&["adopt"]).fails(2, &["past the group's 3"]);
    site.state(&["restore", "--from-snapshot", &place]).fails(2, &["past the group's 3", "--to-offsets snapshot"]);
    site.state(&["restore", "--from-snapshot", &place, "--to-offsets", "snapshot"]).ok();
    assert_eq!(site.run(&[]).1["received"], 0);

    set(&site, 3, "");
    assert_eq!(site.run(&["--from", "2001-01-01T00:00:00Z"]).1["received"], 1_500);
    assert!(site.codes().is_empty());
    set(&site, 3, "");
    site.state(&["drop"]).fails(2, &["--yes"]);
    site.state(&["drop", "--yes"]).ok();
    assert_eq!(site.run(&[]).1["received"].as_u64(), Some(1_500 - 2 * 3), "a new state where the offsets are");
}

#[test]
fn a_topic_made_anew_is_refused() {
    let Some(site) = Site::open("a_topic_made_anew") else { return };
    site.send(0);
    site.run(&[]);
    let shown = site.inspect();
    let id = shown["topicId"].as_str().unwrap_or_else(|| panic!("the broker tells no id: {shown}"));
    let generation = shown["partitions"][0]["generation"].as_u64().unwrap();
    let note = |topic: &str| format!("tg1 o=50 g={generation} b=0 n={PARTITIONS} x=1 t={topic}");
    assert_eq!(id.len(), 32);
    set(&site, 0, &note(&id.chars().rev().collect::<String>()));
    refused(&site, &["the topic was deleted and made anew", "run --from TIME"]);
    assert!(site.codes().contains(&"topic".to_owned()));
    assert_eq!(site.run(&["--from", "2001-01-01T00:00:00Z"]).1["received"], 1_500, "from its beginning");
    assert!(site.codes().is_empty());
}
