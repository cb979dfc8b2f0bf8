//! One step after another down the loss: shards of a group, their gradients added in order, Adam. Must never depend on threads.

use super::Settings;
use super::data::{Data, Piece};
use super::pass::{Memory, run};
use crate::core::detect::lstm::Layers;

/// A group is always cut into so many, however many threads there are: sums of floats depend on how they are grouped.
const SHARDS: usize = 4;
const FIRST_DECAY: f32 = 0.9;
const SECOND_DECAY: f32 = 0.999;
const TINY: f32 = 1e-8;

pub(super) struct Descent {
    settings: Settings,
    rate: f32,
    first: Vec<f32>,
    second: Vec<f32>,
    /// `1 - decay^steps` of both moments.
    corrections: [f64; 2],
}

/// Some of a group's pieces, longest first, with their memories and what they add up to.
struct Shard {
    pieces: Vec<Piece>,
    memory: Memory,
    gradient: Vec<f32>,
    loss: f64,
    elements: f32,
}

impl Descent {
    pub(super) fn new(parameters: usize, settings: &Settings) -> Self {
        Self {
            settings: *settings,
            rate: settings.learning_rate,
            first: vec![0.0; parameters],
            second: vec![0.0; parameters],
            corrections: [1.0; 2],
        }
    }

    pub(super) fn slow_down(&mut self) {
        self.rate *= 0.5;
    }

    /// Goes through a group's pieces, one step of the descent a stretch.
    pub(super) fn learn(&mut self, layers: &mut Layers, data: &Data, group: &[Piece]) {
        let mut shards = shards(layers, group, true);
        let longest = group.first().map_or(0, |piece| piece.length);
        for from in (0..longest).step_by(self.settings.stretch) {
            self.pass(layers, data, &mut shards, from);
            let elements: f32 = shards.iter().map(|shard| shard.elements).sum();
            let Some((total, others)) = shards.split_first_mut() else { return };
            for other in others {
                total.gradient.iter_mut().zip(&other.gradient).for_each(|(total, other)| *total += other);
            }
            self.descend(&mut layers.parameters, &mut total.gradient, elements);
        }
    }

    /// Mean loss of an element.
    pub(super) fn loss(&self, layers: &Layers, data: &Data, groups: &[Vec<Piece>]) -> f64 {
        let mut total = 0.0;
        for group in groups {
            let mut shards = shards(layers, group, false);
            let longest = group.first().map_or(0, |piece| piece.length);
            for from in (0..longest).step_by(self.settings.stretch) {
                self.pass(layers, data, &mut shards, from);
                total += shards.iter().map(|shard| shard.loss).sum::<f64>();
            }
        }
        total / data.elements().max(1) as f64
    }

    fn pass(&self, layers: &Layers, data: &Data, shards: &mut [Shard], from: usize) {
        let steps = self.settings.stretch;
        let each = shards.len().div_ceil(self.settings.threads.clamp(1, SHARDS)).max(1);
        if each >= shards.len() {
            shards.iter_mut().for_each(|shard| shard.pass(layers, data, from, steps));
            return;
        }
        std::thread::scope(|scope| {
            for part in shards.chunks_mut(each) {
                scope.spawn(move || part.iter_mut().for_each(|shard| shard.pass(layers, data, from, steps)));
            }
        });
    }

    fn descend(&mut self, parameters: &mut [f32], gradient: &mut [f32], elements: f32) {
        let share = 1.0 / elements.max(1.0);
        let norm = libm::sqrt(gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum()) as f32 * share;
        let factor = share * if norm > self.settings.gradient_norm_max { self.settings.gradient_norm_max / norm } else { 1.0 };
        self.corrections[0] *= f64::from(FIRST_DECAY);
        self.corrections[1] *= f64::from(SECOND_DECAY);
        let [first, second] = self.corrections.map(|power| 1.0 - power);
        let rate = (f64::from(self.rate) * libm::sqrt(second) / first) as f32;
        // Taken from the weights themselves, not from the gradient (Loshchilov, Hutter, "Decoupled Weight Decay", 2019).
        let kept = 1.0 - self.rate * self.settings.weight_decay;
        let tiny = TINY * libm::sqrt(second) as f32;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let gradient = *gradient * factor;
            *first = FIRST_DECAY * *first + (1.0 - FIRST_DECAY) * gradient;
            *second = SECOND_DECAY * *second + (1.0 - SECOND_DECAY) * gradient * gradient;
            *parameter = *parameter * kept - rate * *first / (second.sqrt() + tiny);
        }
    }
}

fn shards(layers: &Layers, group: &[Piece], learning: bool) -> Vec<Shard> {
    let parameters = if learning { layers.parameters.len() } else { 0 };
    let shard = |first: usize| {
        let pieces: Vec<Piece> = group.iter().copied().skip(first).step_by(SHARDS).collect();
        let memory = Memory::new(pieces.len(), layers.shape.hidden);
        Shard { pieces, memory, gradient: vec![0.0; parameters], loss: 0.0, elements: 0.0 }
    };
    (0..SHARDS).map(shard).collect()
}

impl Shard {
    fn pass(&mut self, layers: &Layers, data: &Data, from: usize, steps: usize) {
        let live = self.pieces.partition_point(|piece| piece.length > from);
        self.pieces.truncate(live);
        self.memory.keep(live, layers.shape.hidden);
        self.gradient.fill(0.0);
        (self.loss, self.elements) = (0.0, 0.0);
        let Some(longest) = self.pieces.first().map(|piece| piece.length) else { return };
        let stretch = data.stretch(&self.pieces, from, steps.min(longest - from));
        self.elements = stretch.present.iter().sum();
        let gradient = if self.gradient.is_empty() { None } else { Some(self.gradient.as_mut_slice()) };
        self.loss = run(layers, &stretch, &mut self.memory, gradient);
    }
}
