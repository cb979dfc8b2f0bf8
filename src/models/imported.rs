//! A model of a table that another library fitted: boosted trees from XGBoost's JSON or from ONNX, as a folder like our own models.
//!
//! Rows are ranked by the trees' margins; what is told of a row is the library's own prediction. Must never put one column's values
//! into another one, nor score a cell that is no number.

use serde::{Deserialize, Serialize};

use super::sealed::{self, hash, parse};
use super::table::frame::{Cells, Column, Frame};
use super::table::model::LabelRule;
use super::{trees_onnx, trees_xgboost};
use crate::core::detect::trees::{Link, Trees};
use crate::core::ensemble::{Calibration, Unit};
use crate::error::{Error, Result};
use crate::models::bundle::MANIFEST_FILE;

pub const KIND: &str = "imported-trees";
const FORMAT: u32 = 1;
const TREES_FILE: &str = "trees.bin";
const CALIBRATION_FILE: &str = "calibration.json";
/// Share of benign rows that may be alerts.
pub const NOMINAL: f64 = 0.008;
/// Benign rows without which nothing can be said of one in 125.
const CALIBRATION_ROWS_MIN: usize = 250;

/// Trees of another library, and the names of their columns where the file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    pub trees: Trees,
    pub columns: Vec<String>,
    /// `xgboost` or `onnx`.
    pub from: &'static str,
}

/// Reads a model of either form, which its first byte tells.
///
/// # Errors
/// `Config`: a model that cannot be read or walked here, with what to do about it.
pub fn read(bytes: &[u8]) -> Result<Foreign> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        let trees_xgboost::Imported { trees, columns } = trees_xgboost::read(bytes)?;
        return Ok(Foreign { trees, columns, from: "xgboost" });
    }
    Ok(Foreign { trees: trees_onnx::read(bytes)?, columns: vec![], from: "onnx" })
}

/// A model ready to score a table.
#[derive(Clone, Debug)]
pub struct Imported {
    pub trees: Trees,
    pub manifest: Manifest,
    /// Of margins, on benign rows; absent where none were given.
    pub calibration: Option<Calibration>,
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: u32,
    pub kind: String,
    pub version: String,
    pub from: String,
    /// The trees' columns, by their names in a table.
    pub columns: Vec<String>,
    pub label: LabelRule,
    /// A row whose margin is above is an alert.
    pub threshold: f32,
    /// Benign rows that the threshold and p-values come from.
    pub benign_rows: u64,
    /// BLAKE3 of each part, by file name.
    pub parts: std::collections::BTreeMap<String, String>,
}

impl Imported {
    /// A model for tables with these columns. Without benign rows an alert is what the library itself calls an attack.
    #[must_use]
    pub fn new(foreign: Foreign, columns: Vec<String>) -> Self {
        let threshold = if foreign.trees.link() == Link::Logistic { 0.0 } else { 0.5 };
        let manifest = Manifest {
            format: FORMAT,
            kind: KIND.to_owned(),
            version: String::new(),
            from: foreign.from.to_owned(),
            columns,
            label: LabelRule::default(),
            threshold,
            benign_rows: 0,
            parts: std::collections::BTreeMap::new(),
        };
        Self { trees: foreign.trees, manifest, calibration: None }
    }

    /// Learns from benign rows what is usual, and sets the threshold so that [`NOMINAL`] of such rows are alerts.
    ///
    /// # Errors
    /// `Config`: too few rows, or a table that does not fit.
    pub fn calibrate(&mut self, benign: &Frame) -> Result<()> {
        let mut margins = self.margins(benign)?;
        if margins.len() < CALIBRATION_ROWS_MIN {
            let text = format!("{} benign rows are too few to calibrate on: at least {CALIBRATION_ROWS_MIN} are needed", margins.len());
            return Err(Error::config(text));
        }
        let calibration = Calibration::fit(&mut margins, Unit::Sum);
        // Sorted by now: the first margin that few enough rows exceed.
        let allowed = (NOMINAL * margins.len() as f64) as usize;
        self.manifest.threshold = margins[margins.len() - 1 - allowed];
        self.manifest.benign_rows = margins.len() as u64;
        self.calibration = Some(calibration);
        Ok(())
    }

