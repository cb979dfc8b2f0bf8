//! The service: `/health`, `/health/ready` and `/metrics`, on loopback unless told otherwise. It only reads what others report.
//!
//! It runs on a thread of its own, so that a busy pipeline still answers and a busy client never holds the pipeline.

mod answer;
mod listen;
mod readiness;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

pub use readiness::{Readiness, State};

use crate::error::{Error, Result};
use crate::run::telemetry::Metrics;

/// What the service allows a client.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A client that has not sent its request's head by then is cut off.
    pub head: Duration,
    /// A connection is closed after this long, whatever it does.
    pub connection: Duration,
    /// More connections than this at a time are closed unread.
    pub connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { head: Duration::from_secs(5), connection: Duration::from_secs(60), connections: 256 }
    }
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Binds `addr` (port 0: any free one) and answers from then on.
    ///
    /// # Errors
    /// `Config`: the address cannot be bound. `Permanent`: no thread or event loop can be made.
    pub fn start(addr: SocketAddr, metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Result<Self> {
        Self::start_bounded(addr, metrics, readiness, Bounds::default())
    }

    /// [`Service::start`] with bounds of one's own.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start_bounded(addr: SocketAddr, metrics: Arc<Metrics>, readiness: Arc<Readiness>, bounds: Bounds) -> Result<Self> {
        let unbound = |failure| Error::config(format!("cannot listen on {addr}; choose another --listen")).because(failure);
        let listener = std::net::TcpListener::bind(addr).map_err(unbound)?;
        listener.set_nonblocking(true).map_err(unbound)?;
        let addr = listener.local_addr().map_err(unbound)?;
        let failed = |failure| Error::permanent("cannot start the service").because(failure);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let router = answer::router(Arc::new(answer::Shared::new(metrics, readiness)));
        let serve = move || runtime.block_on(listen::serve(listener, router, bounds, stopped));
        let thread = std::thread::Builder::new().name("serve".into()).spawn(serve).map_err(failed)?;
        Ok(Self { addr, stop, thread })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets answers in progress end, for at most a second, and stops.
    pub fn stop(self) {
        // Nobody listens any more when the thread has ended; then there is nothing to stop.
        self.stop.send(true).ok();
        self.thread.join().ok();
    }
}
