//! A model bundle: everything learned from benign traffic, as one value and as named parts of bytes.
//!
//! Its version is the hash of its content, so two bundles of one version score alike. Reading and writing files is
//! `bundle_files`. Must never accept a part whose hash is not the manifest's, and never panic on bytes from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::drift::References;
use super::forest_fit::ForestParams;
use super::recalibrate::Recalibration;
use super::sample::Fitted;
use super::sealed::{self, hash, parse};
use crate::core::detect::forest::{Forest, ForestDetector};
use crate::core::detect::lstm::Network;
use crate::core::detect::trees::Trees;
use crate::core::detect::{Detector, LEARNED, NAMES};
use crate::core::ensemble::{Calibration, Column, Ensemble, Tail};
use crate::core::features::prevalence::Prevalence;
use crate::core::features::row::{MODEL_WIDTH, ModelRow, Schema};
use crate::error::{Error, Result};

/// Layout of the parts. A reader refuses newer ones; a bundle that has all its parts itself can be read by the one before.
pub const FORMAT: u32 = 4;
const FORMAT_OF_WHOLE: u32 = 3;
pub const MANIFEST_FILE: &str = "manifest.json";
const FOREST_FILE: &str = "forest.bin";
const CALIBRATION_FILE: &str = "calibration.json";
const PREVALENCE_FILE: &str = "prevalence.bin";
const LSTM_FILE: &str = "lstm.json";
pub const REFERENCES_FILE: &str = "references.json";
const TREES_FILE: &str = "trees.bin";

/// What a pipeline needs to score as it did when this was learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    pub manifest: Manifest,
    /// Absent where there were too few rows to grow one.
    pub forest: Option<Forest>,
    /// Absent where no network was fitted to sequences.
    pub lstm: Option<Arc<Network>>,
    /// Absent where there were no labels.
    pub trees: Option<Arc<Trees>>,
    /// By detector name.
    pub calibrations: BTreeMap<String, Calibration>,
    /// Calibration of the weighted sum of surprises.
    pub combined: Option<Calibration>,
    /// How many entities use which destination; empty where that was not learned.
    pub prevalence: Prevalence,
    /// How features and scores are distributed; absent in older bundles.
    pub references: Option<References>,
}

/// What is in a bundle and where it came from, for people and for checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: u32,
    pub name: String,
    /// Hash of everything else here and of the parts.
    pub version: String,
    pub created_from: Origin,
    pub schema: Schema,
    /// Names of the model features, in column order.
    pub features: Vec<String>,
    pub training: Training,
    /// By detector name, and `combined`.
    pub detectors: BTreeMap<String, DetectorMetrics>,
    /// Benign median and median absolute deviation of each feature.
    pub medians: ModelRow,
    pub deviations: ModelRow,
    /// BLAKE3 of each part, by file name.
    pub parts: BTreeMap<String, String>,
    /// Where only the calibration was learned again: from which version, and from what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated: Option<Recalibration>,
}

/// The data a bundle was learned from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    pub pipeline: String,
    /// Events seen, of which a sample was kept.
    pub events: u64,
    /// Event time of the oldest and the newest, microseconds since the Unix epoch.
    pub oldest_micros: i64,
    pub newest_micros: i64,
}

/// How it was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Training {
    pub seed: u64,
    pub forest: ForestParams,
    /// Rows kept of all events, those the forest grew from, those left out as the most anomalous, and those calibrated on.
    pub rows: u64,
    pub fit_rows: u64,
    pub trimmed_rows: u64,
    pub calibration_rows: u64,
    /// The detectors in the sum that `combined` is the calibration of, with their weights.
    pub summed: Vec<(String, f32)>,
}

