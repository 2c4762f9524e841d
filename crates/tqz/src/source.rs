//! A trained network ready to be compressed: the ONNX model, a runnable network, its weight tensors, and the side values
//! (biases, normalisation) that are stored beside them.

mod strip;

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, ArrayD, IxDyn};
use tqz_engine::{EngineDevice, Network};
use tqz_format::{LayerRecord, TqzFile, Vector};
use tqz_onnx::model::tensor_proto::DataType;
use tqz_onnx::model::{ModelProto, TensorProto};
use tqz_onnx::visit;

use crate::calibrate::{Calibration, CalibrationSpec};
use crate::error::TqzError;
use crate::fold::fold_weights;
use crate::inspect::plain_report;
use crate::layout::WeightLayer;
use crate::normalisation::{TakenScale, canonical_batch_norms};
use crate::repair::{Knob, knobs};
use crate::report::{LayerReport, bits_per_weight};
use crate::side::uses;

use strip::strip;

/// A network with its numbers sorted into weights, side values and the rest.
pub struct Source {
    network: Network,
    layers: Vec<WeightLayer>,
    weights: BTreeMap<usize, Vec<f32>>,
    /// Types of tensors of half precision, by place.
    types: BTreeMap<usize, DataType>,
    /// Scales of normalisations that are in the weights, by the place of these.
    taken_scales: BTreeMap<usize, TakenScale>,
    /// Of names, shapes and numbers of the weights.
    checksum: u32,
    file: TqzFile,
    /// Where side values may be changed.
    knobs: Vec<Knob>,
    /// Index of each named tensor in the graph's fixed visiting order.
    sites: BTreeMap<String, usize>,
    warnings: Vec<String>,
}

impl Source {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// A file that cannot be read, an operator that cannot be run, a network without weights to compress.
    pub fn read(path: &Path, device: &EngineDevice) -> Result<Self, TqzError> {
        let model = tqz_onnx::read_model(path)?;
        Self::new(model, device).map_err(|error| error.in_file(path))
    }

