//! Statistics ⇄ bytes, as a safetensors file that other tools can read: per weight tensor the sums of A (`name/A`, one per
//! block of columns) and G (`name/G`) as packed lower triangles, one row per group, with their counts (`name/counts`) and how
//! much their parts differ (`name/scatter`: squares and number of parts, of every block of A, then of G).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::config::Metric;
use crate::error::TqzError;
use crate::statistics::moment::{Scatter, packed};
use crate::statistics::{GroupStatistics, LayerStatistics, Moment, Statistics};

/// Key of the description in the file's metadata.
const KEY: &str = "tqz-statistics";
/// Version of the description.
const VERSION: u32 = 2;
/// Greatest order of a matrix in it.
const MOST_ORDER: usize = 1_000_000;

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
            let scatter = |m: &Moment| [m.scatter().squares, m.scatter().parts];
            let scatter = together(&|g| g.moments().flat_map(scatter).collect());
            arrays.push((format!("{name}/scatter"), scatter));
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

/// The numbers of an array, `expected` of them.
fn doubles(
    arrays: &SafeTensors<'_>,
    name: &str,
    expected: Option<usize>,
) -> Result<Vec<f64>, TqzError> {
    let view = arrays.tensor(name).map_err(unusable)?;
    let expected_bytes = expected.and_then(|n| n.checked_mul(8));
    if view.dtype() != Dtype::F64 || Some(view.data().len()) != expected_bytes {
        return Err(unusable(format!("array {name} has not the size it should")));
    }
    let eight = view.data().chunks_exact(8);
    let values =
        eight.map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
    let values: Vec<f64> = values.collect();
    if values.iter().all(|v| v.is_finite()) {
        return Ok(values);
    }
    Err(unusable(format!(
        "array {name} holds numbers that are not finite"
    )))
}

/// [`doubles`] that count something.
fn counts(
    arrays: &SafeTensors<'_>,
    name: &str,
    expected: Option<usize>,
) -> Result<Vec<f64>, TqzError> {
    let values = doubles(arrays, name, expected)?;
    if values.iter().all(|v| *v >= 0.0) {
        return Ok(values);
    }
    Err(unusable(format!("array {name} holds negative numbers")))
}

/// One kind of moment of a layer: its order, the sums of all groups, and per group count and scatter.
struct Stored {
    order: usize,
    sums: Vec<f64>,
    scatter: Vec<(f64, Scatter)>,
}

impl Stored {
    fn moment(&self, group: usize) -> Option<Moment> {
        let size = packed(self.order);
        let sum = self.sums.get(group * size..(group + 1) * size)?;
        Moment::from_parts(self.order, sum.to_vec(), *self.scatter.get(group)?)
    }
}

fn read_layer(arrays: &SafeTensors<'_>, outline: &Outline) -> Result<LayerStatistics, TqzError> {
    let (name, groups) = (&outline.name, outline.groups);
    if groups == 0 || outline.input.is_empty() {
        return Err(unusable(format!("layer {name} has no groups or no blocks")));
    }
    let per_group = |numbers: usize| numbers.checked_mul(groups);
    let blocks = outline.input.len();
    let counted = counts(arrays, &format!("{name}/counts"), per_group(2))?;
    let kinds = 2 * (blocks + 1);
    let scatter = counts(arrays, &format!("{name}/scatter"), per_group(kinds))?;
    let stored = |array: String, order: usize, which: usize| {
        if !(1..=MOST_ORDER).contains(&order) {
            return Err(unusable(format!("layer {name}: order {order}")));
        }
        let sums = doubles(arrays, &array, per_group(packed(order)))?;
        let of_group = |g: usize| {
            let at = g * kinds + 2 * which;
            let (squares, parts) = (scatter[at], scatter[at + 1]);
            let count = counted[2 * g + usize::from(which == blocks)];
            (count, Scatter { squares, parts })
        };
        Ok(Stored {
            order,
            sums,
            scatter: (0..groups).map(of_group).collect(),
        })
    };
    let input = outline.input.iter().enumerate();
    let input: Vec<Stored> = input
        .map(|(block, &order)| stored(input_name(name, block), order, block))
        .collect::<Result<_, TqzError>>()?;
    let output = stored(format!("{name}/G"), outline.output, blocks)?;
    let group = |g: usize| {
        Some(GroupStatistics::new(
            input.iter().map(|s| s.moment(g)).collect::<Option<_>>()?,
            output.moment(g)?,
        ))
    };
    let groups: Option<Vec<_>> = (0..groups).map(group).collect();
    Ok(LayerStatistics {
        groups: groups.ok_or_else(|| unusable(format!("layer {name}")))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn statistics() -> Statistics {
        let group = |k: usize| {
            let mut group =
                GroupStatistics::new(vec![Moment::new(3), Moment::new(2)], Moment::new(2));
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
