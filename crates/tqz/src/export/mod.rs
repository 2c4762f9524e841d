//! A decoded file as ONNX networks for different ends: dense as it was, in the transform domain for fewer multiply–accumulates (theory
//! §4), in eight bits for runtimes with integer arithmetic, or with weights as small integers for a small file without a decoder.

pub(crate) mod chain;
mod cost;
mod factor;
pub(crate) mod graph;
mod int8;
mod layer_node;
mod opsets;
mod rewrite;
mod simplify;
mod subject;
mod weights;

use std::collections::BTreeMap;

use tqz_engine::{EngineDevice, Network};
use tqz_format::LayerRecord;
use tqz_onnx::model::ModelProto;

use crate::decoder::CompressedModel;
use crate::error::TqzError;
use crate::images::Images;
use crate::progress::Progress;
use crate::source::named_tensors;

pub(crate) use cost::work_of_layers;
pub use cost::{Costs, LayerCost};
pub(crate) use graph::makers;
use int8::to_int8;
pub use int8::{Activations, Clipping, FloatLayers, Int8Report, Int8Spec};
use opsets::narrowest_bits;
use rewrite::{Rewritten, Wanted, rewrite};
use simplify::{opset, simplify};
use weights::Storage;

/// What an exported network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The network as it was compressed, every layer dense, floats.
    Dense,
    /// Layers as T and S where that saves multiply–accumulates, normalisations folded, floats.
    Transform,
    /// As `Transform`, weights as integers of 2, 4, 8 or more bits that the runtime scales when it loads the file.
    Packed {
        /// Newest version of the standard operators that the file may ask for: from 21 on there are integers of four bits, from 25 on
        /// of two. A network that has a newer one already keeps it.
        newest_opset: i64,
    },
}

impl CompressedModel {
    /// The network in a form, with the names of inputs and outputs it was compressed with.
    ///
    /// # Errors
    /// A graph that does not fit its records (a damaged or hostile file), tensors that cannot be read.
    pub fn export(&self, form: Form) -> Result<ModelProto, TqzError> {
        match form {
            Form::Dense => self.to_model(),
            Form::Transform => Ok(self.rewritten(true)?.0),
            Form::Packed { newest_opset } => {
                let mut model = self.to_model()?;
                let least_bits = narrowest_bits(&mut model, newest_opset);
                self.rewrite(&mut model, true, Storage::Integers { least_bits })?;
                Ok(model)
            }
        }
    }

    /// The decoded network, ready to run.
    ///
    /// # Errors
    /// A graph that does not fit its records, or that the engine does not run.
    pub fn into_network(self, device: &EngineDevice) -> Result<Network, TqzError> {
        Ok(Network::from_model(&self.to_model()?, device)?)
    }

    /// The network with layers computed in eight bits, in the transform domain where that saves multiply–accumulates (or, with `dense`,
    /// nowhere), and how close it is to itself in floats. Ranges are measured on four fifths of the images, the last fifth compares.
    ///
    /// # Errors
    /// As [`CompressedModel::export`]; no images, or such that the network does not run on; too old an operator set.
    pub fn export_int8(
        &self,
        dense: bool,
        (images, spec): (&Images, &Int8Spec),
        progress: &dyn Progress,
    ) -> Result<(ModelProto, Int8Report), TqzError> {
        let (model, known) = self.rewritten(!dense)?;
        to_int8(model, &known, (images, spec), progress)
    }

    /// The network with other layers in floats, and what is known of them.
    fn rewritten(&self, chains: bool) -> Result<(ModelProto, Rewritten), TqzError> {
        let mut model = self.to_model()?;
        let known = self.rewrite(&mut model, chains, Storage::Floats)?;
        Ok((model, known))
    }

    fn rewrite(
        &self,
        model: &mut ModelProto,
        chains: bool,
        storage: Storage,
    ) -> Result<Rewritten, TqzError> {
        let records = self.records(model);
        simplify(model)?;
        let wanted = Wanted {
            chains,
            storage,
            opset: opset(model),
        };
        match model.graph.as_mut() {
            Some(graph) => rewrite(graph, &records, wanted),
            None => Ok(Rewritten::default()),
        }
    }

    /// The records by the name of their tensor in the main graph.
    fn records(&self, model: &ModelProto) -> BTreeMap<String, &LayerRecord> {
        let layers = self.file().layers.iter();
        let by_site: BTreeMap<usize, &LayerRecord> = layers
            .map(|record| (record.site as usize, record))
            .collect();
        named_tensors(model)
            .into_iter()
            .filter_map(|(name, site)| Some((name, *by_site.get(&site)?)))
            .collect()
    }
}
