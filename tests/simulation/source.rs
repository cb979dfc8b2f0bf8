//! The input side of a worker: a member of the group, with the rules of the real adapter (`edge/kafka`): who owns what under which
//! generation, draining on a revocation, deliveries that are started and started anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use threatguard::core::types::{EventTime, Generation, Offset, Partition};
use threatguard::edge::{Commit, CommitMode, Committed, Delivery, LogEvent, LogSource, Member, PartitionBatch, Records, clock};
use threatguard::error::{Error, Kind, Result};

use super::group::{Status, Stored};
use super::life::Life;
use super::world::{Shared, World, enter, leave, lock};

/// Batches that may wait for a lane.
const ROOM: usize = 4;

/// What a commit proves.
pub struct Membership {
    pub member: (Option<u64>, i64),
    /// Only where a safeguard is off: what is really owned.
    pub owned: Option<BTreeSet<(Partition, Generation)>>,
}

#[derive(Clone, Copy, Debug)]
struct Ownership {
    generation: Generation,
    started: Option<(Delivery, u64)>,
    released: bool,
    ended: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    Steady,
    /// The group has formed anew; what changed is not handed on yet.
    Formed(BTreeSet<u32>),
    Revoking {
        going: BTreeSet<u32>,
        coming: BTreeSet<u32>,
        deadline: u64,
    },
    Assigning {
        coming: BTreeSet<u32>,
        again: bool,
        deadline: u64,
    },
    /// Expelled, and nobody told yet.
    Lost,
    Closing {
        deadline: u64,
    },
    Closed,
}

struct State {
    member: Option<u64>,
    generation: i64,
    owned: BTreeMap<u32, Ownership>,
    phase: Phase,
    commands: VecDeque<(u32, Generation, u64, Delivery)>,
    inboxes: Vec<VecDeque<LogEvent>>,
    /// Leaves the group, and waits so long for what is not settled yet.
    closing: Option<u64>,
    deliveries: u64,
}

pub struct SimSource {
    world: Shared,
    life: Arc<Life>,
    drain: u64,
    state: Mutex<State>,
}

impl SimSource {
    pub fn new(world: &Shared, life: &Arc<Life>, lanes: usize, drain: u64) -> Self {
        let state = State {
            member: None,
            generation: -1,
            owned: BTreeMap::new(),
            phase: Phase::Steady,
            commands: VecDeque::new(),
            inboxes: (0..lanes).map(|_| VecDeque::new()).collect(),
            closing: None,
            deliveries: 0,
        };
        Self { world: Arc::clone(world), life: Arc::clone(life), drain, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn take(&self, lane: usize) -> Option<LogEvent> {
        self.state().inboxes[lane].pop_front()
    }

    /// Nothing comes any more.
    pub fn is_over(&self, lane: usize) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Closed) && state.inboxes[lane].is_empty()
    }

    /// Partitions that were delivered to the lanes up to their ends.
    pub fn delivered(&self, ends: &[u64]) -> usize {
        let state = self.state();
        let is_at_end = |(partition, owned): (&u32, &Ownership)| owned.started.is_some_and(|(_, from)| from >= ends[*partition as usize]);
        if state.inboxes.iter().all(VecDeque::is_empty) { state.owned.iter().filter(|owned| is_at_end(*owned)).count() } else { 0 }
    }

    pub fn is_closing(&self) -> bool {
        self.state().closing.is_some()
    }

    /// One turn of the source's thread.
    pub fn step(&self) {
        let mut world = lock(&self.world);
        let now = world.now();
        world.broker.pass(now);
        let mut state = self.state();
        state.step(&mut world, &self.life, now, self.drain);
    }
}

impl State {
    fn step(&mut self, world: &mut World, life: &Arc<Life>, now: u64, drain: u64) {
        if !matches!(self.phase, Phase::Revoking { .. } | Phase::Closed) {
            self.obey();
        }
        match self.phase.clone() {
            Phase::Closed => {}
            Phase::Closing { deadline } => self.close(world, now, deadline),
            Phase::Revoking { going, coming, deadline } => {
                if now >= deadline || going.iter().all(|partition| self.owned.get(partition).is_none_or(|owned| owned.released)) {
                    self.owned.retain(|partition, _| !going.contains(partition));
                    self.phase = Phase::Assigning { coming, again: true, deadline: now + 30_000_000 };
                }
            }
            Phase::Formed(assigned) => self.compare(&assigned, now, drain),
            Phase::Assigning { coming, again, deadline } => self.assign(world, &coming, again, now >= deadline, now, life),
            Phase::Lost => {
                let all: Vec<(u32, Ownership)> = std::mem::take(&mut self.owned).into_iter().collect();
                for (partition, owned) in all {
                    self.push(LogEvent::Lost { partition: Partition(partition), generation: owned.generation }, partition);
                }
                (self.member, self.phase) = (None, Phase::Steady);
            }
            Phase::Steady if self.closing.is_some() => {
                let all: Vec<(u32, Generation)> = self.owned.iter().map(|(partition, owned)| (*partition, owned.generation)).collect();
                for (partition, generation) in all {
                    self.push(LogEvent::Revoked { partition: Partition(partition), generation }, partition);
                }
                self.phase = Phase::Closing { deadline: now + self.closing.unwrap_or(drain) };
            }
            Phase::Steady => {
                if !self.heartbeat(world, life, now) {
                    self.deliver(world);
                }
            }
        }
    }

