//! `threatguard model retrain --model --data`: a table's model, replaced only by one that is better on rows that were held out.

use std::path::Path;

use super::args_retrain::RetrainArgs;
use super::train_table::{fit, known, labelled, plan};
use super::{Outcome, evaluate, output, retrain, train_table};
use crate::error::{Error, Result};
use crate::models::bundle_files;
use crate::models::retrain::better::{Side, check_split, decide};
use crate::models::retrain::figures::{Scored, Truths};
use crate::models::sealed;
use crate::models::table::frame::{Column, Frame};
use crate::models::table::model::{LabelRule, TableModel};
use crate::models::table::plan::Options;
use crate::run::retrain::BY_ENTITIES;

pub(super) fn run(args: &RetrainArgs, folder: &Path, data: &Path) -> Result<Outcome> {
    check_split(args.validation_split)?;
    let (champion, manifest) = evaluate::load(folder)?;
    let rule = LabelRule {
        column: args.label.clone().or(manifest.label.column.clone()),
        benign: args.benign.clone().or(manifest.label.benign.clone()),
    };
    let seed = args.seed.unwrap_or(champion.facts.seed);
    let sequence = args.table.shape.sequence.as_deref().or(champion.schema.sequence().map(|(column, _)| column));
    let frame = train_table::read(data, args.table.shape.columns.as_deref(), sequence)?;
    let (learned, held_out, said) = split(&frame, args)?;
    let (candidate, benign) = candidate(frame.select(&learned), args, sequence, &rule, seed)?;
    let rule = LabelRule { benign: benign.or(rule.benign), ..rule };
    let (new_manifest, files) = candidate.to_files(rule.clone());

    // Each model reads the cells as it was taught to.
    let scored = |model: &TableModel| -> Result<Scored> {
        let frame = evaluate::read(model, data, args.table.shape.columns.as_deref())?.select(&held_out);
        let scored = model.score(&frame)?;
        let surprise = scored.p_values.iter().map(|p| -libm::log(p.max(f64::MIN_POSITIVE)) as f32).collect();
        Ok(Scored { surprise, threat: scored.scores.iter().map(|score| *score > model.threshold).collect() })
    };
    let (old, new) = (scored(&champion)?, scored(&candidate)?);
    let truths = truths(frame.select(&held_out), args, &rule)?;
    let side = |version, scored| Side { version, scored };
    let mut outcome = decide(&truths, Some(side(&manifest.version, &old)), side(&new_manifest.version, &new), said, seed);
    if outcome.better && !args.no_promote {
        bundle_files::save_files(&files, folder)?;
        outcome.promoted = true;
    }
    if args.json {
        output::json(&outcome)?
    } else {
        output::print(&retrain::results(&outcome))?
    }
    Ok(if outcome.better { Outcome::Clean } else { Outcome::Findings })
}

/// Rows to learn from and rows that are held out, and the latter in words.
fn split(frame: &Frame, args: &RetrainArgs) -> Result<(Vec<usize>, Vec<usize>, String)> {
    let (rows, share) = (frame.rows(), args.validation_split);
    if args.hold_out != BY_ENTITIES {
        let first = (rows as f64 * (1.0 - share)) as usize;
        return Ok(((0..first).collect(), (first..rows).collect(), format!("the last {} of {rows} rows", rows - first)));
    }
    let group =
        args.table.shape.group.as_deref().ok_or_else(|| Error::config("to hold out whole entities, name their column with --group"))?;
    let column = frame.column(group).ok_or_else(|| frame.absent(group))?;
    let is_held_out = |row: &usize| {
        let digits = sealed::hash(column.cells.text(*row).unwrap_or_default().as_bytes());
        u32::from_str_radix(digits.get(..8).unwrap_or_default(), 16).is_ok_and(|hash| f64::from(hash) < share * f64::from(u32::MAX))
    };
    let (held_out, learned) = (0..rows).partition(is_held_out);
    Ok((learned, held_out, format!("all rows of {:.0} % of the values of '{group}'", 100.0 * share)))
}

/// The model of the rows that are learned from, and what benign rows are called among them.
fn candidate(
    mut frame: Frame,
    args: &RetrainArgs,
    sequence: Option<&str>,
    rule: &LabelRule,
    seed: u64,
) -> Result<(TableModel, Option<String>)> {
    let label = rule.column.as_deref().map(|label| labelled(&mut frame, label, rule.benign.as_deref())).transpose()?;
    let group = args.table.shape.group.as_deref().map(|group| frame.take(group)).transpose()?;
    for name in &args.table.shape.drop {
        frame.take(name)?;
    }
    let (truth, benign) = label.unzip();
    let options = Options { seed, ..Options::default() };
    let plan = plan(&frame, sequence, known(truth.as_ref(), benign.as_deref())?, group.as_ref(), options)?;
    Ok((fit(plan)?, benign))
}

/// What is known of the rows that are held out; those of a group are drawn together.
fn truths(mut frame: Frame, args: &RetrainArgs, rule: &LabelRule) -> Result<Truths> {
    let rows = frame.rows();
    let attack = match rule.column.as_deref() {
        Some(label) => labelled(&mut frame, label, rule.benign.as_deref())?.0.attack.into_iter().map(Some).collect(),
        None => vec![None; rows],
    };
    let cluster = match args.table.shape.group.as_deref() {
        Some(group) => numbers(&frame.take(group)?),
        None => (0..rows as u32).collect(),
    };
    Ok(Truths { attack, cluster })
}

fn numbers(column: &Column) -> Vec<u32> {
    let mut known = std::collections::BTreeMap::new();
    let text = |row| column.cells.text(row).unwrap_or_default();
    (0..column.cells.len())
        .map(|row| {
            let next = known.len() as u32;
            *known.entry(text(row)).or_insert(next)
        })
        .collect()
}
