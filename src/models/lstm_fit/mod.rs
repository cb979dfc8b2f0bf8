//! Training of LSTM networks on benign sequences: of rows (the autoencoder) and of symbols (system-call traces).
//!
//! Truncated back-propagation through time with Adam (Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2015), gradients
//! cut to a largest norm, and an end as soon as held-out sequences gain nothing more. Must never look at a label; the same
//! sequences, settings and seed give the same network, whatever the number of threads.

mod data;
mod descent;
mod pass;
mod product;
mod scaling;

#[cfg(test)]
mod tests;

use data::Data;
use descent::Descent;

use super::matrix::Matrix;
use super::random::Random;
use crate::core::detect::lstm::{Layers, Network, Shape, SymbolNetwork};
use crate::error::{Error, Result};

/// How a network is trained.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Cells; a network of rows has 32.
    pub hidden: usize,
    /// Units of the bottleneck through which a row helps to rebuild itself: 8, or 0 for a row rebuilt from the past alone. The
    /// latter is the default: on labelled traffic it tells more, because what is odd cannot help to rebuild itself.
    pub code: usize,
    pub epochs: usize,
    /// Epochs without gain before the end; each halves the step.
    pub patience: usize,
    /// Sequences a step of the descent looks at.
    pub batch: usize,
    /// Elements that a gradient reaches back.
    pub stretch: usize,
    pub learning_rate: f32,
    pub gradient_norm_max: f32,
    /// Share of each weight that a step takes away, in learning rates: networks with more weights than evidence need it.
    pub weight_decay: f32,
    /// Threads to use; the result does not depend on it.
    pub threads: usize,
    /// Features that are neither looked at nor judged, as a set of bits.
    #[serde(default)]
    pub ignored: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hidden: 32,
            code: 0,
            epochs: 60,
            patience: 4,
            batch: 32,
            stretch: 32,
            learning_rate: 3e-3,
            gradient_norm_max: 1.0,
            weight_decay: 0.0,
            threads: 1,
            ignored: 0,
        }
    }
}

impl Settings {
    /// For traces of symbols.
    #[must_use]
    pub fn symbols() -> Self {
        Self { hidden: 128, stretch: 64, weight_decay: 0.1, ..Self::default() }
    }

    fn check(&self) -> Result<()> {
        let counts = [self.hidden, self.epochs, self.batch, self.stretch, self.threads];
        let rates = [self.learning_rate, self.gradient_norm_max];
        if counts.contains(&0) || rates.iter().any(|rate| !(rate.is_finite() && *rate > 0.0)) || !(0.0..1.0).contains(&self.weight_decay) {
            return Err(Error::config(
                "LSTM training needs cells, epochs, batch, stretch, threads, learning rate and gradient norm above 0, and a weight \
                 decay below 1",
            ));
        }
        Ok(())
    }
}

/// Fits the autoencoder to sequences of rows, one matrix an entity, in order of time. Missing values count as ordinary.
///
/// `validation` are other benign sequences: they end the training and set what an ordinary error is. `progress` is told how
/// much is done, of how much at most, and may end it. An error where there is nothing to learn from.
pub fn fit_rows(
    sequences: &[Matrix],
    validation: &[Matrix],
    settings: &Settings,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Network> {
    settings.check()?;
    let width = sequences.first().map_or(0, Matrix::width);
    if sequences.iter().chain(validation).any(|matrix| matrix.width() != width) {
        return Err(Error::config("LSTM training needs rows of one width"));
    }
    let shape = Shape { inputs: width, hidden: settings.hidden, code: settings.code };
    let mut weights = scaling::of_features(sequences, Layers { shape, parameters: vec![0.0; shape.parameters()] }, settings.ignored);
    // Refuses impossible shapes before the work.
    Network::new(weights.clone())?;
    let train = Data::rows(sequences, &weights);
    let held_out = Data::rows(validation, &weights);
    weights.layers = train_layers(shape, &train, &held_out, settings, seed, progress)?;
    weights.inverse_error = scaling::of_errors(&Network::new(weights.clone())?, validation, settings.ignored);
    Network::new(weights)
}

/// Fits a network to traces of symbols below `alphabet`; 0 stands for all that are not told apart.
pub fn fit_symbols(
    traces: &[Vec<u32>],
    validation: &[Vec<u32>],
    alphabet: usize,
    settings: &Settings,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<SymbolNetwork> {
    settings.check()?;
    if settings.code != 0 {
        return Err(Error::config("LSTM training on symbols knows no bottleneck; set code to 0"));
    }
    let shape = Shape { inputs: alphabet, hidden: settings.hidden, code: 0 };
    SymbolNetwork::new(Layers { shape, parameters: vec![0.0; shape.parameters()] })?;
    let train = Data::symbols(traces, alphabet);
    let held_out = Data::symbols(validation, alphabet);
    SymbolNetwork::new(train_layers(shape, &train, &held_out, settings, seed, progress)?)
}

fn train_layers(
    shape: Shape,
    train: &Data,
    held_out: &Data,
    settings: &Settings,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Layers> {
    if train.elements() < 2 || held_out.elements() < 2 {
        return Err(Error::config(format!(
            "LSTM training needs sequences to learn from and others to hold out; there are {} and {} elements",
            train.elements(),
            held_out.elements()
        )));
    }
    let mut random = Random::new(seed);
    let mut layers = Layers { shape, parameters: first_parameters(shape, train.is_of_symbols(), &mut random) };
    let mut descent = Descent::new(shape.parameters(), settings);
    let (mut best, mut best_loss, mut idle) = (layers.parameters.clone(), f64::INFINITY, 0);
    for epoch in 0..settings.epochs {
        let groups = train.groups(settings.batch, Some(&mut random));
        for (number, group) in groups.iter().enumerate() {
            descent.learn(&mut layers, train, group);
            progress(epoch * groups.len() + number + 1, settings.epochs * groups.len())?;
        }
        let loss = descent.loss(&layers, held_out, &held_out.groups(settings.batch, None));
        if !loss.is_finite() {
            return Err(Error::permanent("LSTM training went astray: the loss is not a number; try a lower learning rate"));
        }
        if loss < best_loss * (1.0 - 1e-4) {
            (best_loss, idle) = (loss, 0);
            best.copy_from_slice(&layers.parameters);
        } else {
            idle += 1;
            descent.slow_down();
            if idle >= settings.patience {
                break;
            }
        }
    }
    layers.parameters = best;
    Ok(layers)
}

/// Uniform within the inverse root of each layer's inputs; what is to be forgotten begins with a bias of 1.
fn first_parameters(shape: Shape, symbols: bool, random: &mut Random) -> Vec<f32> {
    let mut parameters = vec![0.0; shape.parameters()];
    let mut fill = |values: &mut [f32], terms: usize| {
        let bound = 1.0 / libm::sqrt(terms.max(1) as f64);
        values.iter_mut().for_each(|value| *value = ((2.0 * random.unit() - 1.0) * bound) as f32);
    };
    fill(&mut parameters[shape.gates()], shape.hidden);
    if symbols {
        // Of all inputs only one is 1: its weights are as large as what a sum of many would be.
        fill(&mut parameters[4 * shape.hidden..(1 + shape.inputs) * 4 * shape.hidden], 2);
    }
    fill(&mut parameters[shape.squeeze()], shape.inputs + shape.hidden);
    fill(&mut parameters[shape.decode()], shape.code + shape.hidden);
    parameters[shape.hidden..2 * shape.hidden].fill(1.0);
    parameters
}
