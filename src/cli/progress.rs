//! Progress of long operations: shown only after two seconds, only on a terminal, and always on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::edge::clock;

/// Operations shorter than this show nothing.
const QUIET: Duration = Duration::from_secs(2);
/// The clock is looked at once in so many calls.
const CALLS_BETWEEN_LOOKS: u32 = 256;

/// How far an operation is. Cheap enough to be told of every event.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    calls: u32,
    at: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Shown,
    /// Not a terminal.
    Never,
}

impl Progress {
    /// `what` is done, counted in `unit`; `total` where it is known.
    #[must_use]
    pub fn new(what: &str, unit: &str, total: Option<u64>) -> Self {
        Self::starting(what, unit, total, std::io::stderr().is_terminal())
    }

    fn starting(what: &str, unit: &str, total: Option<u64>, terminal: bool) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match total {
            Some(_) => format!("{{msg}} {{bar:30}} {{pos}}/{{len}} {unit}, {{eta}} left"),
            None => format!("{{msg}} {{spinner}} {{pos}} {unit}, {{elapsed}}"),
        };
        let style = ProgressStyle::with_template(&template).expect("the template is well formed").progress_chars("=> ");
        let bar = bar.with_style(style).with_message(what.to_owned());
        Self { bar, started: clock::now(), calls: 0, at: 0, state: if terminal { State::Waiting } else { State::Never } }
    }

    /// So much is done by now.
    pub fn set(&mut self, at: u64) {
        self.at = at;
        self.look();
    }

    /// So much more is done.
    pub fn advance(&mut self, more: u64) {
        self.at += more;
        self.look();
    }

    /// One more of a few long steps is done.
    pub fn step(&mut self) {
        self.at += 1;
        self.calls = CALLS_BETWEEN_LOOKS - 1;
        self.look();
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn look(&mut self) {
        self.calls = self.calls.wrapping_add(1);
        if self.state == State::Never || !self.calls.is_multiple_of(CALLS_BETWEEN_LOOKS) {
            return;
        }
        if self.state == State::Waiting && self.started.elapsed() >= QUIET {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
            self.state = State::Shown;
        }
        if self.state == State::Shown {
            self.bar.set_position(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_at_once_or_without_a_terminal() {
        for (terminal, total, state) in [(false, Some(10), State::Never), (true, None, State::Waiting)] {
            let mut progress = Progress::starting("testing", "events", total, terminal);
            for _ in 0..1_000 {
                progress.advance(1);
            }
            assert!(progress.bar.is_hidden() && progress.state == state && progress.at == 1_000, "{progress:?}");
            progress.finish();
        }
    }
}
