//! The flat trees against the plain ones they were made from, their bytes, and contributions against all subsets of columns.

use proptest::prelude::*;

use super::sketch::{Condition, Node, Sketch, SymmetricTree};
use super::*;
use crate::models::random::Random;

const WIDTH: usize = 5;

/// A model drawn from a seed: covers add up, thresholds repeat the values of [`rows`].
fn draw(seed: u64, symmetric: bool, trees: usize, depth: u32) -> Sketch {
    let mut random = Random::new(seed);
    if symmetric {
        return Sketch::Symmetric((0..trees).map(|_| draw_symmetric(&mut random, depth)).collect());
    }
    let tree = |random: &mut Random| {
        let mut nodes = vec![];
        draw_branch(random, depth, &mut nodes);
        nodes
    };
    Sketch::Ordinary((0..trees).map(|_| tree(&mut random)).collect())
}

fn draw_condition(random: &mut Random) -> Condition {
    let threshold = match random.below(12) {
        0 => f32::NEG_INFINITY,
        1 => f32::INFINITY,
        other => other as f32 - 6.0,
    };
    Condition { feature: random.below(WIDTH as u64) as u32, threshold, missing_right: random.below(2) == 1 }
}

fn draw_symmetric(random: &mut Random, depth_max: u32) -> SymmetricTree {
    let depth = random.below(u64::from(depth_max) + 1);
    SymmetricTree {
        levels: (0..depth).map(|_| draw_condition(random)).collect(),
        leaves: (0..1 << depth).map(|_| random.unit() - 0.5).collect(),
        covers: (0..1 << depth).map(|_| random.below(4) as f32).collect(),
    }
}

/// Appends a branch and gives its place and its cover.
fn draw_branch(random: &mut Random, depth: u32, nodes: &mut Vec<Node>) -> (u32, f32) {
    let at = nodes.len();
    let cover = random.below(4) as f32;
    nodes.push(Node::Leaf { value: 4.0 * random.unit() - 2.0, cover });
    if depth == 0 || random.below(5) == 0 {
        return (at as u32, cover);
    }
    let condition = draw_condition(random);
    let (right, right_cover) = draw_branch(random, depth - 1, nodes);
    let (left, left_cover) = draw_branch(random, depth - 1, nodes);
    let cover = left_cover + right_cover;
    nodes[at] = Node::Split { condition, left, right, cover };
    (at as u32, cover)
}

fn rows(seed: u64, count: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut value = || match random.below(10) {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => -0.0,
        other => (other as f32) - 6.0 + if random.below(2) == 0 { 0.0 } else { 0.5 },
    };
    (0..count * WIDTH).map(|_| value()).collect()
}

fn walk(sketch: &Sketch, row: &[f32]) -> f64 {
    let right = |condition: &Condition| condition.is_right(row[condition.feature as usize]);
    match sketch {
        Sketch::Symmetric(trees) => {
            let index =
                |tree: &SymmetricTree| tree.levels.iter().enumerate().map(|(level, c)| usize::from(right(c)) << level).sum::<usize>();
            trees.iter().map(|tree| tree.leaves[index(tree)]).sum()
        }
        Sketch::Ordinary(trees) => trees
            .iter()
            .map(|tree| {
                let mut at = 0;
                loop {
                    match &tree[at] {
                        Node::Leaf { value, .. } => break *value,
                        Node::Split { condition, left, right: other, .. } => at = *if right(condition) { other } else { left } as usize,
                    }
                }
            })
            .sum(),
    }
}

fn margins(trees: &Trees, rows: &[f32]) -> Vec<f32> {
    let mut out = vec![7.0; rows.len() / WIDTH];
    trees.margins(rows, &mut out);
    out
}

