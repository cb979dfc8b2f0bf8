//! Models of tables: any columns of numbers and words, a label where there is one. Pure, as all fitting is.
//!
//! `frame` > `schema` > encoded rows (> `normal` scores) > `members` > surprises > `combine` > a score > `report`. `plan` fits all of it
//! in jobs that may run side by side; `model` is the result, which scores and is kept. `stream` tests rows in their
//! order while it learns from those before. A column of sequences goes the same way, its `symbols` as rows and the members of
//! `models/sequence` in place of those for columns (`scorers`). Must never read a label when scoring.

pub mod combine;
pub mod contributions;
pub mod dependence;
pub mod frame;
pub mod isolation;
pub mod leak;
pub mod members;
pub mod mixture;
pub mod model;
pub mod nearness;
pub mod normal;
pub mod plan;
pub mod report;
pub mod rows;
pub mod schema;
pub mod scorers;
pub mod stream;
pub mod symbols;
pub mod text;
pub mod truth;
pub mod wire;

mod learned;
mod linear;