    fn close(&mut self, world: &mut World, now: u64, deadline: u64) {
        if now >= deadline || self.owned.values().all(|owned| owned.released) {
            self.owned.clear();
            if let Some(member) = self.member.take() {
                world.broker.group.leave(member, now);
            }
            (self.generation, self.phase) = (-1, Phase::Closed);
        }
    }

    fn push(&mut self, event: LogEvent, partition: u32) {
        let lanes = self.inboxes.len();
        self.inboxes[partition as usize % lanes].push_back(event);
    }

    fn obey(&mut self) {
        while let Some((partition, generation, from, delivery)) = self.commands.pop_front() {
            if let Some(owned) = self.owned.get_mut(&partition).filter(|owned| owned.generation == generation) {
                (owned.started, owned.ended) = (Some((delivery, from)), false);
            }
        }
    }

    /// Whether the group has something to say.
    fn heartbeat(&mut self, world: &mut World, life: &Arc<Life>, now: u64) -> bool {
        let group = &mut world.broker.group;
        let Some(member) = self.member else {
            self.member = group.join(None, life, BTreeSet::new(), now);
            return true;
        };
        match group.status(member) {
            Status::Unknown => {
                self.generation = -1;
                self.phase = Phase::Lost;
            }
            Status::Rebalancing { joined: false } => {
                let held = self.owned.keys().copied().collect();
                self.member = group.join(Some(member), life, held, now).or(self.member);
            }
            Status::Rebalancing { joined: true } => return false,
            Status::Stable { generation, assigned } if generation > self.generation => {
                self.generation = generation;
                self.phase = Phase::Formed(assigned);
            }
            Status::Stable { .. } => return false,
        }
        true
    }

    fn compare(&mut self, assigned: &BTreeSet<u32>, now: u64, drain: u64) {
        let held: BTreeSet<u32> = self.owned.keys().copied().collect();
        let coming: BTreeSet<u32> = assigned.difference(&held).copied().collect();
        let going: BTreeSet<u32> = held.difference(assigned).copied().collect();
        for partition in &going {
            let generation = self.owned[partition].generation;
            self.push(LogEvent::Revoked { partition: Partition(*partition), generation }, *partition);
        }
        self.phase = if going.is_empty() {
            Phase::Assigning { coming, again: false, deadline: now + 30_000_000 }
        } else {
            Phase::Revoking { going, coming, deadline: now + drain }
        };
    }

    fn assign(&mut self, world: &mut World, coming: &BTreeSet<u32>, again: bool, is_late: bool, now: u64, life: &Arc<Life>) {
        let found: Result<Vec<(u32, Option<Stored>)>, ()> =
            coming.iter().map(|partition| world.broker.group.stable(*partition).map(|stored| (*partition, stored))).collect();
        let found = match found {
            Ok(found) => found,
            Err(()) if !is_late => return,
            Err(()) => {
                let error = || LogEvent::Failed(Error::transient("cannot read the group's committed offsets"));
                self.inboxes.iter_mut().for_each(|inbox| inbox.push_back(error()));
                self.phase = Phase::Closed;
                return;
            }
        };
        let generation = Generation(self.generation.unsigned_abs());
        for (number, stored) in found {
            let committed = stored.map(|stored| Committed { next: Offset(stored.next), note: stored.note });
            let start = committed.as_ref().map_or(Offset(world.broker.inputs[number as usize].low), |committed| committed.next);
            self.owned.insert(number, Ownership { generation, started: None, released: false, ended: false });
            self.push(LogEvent::Assigned { partition: Partition(number), generation, committed, start }, number);
        }
        self.phase = Phase::Steady;
        if again && let Some(member) = self.member {
            // What was revoked can be given to others now.
            let held = self.owned.keys().copied().collect();
            self.member = world.broker.group.join(Some(member), life, held, now).or(self.member);
        }
    }

