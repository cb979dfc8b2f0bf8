//! Retraining without its files: the record of a job, and whether a candidate is better than the champion. Pure.

pub mod better;
pub mod figures;
pub mod job;
