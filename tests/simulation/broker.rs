//! A model of Kafka's brokers: logs, producers with epochs, and the coordinator of transactions before protocol version 2.
//!
//! Nothing here takes time or fails by chance: delays and losses are between a client and this.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use threatguard::edge::TopicRole;

use super::group::Group;
use super::log::{Log, Record};

/// Topic and partition of an output.
pub type Target = (usize, u32);

/// The longest that the markers of a decided transaction are on their way.
const MARKERS_MICROS: u64 = 300_000;

/// Why a request of a producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A newer producer has its name, or its transaction took too long.
    Fenced,
    /// The transaction before is still ending: ask again.
    Concurrent,
    /// There is no such transaction.
    InvalidState,
    /// The group does not know the member under this generation.
    Member,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing,
    /// Decided; markers are on their way to the partitions and the group.
    Prepared {
        commit: bool,
        markers: Vec<Option<Target>>,
    },
    Complete {
        commit: bool,
    },
}

#[derive(Clone, Debug)]
struct Transaction {
    producer: u64,
    epoch: u32,
    state: State,
    targets: BTreeSet<Target>,
    has_offsets: bool,
    begun: u64,
    decided: u64,
}

/// An end of a transaction that is still on its way, though its sender has given up on it.
#[derive(Clone, Copy, Debug)]
struct Late {
    due: u64,
    producer: u64,
    epoch: u32,
    commit: bool,
}

pub struct Broker {
    pub inputs: Vec<Log>,
    pub outputs: BTreeMap<Target, Log>,
    pub group: Group,
    transactions: BTreeMap<String, Transaction>,
    late: VecDeque<Late>,
    pub timeout: u64,
    now: u64,
    pub aborts: u64,
    pub fencings: u64,
    pub late_ends: u64,
}

pub fn index_of(role: TopicRole) -> usize {
    TopicRole::ALL.iter().position(|other| *other == role).unwrap()
}

impl Broker {
    pub fn new(partitions: u32, group: Group, timeout: u64) -> Self {
        let inputs = (0..partitions).map(|_| Log::default()).collect();
        Self {
            inputs,
            outputs: BTreeMap::new(),
            group,
            transactions: BTreeMap::new(),
            late: VecDeque::new(),
            timeout,
            now: 0,
            aborts: 0,
            fencings: 0,
            late_ends: 0,
        }
    }

