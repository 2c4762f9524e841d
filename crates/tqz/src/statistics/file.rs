//! Statistics ⇄ bytes, as a safetensors file that other tools can read: per weight tensor the sums of A (`name/A`, one per
//! block of columns) and G (`name/G`) as packed lower triangles, one row per group, with their counts (`name/counts`).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::config::Metric;
use crate::error::TqzError;
use crate::statistics::moment::packed;
use crate::statistics::{GroupStatistics, LayerStatistics, Moment, Statistics};

/// Key of the description in the file's metadata.
const KEY: &str = "tqz-statistics";
/// Version of the description.
const VERSION: u32 = 1;

/// What the file says about itself.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    version: u32,
    network: u32,
    metric: Metric,
    seed: u64,
    seen: Vec<Range<u64>>,
    total: u64,
    layers: Vec<Outline>,
}

/// One layer's sums: so many groups, orders of the blocks of A and of G.
#[derive(Debug, Serialize, Deserialize)]
struct Outline {
    name: String,
    groups: usize,
    input: Vec<usize>,
    output: usize,
}

/// An array of doubles, rows × columns.
struct Doubles {
    values: Vec<f64>,
    shape: [usize; 2],
}

impl Doubles {
    fn new(rows: usize, values: Vec<f64>) -> Self {
        let cols = values.len() / rows.max(1);
        Self {
            values,
            shape: [rows, cols],
        }
    }
}

impl View for Doubles {
    fn dtype(&self) -> Dtype {
        Dtype::F64
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
    fn data_len(&self) -> usize {
        self.values.len() * 8
    }
}

fn input_name(layer: &str, block: usize) -> String {
    match block {
        0 => format!("{layer}/A"),
        _ => format!("{layer}/A.{block}"),
    }
}

fn unusable(problem: impl std::fmt::Display) -> TqzError {
    TqzError::Request(format!("the statistics cannot be used: {problem}"))
}

impl Statistics {
    /// The bytes of a statistics file; the same statistics give the same bytes.
    ///
    /// # Errors
    /// Names of layers that cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>, TqzError> {
        let description = Description {
            version: VERSION,
            network: self.network,
            metric: self.metric,
            seed: self.seed,
            seen: self.seen.clone(),
            total: self.total,
            layers: self.layers.iter().map(outline).collect(),
        };
        let mut arrays = Vec::new();
        for (name, layer) in &self.layers {
            let rows = layer.groups.len();
            let together = |of: &dyn Fn(&GroupStatistics) -> Vec<f64>| {
                Doubles::new(rows, layer.groups.iter().flat_map(of).collect())
            };
            let blocks = layer.groups.first().map_or(0, |g| g.input.len());
            for block in 0..blocks {
                let sums = together(&|g| g.input[block].sum().to_vec());
                arrays.push((input_name(name, block), sums));
            }
            arrays.push((format!("{name}/G"), together(&|g| g.output.sum().to_vec())));
            let counts = together(&|g| vec![g.patches(), g.output.count()]);
            arrays.push((format!("{name}/counts"), counts));
        }
        let text = serde_json::to_string(&description).map_err(unusable)?;
        let metadata = HashMap::from([(KEY.to_owned(), text)]);
        safetensors::serialize(arrays, Some(metadata)).map_err(unusable)
    }

    /// Reads the bytes of a statistics file.
    ///
    /// # Errors
    /// Bytes that are no statistics, of another version, or whose arrays do not have the sizes they should.
    pub fn decode(bytes: &[u8]) -> Result<Self, TqzError> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unusable)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY));
        let text = text.ok_or_else(|| unusable("the file was not written by tqz calibrate"))?;
        let description: Description = serde_json::from_str(text).map_err(unusable)?;
        if description.version != VERSION {
            return Err(unusable(format!(
                "the file has version {}, this program reads {VERSION}; calibrate again",
                description.version
            )));
        }
        if description.seen.windows(2).any(|w| w[0].end > w[1].start) {
            return Err(unusable("its ranges of images are not in order"));
        }
        let arrays = SafeTensors::deserialize(bytes).map_err(unusable)?;
        let mut layers = BTreeMap::new();
        for outline in &description.layers {
            layers.insert(outline.name.clone(), read_layer(&arrays, outline)?);
        }
        Ok(Self {
            layers,
            network: description.network,
            metric: description.metric,
            seed: description.seed,
            seen: description.seen,
            total: description.total,
        })
    }
}

