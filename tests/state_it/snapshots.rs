//! Scenario: a snapshot is made while a pipeline works, the store is lost, the snapshot comes back, and the log goes on.
//! Guarantees: verdicts as of a run that nobody disturbed, each once; a replay to a point in time gives the same bytes again; a
//! snapshot that is damaged, of something else or for a group that is at work changes nothing.

use std::path::Path;

use crate::kafka_log::Ends;
use crate::process::{Running, json, until};
use crate::site::{PARTITIONS, Site, event};
use crate::support;

const JSON: [&str; 2] = ["--verdicts", "json"];

#[test]
fn a_lost_store_comes_back_from_a_snapshot_and_nothing_shows_it() {
    let test = "a_lost_store_comes_back";
    let Some(site) = Site::open(test) else { return };
    let place = site.bench.text("snapshots");
    site.send(0);
    // Beside a running pipeline, whose values are then ahead of its checkpoint here and there.
    let mut running = Running::start(&mut site.command(&["--checkpoint-interval", "300ms", "--verdicts", "json"]));
    let (ends, topic) = (Ends::new(&site.services.brokers), format!("{}.verdicts", site.group));
    until("the first verdicts", || (ends.records(&topic, PARTITIONS) >= 1_500).then_some(()));
    until("a state of each partition", || (site.state(&["snapshot", "--to", &place]).code == Some(0)).then_some(()));
    assert!(site.codes().is_empty(), "a running pipeline is no finding");
    site.state(&["restore", "--from-snapshot", &place]).fails(2, &["active member", "Stop every"]);
    site.state(&["drop", "--yes"]).fails(2, &["active member"]);
    site.send(1);
    until("the verdicts of both pieces", || (ends.records(&topic, PARTITIONS) >= 3_000).then_some(()));
    running.kill();
    // The dead member's session has to end before anybody may set offsets.
    until("an empty group", || (site.inspect()["members"] == 0).then_some(()));

    site.redis.command(&["FLUSHALL"]).unwrap();
    assert_eq!(site.codes(), ["meta", "meta"]);
    site.state(&["restore", "--from-snapshot", &place]).ok();
    assert!(site.codes().is_empty());
    site.send(2);
    assert!(site.sum("replay") >= 1_500, "what the snapshot lacks is replayed");
    let (_, summary) = site.run(&JSON);
    assert_eq!(summary["received"], 1_500, "and not published");

    let Some(undisturbed) = site.beside(test, "undisturbed") else { return };
    undisturbed.run(&JSON);
    assert_eq!(site.verdicts(), undisturbed.verdicts(), "as if nothing had been");
    assert_eq!(site.sum("entities"), undisturbed.sum("entities"));
    let done = site.verify(&["--json"]).ok();
    let report = json(&done.out);
    assert_eq!((&report["covered"], &report["gaps"], &report["findings"]), (&4_500.into(), &0.into(), &serde_json::json!([])), "{report}");
}