    /// Takes a model whose tensors are inline.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn new(mut model: ModelProto, device: &EngineDevice) -> Result<Self, TqzError> {
        let mut as_given = Network::from_model(&model, device)?;
        if fold_weights(&mut model, &as_given)? {
            as_given = Network::from_model(&model, device)?;
        }
        let names = named_tensors(&model);
        let taken_scales = canonical_batch_norms(&mut model, &as_given, &names)?;
        drop(as_given);
        let network = Network::from_model(&model, device)?;
        let mut warnings = Vec::new();
        let layers = weight_layers(&network, &names, &mut warnings)?;
        if layers.is_empty() {
            return Err(TqzError::Request(
                "the network has no Conv, Gemm or MatMul with constant weights; there is nothing to compress".to_owned(),
            ));
        }
        let weights = take_weights(&model, &layers)?;
        let uses = uses(&model);
        let types = types(&model);
        let file = strip(&mut model, &network, &layers, &names)?;
        let knobs = knobs(&network, |name| {
            let site = names.get(name).filter(|_| uses.get(name) == Some(&1));
            site.is_some_and(|&site| file.vectors.iter().any(|v| v.site as usize == site))
        });
        Ok(Self {
            network,
            checksum: checksum(&layers, &weights),
            layers,
            weights,
            types,
            taken_scales,
            file,
            knobs,
            sites: names,
            warnings,
        })
    }

    /// The network, to run.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The weight tensors, in execution order.
    pub fn layers(&self) -> &[WeightLayer] {
        &self.layers
    }

    /// The weight tensors as a table, before compression.
    pub fn layer_reports(&self) -> Vec<LayerReport> {
        self.layers.iter().map(plain_report).collect()
    }

    /// What could not be treated as one would wish.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Number of weights, each tensor counted once.
    pub fn weight_count(&self) -> u64 {
        self.layers.iter().map(|l| l.weights() as u64).sum()
    }

    /// Bits per weight of a file of so many bytes that holds this network.
    pub fn bits_per_weight(&self, file_bytes: u64) -> f64 {
        bits_per_weight(file_bytes, self.weight_count())
    }

    /// Starts collecting statistics of this network.
    pub fn calibration(&self, spec: CalibrationSpec) -> Calibration<'_> {
        Calibration::new((&self.network, &self.layers), self.checksum, spec)
    }

    /// Where side values may be changed, in execution order.
    pub(crate) fn knobs(&self) -> &[Knob] {
        &self.knobs
    }

    /// Index of a named tensor in the graph's fixed visiting order.
    pub(crate) fn site(&self, name: &str) -> Option<usize> {
        self.sites.get(name).copied()
    }

    /// Checksum of the weights, to know their statistics by.
    pub(crate) fn checksum(&self) -> u32 {
        self.checksum
    }

    /// The numbers of one weight tensor as a matrix.
    pub(crate) fn matrix(&self, layer: &WeightLayer) -> Result<Array2<f32>, TqzError> {
        match self.weights.get(&layer.site) {
            Some(values) => Ok(layer.to_matrix(values)),
            None => Err(TqzError::layer(
                &layer.name,
                "its tensor is not in the graph",
            )),
        }
    }

    /// A layer's weights as a decoder gives them back.
    ///
    /// # Errors
    /// A record that cannot be decoded or is of another layer.
    pub(crate) fn decoded(
        &self,
        layer: &WeightLayer,
        record: &LayerRecord,
    ) -> Result<ArrayD<f32>, TqzError> {
        let values = self.typed(layer.site, record.reconstruct()?)?;
        let array = ArrayD::from_shape_vec(IxDyn(&layer.dims), values);
        array.map_err(|e| TqzError::layer(&layer.name, e.to_string()))
    }

    /// The same with the tensor's name, as networks take weights.
    ///
    /// # Errors
    /// As [`Source::decoded`].
    pub(crate) fn decoded_by_name(
        &self,
        layer: &WeightLayer,
        record: &LayerRecord,
    ) -> Result<(String, ArrayD<f32>), TqzError> {
        Ok((layer.name.clone(), self.decoded(layer, record)?))
    }

    /// The record of one of the network's layers in a file that was made from it.
    ///
    /// # Errors
    /// A file of another network.
    pub(crate) fn record_of<'f>(
        &self,
        layer: &WeightLayer,
        file: &'f TqzFile,
    ) -> Result<&'f LayerRecord, TqzError> {
        let record = file.layers.iter().find(|r| r.site as usize == layer.site);
        record.ok_or_else(|| {
            TqzError::layer(
                &layer.name,
                "the file does not hold it; it was made from another network",
            )
        })
    }

    /// Those of these vectors that belong to stored tensors of the network, by name, as a decoder gives them back.
    ///
    /// # Errors
    /// Vectors that cannot be decoded or are of another network.
    pub(crate) fn decoded_vectors(
        &self,
        vectors: &[Vector],
    ) -> Result<BTreeMap<String, ArrayD<f32>>, TqzError> {
        let mut decoded = BTreeMap::new();
        for (name, &site) in &self.sites {
            let Some(vector) = vectors.iter().find(|v| v.site as usize == site) else {
                continue;
            };
            let Some(stored) = self.network.weight(name) else {
                continue;
            };
            let values = self.typed(site, vector.reconstruct()?)?;
            let array = ArrayD::from_shape_vec(stored.raw_dim(), values);
            let array = array.map_err(|e| TqzError::layer(name, e.to_string()))?;
            decoded.insert(name.clone(), array);
        }
        Ok(decoded)
    }

    /// Numbers rounded to the type that the tensor at this place is stored in.
    ///
    /// # Errors
    /// A type that cannot hold them.
    pub(crate) fn typed(&self, site: usize, values: Vec<f32>) -> Result<Vec<f32>, TqzError> {
        let Some(&kind) = self.types.get(&site) else {
            return Ok(values);
        };
        let mut tensor = TensorProto {
            data_type: Some(kind as i32),
            dims: vec![values.len() as i64],
            ..TensorProto::default()
        };
        tensor.set_f32(&values)?;
        Ok(tensor.to_f32()?)
    }

    /// The scale of a normalisation that is in this tensor's weights.
    pub(crate) fn taken_scale(&self, layer: &WeightLayer) -> Option<&TakenScale> {
        self.taken_scales.get(&layer.site)
    }

    /// Side values as the file stores them unless they are changed.
    pub(crate) fn vectors(&self) -> &[Vector] {
        &self.file.vectors
    }

    /// Everything of the file that does not depend on the step: graph, side values, verbatim tensors.
    pub(crate) fn file_without_layers(&self) -> TqzFile {
        self.file.clone()
    }
}

