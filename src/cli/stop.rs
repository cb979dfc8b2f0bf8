//! Being told to stop: SIGTERM and Ctrl-C set a flag, and the run ends at its next step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A flag that is set by the first SIGTERM or Ctrl-C. A second one ends the process at once: whoever sends it does not want to wait.
///
/// # Errors
/// `Permanent`: signals cannot be received.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let failed = |error| Error::permanent("cannot listen for SIGTERM").because(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let body = move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else { return };
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if set.swap(true, Ordering::Relaxed) {
                    #[allow(clippy::exit)] // asked for twice
                    std::process::exit(130);
                }
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(body).map_err(failed)?;
    Ok(flag)
}
