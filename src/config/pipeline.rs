//! The pipeline file: what is read, who an entity is, what is detected, where the results go, and the tests of all that.
//!
//! [`load`] reads one file and returns every problem in it at once. It opens no list, model or database; it only looks whether
//! the files that are named exist.

use std::path::{Path as FilePath, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backtest::BacktestSettings;
use super::cases::Case;
use super::problem::{Problem, Problems, Segment};
use super::{check, schema, shape};
pub use crate::codec::mapping::{MappingSettings, PathOrPaths};
use crate::core::correlate::CorrelationSettings;
use crate::core::features::row::Schema;
use crate::core::settings::{
    CoreSettings, DetectorsSettings, DriftSettings, ExemptSettings, KeyPart, LearningSettings, RecalibrationSettings, StateSettings,
    ThresholdSettings, WindowSettings,
};

/// Codecs that a pipeline or `--codec` may name.
pub const CODECS: [&str; 7] = ["auto", "threatguard", "zeek", "suricata", "syslog", "cloudtrail", "mapping"];

/// A pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineFile {
    /// Part of every output id and of the names in Redis: lower case letters, digits and `-`. Never change it in production.
    pub name: String,
    /// For whoever reads the file next.
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub source: SourceSettings,
    /// Which features are computed: `network` for flows, `identity` for user activity.
    #[serde(default)]
    pub features: Schema,
    /// The first of these that an event has names the entity it is scored for.
    #[serde(default = "default_key")]
    pub key: Vec<KeyPart>,
    #[serde(default)]
    pub windows: WindowSettings,
    #[serde(default)]
    pub state: StateSettings,
    #[serde(default)]
    pub learning: LearningSettings,
    #[serde(default)]
    pub drift: DriftSettings,
    #[serde(default)]
    pub recalibration: RecalibrationSettings,
    #[serde(default)]
    pub detectors: DetectorsSettings,
    /// Entities that are allowed to look suspicious.
    #[serde(default)]
    pub exempt: Vec<ExemptSettings>,
    #[serde(default)]
    pub thresholds: ThresholdSettings,
    #[serde(default)]
    pub correlation: CorrelationSettings,
    #[serde(default)]
    pub geo: GeoSettings,
    #[serde(default)]
    pub routes: RouteSettings,
    #[serde(default)]
    pub backtest: BacktestSettings,
    /// At least one: a pipeline that nobody tested detects nothing for certain.
    pub tests: Vec<Case>,
}

fn default_key() -> Vec<KeyPart> {
    CoreSettings::default().key
}

/// Where events come from and how they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSettings {
    pub topic: String,
    /// `auto`, `threatguard`, `zeek`, `suricata`, `syslog`, `cloudtrail` or `mapping`.
    pub codec: String,
    /// Which of the input's fields is which of ours; only with the codec `mapping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingSettings>,
    /// The internal topic through which events pass when the input's key is not this pipeline's entity; left out when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rekey: Option<String>,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self { topic: "security.events.raw".into(), codec: "threatguard".into(), mapping: None, rekey: None }
    }
}

/// Databases in MaxMind's format, for events that bring no location. Paths are relative to the pipeline file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GeoSettings {
    /// Country, city and coordinates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Autonomous systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<String>,
}

/// Topics of the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    pub threats: String,
    pub alerts: String,
    pub analytics: String,
    pub verdicts: String,
    pub dead_letters: String,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            threats: "security.threats".into(),
            alerts: "security.alerts".into(),
            analytics: "security.analytics".into(),
            verdicts: "security.verdicts".into(),
            dead_letters: "security.dead-letters".into(),
        }
    }
}

impl PipelineFile {
    /// Every default, keyed by source: for what needs no more than a codec and a key.
    #[must_use]
    pub fn plain() -> Self {
        serde_norway::from_str("name: plain\ntests: []").expect("everything else has a default")
    }

    /// What the core needs of the file.
    #[must_use]
    pub fn core(&self) -> CoreSettings {
        CoreSettings {
            features: self.features,
            key: self.key.clone(),
            windows: self.windows,
            state: self.state,
            learning: self.learning,
            detectors: self.detectors.clone(),
            exempt: self.exempt.clone(),
            thresholds: self.thresholds,
        }
    }

