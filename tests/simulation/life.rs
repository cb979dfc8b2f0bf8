//! One life of a worker's process: it runs, is frozen for a while, or is dead for good.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use threatguard::error::{Error, Result};

#[derive(Debug, Default)]
pub struct Life {
    dead: AtomicBool,
    frozen_until: AtomicU64,
}

impl Life {
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
    pub fn freeze(&self, until: u64) {
        self.frozen_until.store(until, Ordering::Relaxed);
    }
    pub fn is_running(&self, now: u64) -> bool {
        !self.is_dead() && self.frozen_until.load(Ordering::Relaxed) <= now
    }
    /// A dead process does nothing any more; this unwinds it.
    pub fn check(&self) -> Result<()> {
        if self.is_dead() { Err(Error::permanent("the simulated process is dead")) } else { Ok(()) }
    }
}
