//! The drive: whose turn it is, what goes wrong, and the ways into a call's middle.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use threatguard::edge::clock;
use threatguard::error::{Error, Kind, Result};

use super::input::Feed;
use super::life::Life;
use super::process::{Process, Setup};
use super::world::{Shared, lock};

/// Calls within calls within calls; deeper ones only wait.
const DEPTH_MAX: u32 = 3;

/// Everything that runs.
pub struct Sim {
    pub world: Shared,
    pub setup: Setup,
    workers: Mutex<Vec<Option<Arc<Process>>>>,
    pub feed: Mutex<Vec<VecDeque<Feed>>>,
    /// Why a process has ended by itself for a reason that no restart mends.
    pub problems: Mutex<Vec<String>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Sim>>> = const { RefCell::new(None) };
}

enum Pause {
    Go,
    Crash,
    Freeze(u64),
    Others(u64),
}

/// The middle of a call: other machines may take turns, this process may die or freeze.
pub fn pause(world: &Shared, life: &Life) -> Result<()> {
    let Some(sim) = CURRENT.with_borrow(Clone::clone) else { return Ok(()) };
    let (what, now) = {
        let mut world = lock(world);
        let (faults, now, depth) = (world.faults, world.now(), world.depth);
        let what = if world.rng.chance(faults.crash) {
            world.stats.crashes += 1;
            Pause::Crash
        } else if depth >= DEPTH_MAX {
            Pause::Go
        } else if depth < 2 && world.rng.chance(faults.freeze) {
            world.stats.freezes += 1;
            Pause::Freeze(world.rng.between(50, 5_000) * 1_000)
        } else if world.rng.chance(faults.interleave) {
            Pause::Others(world.rng.between(1, 12))
        } else {
            Pause::Go
        };
        world.depth += 1;
        (what, now)
    };
    match what {
        Pause::Go => {}
        Pause::Crash => {
            lock(world).trace.note("CRASH", 0, 0);
            life.kill();
        }
        Pause::Freeze(micros) => {
            lock(world).trace.note("FREEZE", micros, 0);
            life.freeze(now + micros);
            while lock(world).now() < now + micros {
                sim.turn(micros / 60);
            }
            lock(world).trace.note("THAW", micros, 0);
        }
        Pause::Others(turns) => (0..turns).for_each(|_| sim.turn(3_000)),
    }
    lock(world).depth -= 1;
    life.check()
}

impl Sim {
    pub fn new(world: Shared, setup: Setup, workers: usize, feed: Vec<VecDeque<Feed>>) -> Arc<Self> {
        let workers = Mutex::new(vec![None; workers]);
        let sim = Arc::new(Self { world, setup, workers, feed: Mutex::new(feed), problems: Mutex::default() });
        CURRENT.set(Some(Arc::clone(&sim)));
        sim
    }

    /// Nothing is held by the thread any more.
    pub fn leave() {
        CURRENT.set(None);
    }

    fn workers(&self) -> Vec<Option<Arc<Process>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time passes, and one machine of a process that runs takes its turn.
    pub fn turn(&self, micros_max: u64) {
        let chosen = {
            let mut world = lock(&self.world);
            let micros = world.rng.below(micros_max.max(1));
            clock::sleep(Duration::from_micros(micros));
            let now = world.now();
            world.broker.pass(now);
            if world.rng.chance(150) {
                let choice = world.rng.next();
                world.broker.write_a_marker(choice);
            }
            let workers = self.workers();
            let running: Vec<Arc<Process>> = workers.into_iter().flatten().filter(|process| process.life.is_running(now)).collect();
            if running.is_empty() {
                return;
            }
            let process = Arc::clone(world.rng.pick(&running));
            let machine = *world.rng.pick(&process.machines);
            (process, machine)
        };
        let (process, machine) = chosen;
        let ended = process.step(machine);
        if let Err(error) = ended
            && !process.life.is_dead()
        {
            self.ended(&process, &error);
        }
    }

    /// A process ends by itself; somebody starts it anew.
    fn ended(&self, process: &Process, error: &Error) {
        process.life.kill();
        let mut world = lock(&self.world);
        world.stats.stops += 1;
        world.trace.note("STOP", error.kind as u64, 0);
        world.trace.say(|| format!("stopped: {error}"));
        if !matches!(error.kind, Kind::Transient | Kind::Fenced) {
            self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{:?}: {error}", error.kind));
        }
    }

