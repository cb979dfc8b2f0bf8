//! Reading tree ensembles from ONNX files (`TreeEnsembleClassifier` and `TreeEnsembleRegressor` of `ai.onnx.ml` 1 to 3), as the
//! exporters of scikit-learn, XGBoost and LightGBM write them. Pure, and must never panic on a hostile file.
//!
//! The trees must take the graph's only input as it is, and nothing but a change of form may follow them: what a scaler or another
//! operator does to the numbers would be lost, so it is refused. Such files have no covers: contributions take both sides of
//! a split as equally common.

mod protobuf;
mod walk;

use crate::core::detect::trees::sketch::Sketch;
use crate::core::detect::trees::{Link, Trees};
use crate::error::{Error, Result};
use crate::limits::{TREES_FEATURES_MAX, TREES_IMPORT_BYTES_MAX};
use protobuf::{Fields, bounded};

/// Bytes of a file; packed numbers take up to eight times as many once read.
const BYTES_MAX: usize = TREES_IMPORT_BYTES_MAX / 4;

/// Operators behind the trees that change no number.
const FORM_ONLY: [&str; 3] = ["ZipMap", "Cast", "Identity"];

/// Reads a model.
///
/// # Errors
/// Of the kind `Config`: not such a file, or a graph that cannot be walked here, with what to do about it.
pub fn read(bytes: &[u8]) -> Result<Trees> {
    let bad = |why: String| Error::config(format!("the ONNX model is not usable: {why}"));
    if bytes.len() > BYTES_MAX {
        return Err(bad(format!("the file has {} bytes; {BYTES_MAX} are possible", bytes.len())));
    }
    let (width, operator) = graph_of(bytes).map_err(bad)?;
    let Ensemble { link, base, sketch } = ensemble_of(&operator).map_err(bad)?;
    let width = width.unwrap_or_else(|| operator.integers("nodes_featureids").iter().max().map_or(1, |most| *most as usize + 1));
    Trees::new(width.min(TREES_FEATURES_MAX + 1), link, base, &sketch)
}

/// What an operator is told.
#[derive(Default)]
struct Attribute<'a> {
    name: &'a str,
    integer: i64,
    text: &'a [u8],
    floats: Vec<f32>,
    integers: Vec<i64>,
    texts: Vec<&'a [u8]>,
}

#[derive(Default)]
struct Operator<'a> {
    kind: &'a str,
    inputs: Vec<&'a str>,
    attributes: Vec<Attribute<'a>>,
}

impl<'a> Operator<'a> {
    fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
    fn integers(&self, name: &str) -> &[i64] {
        self.attribute(name).map_or(&[], |attribute| &attribute.integers)
    }
    fn floats(&self, name: &str) -> &[f32] {
        self.attribute(name).map_or(&[], |attribute| &attribute.floats)
    }
    fn text(&self, name: &str, otherwise: &'static str) -> String {
        self.attribute(name).map_or_else(|| otherwise.to_owned(), |attribute| String::from_utf8_lossy(attribute.text).into_owned())
    }
}

/// The trees' operator and the width of what goes into it, where the file says so.
fn graph_of(file: &[u8]) -> Result<(Option<usize>, Operator<'_>), String> {
    const GRAPH: u64 = 7;
    let mut graph = None;
    for field in Fields(file) {
        let (number, value) = field.map_err(|why| format!("it is not an ONNX file: {why}"))?;
        if number == GRAPH {
            graph = Some(value.bytes()?);
        }
    }
    let graph = graph.ok_or("it is not an ONNX file: it has no graph")?;
    let (mut inputs, mut operators) = (vec![], vec![]);
    for field in Fields(graph) {
        match field? {
            (1, value) => operators.push(operator_of(value.bytes()?)?),
            (11, value) => inputs.push(input_of(value.bytes()?)?),
            _ => {}
        }
        if operators.len() > 64 || inputs.len() > 64 {
            return Err("a graph of many operators; export the tree model alone".into());
        }
    }
    let [(name, width)] = inputs[..] else {
        return Err(format!("it has {} inputs; export it with one input of all columns", inputs.len()));
    };
    let place = operators.iter().position(|operator| operator.kind.starts_with("TreeEnsemble"));
    let trees = operators.swap_remove(place.ok_or("it has no tree ensemble")?);
    if let Some(other) = operators.iter().find(|operator| !FORM_ONLY.contains(&operator.kind)) {
        return Err(format!("operator {:?} beside the trees; export the tree model alone, without what prepares its rows", other.kind));
    }
    if trees.inputs != [name] {
        return Err("the trees do not take the graph's input as it is; export the tree model alone".into());
    }
    Ok((width, trees))
}