#[test]
fn a_point_in_time_is_scored_again_with_the_same_bytes() {
    let Some(site) = Site::open("a_point_in_time") else { return };
    let place = site.bench.text("snapshots");
    site.send(0);
    site.run(&JSON);
    let one = json(&site.state(&["snapshot", "--to", &place, "--json"]).ok().out);
    site.send(1);
    site.run(&JSON);
    let before = site.verdicts();
    assert_eq!(before.len(), 3_000);
    let said = site.state(&["restore", "--from-snapshot", &place, "--to-offsets", "snapshot"]).ok().out;
    assert!(said.contains("published again, with the same ids"), "{said}");
    let as_of: u64 = one["parts"].as_array().unwrap().iter().map(|part| part["asOf"].as_u64().unwrap()).sum();
    assert_eq!((site.sum("committed"), as_of), (1_500, 1_500));
    let (_, summary) = site.run(&JSON);
    assert_eq!(summary["received"], 1_500);
    let mut after = site.verdicts();
    assert_eq!(after.len(), 4_500, "the second piece came again");
    after.dedup();
    assert_eq!(after, before, "and says the same");
    let found = site.verify(&["--json"]);
    assert_eq!((found.code, json(&found.out)["findings"][0]["code"].as_str()), (Some(1), Some("duplicates")));

    // From a time on: before everything, with the state of the snapshot there is none that fits; without, a new state begins.
    let early = ["--from", "2001-01-01T00:00:00Z"];
    let refused = crate::process::finish(&mut site.command(&[&early[..], &["--once", "--snapshot", &place]].concat()), b"");
    refused.fails(2, &["no snapshot from before 2001-01-01"]);
    let (done, summary) = site.run(&[&early[..], &JSON].concat());
    assert_eq!(summary["received"], 3_000);
    assert!(done.err.contains("goes from") && done.err.contains("new state"), "{}", done.err);
    assert!(site.codes().is_empty());
    let mut all = site.verdicts();
    assert_eq!(all.len(), 7_500);
    all.dedup();
    assert_eq!(all, before, "a new state from the beginning of the log is the same state");
    let (done, summary) = site.run(&["--from", "2090-01-01T00:00:00Z"]);
    assert_eq!(summary["received"], 0);
    assert!(done.err.contains("nothing is set back"), "{}", done.err);
    crate::process::finish(&mut site.command(&["--once", "--from", "yesterday"]), b"").fails(2, &["write it as 2026"]);
}

#[test]
fn a_time_between_with_the_state_of_then() {
    let Some(site) = Site::open("a_time_between") else { return };
    let place = site.bench.text("snapshots");
    site.send(0);
    site.run(&JSON);
    site.state(&["snapshot", "--to", &place]).ok();
    // The records' own times decide: the first one behind the snapshot that is later than the one before it.
    let time = |number: usize| format!("{}Z", &json(event(number))["timestamp"].as_str().unwrap()[..23]);
    let first = (1_500..3_000).find(|number| time(*number) > time(number - 1)).unwrap();
    let between = time(first);
    site.send(1);
    site.run(&JSON);
    // A later snapshot has seen what is to be scored again, and is passed over.
    site.state(&["snapshot", "--to", &place]).ok();
    let listed = json(&site.state(&["inspect", "--snapshot", &place, "--json"]).ok().out);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let before = site.verdicts();
    let (done, summary) = site.run(&[&["--from", &between, "--snapshot", &place], &JSON[..]].concat());
    let again = 3_000 - first;
    assert_eq!(summary["received"], again, "{}", done.err);
    assert!(done.err.contains(listed[0]["name"].as_str().unwrap()), "{}", done.err);
    let mut after = site.verdicts();
    assert_eq!(after.len(), 3_000 + again);
    after.dedup();
    assert_eq!(after, before);
    assert!(site.codes().is_empty());
}

