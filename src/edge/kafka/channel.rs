//! The channels to the receivers, and what did not fit into them yet. Must never reorder what one channel was given.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, TrySendError};

use crate::edge::LogEvent;

/// One channel: its end, and what waits for room, in order. Filled by the group's thread and by the channel's reader.
pub(super) struct Channel(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    sender: Option<Sender<LogEvent>>,
    events: VecDeque<LogEvent>,
}

/// Whether a channel took everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    Full,
    /// Nobody receives any more.
    Closed,
}

impl Channel {
    pub(super) fn new(sender: Sender<LogEvent>) -> Self {
        Self(Mutex::new(Waiting { sender: Some(sender), events: VecDeque::new() }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, event: LogEvent) {
        self.waiting().events.push_back(event);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().events.is_empty()
    }

    /// Hands over what there is room for. Never waits, so that both threads may come at any time.
    pub(super) fn flush(&self) -> Sent {
        let mut waiting = self.waiting();
        let Waiting { sender, events } = &mut *waiting;
        let Some(sender) = sender else { return Sent::Closed };
        while let Some(event) = events.pop_front() {
            match sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Disconnected(_)) => return Sent::Closed,
                Err(TrySendError::Full(event)) => {
                    events.push_front(event);
                    return Sent::Full;
                }
            }
        }
        Sent::All
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.waiting().sender = None;
    }
}
