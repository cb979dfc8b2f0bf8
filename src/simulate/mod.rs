//! The built-in simulator: realistic enterprise traffic and user activity with labelled attack campaigns over it.
//!
//! Pure and deterministic: the same [`Scenario`] gives the same bytes. It must never be consulted by a detector, and campaigns
//! must only be recognisable by what they do: names, addresses and clients come from the same generators for all sides.

mod attacks;
mod benign;
mod campaign;
mod draft;
pub mod evaluate;
mod geo;
pub mod known;
mod names;
mod people;
mod queue;
mod rng;
mod scenario;
mod simulator;
mod timer;
mod touch;
mod world;
mod writer;

#[cfg(test)]
mod tests;

pub use campaign::{Campaign, CampaignKind, LabelId, Touched, Variant};
pub use draft::Family;
pub use scenario::{Plan, Scenario};
pub use simulator::{DISORDER_MICROS_MAX, Emitted, Simulator};
