//! One life of a worker's process: its source, and for each lane the real lane, settler and keeper, each stepped as its thread
//! would be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use threatguard::core::types::{EntityKey, EventTime, Offset, Partition};
use threatguard::edge::LogSource;
use threatguard::error::Result;
use threatguard::run::outbox::Outbox;
use threatguard::run::stream::keep::{Keep, Keeper};
use threatguard::run::stream::lane::{Ends, Lane};
use threatguard::run::stream::orders::{Order, Output, Reply, Work};
use threatguard::run::stream::score::Scoring;
use threatguard::run::stream::settle::{Parts, Settler};
use threatguard::run::stream::shared::Shared as LaneShared;
use threatguard::run::stream::task::{Batch, Fill, Out, States, Task};
use threatguard::run::telemetry::Metrics;

use super::input::{POISON, poison};
use super::life::Life;
use super::outputs::{SimPublisher, SimTransactions};
use super::source::SimSource;
use super::store::SimStore;
use super::world::{Safeguards, Shared, lock};

/// A lane with more orders than these in its settler's queue waits.
const ORDERS_MAX: usize = 16;

/// How every process of a run is set up.
#[derive(Clone)]
pub struct Setup {
    pub partitions: u32,
    pub lanes: usize,
    pub exactly_once: bool,
    pub commit_interval: Duration,
    pub checkpoint_interval: Duration,
    pub drain: u64,
    pub safe: Safeguards,
    pub scene: Arc<super::input::Scene>,
    pub metrics: Arc<Metrics>,
}

/// Scoring, whose replay and rewind can be broken.
pub struct Subject {
    scoring: Scoring,
    safe: Safeguards,
    held: BTreeSet<Partition>,
    world: Shared,
    /// Batches since the last barrier, and the partitions that a barrier is for.
    batches: u64,
    owned: BTreeSet<Partition>,
}

/// Batches after which a barrier is wanted, as for other models.
const BARRIER_BATCHES: u64 = 8;

impl Task for Subject {
    fn wants_barrier(&self) -> bool {
        self.batches >= BARRIER_BATCHES
    }
    /// Whatever was applied is committed: a replay of it can only come from before the barrier to the barrier.
    fn at_barrier(&mut self) {
        self.batches = 0;
        let mut world = lock(&self.world);
        world.stats.barriers += 1;
        for partition in &self.owned {
            let next = self.scoring.next(*partition);
            let is_committed = match world.broker.group.stable(partition.0) {
                Ok(committed) => committed.is_some_and(|committed| committed.next >= next.0),
                // Another owner commits just now: that is after everything of this one.
                Err(()) => true,
            };
            world.stats.crossed += u64::from(!is_committed);
        }
    }
    fn assign(&mut self, partition: Partition, from: Offset, value: &[u8], ticked: Option<EventTime>) -> Result<()> {
        self.owned.insert(partition);
        if !self.safe.rewound_state && !self.held.insert(partition) {
            return Ok(());
        }
        self.scoring.assign(partition, from, value, ticked)
    }
    fn revoke(&mut self, partition: Partition) {
        self.owned.remove(&partition);
        if self.safe.rewound_state {
            self.scoring.revoke(partition);
        }
    }
    fn batch(&mut self, batch: Batch<'_>, states: &mut States<'_>, out: &mut Out<'_>) -> Result<()> {
        let refused = |offset: &Offset| batch.poison.is_some_and(|poison| poison.contains(offset));
        if !poison(batch.records).iter().all(refused) {
            panic!("{POISON}");
        }
        self.batches += 1;
        let live = if self.safe.silent_replay { batch.live } else { Offset(0) };
        self.scoring.batch(Batch { live, ..batch }, states, out)
    }
    fn dirty_len(&self, partition: Partition) -> usize {
        self.scoring.dirty_len(partition)
    }
    fn take_dirty(&mut self, partition: Partition, max: usize, entries: &mut Vec<(EntityKey, usize)>, bytes: &mut Vec<u8>) -> usize {
        self.scoring.take_dirty(partition, max, entries, bytes)
    }
    fn checkpoint(&self, partition: Partition) -> Offset {
        self.scoring.checkpoint(partition)
    }
    fn next(&self, partition: Partition) -> Offset {
        self.scoring.next(partition)
    }
    fn value(&self, partition: Partition, out: &mut Vec<u8>) {
        self.scoring.value(partition, out);
    }
    fn fill(&self, partition: Partition) -> Fill {
        self.scoring.fill(partition)
    }
    fn trim(&mut self, partition: Partition) {
        self.scoring.trim(partition);
    }
}

/// A lane's three machines and what is between them.
struct Set {
    lane: Mutex<Option<Lane<Subject>>>,
    settler: Mutex<Option<Settler>>,
    keeper: Mutex<Keeper>,
    orders: Receiver<Order>,
    replies: Receiver<Reply>,
    kept: Receiver<Keep>,
}

/// Which of a process's machines takes a turn.
#[derive(Clone, Copy, Debug)]
pub enum Machine {
    Source,
    Lane(usize),
    Settler(usize),
    Keeper(usize),
}

pub struct Process {
    pub life: Arc<Life>,
    pub source: Arc<SimSource>,
    sets: Vec<Set>,
    pub machines: Vec<Machine>,
    world: Shared,
    safe: Safeguards,
}

