//! `threatguard evaluate --test-then-train`: how well models do that learn from a stream of rows while they are tested on it.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::args_table::EvaluateArgs;
use super::evaluate::{self, Report};
use super::{Outcome, jobs, output, train_table};
use crate::edge::table;
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;
use crate::models::table::frame::Frame;
use crate::models::table::members::NAMES;
use crate::models::table::model::{Manifest, TableModel};
use crate::models::table::plan::{Options, Plan};
use crate::models::table::report::{Measures, Truth, measure, measure_alerts};
use crate::models::table::schema::TableSchema;
use crate::models::table::stream::{Alarm, Cause, Followed, Protocol, Stream, Track};
use crate::models::table::truth;

#[derive(Serialize)]
struct StreamReport {
    #[serde(flatten)]
    report: Report,
    /// What the ordinary model gives that never learns again.
    frozen: Measures,
    protocol: Told,
}

/// How it was tested, and what happened.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    protocol: Protocol,
    refits: usize,
    alarms: Vec<Alarm>,
}

/// Labelled rows.
struct Part {
    frame: Frame,
    truth: Truth,
}

/// All that is asked for, read.
struct Input {
    model: Option<TableModel>,
    /// What is known at the beginning, and what is tested.
    known: Part,
    tested: Part,
    benign: String,
}

pub(super) fn run(args: &EvaluateArgs) -> Result<Outcome> {
    let input = Input::read(args)?;
    truth::both_classes(&input.tested.truth, &input.benign)?;
    let schema = input.model.as_ref().map_or_else(|| TableSchema::learn(&input.known.frame), |model| Ok(model.schema.clone()))?;
    let mut rows = schema.encode(&input.known.frame)?;
    rows.append(&schema.encode(&input.tested.frame)?);
    let protocol = Protocol {
        warm_up_rows: input.known.frame.rows(),
        label_delay: args.stream.label_delay,
        refit_every: args.stream.refit_every as usize,
        nominal: Options::default().nominal,
        seed: args.stream.seed,
    };
    let followed = follow(&rows, &input, protocol)?;
    let frozen = input.frozen(protocol.seed)?;
    let report = report(&followed, &frozen, &input.tested, protocol)?;
    if let Some(path) = &args.stream.scores {
        evaluate::write(path, csv(&followed.ensemble).as_bytes())?;
    }
    if let Some(path) = &args.json {
        evaluate::write_json(path, &report)?;
    }
    output::print(&view(&report))?;
    Ok(Outcome::Clean)
}

impl Input {
    fn read(args: &EvaluateArgs) -> Result<Self> {
        let model = args.model.as_deref().map(evaluate::load).transpose()?;
        let manifest = model.as_ref().map(|(_, manifest): &(TableModel, Manifest)| manifest);
        if let Some((model, _)) = model.as_ref().filter(|(model, _)| model.schema.sequence().is_some()) {
            let members = model.names().join(", ");
            return Err(Error::config(format!(
                "--test-then-train learns from columns, and the members of this model ({members}) from sequences: leave it out"
            )));
        }
        let (label, benign) = evaluate::label(args.label.as_deref(), args.benign.as_deref(), manifest)?;
        let names = args.columns.as_deref().map(table::names).transpose()?;
        let open = |path: &Path, like: Option<&TableSchema>, benign: Option<&str>| -> Result<(Part, String)> {
            let mut frame = table::read(path, names.as_deref(), &|name| like.and_then(|schema| schema.is_words(name)))?;
            let (truth, benign) = evaluate::labels(&mut frame, label, benign)?;
            for name in &args.stream.drop {
                frame.take(name)?;
            }
            Ok((Part { frame, truth }, benign))
        };
        let like = model.as_ref().map(|(model, _)| &model.schema);
        let (known, tested, benign) = match &args.stream.history {
            Some(history) => {
                let (known, benign) = open(history, like, benign)?;
                let learned = TableSchema::learn(&known.frame)?;
                let (tested, benign) = open(&args.data, like.or(Some(&learned)), Some(&benign))?;
                (known, tested, benign)
            }
            None => {
                let (all, benign) = open(&args.data, like, benign)?;
                let (known, tested) = all.cut(args.stream.warm_up)?;
                (known, tested, benign)
            }
        };
        Ok(Self { model: model.map(|(model, _)| model), known, tested, benign })
    }