/// What a detector's raw scores looked like on benign rows that nothing was fitted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectorMetrics {
    pub samples: u64,
    pub rejected: u64,
    pub median: f32,
    pub p99: f32,
    pub max: f32,
    pub tail: Tail,
    /// Share of benign rows with a p-value of at most 1 % and 0.1 %, each row judged by a calibration that did not see it; absent
    /// with too few rows to tell.
    pub false_positives_at_1_percent: Option<f64>,
    pub false_positives_at_01_percent: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CalibrationPart {
    calibrations: BTreeMap<String, Calibration>,
    combined: Option<Calibration>,
}

impl Bundle {
    /// Fills in the parts' hashes and the version. Call it after every change.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.manifest.format = if self.manifest.recalibrated.is_some() { FORMAT } else { FORMAT_OF_WHOLE };
        self.manifest.parts = self.parts().iter().map(|(name, bytes)| ((*name).to_owned(), hash(bytes))).collect();
        self.manifest.version = version(&self.manifest);
        self
    }

    /// File names and contents, the manifest last. The bundle must be sealed.
    #[must_use]
    pub fn to_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut files = self.parts();
        let mut manifest = serde_json::to_vec_pretty(&self.manifest).expect("a manifest has no maps with other keys than text");
        manifest.push(b'\n');
        files.push((MANIFEST_FILE, manifest));
        files
    }

    /// [`Self::to_files`] without the parts that another bundle has as well.
    #[must_use]
    pub fn files_beside(&self, other: &Manifest) -> Vec<(&'static str, Vec<u8>)> {
        let mut files = self.to_files();
        files.retain(|(name, _)| self.manifest.parts.get(*name).is_none_or(|hash| other.parts.get(*name) != Some(hash)));
        files
    }

    /// The inverse of [`Self::to_files`]; `read` gives a file's content.
    ///
    /// An error of kind `Config` for what is missing, changed, malformed, or of a newer format.
    pub fn from_files(mut read: impl FnMut(&str) -> Result<Vec<u8>>) -> Result<Self> {
        let manifest = Manifest::parse(&read(MANIFEST_FILE)?)?;
        let mut verified = |name: &str| -> Result<Option<Vec<u8>>> {
            let Some(expected) = manifest.parts.get(name) else { return Ok(None) };
            let bytes = read(name)?;
            if hash(&bytes) != *expected {
                return Err(Error::config(format!(
                    "{name} is not the one its manifest names: it was changed or cut off; restore or train the bundle again"
                )));
            }
            Ok(Some(bytes))
        };
        let forest = verified(FOREST_FILE)?.map(|bytes| Forest::from_bytes(&bytes)).transpose()?;
        let lstm = verified(LSTM_FILE)?.map(|bytes| Network::new(parse(LSTM_FILE, &bytes)?)).transpose()?.map(Arc::new);
        let trees = verified(TREES_FILE)?.map(|bytes| Trees::from_bytes(&bytes)).transpose()?.map(Arc::new);
        check_widths(lstm.as_deref(), trees.as_deref())?;
        let calibration = verified(CALIBRATION_FILE)?.ok_or_else(|| Error::config(format!("the manifest names no {CALIBRATION_FILE}")))?;
        let CalibrationPart { calibrations, combined } = parse(CALIBRATION_FILE, &calibration)?;
        let references = verified(REFERENCES_FILE)?.map(|bytes| parse::<References>(REFERENCES_FILE, &bytes)).transpose()?;
        if references.as_ref().is_some_and(|references| references.features.len() != MODEL_WIDTH) {
            return Err(Error::config(format!("{REFERENCES_FILE} is not for rows of {MODEL_WIDTH} features; train the bundle again")));
        }
        let prevalence = match verified(PREVALENCE_FILE)? {
            Some(bytes) => Prevalence::from_bytes(&bytes)
                .ok_or_else(|| Error::config(format!("{PREVALENCE_FILE} is damaged; train the bundle again")))?,
            None => Prevalence::default(),
        };
        Ok(Self { manifest, forest, lstm, trees, calibrations, combined, prevalence, references })
    }

    /// The detectors of a pipeline with what was learned. The calibration of the sum is used only if the same detectors with the
    /// same weights were summed when it was learned.
    #[must_use]
    pub fn ensemble(&self, columns: &[Column]) -> Ensemble {
        // A bundle of before a kind of model existed is as good as one without it.
        let is_newer = |name: &str| LEARNED[1..].iter().any(|index| NAMES[*index] == name);
        let known = |(name, _): &(String, f32)| !is_newer(name) || self.calibrations.contains_key(name);
        let same = self.manifest.training.summed.iter().filter(|c| known(c)).eq(summed(columns).iter().filter(|c| known(c)));
        Ensemble::declared(columns, &self.calibrations, self.combined.clone().filter(|_| same))
    }

    /// The models as detectors.
    #[must_use]
    pub fn detectors(&self) -> Vec<Box<dyn Detector>> {
        let Manifest { version, schema, medians, .. } = &self.manifest;
        let mut detectors = Fitted { lstm: self.lstm.clone(), trees: self.trees.clone() }.detectors(version, *schema, medians);
        if let Some(forest) = self.forest.clone() {
            detectors.push(Box::new(ForestDetector::new(forest, version.clone(), *schema, *medians)));
        }
        detectors
    }

    fn parts(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut parts = Vec::with_capacity(4);
        if let Some(forest) = &self.forest {
            parts.push((FOREST_FILE, forest.to_bytes()));
        }
        let calibration = CalibrationPart { calibrations: self.calibrations.clone(), combined: self.combined.clone() };
        parts.push((CALIBRATION_FILE, serde_json::to_vec(&calibration).expect("calibrations are numbers under names")));
        if let Some(network) = &self.lstm {
            parts.push((LSTM_FILE, serde_json::to_vec(network.weights()).expect("weights are numbers")));
        }
        if let Some(trees) = &self.trees {
            parts.push((TREES_FILE, trees.to_bytes()));
        }
        if !self.prevalence.is_empty() {
            parts.push((PREVALENCE_FILE, self.prevalence.to_bytes()));
        }
        if let Some(references) = &self.references {
            parts.push((REFERENCES_FILE, serde_json::to_vec(references).expect("references are numbers")));
        }
        parts
    }
}

