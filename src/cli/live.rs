//! What the live view shows, and showing it: redrawn ten times a second on a terminal, one line a second elsewhere.
//!
//! The run writes into a [`Live`] from its own thread; [`Live::watch`] reads it and never holds the run back for longer than a copy.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

use super::{live_view, output};
use crate::core::engine::Counts;
use crate::core::output::{Severity, ThreatRecord};
use crate::core::types::EventTime;
use crate::error::{Error, Result};
use crate::run::summary::Percentiles;

/// Threats kept for the view.
pub const THREATS_MAX: usize = 100;
/// Entities shown with their risk.
pub const RISKS_MAX: usize = 20;

const REDRAW: Duration = Duration::from_millis(100);
const PLAIN_EVERY: Duration = Duration::from_secs(1);

/// A run as it stands.
#[derive(Clone, Debug, Default)]
pub struct LiveState {
    pub title: String,
    pub counts: Counts,
    pub alerts: u64,
    pub events_per_second: f64,
    pub latency: Percentiles,
    pub entities: u64,
    /// Threats so far, by [`Severity`].
    pub severities: [u64; Severity::ALL.len()],
    /// Entity and its risk 0..10, highest first.
    pub risks: Vec<(String, f64)>,
    /// Event time that the run has come to.
    pub simulated: Option<EventTime>,
    /// Share of the learning that is done; `None` when there is nothing to learn any more.
    pub learning: Option<f64>,
    /// Share of the input that is done, where known.
    pub progress: Option<f64>,
    threats: VecDeque<LiveThreat>,
    finished: bool,
}

/// A threat in the list.
#[derive(Clone, Debug)]
pub struct LiveThreat {
    pub time: EventTime,
    pub severity: Severity,
    pub kind: String,
    pub entity: String,
    pub score: f64,
    pub description: String,
}

impl LiveState {
    /// Counts a threat and puts it on top of the list.
    pub fn add_threat(&mut self, threat: &ThreatRecord) {
        self.severities[threat.severity as usize] += 1;
        self.threats.truncate(THREATS_MAX - 1);
        self.threats.push_front(LiveThreat {
            time: threat.timestamp,
            severity: threat.severity,
            kind: threat.threat_type.clone(),
            entity: threat.entity.clone(),
            score: threat.threat_score,
            description: threat.description.clone(),
        });
    }

    /// Newest first.
    pub fn threats(&self) -> impl Iterator<Item = &LiveThreat> {
        self.threats.iter()
    }
}

/// The state that a run writes and a view reads.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<LiveState>,
    changed: Condvar,
    quit: AtomicBool,
}

impl Live {
    #[must_use]
    pub fn new(title: &str) -> Self {
        let state = LiveState { title: title.to_owned(), ..LiveState::default() };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// Changes the state; once a batch.
    pub fn update(&self, change: impl FnOnce(&mut LiveState)) {
        change(&mut self.lock());
    }

    /// The run has ended, well or not; the view ends too.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_all();
    }

    /// Whether the user wants the run to end.
    #[must_use]
    pub fn has_quit(&self) -> bool {
        self.quit.load(Ordering::Relaxed)
    }

    /// Shows the run until it has finished or the user quits. `plain`: lines even on a terminal.
    ///
    /// # Errors
    /// `Permanent`: the terminal cannot be drawn on.
    pub fn watch(&self, plain: bool) -> Result<()> {
        if plain || !std::io::stdout().is_terminal() { self.watch_plain(&mut std::io::stdout()) } else { self.watch_terminal() }
    }

    fn watch_terminal(&self) -> Result<()> {
        let failed = |failure| Error::permanent("cannot draw on the terminal; try --plain").because(failure);
        // Also restores the terminal when this process panics.
        let mut terminal = ratatui::try_init().map_err(failed)?;
        let result = loop {
            let state = self.lock().clone();
            if let Err(failure) = terminal.draw(|frame| live_view::draw(frame, &state)) {
                break Err(failed(failure));
            }
            if state.finished {
                break Ok(());
            }
            match asked_to_quit() {
                Ok(false) => {}
                Ok(true) => {
                    self.quit.store(true, Ordering::Relaxed);
                    break Ok(());
                }
                Err(failure) => break Err(failed(failure)),
            }
        };
        ratatui::try_restore().map_err(failed)?;
        result
    }

    pub(super) fn watch_plain(&self, out: &mut dyn Write) -> Result<()> {
        let mut state = self.lock();
        while !state.finished {
            let (next, wait) = self.changed.wait_timeout(state, PLAIN_EVERY).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if wait.timed_out() {
                output::written(writeln!(out, "{}", live_view::plain(&state)))?;
            }
        }
        output::written(writeln!(out, "{}", live_view::plain(&state)))
    }

    fn lock(&self) -> MutexGuard<'_, LiveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a key until the next redraw is due.
fn asked_to_quit() -> std::io::Result<bool> {
    if !crossterm::event::poll(REDRAW)? {
        return Ok(false);
    }
    let Event::Key(key) = crossterm::event::read()? else { return Ok(false) };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    Ok(key.kind == KeyEventKind::Press && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)))
}
