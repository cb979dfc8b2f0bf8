//! A model of Kafka's group coordinator: members, generations, cooperative rebalances, offsets plain and transactional.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::broker::Refused;
use super::life::Life;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub next: u64,
    pub note: String,
}

struct Member {
    life: Arc<Life>,
    seen: u64,
    /// Of a rebalance under way: has asked to take part, with what it still holds.
    joined: bool,
    holds: BTreeSet<u32>,
    assigned: BTreeSet<u32>,
}

/// What a member hears at its heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Expelled.
    Unknown,
    /// Everybody has to join again.
    Rebalancing {
        joined: bool,
    },
    Stable {
        generation: i64,
        assigned: BTreeSet<u32>,
    },
}

pub struct Group {
    partitions: u32,
    members: BTreeMap<u64, Member>,
    next_member: u64,
    pub generation: i64,
    rebalancing_since: Option<u64>,
    session: u64,
    rejoin: u64,
    offsets: BTreeMap<u32, Stored>,
    /// By producer: offsets of transactions that have not ended.
    pending: BTreeMap<u64, BTreeMap<u32, Stored>>,
    /// Partitions are dealt anew instead of kept where they are, so many times.
    pub shuffles: u64,
    pub expelled: u64,
    pub rebalances: u64,
    pub refused: u64,
}

impl Group {
    pub fn new(partitions: u32, session: u64, rejoin: u64) -> Self {
        Self {
            partitions,
            members: BTreeMap::new(),
            next_member: 1,
            generation: 0,
            rebalancing_since: None,
            session,
            rejoin,
            offsets: BTreeMap::new(),
            pending: BTreeMap::new(),
            shuffles: 0,
            expelled: 0,
            rebalances: 0,
            refused: 0,
        }
    }

    /// A client that runs sends heartbeats from a thread of its own; one that is frozen or gone does not.
    pub fn expire(&mut self, now: u64) {
        let mut gone = vec![];
        for (id, member) in &mut self.members {
            if member.life.is_running(now) {
                member.seen = now;
            } else if member.seen + self.session < now {
                gone.push(*id);
            }
        }
        if let Some(since) = self.rebalancing_since.filter(|since| since + self.rejoin < now) {
            let late = self.members.iter().filter(|(_, member)| !member.joined).map(|(id, _)| *id);
            gone.extend(late);
            self.rebalancing_since = Some(since.max(now));
        }
        for id in gone {
            self.expelled += 1;
            self.leave(id, now);
        }
    }

    pub fn leave(&mut self, id: u64, now: u64) {
        if self.members.remove(&id).is_some() {
            self.rebalance(now);
            self.complete();
        }
    }

    pub fn rebalance(&mut self, now: u64) {
        if self.rebalancing_since.is_none() && !self.members.is_empty() {
            self.rebalancing_since = Some(now);
            self.members.values_mut().for_each(|member| member.joined = false);
        }
    }

    /// Joins, as a new member without a number; `holds` is what it still owns.
    pub fn join(&mut self, id: Option<u64>, life: &Arc<Life>, holds: BTreeSet<u32>, now: u64) -> Option<u64> {
        let id = match id {
            Some(id) if !self.members.contains_key(&id) => return None,
            Some(id) => id,
            None => {
                let id = self.next_member;
                self.next_member += 1;
                let member = Member { life: Arc::clone(life), seen: now, joined: false, holds: BTreeSet::new(), assigned: BTreeSet::new() };
                self.members.insert(id, member);
                id
            }
        };
        self.rebalance(now);
        if let Some(member) = self.members.get_mut(&id) {
            (member.joined, member.holds) = (true, holds);
        }
        self.complete();
        Some(id)
    }

    fn complete(&mut self) {
        if self.rebalancing_since.is_none() || self.members.values().any(|member| !member.joined) {
            return;
        }
        self.rebalancing_since = None;
        self.generation += 1;
        self.rebalances += 1;
        if self.members.is_empty() {
            return;
        }
        let targets = self.targets();
        for partition in 0..self.partitions {
            let target = targets[&partition];
            let held_elsewhere = self.members.iter().any(|(id, member)| *id != target && member.holds.contains(&partition));
            for (id, member) in &mut self.members {
                // What another member still holds is only taken from it this time; it is given away in the next round.
                if *id == target && !held_elsewhere {
                    member.assigned.insert(partition);
                } else {
                    member.assigned.remove(&partition);
                }
            }
        }
    }

    /// Evenly, and as before where that is even.
    fn targets(&mut self) -> BTreeMap<u32, u64> {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        let share = (self.partitions as usize).div_ceil(ids.len());
        let turn = if self.shuffles > 0 { self.generation as usize } else { 0 };
        let keeps = self.shuffles == 0;
        self.shuffles = self.shuffles.saturating_sub(1);
        let mut load: BTreeMap<u64, usize> = ids.iter().map(|id| (*id, 0)).collect();
        let mut targets = BTreeMap::new();
        for (id, member) in self.members.iter().filter(|_| keeps) {
            for partition in &member.holds {
                if load[id] < share && !targets.contains_key(partition) {
                    targets.insert(*partition, *id);
                    *load.get_mut(id).unwrap() += 1;
                }
            }
        }
        for partition in 0..self.partitions {
            let at = (partition as usize + turn) % ids.len();
            let idlest = || ids.iter().cycle().skip(at).take(ids.len()).min_by_key(|id| load[*id]).copied();
            if let (None, Some(id)) = (targets.get(&partition), idlest()) {
                *load.entry(id).or_default() += 1;
                targets.insert(partition, id);
            }
        }
        targets
    }

    pub fn status(&self, id: u64) -> Status {
        match self.members.get(&id) {
            None => Status::Unknown,
            Some(member) if self.rebalancing_since.is_some() => Status::Rebalancing { joined: member.joined },
            Some(member) => Status::Stable { generation: self.generation, assigned: member.assigned.clone() },
        }
    }

    fn knows(&self, (id, generation): (Option<u64>, i64)) -> bool {
        id.is_some_and(|id| self.members.contains_key(&id)) && generation == self.generation
    }

    /// Offsets of a transaction. As with the real one, a commit without any membership is not checked.
    pub fn commit_in(&mut self, producer: u64, member: (Option<u64>, i64), offsets: &[(u32, u64, String)]) -> Result<(), Refused> {
        if member != (None, -1) && !self.knows(member) {
            self.refused += 1;
            return Err(Refused::Member);
        }
        let pending = self.pending.entry(producer).or_default();
        pending.extend(offsets.iter().map(|(partition, next, note)| (*partition, Stored { next: *next, note: note.clone() })));
        Ok(())
    }

    pub fn commit(&mut self, member: (Option<u64>, i64), offsets: &[(u32, u64, String)]) -> Result<(), Refused> {
        if !self.knows(member) {
            self.refused += 1;
            return Err(Refused::Member);
        }
        self.offsets.extend(offsets.iter().map(|(partition, next, note)| (*partition, Stored { next: *next, note: note.clone() })));
        Ok(())
    }

    /// A transaction has ended here.
    pub fn end(&mut self, producer: u64, commit: bool) {
        let offsets = self.pending.remove(&producer).unwrap_or_default();
        if commit {
            self.offsets.extend(offsets);
        }
    }

    /// What is committed; `Err` while a transaction over it is open.
    pub fn stable(&self, partition: u32) -> Result<Option<Stored>, ()> {
        if self.pending.values().any(|offsets| offsets.contains_key(&partition)) {
            return Err(());
        }
        Ok(self.offsets.get(&partition).cloned())
    }
}
