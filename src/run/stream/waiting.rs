//! What settling has published and not committed yet, and waiting for a broker that is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::keep::Chunk;
use super::shared::Settled;
use crate::core::types::{Offset, Partition};
use crate::edge::{Owner, Sequence, Transactions, clock};
use crate::error::{Kind, Result};
use crate::run::telemetry::Delta;

pub(super) const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Work that is published and not committed yet, in order.
pub(super) enum Waiting {
    Claim(Partition, Offset, Owner),
    Parcel(Sent),
    Chunk(Chunk),
    Drain(Partition, Owner),
}

pub(super) struct Sent {
    pub(super) partition: Partition,
    pub(super) next: Option<Offset>,
    pub(super) read_at: Instant,
    pub(super) delta: Box<Delta>,
    /// Its last output, where each is acknowledged by itself.
    pub(super) last: Sequence,
    pub(super) noted: bool,
}

impl Sent {
    /// Its outputs are durable: how long that took, once.
    pub(super) fn note(&mut self, settled: &mut Settled) {
        if !std::mem::replace(&mut self.noted, true) {
            let (micros, events) = (clock::since(self.read_at).as_micros() as u64, self.delta.counts.received);
            settled.latencies.add(micros, events);
            self.delta.latency.add(micros, events);
        }
    }
}

impl Waiting {
    pub(super) fn partition(&self) -> Partition {
        match self {
            Self::Claim(partition, ..) | Self::Drain(partition, _) => *partition,
            Self::Parcel(sent) => sent.partition,
            Self::Chunk(chunk) => chunk.partition,
        }
    }
}

/// New transactions, as soon as there are any.
pub(super) fn renew(transactions: &mut dyn Transactions, give_up: &AtomicBool) -> Result<()> {
    loop {
        match transactions.renew() {
            Err(error) if matches!(error.kind, Kind::Transient | Kind::Fenced) && !give_up.load(Ordering::Relaxed) => {
                tracing::warn!(%error, "no new transactions yet; trying again");
                clock::sleep(TRY_AGAIN);
            }
            other => return other,
        }
    }
}
