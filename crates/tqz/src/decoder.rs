//! Bytes → CompressedModel → ONNX: puts the decoded numbers back under their original names, shapes and types.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tqz_format::{DecodeLimits, Directory, TqzFile};
use tqz_onnx::model::{ModelProto, TensorProto};
use tqz_onnx::visit;

use crate::error::TqzError;
use crate::inspect::{record_reports, shares};
use crate::progress::{Progress, Silent};
use crate::report::{LayerReport, Share, bits_per_weight};

/// A decoded `.tqz` file.
#[derive(Debug, Clone)]
pub struct CompressedModel {
    file: TqzFile,
}

/// What [`CompressedModel::inspect`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Per weight tensor.
    pub layers: Vec<LayerReport>,
    /// Where the bytes are.
    pub shares: Vec<Share>,
}

/// The first node of the main graph that takes each value: its name and operator.
fn users(model: &ModelProto) -> BTreeMap<String, (String, String)> {
    let mut users = BTreeMap::new();
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        for input in &node.input {
            let user = (
                node.name.clone().unwrap_or_default(),
                node.op_type.clone().unwrap_or_default(),
            );
            users.entry(input.clone()).or_insert(user);
        }
    }
    users
}

/// Numbers to put into one tensor of the graph.
enum Content {
    Values(Vec<f32>),
    Bytes(Vec<u8>),
}

impl CompressedModel {
    /// Decodes the bytes of a file.
    ///
    /// # Errors
    /// Bytes that are no `.tqz` file, are damaged, or exceed the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, TqzError> {
        Self::decode_with(bytes, &Silent)
    }

    /// The same for a caller who wants to know how far it is; layers are decoded in parallel.
    ///
    /// # Errors
    /// As [`CompressedModel::decode`].
    pub fn decode_with(bytes: &[u8], progress: &dyn Progress) -> Result<Self, TqzError> {
        let limits = DecodeLimits::default();
        let directory = Directory::read(bytes)?;
        directory.verify(bytes)?;
        let mut file = TqzFile::decode_without_layers(bytes, &directory, &limits)?;
        progress.begin("decoding layers", directory.layers() as u64);
        let read = |index| {
            let layer = directory.read_layer(bytes, index, &limits);
            progress.advance(1);
            layer
        };
        let layers: Vec<_> = (0..directory.layers()).into_par_iter().map(read).collect();
        progress.finish();
        // In their order, so that of several damaged layers the first is reported.
        file.layers = layers.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { file })
    }

    /// The parts of the file.
    pub fn file(&self) -> &TqzFile {
        &self.file
    }

    /// Number of weights in compressed layers.
    pub fn weights(&self) -> u64 {
        self.file.meta.weights
    }

    /// Bits per weight of a file of so many bytes that holds this network.
    pub fn bits_per_weight(&self, file_bytes: u64) -> f64 {
        bits_per_weight(file_bytes, self.weights())
    }

    /// What the file holds, layer by layer and byte by byte, with the names of its graph.
    ///
    /// # Errors
    /// A graph that cannot be decoded.
    pub fn inspect(&self) -> Result<Inspection, TqzError> {
        let model = tqz_onnx::decode_model(&self.file.graph)?;
        let sizes = self.file.section_sizes()?;
        let mut layers = record_reports(&self.file, &sizes);
        let users = users(&model);
        visit::tensors(&model, |site, tensor| {
            let records = self.file.layers.iter().zip(&mut layers);
            for (_, report) in records.filter(|(record, _)| record.site as usize == site.index) {
                let name = tensor.name.clone().filter(|name| !name.is_empty());
                report.name = name.unwrap_or_else(|| site.place.clone());
                if let Some((node, op)) = users.get(&report.name) {
                    report.node.clone_from(node);
                    report.op.clone_from(op);
                }
            }
        });
        Ok(Inspection {
            layers,
            shares: shares(&sizes),
        })
    }

    /// The network as ONNX, with the names it was compressed from.
    ///
    /// # Errors
    /// A graph that does not fit its records (a damaged or hostile file).
    pub fn to_model(&self) -> Result<ModelProto, TqzError> {
        let mut model = tqz_onnx::decode_model(&self.file.graph)?;
        let mut contents = self.contents()?;
        let mut failure = None;
        visit::tensors_mut(&mut model, |site, tensor| {
            if let Some(content) = contents.remove(&site.index)
                && let Err(error) = fill(site.index, tensor, content)
            {
                failure.get_or_insert(error);
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        match contents.keys().next() {
            Some(&site) => Err(TqzError::Record {
                site,
                problem: "the graph has no such tensor".to_owned(),
            }),
            None => Ok(model),
        }
    }

    /// All numbers of the file by the index of their tensor.
    fn contents(&self) -> Result<BTreeMap<usize, Content>, TqzError> {
        let layers: Vec<(usize, Content)> = self
            .file
            .layers
            .par_iter()
            .map(|layer| Ok((layer.site as usize, Content::Values(layer.reconstruct()?))))
            .collect::<Result<_, TqzError>>()?;
        let vectors: Vec<(usize, Content)> = self
            .file
            .vectors
            .iter()
            .map(|v| Ok((v.site as usize, Content::Values(v.reconstruct()?))))
            .collect::<Result<_, TqzError>>()?;
        let raw = self
            .file
            .raw
            .iter()
            .map(|r| (r.site as usize, Content::Bytes(r.bytes.clone())));
        let mut contents = BTreeMap::new();
        for (site, content) in layers.into_iter().chain(vectors).chain(raw) {
            if contents.insert(site, content).is_some() {
                return Err(TqzError::Record {
                    site,
                    problem: "has more than one record".to_owned(),
                });
            }
        }
        Ok(contents)
    }
}

/// Puts numbers into a tensor whose shape says how many it must have.
fn fill(site: usize, tensor: &mut TensorProto, content: Content) -> Result<(), TqzError> {
    let expected = tensor.element_count()?;
    let shape = tensor.dims.clone();
    let mismatch = |found: usize| TqzError::Record {
        site,
        problem: format!(
            "holds {found} numbers or bytes; the graph's shape {:?} says otherwise",
            shape
        ),
    };
    match content {
        Content::Values(values) if values.len() == expected => Ok(tensor.set_f32(&values)?),
        Content::Values(values) => Err(mismatch(values.len())),
        Content::Bytes(bytes) => {
            let expected = tensor.raw_length()?;
            if bytes.len() != expected {
                return Err(mismatch(bytes.len()));
            }
            tensor.raw_data = Some(bytes);
            Ok(())
        }
    }
}
