//! One layer in the paper's coder: its parts with their curves, and the record that they make at a slope.

use ndarray::{Array2, Axis, s};
use tqz_format::{
    Block as CodedBlock, BlockCoding, LayerRecord, LevelMatrix, MatrixSpec, Packing, ScaleVector,
    StepScale,
};

use crate::config::{Damping, EncoderConfig, PaperSpec, TransformSpec};
use crate::encoder::{Strength, conditioned};
use crate::error::TqzError;
use crate::layout::WeightLayer;
use crate::linalg::{BlockDiagonal, quadratic_cost};
use crate::paper::curve::{Curve, Point, curves, level};
use crate::paper::part::{Exact, Part, Weights, ordered};
use crate::paper::published::{Published, scaled};
use crate::transform::{Subject, Transform};

/// Damping of A and G: enough to factor them.
pub(crate) const DAMPING: Damping = Damping {
    input: 0.01,
    output: 0.05,
};
/// Units of a step's exponent in one octave.
const OCTAVE: i32 = 64;

/// Coefficients and the curves of their blocks.
struct Quantizable {
    values: Array2<f32>,
    curves: Vec<Curve>,
}

/// A layer whose D(R) curves are known.
pub(crate) struct PaperLayer {
    layer: WeightLayer,
    transform: Transform,
    kernels: Quantizable,
    bases: Vec<Quantizable>,
    /// A and G of an ungrouped layer.
    judge: Option<(BlockDiagonal<f32>, Array2<f32>)>,
    weights: Array2<f32>,
    /// What a normalisation multiplies the rows by, where the network that is run has it in its weights.
    scale: Option<Vec<f32>>,
    /// Without a transform: which component each row of the weights is, in the order asked for.
    places: Vec<usize>,
    warning: Option<&'static str>,
}

impl Quantizable {
    fn new(part: Part<'_>, spec: PaperSpec) -> Self {
        Self {
            curves: curves(&part, spec.blocks, spec.step_by),
            values: part.values,
        }
    }

    /// The point of each component at a slope.
    fn points(&self, lambda: f64) -> Vec<Point> {
        let of_block = |curve: &Curve| {
            let count = curve.components.1 - curve.components.0;
            std::iter::repeat_n(curve.at_slope(lambda), count)
        };
        self.curves.iter().flat_map(of_block).collect()
    }

    /// Whether each component has any level at these points.
    fn alive(&self, points: &[Point]) -> Vec<bool> {
        let rows = self.values.rows().into_iter().zip(points);
        rows.map(|(row, &point)| row.iter().any(|&v| level(v, point) != 0))
            .collect()
    }

    /// Distortion of all blocks at a slope.
    fn distortion(&self, lambda: f64) -> f64 {
        let points = self.curves.iter().map(|c| c.at_slope(lambda).distortion);
        points.sum()
    }
}

/// How components lie in the matrix that the file stores.
#[derive(Clone, Copy)]
enum Lie {
    /// As its rows.
    Rows,
    /// As columns l·period … of a matrix with so many rows.
    Channels(usize),
    /// As columns ≡ l (mod the number of components kept).
    Positions(usize),
}

/// A block of a layer: its part (0: T or the weights; 1, 2: the bases) and its number there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) part: usize,
    pub(crate) block: usize,
}