    /// What the ordinary model says that never learns again: the given one, or one of the rows that are known at the beginning.
    fn frozen(&self, seed: u64) -> Result<Measures> {
        let trained;
        let model = match &self.model {
            Some(model) => model,
            None => {
                let known = train_table::known(Some(&self.known.truth), Some(&self.benign))?;
                let plan = Plan::new(&self.known.frame, known, None, Options { seed, ..Options::default() })?;
                trained = train_table::fit(plan)?;
                &trained
            }
        };
        Ok(measure(&model.score(&self.tested.frame)?.scores, &self.tested.truth, model.threshold))
    }
}

impl Part {
    /// The first rows, a share of all, and the others.
    fn cut(self, share: f64) -> Result<(Self, Self)> {
        if !(share > 0.0 && share < 1.0) {
            return Err(Error::config(format!("--warm-up is {share}; give a share above 0 and below 1, such as 0.1")));
        }
        let rows = self.frame.rows();
        let first = (rows as f64 * share) as usize;
        if first == 0 {
            return Err(Error::config(format!("--warm-up {share} of {rows} rows is none to learn from; give a larger share")));
        }
        let some = |from: usize, to: usize| Self {
            frame: self.frame.select(&(from..to).collect::<Vec<_>>()),
            truth: Truth {
                attack: self.truth.attack[from..to].to_vec(),
                class: self.truth.class[from..to].to_vec(),
                classes: self.truth.classes.clone(),
            },
        };
        Ok((some(0, first), some(first, rows)))
    }
}

fn follow(rows: &Matrix, input: &Input, protocol: Protocol) -> Result<Followed> {
    let attack: Vec<bool> = input.known.truth.attack.iter().chain(&input.tested.truth.attack).copied().collect();
    let stream = Stream::new(rows, &attack, protocol)?;
    let done = jobs::side_by_side("testing and training", stream.jobs(), stream.jobs(), |job, step| {
        let done = stream.run(job);
        step();
        done
    })?;
    stream.finish(&done)
}

fn report(followed: &Followed, frozen: &Measures, tested: &Part, protocol: Protocol) -> Result<StreamReport> {
    let truth = &tested.truth;
    let attacks = truth.attack.iter().filter(|attack| **attack).count();
    let told = |track: &Track| -> Result<Measures> {
        let last = track.thresholds.last().copied().ok_or_else(|| Error::bug("nothing was tested"))?;
        Ok(measure_alerts(&track.scores, &track.alerts, truth, last))
    };
    let report = Report {
        rows: truth.attack.len() as u64,
        base_rate: attacks as f64 / truth.attack.len() as f64,
        ensemble: told(&followed.ensemble)?,
        members: NAMES.into_iter().zip(&followed.members).map(|(name, track)| Ok((name, told(track)?))).collect::<Result<_>>()?,
    };
    let protocol = Told { protocol, refits: followed.refits, alarms: followed.alarms.clone() };
    Ok(StreamReport { report, frozen: frozen.clone(), protocol })
}

fn csv(track: &Track) -> String {
    let mut text = String::from("row,score,threshold,alert\n");
    for (row, ((score, threshold), alert)) in track.scores.iter().zip(&track.thresholds).zip(&track.alerts).enumerate() {
        // Writing to a string cannot fail.
        writeln!(text, "{},{score},{threshold},{}", row + 1, u8::from(*alert)).ok();
    }
    text
}

fn view(report: &StreamReport) -> String {
    let Told { protocol, refits, alarms } = &report.protocol;
    let count = |cause: Cause| alarms.iter().filter(|alarm| alarm.cause == cause).count();
    format!(
        "{}\n{} rows known at the beginning, labels {} rows late, {refits} fits; drift: {} alarms by alerts, {} by mistakes\n\
         'frozen' is the ordinary model, which never learns again\n",
        evaluate::view(&report.report, &[("frozen", &report.frozen)]).trim_end(),
        protocol.warm_up_rows,
        protocol.label_delay,
        count(Cause::Alerts),
        count(Cause::Mistakes),
    )
}
