//! Each model alone, on each kernel of this machine: the same rows, and the same bits from all.

use std::collections::BTreeMap;
use std::sync::Arc;

use threatguard::core::detect::forest::Forest;
use threatguard::core::detect::lstm::{Network, State};
use threatguard::core::detect::trees::Trees;
use threatguard::core::features::row::{MODEL_WIDTH, ModelRow};
use threatguard::models::forest_fit::ForestParams;
use threatguard::native::Kernel;

use crate::Figures;
use crate::support::timed;
use crate::whole::Whole;

/// Rows that are timed; the models are fitted to more.
const TIMED: usize = 16_384;
/// Entities the steps of the LSTM go over: such that their states fit the caches, and such that they do not.
const ENTITIES: [usize; 2] = [1_000, 1_000_000];
/// Steps handed over at once.
const BATCHES: [usize; 2] = [1, 64];

pub struct Kernels {
    rows: Vec<ModelRow>,
    labels: Vec<f32>,
    forest: Forest,
    trees: Arc<Trees>,
    networks: Vec<(Kernel, Network)>,
    /// By kernel, entities and batch, so that each case goes its own way alike.
    states: BTreeMap<(usize, usize, usize), Vec<State>>,
    /// Of a kernel's results so far, by case.
    digests: BTreeMap<String, Vec<u64>>,
    rounds: usize,
}

impl Kernels {
    pub fn of(whole: &mut Whole) -> Result<Self, String> {
        let forest = Forest::fit(&whole.rows, ForestParams::default(), 1).map_err(|error| error.to_string())?;
        let (Some(trees), Some(network)) = (whole.models.trees.clone(), whole.models.lstm.clone()) else {
            return Err("no models were fitted".into());
        };
        println!("forest of {} trees, {} boosted trees, LSTM of {} features", forest.trees().len(), trees.len(), network.width());
        let networks =
            Kernel::available().iter().filter(has_its_own).map(|kernel| (*kernel, Network::clone(&network).on(*kernel))).collect();
        let (rows, labels) = (whole.rows[..TIMED].to_vec(), whole.labels[..TIMED].to_vec());
        Ok(Self { rows, labels, forest, trees, networks, states: BTreeMap::new(), digests: BTreeMap::new(), rounds: 0 })
    }

    pub fn rows(&self) -> &[ModelRow] {
        &self.rows
    }
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// Every kernel once, in every case.
    pub fn round(&mut self, figures: &mut Figures) -> Result<(), String> {
        let mut out = vec![0.0; self.rows.len()];
        for kernel in Kernel::available() {
            let ((), time) = timed(|| self.forest.score_rows_with(*kernel, &self.rows, &mut out));
            self.add(figures, ("isolation_forest", ""), *kernel, time, digest(&out));
        }
        for kernel in Kernel::available().iter().filter(has_its_own) {
            let ((), time) = timed(|| self.trees.margins_with(*kernel, self.rows.as_flattened(), &mut out));
            self.add(figures, ("boosted_trees", ""), *kernel, time, digest(&out));
        }
        for (entities, batch) in ENTITIES.iter().flat_map(|entities| BATCHES.map(|batch| (*entities, batch))) {
            for at in 0..self.networks.len() {
                let case = format!(", {entities} entities, {batch} at once");
                let states = self.states.entry((at, entities, batch)).or_insert_with(|| vec![State::default(); entities]);
                let (kernel, network) = &self.networks[at];
                let (kernel, (digest, time)) = (*kernel, timed(|| steps(network, states, (&self.rows, self.rounds), batch)));
                self.add(figures, ("lstm_autoencoder", &case), kernel, time, digest);
            }
        }
        self.rounds += 1;
        self.check()
    }

    /// The bar is for the best kernel; of the LSTM, for many entities in batches.
    fn add(&mut self, figures: &mut Figures, (model, case): (&str, &str), kernel: Kernel, time: std::time::Duration, digest: u64) {
        let nanos = time.as_nanos() as f64 / TIMED as f64;
        figures.add(format!("{model}: {kernel:?}{case}"), nanos);
        let barred = format!(", {} entities, {} at once", ENTITIES[1], BATCHES[1]);
        if kernel == Kernel::best() && (case.is_empty() || case == barred) {
            figures.add(model, nanos);
        }
        let digests = self.digests.entry(format!("{model}{case}")).or_insert_with(|| vec![0; 3]);
        digests[kernel as usize] = digests[kernel as usize].wrapping_mul(31).wrapping_add(digest);
    }

    fn check(&self) -> Result<(), String> {
        for (case, digests) in &self.digests {
            let mut known = digests.iter().filter(|digest| **digest != 0);
            let first = known.next();
            if known.any(|other| Some(other) != first) {
                return Err(format!("kernels differ in their bits: {case}"));
            }
        }
        Ok(())
    }

    /// Of everything that was computed.
    pub fn digest(&self) -> u64 {
        self.digests.values().map(|kernels| kernels[0]).fold(0, |digest, one| digest.wrapping_mul(31).wrapping_add(one))
    }
}

/// Symmetric trees and the LSTM have no kernel between the portable one and AVX-512.
fn has_its_own(kernel: &&Kernel) -> bool {
    **kernel != Kernel::Avx2
}

/// A step for each row over the entities in turn, far apart as those of a stream are; a digest of all errors. Each round has others.
fn steps(network: &Network, states: &mut [State], (rows, round): (&[ModelRow], usize), batch: usize) -> u64 {
    let mut errors = vec![0.0; batch];
    let mut sum = 0_u64;
    for (number, rows) in rows.chunks_exact(batch).enumerate() {
        let at = ((round * TIMED + number * batch) * 61) % (states.len() - batch + 1);
        let mut chosen: Vec<&mut State> = states[at..at + batch].iter_mut().collect();
        let mut views: [&[f32]; BATCHES[1]] = [&[0.0; MODEL_WIDTH]; BATCHES[1]];
        views.iter_mut().zip(rows).for_each(|(view, row)| *view = row);
        network.steps(&mut chosen, &views[..batch], &mut errors);
        sum = sum.wrapping_mul(31).wrapping_add(digest(&errors));
    }
    sum
}

fn digest(values: &[f32]) -> u64 {
    values.iter().fold(1, |digest: u64, value| digest.wrapping_mul(31).wrapping_add(u64::from(value.to_bits())))
}
