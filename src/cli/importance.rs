//! `threatguard model importance`: what a model of a table, or a pipeline's bundle, looks at.

use std::path::Path;

use super::args_importance::ImportanceArgs;
use super::output::table;
use super::progress::Progress;
use super::retrain::{Shown, again};
use super::{Outcome, evaluate, models, output};
use crate::config::pipeline;
use crate::error::{Error, Result};
use crate::limits::IMPORTANCE_ROWS_MAX;
use crate::models::importance::{Chosen, Importance, Kind, Scorer, Settings, importance};
use crate::models::retrain::job::Stage;
use crate::models::table::frame::Frame;
use crate::models::table::model::TableModel;
use crate::run::importance::Collector;
use crate::run::labels::Labels;
use crate::run::learning::Learning;
use crate::run::training::{Source, pass};

pub(super) fn run(args: &ImportanceArgs) -> Result<Outcome> {
    if args.rows == 0 || args.rows > IMPORTANCE_ROWS_MAX {
        return Err(Error::config(format!("--rows: between 1 and {IMPORTANCE_ROWS_MAX}")));
    }
    let found = match (&args.model, &args.data, &args.pipeline, &args.models, &args.input) {
        (Some(model), Some(data), ..) => of_table(args, model, data)?,
        (_, _, Some(pipeline), Some(models), Some(input)) => of_pipeline(args, pipeline, models, input)?,
        _ => return Err(Error::bug("neither a table's model nor a pipeline's")),
    };
    if args.json {
        output::json(&found)?
    } else {
        output::print(&view(&found))?
    }
    Ok(Outcome::Clean)
}

fn measured(args: &ImportanceArgs, id: &str, attack: &[bool], scorer: &mut dyn Scorer) -> Result<Importance> {
    let mut bar: Option<Progress> = None;
    let settings = Settings { repeats: args.repeats, seed: args.seed };
    let found = importance(id, attack, scorer, settings, &mut |_, of| {
        bar.get_or_insert_with(|| Progress::new("measuring", "scorings", Some(of as u64))).step();
    });
    bar.into_iter().for_each(Progress::finish);
    found
}

fn of_table(args: &ImportanceArgs, folder: &Path, data: &Path) -> Result<Importance> {
    let (model, manifest) = evaluate::load(folder)?;
    let mut frame = evaluate::read(&model, data, args.columns.as_deref())?;
    let truth = evaluate::truth(&mut frame, args.label.as_deref(), args.benign.as_deref(), &manifest)?;
    model.schema.check(&frame)?;
    let mut chosen = Chosen::new(args.rows, args.seed);
    truth.attack.iter().enumerate().for_each(|(row, attack)| chosen.push(*attack, || row));
    let (rows, attack) = chosen.into_rows();
    let names: Vec<&str> = model.schema.fields.iter().map(|field| field.name.as_str()).collect();
    let columns = names.iter().map(|name| frame.columns().iter().position(|column| column.name == *name));
    let columns =
        columns.collect::<Option<Vec<usize>>>().ok_or_else(|| Error::bug("a column of the model is not in a table that fits it"))?;
    measured(args, &manifest.version, &attack, &mut TableRows { model: &model, frame: frame.select(&rows), columns })
}

struct TableRows<'m> {
    model: &'m TableModel,
    frame: Frame,
    /// The model's, by their place in the frame.
    columns: Vec<usize>,
}

impl Scorer for TableRows<'_> {
    fn features(&self) -> Vec<(String, Kind)> {
        self.model.schema.fields.iter().map(|field| (field.name.clone(), Kind::Feature)).collect()
    }
    fn scores(&mut self, permuted: Option<(usize, &[usize])>) -> Result<Vec<f32>> {
        let scored = match permuted {
            None => self.model.score(&self.frame),
            Some((feature, order)) => self.model.score(&self.frame.permuted(self.columns[feature], order)),
        };
        Ok(scored?.scores)
    }
}

fn of_pipeline(args: &ImportanceArgs, file: &Path, folder: &Path, input: &Path) -> Result<Importance> {
    let file = pipeline::load(file)?;
    let bundle = models::load(folder, &file.name)?;
    let labels = Labels { field: args.label.clone(), benign: args.benign.clone(), ..Labels::default() };
    let mut collector = Collector::new(labels, args.rows, args.seed);
    let open = again(input, &args.codec);
    let source = Source::whole(file, &open, true);
    let mut shown = Shown::new(false);
    let passed =
        pass(&source, Stage::MeasuringChampion, &mut shown, |pipeline| Learning::new(pipeline, Some(&bundle), None), &mut collector);
    shown.end();
    let passed = passed?;
    let scorer = passed.learning.scorer();
    let (mut rows, attack) = collector.into_rows(&scorer, passed.pipeline.settings.features)?;
    measured(args, &bundle.manifest.version, &attack, &mut rows)
}

fn view(found: &Importance) -> String {
    let text = format!(
        "model {}: {:.4} of {} attacks found at a false-positive rate of 0.8 %, {} rows; so much less with a feature dealt out anew, {} times\n\n",
        found.model_id, found.tpr_at_fpr008, found.attacks, found.rows, found.repeats
    );
    let mut lines = vec![["", "less found", "spread", "least", "most"].map(str::to_owned).to_vec()];
    lines.extend(found.features.iter().map(|feature| {
        let kind = if feature.kind == Kind::Detector { " (detector)" } else { "" };
        let figures = [feature.importance, feature.spread, feature.least, feature.most];
        std::iter::once(format!("{}{kind}", feature.feature_name)).chain(figures.map(|figure| format!("{figure:+.4}"))).collect()
    }));
    text + &table(&lines)
}