/// Graph-level tensors by the name that operators use: initializers and outputs of Constant nodes.
pub(crate) fn named_tensors(model: &ModelProto) -> BTreeMap<String, usize> {
    let mut by_place: BTreeMap<String, String> = BTreeMap::new();
    if let Some(graph) = &model.graph {
        for (i, tensor) in graph.initializer.iter().enumerate() {
            by_place.insert(
                format!("graph.initializer[{i}]"),
                tensor.name.clone().unwrap_or_default(),
            );
        }
        for (i, node) in graph.node.iter().enumerate() {
            let constant = node.op_type.as_deref() == Some("Constant");
            if let (true, [attribute], [output]) = (constant, &node.attribute[..], &node.output[..])
                && attribute.t.is_some()
            {
                by_place.insert(format!("graph.node[{i}].attribute[0].t"), output.clone());
            }
        }
    }
    let mut names = BTreeMap::new();
    visit::tensors(model, |site, _| {
        if let Some(name) = by_place.remove(&site.place) {
            names.entry(name).or_insert(site.index);
        }
    });
    names
}

/// One entry per weight tensor, with all the layers that use it.
fn weight_layers(
    network: &Network,
    names: &BTreeMap<String, usize>,
    warnings: &mut Vec<String>,
) -> Result<Vec<WeightLayer>, TqzError> {
    let mut layers: Vec<WeightLayer> = Vec::new();
    for (index, layer) in network.layers().iter().enumerate() {
        if let Some(known) = layers.iter_mut().find(|l| l.name == layer.weight) {
            known.uses.push(index);
            if !known.is_taken_alike(layer) {
                warnings.push(format!(
                    "node {:?} takes the weights {:?} in another way than {:?} does: what errors do is measured there alone",
                    layer.node, layer.weight, known.node
                ));
            }
            continue;
        }
        let Some(&site) = names.get(&layer.weight) else {
            warnings.push(format!(
                "node {:?}: its weights {:?} are computed from other tensors and kept as they are",
                layer.node, layer.weight
            ));
            continue;
        };
        layers.push(WeightLayer::new(layer, index, site)?);
    }
    Ok(layers)
}

fn take_weights(
    model: &ModelProto,
    layers: &[WeightLayer],
) -> Result<BTreeMap<usize, Vec<f32>>, TqzError> {
    let mut weights = BTreeMap::new();
    let mut failure = None;
    visit::tensors(model, |site, tensor| {
        let Some(layer) = layers.iter().find(|l| l.site == site.index) else {
            return;
        };
        match tensor.to_f32() {
            Ok(values)
                if values.len() == layer.weights() && values.iter().all(|v| v.is_finite()) =>
            {
                weights.insert(site.index, values);
            }
            Ok(values) if values.len() == layer.weights() => {
                failure = Some(TqzError::layer(
                    &layer.name,
                    "holds numbers that are not finite",
                ));
            }
            Ok(values) => {
                let told = format!(
                    "holds {} numbers, its shape says {}",
                    values.len(),
                    layer.weights()
                );
                failure = Some(TqzError::layer(&layer.name, told));
            }
            Err(error) => failure = Some(error.into()),
        }
    });
    failure.map_or(Ok(weights), Err)
}

/// Types of half precision, by place.
fn types(model: &ModelProto) -> BTreeMap<usize, DataType> {
    let mut types = BTreeMap::new();
    visit::tensors(model, |site, tensor| {
        if let Ok(kind @ (DataType::Float16 | DataType::Bfloat16)) = tensor.element_type() {
            types.insert(site.index, kind);
        }
    });
    types
}

/// What ties statistics to the weights they were measured with.
fn checksum(layers: &[WeightLayer], weights: &BTreeMap<usize, Vec<f32>>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for layer in layers {
        hasher.update(layer.name.as_bytes());
        for value in weights.get(&layer.site).into_iter().flatten() {
            hasher.update(&value.to_le_bytes());
        }
    }
    hasher.finalize()
}
