//! `threatguard test`: the tests inside pipeline files, through the real engine.

use std::sync::Arc;

use super::args::TestArgs;
use super::{Outcome, models, output, validate};
use crate::config::cases::{Case, Observed, ObservedThreat};
use crate::config::pipeline::{self, PipelineFile};
use crate::config::service::Verdicts;
use crate::core::correlate::Correlator;
use crate::core::output::ThreatRecord;
use crate::core::printable::printable;
use crate::core::types::Offset;
use crate::edge::discard::Discard;
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::run::embedded::{Embedded, Observer};
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::telemetry::Metrics;

pub(super) fn run(args: &TestArgs) -> Result<Outcome> {
    let (mut passed, mut failed) = (0, 0);
    for path in validate::pipeline_files(&args.files)? {
        let file = pipeline::load(&path)?;
        let bundle = args.models.as_deref().map(|folder| models::load(folder, &file.name)).transpose()?;
        let wanted = |case: &&Case| args.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()));
        for case in file.tests.iter().filter(wanted) {
            let findings = judge(&file, case, bundle.as_ref())?;
            let verdict = if findings.is_empty() { "ok" } else { "FAILED" };
            output::print(&format!("{}: {} ... {verdict}\n", printable(&file.name), printable(&case.name)))?;
            for finding in &findings {
                output::print(&format!("    {}\n", printable(finding)))?;
            }
            if findings.is_empty() { passed += 1 } else { failed += 1 }
        }
    }
    output::print(&format!("{passed} passed, {failed} failed\n"))?;
    Ok(if failed == 0 { Outcome::Clean } else { Outcome::Findings })
}

/// What differs from what the case expects; empty when it passes.
///
/// # Errors
/// The pipeline cannot be opened, or a `Bug`.
pub fn judge(file: &PipelineFile, case: &Case, bundle: Option<&Bundle>) -> Result<Vec<String>> {
    let mut file = file.clone();
    // A test never becomes what is learned from.
    file.learning.events = u64::MAX;
    let mut pipeline = Pipeline::open(file, None)?;
    pipeline.trusts_raw_scores = true;
    let pipeline = Arc::new(pipeline);
    let learning = Arc::new(Learning::new(&pipeline, bundle, None)?);
    let correlator = Correlator::new(&pipeline.file.name, &pipeline.file.routes.threats, pipeline.file.correlation);
    let lanes = vec![(Arc::clone(&pipeline), learning)];
    let mut run = Embedded::new(lanes, Verdicts::None, Arc::new(Discard::default()), correlator, Arc::new(Metrics::new()))?;
    let records = case.records().map_err(Error::config)?;
    let mut seen = Seen::default();
    for (number, record) in records.iter().enumerate() {
        run.records(0).push(Offset(number as u64), Some(record.time), None, &record.payload);
        if run.records(0).len() >= super::run::BATCH_RECORDS {
            run.step(&mut seen)?;
        }
    }
    run.step(&mut seen)?;
    let counts = run.counts();
    Ok(case.judge(&Observed { threats: seen.0, dead_letters: counts.dead_lettered, late: counts.late }))
}

#[derive(Default)]
struct Seen(Vec<ObservedThreat>);

impl Observer for Seen {
    fn threat(&mut self, threat: &ThreatRecord) {
        self.0.push(ObservedThreat {
            kind: threat.threat_type.clone(),
            entity: threat.entity.clone(),
            severity: threat.severity,
            anomalies: threat.anomalies.iter().map(|anomaly| anomaly.name.clone()).collect(),
        });
    }
}
