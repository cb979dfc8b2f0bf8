//! What all simulated processes share: the models of broker and store, chance, the trace, and where faults strike.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use threatguard::edge::clock;
use threatguard::error::Result;

use super::broker::Broker;
use super::drive;
use super::life::Life;
use super::rng::Rng;
use super::store::StoreModel;

/// The safeguards of the delivery, each of which a test switches off to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safeguards {
    /// A producer is renewed after a transaction whose outcome is unknown.
    pub renewed_producer: bool,
    /// The client does not send the end of a transaction again without telling.
    pub told_of_retries: bool,
    /// The membership of a commit is taken together with a look at what is owned.
    pub checked_member: bool,
    /// The store refuses every owner and state but the present ones.
    pub store_owner: bool,
    /// The store refuses a checkpoint that does not follow the last.
    pub store_number: bool,
    /// Chunks of state go to the store once what led to them is committed.
    pub store_after_commit: bool,
    /// What is replayed publishes nothing.
    pub silent_replay: bool,
    /// State that is ahead of the commits is dropped on a rewind.
    pub rewound_state: bool,
    /// Outputs of a partition that was lost are not committed without it.
    pub lost_outputs: bool,
}

impl Safeguards {
    pub const ALL: Self = Self {
        renewed_producer: true,
        told_of_retries: true,
        checked_member: true,
        store_owner: true,
        store_number: true,
        store_after_commit: true,
        silent_replay: true,
        rewound_state: true,
        lost_outputs: true,
    };
}

/// How often what goes wrong, in a thousand chances. Each seed has its own mixture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Other threads and processes go on in the middle of a call.
    pub interleave: u64,
    /// A process dies in the middle of a call.
    pub crash: u64,
    /// A process stands still in the middle of a call, or anywhere, perhaps for longer than its session.
    pub freeze: u64,
    pub rebalance: u64,
    /// A process is told to stop, as in a rolling upgrade.
    pub restart: u64,
    pub store_error: u64,
    pub store_lost_reply: u64,
    pub store_slow: u64,
    pub store_away: u64,
    pub store_emptied: u64,
    pub store_failover: u64,
    /// A request of a producer fails, or its answer is lost.
    pub producer_error: u64,
    /// The end of a transaction arrives when its sender has given up on it.
    pub late_end: u64,
    pub truncate: u64,
}

impl Faults {
    /// Some kinds of faults are off in each seed, so that the others come further.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut some = |per_mille: u64| if rng.chance(550) { rng.between(1, per_mille) } else { 0 };
        let mut faults = Self {
            interleave: 0,
            crash: some(12),
            freeze: some(12),
            rebalance: some(16),
            restart: some(12),
            store_error: some(100),
            store_lost_reply: some(100),
            store_slow: some(60),
            store_away: some(6),
            store_emptied: some(6),
            store_failover: some(16),
            producer_error: some(60),
            late_end: some(120),
            truncate: 0,
        };
        faults.interleave = rng.between(50, 500);
        // A store that was emptied is made anew from the log, which must be there.
        if faults.store_emptied == 0 && rng.chance(500) {
            faults.truncate = 10;
        }
        faults
    }
}

/// What a run has been through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub crashes: u64,
    pub freezes: u64,
    pub restarts: u64,
    pub store_losses: u64,
    pub store_refusals: u64,
    pub stops: u64,
    pub rewinds: u64,
    pub unknown: u64,
    /// Barriers that lanes have given their tasks, and partitions with something uncommitted at one.
    pub barriers: u64,
    pub crossed: u64,
}

/// A hash over everything that happens, in order.
pub struct Trace {
    pub hash: u64,
    shown: bool,
}

impl Trace {
    pub fn new(shown: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, shown }
    }
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    pub fn note(&mut self, what: &str, a: u64, b: u64) {
        if self.shown {
            println!("{:>10} {what} {a} {b}", clock::wall().0 % 1_000_000_000);
        }
        self.bytes(what.as_bytes());
        self.bytes(&a.to_le_bytes());
        self.bytes(&b.to_le_bytes());
    }
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        if self.shown {
            println!("{:>10} {}", clock::wall().0 % 1_000_000_000, text());
        }
    }
}

pub struct World {
    pub broker: Broker,
    pub store: StoreModel,
    pub rng: Rng,
    pub trace: Trace,
    pub faults: Faults,
    pub safe: Safeguards,
    pub stats: Stats,
    /// Calls within calls.
    pub depth: u32,
    /// Calls so far.
    pub calls: u64,
}

pub type Shared = Arc<Mutex<World>>;

impl World {
    pub fn now(&self) -> u64 {
        clock::wall().0.unsigned_abs()
    }
}

pub fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run that has made so many calls waits for something that never comes.
const CALLS_MAX: u64 = 1_000_000;

/// Begins a call of a worker to the outside. Before it has any effect other processes may go on, and this one may die or freeze.
pub fn enter<'w>(world: &'w Shared, life: &Life, name: &'static str, about: u64) -> Result<MutexGuard<'w, World>> {
    life.check()?;
    drive::pause(world, life)?;
    let mut held = lock(world);
    held.calls += 1;
    assert!(held.calls < CALLS_MAX, "no end of calls: {name}");
    let now = held.now();
    held.trace.note(name, about, now);
    held.broker.pass(now);
    if name.starts_with("load") || name == "store" || name == "claim" {
        let slow = held.faults.store_slow;
        if held.rng.chance(slow) {
            let millis = held.rng.between(1, 300);
            clock::sleep(Duration::from_millis(millis));
        }
    }
    Ok(held)
}

/// Ends a call: it had its effect, and its caller may never hear of it.
pub fn leave(world: &Shared, life: &Life) -> Result<()> {
    drive::pause(world, life)
}