fn check(sketch: &Sketch, rows: &[f32]) {
    let trees = Trees::new(WIDTH, Link::Logistic, 0.25, sketch).unwrap();
    let found = margins(&trees, rows);
    for (row, margin) in rows.chunks_exact(WIDTH).zip(&found) {
        let expected = 0.25 + walk(sketch, row);
        assert!((f64::from(*margin) - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{margin} against {expected}");
        assert_eq!(margins(&trees, row)[0].to_bits(), margin.to_bits(), "the margin depends on the batch");
    }
    for kernel in Kernel::available() {
        let mut others = vec![7.0; found.len()];
        trees.margins_with(*kernel, rows, &mut others);
        let same = others.iter().zip(&found).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{kernel:?} gives other bits");
    }
    let bytes = trees.to_bytes();
    let read = Trees::from_bytes(&bytes).unwrap();
    assert_eq!(read, trees);
    assert_eq!(read.to_bytes(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn flat_trees_give_the_plain_trees_margins(
        seed in any::<u64>(), symmetric in any::<bool>(), trees in 0_usize..9, depth in 0_u32..8, count in 1_usize..80,
    ) {
        check(&draw(seed, symmetric, trees, depth), &rows(seed ^ 1, count));
    }

    #[test]
    fn any_bytes_load_or_are_refused(seed in any::<u64>(), symmetric in any::<bool>(), at in any::<usize>(), value in any::<u8>(), cut in any::<usize>()) {
        let trees = Trees::new(WIDTH, Link::Identity, 0.0, &draw(seed, symmetric, 3, 4)).unwrap();
        let mut bytes = trees.to_bytes();
        prop_assert!(Trees::from_bytes(&bytes[..cut % bytes.len()]).is_err());
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(trees) = Trees::from_bytes(&bytes) && trees.width() <= 1_000 {
            let row = vec![f32::NAN; trees.width()];
            trees.margins(&row, &mut [0.0]);
            prop_assert_eq!(trees.contributions(&row).len(), trees.width());
        }
    }

    #[test]
    fn contributions_are_the_shapley_values_of_all_subsets(seed in any::<u64>(), symmetric in any::<bool>(), depth in 0_u32..6) {
        let sketch = draw(seed, symmetric, 2, depth);
        let trees = Trees::new(WIDTH, Link::Logistic, -1.5, &sketch).unwrap();
        let rows = rows(seed ^ 2, 6);
        for (row, margin) in rows.chunks_exact(WIDTH).zip(margins(&trees, &rows)) {
            let found = trees.contributions(row);
            let total = trees.base_value() + found.iter().copied().map(f64::from).sum::<f64>();
            prop_assert!((total - f64::from(margin)).abs() <= 1e-5, "{total} against {margin}");
            for (found, expected) in found.iter().zip(shapley(&sketch, row)) {
                prop_assert!((f64::from(*found) - expected).abs() <= 1e-5, "{found} against {expected}");
            }
        }
    }
}

/// The definition: each column's mean effect over all orders, an unknown column followed on both sides by their covers.
fn shapley(sketch: &Sketch, row: &[f32]) -> Vec<f64> {
    let worth: Vec<f64> = (0..1_u32 << WIDTH).map(|known| expected(sketch, row, known)).collect();
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    (0..WIDTH)
        .map(|column| {
            let without = (0..1_u32 << WIDTH).filter(|known| known >> column & 1 == 0);
            without
                .map(|known| {
                    let size = known.count_ones();
                    let weight = factorial(size) * factorial(WIDTH as u32 - size - 1) / factorial(WIDTH as u32);
                    weight * (worth[(known | 1 << column) as usize] - worth[known as usize])
                })
                .sum()
        })
        .collect()
}

fn expected(sketch: &Sketch, row: &[f32], known: u32) -> f64 {
    match sketch {
        Sketch::Ordinary(trees) => trees.iter().map(|tree| expected_ordinary(tree, 0, row, known)).sum(),
        Sketch::Symmetric(trees) => trees.iter().map(|tree| expected_symmetric(tree, 0, 0, row, known)).sum(),
    }
}

fn mix(condition: &Condition, row: &[f32], known: u32, covers: [f64; 2], sides: [f64; 2]) -> f64 {
    if known >> condition.feature & 1 == 1 {
        return sides[usize::from(condition.is_right(row[condition.feature as usize]))];
    }
    let total = covers[0] + covers[1];
    if total > 0.0 { (covers[0] * sides[0] + covers[1] * sides[1]) / total } else { (sides[0] + sides[1]) / 2.0 }
}

fn expected_ordinary(tree: &[Node], at: u32, row: &[f32], known: u32) -> f64 {
    match &tree[at as usize] {
        Node::Leaf { value, .. } => *value,
        Node::Split { condition, left, right, .. } => {
            let children = [*left, *right];
            let covers = children.map(|child| f64::from(tree[child as usize].cover()));
            mix(condition, row, known, covers, children.map(|child| expected_ordinary(tree, child, row, known)))
        }
    }
}

/// `bits` are the turns of the first `level` levels.
fn expected_symmetric(tree: &SymmetricTree, level: usize, bits: usize, row: &[f32], known: u32) -> f64 {
    let Some(condition) = tree.levels.get(level) else { return tree.leaves[bits] };
    let children = [bits, bits | 1 << level];
    let below = |bits: usize| {
        let own = tree.covers.iter().enumerate().filter(|(leaf, _)| leaf & ((2 << level) - 1) == bits);
        own.map(|(_, cover)| f64::from(*cover)).sum::<f64>()
    };
    mix(condition, row, known, children.map(below), children.map(|bits| expected_symmetric(tree, level + 1, bits, row, known)))
}

fn leaf(value: f64) -> Node {
    Node::Leaf { value, cover: 1.0 }
}
fn split(feature: u32, threshold: f32, left: u32, right: u32) -> Node {
    Node::Split { condition: Condition { feature, threshold, missing_right: false }, left, right, cover: 2.0 }
}

#[test]
fn trees_that_cannot_be_walked_are_refused() {
    let refused = |trees: Vec<Vec<Node>>, why: &str| {
        let error = Trees::new(WIDTH, Link::Logistic, 0.0, &Sketch::Ordinary(trees)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(vec![vec![]], "a tree of 0 nodes");
    refused(vec![vec![split(0, 1.0, 1, 2), leaf(1.0)]], "several parents");
    refused(vec![vec![split(0, 1.0, 1, 9), leaf(1.0), leaf(1.0)]], "a child that is not there");
    refused(vec![vec![split(0, 1.0, 0, 1), leaf(1.0), leaf(1.0)]], "several parents");
    refused(vec![vec![split(0, 1.0, 1, 1), leaf(1.0), leaf(1.0), leaf(1.0)]], "no way leads");
    refused(vec![vec![leaf(1.0), leaf(1.0)]], "no way leads");
    refused(vec![vec![split(5, 1.0, 1, 2), leaf(1.0), leaf(1.0)]], "column 5 of 5");
    refused(vec![vec![split(0, f32::NAN, 1, 2), leaf(1.0), leaf(1.0)]], "threshold");
    for value in [f64::NAN, f64::INFINITY, f64::MAX] {
        refused(vec![vec![leaf(value)], vec![leaf(f64::MAX)]], "leaves that are not finite");
    }
    refused(vec![vec![Node::Leaf { value: 1.0, cover: -1.0 }]], "cover");
    refused(vec![vec![leaf(1.0)]; crate::limits::TREES_MAX + 1], "10001 trees");
    let mut chain: Vec<Node> = (0..70).flat_map(|level| [split(0, 1.0, 2 * level + 1, 2 * level + 2), leaf(1.0)]).collect();
    chain.push(leaf(1.0));
    refused(vec![chain], "more than 64 levels");
    let lame = SymmetricTree { levels: vec![], leaves: vec![1.0, 2.0], covers: vec![1.0, 1.0] };
    assert!(Trees::new(WIDTH, Link::Logistic, 0.0, &Sketch::Symmetric(vec![lame])).is_err());
    assert!(Trees::new(0, Link::Logistic, 0.0, &Sketch::Ordinary(vec![])).is_err());
    assert!(Trees::new(WIDTH, Link::Logistic, f64::NAN, &Sketch::Ordinary(vec![])).is_err());
}

#[test]
fn leaves_of_any_size_keep_their_value() {
    for value in [1e-30, 3e-9, 0.1, 1.0, 12_345.678, 3e30] {
        let sketch = Sketch::Ordinary(vec![vec![split(0, 1.0, 1, 2), leaf(value), leaf(-value)]; 300]);
        let trees = Trees::new(1, Link::Identity, 0.0, &sketch).unwrap();
        let mut out = [0.0; 2];
        trees.margins(&[0.0, 2.0], &mut out);
        for (margin, sign) in out.iter().zip([300.0, -300.0]) {
            assert!((f64::from(*margin) / (sign * value) - 1.0).abs() < 1e-6, "{value}: {margin}");
        }
    }
    let none = Trees::new(1, Link::Logistic, 0.5, &Sketch::Ordinary(vec![])).unwrap();
    let mut out = [0.0];
    none.margins(&[1.0], &mut out);
    assert_eq!((out, none.prediction(0.0)), ([0.5], 0.5));
    assert_eq!(none.contributions(&[1.0]), [0.0]);
}
