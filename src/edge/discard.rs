//! A publisher for runs whose outputs nobody wants: training, pipeline tests. Everything is durable at once because nothing is kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Outgoing, Publisher, Sequence};
use crate::error::{Error, Result};

/// Takes everything and keeps nothing.
#[derive(Debug, Default)]
pub struct Discard(AtomicU64);

impl Publisher for Discard {
    fn publish(&self, _: Outgoing<'_>) -> Result<Sequence> {
        Ok(Sequence(self.0.fetch_add(1, Ordering::Relaxed) + 1))
    }
    fn produced(&self) -> Sequence {
        Sequence(self.0.load(Ordering::Relaxed))
    }
    fn delivered(&self) -> Sequence {
        self.produced()
    }
    fn failure(&self) -> Option<Error> {
        None
    }
    fn flush(&self, _: Duration) -> Result<()> {
        Ok(())
    }
}
