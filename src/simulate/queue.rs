//! The calendar of a simulation: what happens next, in order of time. Ties go in the order they were planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::campaign::LabelId;
use super::draft::Draft;

/// What happens at a task's time. A step writes at most one event and plans what follows from it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Half a day ahead: plan `user`'s day.
    Day {
        user: u32,
        day: i32,
    },
    LogIn {
        user: u32,
        day: i32,
        second: bool,
        left: u8,
    },
    SecondFactor {
        user: u32,
        epoch: u32,
    },
    Directory {
        user: u32,
        epoch: u32,
    },
    LogInAgain {
        user: u32,
        epoch: u32,
    },
    Phone {
        user: u32,
        left: u8,
        stale: bool,
    },
    Work {
        user: u32,
        epoch: u32,
    },
    FileFlow {
        user: u32,
        kilobytes: u32,
    },
    Manage {
        user: u32,
        dest: u32,
    },
    Browse {
        user: u32,
        epoch: u32,
    },
    Fetch {
        user: u32,
        domain: u32,
        left: u8,
    },
    Reputation {
        user: u32,
        left: u8,
    },
    Meeting {
        user: u32,
        epoch: u32,
    },
    /// The log-in page's own log of an attempt that the directory has just logged.
    Portal {
        source: u32,
        account: u32,
        failed: bool,
        label: Option<LabelId>,
    },
    Timer {
        index: u32,
        epoch: u32,
    },
    Load {
        server: u32,
    },
    Build {
        server: u32,
        left: u8,
    },
    Backup {
        server: u32,
        left: u8,
    },
    OffSite {
        left: u8,
    },
    Customer {
        customer: u32,
        left: u8,
    },
    MailIn,
    Blocklist {
        sender: u32,
    },
    SenderPolicy {
        domain: u32,
    },
    Service {
        index: u32,
    },
    AllowedScan {
        cursor: u32,
    },
    LaptopScan {
        cursor: u32,
    },
    Patch {
        cursor: u32,
    },
    Noise {
        source: u32,
        left: u8,
    },
    Attack {
        index: u32,
        stage: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) time: i64,
    order: u64,
    pub(super) step: Step,
}

impl Task {
    fn key(&self) -> (i64, u64) {
        (self.time, self.order)
    }
}

impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Task {}
impl PartialOrd for Task {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Task {
    /// Reversed, so that the heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Task>,
    planned: u64,
}

impl Queue {
    pub(super) fn push(&mut self, time: i64, step: Step) {
        self.planned += 1;
        self.heap.push(Task { time, order: self.planned, step });
    }

    pub(super) fn pop(&mut self) -> Option<Task> {
        self.heap.pop()
    }
}

/// What a step works with besides the world.
pub(super) struct Context<'s> {
    pub(super) now: i64,
    pub(super) draft: &'s mut Draft,
    pub(super) queue: &'s mut Queue,
}

impl Context<'_> {
    /// Plans `step` in `seconds` from now.
    pub(super) fn after(&mut self, seconds: f64, step: Step) {
        self.queue.push(self.now + micros(seconds), step);
    }
}

pub(super) fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_ties_keep_their_order() {
        let mut queue = Queue::default();
        for (time, server) in [(5, 0), (3, 1), (5, 2), (1, 3), (3, 4)] {
            queue.push(time, Step::Load { server });
        }
        let mut order = Vec::new();
        while let Some(Task { step: Step::Load { server }, .. }) = queue.pop() {
            order.push(server);
        }
        assert_eq!(order, [3, 1, 4, 0, 2]);
        assert!(size_of::<Task>() <= 40);
    }
}
