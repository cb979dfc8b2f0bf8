//! Structured logs on standard error: for people on a terminal, JSON elsewhere. Never a secret, never a payload; what comes from
//! events is escaped by the subscriber.

use crate::config::service::{LogFormat, LogSettings};
use crate::error::{Error, Result};

/// Starts structured logs on standard error. The second call in a process changes nothing.
///
/// # Errors
/// `Config`: the level is no filter.
pub fn start_logs(settings: &LogSettings) -> Result<()> {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.level)
        .map_err(|failure| Error::config(format!("log.level '{}'", settings.level.escape_debug())).because(failure))?;
    let terminal = std::io::stderr().is_terminal();
    let json = settings.format == LogFormat::Json || (settings.format == LogFormat::Auto && !terminal);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    // An error says that logs were started before, by a test or an embedding program.
    if json {
        builder.json().flatten_event(true).try_init().ok()
    } else {
        builder.try_init().ok()
    };
    Ok(())
}