    /// What brokers do by themselves: time out transactions, expire members, receive what was delayed.
    pub fn pass(&mut self, now: u64) {
        self.group.expire(now);
        let old: Vec<String> = self
            .transactions
            .iter()
            .filter(|(_, txn)| txn.state == State::Ongoing && txn.begun + self.timeout < now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in old {
            let txn = self.transactions.get_mut(&id).unwrap();
            txn.epoch += 1;
            self.prepare(&id, false);
            self.fencings += 1;
        }
        let slow: Vec<String> =
            self.transactions.iter().filter(|(_, txn)| txn.decided + MARKERS_MICROS < now).map(|(id, _)| id.clone()).collect();
        slow.iter().for_each(|id| self.finish_markers(id));
        self.now = now;
        while self.late.front().is_some_and(|late| late.due <= now) {
            let Some(late) = self.late.pop_front() else { break };
            if self.end(late.producer, late.epoch, late.commit).is_ok() {
                self.late_ends += 1;
            }
        }
    }

    /// Writes one marker of a decided transaction, if there is one to write. `choice` draws which.
    pub fn write_a_marker(&mut self, choice: u64) {
        let prepared: Vec<String> =
            self.transactions.iter().filter(|(_, txn)| matches!(txn.state, State::Prepared { .. })).map(|(id, _)| id.clone()).collect();
        if !prepared.is_empty() {
            let id = prepared[choice as usize % prepared.len()].clone();
            self.write_marker(&id);
        }
    }

    /// A client asks again until the transaction before has ended; so it has.
    pub fn finish_markers(&mut self, id: &str) {
        while matches!(self.transactions.get(id).map(|txn| &txn.state), Some(State::Prepared { .. })) {
            self.write_marker(id);
        }
    }

    fn write_marker(&mut self, id: &str) {
        let Some(txn) = self.transactions.get_mut(id) else { return };
        let State::Prepared { commit, markers } = &mut txn.state else { return };
        let commit = *commit;
        match markers.pop() {
            Some(Some(target)) => self.outputs.entry(target).or_default().mark(txn.producer, commit),
            Some(None) => self.group.end(txn.producer, commit),
            None => {}
        }
        if markers.is_empty() {
            txn.state = State::Complete { commit };
            txn.targets.clear();
            txn.has_offsets = false;
        }
    }

    fn prepare(&mut self, id: &str, commit: bool) {
        let Some(txn) = self.transactions.get_mut(id) else { return };
        let mut markers: Vec<Option<Target>> = txn.targets.iter().copied().map(Some).collect();
        if txn.has_offsets {
            markers.push(None);
        }
        self.aborts += u64::from(!commit);
        txn.decided = self.now;
        txn.state = if markers.is_empty() { State::Complete { commit } } else { State::Prepared { commit, markers } };
    }

    /// A producer's first request: ends what another life has left open, and fences that off.
    pub fn init(&mut self, id: &str) -> (u64, u32) {
        if !self.transactions.contains_key(id) {
            let producer = self.transactions.len() as u64 + 1_000;
            let txn =
                Transaction { producer, epoch: 0, state: State::Empty, targets: BTreeSet::new(), has_offsets: false, begun: 0, decided: 0 };
            self.transactions.insert(id.to_owned(), txn);
        }
        if self.transactions[id].state == State::Ongoing {
            self.prepare(id, false);
        }
        self.finish_markers(id);
        let txn = self.transactions.get_mut(id).unwrap();
        txn.epoch += 1;
        (txn.producer, txn.epoch)
    }

    fn of(&mut self, producer: u64, epoch: u32) -> Result<&mut Transaction, Refused> {
        let txn = self.transactions.values_mut().find(|txn| txn.producer == producer).ok_or(Refused::InvalidState)?;
        if txn.epoch == epoch {
            return Ok(txn);
        }
        self.fencings += 1;
        Err(Refused::Fenced)
    }

    fn join(&mut self, producer: u64, epoch: u32, now: u64) -> Result<&mut Transaction, Refused> {
        let txn = self.of(producer, epoch)?;
        match txn.state {
            State::Prepared { .. } => return Err(Refused::Concurrent),
            State::Empty | State::Complete { .. } => (txn.state, txn.begun) = (State::Ongoing, now),
            State::Ongoing => {}
        }
        Ok(txn)
    }

    pub fn add_partition(&mut self, producer: u64, epoch: u32, target: Target, now: u64) -> Result<(), Refused> {
        self.join(producer, epoch, now)?.targets.insert(target);
        Ok(())
    }

    /// Appends to an output; the coordinator vouches for the transaction, as brokers ask it since 3.6.
    pub fn produce(&mut self, producer: u64, epoch: u32, target: Target, records: Vec<Record>) -> Result<(), Refused> {
        let txn = self.of(producer, epoch)?;
        if txn.state != State::Ongoing || !txn.targets.contains(&target) {
            return Err(Refused::InvalidState);
        }
        let log = self.outputs.entry(target).or_default();
        records.into_iter().for_each(|record| log.append(record));
        Ok(())
    }

    pub fn add_offsets(
        &mut self,
        producer: u64,
        epoch: u32,
        member: (Option<u64>, i64),
        offsets: &[(u32, u64, String)],
        now: u64,
    ) -> Result<(), Refused> {
        self.join(producer, epoch, now)?.has_offsets = true;
        self.group.commit_in(producer, member, offsets)
    }

    /// Decides a transaction. Any request with the right epoch decides whatever transaction is open: also a late one.
    pub fn end(&mut self, producer: u64, epoch: u32, commit: bool) -> Result<(), Refused> {
        let txn = self.of(producer, epoch)?;
        let state = txn.state.clone();
        match state {
            State::Ongoing => {
                let id = self.transactions.iter().find(|(_, txn)| txn.producer == producer).map(|(id, _)| id.clone()).unwrap();
                self.prepare(&id, commit);
                Ok(())
            }
            State::Prepared { commit: decided, .. } | State::Complete { commit: decided } if decided == commit => Ok(()),
            _ => Err(Refused::InvalidState),
        }
    }

    /// The same, some time after its sender has given up.
    pub fn end_late(&mut self, producer: u64, epoch: u32, commit: bool, due: u64) {
        let at = self.late.iter().position(|late| late.due > due).unwrap_or(self.late.len());
        self.late.insert(at, Late { due, producer, epoch, commit });
    }

    /// Whether anything of a transaction is still open or on its way.
    pub fn is_quiet(&self) -> bool {
        self.late.is_empty() && self.transactions.values().all(|txn| matches!(txn.state, State::Empty | State::Complete { .. }))
    }
}