fn outline((name, layer): (&String, &LayerStatistics)) -> Outline {
    let first = layer.groups.first();
    Outline {
        name: name.clone(),
        groups: layer.groups.len(),
        input: first
            .map(|g| g.input.iter().map(Moment::order).collect())
            .unwrap_or_default(),
        output: first.map_or(0, |g| g.output.order()),
    }
}

fn read_layer(arrays: &SafeTensors<'_>, outline: &Outline) -> Result<LayerStatistics, TqzError> {
    let name = &outline.name;
    let doubles = |array: String, per_group: usize| {
        let view = arrays.tensor(&array).map_err(unusable)?;
        let expected = per_group
            .checked_mul(outline.groups)
            .and_then(|n| n.checked_mul(8));
        if view.dtype() != Dtype::F64 || Some(view.data().len()) != expected {
            return Err(unusable(format!(
                "array {array} has not the size it should"
            )));
        }
        let eight = view.data().chunks_exact(8);
        let values =
            eight.map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
        let values: Vec<f64> = values.collect();
        match values.iter().all(|v| v.is_finite()) {
            true => Ok(values),
            false => Err(unusable(format!(
                "array {array} holds numbers that are not finite"
            ))),
        }
    };
    if outline.groups == 0 || outline.input.is_empty() {
        return Err(unusable(format!("layer {name} has no groups or no blocks")));
    }
    let triangle = |order: usize| match order {
        1..=1_000_000 => Ok(packed(order)),
        _ => Err(unusable(format!("layer {name}: order {order}"))),
    };
    let counts = doubles(format!("{name}/counts"), 2)?;
    let output = doubles(format!("{name}/G"), triangle(outline.output)?)?;
    let mut input = Vec::new();
    for (block, &order) in outline.input.iter().enumerate() {
        input.push(doubles(input_name(name, block), triangle(order)?)?);
    }
    let moment = |values: &[f64], group: usize, order: usize, count: f64| {
        let size = packed(order);
        Moment::from_parts(
            order,
            values[group * size..(group + 1) * size].to_vec(),
            count,
        )
        .ok_or_else(|| unusable(format!("layer {name}")))
    };
    let groups = (0..outline.groups).map(|g| {
        let (patches, images) = (counts[2 * g], counts[2 * g + 1]);
        let blocks = outline.input.iter().zip(&input);
        Ok(GroupStatistics {
            input: blocks
                .map(|(&order, values)| moment(values, g, order, patches))
                .collect::<Result<_, TqzError>>()?,
            output: moment(&output, g, outline.output, images)?,
        })
    });
    Ok(LayerStatistics {
        groups: groups.collect::<Result<_, TqzError>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn statistics() -> Statistics {
        let group = |k: usize| {
            let mut group = GroupStatistics {
                input: vec![Moment::new(3), Moment::new(2)],
                output: Moment::new(2),
            };
            let square = |n: usize| Array2::from_shape_fn((n, n), |(r, c)| (r + c + k) as f32);
            group.input[0].add_lower(&square(3), 4.0);
            group.input[1].add_lower(&square(2), 4.0);
            group.output.add_lower(&square(2), 1.0);
            group
        };
        let layer = LayerStatistics {
            groups: vec![group(1), group(5)],
        };
        Statistics {
            layers: BTreeMap::from([("conv.weight".to_owned(), layer)]),
            network: 7,
            metric: Metric::Fisher,
            seed: 3,
            seen: vec![0..32, 64..70],
            total: 70,
        }
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let written = statistics();
        let bytes = written.encode().expect("writable");
        assert_eq!(bytes, written.encode().expect("writable"));
        assert_eq!(Statistics::decode(&bytes).expect("readable"), written);
    }

    #[test]
    fn damaged_files_give_errors_or_other_numbers() {
        let bytes = statistics().encode().expect("writable");
        for end in 0..bytes.len() {
            assert!(Statistics::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let _ = Statistics::decode(&damaged);
        }
    }
}