    /// The margin of every row.
    ///
    /// # Errors
    /// `Config`: the table lacks a column, or one holds words.
    pub fn margins(&self, frame: &Frame) -> Result<Vec<f32>> {
        let columns = self.manifest.columns.iter().map(|name| numbers(frame, name)).collect::<Result<Vec<&[f64]>>>()?;
        let rows: Vec<f32> = (0..frame.rows()).flat_map(|row| columns.iter().map(move |column| column[row] as f32)).collect();
        let mut margins = vec![0.0; frame.rows()];
        self.trees.margins(&rows, &mut margins);
        Ok(margins)
    }

    /// The probability that a benign row has such a margin or a higher one.
    #[must_use]
    pub fn p_value(&self, margin: f32) -> Option<f64> {
        self.calibration.as_ref().map(|calibration| libm::exp(-f64::from(calibration.surprise(margin))))
    }

    /// File names and contents, the manifest last.
    #[must_use]
    pub fn to_files(&self) -> (Manifest, Vec<(&'static str, Vec<u8>)>) {
        let calibration = serde_json::to_vec(&self.calibration).expect("a calibration is numbers under names");
        let mut files = vec![(TREES_FILE, self.trees.to_bytes()), (CALIBRATION_FILE, calibration)];
        let parts = files.iter().map(|(name, bytes)| ((*name).to_owned(), hash(bytes))).collect();
        let mut manifest = Manifest { version: String::new(), parts, ..self.manifest.clone() };
        manifest.version = sealed::version(&manifest);
        let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest has no maps with other keys than text");
        text.push(b'\n');
        files.push((MANIFEST_FILE, text));
        (manifest, files)
    }

    /// The inverse of [`Self::to_files`]; `None` where the folder holds a model of another kind.
    ///
    /// # Errors
    /// `Config`: what is missing, changed, malformed or of a newer format.
    pub fn from_files(mut read: impl FnMut(&str) -> Result<Vec<u8>>) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            #[serde(default)]
            kind: String,
        }
        let bytes = read(MANIFEST_FILE)?;
        let head: Head = parse(MANIFEST_FILE, &bytes)?;
        if head.kind != KIND {
            return Ok(None);
        }
        if head.format > FORMAT {
            return Err(Error::config(format!("the model has format {}, and {FORMAT} is the newest known here", head.format)));
        }
        let manifest: Manifest = parse(MANIFEST_FILE, &bytes)?;
        if sealed::version(&Manifest { version: String::new(), ..manifest.clone() }) != manifest.version {
            return Err(Error::config(format!("{MANIFEST_FILE} was changed: import the model again")));
        }
        let mut part = |name: &str| -> Result<Vec<u8>> {
            let bytes = read(name)?;
            if manifest.parts.get(name) == Some(&hash(&bytes)) {
                return Ok(bytes);
            }
            Err(Error::config(format!("{name} is not the one its manifest names: import the model again")))
        };
        let (trees, calibration) = (Trees::from_bytes(&part(TREES_FILE)?)?, parse(CALIBRATION_FILE, &part(CALIBRATION_FILE)?)?);
        if trees.width() != manifest.columns.len() {
            return Err(Error::config(format!("{TREES_FILE} does not fit the columns of its manifest: import the model again")));
        }
        Ok(Some(Self { trees, manifest, calibration }))
    }
}

/// The columns of a model in a table: the model's own names, or else all of the table's, in their order.
///
/// # Errors
/// `Config`: they are not as many as the trees ask for, or not there.
pub fn columns(foreign: &Foreign, named: Option<Vec<String>>, frame: Option<&Frame>) -> Result<Vec<String>> {
    let own = Some(foreign.columns.clone()).filter(|columns| !columns.is_empty());
    let all = || frame.map(|frame| frame.columns().iter().map(|column| column.name.clone()).collect());
    let columns: Vec<String> = named.or(own).or_else(all).ok_or_else(|| {
        Error::config("the file does not name the model's columns: give them in its order with --features, or a table with --data")
    })?;
    if columns.len() != foreign.trees.width() {
        return Err(Error::config(format!(
            "the model asks for {} columns, and these are {}: give them in its order with --features",
            foreign.trees.width(),
            columns.len()
        )));
    }
    Ok(columns)
}

