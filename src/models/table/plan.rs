//! Fitting a model of a table in jobs: one for each fold, whose held-out rows calibrate, and one for the members that are kept.
//!
//! Jobs depend on nothing but the plan, so they may run side by side and the model is the same. Equal rows with the same label are
//! taken once: repetitions would put the same row on both sides of a fold. Rows of a group stay in one fold. Sequences are learned from
//! benign rows alone, each as often as it is there, and equal ones stay in one fold.

use std::collections::BTreeMap;

use super::combine::{self, Combination};
use super::frame::{Column, Frame};
use super::learned;
use super::members::{self, Raw};
use super::model::{Facts, TableModel};
use super::nearness::Nearness;
use super::report::Truth;
use super::rows::Rows;
use super::schema::TableSchema;
use super::scorers::Scorers;
use super::symbols;
use crate::core::ensemble::{Calibration, Unit};
use crate::error::{Error, Result};
use crate::limits::TABLE_ROWS_MAX;
use crate::models::random::Random;

/// Parts that rows are cut into; each is judged by members fitted to the others. Where rows are few each of them is missed, so there
/// are more and smaller parts.
const FOLDS: usize = 4;
const FOLDS_OF_FEW: usize = 10;
/// Rows up to which they are few.
const FEW: usize = 20_000;
/// Fewer benign rows do not calibrate anything.
const BENIGN_MIN: usize = 20;
/// Fewer attacks leave some fold without one: they are told apart by nothing then.
const ATTACKS_MIN: usize = 8;

/// How to fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub seed: u64,
    /// The share of benign rows that may become alerts.
    pub nominal: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 42, nominal: 0.008 }
    }
}

/// All that the jobs need.
#[derive(Clone, Debug)]
pub struct Plan {
    options: Options,
    schema: TableSchema,
    rows: Rows,
    attack: Vec<bool>,
    fold: Vec<u8>,
    folds: usize,
    /// Rows of the table, the equal ones included.
    table_rows: usize,
}

/// What came of a job.
#[derive(Debug)]
pub enum Done {
    /// What the others' members say of the fold's rows.
    Fold {
        fold: u8,
        raw: Raw,
    },
    Scorers(Box<Scorers>),
}

impl Plan {
    /// Learns the columns and deals the rows out.
    ///
    /// # Errors
    /// `Config`: too few or too many rows, no benign row, or nothing to learn from.
    pub fn new(frame: &Frame, truth: Option<&Truth>, group: Option<&Column>, options: Options) -> Result<Self> {
        bounded(frame)?;
        let schema = TableSchema::learn(frame)?;
        let rows = Rows::Numbers(schema.encode(frame)?);
        let attack = truth.map_or_else(|| vec![false; frame.rows()], |truth| truth.attack.clone());
        let kept = distinct(&rows, &attack);
        let groups = group.map(|column| codes(column, &kept));
        Self::dealt(schema, &rows, &attack, &kept, groups.as_deref(), options)
    }

    /// As [`Self::new`] for a table whose only column holds sequences. Attacks are left out, and rows without symbols.
    ///
    /// # Errors
    /// As for [`Self::new`]; the column holds no sequences, or there are others.
    pub fn of_sequence(frame: &Frame, name: &str, truth: Option<&Truth>, group: Option<&Column>, options: Options) -> Result<Self> {
        bounded(frame)?;
        let benign: Vec<usize> = (0..frame.rows()).filter(|row| truth.is_none_or(|truth| !truth.attack[*row])).collect();
        // Of all rows before some are chosen, so that an error names the table's row.
        frame.column(name).map_or(Ok(()), symbols::readable)?;
        let schema = TableSchema::of_sequence(&frame.select(&benign), name)?;
        let rows = schema.rows(frame, 0..frame.rows());
        let kept: Vec<usize> = benign.into_iter().filter(|row| !rows.is_blank(*row)).collect();
        let groups = group.map_or_else(|| copies(&rows, &kept), |column| codes(column, &kept));
        Self::dealt(schema, &rows, &vec![false; frame.rows()], &kept, Some(&groups), options)
    }

    fn dealt(
        schema: TableSchema,
        rows: &Rows,
        attack: &[bool],
        kept: &[usize],
        groups: Option<&[usize]>,
        options: Options,
    ) -> Result<Self> {
        let table_rows = rows.len();
        let rows = rows.select(kept.iter().copied());
        let attack: Vec<bool> = kept.iter().map(|row| attack[*row]).collect();
        check(&attack)?;
        let folds = if rows.len() <= FEW { FOLDS_OF_FEW } else { FOLDS };
        let fold = deal(&attack, groups, folds, options.seed);
        Ok(Self { options, schema, rows, attack, fold, folds, table_rows })
    }

