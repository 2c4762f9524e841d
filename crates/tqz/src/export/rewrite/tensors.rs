//! Stored numbers of a layer on its way to another form: its weights with the normalisation in them, whole or some rows, as floats or
//! as integers that the runtime scales, and its bias.

use tqz_format::LayerRecord;
use tqz_onnx::model::{NodeProto, TensorProto};

use super::Rewriter;
use crate::error::TqzError;
use crate::export::graph::numbers;
use crate::export::layer_node::{Affine, Kind};
use crate::export::subject::{Subject, product};
use crate::export::weights::Placement;

impl Rewriter<'_> {
    /// Keeps the steps of weights that stay as they are.
    pub(super) fn note_steps(&mut self, subject: &Subject<'_>) {
        if let Some(factor) = subject.whole() {
            let uniform = factor
                .col_steps
                .iter()
                .all(|step| *step == factor.col_steps[0]);
            if uniform {
                let steps = factor.row_steps.iter().map(|s| s * factor.col_steps[0]);
                let name = subject.layer.weight.clone();
                self.made.steps.insert(name, steps.collect());
            }
        }
    }

    /// The dense weights times the normalisation's factors.
    pub(super) fn scaled(
        &mut self,
        subject: &Subject<'_>,
        affine: &Affine,
    ) -> Result<String, TqzError> {
        let values: Vec<f32> = numbers(subject.tensor)?
            .into_iter()
            .enumerate()
            .map(|(index, v)| (v * affine.scale[subject.layer.row_of(index)]) as f32)
            .collect();
        let wanted = format!("{}#folded", subject.layer.weight);
        self.made.floats(&wanted, &subject.layer.dims, &values)
    }

    /// Dense weights as the runtime computes them from integers when it loads the file; nothing where it could not.
    pub(super) fn integer_weights(
        &mut self,
        subject: &Subject<'_>,
        record: &LayerRecord,
    ) -> Result<Option<String>, TqzError> {
        let layer = subject.layer;
        let (Some(_), [block]) = (layer.shape(record), &record.blocks[..]) else {
            return Ok(None);
        };
        if layer.kind == Kind::ConvTranspose && layer.groups > 1 {
            return Ok(None);
        }
        let storage = self.wanted.storage;
        if let Some(mut factor) = subject.whole() {
            subject.apply_affine(&mut factor, 0);
            let placement = Placement {
                kernel: layer.kernel().to_vec(),
                rows_first: layer.rows_first(),
            };
            let name = self
                .made
                .matrix(&layer.weight, &factor, (&placement, storage))?;
            return Ok(Some(name));
        }
        let Some((mut left, right)) = product(block, layer) else {
            return Ok(None);
        };
        subject.apply_affine_repeated(&mut left);
        let matrix = Placement {
            kernel: Vec::new(),
            rows_first: layer.rows_first(),
        };
        let (wanted_left, wanted_right) =
            (format!("{}#S", layer.weight), format!("{}#T", layer.weight));
        let left = self.made.matrix(&wanted_left, &left, (&matrix, storage))?;
        let right = self
            .made
            .matrix(&wanted_right, &right, (&matrix, storage))?;
        let pair = match layer.rows_first() {
            true => [left.as_str(), right.as_str()],
            false => [right.as_str(), left.as_str()],
        };
        let names = &mut self.made.names;
        let product = names.fresh(&format!("{}#product", layer.weight));
        let output = names.fresh(&format!("{}#weights", layer.weight));
        let dims: Vec<i64> = layer.dims.iter().map(|&d| d as i64).collect();
        let shape = names.fresh(&format!("{}#shape", layer.weight));
        let shape_tensor = TensorProto::from_i64(&shape, &[dims.len()], &dims)?;
        self.made.tensors.push(shape_tensor);
        self.made
            .nodes
            .push(NodeProto::new("MatMul", &pair, &product));
        self.made
            .nodes
            .push(NodeProto::new("Reshape", &[&product, &shape], &output));
        Ok(Some(output))
    }

    /// Some rows of the dense weights, as a layer of its own would store them.
    pub(super) fn part_of_weights(
        &mut self,
        subject: &Subject<'_>,
        rows: std::ops::Range<usize>,
    ) -> Result<String, TqzError> {
        let layer = subject.layer;
        let values = numbers(subject.tensor)?;
        let factor = |index: usize| {
            let row = layer.row_of(index);
            let scale = subject.affine.map_or(1.0, |affine| affine.scale[row]);
            (row, scale)
        };
        let inputs = layer.dims[if layer.rows_first() { 1 } else { 0 }];
        let mut of_rows: Vec<Vec<f32>> = vec![Vec::new(); layer.rows()];
        for (index, value) in values.iter().enumerate() {
            let (row, scale) = factor(index);
            of_rows[row].push((value * scale) as f32);
        }
        let placement = subject.placement(true);
        let kk: usize = layer.kernel().iter().product();
        let mut dims = match placement.rows_first {
            true => vec![rows.len(), inputs],
            false => vec![inputs, rows.len()],
        };
        dims.extend(layer.kernel());
        let part = &of_rows[rows];
        let values: Vec<f32> = match placement.rows_first {
            true => part.concat(),
            false => (0..inputs)
                .flat_map(|i| part.iter().flat_map(move |row| &row[i * kk..(i + 1) * kk]))
                .copied()
                .collect(),
        };
        self.made
            .floats(&format!("{}#rows", layer.weight), &dims, &values)
    }

    /// The operand that adds the bias of some rows; nothing where there is none.
    pub(super) fn bias(
        &mut self,
        subject: &Subject<'_>,
        rows: std::ops::Range<usize>,
    ) -> Result<Option<String>, TqzError> {
        let whole = rows.len() == subject.layer.rows();
        let given = subject.node.input.get(2).filter(|name| !name.is_empty());
        let Some(name) = given.filter(|_| subject.affine.is_none() && whole) else {
            return self.computed_bias(subject, rows);
        };
        Ok(Some(name.clone()))
    }

    fn computed_bias(
        &mut self,
        subject: &Subject<'_>,
        rows: std::ops::Range<usize>,
    ) -> Result<Option<String>, TqzError> {
        let given = subject.bias_values()?;
        let values: Vec<f32> = match (subject.affine, given) {
            (None, None) => return Ok(None),
            (None, Some(bias)) => rows.map(|r| bias[r] as f32).collect(),
            (Some(affine), bias) => rows
                .map(|r| {
                    let own = bias.as_ref().map_or(0.0, |bias| bias[r]);
                    (own * affine.scale[r] + affine.offset[r]) as f32
                })
                .collect(),
        };
        let wanted = format!("{}#bias", subject.output);
        Ok(Some(self.made.floats(&wanted, &[values.len()], &values)?))
    }
}
