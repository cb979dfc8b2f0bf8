//! The trees of an ensemble from its parallel arrays. Must never follow an index that is not there.

use std::collections::BTreeMap;

use super::Operator;
use crate::core::detect::trees::sketch::{Condition, Node, Sketch};
use crate::limits::TREES_MAX;

/// A node of the arrays: where it lies, by tree and number.
type Places = BTreeMap<(i64, i64), usize>;

/// How many trees there are, and all of them. `weight` is what an output's leaves count.
pub(super) fn trees_of(operator: &Operator<'_>, prefix: &str, weight: impl Fn(i64) -> f64) -> Result<(usize, Vec<Vec<Node>>), String> {
    let arrays = Arrays::of(operator)?;
    let values = leaves_of(operator, prefix, weight)?;
    let mut places = Places::new();
    for (index, (tree, node)) in arrays.trees.iter().zip(arrays.ids).enumerate() {
        if places.insert((*tree, *node), index).is_some() {
            return Err(format!("tree {tree} has node {node} twice"));
        }
    }
    // Of each tree its root, which exporters list first, and its nodes.
    let mut roots: BTreeMap<i64, (usize, usize)> = BTreeMap::new();
    for (index, tree) in arrays.trees.iter().enumerate() {
        roots.entry(*tree).or_insert((index, 0)).1 += 1;
    }
    if roots.len() > TREES_MAX {
        return Err(format!("{} trees; {TREES_MAX} are possible", roots.len()));
    }
    let trees = roots
        .into_iter()
        .map(|(tree, (root, count))| arrays.nodes_of(tree, root, count, &places, &values).map_err(|why| format!("tree {tree}: {why}")));
    let trees: Vec<_> = trees.collect::<Result<_, _>>()?;
    Ok((trees.len(), trees))
}

/// Multiplies all leaves.
pub(super) fn scaled(mut trees: Vec<Vec<Node>>, share: f64) -> Sketch {
    for node in trees.iter_mut().flatten() {
        if let Node::Leaf { value, .. } = node {
            *value *= share;
        }
    }
    Sketch::Ordinary(trees)
}

/// Leaf values by tree and node, summed over outputs.
fn leaves_of(operator: &Operator<'_>, prefix: &str, weight: impl Fn(i64) -> f64) -> Result<BTreeMap<(i64, i64), f64>, String> {
    let [ids, nodes, trees] = ["ids", "nodeids", "treeids"].map(|part| operator.integers(&format!("{prefix}_{part}")));
    let weights = operator.floats(&format!("{prefix}_weights"));
    if [nodes.len(), trees.len(), weights.len()].iter().any(|length| *length != ids.len()) {
        return Err("leaves in arrays of different lengths".into());
    }
    let mut values = BTreeMap::new();
    for (((id, node), tree), value) in ids.iter().zip(nodes).zip(trees).zip(weights) {
        *values.entry((*tree, *node)).or_insert(0.0) += weight(*id) * f64::from(*value);
    }
    Ok(values)
}

struct Arrays<'a> {
    trees: &'a [i64],
    ids: &'a [i64],
    features: &'a [i64],
    thresholds: &'a [f32],
    modes: &'a [&'a [u8]],
    on_true: &'a [i64],
    on_false: &'a [i64],
    /// Empty where missing values always count as false.
    missing_true: &'a [i64],
}

impl<'a> Arrays<'a> {
    fn of(operator: &'a Operator<'_>) -> Result<Self, String> {
        let [trees, ids, features] = ["treeids", "nodeids", "featureids"].map(|part| operator.integers(&format!("nodes_{part}")));
        let [on_true, on_false, missing_true] =
            ["truenodeids", "falsenodeids", "missing_value_tracks_true"].map(|part| operator.integers(&format!("nodes_{part}")));
        let modes = operator.attribute("nodes_modes").map_or(&[][..], |modes| &modes.texts);
        let thresholds = operator.floats("nodes_values");
        let lengths = [ids.len(), features.len(), on_true.len(), on_false.len(), modes.len(), thresholds.len()];
        if lengths.iter().any(|length| *length != trees.len()) || !(missing_true.is_empty() || missing_true.len() == trees.len()) {
            return Err("nodes in arrays of different lengths".into());
        }
        Ok(Self { trees, ids, features, thresholds, modes, on_true, on_false, missing_true })
    }

    /// The nodes of a tree of `count`, the root first.
    fn nodes_of(
        &self,
        tree: i64,
        root: usize,
        count: usize,
        places: &Places,
        values: &BTreeMap<(i64, i64), f64>,
    ) -> Result<Vec<Node>, String> {
        let (mut nodes, mut queue) = (vec![], vec![root]);
        while let Some(index) = queue.get(nodes.len()).copied() {
            if self.modes[index] == b"LEAF" {
                let value = values.get(&(tree, self.ids[index])).copied().unwrap_or(0.0);
                nodes.push(Node::Leaf { value, cover: 0.0 });
                continue;
            }
            if queue.len() + 2 > count {
                return Err("nodes with several parents".into());
            }
            let child = |id: i64| places.get(&(tree, id)).copied().ok_or("a child that is not there");
            let (on_true, on_false) = (child(self.on_true[index])?, child(self.on_false[index])?);
            let (threshold, true_is_right) = self.threshold(index)?;
            let missing_true = self.missing_true.get(index).is_some_and(|flag| *flag != 0);
            let feature = u32::try_from(self.features[index]).map_err(|_| "a column that is not there")?;
            let place = queue.len() as u32;
            queue.extend(if true_is_right { [on_false, on_true] } else { [on_true, on_false] });
            let condition = Condition { feature, threshold, missing_right: missing_true == true_is_right };
            nodes.push(Node::Split { condition, left: place, right: place + 1, cover: 0.0 });
        }
        Ok(nodes)
    }

    /// The threshold from which on values go right, and whether right is where the condition holds.
    fn threshold(&self, index: usize) -> Result<(f32, bool), String> {
        let value = self.thresholds[index];
        match self.modes[index] {
            b"BRANCH_LEQ" => Ok((value.next_up(), false)),
            b"BRANCH_LT" => Ok((value, false)),
            b"BRANCH_GTE" => Ok((value, true)),
            b"BRANCH_GT" => Ok((value.next_up(), true)),
            other => Err(format!("mode {:?}; only comparisons by order are known", String::from_utf8_lossy(other))),
        }
    }
}
