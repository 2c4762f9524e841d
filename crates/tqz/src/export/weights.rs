//! Weights of exported layers: as floats, or as small integers that the runtime turns into floats when it loads the file
//! (`Cast · Mul`, which ONNX Runtime folds into constants).

use std::collections::BTreeMap;

use tqz_onnx::model::{DataType, NodeProto, TensorProto};

use super::factor::Factor;
use super::graph::Names;
use crate::error::TqzError;

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// As floats.
    Floats,
    /// As integers of the least width; of at least so many bits.
    Integers {
        /// 2, 4 or 8.
        least_bits: usize,
    },
}

/// Tensors and nodes made for weights.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) names: Names,
    pub(crate) tensors: Vec<TensorProto>,
    pub(crate) nodes: Vec<NodeProto>,
    /// The step of each output channel of float weights that are whole multiples of it, by the tensor's name.
    pub(crate) steps: BTreeMap<String, Vec<f64>>,
}

/// How a matrix lies in a tensor.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    /// Extents of the kernel; none: a matrix.
    pub(crate) kernel: Vec<usize>,
    /// Rows before inputs.
    pub(crate) rows_first: bool,
}

impl Placement {
    fn dims(&self, rows: usize, inputs: usize) -> Vec<usize> {
        let mut dims = if self.rows_first {
            vec![rows, inputs]
        } else {
            vec![inputs, rows]
        };
        dims.extend(&self.kernel);
        dims
    }

    /// Elements of the tensor as (row, column) of the matrix, in the tensor's order.
    fn elements(&self, factor: &Factor) -> Vec<(usize, usize)> {
        let (rows, inputs, kk) = (factor.rows, factor.cols / factor.period, factor.period);
        let mut all = Vec::with_capacity(rows * inputs * kk);
        let (outer, inner) = if self.rows_first {
            (rows, inputs)
        } else {
            (inputs, rows)
        };
        for o in 0..outer {
            for i in 0..inner {
                let (r, input) = if self.rows_first { (o, i) } else { (i, o) };
                all.extend((0..kk).map(|p| (r, input * kk + p)));
            }
        }
        all
    }
}

impl Made {
    /// Stores float numbers; gives the tensor's name.
    ///
    /// # Errors
    /// As many numbers as dims are needed.
    pub(crate) fn floats(
        &mut self,
        wanted: &str,
        dims: &[usize],
        values: &[f32],
    ) -> Result<String, TqzError> {
        let name = self.names.fresh(wanted);
        self.tensors
            .push(TensorProto::from_f32(&name, dims, values)?);
        Ok(name)
    }

    /// Stores a matrix as asked; gives the name of the float value.
    ///
    /// # Errors
    /// Numbers that ONNX cannot hold.
    pub(crate) fn matrix(
        &mut self,
        wanted: &str,
        factor: &Factor,
        (placement, storage): (&Placement, Storage),
    ) -> Result<String, TqzError> {
        let inputs = factor.cols / factor.period;
        let dims = placement.dims(factor.rows, inputs);
        let elements = placement.elements(factor);
        let Storage::Integers { least_bits } = storage else {
            let values: Vec<f32> = elements
                .iter()
                .map(|&(r, c)| factor.value(r, c) as f32)
                .collect();
            let name = self.floats(wanted, &dims, &values)?;
            if factor.col_steps.iter().all(|&step| step == 1.0) {
                self.steps.insert(name.clone(), factor.row_steps.clone());
            }
            return Ok(name);
        };
        let levels: Vec<i32> = elements
            .iter()
            .map(|&(r, c)| factor.levels[r * factor.cols + c])
            .collect();
        let (packed, sign) = self.integers(wanted, (&dims, &levels), least_bits)?;
        let mut value = self.apply("Cast", &packed, None)?;
        let mut row_dims = placement.dims(factor.rows, 1);
        row_dims[2..].fill(1);
        let rows: Vec<f32> = factor.row_steps.iter().map(|s| (sign * s) as f32).collect();
        value = self.apply("Mul", &value, Some((&row_dims, &rows)))?;
        if factor.col_steps.iter().any(|&step| step != 1.0) {
            let col_dims = placement.dims(1, inputs);
            // Columns are inputs outside, positions inside, as the tensor's axes without the rows' are.
            let cols: Vec<f32> = factor.col_steps.iter().map(|&s| s as f32).collect();
            value = self.apply("Mul", &value, Some((&col_dims, &cols)))?;
        }
        Ok(value)
    }