    /// Takes away what is dead, when nothing of it is in the middle of a turn.
    pub fn bury(&self) {
        for slot in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let is_gone = |process: &Arc<Process>| process.life.is_dead() || (process.source.is_closing() && process.is_over());
            if slot.as_ref().is_some_and(is_gone) {
                *slot = None;
            }
        }
    }

    /// Starts what does not run, each with its chance.
    pub fn start(&self, per_mille: u64) {
        for worker in 0..self.workers().len() {
            let is_due = self.workers()[worker].is_none() && lock(&self.world).rng.chance(per_mille);
            if is_due {
                lock(&self.world).trace.note("START", worker as u64, 0);
                let process = Arc::new(Process::start(&self.world, &self.setup, worker));
                self.workers.lock().unwrap_or_else(PoisonError::into_inner)[worker] = Some(process);
            }
        }
    }

    /// More of the input is written.
    pub fn feed(&self, count: u64) {
        let mut world = lock(&self.world);
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        for (log, script) in world.broker.inputs.iter_mut().zip(feed.iter_mut()) {
            let count = script.len().min(count as usize);
            script.drain(..count).for_each(|feed| feed.apply(log));
        }
    }

    /// What goes wrong from outside.
    pub fn strike(&self) {
        let mut world = lock(&self.world);
        let (faults, now) = (world.faults, world.now());
        if world.rng.chance(faults.rebalance) {
            world.broker.group.shuffles += world.rng.clone().below(2);
            world.broker.group.rebalance(now);
        }
        if world.rng.chance(faults.store_emptied) {
            world.trace.note("STORE EMPTIED", 0, 0);
            world.store.empty();
            world.stats.store_losses += 1;
        }
        if world.rng.chance(faults.store_failover) {
            let writes = world.rng.between(1, 12) as usize;
            world.trace.note("STORE FAILOVER", writes as u64, 0);
            world.store.fail_over(writes);
            world.stats.store_losses += 1;
        }
        if world.rng.chance(faults.store_away) {
            world.store.away_until = now + world.rng.between(10, 3_000) * 1_000;
        }
        let workers = self.workers();
        let running: Vec<&Arc<Process>> = workers.iter().flatten().collect();
        if running.is_empty() {
            return;
        }
        let one = Arc::clone(*world.rng.pick(&running));
        if world.rng.chance(faults.crash / 2) {
            world.stats.crashes += 1;
            world.trace.note("KILL", 0, 0);
            one.life.kill();
        } else if world.rng.chance(faults.freeze / 2) {
            world.stats.freezes += 1;
            let until = now + world.rng.between(50, 5_000) * 1_000;
            one.life.freeze(until);
        }
        if world.rng.chance(faults.restart) {
            world.stats.restarts += 1;
            world.trace.note("LEAVE", 0, 0);
            one.close(Duration::from_micros(self.setup.drain));
        }
        if world.rng.chance(faults.truncate) {
            self.truncate(&mut world);
        }
    }

    /// Old records go; never those that are still needed.
    fn truncate(&self, world: &mut super::world::World) {
        for partition in 0..self.setup.partitions {
            let stored = world.store.partitions.get(&partition).and_then(|kept| kept.stored.as_ref()).map_or(0, |stored| stored.1);
            let committed = world.broker.group.stable(partition).ok().flatten().map_or(0, |stored| stored.next);
            // A failover may set the state back.
            let needed = if world.faults.store_failover > 0 { 0 } else { stored.min(committed) };
            let log = &mut world.broker.inputs[partition as usize];
            log.low = log.low.max(needed);
        }
    }

    pub fn close(&self, wait: Duration) {
        self.workers().iter().flatten().for_each(|process| process.close(wait));
    }

    /// Everything was delivered to the lanes.
    pub fn is_delivered(&self) -> bool {
        let ends: Vec<u64> = lock(&self.world).broker.inputs.iter().map(super::log::Log::end).collect();
        let delivered: usize = self.workers().iter().flatten().map(|process| process.source.delivered(&ends)).sum();
        delivered == ends.len()
    }

    pub fn are_over(&self) -> bool {
        self.workers().iter().flatten().all(|process| process.is_over())
    }

    pub fn stop_all(&self) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(|slot| *slot = None);
    }
}
