//! A scenario of the simulator through both pipelines, judged by its labels.

#![allow(dead_code, reason = "the tests and the bench each use a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bumpalo::Bump;
use threatguard::core::engine::PARTS;
use threatguard::core::event::Record;
use threatguard::core::types::{Offset, Partition, Position};
use threatguard::models::bundle::Bundle;
use threatguard::simulate::evaluate::{Evaluator, Finding, Judgement, Period, Report};
use threatguard::simulate::{Campaign, Scenario, Simulator};

use super::harness::{Alerts, Found, Lane, configured, correlation, identity, network, p_of};

const BATCH: usize = 1_024;

/// What came of a scenario.
pub struct Outcome {
    pub campaigns: Vec<Campaign>,
    pub alerts: Report,
    pub threats: Report,
    pub events: u64,
    /// Every threat after learning, with what it was.
    pub found: Vec<(Found, Judgement)>,
    /// Every alert: revision, risk, the threat that made it, and what it was.
    pub raised: Vec<(u32, f64, Found, Judgement)>,
    /// The most surprising event of each campaign's own, by campaign and pipeline.
    pub best: BTreeMap<(u32, usize), Best>,
    pub bundles: Vec<Arc<Bundle>>,
}

/// How surprising an event was, in sum and by detector.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    pub surprise: f32,
    pub parts: [f32; PARTS],
    pub raw: [f32; PARTS],
}

/// Learns from what is before the scenario's campaigns, then detects.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    let mut simulator = Simulator::new(scenario).unwrap();
    let mut lanes = [configured(network()), configured(identity())].map(|file| Lane::new(file, "threatguard"));
    let mut correlation = Alerts::new(correlation());
    let (mut found, mut raised) = (vec![], vec![]);
    let (mut text, mut ends, mut labels, mut offset) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut best: BTreeMap<(u32, usize), Best> = BTreeMap::new();
    let mut arena = Bump::new();
    loop {
        text.clear();
        ends.clear();
        labels.clear();
        let mut newest = None;
        while ends.len() < BATCH {
            let Some(emitted) = simulator.next(&mut text) else { break };
            newest = Some(emitted.time);
            ends.push(text.len());
            labels.push(emitted.label);
        }
        let Some(newest) = newest else { break };
        let records = records(&text, &ends, offset);
        let first = offset;
        offset += ends.len() as u64;
        for (place, lane) in lanes.iter_mut().enumerate() {
            if lane.is_learning() && newest >= scenario.learned() {
                lane.finish_learning();
            }
            let learned = !lane.is_learning();
            lane.process(&records, &arena, true, |scored| {
                let label = labels[(scored.event.at.offset.0 - first) as usize].filter(|_| learned);
                if let Some(label) = label {
                    let now = Best { surprise: scored.surprise, parts: scored.parts, raw: scored.raw };
                    let best = best.entry((label.0, place)).or_insert(now);
                    if now.surprise > best.surprise {
                        *best = now;
                    }
                }
            });
            if lane.is_learning() {
                continue;
            }
            for (alert, threat) in correlation.take(&lane.found, lane.watermark()) {
                raised.push((alert.revision, alert.risk_score, threat.clone()));
            }
            found.append(&mut lane.found);
        }
        drop(records);
        arena.reset();
    }
    let mut outcome = judge(scenario, simulator.campaigns().to_vec(), offset, found, raised);
    outcome.best = best;
    outcome.bundles = lanes.into_iter().filter_map(|lane| lane.bundle).collect();
    outcome
}

fn records<'b>(text: &'b [u8], ends: &[usize], first: u64) -> Vec<Record<'b>> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let at = |index: usize| Position { partition: Partition(0), offset: Offset(first + index as u64) };
    starts.zip(ends).enumerate().map(|(index, (from, to))| Record { at: at(index), payload: &text[from..*to], time: None }).collect()
}

fn judge(scenario: &Scenario, campaigns: Vec<Campaign>, events: u64, found: Vec<Found>, raised: Vec<(u32, f64, Found)>) -> Outcome {
    let period = Period::after_learning(scenario);
    let (mut of_threats, mut of_alerts) = (Evaluator::new(&campaigns, period), Evaluator::new(&campaigns, period));
    let finding = |threat: &Found, evaluator: &mut Evaluator<'_>| {
        let (record, p) = (&threat.record, p_of(threat));
        let (kind, severity) = (record.threat_type.as_str(), record.severity.as_str());
        evaluator.add(&Finding { time: record.timestamp, entity: &record.entity, kind, severity, p })
    };
    let found = found
        .into_iter()
        .map(|threat| {
            let judged = finding(&threat, &mut of_threats);
            (threat, judged)
        })
        .collect();
    let raised = raised
        .into_iter()
        .map(|(revision, risk, threat)| {
            let judged = finding(&threat, &mut of_alerts);
            (revision, risk, threat, judged)
        })
        .collect();
    let (alerts, threats) = (of_alerts.report(), of_threats.report());
    Outcome { campaigns, alerts, threats, events, found, raised, best: BTreeMap::new(), bundles: vec![] }
}
