//! The workers of a deployment, each with a name that it keeps over its lives.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use threatguard::edge::clock::{self, Deadline};

use crate::deployment::Deployment;
use crate::follower::Follower;
use crate::process::Running;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// A worker has ten seconds by its settings; a machine that is busy gets more.
const SHUTDOWN: Duration = Duration::from_secs(30);
const SUSPICIOUS: Duration = Duration::from_secs(6);
/// From a fault to everything going on again, the session's end included.
pub const RECOVERY: Duration = Duration::from_secs(90);

pub struct Worker {
    pub name: String,
    pub running: Running,
    more: Vec<String>,
    /// Lines of it that were shown.
    shown: usize,
}

pub struct Fleet<'d> {
    deployment: &'d Deployment,
    pub workers: Vec<Worker>,
}

impl<'d> Fleet<'d> {
    pub fn start(deployment: &'d Deployment, names: &[&str]) -> Self {
        let mut fleet = Self { deployment, workers: vec![] };
        names.iter().for_each(|name| fleet.add(name, &[]));
        fleet
    }

    pub fn add(&mut self, name: &str, more: &[&str]) {
        let running = Running::start(&mut self.deployment.command(name, more));
        self.workers.push(Worker { name: name.to_owned(), running, more: more.iter().map(|text| (*text).to_owned()).collect(), shown: 0 });
    }

    /// Kills it and starts it again under its name.
    pub fn kill_and_restart(&mut self, number: usize, pause: Duration) {
        self.workers[number].running.kill();
        std::thread::sleep(pause);
        self.restart(number);
    }

    /// Starts one again that has ended.
    pub fn restart(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        let more: Vec<&str> = worker.more.iter().map(String::as_str).collect();
        worker.running = Running::start(&mut self.deployment.command(&worker.name, &more));
        worker.shown = 0;
    }

    /// Ends one as an operator would, and forgets it.
    pub fn retire(&mut self, number: usize) {
        let mut worker = self.workers.remove(number);
        worker.end();
    }

    /// Waits until each says that it is ready: what a fault meets is then a worker that runs, not one that starts.
    #[track_caller]
    pub fn await_ready(&mut self) {
        let deadline = Deadline::after(PATIENCE);
        for worker in &mut self.workers {
            let address = worker.running.line_after("listening on http://");
            while !is_ready(&address) {
                assert!(!deadline.passed(), "worker {} is not ready: {:#?}", worker.name, last(worker.running.heard()));
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    #[track_caller]
    pub fn assert_alive(&mut self) {
        for worker in &mut self.workers {
            let ended = worker.running.child.try_wait().unwrap();
            assert!(ended.is_none(), "worker {} ended with {ended:?}: {:#?}", worker.name, last(worker.running.heard()));
        }
    }

    /// What its workers have said since it was shown last, where somebody wants to see what a recovery waits for.
    pub fn show_said(&mut self) {
        if std::env::var_os("THREATGUARD_FAULTS_SAID").is_none() {
            return;
        }
        for worker in &mut self.workers {
            let said = worker.running.heard().len();
            worker.running.said[worker.shown.min(said)..].iter().for_each(|line| println!("    {}: {line}", worker.name));
            worker.shown = said;
        }
    }

    /// Waits until the group has committed everything that is in the input log.
    #[track_caller]
    pub fn consume_all(&mut self) {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let (committed, ends) = (self.deployment.committed(), self.deployment.input_ends());
            if committed == ends && ends.iter().all(|end| *end > 0) {
                return;
            }
            self.assert_alive();
            if deadline.passed() {
                self.workers.iter().for_each(Worker::print_stacks);
            }
            let said: Vec<_> = self.workers.iter_mut().map(|worker| last(worker.running.heard())).collect();
            assert!(!deadline.passed(), "committed {committed:?} of {ends:?}: {said:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends all of them at once; each has to settle what it has.
    #[track_caller]
    pub fn stop(mut self) {
        self.workers.iter().for_each(|worker| worker.running.signal("TERM"));
        self.workers.iter_mut().for_each(Worker::await_end);
    }
}

fn is_ready(address: &str) -> bool {
    readiness(address).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// What a worker that listens there answers to whoever asks whether it is ready.
pub fn readiness(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SUSPICIOUS))?;
    write!(stream, "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Worker {
    /// One that was started otherwise.
    pub fn named(name: &str, running: Running) -> Self {
        Self { name: name.to_owned(), running, more: vec![], shown: 0 }
    }

    #[track_caller]
    pub fn end(&mut self) {
        self.running.signal("TERM");
        self.await_end();
    }

    /// What each of its threads is doing, where there is a debugger: a worker that waits for nothing has to be explained.
    fn print_stacks(&self) {
        let pid = self.running.child.id().to_string();
        let Ok(done) = Command::new("gdb").args(["-batch", "-p", &pid, "-ex", "thread apply all backtrace 16"]).output() else { return };
        println!("worker {}:", self.name);
        String::from_utf8_lossy(&done.stdout).lines().filter(|line| line.starts_with(['#', 'T'])).for_each(|line| println!("    {line}"));
    }

    #[track_caller]
    fn await_end(&mut self) {
        let begun = clock::now();
        // Whoever looks for what a shutdown waits for wants to see it before it gives up.
        if std::env::var_os("THREATGUARD_FAULTS_STACKS").is_some() {
            while self.running.child.try_wait().unwrap().is_none() && begun.elapsed() < SUSPICIOUS {
                std::thread::sleep(Duration::from_millis(10));
            }
            if self.running.child.try_wait().unwrap().is_none() {
                self.print_stacks();
            }
        }
        let status = crate::process::wait(&mut self.running.child, SHUTDOWN);
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(0), "worker {} ended with {status:?}: {:#?}", self.name, last(self.running.heard()));
    }
}

/// The end of what a worker said.
pub fn last(said: &[String]) -> &[String] {
    &said[said.len().saturating_sub(40)..]
}

/// How long faults took until every partition had the verdict of an event that came in after them.
#[derive(Default)]
pub struct Recoveries(Vec<Duration>);

/// A feed that is silent for so long is over; a broker that is being replaced holds it up for less.
const FEED_PAUSE: Duration = Duration::from_secs(20);

impl Recoveries {
    /// From `since`, when the fault was made, until it is overcome. On a slow machine the feed may be over: then nothing tells.
    #[track_caller]
    pub fn measure(&mut self, fleet: &mut Fleet<'_>, follower: &Follower, since: Instant) {
        // An event past these came in after the fault.
        let targets = fleet.deployment.input_ends();
        if !fleet.deployment.grows_past(&targets, FEED_PAUSE) {
            println!("the feed is over: this recovery is not measured");
            return;
        }
        match follower.reached(&targets, since, RECOVERY) {
            Some(time) => {
                self.0.push(time);
                fleet.show_said();
            }
            None => {
                fleet.assert_alive();
                fleet.workers.iter().for_each(Worker::print_stacks);
                let said: Vec<_> = fleet.workers.iter_mut().map(|worker| last(worker.running.heard())).collect();
                panic!("not recovered within {RECOVERY:?}: {}; {said:#?}", follower.lagging(&targets));
            }
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
    /// In the order of their faults.
    pub fn all(&self) -> &[Duration] {
        &self.0
    }
    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
    pub fn worst(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Recoveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return write!(f, "no recovery measured");
        }
        write!(f, "{} recoveries, median {:.1} s, worst {:.1} s", self.count(), self.median().as_secs_f64(), self.worst().as_secs_f64())
    }
}

/// When a fault was made.
pub fn now() -> Instant {
    clock::now()
}
