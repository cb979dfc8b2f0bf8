//! Scenario: what a newcomer tries first: a folder of logs with a README beside them, a simulated company, lists found on the net.
//! Guarantees: what the help shows works; what would quietly find less is said, with what to do.

use serde_json::Value;

use crate::process::{finish, run, threatguard};
use crate::workbench::{PACKAGE, Workbench, shipped};

#[test]
fn a_folder_of_logs_is_one_log_by_time_whatever_lies_beside_it() {
    let bench = Workbench::new();
    std::fs::create_dir(bench.path("day")).unwrap();
    bench.write("day/README.md", "# A day of Zeek\nTwo logs of one sensor.\n");
    let row = |log: &str, second: u32| {
        format!(
            "{{\"_path\":\"{log}\",\"ts\":{}.5,\"uid\":\"C{second}\",\"id.orig_h\":\"10.1.4.20\",\"id.resp_h\":\"10.1.4.53\"}}\n",
            1_772_438_400 + second
        )
    };
    bench.write("day/conn.log", (0..240).map(|minute| row("conn", minute * 60)).collect::<String>());
    bench.write("day/dns.log", (0..240).map(|minute| row("dns", minute * 60 + 30)).collect::<String>());
    let (done, found) = bench.embedded("out", &shipped("network"), &bench.text("day"), &["--codec", "auto"]);
    assert!(done.ok().err.contains("codec zeek"), "by the first file that tells");
    assert_eq!((found.count("scored"), found.count("late"), found.count("deadLettered")), (480, 0, 2));
    let (_, again) = bench.embedded("again", &shipped("network"), &bench.text("day"), &["--codec", "zeek"]);
    assert_eq!(again.verdicts, found.verdicts);
}

#[test]
fn whoever_teaches_that_scans_are_ordinary_is_named_and_the_simulated_company_knows_its_own() {
    let bench = Workbench::new();
    let company = bench.text("company");
    let events = bench.simulated("benign.jsonl", &["--benign", "--only", "network", "--pipelines", &company]);
    let train = |pipeline: &str, out: &str| {
        run(&["train", "--pipeline", pipeline, "--input", &events, "--codec", "threatguard", "--out", &bench.text(out)]).ok().err
    };
    let told = train(shipped("network").to_str().unwrap(), "shipped");
    assert!(told.contains("fan_out finds") && told.contains("ip:10.50.0.251 (") && told.contains("exempt"), "{told}");
    let told = train(&format!("{company}/network.yaml"), "told");
    assert!(!told.contains("fan_out finds") && !told.contains("beaconing finds"), "{told}");
    run(&["validate", &format!("{company}/network.yaml"), &format!("{company}/identity.yaml")]).ok();
}

#[test]
fn a_list_that_is_none_is_refused_and_one_with_faults_says_so() {
    let bench = Workbench::new();
    let text = std::fs::read_to_string(shipped("network")).unwrap();
    let events =
        bench.write("events.jsonl", "{\"timestamp\":\"2026-03-03T00:00:05Z\",\"source_ip\":\"10.0.0.9\",\"dest_ip\":\"203.0.113.9\"}\n");
    let with = |list: &str| {
        bench.write("list.txt", list);
        let from = "  threat_intel:\n    enabled: true\n";
        assert!(text.contains(from));
        let listed = text.replace(from, &format!("{from}    lists:\n      - {{ name: found, path: list.txt, confidence: 0.9 }}\n"));
        let pipeline = bench.write("listed.yaml", listed);
        run(&["run", "--once", "--pipeline", &pipeline, "--input", &events, "--codec", "threatguard", "--output", &bench.text("out")])
    };
    with("<html>\n<body>not found</body>\n").fails(2, &["list.txt", "no list of indicators", "line 1"]);
    let said = with("203.0.113.9\nnot an address at all\n").ok();
    assert!(said.err.contains("is not used whole") && said.out.contains("1 threats"), "{} {}", said.out, said.err);
}

#[test]
fn snapshots_are_listed_without_any_service() {
    let (bench, pipeline) = (Workbench::new(), shipped("network"));
    std::fs::create_dir(bench.path("place")).unwrap();
    run(&["state", "inspect", "--pipeline", pipeline.to_str().unwrap(), "--snapshot", &bench.text("place")]).ok();
}

/// The stack's own settings, but for the addresses of what is not here, have to start on an empty volume.
#[test]
fn the_stack_in_containers_starts_without_models() {
    let text = std::fs::read_to_string(std::path::Path::new(PACKAGE).join("docker/compose.yaml")).unwrap();
    let stack: Value = serde_norway::from_str(&text).unwrap();
    let bench = Workbench::new();
    let events = bench.simulated("events.jsonl", &[]);
    for name in ["network", "identity"] {
        // A merge key takes over what is not said again.
        let service = |key: &str| match &stack["services"][name][key] {
            Value::Null => stack["services"]["network"][key].clone(),
            own => own.clone(),
        };
        assert_eq!(service("hostname"), name, "the name of a worker stays");
        let volume = "/var/lib/threatguard";
        assert_eq!(service("volumes"), serde_json::json!([format!("{name}:{volume}")]));
        let pipeline = service("command")[2].as_str().unwrap().replace("/etc/threatguard", PACKAGE);
        let mut command = threatguard(&["run", "--pipeline", &pipeline, "--once", "--input", &events, "--listen", "127.0.0.1:0"]);
        let settings = service("environment");
        for (key, value) in settings.as_object().unwrap().iter().filter(|(key, _)| !key.ends_with("BROKERS") && !key.ends_with("REDIS")) {
            command.env(key, value.as_str().unwrap().replace(volume, &bench.text("volume")));
        }
        finish(&mut command, b"").ok();
        assert!(bench.path("volume/models").join(name).join("manifest.json").is_file(), "what was learned is in the volume");
    }
}
