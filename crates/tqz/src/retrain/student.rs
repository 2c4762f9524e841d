//! The network that is trained: latents of all layers and side values, each with an optimizer's memory; how it runs, how
//! gradients change it, and the file it makes.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use rayon::prelude::*;
use tqz_engine::Network;
use tqz_format::{TqzFile, Vector};

use crate::error::TqzError;
use crate::retrain::layer::LatentLayer;
use crate::retrain::optimizer::Memory;
use crate::retrain::sides::SideVector;
use crate::retrain::spec::{Optimizer, RetrainSpec};
use crate::source::Source;
use crate::sum::Gradients;

/// Part of the rate at which latents of paths move: a path has more neighbours than a level, and one that is pushed about by the noise of
/// gradients changes sooner. ResNet-20 at .85 bits, whole rate: the loss doubles where the first levels change.
const PATH_RATE: f32 = 0.4;

/// One layer with what its training remembers.
struct Trained {
    layer: LatentLayer,
    /// Of every matrix.
    memories: Vec<Memory>,
    /// Of every matrix' step.
    step_memories: Vec<Memory>,
}

/// Rates of one step, and the weight of a bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepRates {
    /// Number of the step, from 0.
    pub(crate) step: usize,
    /// What is left of the rates.
    pub(crate) fall: f32,
    /// Weight of a bit in units of the gradients' root mean square.
    pub(crate) pull: f32,
}

/// The network in training.
pub(crate) struct Student {
    layers: Vec<Trained>,
    sides: Vec<(SideVector, Memory)>,
    /// The original's graph with all side values of the file as it began, those that are not trained among them.
    base: Network,
    file: TqzFile,
    spec: RetrainSpec,
    /// λ of the choice of levels.
    lambda: f32,
}

impl Student {
    /// The network of a file that was made from `source`.
    ///
    /// # Errors
    /// A file made from another network.
    pub(crate) fn new(source: &Source, file: TqzFile, spec: RetrainSpec) -> Result<Self, TqzError> {
        let layers = trained_layers(source, &file, spec.optimizer)?;
        let sides = trained_sides(source, &file, spec.optimizer)?;
        let begun = source.decoded_vectors(&file.vectors)?;
        let mut student = Self {
            layers,
            sides,
            base: source.network().with_weights(&begun)?,
            file,
            lambda: spec.lambda,
            spec,
        };
        match student.is_modelled() {
            true => student.sides.iter_mut().for_each(|(side, _)| side.loosen()),
            // Levels of fixed width make no room for what scales that differ take.
            false => student.sides.retain(|(side, _)| !side.is_of_ones()),
        }
        student.settle();
        Ok(student)
    }

    fn settle(&mut self) {
        let lambda = self.lambda;
        let layers = self.layers.par_iter_mut();
        layers.for_each(|trained| trained.layer.settle(lambda));
    }