fn numbers<'f>(frame: &'f Frame, name: &str) -> Result<&'f [f64]> {
    let Column { cells, .. } = frame.column(name).ok_or_else(|| Error::config(format!("{}; the model asks for it", frame.absent(name))))?;
    match cells {
        Cells::Numbers(values) => Ok(values),
        Cells::Words { .. } => Err(Error::config(format!(
            "column '{name}' holds words, and the model asks for numbers: encode it as for the model's training"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign() -> Foreign {
        read(include_bytes!("../../tests/vectors/xgboost/logistic.json")).unwrap()
    }

    fn frame(width: usize, rows: usize) -> Frame {
        let column = |place: usize| Column {
            name: format!("f{place}"),
            cells: Cells::Numbers((0..rows).map(|row| ((row * 31 + place * 17) % 101) as f64 / 25.0 - 2.0).collect()),
        };
        Frame::new((0..width).map(column).collect()).unwrap()
    }

    fn names(width: usize) -> Vec<String> {
        (0..width).map(|place| format!("f{place}")).collect()
    }

    #[test]
    fn a_folder_gives_the_same_model_back_and_a_changed_one_is_refused() {
        let width = foreign().trees.width();
        let mut model = Imported::new(foreign(), names(width));
        model.calibrate(&frame(width, 500)).unwrap();
        let (manifest, files) = model.to_files();
        let file = |name: &str| Ok(files.iter().find(|(other, _)| *other == name).unwrap().1.clone());
        let back = Imported::from_files(file).unwrap().unwrap();
        assert_eq!((back.manifest, back.trees, back.calibration), (manifest, model.trees, model.calibration));
        let changed = |name: &str| file(name).map(|bytes| if name == TREES_FILE { [&bytes[..], b"x"].concat() } else { bytes });
        assert!(Imported::from_files(changed).unwrap_err().to_string().contains(TREES_FILE));
        let lower = |name: &str| {
            file(name).map(|bytes| String::from_utf8_lossy(&bytes).replace("\"benignRows\": 500", "\"benignRows\": 5").into_bytes())
        };
        assert!(Imported::from_files(lower).is_err());
    }

    #[test]
    fn few_benign_rows_are_alerts_and_p_values_fall_with_the_margin() {
        let width = foreign().trees.width();
        let mut model = Imported::new(foreign(), names(width));
        assert!(model.calibrate(&frame(width, 100)).unwrap_err().to_string().contains("100 benign rows"));
        let benign = frame(width, 2_000);
        model.calibrate(&benign).unwrap();
        let margins = model.margins(&benign).unwrap();
        let alerts = margins.iter().filter(|margin| **margin > model.manifest.threshold).count();
        assert!(alerts <= 16, "{alerts}");
        let (low, high) = (margins.iter().copied().fold(f32::MAX, f32::min), margins.iter().copied().fold(f32::MIN, f32::max));
        assert!(model.p_value(low) > model.p_value(high));
    }

    #[test]
    fn columns_are_found_by_name_and_never_guessed() {
        let width = foreign().trees.width();
        assert!(columns(&foreign(), None, None).unwrap_err().to_string().contains("--features"));
        assert!(columns(&foreign(), None, Some(&frame(width + 1, 3))).unwrap_err().to_string().contains("--features"));
        assert_eq!(columns(&foreign(), None, Some(&frame(width, 3))).unwrap(), names(width));
        let model = Imported::new(foreign(), names(width));
        let turned: Vec<Column> = frame(width, 9).columns().iter().rev().cloned().collect();
        assert_eq!(model.margins(&Frame::new(turned).unwrap()).unwrap(), model.margins(&frame(width, 9)).unwrap());
        assert!(model.margins(&frame(width - 1, 9)).unwrap_err().to_string().contains(&format!("'f{}'", width - 1)));
    }
}
