//! The output side of a worker: transactions, and plain publishing, on the model of the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use threatguard::edge::{Commit, Member, Outgoing, Publisher, Sequence, Transactions, clock};
use threatguard::error::{Error, Result};

use super::broker::{Refused, Target, index_of};
use super::life::Life;
use super::log::{PLAIN, Record};
use super::world::{Shared, World, enter, leave, lock};

/// Partitions of the topics whose records go by their key.
const KEYED: u64 = 3;

fn target(record: &Outgoing<'_>) -> Target {
    let by_key = record.key.unwrap_or_default().iter().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    (index_of(record.role), record.partition.map_or((by_key % KEYED) as u32, |partition| partition.0))
}

fn record(outgoing: &Outgoing<'_>, producer: u64) -> Record {
    let time = outgoing.time.map_or(0, |time| time.0);
    Record { producer, key: outgoing.key.map(<[u8]>::to_vec), payload: Arc::from(outgoing.payload), time }
}

/// A transactional producer. What it is given waits in its buffer until it is sent, as with the real client.
pub struct SimTransactions {
    world: Shared,
    life: Arc<Life>,
    id: String,
    producer: u64,
    epoch: u32,
    buffer: Vec<(Target, Record)>,
    added: BTreeSet<Target>,
    failed: bool,
    /// The broker itself has refused it, which no outcome is unknown about.
    refused: bool,
}

impl SimTransactions {
    pub fn open(world: &Shared, life: &Arc<Life>, id: String) -> Self {
        let (producer, epoch) = lock(world).broker.init(&id);
        Self {
            world: Arc::clone(world),
            life: Arc::clone(life),
            id,
            producer,
            epoch,
            buffer: vec![],
            added: BTreeSet::new(),
            failed: false,
            refused: false,
        }
    }

    fn usable(&self) -> Result<()> {
        if self.failed { Err(Error::transient("the producer has failed: renew first")) } else { Ok(()) }
    }

    /// After this only a renewal helps.
    fn fail<T>(&mut self, why: &str) -> Result<T> {
        self.failed = true;
        Err(Error::transient(why.to_owned()))
    }

    fn refused<T>(&mut self, refused: Refused) -> Result<T> {
        self.refused = true;
        self.fail(&format!("the broker refuses: {refused:?}"))
    }

