//! The group's thread: serves rebalances and ends the source. Must never keep the group waiting for what is read.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use super::channel::Sent;
use super::group::{GroupContext, Shared};
use crate::edge::LogEvent;
use crate::edge::clock::Deadline;
use crate::error::Error;

/// A rebalance is seen at once; being told to stop, so much later.
const WAIT: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(1);

pub(super) struct Membership {
    pub consumer: Arc<BaseConsumer<GroupContext>>,
    pub shared: Arc<Shared>,
    pub readers: Vec<JoinHandle<()>>,
}

impl Membership {
    /// Serves the group until the source is told to stop or fails, then leaves it and closes the channels.
    pub(super) fn run(self) {
        while !self.shared.is_ending() {
            // Rebalances, commit answers, errors and log lines: this member fetches nothing.
            match self.consumer.poll(WAIT) {
                None => {}
                Some(Ok(_)) => self.shared.fail(Error::bug("a record came by the group's own client")),
                Some(Err(error)) => self.shared.judge(&error),
            }
        }
        self.finish();
    }

    fn finish(self) {
        let Self { mut consumer, shared, readers } = self;
        // While the consumer can still commit; when it closes, nothing is left to revoke.
        let owned = shared.owned().keys().copied().collect();
        shared.give_up(owned, false);
        // A commit on another thread may hold the consumer for its duration. The last one to let go closes it and serves the
        // group meanwhile: that has to be this thread.
        loop {
            match Arc::try_unwrap(consumer) {
                Ok(last) => break drop(last),
                Err(shared) => consumer = shared,
            }
            std::thread::sleep(STEP);
        }
        for reader in readers {
            if reader.join().is_err() {
                shared.fail(Error::bug("a thread that reads from Kafka panicked; its message is in the log"));
            }
        }
        shared.report_failure();
        let deadline = Deadline::after(shared.drain_timeout);
        for channel in &shared.channels {
            while channel.flush() == Sent::Full && !deadline.passed() {
                std::thread::sleep(STEP);
            }
            channel.close();
        }
    }
}

impl Shared {
    pub(super) fn is_ending(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.has_failed()
    }

    fn report_failure(&self) {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(error) = failure else { return };
        tracing::error!(topic = self.topic, "reading has stopped: {error}");
        let (kind, text) = (error.kind, error.to_string());
        self.channels.iter().for_each(|channel| channel.push(LogEvent::Failed(Error::new(kind, text.clone()))));
    }
}