    #[must_use]
    pub fn jobs(&self) -> usize {
        self.folds + 1
    }
    /// Steps that all jobs report together.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.jobs() * Scorers::steps(&self.rows, self.attack.contains(&true))
    }
    /// Rows that are learned from.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
    #[must_use]
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// Does one job; `done` is called after each of its steps.
    ///
    /// # Errors
    /// `Config`: what the members refuse, such as a fold without benign rows.
    pub fn run(&self, job: usize, done: &mut dyn FnMut()) -> Result<Done> {
        if job >= self.folds {
            return Ok(Done::Scorers(Box::new(Scorers::fit(&self.rows, &self.attack, self.options.seed, done)?)));
        }
        let others: Vec<usize> = (0..self.fold.len()).filter(|row| self.fold[*row] as usize != job).collect();
        let attack: Vec<bool> = others.iter().map(|row| self.attack[*row]).collect();
        if !attack.contains(&false) || attack.contains(&true) != self.attack.contains(&true) {
            return Err(Error::config("all benign rows or all attacks are in one group; use a finer --group, or none"));
        }
        let scorers = Scorers::fit(&self.rows.select(others), &attack, self.options.seed, done)?;
        let raw = scorers.scores(self.rows.select(self.of(job as u8)), true)?;
        Ok(Done::Fold { fold: job as u8, raw })
    }

    /// Puts the jobs' results together, in whatever order they come.
    ///
    /// # Errors
    /// `Bug`: a job is missing.
    pub fn finish(self, done: Vec<Done>) -> Result<TableModel> {
        let mut held_out = Raw::default();
        let (mut kept, mut folds) = (None, 0);
        for result in done {
            match result {
                Done::Scorers(scorers) => kept = Some(*scorers),
                Done::Fold { fold, raw } => {
                    held_out.scores.resize_with(raw.scores.len(), || vec![0.0_f32; self.rows.len()]);
                    held_out.scores.iter_mut().zip(&raw.scores).for_each(|(all, part)| self.put(fold, part, all));
                    self.put(fold, &raw.distances.attacks, &mut held_out.distances.attacks);
                    self.put(fold, &raw.distances.benign, &mut held_out.distances.benign);
                    folds += 1;
                }
            }
        }
        match kept {
            Some(scorers) if folds == self.folds => Ok(self.assembled(scorers, &held_out)),
            _ => Err(Error::bug("a job of the training is missing")),
        }
    }

    fn assembled(self, scorers: Scorers, raw: &Raw) -> TableModel {
        let Raw { scores: held_out, distances } = raw;
        let benign = |scores: &[f32]| -> Vec<f32> {
            scores.iter().zip(&self.attack).filter(|(_, attack)| !**attack).map(|(score, _)| *score).collect()
        };
        let calibrated = |(member, scores): (usize, &Vec<f32>)| Calibration::fit(&mut benign(scores), scorers.unit(member));
        let calibrations: Vec<Calibration> = held_out.iter().enumerate().map(calibrated).collect();
        let parts = parts(held_out, &calibrations);
        let combination = match self.rows {
            Rows::Numbers(_) => self.combination(&parts, held_out.len()),
            Rows::Traces { .. } => Combination::agreeing(held_out),
        };
        let supervised = self.attack.contains(&true);
        let nearness = supervised.then(|| Nearness::learn(distances, &self.attack));
        let scored = |(row, parts): (usize, &[f32])| combination.score_of(raw, row, parts, nearness.as_ref());
        let scores: Vec<f32> = parts.chunks_exact(held_out.len()).enumerate().map(scored).collect();
        let threshold = combine::threshold(&scores, &self.attack, self.options.nominal, combination.carrying);
        let thresholds = held_out.iter().map(|scores| combine::nominal_threshold(&benign(scores), self.options.nominal)).collect();
        let facts = Facts {
            rows: self.table_rows as u64,
            distinct_rows: self.rows.len() as u64,
            attacks: self.attack.iter().filter(|attack| **attack).count() as u64,
            seed: self.options.seed,
            nominal: self.options.nominal,
        };
        let combined = Calibration::fit(&mut benign(&scores), Unit::Sum);
        TableModel { schema: self.schema, scorers, calibrations, nearness, combination, combined, thresholds, threshold, facts }
    }

    /// How far the anomaly members carry, and the weights for where they do not.
    fn combination(&self, parts: &[f32], members: usize) -> Combination {
        if !self.attack.contains(&true) {
            return Combination::unsupervised();
        }
        let anomaly: Vec<f32> = parts.chunks_exact(members).map(combine::anomaly).collect();
        let side = |wanted: bool| anomaly.iter().zip(&self.attack).filter(move |(_, attack)| **attack == wanted).map(|(score, _)| *score);
        let threshold = combine::nominal_threshold(&side(false).collect::<Vec<_>>(), self.options.nominal);
        let seen = side(true).filter(|score| *score > threshold).count() as f64 / side(true).count().max(1) as f64;
        let carrying = combine::say(seen);
        let learned = if carrying < 1.0 { learned::weights(parts, members, &self.attack, members::BOOSTED) } else { None };
        // Where nothing can be learned the trees decide: they saw the labels.
        let trees = || if carrying < 1.0 { trees_alone() } else { Vec::new() };
        Combination { carrying, seen_by_anomaly: Some(seen), learned: learned.unwrap_or_else(trees), added: None }
    }

    /// Puts what is said of a fold's rows in their places.
    fn put(&self, fold: u8, part: &[f32], all: &mut Vec<f32>) {
        if !part.is_empty() {
            all.resize(self.rows.len(), 0.0);
            self.of(fold).zip(part).for_each(|(row, value)| all[row] = *value);
        }
    }

    fn of(&self, fold: u8) -> impl Iterator<Item = usize> + '_ {
        (0..self.fold.len()).filter(move |row| self.fold[*row] == fold)
    }
}

