//! Scenario: somebody changes the store behind the pipeline's back, or another version has written it.
//! Guarantees: `state verify` names it and exits with 1; a run that meets it stops with what to do.

use crate::process::finish;
use crate::site::Site;

#[test]
fn each_kind_of_damage_is_found_and_mended_by_a_restore() {
    let Some(site) = Site::open("each_kind_of_damage") else { return };
    let place = site.bench.text("snapshots");
    site.send(0);
    site.run(&[]);
    site.state(&["snapshot", "--to", &place]).ok();
    let key = site.entity_keys().remove(0);
    let meta = format!("{}:meta", key.split(":e:").next().unwrap());
    let other = format!("{}:e:{:032x}", key.split(":e:").next().unwrap(), 0xabc);
    let check = |command: &[&str], said: &[&str]| {
        site.redis.command(command).unwrap();
        let codes = site.codes();
        assert_eq!(codes, said, "{command:?}");
        site.state(&["restore", "--from-snapshot", &place]).ok();
        assert!(site.codes().is_empty(), "{command:?}");
    };
    check(&["DEL", &key], &["count"]);
    check(&["COPY", &key, &other], &["count"]);
    check(&["SET", &key, "\u{2}damaged"], &["value"]);
    check(&["DEL", &meta], &["meta"]);
    check(&["HSET", &meta, "gen", "7"], &["generation"]);
    check(&["HSET", &meta, "own", "999999"], &["owner"]);
    check(&["HSET", &meta, "R", "99999999"], &["checkpoint"]);
    check(&["HSET", &meta, "R", "x"], &["meta"]);
    // What belongs to no partition is no part of a restore.
    site.redis.command(&["COPY", &key, &other.replace(".0}", ".77}").replace(".1}", ".77}")]).unwrap();
    assert_eq!(site.codes(), ["partitions"]);
}

#[test]
fn values_of_other_formats_stop_a_run_with_what_to_do() {
    let Some(site) = Site::open("values_of_other_formats") else { return };
    site.send(0);
    site.run(&[]);
    site.send(1);
    let keys = site.entity_keys();
    let formats: Vec<redis::Value> = keys.iter().map(|key| site.redis.command(&["GETRANGE", key, "0", "0"]).unwrap()).collect();
    for (format, said) in [("\u{4}", "format 4, which is newer"), ("\u{1}", "format 1, which this version cannot carry over")] {
        for key in &keys {
            site.redis.command(&["SETRANGE", key, "0", format]).unwrap();
        }
        assert_eq!(site.codes(), ["value", "value"]);
        let done = finish(&mut site.command(&["--once"]), b"");
        assert!(done.code.is_some_and(|code| code != 0), "{}", done.err);
        assert!(done.err.contains(said), "{}", done.err);
    }
    for (key, format) in keys.iter().zip(formats) {
        let format: String = redis::from_redis_value(format).unwrap();
        site.redis.command(&["SETRANGE", key, "0", &format]).unwrap();
    }
    let (_, summary) = site.run(&[]);
    assert_eq!(summary["received"], 1_500, "nothing was committed meanwhile");
}
