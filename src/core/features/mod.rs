//! Stage 4/8: features. One row of numbers for each event, from the event and its entity's state before it.

pub mod row;
