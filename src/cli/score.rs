//! `threatguard score`: what a model of a table says of each row.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::args_table::ScoreArgs;
use super::progress::Progress;
use super::{Outcome, evaluate, imported, output};
use crate::error::{Error, Result};
use crate::models::table::frame::Frame;
use crate::models::table::model::{Scored, TableModel};

/// By row.
type Reasons = BTreeMap<usize, Vec<Value>>;

pub(super) fn run(args: &ScoreArgs) -> Result<Outcome> {
    if let Some(model) = imported::load(&args.model)? {
        if args.contributions > 0 {
            return Err(Error::config("--contributions is for models that were trained here; an imported one gives scores only"));
        }
        return imported::scored(&model, args);
    }
    let (model, _) = evaluate::load(&args.model)?;
    let frame = evaluate::read(&model, &args.data, args.columns.as_deref())?;
    let scored = model.score(&frame)?;
    let is_csv = args.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let of_alerts = contributions(args, &model, &frame, &scored, is_csv)?;
    let text = if is_csv { csv(&model, &scored) } else { json_lines(&model, &scored, &of_alerts) };
    evaluate::write(&args.out, text.as_bytes())?;
    let alerts = scored.scores.iter().filter(|score| **score > model.threshold).count();
    output::print(&format!("{} rows, {alerts} alerts; scores in {}\n", scored.scores.len(), args.out.display()))?;
    Ok(Outcome::Clean)
}

/// What speaks for each alert, by row; nothing where it is not wanted.
fn contributions(args: &ScoreArgs, model: &TableModel, frame: &Frame, scored: &Scored, is_csv: bool) -> Result<Reasons> {
    if args.contributions == 0 {
        return Ok(Reasons::default());
    }
    if is_csv {
        return Err(Error::config("--contributions has other columns for each row: name a file of JSON Lines with --out"));
    }
    let mut progress = Progress::new("explaining", "rows", Some(scored.scores.len() as u64));
    let mut reasons = Reasons::default();
    for row in (0..scored.scores.len()).filter(|row| scored.scores[*row] > model.threshold) {
        let Some(found) = model.contributions(frame, row, args.contributions) else {
            return Err(Error::config(
                "--contributions needs trees, which this model has not: it was trained without labels, or on sequences",
            ));
        };
        reasons.insert(row, found.into_iter().map(|(column, adds)| json!({"column": column, "logOdds": adds})).collect());
        progress.set(row as u64);
    }
    progress.finish();
    Ok(reasons)
}

fn csv(model: &TableModel, scored: &Scored) -> String {
    let mut text = String::from("row,score,p_value,alert");
    model.names().iter().for_each(|name| text.extend([",", name]));
    text.push('\n');
    for row in 0..scored.scores.len() {
        let (score, p_value) = (scored.scores[row], scored.p_values[row]);
        let alert = u8::from(score > model.threshold);
        // Writing to a string cannot fail.
        write!(text, "{},{score},{p_value:e},{alert}", row + 1).ok();
        for part in &scored.parts {
            write!(text, ",{}", part[row]).ok();
        }
        text.push('\n');
    }
    text
}

fn json_lines(model: &TableModel, scored: &Scored, reasons: &Reasons) -> String {
    let names = model.names();
    let mut text = String::new();
    for row in 0..scored.scores.len() {
        let parts: serde_json::Map<String, Value> =
            names.iter().zip(&scored.parts).map(|(name, part)| ((*name).to_owned(), json!(part[row]))).collect();
        let score = scored.scores[row];
        let mut line =
            json!({"row": row + 1, "score": score, "pValue": scored.p_values[row], "alert": score > model.threshold, "parts": parts});
        if let Some(reasons) = reasons.get(&row) {
            line["contributions"] = json!(reasons);
        }
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text
}
