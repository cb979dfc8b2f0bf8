//! Traces of symbols, such as a process's system calls: learned from ordinary ones alone, answers for each other one.
//!
//! Four members ask four questions, and a trace is odd where they agree:
//!
//! - **order**: is there any stretch in which the symbols come as they were learned? The mean surprise of the calmest window, by
//!   histories of up to eight symbols. The calmest one, because a program that nobody has learned still starts as all programs do.
//! - **unlike**: does a trace that was learned from have the same symbols?
//! - **lacking**: which symbols are missing that some such trace has?
//! - **disorder**: how little do the trace's own symbols tell what comes next?
//!
//! What an answer means is told by `models/table`: by its normal score among those of ordinary traces that were held out. The scores
//! are added, so that none can decide alone: what differs from everything learned in one respect is mostly a program that was not
//! learned from. Must never see a label; nothing is drawn at random.

mod calls;
mod history;

#[cfg(test)]
mod tests;

use calls::Known;
use history::Histories;

use super::table::wire::{Reader, Writer};
use crate::core::ensemble::Unit;
use crate::error::{Error, Result};
use crate::limits::{SEQUENCE_HISTORIES_MAX, SEQUENCE_SYMBOLS_LEARNED_MAX};

/// Names of the members, in order.
pub const MEMBERS: [&str; 4] = ["order", "unlike", "lacking", "disorder"];
/// What their answers are measured in.
pub const UNITS: [Unit; MEMBERS.len()] = [Unit::Error, Unit::ForestScore, Unit::ForestScore, Unit::Error];
/// Symbols of a history that tell what comes next: of what was learned, and of the trace's own.
const LEARNED_HISTORY: usize = 8;
const OWN_HISTORY: usize = 2;
/// Symbols of a window whose mean surprise counts; a shorter trace is one window.
const WINDOW: usize = 100;

/// A symbol's number: 1 and up as they were learned, 0 for whatever was not.
pub type Trace = Vec<u32>;

/// What was learned from ordinary traces.
#[derive(Clone, Debug)]
pub struct Traces {
    /// They are kept whole: counts made of them anew take less room than the counts.
    learned: Vec<Trace>,
    histories: Histories,
    known: Known,
    alphabet: usize,
}

impl Traces {
    /// Learns from ordinary traces, none of them empty, of at most so many different symbols.
    ///
    /// # Errors
    /// `Config`: together they are too long, or too much of them never comes again.
    pub fn fit(learned: Vec<Trace>, alphabet: usize) -> Result<Self> {
        let symbols: usize = learned.iter().map(Vec::len).sum();
        if symbols > SEQUENCE_SYMBOLS_LEARNED_MAX {
            return Err(Error::config(format!(
                "the sequences have {symbols} symbols together, at most {SEQUENCE_SYMBOLS_LEARNED_MAX} can be learned from; train on a part"
            )));
        }
        Self::within(learned, alphabet, SEQUENCE_HISTORIES_MAX)
    }

    fn within(learned: Vec<Trace>, alphabet: usize, histories_max: usize) -> Result<Self> {
        // One more: whatever was never seen.
        let mut histories = Histories::new(LEARNED_HISTORY, alphabet + 1);
        for trace in &learned {
            (0..trace.len()).for_each(|at| histories.learn(trace, at));
            if histories.count() > histories_max {
                return Err(Error::config(format!(
                    "the sequences have more than {histories_max} different stretches, too many to count; train on a part"
                )));
            }
        }
        let known = Known::of(learned.iter().map(|trace| calls::set(trace)));
        Ok(Self { learned, histories, known, alphabet })
    }

    /// The members' answers, larger the odder. A trace without symbols has nothing in common with any, and nothing odd in it.
    #[must_use]
    pub fn answers(&self, trace: &[u32]) -> [f32; MEMBERS.len()] {
        let surprises: Vec<f64> = (0..trace.len()).map(|at| self.histories.surprise(trace, at)).collect();
        let apart = self.known.apart(&calls::set(trace));
        [calmest(&surprises), apart.unlike, apart.lacking, disorder(trace, self.alphabet + 1)].map(|answer| answer as f32)
    }

    pub fn write(&self, out: &mut Writer) {
        out.word(self.learned.len() as u32);
        self.learned.iter().for_each(|trace| out.words(trace.iter().copied()));
    }

    /// # Errors
    /// `Config`: not what [`Self::write`] writes for so many different symbols.
    pub fn read(from: &mut Reader<'_>, alphabet: usize) -> Result<Self> {
        let count = from.word()?;
        let learned = (0..count).map(|_| from.words()).collect::<Result<Vec<Trace>>>()?;
        let sound = |trace: &Trace| !trace.is_empty() && trace.iter().all(|symbol| (1..=alphabet).contains(&(*symbol as usize)));
        if learned.is_empty() || !learned.iter().all(sound) {
            return Err(Error::config("the sequences of the model are damaged; train it again"));
        }
        Self::fit(learned, alphabet)
    }
}

/// The mean surprise of the window where it is smallest; 0 without symbols.
fn calmest(surprises: &[f64]) -> f64 {
    let window = WINDOW.min(surprises.len()).max(1);
    let means = surprises.windows(window).map(|window| window.iter().sum::<f64>() / window.len() as f64);
    means.min_by(f64::total_cmp).unwrap_or(0.0)
}

/// The mean surprise of a trace's symbols to somebody who knows no other trace.
fn disorder(trace: &[u32], alphabet: usize) -> f64 {
    let mut own = Histories::new(OWN_HISTORY, alphabet);
    let mut total = 0.0;
    for at in 0..trace.len() {
        total += own.surprise(trace, at);
        own.learn(trace, at);
    }
    total / trace.len().max(1) as f64
}