    /// Names of the tensors at which gradients are wanted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let layers = self.layers.iter().map(|t| t.layer.layer().name.as_str());
        layers
            .chain(self.sides.iter().map(|(s, _)| s.name.as_str()))
            .collect()
    }

    /// The network as it is now, on the original's graph.
    ///
    /// # Errors
    /// Numbers that do not fit the graph.
    pub(crate) fn network(&self) -> Result<Network, TqzError> {
        let weights = self.layers.par_iter();
        let weights = weights.map(|t| (t.layer.layer().name.clone(), t.layer.weights()));
        let mut weights: BTreeMap<String, ArrayD<f32>> = weights.collect();
        weights.extend(self.sides.iter().map(|(s, _)| (s.name.clone(), s.values())));
        Ok(self.base.with_weights(&weights)?)
    }

    /// Takes one step along gradients at the tensors of [`Self::names`].
    pub(crate) fn step(&mut self, gradients: &Gradients, rates: StepRates) {
        let spec = self.spec;
        let at_layers: Vec<Vec<Vec<f32>>> = self
            .layers
            .par_iter()
            .map(|t| t.gradients(gradients.get(&t.layer.layer().name)))
            .collect();
        let weight = rates.pull * root_mean_square(&at_layers);
        let lambda = self.lambda;
        let layers = self.layers.par_iter_mut().zip(at_layers);
        layers.for_each(|(trained, gradient)| {
            trained.step(gradient, weight, (&spec, rates));
            trained.layer.settle(lambda);
        });
        for (side, memory) in &mut self.sides {
            if let Some(gradient) = gradients.get(&side.name) {
                let gradient = side.gradient(gradient);
                let rate = (spec.side_rate * rates.fall, rates.step);
                memory.step(&mut side.units, &gradient, rate);
            }
        }
    }

    /// Looks again at what levels cost; levels are chosen by this λ from now on.
    pub(crate) fn renew(&mut self, lambda: f32) {
        self.lambda = lambda;
        let layers = self.layers.par_iter_mut();
        layers.for_each(|trained| trained.layer.renew(lambda));
    }

    /// Whether the size depends on the levels.
    pub(crate) fn is_modelled(&self) -> bool {
        let matrices = self.layers.iter().flat_map(|t| t.layer.matrices());
        matrices.into_iter().any(|(m, _)| m.is_modelled())
    }

    /// The file as it would be now, levels chosen with the least `error² + lambda·bits`.
    ///
    /// # Errors
    /// Numbers that the format cannot hold.
    pub(crate) fn file(&self, lambda: f32) -> Result<Vec<u8>, TqzError> {
        self.file_with(lambda, |side| side.vector())
    }

    /// The same with side values in steps of so many octaves more.
    ///
    /// # Errors
    /// Numbers that the format cannot hold.
    pub(crate) fn file_with_coarser_sides(
        &self,
        lambda: f32,
        octaves: i32,
    ) -> Result<Vec<u8>, TqzError> {
        self.file_with(lambda, |side| side.coarser_vector(octaves))
    }

    fn file_with(
        &self,
        lambda: f32,
        vector: impl Fn(&SideVector) -> Vector,
    ) -> Result<Vec<u8>, TqzError> {
        let sections = self
            .layers
            .par_iter()
            .map(|t| Ok(t.layer.record(lambda)?.encode()?))
            .collect::<Result<Vec<_>, TqzError>>()?;
        let mut file = self.file.clone();
        for (side, _) in &self.sides {
            let vector = vector(side);
            if let Some(old) = file.vectors.iter_mut().find(|v| v.site == vector.site) {
                *old = vector;
            }
        }
        Ok(file.encode_with_layers(sections)?)
    }

    /// Everything that training changes, by name.
    pub(crate) fn arrays(&self) -> Vec<(String, Vec<f32>)> {
        let mut arrays = Vec::new();
        for trained in &self.layers {
            trained.visit(&mut |name, values| arrays.push((name, values.to_vec())));
        }
        for (side, memory) in &self.sides {
            arrays.push((format!("{}/units", side.name), side.units.clone()));
            arrays.push((format!("{}/mean", side.name), memory.mean.clone()));
            arrays.push((format!("{}/square", side.name), memory.square.clone()));
        }
        arrays
    }

    /// Puts back what [`Self::arrays`] gave, with levels chosen by this λ.
    ///
    /// # Errors
    /// Arrays that are missing or of another size.
    pub(crate) fn restore(
        &mut self,
        arrays: Vec<(String, Vec<f32>)>,
        lambda: f32,
    ) -> Result<(), TqzError> {
        self.lambda = lambda;
        let mut arrays: BTreeMap<String, Vec<f32>> = arrays.into_iter().collect();
        let mut wrong = None;
        let mut take = |name: String, values: &mut Vec<f32>| match arrays.remove(&name) {
            Some(found) if found.len() == values.len() => *values = found,
            _ => wrong = Some(name),
        };
        for trained in &mut self.layers {
            trained.visit_mut(&mut take);
        }
        for (side, memory) in &mut self.sides {
            take(format!("{}/units", side.name), &mut side.units);
            take(format!("{}/mean", side.name), &mut memory.mean);
            take(format!("{}/square", side.name), &mut memory.square);
        }
        self.settle();
        match wrong {
            Some(name) => Err(TqzError::Request(format!(
                "the checkpoint cannot be used: array {name} is missing or has another size"
            ))),
            None => Ok(()),
        }
    }
}

impl Trained {
    fn new(layer: LatentLayer, optimizer: Optimizer) -> Self {
        let memory = |len: usize| Memory::new(optimizer, len);
        Self {
            memories: layer
                .matrices()
                .map(|(m, _)| memory(m.units.len()))
                .collect(),
            step_memories: layer.matrices().map(|_| memory(1)).collect(),
            layer,
        }
    }

    /// Gradients at the values of all matrices.
    fn gradients(&self, at_weights: Option<&ArrayD<f32>>) -> Vec<Vec<f32>> {
        let Some(at_weights) = at_weights else {
            return self
                .layer
                .matrices()
                .map(|(m, _)| vec![0.0; m.units.len()])
                .collect();
        };
        let at_values = self.layer.backward(at_weights);
        let matrices = self.layer.matrices().zip(at_values);
        matrices.map(|((m, _), g)| m.to_units(&g)).collect()
    }