fn check_widths(lstm: Option<&Network>, trees: Option<&Trees>) -> Result<()> {
    let widths = lstm.map(Network::width).into_iter().chain(trees.map(Trees::width));
    if widths.filter(|width| *width != MODEL_WIDTH).count() > 0 {
        return Err(Error::config(format!("a model of the bundle is not for rows of {MODEL_WIDTH} features; train the bundle again")));
    }
    Ok(())
}

/// Names and weights of the columns that are summed, in declared order.
pub(super) fn summed(columns: &[Column]) -> Vec<(String, f32)> {
    columns.iter().filter(|c| !c.evidence).map(|c| (c.name.clone(), c.weight)).collect()
}

impl Manifest {
    /// Of a file's content.
    ///
    /// # Errors
    /// `Config`: it was changed, is malformed or of a newer format, or other features were learned from.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        // The format is read alone first: a newer manifest may have other fields.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = parse(MANIFEST_FILE, bytes)?;
        if format > FORMAT {
            return Err(Error::config(format!(
                "the bundle has format {format}, this version reads up to {FORMAT}: upgrade threatguard, or train the bundle again with this version"
            )));
        }
        let manifest: Self = parse(MANIFEST_FILE, bytes)?;
        if manifest.version != version(&manifest) {
            return Err(Error::config(format!("{MANIFEST_FILE} was changed after it was written; restore or train the bundle again")));
        }
        if !manifest.features.iter().map(String::as_str).eq(manifest.schema.model_names().iter().copied()) {
            return Err(Error::config("the bundle was trained on other features than this version computes; train it again"));
        }
        Ok(manifest)
    }
}

fn version(manifest: &Manifest) -> String {
    sealed::version(&Manifest { version: String::new(), ..manifest.clone() })
}

#[cfg(test)]
pub(crate) mod tests;