    fn deliver(&mut self, world: &mut World) {
        let started: Vec<u32> = self.owned.iter().filter(|(_, owned)| owned.started.is_some()).map(|(partition, _)| *partition).collect();
        if started.is_empty() {
            return;
        }
        let number = *world.rng.pick(&started);
        let lanes = self.inboxes.len();
        if self.inboxes[number as usize % lanes].len() >= ROOM {
            return;
        }
        let owned = self.owned[&number];
        let Some((delivery, from)) = owned.started else { return };
        let (partition, generation) = (Partition(number), owned.generation);
        let limit = *world.rng.pick(&[1, 2, 3, 5, 8, 13, 40]);
        let log = &world.broker.inputs[number as usize];
        if from < log.low {
            self.push(LogEvent::Failed(Error::permanent("the log no longer has the offset where the group goes on")), number);
            self.phase = Phase::Closed;
            return;
        }
        let (read, next) = log.read(from, limit);
        let mut records = Records::default();
        for (offset, record) in &read {
            records.push(Offset(*offset), Some(EventTime(record.time)), record.key.as_deref(), &record.payload);
        }
        let (end, is_at_end) = (log.end(), next == log.end());
        let state = self.owned.get_mut(&number).unwrap();
        state.started = Some((delivery, next));
        let says_end = is_at_end && read.is_empty() && !std::mem::replace(&mut state.ended, is_at_end && read.is_empty());
        if !records.is_empty() {
            let high_watermark = Some(Offset(end));
            let batch = PartitionBatch { partition, generation, delivery, records, read_at: clock::now(), high_watermark };
            self.push(LogEvent::Batch(batch), number);
        } else if says_end {
            self.push(LogEvent::End { partition, generation, delivery, next: Offset(next) }, number);
        }
    }
}

impl LogSource for SimSource {
    fn start(&self, partition: Partition, generation: Generation, from: Offset) -> Delivery {
        let mut state = self.state();
        state.deliveries += 1;
        let delivery = Delivery(state.deliveries);
        state.commands.push_back((partition.0, generation, from.0, delivery));
        delivery
    }

    fn committed(&self, partition: Partition) -> Result<Option<Committed>> {
        let world = enter(&self.world, &self.life, "committed", u64::from(partition.0))?;
        let stored = world.broker.group.stable(partition.0);
        drop(world);
        leave(&self.world, &self.life)?;
        let stored = stored.map_err(|()| Error::transient("a transaction over the partition is open"))?;
        Ok(stored.map(|stored| Committed { next: Offset(stored.next), note: stored.note }))
    }

    fn member(&self, partitions: &[(Partition, Generation)]) -> Result<Member> {
        let world = enter(&self.world, &self.life, "member", partitions.len() as u64)?;
        let state = self.state();
        let is_owned = |(partition, generation): &(Partition, Generation)| {
            state.owned.get(&partition.0).is_some_and(|owned| owned.generation == *generation)
        };
        let member = (state.member.filter(|_| state.generation >= 0), state.generation);
        let mut owned = None;
        if !world.safe.lost_outputs {
            owned = Some(partitions.iter().copied().filter(is_owned).collect());
        } else if world.safe.checked_member {
            if !partitions.iter().all(is_owned) {
                return Err(Error::new(Kind::Fenced, "a partition is not owned any more"));
            }
            if state.generation < 0 {
                return Err(Error::new(Kind::Fenced, "this process is not a member of its group any more"));
            }
        }
        Ok(Member(Arc::new(Membership { member, owned })))
    }

    fn commit(&self, commits: &[Commit], _: CommitMode) -> Result<()> {
        if commits.is_empty() {
            return Ok(());
        }
        let mut world = enter(&self.world, &self.life, "commit", commits.len() as u64)?;
        let state = self.state();
        let is_owned = |commit: &Commit| state.owned.get(&commit.partition.0).is_some_and(|owned| owned.generation == commit.generation);
        if !commits.iter().all(is_owned) {
            return Err(Error::new(Kind::Fenced, "a partition is not owned any more"));
        }
        let offsets: Vec<_> = commits.iter().map(|commit| (commit.partition.0, commit.next.0, commit.note.clone())).collect();
        let error = world.faults.producer_error;
        if world.rng.chance(error) {
            return Err(Error::transient("the coordinator does not answer"));
        }
        let done = world.broker.group.commit((state.member, state.generation), &offsets);
        drop(state);
        let is_lost = world.rng.chance(error);
        drop(world);
        leave(&self.world, &self.life)?;
        match done {
            Err(_) => Err(Error::new(Kind::Fenced, "the group refuses the member")),
            Ok(()) if is_lost => Err(Error::transient("the coordinator's answer is lost")),
            Ok(()) => Ok(()),
        }
    }

    fn owns(&self, partition: Partition, generation: Generation) -> bool {
        self.state().owned.get(&partition.0).is_some_and(|owned| owned.generation == generation)
    }

    fn released(&self, partition: Partition, generation: Generation) {
        if let Some(owned) = self.state().owned.get_mut(&partition.0).filter(|owned| owned.generation == generation) {
            owned.released = true;
        }
    }

    fn recycle(&self, _: Records) {}

    fn close(&self, wait: Duration) -> Result<()> {
        self.state().closing = Some(wait.as_micros() as u64);
        Ok(())
    }
}
