//! Measures of scores against labels. Pure.

pub mod report;
