//! `threatguard score`: what a model of a table says of each row.

use std::fmt::Write;

use serde_json::json;

use super::args_table::ScoreArgs;
use super::{Outcome, evaluate, imported, output};
use crate::error::Result;
use crate::models::table::model::{Scored, TableModel};

pub(super) fn run(args: &ScoreArgs) -> Result<Outcome> {
    if let Some(model) = imported::load(&args.model)? {
        return imported::scored(&model, args);
    }
    let (model, _) = evaluate::load(&args.model)?;
    let frame = evaluate::read(&model, &args.data, args.columns.as_deref())?;
    let scored = model.score(&frame)?;
    let is_csv = args.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let text = if is_csv { csv(&model, &scored) } else { json_lines(&model, &scored) };
    evaluate::write(&args.out, text.as_bytes())?;
    let alerts = scored.scores.iter().filter(|score| **score > model.threshold).count();
    output::print(&format!("{} rows, {alerts} alerts; scores in {}\n", scored.scores.len(), args.out.display()))?;
    Ok(Outcome::Clean)
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

fn json_lines(model: &TableModel, scored: &Scored) -> String {
    let names = model.names();
    let mut text = String::new();
    for row in 0..scored.scores.len() {
        let parts: serde_json::Map<String, serde_json::Value> =
            names.iter().zip(&scored.parts).map(|(name, part)| ((*name).to_owned(), json!(part[row]))).collect();
        let score = scored.scores[row];
        let line =
            json!({"row": row + 1, "score": score, "pValue": scored.p_values[row], "alert": score > model.threshold, "parts": parts});
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text
}
