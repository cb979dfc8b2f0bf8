//! The flat forest against the pointer trees it was made from, on every kernel this machine has.

use proptest::prelude::*;

use super::*;
use crate::native::Kernel;

/// Walks the pointer tree as the paper writes it.
fn path(node: &Node, row: &Row) -> u32 {
    match node {
        Node::Leaf(path) => u32::from(*path),
        Node::Split { word, left, right } => path(if row.0[(word & 15) as usize] >= f32::from_bits(*word) { right } else { left }, row),
    }
}

fn check_kernels(rows: &[[f32; FEATURES]], probes: &[[f32; FEATURES]], params: ForestParams, seed: u64) {
    let forest = Forest::fit(rows, params, seed).unwrap();
    let sample = params.sample.min(rows.len() as u32);
    let nodes = grow(rows, params.trees, sample, seed);
    let expected: Vec<f32> = probes
        .iter()
        .map(|probe| {
            let sum: u32 = nodes.iter().map(|tree| path(tree, &Row::of(probe))).sum();
            let mean = f64::from(sum) / PATH_ONE / f64::from(params.trees);
            libm::exp2(-mean / average_path(sample)) as f32
        })
        .collect();
    let mut portable = vec![0.0; probes.len()];
    forest.score_rows_with(Kernel::Portable, probes, &mut portable);
    for (ours, naive) in portable.iter().zip(&expected) {
        assert!((ours - naive).abs() <= 1e-6, "{ours} against {naive}");
    }
    for kernel in Kernel::available() {
        let mut scores = vec![0.0; probes.len()];
        forest.score_rows_with(*kernel, probes, &mut scores);
        let same = scores.iter().zip(&portable).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{kernel:?} gives other bits than the portable walk");
        let mut single = vec![0.0; probes.len()];
        for (probe, score) in probes.iter().zip(&mut single) {
            forest.score_rows_with(*kernel, std::array::from_ref(probe), std::array::from_mut(score));
        }
        assert_eq!(scores, single, "{kernel:?} depends on the batch");
    }
    let bytes = forest.to_bytes();
    assert_eq!(Forest::from_bytes(&bytes).unwrap(), forest);
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -1e3_f32..1e3,
        3 => (0_u8..4).prop_map(f32::from),
        1 => any::<u32>().prop_map(f32::from_bits),
        1 => prop_oneof![Just(f32::MAX), Just(f32::MIN), Just(f32::NAN), Just(f32::INFINITY), Just(-0.0), Just(1e6), Just(1e6 + 0.0625)],
    ]
}

fn row() -> impl Strategy<Value = [f32; FEATURES]> {
    proptest::array::uniform16(value())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_kernel_gives_the_pointer_trees_scores(
        rows in proptest::collection::vec(row(), 2..300),
        probes in proptest::collection::vec(row(), 1..75),
        trees in 1_u32..9,
        sample in 2_u32..=256,
        seed in any::<u64>(),
    ) {
        check_kernels(&rows, &probes, ForestParams { trees, sample }, seed);
    }

    #[test]
    fn any_bytes_load_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0_usize..1620, value in any::<u8>()) {
        prop_assert!(Forest::from_bytes(&bytes).is_err());
        bytes = small().to_bytes();
        bytes[at] = value;
        if let Ok(forest) = Forest::from_bytes(&bytes) {
            let mut scores = [0.0; 3];
            forest.score_rows(&[[0.0; 16], [f32::NAN; 16], [f32::MAX; 16]], &mut scores);
            prop_assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
        }
    }
}

fn small() -> Forest {
    Forest::fit(&blob(64), ForestParams { trees: 1, sample: 64 }, 3).unwrap()
}

/// Rows around 0 in all features, roughly normal.
fn blob(count: usize) -> Vec<[f32; FEATURES]> {
    let mut random = Random::new(11);
    (0..count).map(|_| std::array::from_fn(|_| ((0..6).map(|_| random.unit()).sum::<f64>() - 3.0) as f32)).collect()
}

#[test]
fn a_far_row_scores_higher_and_is_explained_by_what_is_far() {
    let rows = blob(4_000);
    let forest = Forest::fit(&rows, ForestParams::default(), 7).unwrap();
    let mut far = [0.0; 16];
    (far[3], far[9], far[14]) = (12.0, -9.0, 15.0);
    let mut scores = [0.0; 3];
    forest.score_rows(&[[0.0; 16], rows[0], far], &mut scores);
    assert!(scores[0] < 0.45 && scores[1] < 0.55, "ordinary rows: {scores:?}");
    assert!(scores[2] > scores[0] + 0.05, "far row: {scores:?}");
    let shares = forest.contributions(&far, &[0.0; 16]);
    assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(shares[3] + shares[9] + shares[14] > 0.6, "{shares:?}");
    assert_eq!(forest.contributions(&[0.0; 16], &[0.0; 16]).map(f32::to_bits), [0; 16], "nothing raises the reference's own score");
}

#[test]
fn the_same_rows_and_seed_give_the_same_bytes() {
    let rows = blob(600);
    let fit = |seed| Forest::fit(&rows, ForestParams { trees: 20, sample: 128 }, seed).unwrap().to_bytes();
    assert_eq!(fit(1), fit(1));
    assert_ne!(fit(1), fit(2));
    assert_eq!(fit(1)[..4], *b"TGIF");
}

#[test]
fn what_cannot_be_grown_is_refused() {
    let rows = blob(10);
    let refused = |rows: &[[f32; 16]], trees, sample| Forest::fit(rows, ForestParams { trees, sample }, 0).unwrap_err().to_string();
    assert!(refused(&rows[..1], 10, 64).contains("1 rows"));
    for (trees, sample) in [(0, 64), (2_000, 64), (10, 1), (10, 257)] {
        assert!(refused(&rows, trees, sample).contains("1 to 1000 trees"));
    }
    let constant = Forest::fit(&[[1.0; 16]; 50], ForestParams::default(), 0).unwrap();
    let mut scores = [0.0; 2];
    constant.score_rows(&[[1.0; 16], [9.0; 16]], &mut scores);
    assert!(scores.iter().all(|s| (s - 0.5).abs() < 1e-4), "no cut was possible, so nothing is isolated");
}

#[test]
fn malformed_bytes_say_what_is_wrong() {
    let good = small().to_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        Forest::from_bytes(&copy).unwrap_err().to_string()
    };
    assert!(with(0, b"nope").contains("does not begin with TGIF"));
    assert!(with(4, &[9, 0, 0, 0]).contains("format 9"));
    assert!(with(8, &[17, 0, 0, 0]).contains("17 features"));
    assert!(with(12, &[0, 2, 0, 0]).contains("512 rows"));
    assert!(with(16, &[2, 0, 0, 0]).contains("2 trees do not fit"));
    assert!(with(16, &[255; 4]).contains("do not fit"));
    assert!(with(20, &[0, 0, 0xc0, 0x7f]).contains("not a number"));
    assert!(Forest::from_bytes(&good[..good.len() - 1]).is_err());
}
