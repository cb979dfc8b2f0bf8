//! Running a pipeline: from an input through the core to the outputs, embedded or on Kafka and Redis.

pub mod pipeline;
pub mod recalibration;

pub mod arrow_verdicts;
pub mod backtest;
pub mod drift;
pub mod importance;
pub mod labels;
pub mod learning;
pub mod outbox;
pub mod render;
pub mod retrain;
pub mod shadow;
pub mod succession;
pub mod training;
pub mod verdicts;
pub mod worker;

pub mod logs;
pub mod loud;
pub mod merged;
pub mod summary;
pub mod telemetry;

pub mod framed;

pub mod embedded;

pub mod state;
pub mod stream;

pub mod replay;