    /// A node on a value and, for a product, stored factors (one number where all are equal).
    fn apply(
        &mut self,
        op: &str,
        value: &str,
        factors: Option<(&[usize], &[f32])>,
    ) -> Result<String, TqzError> {
        let suffix = if factors.is_some() { "scaled" } else { "float" };
        let output = self.names.fresh(&format!("{value}#{suffix}"));
        let made = match factors {
            None => {
                let mut cast = NodeProto::new(op, &[value], &output);
                cast.set("to", DataType::Float as i64);
                cast
            }
            Some((dims, factors)) => {
                let equal = factors.iter().all(|f| *f == factors[0]);
                let (dims, factors) = match equal {
                    true => (vec![1; dims.len()], &factors[..1]),
                    false => (dims.to_vec(), factors),
                };
                let name = self.floats(&format!("{value}#scale"), &dims, factors)?;
                NodeProto::new(op, &[value, &name], &output)
            }
        };
        self.nodes.push(made);
        Ok(output)
    }

    /// Stores levels in the least width that holds them, negated where that makes them fit (sign -1).
    fn integers(
        &mut self,
        wanted: &str,
        (dims, levels): (&[usize], &[i32]),
        least_bits: usize,
    ) -> Result<(String, f64), TqzError> {
        let low = i64::from(levels.iter().copied().min().unwrap_or(0));
        let high = i64::from(levels.iter().copied().max().unwrap_or(0));
        let fits = |bits: usize, low: i64, high: i64| {
            let half = 1_i64 << (bits - 1);
            low >= -half && high < half
        };
        let widths = [2, 4, 8, 16, 32];
        let narrow = widths.into_iter().filter(|&bits| bits >= least_bits);
        let mut choices = narrow.flat_map(|bits| [(bits, 1.0), (bits, -1.0)]);
        let fitting = choices.find(|&(bits, sign)| match sign > 0.0 {
            true => fits(bits, low, high),
            false => fits(bits, -high, -low),
        });
        let (bits, sign) = fitting.unwrap_or((32, 1.0));
        let kind = match bits {
            2 => DataType::Int2,
            4 => DataType::Int4,
            8 => DataType::Int8,
            16 => DataType::Int16,
            _ => DataType::Int32,
        };
        let signed = levels.iter().map(|&l| if sign > 0.0 { l } else { -l });
        let name = self.names.fresh(&format!("{wanted}#levels"));
        let bytes = pack(bits, signed);
        self.tensors
            .push(TensorProto::from_raw(&name, dims, kind, bytes)?);
        Ok((name, sign))
    }
}

/// Two's complement of a width in bits, little-endian; below 8 bits packed from the lowest bits up.
fn pack(bits: usize, levels: impl Iterator<Item = i32>) -> Vec<u8> {
    if bits >= 8 {
        return levels
            .flat_map(|level| level.to_le_bytes().into_iter().take(bits / 8))
            .collect();
    }
    let per_byte = 8 / bits;
    let mask = (1_u8 << bits) - 1;
    let mut bytes = Vec::new();
    for (index, level) in levels.enumerate() {
        let at = index % per_byte;
        if at == 0 {
            bytes.push(0);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= (level as u8 & mask) << (at * bits);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_levels_are_read_back() {
        let levels = [-2, 1, 0, -1, 1];
        let mut made = Made::default();
        let (name, sign) = made.integers("w", (&[5], &levels), 2).expect("packs");
        assert_eq!((name.as_str(), sign), ("w#levels", 1.0));
        assert_eq!(made.tensors[0].data_type, Some(DataType::Int2 as i32));
        assert_eq!(made.tensors[0].to_i64().expect("reads"), [-2, 1, 0, -1, 1]);
    }

    #[test]
    fn levels_are_negated_where_that_saves_bits() {
        let mut made = Made::default();
        let (_, sign) = made.integers("w", (&[3], &[8, -7, 1]), 4).expect("packs");
        assert_eq!(sign, -1.0);
        assert_eq!(made.tensors[0].to_i64().expect("reads"), [-8, 7, -1]);
    }
}
