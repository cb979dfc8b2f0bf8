//! Patience with a state store that is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::edge::{StateStore, clock};
use crate::error::{Error, Kind, Result};

const STORE_RETRY: Duration = Duration::from_millis(200);
/// How often the log says that it is still away.
const SAID_AGAIN: Duration = Duration::from_secs(10);

/// Waits between calls, and says what for.
#[derive(Default)]
pub(super) struct Patience {
    /// When waiting began, and when that was said last.
    waiting: Option<(Instant, Instant)>,
}

impl Patience {
    /// Waits a little, after a call that has failed.
    pub(super) fn wait(&mut self, error: &Error) {
        let now = clock::now();
        match &mut self.waiting {
            None => {
                tracing::warn!(%error, "the state store is away; waiting for it");
                self.waiting = Some((now, now));
            }
            Some((begun, said)) if clock::since(*said) >= SAID_AGAIN => {
                let seconds = clock::since(*begun).as_secs();
                tracing::warn!(%error, seconds, "the state store is still away");
                *said = now;
            }
            Some(_) => {}
        }
        clock::sleep(STORE_RETRY);
    }

    /// After a call that has not failed.
    pub(super) fn end(&self) {
        if let Some((begun, _)) = self.waiting {
            let seconds = clock::since(begun).as_secs_f64();
            tracing::info!(seconds, "the state store answers");
        }
    }
}

/// Repeats a call while the store is away.
pub(super) fn patiently<T>(store: &mut dyn StateStore, give_up: &AtomicBool, work: impl Fn(&mut dyn StateStore) -> Result<T>) -> Result<T> {
    let mut patience = Patience::default();
    loop {
        match work(store) {
            Err(error) if error.kind == Kind::Transient && !give_up.load(Ordering::Relaxed) => patience.wait(&error),
            other => {
                patience.end();
                return other;
            }
        }
    }
}