impl Process {
    pub fn start(world: &Shared, setup: &Setup, worker: usize) -> Self {
        let life = Arc::new(Life::default());
        let source = Arc::new(SimSource::new(world, &life, setup.lanes, setup.drain));
        let shared = Arc::new(LaneShared {
            source: Arc::clone(&source) as Arc<dyn LogSource>,
            metrics: Arc::clone(&setup.metrics),
            checkpoint_interval: setup.checkpoint_interval,
            partitions: setup.partitions,
            topic: None,
            exactly_once: setup.exactly_once,
            ended: Mutex::default(),
            give_up: Arc::new(AtomicBool::new(false)),
            stop: Arc::new(AtomicBool::new(false)),
            batches: AtomicU64::new(0),
            held: AtomicUsize::new(0),
        });
        let sets = (0..setup.lanes).map(|lane| set(world, setup, &life, &source, &shared, (worker, lane))).collect();
        let mut machines = vec![Machine::Source];
        for lane in 0..setup.lanes {
            machines.extend([Machine::Lane(lane), Machine::Lane(lane), Machine::Settler(lane), Machine::Keeper(lane)]);
        }
        Self { life, source, sets, machines, world: Arc::clone(world), safe: setup.safe }
    }

    /// One turn. A machine that is in the middle of one takes none.
    pub fn step(&self, machine: Machine) -> Result<()> {
        match machine {
            Machine::Source => {
                self.source.step();
                Ok(())
            }
            Machine::Lane(lane) => self.step_lane(lane),
            Machine::Settler(lane) => self.step_settler(lane),
            Machine::Keeper(lane) => self.step_keeper(lane),
        }
    }

    fn step_lane(&self, number: usize) -> Result<()> {
        let set = &self.sets[number];
        let Some(mut held) = free(&set.lane) else { return Ok(()) };
        let Some(lane) = held.as_mut() else { return Ok(()) };
        if set.orders.len() >= ORDERS_MAX {
            return Ok(());
        }
        if let Ok(reply) = set.replies.try_recv() {
            lane.reply(reply)?;
        } else if lane.is_ready() {
            if let Some(event) = self.source.take(number) {
                lane.event(event)?;
            } else if self.source.is_over(number) {
                *held = None;
                return Ok(());
            }
        }
        lane.idle()
    }

    fn step_settler(&self, number: usize) -> Result<()> {
        let set = &self.sets[number];
        let Some(mut held) = free(&set.settler) else { return Ok(()) };
        let Some(settler) = held.as_mut() else { return Ok(()) };
        let count = lock(&self.world).rng.below(9);
        for _ in 0..count {
            let Ok(Order { epoch, work }) = set.orders.try_recv() else { break };
            match work {
                Work::Chunk(chunk) if !self.safe.store_after_commit => {
                    let Some(mut keeper) = free(&set.keeper) else { continue };
                    keeper.take(Keep::Store(chunk))?;
                }
                Work::Forget(_) if !self.safe.lost_outputs => {}
                work => settler.take(Order { epoch, work })?,
            }
        }
        settler.step()?;
        if set.orders.is_empty() && free(&set.lane).is_some_and(|lane| lane.is_none()) {
            held.take().map(Settler::finish).transpose()?;
        }
        Ok(())
    }

    fn step_keeper(&self, number: usize) -> Result<()> {
        let set = &self.sets[number];
        let Some(mut keeper) = free(&set.keeper) else { return Ok(()) };
        set.kept.try_recv().map_or(Ok(()), |keep| keeper.take(keep))
    }

    /// Everything was settled after the source was closed.
    pub fn is_over(&self) -> bool {
        let is_over = |set: &Set| {
            let settled = free(&set.settler).is_some_and(|settler| settler.is_none());
            settled && set.kept.is_empty() && free(&set.keeper).is_some()
        };
        self.sets.iter().all(is_over)
    }

    pub fn close(&self, wait: Duration) {
        drop(self.source.close(wait));
    }
}

fn free<T>(machine: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    machine.try_lock().ok()
}

fn set(
    world: &Shared,
    setup: &Setup,
    life: &Arc<Life>,
    source: &Arc<SimSource>,
    shared: &Arc<LaneShared>,
    (worker, number): (usize, usize),
) -> Set {
    let (work, orders) = unbounded();
    let (keep, kept) = unbounded();
    let (reply, replies) = unbounded();
    let (spare, spares) = unbounded::<Outbox>();
    let output = if setup.exactly_once {
        Output::ExactlyOnce(Box::new(SimTransactions::open(world, life, format!("tx-{worker}-{number}"))))
    } else {
        Output::AtLeastOnce { publisher: Arc::new(SimPublisher::new(world, life)), linger: Duration::ZERO }
    };
    let store = || Box::new(SimStore { world: Arc::clone(world), life: Arc::clone(life) });
    let (metrics, give_up) = (Arc::clone(&setup.metrics), Arc::clone(&shared.give_up));
    let keeper = Keeper::new(store(), reply.clone(), Arc::clone(&metrics), Arc::clone(&give_up));
    let source = Arc::clone(source) as Arc<dyn LogSource>;
    let commit_interval = setup.commit_interval;
    let settler = Settler::new(Parts { output, source, keep, replies: reply, spare, metrics, commit_interval, give_up });
    let scoring = Scoring::new(setup.scene.worker());
    let (world, batches, owned) = (Arc::clone(world), 0, BTreeSet::new());
    let subject = Subject { scoring, safe: setup.safe, held: BTreeSet::new(), world, batches, owned };
    let lane = Lane::new(subject, store(), true, Ends { work, spare: spares }, Arc::clone(shared)).shown(Some(number));
    Set { lane: Mutex::new(Some(lane)), settler: Mutex::new(Some(settler)), keeper: Mutex::new(keeper), orders, replies, kept }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever still holds it does nothing more.
        self.life.kill();
    }
}