impl PaperLayer {
    /// Transforms a layer and measures the curves of its parts.
    ///
    /// # Errors
    /// Missing statistics, or such that are not finite.
    pub(crate) fn new(
        (published, config): (&Published<'_>, &EncoderConfig),
        layer: &WeightLayer,
        unmeasured: f64,
    ) -> Result<Self, TqzError> {
        let spec = config.paper.unwrap_or_default();
        let found = published.statistics().of(layer)?;
        let weights = published.matrix(layer)?;
        let scale = published.scale(layer).map(<[f32]>::to_vec);
        let strength = Strength::with_errors(config.damping.unwrap_or(DAMPING));
        let mut groups = conditioned(layer, found, strength, unmeasured);
        if layer.groups != 1 {
            let asked = config.transform != TransformSpec::Identity;
            let told = asked.then_some("its channels are in groups");
            let plain = Self::grouped(layer, weights, &groups, (spec, told));
            return Ok(Self { scale, ..plain });
        }
        let (input, output) = groups.swap_remove(0);
        let judge = (input.to_single(), output.mapv(|v| v as f32));
        let subject = Subject::new(layer, weights, (input, output));
        let (transform, warning) = subject.transform_or_none(config.transform, config.axis);
        let parts = subject.parts(&transform, (&judge.0, &judge.1));
        let (kernels, places) = match transform {
            Transform::None => ordered(parts.kernels, spec.order),
            _ => (parts.kernels, Vec::new()),
        };
        let kernels = Quantizable::new(kernels, spec);
        let bases = parts.bases.into_iter();
        Ok(Self {
            layer: layer.clone(),
            transform,
            kernels,
            bases: bases.map(|part| Quantizable::new(part, spec)).collect(),
            judge: Some(judge),
            weights: subject.weights,
            scale,
            places,
            warning,
        })
    }

    /// A layer of several groups: its weights as they are, each row under the A of its group.
    fn grouped(
        layer: &WeightLayer,
        weights: Array2<f32>,
        groups: &[(BlockDiagonal<f64>, Array2<f64>)],
        (spec, warning): (PaperSpec, Option<&'static str>),
    ) -> Self {
        let rows = layer.rows / layer.groups;
        let of_rows = |index: usize| std::iter::repeat_n(groups[index].0.diagonal(), rows);
        let part = Part {
            weights: Weights {
                component: groups.iter().flat_map(|(_, g)| g.diag().to_vec()).collect(),
                major: vec![1.0],
                minor: (0..groups.len()).flat_map(of_rows).collect(),
            },
            values: weights.clone(),
            exact: Exact::Diagonal,
        };
        let (part, places) = ordered(part, spec.order);
        Self {
            layer: layer.clone(),
            transform: Transform::None,
            kernels: Quantizable::new(part, spec),
            bases: vec![],
            judge: None,
            weights,
            scale: None,
            places,
            warning,
        }
    }

    /// That it is not transformed and why, where a transform was asked for.
    pub(crate) fn warning(&self) -> Option<String> {
        let warning = self.warning?;
        let name = &self.layer.name;
        Some(format!("layer {name}: not transformed: {warning}"))
    }

    /// The layer as a tensor of the network.
    pub(crate) fn layer(&self) -> &WeightLayer {
        &self.layer
    }

    /// The layer at slope λ as the file holds it.
    ///
    /// # Errors
    /// Numbers that the format cannot hold.
    pub(crate) fn record(&self, lambda: f64) -> Result<LayerRecord, TqzError> {
        Ok(LayerRecord {
            site: self.layer.site as u32,
            dims: self.layer.dims.clone(),
            layout: self.layer.layout,
            blocks: vec![CodedBlock {
                rows: self.layer.rows,
                coding: self.coding(lambda)?,
            }],
        })
    }

    /// Closed-form distortion of a record made at slope λ, all correlations counted.
    ///
    /// # Errors
    /// Numbers that the format cannot hold.
    pub(crate) fn distortion(&self, record: &LayerRecord, lambda: f64) -> Result<f64, TqzError> {
        let Some((a, g)) = &self.judge else {
            return Ok(self.kernels.distortion(lambda));
        };
        let error = self.layer.to_matrix(&record.reconstruct()?) - &self.weights;
        Ok(quadratic_cost(&error, a, g))
    }

    fn part(&self, part: usize) -> &Quantizable {
        match part.checked_sub(1) {
            None => &self.kernels,
            Some(basis) => &self.bases[basis],
        }
    }

    /// All blocks.
    pub(crate) fn places(&self) -> Vec<Place> {
        let of_part = |part: usize| {
            let blocks = 0..self.part(part).curves.len();
            blocks.map(move |block| Place { part, block })
        };
        (0..=self.bases.len()).flat_map(of_part).collect()
    }

    /// The points of a block, by bit-depth.
    pub(crate) fn curve(&self, place: Place) -> &[Point] {
        &self.part(place.part).curves[place.block].points
    }

    /// Puts other points in the place of a block's.
    pub(crate) fn set_curve(&mut self, place: Place, points: Vec<Point>) {
        let part = match place.part.checked_sub(1) {
            None => &mut self.kernels,
            Some(basis) => &mut self.bases[basis],
        };
        part.curves[place.block].points = points;
    }

    /// The layer's weights with one block alone quantized, as the network that is run has them.
    pub(crate) fn with_block_at(&self, place: Place, point: Point) -> Array2<f32> {
        let parts = (0..=self.bases.len()).map(|index| {
            let part = self.part(index);
            let mut values = part.values.clone();
            if index == place.part {
                let (first, end) = part.curves[place.block].components;
                let step = f64::from(point.log2_step).exp2();
                values
                    .slice_mut(s![first..end, ..])
                    .mapv_inplace(|v| (f64::from(level(v, point)) * step) as f32);
            }
            values
        });
        let mut parts: Vec<Array2<f32>> = parts.collect();
        if matches!(self.transform, Transform::None) {
            parts[0] = parts[0].select(Axis(0), &self.places);
        }
        let shape = (self.layer.rows, self.layer.period);
        let weights = self.transform.synthesised(&parts[0], &parts[1..], shape);
        scaled(weights, self.scale.as_deref())
    }

    fn coding(&self, lambda: f64) -> Result<BlockCoding, TqzError> {
        let points = self.kernels.points(lambda);
        let period = self.layer.period;
        let channels = self.layer.cols / period;
        let t = |kept: &[usize], lie: Lie, period: usize| {
            stored((&self.kernels, &points), kept, lie, period)
        };
        if matches!(self.transform, Transform::None) {
            let weights = t(&self.places, Lie::Rows, period)?;
            return Ok(BlockCoding::Identity { weights });
        }
        let of_bases: Vec<Vec<Point>> = self.bases.iter().map(|b| b.points(lambda)).collect();
        let first = (&self.bases[0], &of_bases[0][..]);
        // A component counts only if both its coefficients and its basis vector have levels.
        let alive = self.kernels.alive(&points);
        let alive = alive.iter().zip(first.0.alive(first.1));
        let kept: Vec<usize> = alive
            .enumerate()
            .filter_map(|(k, (t, s))| (*t && s).then_some(k))
            .collect();
        Ok(match self.transform {
            Transform::Row(_) => BlockCoding::Row {
                t: t(&kept, Lie::Channels(self.layer.rows), period)?,
                s: stored(first, &kept, Lie::Rows, 1)?,
            },
            Transform::Kernel(_) => BlockCoding::Kernel {
                t: t(&kept, Lie::Positions(self.layer.rows), kept.len().max(1))?,
                s: stored(first, &kept, Lie::Rows, 1)?,
            },
            Transform::Both(..) => BlockCoding::Both {
                t: t(&kept, Lie::Rows, period)?,
                s: stored(first, &kept, Lie::Channels(self.layer.rows), 1)?,
                v: stored(
                    (&self.bases[1], &of_bases[1]),
                    &(0..channels).collect::<Vec<_>>(),
                    Lie::Rows,
                    1,
                )?,
            },
            _ => BlockCoding::Column {
                t: t(&kept, Lie::Rows, period)?,
                s: stored(first, &kept, Lie::Channels(self.layer.rows), 1)?,
            },
        })
    }
}

/// The kept components as the file stores them: levels of fixed widths, one step each.
fn stored(
    (part, points): (&Quantizable, &[Point]),
    kept: &[usize],
    lie: Lie,
    period: usize,
) -> Result<LevelMatrix, TqzError> {
    let count = kept.len();
    let elements = part.values.ncols();
    let (rows, cols) = match lie {
        Lie::Rows => (count, elements),
        Lie::Channels(rows) | Lie::Positions(rows) => (rows, count * elements / rows.max(1)),
    };
    // Component and element at a place of the matrix.
    let place = |r: usize, c: usize| match lie {
        Lie::Rows => (r, c),
        Lie::Channels(_) => (c / period, r * period + c % period),
        Lie::Positions(_) => (c % period, r * (cols / period) + c / period),
    };
    let mut levels = Vec::with_capacity(rows * cols);
    for r in 0..rows {
        levels.extend((0..cols).map(|c| {
            let (k, e) = place(r, c);
            level(part.values[(kept[k], e)], points[kept[k]])
        }));
    }
    let along = if matches!(lie, Lie::Rows) { rows } else { cols };
    let of = |index: usize| match lie {
        Lie::Rows => points[kept[index]],
        _ => points[kept[place(0, index).0]],
    };
    let exponents: Vec<i32> = (0..along).map(|i| of(i).log2_step * OCTAVE).collect();
    let base = exponents.iter().copied().min().unwrap_or(0);
    let relative: Vec<i32> = exponents.iter().map(|e| e - base).collect();
    let scales = Some(ScaleVector::rounded(6, &relative));
    let depths: Vec<u8> = (0..along).map(|i| of(i).depth_bits.max(1) as u8).collect();
    let (scale, packing) = match lie {
        Lie::Rows => (
            StepScale {
                base,
                rows: scales,
                cols: None,
            },
            Packing::RowDepths(depths),
        ),
        _ => (
            StepScale {
                base,
                rows: None,
                cols: scales,
            },
            Packing::ColumnDepths(depths),
        ),
    };
    let spec = MatrixSpec { rows, cols, period };
    Ok(LevelMatrix::from_row_major(spec, scale, &levels)?.with_packing(packing)?)
}
