//! Scenario: there is no room left in the folder of results, in the middle of a run.
//! Guarantees: an error that names the file, nothing scored that is not written, and with room again the same results as ever.

use std::process::{Command, Stdio};

use crate::process::{finish, lines, threatguard};
use crate::workbench::{Workbench, shipped};

/// In blocks of 512 bytes: less than the results of any kind here.
const ROOM: u32 = 8;

/// The same command, which may not make files larger than that. Without the signal that would end it, as on a full disk.
fn in_little_room(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {ROOM}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    limited
}

#[test]
fn a_folder_without_room_is_named_and_loses_nothing() {
    let bench = Workbench::new();
    let good = bench.simulated("good.jsonl", &["--only", "network"]);
    let models = bench.trained("models", "network", &good, "threatguard");
    // Every fourth line becomes a dead letter, so that their file is the first to be full.
    let bad = |(number, line): (usize, String)| if number % 4 == 0 { format!("not an event: {line}") } else { line };
    let all: Vec<String> = lines(std::path::Path::new(&good)).into_iter().enumerate().map(bad).collect();
    let events = bench.write("events.jsonl", all.join("\n"));
    let (done, whole) = bench.embedded("whole", &shipped("network"), &events, &["--codec", "threatguard", "--models", &models]);
    done.ok();
    assert!(whole.dead_letters.len() > 1_000);

    let out = bench.text("full");
    let pipeline = shipped("network");
    let mut command = threatguard(&["run", "--once", "--codec", "threatguard", "--models", &models, "--output", &out]);
    command.arg("--pipeline").arg(&pipeline).args(["--input", &events]);
    finish(&mut in_little_room(&command), b"").fails(3, &[&out, ".jsonl", "File too large"]);
    finish(&mut command, b"").ok();
    for (file, wanted) in [("dead-letters.jsonl", &whole.dead_letters), ("threats.jsonl", &whole.threats)] {
        assert_eq!(&lines(&bench.path("full").join(file)), wanted, "{file}");
    }
}
