//! Reading models that XGBoost wrote as JSON (`model.save_model("model.json")`), versions 1.3 to 3. Pure, and must never panic on a
//! hostile file.
//!
//! Read are boosted trees (`gbtree`) with one output; all trees of the file count, as with the library's own `Booster.predict`.

use serde::Deserialize;

use crate::core::detect::trees::sketch::{Condition, Node, Sketch};
use crate::core::detect::trees::{Link, Trees};
use crate::error::{Error, Result};
use crate::limits::{TREES_FEATURES_MAX, TREES_IMPORT_BYTES_MAX, TREES_MAX, TREES_NODES_MAX};

/// A model and the names of its columns, where the file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    pub trees: Trees,
    pub columns: Vec<String>,
}

/// Reads a model.
///
/// # Errors
/// Of the kind `Config`: not such a file, or a model that cannot be walked here (other boosters, several outputs, categorical
/// splits), with what to do about it.
pub fn read(bytes: &[u8]) -> Result<Imported> {
    if bytes.len() > TREES_IMPORT_BYTES_MAX {
        return Err(bad(&format!("the file has {} bytes; {TREES_IMPORT_BYTES_MAX} are possible", bytes.len())));
    }
    let File { learner } = serde_json::from_slice(bytes)
        .map_err(|error| bad("it is not a model in XGBoost's JSON form; write it with save_model(\"model.json\")").because(error))?;
    let (link, base) = link_of(&learner)?;
    let width = count_of(&learner.learner_model_param.num_feature).filter(|width| (1..=TREES_FEATURES_MAX).contains(width));
    let width = width.ok_or_else(|| bad(&format!("num_feature must be 1 to {TREES_FEATURES_MAX}")))?;
    let columns = learner.feature_names;
    if !columns.is_empty() && columns.len() != width {
        return Err(bad(&format!("{} feature names for {width} columns", columns.len())));
    }
    let trees = trees_of(learner.gradient_booster)?
        .into_iter()
        .enumerate()
        .map(|(place, tree)| nodes_of(&tree).map_err(|why| bad(&format!("tree {place}: {why}"))));
    let sketch = Sketch::Ordinary(trees.collect::<Result<_>>()?);
    Ok(Imported { trees: Trees::new(width, link, base, &sketch)?, columns })
}

fn bad(why: &str) -> Error {
    Error::config(format!("the XGBoost model is not usable: {why}"))
}

#[derive(Deserialize)]
struct File {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    learner_model_param: Parameters,
    objective: Objective,
}

#[derive(Deserialize)]
struct Parameters {
    base_score: Word,
    #[serde(default)]
    num_class: Word,
    num_feature: Word,
    #[serde(default)]
    num_target: Word,
}

/// Numbers are written as strings, by other writers as numbers.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Word {
    #[default]
    Absent,
    Text(String),
    Number(f64),
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    #[serde(default)]
    model: Option<Model>,
}

/// What `gbtree` has; other boosters are refused by their name.
#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    trees: Vec<Tree>,
}

/// Arrays of one entry a node.
#[derive(Deserialize)]
struct Tree {
    left_children: Vec<i32>,
    right_children: Vec<i32>,
    split_indices: Vec<u32>,
    /// Thresholds, and the values of leaves.
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
    sum_hessian: Vec<f32>,
    #[serde(default)]
    split_type: Vec<u8>,
}

/// `true` in older files, `1` in newer ones.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Flag {
    Word(bool),
    Number(u8),
}

impl Flag {
    fn is_set(self) -> bool {
        match self {
            Self::Word(set) => set,
            Self::Number(number) => number != 0,
        }
    }
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

fn count_of(word: &Word) -> Option<usize> {
    match word {
        Word::Absent => Some(0),
        Word::Text(text) => text.parse().ok(),
        Word::Number(number) => (*number >= 0.0 && *number < 1e9).then_some(*number as usize),
    }
}

/// `"5E-1"`, since version 3.1 `"[5E-1]"`: one value for each output.
fn base_score(word: &Word) -> Option<f64> {
    let text = word.text();
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text.trim());
    inner.trim().parse::<f32>().ok().map(f64::from).filter(|value| value.is_finite())
}

