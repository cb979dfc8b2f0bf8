//! A fitted model of a table: what scores rows and what is kept of it. Must never accept a part that is not its manifest's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::combine::{self, Combination};
use super::frame::Frame;
use super::nearness::Nearness;
use super::schema::TableSchema;
use super::scorers::Scorers;
use crate::core::ensemble::Calibration;
use crate::error::{Error, Result};
use crate::models::bundle::MANIFEST_FILE;
use crate::models::sealed::{self, hash, parse};

/// Layout of the parts. Others are refused: before 2 there was no dependence, before 3 no known rows. A model of columns is as it was
/// before there were sequences.
const FORMAT: u32 = 4;
const FORMAT_OF_COLUMNS: u32 = 3;
const KIND: &str = "table";
const MEMBERS_FILE: &str = "members.bin";
const TABLE_FILE: &str = "table.json";
/// Values that are encoded and scored at a time.
const CHUNK_VALUES: usize = 1 << 22;
const CHUNK_SEQUENCES: usize = 4_096;

/// All that scoring needs.
#[derive(Clone, Debug)]
pub struct TableModel {
    pub schema: TableSchema,
    pub scorers: Scorers,
    /// One a member, on held-out benign rows.
    pub calibrations: Vec<Calibration>,
    /// What distances to known rows mean; absent without labels.
    pub nearness: Option<Nearness>,
    pub combination: Combination,
    /// Of the score, on the same rows.
    pub combined: Calibration,
    /// Of the members' own scores, for comparison.
    pub thresholds: Vec<f32>,
    /// A row whose score is above is an alert.
    pub threshold: f32,
    pub facts: Facts,
}

/// Where a model came from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub rows: u64,
    pub distinct_rows: u64,
    pub attacks: u64,
    pub seed: u64,
    pub nominal: f64,
}

/// What is said of rows, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    pub scores: Vec<f32>,
    /// The probability that a benign row scores as high.
    pub p_values: Vec<f64>,
    /// The members' surprises in nats and their raw scores, member after member.
    pub parts: Vec<Vec<f32>>,
    pub raw: Vec<Vec<f32>>,
}

/// How the label was read in training, so that others need not be told again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelRule {
    pub column: Option<String>,
    pub benign: Option<String>,
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: u32,
    pub kind: String,
    pub version: String,
    pub label: LabelRule,
    pub facts: Facts,
    pub members: Vec<String>,
    pub left_out: BTreeMap<String, String>,
    /// BLAKE3 of each part, by file name.
    pub parts: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TablePart {
    schema: TableSchema,
    calibrations: Vec<Calibration>,
    nearness: Option<Nearness>,
    combination: Combination,
    combined: Calibration,
    thresholds: Vec<f32>,
    threshold: f32,
}

impl TableModel {
    /// Scores every row of a frame. The same row has the same score in any table.
    ///
    /// # Errors
    /// `Config`: the frame lacks a column or holds another type.
    pub fn score(&self, frame: &Frame) -> Result<Scored> {
        let mut scored = Scored::default();
        let members = self.calibrations.len();
        (scored.parts, scored.raw) = (vec![Vec::new(); members], vec![Vec::new(); members]);
        self.schema.check(frame)?;
        let chunk = if self.schema.sequence().is_some() { CHUNK_SEQUENCES } else { CHUNK_VALUES.div_ceil(self.schema.width()) };
        for at in (0..frame.rows()).step_by(chunk) {
            let some = at..frame.rows().min(at + chunk);
            // Where the anomaly members have no say, nobody asks how near anything is.
            let raw = self.scorers.scores(self.schema.rows(frame, some.clone()), self.combination.carrying > 0.0)?;
            let mut parts = vec![0.0; members];
            for row in 0..some.len() {
                for ((calibration, raw), (part, all)) in
                    self.calibrations.iter().zip(&raw.scores).zip(parts.iter_mut().zip(&mut scored.parts))
                {
                    *part = combine::surprise(calibration, raw[row]);
                    all.push(*part);
                }
                let score = self.combination.score_of(&raw, row, &parts, self.nearness.as_ref());
                scored.scores.push(score);
                scored.p_values.push(libm::exp(-f64::from(self.combined.surprise(score))));
            }
            scored.raw.iter_mut().zip(raw.scores).for_each(|(all, some)| all.extend(some));
        }
        Ok(scored)
    }

