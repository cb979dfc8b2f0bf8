//! Finding model bundles: the folder itself, the folder of the pipeline's name in it, or the champion of a registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::edge::objects::{Objects, is_store};
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::models::bundle_files;
use crate::models::depot::{Depot, Folder};
use crate::models::registry_files::Shelf;
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;

/// A registry's place: a folder, `file:///folder`, or `s3://bucket/prefix`.
///
/// # Errors
/// `Config`: an address that cannot be used.
pub(super) fn depot(place: &Path) -> Result<Arc<dyn Depot>> {
    let text = place.to_str().unwrap_or_default();
    match text.split_once("://") {
        _ if is_store(text) => Ok(Arc::new(Objects::open(text)?)),
        Some((scheme, _)) if scheme != "file" => {
            Err(Error::config(format!("models are in a folder or in s3://BUCKET/PREFIX, not in {scheme}://")))
        }
        _ => Ok(Arc::new(Folder(folder_of(place)))),
    }
}

/// The folder of `file:///folder`; any other path is its own.
fn folder_of(place: &Path) -> PathBuf {
    place.to_str().and_then(|text| text.strip_prefix("file://")).map_or_else(|| place.to_owned(), PathBuf::from)
}

/// The shelf of a pipeline in a registry, if that place is one.
///
/// # Errors
/// `Config`, `Transient`: the place cannot be read.
pub(super) fn shelf(place: &Path, pipeline: &str) -> Result<Option<Shelf>> {
    Shelf::find_in(&depot(place)?, pipeline)
}

/// The bundle for a pipeline in `folder`.
///
/// # Errors
/// `Config`: there is none, or it is damaged.
pub(super) fn load(folder: &Path, pipeline: &str) -> Result<Bundle> {
    if let Some(shelf) = shelf(folder, pipeline)? {
        let champion = shelf.roles()?.champion.ok_or_else(|| {
            Error::config(format!("{} has no champion for pipeline '{pipeline}'; 'threatguard model promote' makes one", folder.display()))
        })?;
        return shelf.load(&champion);
    }
    let place = place(&folder_of(folder), pipeline).ok_or_else(|| {
        Error::config(format!(
            "there is no model bundle for pipeline '{pipeline}' in {}; make one with 'threatguard train'",
            folder.display()
        ))
    })?;
    bundle_files::load(&place)
}

fn place(folder: &Path, pipeline: &str) -> Option<PathBuf> {
    [folder.to_owned(), folder.join(pipeline)].into_iter().find(|place| bundle_files::exists(place))
}

/// Models of a run: those in `models` where given. Without, the run learns and keeps what it learned in `kept/<pipeline>`;
/// `again` takes over what an earlier run kept there.
///
/// # Errors
/// `Config`: a bundle that is not there, is damaged, or was made for other features.
pub(super) fn learning(pipeline: &Pipeline, models: Option<&Path>, kept: &Path, again: bool) -> Result<Learning> {
    if let Some(folder) = models {
        return Learning::new(pipeline, Some(&load(folder, &pipeline.file.name)?), None);
    }
    let folder = kept.join(&pipeline.file.name);
    if again && bundle_files::exists(&folder) {
        tracing::info!(folder = %folder.display(), "using the models that were learned before");
        return Learning::new(pipeline, Some(&bundle_files::load(&folder)?), None);
    }
    tracing::info!(
        pipeline = pipeline.file.name,
        events = pipeline.settings.learning.events,
        "no models yet: learning from the first events"
    );
    Learning::new(pipeline, None, Some(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pipeline::PipelineFile;
    use crate::models::bundle::tests::bundle;

    #[test]
    fn a_bundle_whose_replacement_was_interrupted_is_found_wherever_it_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = PipelineFile::plain();
        file.name = "network".to_owned();
        let pipeline = Pipeline::open(file, None).unwrap();
        let kept = folder.path().join("kept");
        let learned = |models: Option<&Path>, again| learning(&pipeline, models, &kept, again).map(|learning| learning.missing() == 0);
        assert!(!learned(None, true).unwrap() && learned(Some(&kept), false).is_err(), "there is none");
        bundle_files::save(&bundle(), &kept.join("network")).unwrap();
        std::fs::rename(kept.join("network"), kept.join("network.previous")).unwrap();
        assert!(learned(None, true).unwrap(), "the run before kept it");
        assert!(!learned(None, false).unwrap(), "a run that begins anew");
        assert!(learned(Some(&kept), false).unwrap() && learned(Some(&kept.join("network")), false).unwrap(), "named");
        let address = format!("file://{}", kept.display());
        assert!(shelf(Path::new(&address), "network").unwrap().is_none() && load(Path::new(&address), "network").is_ok());
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = load(&file, "network").unwrap_err().to_string();
        assert!(error.contains("there is no model bundle"), "{error}");
    }
}