/// What the margins mean, and the margin before any tree.
fn link_of(learner: &Learner) -> Result<(Link, f64)> {
    let Parameters { base_score: base, num_class, num_target, .. } = &learner.learner_model_param;
    if count_of(num_class).is_none_or(|classes| classes > 1) || count_of(num_target).is_none_or(|targets| targets > 1) {
        return Err(bad("it has several outputs; train one model for attacks against everything else"));
    }
    let score = base_score(base).ok_or_else(|| bad(&format!("base_score {:?} is not one number", base.text())))?;
    let log_odds = || {
        let inside = score > 0.0 && score < 1.0;
        if inside { Ok(libm::log(score / (1.0 - score))) } else { Err(bad(&format!("base_score {score} is not between 0 and 1"))) }
    };
    match learner.objective.name.as_str() {
        "binary:logistic" | "reg:logistic" => Ok((Link::Logistic, log_odds()?)),
        // Its output is the margin itself, and so is its base.
        "binary:logitraw" => Ok((Link::Logistic, score)),
        "reg:squarederror" => Ok((Link::Identity, score)),
        other => Err(bad(&format!("objective {other:?}; binary:logistic, binary:logitraw, reg:logistic and reg:squarederror are known"))),
    }
}

fn trees_of(booster: Booster) -> Result<Vec<Tree>> {
    if booster.name != "gbtree" {
        return Err(bad(&format!("booster {:?}; only gbtree can be read, so train it with booster=\"gbtree\"", booster.name)));
    }
    let trees = booster.model.map(|model| model.trees).ok_or_else(|| bad("it has no trees"))?;
    if trees.len() > TREES_MAX {
        return Err(bad(&format!("{} trees; {TREES_MAX} are possible", trees.len())));
    }
    Ok(trees)
}

/// The nodes that a way leads to, the root first: pruned ones stay in the file.
fn nodes_of(tree: &Tree) -> Result<Vec<Node>, String> {
    let count = tree.left_children.len();
    let lengths = [&tree.right_children.len(), &tree.split_indices.len(), &tree.split_conditions.len(), &tree.default_left.len()];
    if count > TREES_NODES_MAX || lengths.into_iter().chain([&tree.sum_hessian.len()]).any(|length| *length != count) {
        return Err(format!("arrays of different lengths, or more than {TREES_NODES_MAX} nodes"));
    }
    let (mut nodes, mut queue) = (vec![], vec![0]);
    while let Some(index) = queue.get(nodes.len()).copied() {
        let (left, right) = match (tree.left_children.get(index), tree.right_children.get(index)) {
            (Some(left), Some(right)) => (*left, *right),
            _ => return Err("a child that is not there".into()),
        };
        let cover = tree.sum_hessian[index];
        if left == -1 && right == -1 {
            nodes.push(Node::Leaf { value: f64::from(tree.split_conditions[index]), cover });
            continue;
        }
        if tree.split_type.get(index).is_some_and(|kind| *kind != 0) {
            return Err("a split by categories, which cannot be read; train it on numbers (one column a category)".into());
        }
        let children = [left, right].map(|child| usize::try_from(child).map_err(|_| "a node with one child".to_owned()));
        let [left, right] = children;
        if queue.len() + 2 > count {
            return Err("nodes with several parents".into());
        }
        let place = queue.len() as u32;
        queue.extend([left?, right?]);
        let condition = Condition {
            feature: tree.split_indices[index],
            threshold: tree.split_conditions[index],
            missing_right: !tree.default_left[index].is_set(),
        };
        nodes.push(Node::Split { condition, left: place, right: place + 1, cover });
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests;
