//! Runs the program as a user would: arguments in, exit code and text out. Every wait has an end, and every process is ended by
//! whoever started it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use threatguard::edge::clock::Deadline;

/// Longer than anything here takes on a slow, busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What came of a run.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Exit code 0; anything else is shown.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }
    /// This exit code, and all of `said` in what was said; no panic in any case.
    #[track_caller]
    pub fn fails(self, code: i32, said: &[&str]) -> Self {
        assert!(!self.err.contains("panicked"), "{}", self.err);
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        for part in said {
            assert!(self.err.contains(part), "{part:?} is not in: {}", self.err);
        }
        self
    }
}

/// The binary with these arguments, without settings of the environment it is tested in.
pub fn threatguard<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threatguard"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("THREATGUARD_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Done {
    finish(&mut threatguard(arguments), b"")
}

/// Runs to the end with this on standard input.
pub fn finish(command: &mut Command, input: &[u8]) -> Done {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    std::thread::scope(|scope| {
        // A program that has already failed does not read its input.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let (out, err) = (scope.spawn(move || text(stdout)), scope.spawn(move || text(stderr)));
        let code = wait(&mut child, PATIENCE).and_then(|status| status.code());
        Done { code, out: out.join().unwrap(), err: err.join().unwrap() }
    })
}

fn text(mut from: impl Read) -> String {
    let mut bytes = vec![];
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the end; after the deadline the child is killed and there is none.
pub fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Deadline::after(patience);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if deadline.passed() {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Looks until there is something, or fails with `what`.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(PATIENCE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(!deadline.passed(), "waited in vain: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Sends a signal by name to one process.
pub fn send(process: u32, signal: &str) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status().unwrap();
    assert!(status.success(), "kill -{signal} {process}");
}

/// A program that goes on in the background. Killed when dropped.
pub struct Running {
    pub child: Child,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    pub said: Vec<String>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let stderr: ChildStderr = child.stderr.take().unwrap();
        let (send, lines) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, reader: Some(reader), said: vec![] }
    }

    /// Waits for a line with this in it and returns what follows it.
    #[track_caller]
    pub fn line_after(&mut self, lead: &str) -> String {
        until(lead, || {
            let found = self.heard().iter().find_map(|line| line.split_once(lead).map(|(_, rest)| rest.trim().to_owned()));
            let ended = found.is_none() && self.child.try_wait().unwrap().is_some();
            assert!(!ended, "it ended: {:#?}", self.said);
            found
        })
    }

    /// Everything that it has said so far.
    pub fn heard(&mut self) -> &[String] {
        self.said.extend(self.lines.try_iter());
        &self.said
    }

    /// Sends a signal by name, such as `TERM` or `STOP`.
    pub fn signal(&self, name: &str) {
        send(self.child.id(), name);
    }

    /// The exit code after SIGTERM; none when it took longer than `patience`.
    pub fn terminate(&mut self, patience: Duration) -> Option<i32> {
        self.signal("TERM");
        wait(&mut self.child, patience).and_then(|status| status.code())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        self.reader.take().map(JoinHandle::join);
    }
}

/// The lines of a JSON Lines file.
#[track_caller]
pub fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A summary, in which nothing may be lost.
#[track_caller]
pub fn summary(file: &Path) -> Value {
    let summary = json(&std::fs::read_to_string(file).unwrap());
    let of = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"));
    assert_eq!(of("received"), of("scored") + of("late") + of("deadLettered"), "{summary}");
    summary
}
