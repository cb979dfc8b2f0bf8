//! Stage 4/8: features. One row of numbers for each event, from the event and its entity's state.
//!
//! The signals come from the state itself (each part writes what it knew before the event); here the 16 model features are
//! composed from them, scaled so that heavy tails become logarithms.

pub mod prevalence;
pub mod row;

use self::row::{GAP, ModelRow, Schema, Signal, SignalRow};
use super::event::Event;
use super::numeric::{log2, log2_each};
use super::state::{EntityState, Rarity};

/// The model part of one row. `state` already includes the event.
#[must_use]
pub fn model_row(schema: Schema, event: &Event<'_>, state: &EntityState, rarity: Rarity, signals: &SignalRow) -> ModelRow {
    match schema {
        Schema::Network => network(event, state, rarity, signals),
        Schema::Identity => identity(event, state, rarity, signals),
    }
}

fn network(event: &Event<'_>, state: &EntityState, rarity: Rarity, signals: &SignalRow) -> ModelRow {
    let at = |which: Signal| signals[which as usize];
    let (hour, day) = state.rates();
    let (packets, duration) = (event.flow.packets as f32, event.flow.duration.max(0.0));
    let counts = [signals[GAP], hour, day, packets, duration, at(Signal::Hosts), at(Signal::Ports), 0.0];
    let [gap, hour, day, packets, duration, hosts, ports, _] = log2_each(counts.map(|count| 1.0 + count));
    [
        event.time.hour_of_day(),
        f32::from(event.time.day_of_week()),
        gap,
        hour,
        day,
        at(Signal::Bytes),
        deviation(signals, Signal::Bytes, Signal::BytesMedian, Signal::BytesSpread),
        at(Signal::OutShare),
        packets,
        duration,
        hosts,
        ports,
        rarity.port.surprise(),
        rarity.action.surprise(),
        at(Signal::FailureShare),
        state.novelty_ratios().0,
    ]
}

fn identity(event: &Event<'_>, state: &EntityState, rarity: Rarity, signals: &SignalRow) -> ModelRow {
    let at = |which: Signal| signals[which as usize];
    let (hour, day) = state.rates();
    [
        event.time.hour_of_day(),
        f32::from(event.time.day_of_week()),
        log2(1.0 + signals[GAP]),
        log2(1.0 + hour),
        log2(1.0 + day),
        at(Signal::HourRarity),
        at(Signal::Bytes),
        deviation(signals, Signal::Bytes, Signal::BytesMedian, Signal::BytesSpread),
        deviation(signals, Signal::HourVolume, Signal::HourVolumeMedian, Signal::HourVolumeSpread),
        at(Signal::FailureShare),
        log2(1.0 + at(Signal::Resources)),
        state.novelty_ratios().1,
        at(Signal::NewDevice),
        at(Signal::NewCountry),
        log2(1.0 + at(Signal::TravelSpeed)),
        rarity.action.surprise(),
    ]
}

/// Robust z-score, bounded to +-16; 0 without history.
fn deviation(signals: &SignalRow, observed: Signal, median: Signal, spread: Signal) -> f32 {
    let spread = signals[spread as usize];
    if spread <= 0.0 { 0.0 } else { ((signals[observed as usize] - signals[median as usize]) / spread).clamp(-16.0, 16.0) }
}
