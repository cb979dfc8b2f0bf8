//! The three threads of a lane: working, settling, storing. Each is a loop around a machine that knows nothing of threads.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select_biased, unbounded};

use super::keep::{Keep, Keeper};
use super::lane::{Ends, Lane};
use super::orders::{Order, Output, Reply};
use super::settle::{Parts, Settler};
use super::shared::{LaneReport, Settled, Shared};
use super::task::Task;
use crate::edge::clock::Deadline;
use crate::edge::{LogEvent, StateStore};
use crate::error::{Error, Result};

/// Parcels and chunks that may wait for settling; a slower broker holds the lane back.
const WORK_MAX: usize = 16;
/// Works taken before looking whether a commit is due.
const WORKS_A_STEP: usize = 8;
const IDLE_WAIT: Duration = Duration::from_millis(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a lane is made of.
pub struct LaneParts<T> {
    pub name: String,
    pub task: T,
    pub events: Receiver<LogEvent>,
    /// One handle to load by, one to store by.
    pub stores: (Box<dyn StateStore>, Box<dyn StateStore>),
    pub durable: bool,
    /// Its number, where lag and states of the lane are shown.
    pub shown: Option<usize>,
    pub output: Output,
    pub commit_interval: Duration,
    pub shared: Arc<Shared>,
}

/// A lane at work.
pub struct Running {
    lane: JoinHandle<Result<LaneReport>>,
    settler: JoinHandle<Result<Settled>>,
    keeper: JoinHandle<Result<()>>,
    shared: Arc<Shared>,
}

/// # Errors
/// No thread can be started.
pub fn start<T: Task + 'static>(parts: LaneParts<T>) -> Result<Running> {
    let LaneParts { name, task, events, stores: (load, store), durable, shown, output, commit_interval, shared } = parts;
    let (work, orders) = bounded(WORK_MAX);
    let (keep, kept) = unbounded();
    let (reply, replies) = unbounded();
    let (spare, spares) = bounded(WORK_MAX);
    let (metrics, give_up) = (Arc::clone(&shared.metrics), Arc::clone(&shared.give_up));
    let keeper = Keeper::new(store, reply.clone(), Arc::clone(&metrics), Arc::clone(&give_up));
    let settling =
        Parts { output, source: Arc::clone(&shared.source), keep, replies: reply.clone(), spare, metrics, commit_interval, give_up };
    let settler = Settler::new(settling);
    let lane = Lane::new(task, load, durable, Ends { work, spare: spares }, Arc::clone(&shared)).shown(shown);
    let failed = reply.clone();
    let keeper = spawn(&format!("store-{name}"), move || tell(&failed, keep_on(keeper, &kept)))?;
    let settler = spawn(&format!("settle-{name}"), move || tell(&reply, settle_on(settler, &orders)))?;
    let around = Arc::clone(&shared);
    let lane = spawn(&name, move || work_on(lane, &events, &replies, &around))?;
    Ok(Running { lane, settler, keeper, shared })
}

impl Running {
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.lane.is_finished()
    }

    /// Waits for its end; once the process was told to stop, not beyond the deadline: the threads then end with the process.
    ///
    /// # Errors
    /// The first reason that it ended for, if it was not the end of its events.
    pub fn join(self, deadline: Deadline) -> Result<(LaneReport, Settled)> {
        let report = join(self.lane, &self.shared, deadline);
        let settled = join(self.settler, &self.shared, deadline);
        let stored = join(self.keeper, &self.shared, deadline);
        // A lane that fails because another thread of it did only repeats what that one says.
        let report = report?;
        stored?;
        Ok((report, settled?))
    }
}

fn work_on<T: Task>(mut lane: Lane<T>, events: &Receiver<LogEvent>, replies: &Receiver<Reply>, shared: &Shared) -> Result<LaneReport> {
    let ended = serve(&mut lane, events, replies).map_err(|error| {
        // What a lane runs into when settling has ended is not the reason why it has.
        let reason = |reply| if let Reply::Failed(error) = reply { Some(error) } else { None };
        replies.try_iter().find_map(reason).unwrap_or(error)
    });
    shared.give_up_after(&ended);
    ended.map(|()| lane.report())
}

fn serve<T: Task>(lane: &mut Lane<T>, events: &Receiver<LogEvent>, replies: &Receiver<Reply>) -> Result<()> {
    let never = crossbeam_channel::never();
    loop {
        let from = if lane.is_ready() { events } else { &never };
        select_biased! {
            recv(replies) -> reply => lane.reply(reply.map_err(|_| Error::bug("settling and storing ended"))?)?,
            recv(from) -> event => match event {
                Ok(event) => lane.event(event)?,
                Err(_) => return Ok(()),
            },
            default(IDLE_WAIT) => {}
        }
        lane.idle()?;
    }
}

fn settle_on(mut settler: Settler, orders: &Receiver<Order>) -> Result<Settled> {
    loop {
        match orders.recv_timeout(settler.wait()) {
            Ok(order) => {
                settler.take(order)?;
                for order in orders.try_iter().take(WORKS_A_STEP) {
                    settler.take(order)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return settler.finish(),
        }
        settler.step()?;
        if orders.is_empty() {
            settler.rest();
        }
    }
}

fn keep_on(mut keeper: Keeper, kept: &Receiver<Keep>) -> Result<()> {
    kept.iter().try_for_each(|keep| keeper.take(keep))
}

/// Tells the lane why one of its threads ended, when it ended too early.
fn tell<T: Default>(lane: &Sender<Reply>, ended: Result<T>) -> Result<T> {
    match ended {
        Err(error) => {
            let again = Error::new(error.kind, error.to_string());
            match lane.send(Reply::Failed(error)) {
                Ok(()) => Ok(T::default()),
                // Nobody hears it any more: it is told at the end.
                Err(_) => Err(again),
            }
        }
        ended => ended,
    }
}

pub(super) fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> Result<T> + Send + 'static) -> Result<JoinHandle<Result<T>>> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(|error| Error::permanent(format!("cannot start the thread {name}")).because(error))
}

fn join<T>(thread: JoinHandle<Result<T>>, shared: &Shared, deadline: Deadline) -> Result<T> {
    while !thread.is_finished() {
        if shared.stop.load(std::sync::atomic::Ordering::Relaxed) && deadline.passed() {
            return Err(Error::transient("stopped before everything was settled; it is delivered again at the next start"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    thread.join().unwrap_or_else(|_| Err(Error::bug("a thread of the pipeline panicked; its message is in the log")))
}
