//! Patience with a state store that is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::edge::{StateStore, clock};
use crate::error::{Kind, Result};

const STORE_RETRY: Duration = Duration::from_millis(200);

/// Repeats a call while the store is away.
pub(super) fn patiently<T>(store: &mut dyn StateStore, give_up: &AtomicBool, work: impl Fn(&mut dyn StateStore) -> Result<T>) -> Result<T> {
    let mut warned = false;
    loop {
        match work(store) {
            Err(error) if error.kind == Kind::Transient && !give_up.load(Ordering::Relaxed) => {
                if !warned {
                    tracing::warn!(%error, "the state store is away; waiting for it");
                    warned = true;
                }
                clock::sleep(STORE_RETRY);
            }
            other => return other,
        }
    }
}