/// An input's name and its second dimension.
fn input_of(input: &[u8]) -> Result<(&str, Option<usize>), String> {
    let mut name = "";
    let mut dimensions = vec![];
    for field in Fields(input) {
        match field? {
            (1, value) => name = value.text()?,
            (2, value) => {
                // TypeProto.tensor_type, its shape, and of that the dimensions.
                for dimension in nested(value.bytes()?, &[1, 2, 1])? {
                    let mut size = None;
                    for field in Fields(dimension) {
                        if let (1, value) = field? {
                            size = usize::try_from(value.integer()?).ok();
                        }
                    }
                    dimensions.push(size);
                }
            }
            _ => {}
        }
    }
    Ok((name, dimensions.get(1).copied().flatten()))
}

/// The messages at the end of a way of field numbers.
fn nested<'a>(message: &'a [u8], way: &[u64]) -> Result<Vec<&'a [u8]>, String> {
    let mut messages = vec![message];
    for wanted in way {
        let mut inner = vec![];
        for message in messages {
            for field in Fields(message) {
                let (number, value) = field?;
                if number == *wanted {
                    inner.push(value.bytes()?);
                }
            }
            bounded(inner.len())?;
        }
        messages = inner;
    }
    Ok(messages)
}

fn operator_of(message: &[u8]) -> Result<Operator<'_>, String> {
    let mut operator = Operator::default();
    for field in Fields(message) {
        match field? {
            (1, value) => operator.inputs.push(value.text()?),
            (4, value) => operator.kind = value.text()?,
            (5, value) => operator.attributes.push(attribute_of(value.bytes()?)?),
            _ => {}
        }
        if operator.attributes.len() > 64 || operator.inputs.len() > 64 {
            return Err("an operator with many attributes or inputs".into());
        }
    }
    Ok(operator)
}

fn attribute_of(message: &[u8]) -> Result<Attribute<'_>, String> {
    let mut attribute = Attribute::default();
    for field in Fields(message) {
        match field? {
            (1, value) => attribute.name = value.text()?,
            (3, value) => attribute.integer = value.integer()?,
            (4, value) => attribute.text = value.bytes()?,
            (7, value) => value.floats(&mut attribute.floats)?,
            (8, value) => value.integers(&mut attribute.integers)?,
            (9, value) => {
                attribute.texts.push(value.bytes()?);
                bounded(attribute.texts.len())?;
            }
            _ => {}
        }
    }
    Ok(attribute)
}

struct Ensemble {
    link: Link,
    base: f64,
    sketch: Sketch,
}

fn ensemble_of(operator: &Operator<'_>) -> Result<Ensemble, String> {
    if operator.attributes.iter().any(|attribute| attribute.name.ends_with("_as_tensor")) {
        return Err("numbers of double precision; export it with floats".into());
    }
    let transform = operator.text("post_transform", "NONE");
    let (prefix, outputs) = match operator.kind {
        "TreeEnsembleClassifier" => {
            let labels = |name| operator.attribute(name).map_or(0, |labels| labels.integers.len().max(labels.texts.len()));
            let count = labels("classlabels_int64s").max(labels("classlabels_strings"));
            if count != 2 {
                return Err(format!("{count} classes; train one model for attacks against everything else"));
            }
            ("class", 2)
        }
        "TreeEnsembleRegressor" => {
            let targets = operator.attribute("n_targets").map_or(1, |targets| targets.integer);
            if targets != 1 {
                return Err(format!("{targets} outputs; one is possible"));
            }
            ("target", 1)
        }
        other => return Err(format!("operator {other:?}; export it for ai.onnx.ml 3 as a TreeEnsembleClassifier or -Regressor")),
    };
    let ids = operator.integers(&format!("{prefix}_ids"));
    if ids.iter().any(|id| !(0..outputs).contains(id)) {
        return Err("leaves of an output that is not there".into());
    }
    // With one of two classes in use, its values are those of the second class.
    let both = ids.contains(&0) && ids.contains(&1);
    let (link, first_weight) = match transform.as_str() {
        "LOGISTIC" => (Link::Logistic, 0.0),
        // The softmax of two is the logistic of their difference.
        "SOFTMAX" if both => (Link::Logistic, -1.0),
        "NONE" => (Link::Identity, 0.0),
        other => return Err(format!("post_transform {other:?}; NONE, LOGISTIC and, for two classes, SOFTMAX are known")),
    };
    let weight = |id: i64| if both && id == 0 { first_weight } else { 1.0 };
    let (count, trees) = walk::trees_of(operator, prefix, weight)?;
    let (trees, share) = match operator.text("aggregate_function", "SUM").as_str() {
        "SUM" => (trees, 1.0),
        "AVERAGE" => (trees, 1.0 / count.max(1) as f64),
        other => return Err(format!("aggregate_function {other:?}; SUM and AVERAGE are known")),
    };
    let base = match operator.floats("base_values") {
        [] => 0.0,
        [only] => f64::from(*only),
        [first, second] if outputs == 2 => f64::from(*second) + first_weight * f64::from(*first),
        other => return Err(format!("{} base_values for {outputs} outputs", other.len())),
    };
    Ok(Ensemble { link, base, sketch: walk::scaled(trees, share) })
}

#[cfg(test)]
mod tests;