#[test]
fn a_snapshot_that_does_not_fit_changes_nothing() {
    let Some(site) = Site::open("a_snapshot_that_does_not_fit") else { return };
    let place = site.bench.text("snapshots");
    site.send(0);
    site.state(&["restore", "--from-snapshot", &place]).fails(2, &["has no snapshot of network"]);
    site.run(&[]);
    let manifest = json(&site.state(&["snapshot", "--to", &place, "--json"]).ok().out);
    let folder = Path::new(&place).join(format!("network.{}", site.raw)).join(manifest["name"].as_str().unwrap());
    let before = site.inspect();
    let refused = |change: &dyn Fn(&Path), code: i32, said: &str| {
        let copy = site.bench.path("copy");
        std::fs::remove_dir_all(&copy).ok();
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        change(&copy);
        site.state(&["restore", "--from-snapshot", copy.to_str().unwrap()]).fails(code, &[said]);
        assert_eq!(site.inspect(), before, "{said}");
    };
    let edit = |copy: &Path, from: &str, to: &str| {
        let text = std::fs::read_to_string(copy.join("manifest.json")).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(copy.join("manifest.json"), text.replace(from, to)).unwrap();
    };
    refused(&|copy| std::fs::write(copy.join("partition-00001.tgs"), b"x").unwrap(), 3, "is damaged");
    refused(&|copy| std::fs::remove_file(copy.join("partition-00001.tgs")).unwrap(), 3, "cannot be read");
    refused(&|copy| edit(copy, "\"format\": 1", "\"format\": 9"), 2, "format 9, this version reads 1");
    refused(&|copy| edit(copy, "\"stateFormat\": 3", "\"stateFormat\": 4"), 2, "states have format 4");
    refused(&|copy| edit(copy, "\"stateFormat\": 3", "\"stateFormat\": 1"), 2, "nobody can carry over");
    refused(&|copy| edit(copy, "\"pipeline\": \"network\"", "\"pipeline\": \"other\""), 2, "of pipeline other");
    refused(&|copy| edit(copy, "\"partitions\": 2", "\"partitions\": 3"), 2, "had 3 partitions");
    refused(&|copy| edit(copy, "\"topicId\": \"", "\"topicId\": \"0"), 2, "deleted and made anew");
    refused(&|copy| edit(copy, "\"asOf\": ", "\"asOf\": 9"), 2, "past the group's");
    site.state(&["restore", "--from-snapshot", &place, "--name", "never"]).fails(2, &["none of the 1 snapshots"]);
    site.state(&["restore", "--from-snapshot", "ftp://host/x"]).fails(2, &["not to ftp://"]);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let Some(site) = Site::open("a_full_disk") else { return };
    let small = site.bench.path("small");
    std::fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"]).arg(&small).status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("a_full_disk: skipped, a small file system cannot be mounted here");
        return;
    }
    site.send(0);
    site.run(&[]);
    let done = site.state(&["snapshot", "--to", small.to_str().unwrap()]);
    let left: Vec<_> = std::fs::read_dir(small.join(format!("network.{}", site.raw))).into_iter().flatten().flatten().collect();
    let left: Vec<_> = left.iter().map(std::fs::DirEntry::file_name).collect();
    assert!(std::process::Command::new("umount").arg(&small).status().unwrap().success());
    done.fails(3, &["the disk is full"]);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_object_store_keeps_snapshots_too() {
    let test = "an_object_store_keeps_snapshots";
    let Some(site) = Site::open(test) else { return };
    let Some(environment) = crate::object_store::environment(test) else { return };
    let state = |words: &[&str]| {
        let mut command = crate::process::threatguard(&[&["state"], words].concat());
        command.args(["--brokers", &site.services.brokers, "--redis", &site.services.redis, "--group-id", &site.group]);
        crate::process::finish(command.arg("--pipeline").arg(&site.pipeline).envs(environment.clone()), b"")
    };
    site.send(0);
    site.run(&[]);
    let place = format!("s3://threatguard/{}", support::fresh("prefix"));
    state(&["snapshot", "--to", &place]).ok();
    let before = site.sum("entities");
    site.redis.command(&["FLUSHALL"]).unwrap();
    state(&["restore", "--from-snapshot", &place]).ok();
    assert!(site.codes().is_empty());
    assert_eq!(site.sum("entities"), before);
    state(&["snapshot", "--to", "s3://nowhere/x"]).fails(2, &["not in the object store"]);
}

#[test]
fn one_entity_is_shown_for_people_and_programs() {
    let Some(site) = Site::open("one_entity_is_shown") else { return };
    site.send(0);
    site.run(&[]);
    let name = json(event(0))["source_ip"].as_str().unwrap().to_owned();
    let shown = json(&site.state(&["inspect", "--entity", &name]).ok().out);
    assert_eq!(shown[0]["entity"], format!("ip:{name}"));
    assert!(shown[0]["state"]["events"].as_u64().unwrap() > 0 && shown[0]["state"]["nextOffset"].as_u64().unwrap() > 0, "{shown}");
    let nobody = site.state(&["inspect", "--entity", "user:\u{1b}[31mred"]);
    assert_eq!(nobody.code, Some(1));
    assert!(!nobody.out.contains('\u{1b}'), "{}", nobody.out);
}