    /// The names of its members, in the order of their parts.
    #[must_use]
    pub fn names(&self) -> &'static [&'static str] {
        self.scorers.names()
    }

    /// File names and contents, the manifest last.
    #[must_use]
    pub fn to_files(&self, label: LabelRule) -> (Manifest, Vec<(&'static str, Vec<u8>)>) {
        let table = TablePart {
            schema: self.schema.clone(),
            calibrations: self.calibrations.clone(),
            nearness: self.nearness.clone(),
            combination: self.combination.clone(),
            combined: self.combined.clone(),
            thresholds: self.thresholds.clone(),
            threshold: self.threshold,
        };
        let table = serde_json::to_vec(&table).expect("a table's model is numbers under names");
        let mut files = vec![(MEMBERS_FILE, self.scorers.to_bytes()), (TABLE_FILE, table)];
        let mut manifest = Manifest {
            format: if self.schema.sequence().is_some() { FORMAT } else { FORMAT_OF_COLUMNS },
            kind: KIND.to_owned(),
            version: String::new(),
            label,
            facts: self.facts,
            members: self.names().iter().map(|name| (*name).to_owned()).collect(),
            left_out: self.schema.left_out.clone(),
            parts: files.iter().map(|(name, bytes)| ((*name).to_owned(), hash(bytes))).collect(),
        };
        manifest.version = version(&manifest);
        let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest has no maps with other keys than text");
        text.push(b'\n');
        files.push((MANIFEST_FILE, text));
        (manifest, files)
    }

    /// The inverse of [`Self::to_files`]; `read` gives a file's content.
    ///
    /// # Errors
    /// `Config`: what is missing, changed, malformed, of a newer format or of another kind.
    pub fn from_files(mut read: impl FnMut(&str) -> Result<Vec<u8>>) -> Result<(Self, Manifest)> {
        let manifest = checked(&read(MANIFEST_FILE)?)?;
        let mut part = |name: &str| -> Result<Vec<u8>> {
            let bytes = read(name)?;
            if manifest.parts.get(name) == Some(&hash(&bytes)) {
                return Ok(bytes);
            }
            Err(Error::config(format!("{name} is not the one its manifest names: restore the model or train it again")))
        };
        let table: TablePart = parse(TABLE_FILE, &part(TABLE_FILE)?)?;
        let scorers = Scorers::from_bytes(&part(MEMBERS_FILE)?, &table.schema)?;
        let count = scorers.names().len();
        let fits = table.calibrations.len() == count
            && table.thresholds.len() == count
            && table.nearness.is_some() == scorers.knows()
            && table.combination.added.is_some() == table.schema.sequence().is_some()
            && table.combination.is_sound(count);
        if !fits || !table.threshold.is_finite() {
            return Err(Error::config(format!("{TABLE_FILE} does not fit the members; train the model again")));
        }
        let TablePart { schema, calibrations, nearness, combination, combined, thresholds, threshold } = table;
        Ok((
            Self { schema, scorers, calibrations, nearness, combination, combined, thresholds, threshold, facts: manifest.facts },
            manifest,
        ))
    }
}

fn checked(bytes: &[u8]) -> Result<Manifest> {
    // The kind and format are read alone first: others have other fields.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        #[serde(default)]
        kind: String,
    }
    let head: Head = parse(MANIFEST_FILE, bytes)?;
    if head.kind == crate::models::imported::KIND {
        return Err(Error::config("this is an imported model, which can be evaluated and scored with, and no more"));
    }
    if head.kind != KIND {
        return Err(Error::config("this is the model bundle of a pipeline, not of a table; train one with 'threatguard train --data'"));
    }
    if head.format > FORMAT {
        return Err(Error::config(format!(
            "the model has format {}, this version reads up to {FORMAT}: upgrade, or train again",
            head.format
        )));
    }
    if head.format < FORMAT_OF_COLUMNS {
        return Err(Error::config(format!(
            "the model has format {}, which has other members than this version's: train it again",
            head.format
        )));
    }
    let manifest: Manifest = parse(MANIFEST_FILE, bytes)?;
    if manifest.version != version(&manifest) {
        return Err(Error::config(format!("{MANIFEST_FILE} was changed after it was written; restore the model or train it again")));
    }
    Ok(manifest)
}

fn version(manifest: &Manifest) -> String {
    sealed::version(&Manifest { version: String::new(), ..manifest.clone() })
}
