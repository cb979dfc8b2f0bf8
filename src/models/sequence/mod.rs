//! Traces of symbols, such as a process's system calls: learned from ordinary ones alone, a score for each other one.
//!
//! Four members ask four questions, and a trace is odd where they agree:
//!
//! - **order**: is there any stretch in which the symbols come as they were learned? The mean surprise of the calmest window, by
//!   histories of up to eight symbols. The calmest one, because a program that nobody has learned still starts as all programs do.
//! - **unlike**: does a trace that was learned from have the same symbols?
//! - **lacking**: which symbols are missing that some such trace has?
//! - **disorder**: how little do the trace's own symbols tell what comes next?
//!
//! Each answer counts by its normal score among those of training traces, which are asked with a fifth of the traces, their own,
//! left out. The scores are added, so that none can decide alone: what differs from everything learned in one respect is mostly a
//! program that was not learned from. Must never see a label; nothing is drawn at random.

mod calls;
mod history;

#[cfg(test)]
mod tests;

use calls::Set;
use history::Histories;

use super::table::normal::normal_quantile;
use crate::error::{Error, Result};

/// Names of the members, in order.
pub const MEMBERS: [&str; 4] = ["order", "unlike", "lacking", "disorder"];
/// Symbols of a history that tell what comes next: of what was learned, and of the trace's own.
const LEARNED_HISTORY: usize = 8;
const OWN_HISTORY: usize = 2;
/// Symbols of a window whose mean surprise counts; a shorter trace is one window.
const WINDOW: usize = 100;
/// Each training trace is judged by what the other folds' traces teach.
const FOLDS: usize = 5;

/// What was learned from ordinary traces.
#[derive(Clone, Debug)]
pub struct Traces {
    known: Known,
    /// Each member's answers for training traces, sorted.
    answers: [Vec<f64>; MEMBERS.len()],
    /// Their scores, sorted.
    scores: Vec<f64>,
}

/// What the members say of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Larger is odder.
    pub score: f64,
    /// The share of training traces at least as odd; it cannot lie below one in their number.
    pub p_value: f64,
    /// Normal scores by member, which add up to the score.
    pub parts: [f64; MEMBERS.len()],
}

/// What the members ask.
#[derive(Clone, Debug)]
struct Known {
    histories: Histories,
    sets: Vec<Set>,
    alphabet: usize,
}

impl Traces {
    /// Learns from ordinary traces. An error where there are fewer than folds, or one without symbols.
    pub fn fit(traces: &[Vec<u32>]) -> Result<Self> {
        if traces.len() < FOLDS {
            return Err(Error::config(format!("learning from traces needs at least {FOLDS} of them; there are {}", traces.len())));
        }
        if traces.iter().any(Vec::is_empty) {
            return Err(Error::config("learning from traces needs symbols in each; leave out those without"));
        }
        let alphabet = calls::set(&traces.concat()).len();
        let mut answers: [Vec<f64>; MEMBERS.len()] = Default::default();
        let mut asked = vec![[0.0; MEMBERS.len()]; traces.len()];
        for fold in 0..FOLDS {
            let others = traces.iter().enumerate().filter(|(place, _)| place % FOLDS != fold).map(|(_, trace)| trace);
            let known = Known::of(others, alphabet);
            for (asked, trace) in asked.iter_mut().zip(traces).skip(fold).step_by(FOLDS) {
                *asked = known.asked(trace);
            }
        }
        for (member, answers) in answers.iter_mut().enumerate() {
            answers.extend(asked.iter().map(|asked| asked[member]));
            answers.sort_unstable_by(f64::total_cmp);
        }
        let mut scores: Vec<f64> = asked.iter().map(|asked| parts(&answers, asked).iter().sum()).collect();
        scores.sort_unstable_by(f64::total_cmp);
        Ok(Self { known: Known::of(traces.iter(), alphabet), answers, scores })
    }

    /// Judges a trace; one without symbols has nothing in common with any.
    #[must_use]
    pub fn judge(&self, trace: &[u32]) -> Judged {
        let parts = parts(&self.answers, &self.known.asked(trace));
        let score = parts.iter().sum();
        let as_odd = self.scores.len() - self.scores.partition_point(|other| *other < score);
        Judged { score, p_value: (as_odd + 1) as f64 / (self.scores.len() + 1) as f64, parts }
    }
}

impl Known {
    fn of<'a>(traces: impl Iterator<Item = &'a Vec<u32>>, alphabet: usize) -> Self {
        // One more: whatever was never seen.
        let mut histories = Histories::new(LEARNED_HISTORY, alphabet + 1);
        let mut sets = Vec::new();
        for trace in traces {
            (0..trace.len()).for_each(|at| histories.learn(trace, at));
            sets.push(calls::set(trace));
        }
        Self { histories, sets, alphabet }
    }

    /// The members' answers, larger the odder.
    fn asked(&self, trace: &[u32]) -> [f64; MEMBERS.len()] {
        let surprises: Vec<f64> = (0..trace.len()).map(|at| self.histories.surprise(trace, at)).collect();
        let apart = calls::apart(&calls::set(trace), &self.sets);
        [calmest(&surprises), apart.unlike, apart.lacking, disorder(trace, self.alphabet + 1)]
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

/// Normal scores of the answers among those of training traces.
fn parts(answers: &[Vec<f64>; MEMBERS.len()], asked: &[f64; MEMBERS.len()]) -> [f64; MEMBERS.len()] {
    std::array::from_fn(|member| {
        let (sorted, answer) = (&answers[member], asked[member]);
        let below = sorted.partition_point(|other| *other < answer) + sorted.partition_point(|other| *other <= answer);
        normal_quantile((below as f64 / 2.0 + 0.5) / (sorted.len() + 1) as f64)
    })
}