/// Weights by which the trees decide.
fn trees_alone() -> Vec<f32> {
    (0..members::NAMES.len()).map(|member| f32::from(u8::from(member == members::BOOSTED))).collect()
}

/// The members' surprises, row after row.
fn parts(scores: &[Vec<f32>], calibrations: &[Calibration]) -> Vec<f32> {
    let rows = scores.first().map_or(0, Vec::len);
    let mut parts = vec![0.0; rows * scores.len()];
    for (member, (scores, calibration)) in scores.iter().zip(calibrations).enumerate() {
        for (parts, score) in parts.chunks_exact_mut(calibrations.len()).zip(scores) {
            parts[member] = combine::surprise(calibration, *score);
        }
    }
    parts
}

fn bounded(frame: &Frame) -> Result<()> {
    let rows = frame.rows();
    if rows > TABLE_ROWS_MAX {
        return Err(Error::config(format!("the table has {rows} rows, at most {TABLE_ROWS_MAX} are possible; train on a part")));
    }
    Ok(())
}

fn check(attack: &[bool]) -> Result<()> {
    let attacks = attack.iter().filter(|attack| **attack).count();
    let benign = attack.len() - attacks;
    if benign < BENIGN_MIN {
        return Err(Error::config(format!("only {benign} different rows are benign; at least {BENIGN_MIN}, better 10,000, are needed")));
    }
    if (1..ATTACKS_MIN).contains(&attacks) {
        return Err(Error::config(format!(
            "only {attacks} different rows are attacks; give at least {ATTACKS_MIN}, or train without --label on benign rows alone"
        )));
    }
    Ok(())
}

/// The first of each set of equal rows with the same label, in the table's order.
fn distinct(rows: &Rows, attack: &[bool]) -> Vec<usize> {
    let compare = |a: usize, b: usize| rows.compare(a, b).then(attack[a].cmp(&attack[b]));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order.dedup_by(|later, earlier| compare(*later, *earlier).is_eq());
    order.sort_unstable();
    order
}

/// A number for each of these rows, the same for equal ones.
fn copies(rows: &Rows, kept: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by(|a, b| rows.compare(kept[*a], kept[*b]));
    let (mut numbers, mut number) = (vec![0; kept.len()], 0);
    for pair in order.windows(2) {
        number += usize::from(rows.compare(kept[pair[0]], kept[pair[1]]).is_ne());
        numbers[pair[1]] = number;
    }
    numbers
}

/// A number for each group of these rows.
fn codes(column: &Column, rows: &[usize]) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    let text = |row: &usize| column.cells.text(*row).unwrap_or_default();
    rows.iter()
        .map(|row| {
            let next = numbers.len();
            *numbers.entry(text(row)).or_insert(next)
        })
        .collect()
}

/// A fold for each row, each class dealt evenly, or for each group.
fn deal(attack: &[bool], groups: Option<&[usize]>, folds: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut draw = |count: usize| -> Vec<u8> {
        // As many of each as possible, in random order.
        let mut drawn: Vec<u8> = (0..count).map(|i| (i % folds) as u8).collect();
        (1..count).for_each(|i| drawn.swap(i, random.below(i as u64 + 1) as usize));
        drawn
    };
    match groups {
        None => {
            let attacks = attack.iter().filter(|attack| **attack).count();
            let (mut benign, mut attacks) = (draw(attack.len() - attacks).into_iter(), draw(attacks).into_iter());
            attack.iter().filter_map(|attack| if *attack { attacks.next() } else { benign.next() }).collect()
        }
        Some(groups) => {
            let of_group = draw(groups.iter().max().map_or(0, |last| last + 1));
            groups.iter().map(|group| of_group[*group]).collect()
        }
    }
}

#[cfg(test)]
mod tests;
