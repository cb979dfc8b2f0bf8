//! The fits of a test in jobs that may run side by side: each is given what is known at its stage and nothing that another job found.
//! Must never make a result depend on the order in which jobs end.

use super::follow::{self, Followed};
use super::stages::{self, Stage};
use super::{Protocol, anomaly, trees};
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;
use crate::models::table::members::{BOOSTED, NAMES};

/// Rows after which the anomaly members are fitted anew: what is usual moves slowly, and they are dear.
const ANOMALY_ROWS: usize = 1_000;

/// Rows in their order, and what is to be done to test on them.
#[derive(Debug)]
pub struct Stream<'a> {
    rows: &'a Matrix,
    attack: &'a [bool],
    protocol: Protocol,
    stages: Vec<Stage>,
    jobs: Vec<Job>,
}

#[derive(Clone, Copy, Debug)]
enum Job {
    Trees(Stage),
    /// Scores rows up to this one.
    Anomaly(Stage, usize),
}

/// What came of a job: scores of rows from `first`, for each member that it fitted.
#[derive(Debug)]
pub struct Done {
    first: usize,
    scores: Vec<(usize, Vec<f32>)>,
}

impl<'a> Stream<'a> {
    /// # Errors
    /// `Config`: no row is known at the beginning, or none is left to be tested.
    pub fn new(rows: &'a Matrix, attack: &'a [bool], protocol: Protocol) -> Result<Self> {
        assert_eq!(rows.rows(), attack.len(), "one label a row");
        let warm = protocol.warm_up_rows;
        if warm == 0 || warm >= rows.rows() {
            let all = rows.rows();
            return Err(Error::config(format!(
                "{warm} of {all} rows are known at the beginning; leave some to learn from and some to test"
            )));
        }
        let stages = stages::stages(&protocol, rows.rows());
        let mut jobs: Vec<Job> = stages.iter().map(|stage| Job::Trees(*stage)).collect();
        jobs.extend(anomaly_jobs(&stages, warm));
        Ok(Self { rows, attack, protocol, stages, jobs })
    }

    #[must_use]
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// # Errors
    /// `Config`: what the fitting of trees refuses.
    pub fn run(&self, job: usize) -> Result<Done> {
        let seed = self.protocol.seed;
        match self.jobs[job] {
            Job::Trees(stage) => {
                let margins = trees::margins(self.rows, self.attack, stage, seed)?;
                Ok(Done { first: stage.first, scores: vec![(BOOSTED, margins)] })
            }
            Job::Anomaly(stage, end) => Ok(Done { first: stage.first, scores: anomaly::scores(self.rows, self.attack, stage, end, seed) }),
        }
    }

    /// Puts the jobs' results together, in whatever order they come.
    ///
    /// # Errors
    /// `Bug`: a job is missing.
    pub fn finish(&self, done: &[Done]) -> Result<Followed> {
        if done.len() != self.jobs.len() {
            return Err(Error::bug("a job of the test is missing"));
        }
        let mut raw = [(); NAMES.len()].map(|()| vec![0.0; self.attack.len()]);
        for Done { first, scores } in done {
            for (member, scores) in scores {
                raw[*member][*first..first + scores.len()].copy_from_slice(scores);
            }
        }
        Ok(follow::follow(raw, self.attack, &self.stages, &self.protocol))
    }
}

/// One for each run of stages of so many rows; none reaches from the rehearsal into the test.
fn anomaly_jobs(stages: &[Stage], warm: usize) -> Vec<Job> {
    let mut jobs: Vec<(Stage, usize)> = Vec::new();
    for stage in stages {
        match jobs.last_mut() {
            Some((first, end)) if stage.first != warm && stage.first < first.first + ANOMALY_ROWS => *end = stage.end,
            _ => jobs.push((*stage, stage.end)),
        }
    }
    jobs.into_iter().map(|(stage, end)| Job::Anomaly(stage, end)).collect()
}