    fn send(&mut self, count: usize) -> Result<()> {
        let mut by_target: BTreeMap<Target, Vec<Record>> = BTreeMap::new();
        for (target, record) in self.buffer.drain(..count) {
            by_target.entry(target).or_default().push(record);
        }
        for (target, records) in by_target {
            let mut world = enter(&self.world, &self.life, "produce", u64::from(target.1))?;
            let sent = send_to(&mut world, (&self.id, self.producer, self.epoch), &mut self.added, target, records);
            let is_lost = lost(&mut world);
            drop(world);
            match sent {
                Err(refusal) => return self.refused(refusal),
                Ok(()) if is_lost => return self.fail("a record was not acknowledged"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn send_offsets(&mut self, commits: &[Commit], member: (Option<u64>, i64)) -> Result<()> {
        let offsets: Vec<_> = commits.iter().map(|commit| (commit.partition.0, commit.next.0, commit.note.clone())).collect();
        let mut world = enter(&self.world, &self.life, "offsets", offsets.len() as u64)?;
        for (partition, next, note) in &offsets {
            world.trace.say(|| format!("   partition {partition} offset {next} {note} by {} epoch {}", self.id, self.epoch));
        }
        world.broker.finish_markers(&self.id);
        let now = world.now();
        let added = world.broker.add_offsets(self.producer, self.epoch, member, &offsets, now);
        let is_lost = lost(&mut world);
        drop(world);
        leave(&self.world, &self.life)?;
        match added {
            Err(refusal) => self.refused(refusal),
            Ok(()) if is_lost => self.fail("offsets were not acknowledged"),
            Ok(()) => Ok(()),
        }
    }

    fn end(&mut self) -> Result<()> {
        let mut world = enter(&self.world, &self.life, "end", self.producer)?;
        let (error, late, now) = (world.faults.producer_error, world.faults.late_end, world.now());
        if world.rng.chance(late) {
            // The request is on its way when the client gives up on it.
            let due = now + world.rng.between(1, 800) * 1_000;
            world.broker.end_late(self.producer, self.epoch, true, due);
            world.stats.unknown += 1;
            if world.safe.told_of_retries {
                drop(world);
                return self.fail("the end of the transaction was not answered");
            }
        }
        if world.rng.chance(error) {
            world.stats.unknown += 1;
            drop(world);
            return self.fail("the end of the transaction was not sent");
        }
        let ended = world.broker.end(self.producer, self.epoch, true);
        world.trace.note("ended", u64::from(ended.is_ok()), self.producer);
        let is_lost = world.rng.chance(error);
        world.stats.unknown += u64::from(is_lost);
        drop(world);
        leave(&self.world, &self.life)?;
        match ended {
            Err(refusal) => self.refused(refusal),
            Ok(()) if is_lost => self.fail("the answer to the end of the transaction was lost"),
            Ok(()) => Ok(()),
        }
    }
}

fn lost(world: &mut World) -> bool {
    let error = world.faults.producer_error;
    world.rng.chance(error / 4)
}

fn send_to(
    world: &mut World,
    (id, producer, epoch): (&str, u64, u32),
    added: &mut BTreeSet<Target>,
    target: Target,
    records: Vec<Record>,
) -> Result<(), Refused> {
    if added.insert(target) {
        // The client asks until the transaction before has ended.
        world.broker.finish_markers(id);
        let now = world.now();
        world.broker.add_partition(producer, epoch, target, now)?;
    }
    world.broker.produce(producer, epoch, target, records)
}

impl Transactions for SimTransactions {
    fn renew(&mut self) -> Result<()> {
        let mut world = enter(&self.world, &self.life, "renew", self.producer)?;
        world.stats.rewinds += 1;
        self.buffer.clear();
        self.added.clear();
        if !world.safe.renewed_producer && !self.refused {
            // Goes on with the same producer, as if an abort settled everything.
            let _aborted = world.broker.end(self.producer, self.epoch, false);
            world.broker.finish_markers(&self.id);
            self.failed = false;
            return Ok(());
        }
        let error = world.faults.producer_error;
        if world.rng.chance(error) {
            return Err(Error::transient("no coordinator answers"));
        }
        let (producer, epoch) = world.broker.init(&self.id);
        let is_lost = world.rng.chance(error);
        drop(world);
        leave(&self.world, &self.life)?;
        if is_lost {
            return Err(Error::transient("the coordinator's answer is lost"));
        }
        (self.producer, self.epoch, self.failed, self.refused) = (producer, epoch, false, false);
        Ok(())
    }

    fn publish(&mut self, records: &[Outgoing<'_>], _: &dyn Fn() -> bool) -> Result<()> {
        self.usable()?;
        self.buffer.extend(records.iter().map(|outgoing| (target(outgoing), record(outgoing, self.producer))));
        let count = lock(&self.world).rng.below(self.buffer.len() as u64 * 2 + 1) as usize;
        if count <= self.buffer.len() { self.send(count) } else { Ok(()) }
    }

    fn commit(&mut self, commits: &[Commit], member: &Member) -> Result<()> {
        self.usable()?;
        let (member, owned) = member.0.downcast_ref::<super::source::Membership>().map(|held| (held.member, held.owned.clone())).unwrap();
        let mut commits = commits.to_vec();
        if let Some(owned) = owned {
            commits.retain(|commit| owned.contains(&(commit.partition, commit.generation)));
        }
        self.send(self.buffer.len())?;
        if !commits.is_empty() {
            self.send_offsets(&commits, member)?;
        }
        let has_begun = !self.added.is_empty() || !commits.is_empty();
        if has_begun {
            self.end()?;
        }
        self.added.clear();
        Ok(())
    }
}

/// A plain producer: acknowledgements come some time later, in order.
pub struct SimPublisher {
    world: Shared,
    life: Arc<Life>,
    inner: Mutex<Sending>,
}

#[derive(Default)]
struct Sending {
    waiting: Vec<(Target, Record)>,
    produced: u64,
    delivered: u64,
}

impl SimPublisher {
    pub fn new(world: &Shared, life: &Arc<Life>) -> Self {
        Self { world: Arc::clone(world), life: Arc::clone(life), inner: Mutex::default() }
    }
}

impl Publisher for SimPublisher {
    fn publish(&self, outgoing: Outgoing<'_>) -> Result<Sequence> {
        self.life.check()?;
        let mut inner = self.inner.lock().unwrap();
        inner.waiting.push((target(&outgoing), record(&outgoing, PLAIN)));
        inner.produced += 1;
        Ok(Sequence(inner.produced))
    }

    fn produced(&self) -> Sequence {
        Sequence(self.inner.lock().unwrap().produced)
    }

    fn delivered(&self) -> Sequence {
        let acknowledged = Sequence(self.inner.lock().unwrap().delivered);
        let Ok(mut world) = enter(&self.world, &self.life, "deliver", 0) else { return acknowledged };
        let mut inner = self.inner.lock().unwrap();
        let count = world.rng.below(inner.waiting.len() as u64 + 1);
        for (target, record) in inner.waiting.drain(..count as usize) {
            world.broker.outputs.entry(target).or_default().append(record);
        }
        inner.delivered += count;
        Sequence(inner.delivered)
    }

    fn failure(&self) -> Option<Error> {
        self.life.check().err()
    }

    fn flush(&self, _: Duration) -> Result<()> {
        while self.delivered() < self.produced() {
            self.life.check()?;
            clock::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
