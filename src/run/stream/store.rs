//! What a shard asks of its state store: patience while it is away, states of a batch, and the checks that state and offsets belong
//! together. Never guesses: what does not fit is an error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::core::engine::Engine;
use crate::core::event::Event;
use crate::core::types::{Generation, Offset, Partition};
use crate::edge::{LogSource, StateStore};
use crate::error::{Error, Kind, Result};

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
                std::thread::sleep(STORE_RETRY);
            }
            other => return other,
        }
    }
}

pub(super) fn load_missing(
    engine: &mut Engine,
    partition: Partition,
    events: &[Event<'_>],
    store: &mut dyn StateStore,
    give_up: &AtomicBool,
) -> Result<()> {
    let keys = engine.prefetch(partition, events);
    if keys.is_empty() {
        return Ok(());
    }
    let values = patiently(store, give_up, |store| store.load_many(partition, &keys))?;
    engine.admit(partition, keys.into_iter().zip(values))
}

/// The store knows a newer owner. If the group does too, the partition has moved on and that is all.
///
/// # Errors
/// `Config`: the group still gives it to us, so the state belongs to another group or to an earlier life of this one.
pub(super) fn fenced(source: &dyn LogSource, partition: Partition, generation: Generation, error: Error) -> Result<()> {
    if !source.owns(partition, generation) {
        tracing::warn!(partition = partition.0, %error, "the partition has moved on before it was taken over");
        return Ok(());
    }
    let advice = "use one consumer group for one state store, or delete the partition's meta key in Redis to take it over";
    Err(Error::config(format!("the state of partition {} belongs to a later owner than this group's: {advice}", partition.0))
        .because(error))
}

/// State and offsets must belong together: a lost state would make known entities look new, silently.
pub(super) fn check_recoverable(partition: Partition, committed: Option<Offset>, checkpoint: Option<Offset>) -> Result<()> {
    let committed = committed.unwrap_or_default();
    let advice = "restore the state from its backup, or begin anew with another group id and an empty state store";
    match checkpoint {
        None if committed > Offset(0) => Err(Error::config(format!(
            "the group has committed offset {} of partition {} but the state store has no state for it; {advice}",
            committed.0, partition.0
        ))),
        Some(checkpoint) if checkpoint < committed => Err(Error::config(format!(
            "the state of partition {} ends at offset {} but the group has committed {}; {advice}",
            partition.0, checkpoint.0, committed.0
        ))),
        _ => Ok(()),
    }
}
