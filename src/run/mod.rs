//! Running a pipeline: from an input through the core to the outputs, embedded or on Kafka and Redis.

pub mod summary;
pub mod telemetry;