    fn step(
        &mut self,
        gradients: Vec<Vec<f32>>,
        weight: f32,
        (spec, rates): (&RetrainSpec, StepRates),
    ) {
        let bases: Vec<bool> = self.layer.matrices().map(|(_, basis)| basis).collect();
        let memories = self.memories.iter_mut().zip(&mut self.step_memories);
        let about = memories.zip(bases);
        let matrices = self.layer.matrices_mut().zip(gradients);
        for ((latent, mut gradient), ((memory, step_memory), basis)) in matrices.zip(about) {
            if spec.step_rate > 0.0 {
                let slope = latent.slope_of_step(&gradient);
                let mut octaves = [latent.octaves];
                let rate = (spec.step_rate * rates.fall, rates.step);
                step_memory.step(&mut octaves, &[slope], rate);
                latent.octaves = octaves[0];
            }
            if weight > 0.0 {
                latent.add_pull(weight, &mut gradient);
            }
            let rate = if basis {
                spec.basis_rate
            } else {
                spec.level_rate
            };
            let part = if latent.is_dependent() {
                PATH_RATE
            } else {
                1.0
            };
            memory.step(
                &mut latent.units,
                &gradient,
                (part * rate * rates.fall, rates.step),
            );
        }
    }

    fn visit(&self, act: &mut impl FnMut(String, &[f32])) {
        let name = |index: usize, what: &str| format!("{}/{index}/{what}", self.layer.layer().name);
        for (index, (latent, _)) in self.layer.matrices().enumerate() {
            let (memory, step) = (&self.memories[index], &self.step_memories[index]);
            act(name(index, "units"), &latent.units);
            act(name(index, "costs"), &latent.costs().numbers());
            act(name(index, "mean"), &memory.mean);
            act(name(index, "square"), &memory.square);
            act(
                name(index, "step"),
                &[latent.octaves, step.mean[0], step.square[0]],
            );
        }
    }

    fn visit_mut(&mut self, act: &mut impl FnMut(String, &mut Vec<f32>)) {
        let layer = self.layer.layer().name.clone();
        let name = |index: usize, what: &str| format!("{layer}/{index}/{what}");
        for (index, latent) in self.layer.matrices_mut().enumerate() {
            let (memory, step) = (&mut self.memories[index], &mut self.step_memories[index]);
            act(name(index, "units"), &mut latent.units);
            let mut costs = latent.costs().numbers();
            act(name(index, "costs"), &mut costs);
            latent.costs_mut().restore(&costs);
            act(name(index, "mean"), &mut memory.mean);
            act(name(index, "square"), &mut memory.square);
            let mut of_step = vec![latent.octaves, step.mean[0], step.square[0]];
            act(name(index, "step"), &mut of_step);
            (latent.octaves, step.mean[0], step.square[0]) = (of_step[0], of_step[1], of_step[2]);
        }
    }
}

/// The latents of every layer of the network.
fn trained_layers(
    source: &Source,
    file: &TqzFile,
    optimizer: Optimizer,
) -> Result<Vec<Trained>, TqzError> {
    let layers = source.layers().iter().map(|layer| {
        let record = source.record_of(layer, file)?;
        Ok(Trained::new(LatentLayer::new(layer, record)?, optimizer))
    });
    let layers: Vec<Trained> = layers.collect::<Result<_, TqzError>>()?;
    if layers.len() != file.layers.len() {
        return Err(TqzError::Request(format!(
            "the file holds {} layers, the network has {}; it was made from another network",
            file.layers.len(),
            layers.len()
        )));
    }
    Ok(layers)
}

/// The side vectors that the file has of scales and offsets, by name.
fn trained_sides(
    source: &Source,
    file: &TqzFile,
    optimizer: Optimizer,
) -> Result<Vec<(SideVector, Memory)>, TqzError> {
    let knobs = source.knobs().iter();
    let mut names: Vec<&String> = knobs
        .flat_map(|k| k.scale.iter().chain([&k.offset]))
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut sides = Vec::new();
    for name in names {
        let site = source.site(name).unwrap_or(usize::MAX);
        let stored = source.network().weight(name);
        let vector = file.vectors.iter().find(|v| v.site as usize == site);
        if let (Some(vector), Some(stored)) = (vector, stored) {
            let side = SideVector::new(name, stored.shape(), vector)?;
            let memory = Memory::new(optimizer, side.units.len());
            sides.push((side, memory));
        }
    }
    Ok(sides)
}

/// Of all gradients together.
fn root_mean_square(gradients: &[Vec<Vec<f32>>]) -> f32 {
    let all = gradients.iter().flatten();
    let count: usize = all.clone().map(Vec::len).sum();
    let power: f64 = all
        .map(|g| g.iter().map(|v| f64::from(v * v)).sum::<f64>())
        .sum();
    (power / count.max(1) as f64).sqrt() as f32
}