    /// Every path that the file names, to be read or changed in place.
    pub fn paths_mut(&mut self) -> Vec<&mut String> {
        let intel = &mut self.detectors.threat_intel;
        let lists = intel.lists.iter_mut().map(|list| &mut list.path);
        lists.chain(&mut intel.allow).chain(&mut self.geo.city).chain(&mut self.geo.asn).collect()
    }
}

/// Reads a pipeline file. Paths in the result are resolved against the file's folder.
///
/// # Errors
/// Every problem of the file: syntax, unknown keys, wrong types, values that make no sense, files that are not there.
pub fn load(file: &FilePath) -> Result<PipelineFile, Problems> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|failure| {
        let message = format!("cannot read the pipeline file: {failure}");
        Problems { file: shown.clone(), list: vec![Problem::new(Default::default(), message)] }
    })?;
    let folder = file.parent().map(PathBuf::from).unwrap_or_default();
    parse(&shown, &text, &folder)
}

/// The pipelines that come with the program, by name: what `demo` runs, and what to copy for a pipeline of one's own.
pub const BUILT_IN: [(&str, &str); 2] =
    [("network", include_str!("../../pipelines/network.yaml")), ("identity", include_str!("../../pipelines/identity.yaml"))];

/// One of [`BUILT_IN`].
///
/// # Panics
/// Never for a name of [`BUILT_IN`]: a test loads them.
#[must_use]
pub fn built_in(name: &str) -> Option<PipelineFile> {
    let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    Some(parse(name, text, FilePath::new("")).expect("the built-in pipelines are tested"))
}

/// [`load`] for a text that is already there; `folder` is what its paths are relative to.
///
/// # Errors
/// As [`load`].
pub fn parse(file: &str, text: &str, folder: &FilePath) -> Result<PipelineFile, Problems> {
    let (mut pipeline, mut problems) = match read::<PipelineFile>(text, &schema::pipeline()) {
        Ok(read) => read,
        Err(problems) => return Err(Problems::located(file, text, problems)),
    };
    for path in pipeline.paths_mut() {
        *path = folder.join(&*path).to_string_lossy().into_owned();
    }
    problems.extend(check::problems(&pipeline));
    if problems.is_empty() { Ok(pipeline) } else { Err(Problems::located(file, text, problems)) }
}

/// Reads YAML into `T`. Keys with problems are left out where `T` can be made without them, so that what remains can be
/// checked further and everything is reported together.
pub(super) fn read<T: serde::de::DeserializeOwned>(text: &str, schema: &serde_json::Value) -> Result<(T, Vec<Problem>), Vec<Problem>> {
    let broken = |failure: serde_norway::Error| Problem {
        path: Default::default(),
        message: failure.to_string(),
        line: failure.location().map(|location| location.line()),
    };
    let mut value: serde_norway::Value = serde_norway::from_str(text).map_err(|failure| vec![broken(failure)])?;
    if value.is_null() {
        value = serde_norway::Mapping::new().into();
    }
    let problems = shape::problems(schema, &value);
    if problems.is_empty() {
        let read = if text.trim().is_empty() { serde_norway::from_value(value) } else { serde_norway::from_str(text) };
        return read.map(|read| (read, vec![])).map_err(|failure| vec![broken(failure)]);
    }
    for problem in &problems {
        remove(&mut value, &problem.path.0);
    }
    match serde_norway::from_value(value) {
        Ok(read) => Ok((read, problems)),
        Err(_) => Err(problems),
    }
}

/// Takes the key at `path` out. Elements of lists stay, so that the numbers in other paths stay true.
fn remove(value: &mut serde_norway::Value, path: &[Segment]) {
    match path {
        [Segment::Key(key)] => {
            if let Some(map) = value.as_mapping_mut() {
                map.remove(key.as_str());
            }
        }
        [Segment::Key(key), rest @ ..] => {
            if let Some(below) = value.get_mut(key.as_str()) {
                remove(below, rest);
            }
        }
        [Segment::Index(index), rest @ ..] => {
            if let Some(below) = value.get_mut(*index) {
                remove(below, rest);
            }
        }
        [] => {}
    }
}
