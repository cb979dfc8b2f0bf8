//! `threatguard train`: fits a model bundle to ordinary traffic.

use std::path::Path;
use std::sync::Arc;

use super::args::TrainArgs;
use super::retrain::{Shown, again};
use super::{Outcome, feedback, imported, output};
use crate::config::pipeline::{self, PipelineFile};
use crate::core::detect::trees::{Link, Trees};
use crate::core::engine::Counts;
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::models::imported::Foreign;
use crate::run::labels::Labels;
use crate::run::training::{Source, Trained, train};

pub(super) fn run(args: &TrainArgs) -> Result<Outcome> {
    if let Some(data) = &args.table.data {
        return super::train_table::run(&args.table, data, &args.out);
    }
    let (Some(file), Some(from)) = (&args.pipeline, &args.input) else {
        return Err(Error::bug("neither a table nor a pipeline with its input"));
    };
    let file = pipeline::load(file)?;
    let name = file.name.clone();
    let judgements = feedback::read(args.feedback.as_deref())?;
    let labels = Labels { field: args.table.label.clone(), benign: args.table.benign.clone(), judgements, ..Labels::default() };
    let trees = args.trees.as_deref().map(|trees| foreign_trees(trees, &file)).transpose()?;
    let open = again(from, &args.codec);
    let source = Source { limit: args.limit.unwrap_or(u64::MAX), trees, ..Source::whole(file, &open, from.as_os_str() == "-") };
    let mut shown = Shown::new(false);
    let trained = train(&source, &labels, &mut shown);
    shown.end();
    let Trained { bundle, counts } = trained?;
    crate::models::bundle_files::save(&bundle, &args.out)?;
    output::print(&summary(&bundle, &name, counts, args))?;
    Ok(Outcome::Clean)
}

/// Trees of another library, if they ask for the features of this pipeline.
fn foreign_trees(path: &Path, file: &PipelineFile) -> Result<Arc<Trees>> {
    if !file.detectors.boosted_trees.enabled {
        return Err(Error::config(format!("pipeline '{}' has boosted_trees switched off: enable them, or leave --trees out", file.name)));
    }
    let Foreign { trees, columns, .. } = imported::foreign(path)?;
    let names = file.features.model_names();
    if trees.link() != Link::Logistic {
        return Err(Error::config(format!("{} predicts values; a pipeline takes the probability of an attack", path.display())));
    }
    if trees.width() != names.len() || !(columns.is_empty() || columns.iter().eq(names)) {
        let (path, names) = (path.display(), names.join(", "));
        return Err(Error::config(format!("{path} does not ask for the features of this pipeline, in this order: {names}")));
    }
    Ok(Arc::new(trees))
}

fn summary(bundle: &Bundle, name: &str, counts: Counts, args: &TrainArgs) -> String {
    let training = &bundle.manifest.training;
    let models = [
        ("isolation forest", bundle.forest.is_some()),
        ("LSTM autoencoder", bundle.lstm.is_some()),
        ("boosted trees", bundle.trees.is_some()),
    ];
    let models: Vec<&str> = models.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect();
    format!(
        "trained '{name}' version {} on {} events ({} late, {} dead letters): {} rows for the forest, {} for calibration, {} left out as too odd\nmodels: {}\nbundle in {}\n",
        bundle.manifest.version,
        counts.scored,
        counts.late,
        counts.dead_lettered,
        training.fit_rows,
        training.calibration_rows,
        training.trimmed_rows,
        if models.is_empty() { "none, there were too few events".to_owned() } else { models.join(", ") },
        args.out.display()
    )
}
