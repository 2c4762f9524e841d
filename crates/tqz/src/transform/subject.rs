//! A layer as transforms see it: covariances of its weights and of the output's derivatives for each grouping of weights, and
//! the transform of its columns, rows or kernels (paper sections 3 and 7).

use ndarray::{Array2, s};

use crate::config::{Axis, TransformSpec};
use crate::layout::WeightLayer;
use crate::linalg::{Block, BlockDiagonal, NumericalFailure, product};
use crate::transform::{Cosine, Covariances, Dual, cosine};

/// Longest vectors that are transformed: a basis of more would take minutes and more bytes than it saves.
const MOST_ROWS: usize = 4608;
/// Why a layer is left as it is whose covariances the transform needs and cannot have.
pub(crate) const SINGULAR: &str = "its covariances cannot be factored";

/// A layer's weights and the statistics that its errors are weighed by; one group.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// n × K.
    pub(crate) weights: Array2<f32>,
    /// Damped A, K × K.
    pub(crate) input: BlockDiagonal<f64>,
    /// Damped G, n × n.
    pub(crate) output: Array2<f64>,
    /// Kernel positions.
    pub(crate) period: usize,
    /// Extents of the kernel.
    pub(crate) kernel: Vec<usize>,
}

/// The transforms of a layer.
#[derive(Debug, Clone)]
pub(crate) enum Transform {
    /// The weights themselves.
    None,
    /// Mixes output channels.
    Column(Dual),
    /// Mixes input channels.
    Row(Dual),
    /// Mixes kernel positions.
    Kernel(Dual),
    /// Mixes output and input channels.
    Both(Dual, Dual),
}

impl Subject {
    /// The subject of an ungrouped layer.
    pub(crate) fn new(
        layer: &WeightLayer,
        weights: Array2<f32>,
        (input, output): (BlockDiagonal<f64>, Array2<f64>),
    ) -> Self {
        Self {
            weights,
            input,
            output,
            period: layer.period,
            kernel: layer.dims.get(2..).unwrap_or(&[]).to_vec(),
        }
    }

    /// Input channels.
    pub(crate) fn channels(&self) -> usize {
        self.weights.ncols() / self.period
    }

    /// Cθθ and Cγγ of the vectors that a transform along `axis` mixes: all weights that share what is not mixed.
    pub(crate) fn covariances(&self, axis: Axis) -> Covariances {
        match axis {
            Axis::Column | Axis::Both => {
                let w = self.weights.mapv(f64::from);
                Covariances {
                    weights: product(Block::whole(&w), Block::whole(&w).t()),
                    gradients: self.output.clone(),
                }
            }
            Axis::Row => Covariances {
                weights: self.gram(|vector| self.channel_vector(vector), self.channels()),
                gradients: self.input_moment(Self::channel_of, self.channels()),
            },
            Axis::Kernel => Covariances {
                weights: self.gram(|vector| self.kernel_vector(vector), self.period),
                gradients: self.input_moment(Self::position_of, self.period),
            },
        }
    }

    /// The weights of one output channel and position over the input channels, vector number r·period + p.
    fn channel_vector(&self, vector: usize) -> Vec<f64> {
        let (r, p) = (vector / self.period, vector % self.period);
        let row = self.weights.slice(s![r, p..;self.period]);
        row.iter().map(|&v| f64::from(v)).collect()
    }

    /// One kernel, number r·channels + i.
    fn kernel_vector(&self, vector: usize) -> Vec<f64> {
        let (r, i) = (vector / self.channels(), vector % self.channels());
        let kernel = self
            .weights
            .slice(s![r, i * self.period..(i + 1) * self.period]);
        kernel.iter().map(|&v| f64::from(v)).collect()
    }

    /// Σ x·xᵗ over all vectors of one kind.
    fn gram(&self, vector: impl Fn(usize) -> Vec<f64>, length: usize) -> Array2<f64> {
        let count = self.weights.len() / length.max(1);
        let mut all = Array2::zeros((count, length));
        for index in 0..count {
            all.row_mut(index)
                .assign(&ndarray::ArrayView1::from(&vector(index)));
        }
        product(Block::whole(&all).t(), Block::whole(&all))
    }

    fn channel_of(&self, column: usize) -> (usize, usize) {
        (column / self.period, column % self.period)
    }

    fn position_of(&self, column: usize) -> (usize, usize) {
        (column % self.period, column / self.period)
    }

    /// A summed over what a transform does not mix: element (a, b) sums A over columns with indices (a, x) and (b, x).
    fn input_moment(
        &self,
        split: impl Fn(&Self, usize) -> (usize, usize),
        length: usize,
    ) -> Array2<f64> {
        let mut sum = Array2::zeros((length, length));
        let mut begin = 0;
        for block in &self.input.blocks {
            for ((r, c), value) in block.indexed_iter() {
                let ((a, x), (b, y)) = (split(self, begin + r), split(self, begin + c));
                if x == y {
                    sum[(a, b)] += value;
                }
            }
            begin += block.nrows();
        }
        sum
    }

    /// Why the layer is left as it is along an axis, if it is.
    pub(crate) fn why_not(&self, axis: Axis) -> Option<&'static str> {
        let mixed = match axis {
            Axis::Column => self.weights.nrows(),
            Axis::Row => self.channels(),
            Axis::Kernel => self.period,
            Axis::Both => self.weights.nrows().max(self.channels()),
        };
        let in_parts = self.input.blocks.len() > 1 && axis != Axis::Column;
        match axis {
            Axis::Kernel if self.period == 1 => Some("its kernels are single weights"),
            _ if in_parts => Some(
                "its patches are too long for one second moment (columns alone can be transformed)",
            ),
            _ if mixed > MOST_ROWS => Some("it has more channels than are transformed (4608)"),
            _ => None,
        }
    }

    /// The transform asked for, where [`Self::why_not`] has nothing against it; the ELT where none is named.
    ///
    /// # Errors
    /// Covariances that cannot be factored.
    pub(crate) fn transform(
        &self,
        spec: TransformSpec,
        axis: Axis,
    ) -> Result<Transform, NumericalFailure> {
        if spec == TransformSpec::Identity || self.why_not(axis).is_some() {
            return Ok(Transform::None);
        }
        let dual = |axis: Axis| self.dual(spec, &self.covariances(axis));
        Ok(match axis {
            Axis::Column => Transform::Column(dual(axis)?),
            Axis::Row => Transform::Row(dual(axis)?),
            Axis::Kernel => Transform::Kernel(dual(axis)?),
            Axis::Both => Transform::Both(dual(Axis::Column)?, dual(Axis::Row)?),
        })
    }

    /// The basis asked for of vectors with these covariances; the ELT where none is named.
    ///
    /// # Errors
    /// Covariances that cannot be factored.
    pub(crate) fn dual(
        &self,
        spec: TransformSpec,
        of: &Covariances,
    ) -> Result<Dual, NumericalFailure> {
        match spec {
            TransformSpec::Klt => Dual::klt(of),
            TransformSpec::Dct1 => Ok(Dual::orthonormal(cosine(Cosine::One, &self.kernel))),
            TransformSpec::Dct2 => Ok(Dual::orthonormal(cosine(Cosine::Two, &self.kernel))),
            _ => Dual::elt(of),
        }
    }

    /// The transform asked for, or none and why.
    pub(crate) fn transform_or_none(
        &self,
        spec: TransformSpec,
        axis: Axis,
    ) -> (Transform, Option<&'static str>) {
        let asked = spec != TransformSpec::Identity;
        match self.transform(spec, axis) {
            Ok(found) => (found, self.why_not(axis).filter(|_| asked)),
            Err(NumericalFailure) => (Transform::None, Some(SINGULAR)),
        }
    }

    /// A seen by row-transformed weights: `B·A·Bᵗ`, `B = Vᵗ` on the input channels (or positions) of a column.
    pub(crate) fn transformed_input(&self, dual: &Dual, axis: Axis) -> Array2<f64> {
        let k = self.weights.ncols();
        let v = &dual.synthesis;
        let at = column_of(axis, (v.nrows(), k / v.nrows()));
        // Column (l, x) of W is Σ_a v[a, l]·column (a, x): the rows of B.
        let apply = |matrix: &Array2<f64>| {
            let mut out = Array2::zeros((k, k));
            let kept = k / v.nrows();
            for x in 0..kept {
                let rows: Vec<usize> = (0..v.nrows()).map(|a| at(a, x)).collect();
                let part = matrix.select(ndarray::Axis(0), &rows);
                let mixed = product(Block::whole(v).t(), Block::whole(&part));
                for (l, row) in mixed.rows().into_iter().enumerate() {
                    out.row_mut(at(l, x)).assign(&row);
                }
            }
            out
        };
        let once = apply(&self.input.blocks[0]);
        apply(&once.t().as_standard_layout().into_owned())
    }
}

impl Transform {
    /// The layer's matrix from its parts, components as rows: T (or the weights) and the bases, each as the rows of Vᵗ.
    pub(crate) fn synthesised(
        &self,
        kernels: &Array2<f32>,
        bases: &[Array2<f32>],
        (rows, period): (usize, usize),
    ) -> Array2<f32> {
        match self {
            Self::None => kernels.clone(),
            Self::Column(_) => mixed_back(&bases[0], kernels),
            Self::Row(_) => from_components(&mixed_back(&bases[0], kernels), rows, Axis::Row),
            Self::Kernel(_) => from_components(&mixed_back(&bases[0], kernels), rows, Axis::Kernel),
            Self::Both(..) => {
                let columns = mixed_back(&bases[0], kernels);
                let shape = (columns.ncols() / period, period);
                let parts = by_component(&columns, shape, column_of(Axis::Row, shape));
                from_components(&mixed_back(&bases[1], &parts), rows, Axis::Row)
            }
        }
    }
}

/// Undoes [`by_component`]: components × (rows · kept) → rows × columns.
fn from_components(parts: &Array2<f32>, rows: usize, axis: Axis) -> Array2<f32> {
    let (components, kept) = (parts.nrows(), parts.ncols() / rows.max(1));
    let column = column_of(axis, (components, kept));
    let mut matrix = Array2::zeros((rows, components * kept));
    for ((l, e), &value) in parts.indexed_iter() {
        matrix[(e / kept, column(l, e % kept))] = value;
    }
    matrix
}

/// `V·t` with V given as the rows of Vᵗ.
fn mixed_back(basis: &Array2<f32>, t: &Array2<f32>) -> Array2<f32> {
    product(Block::whole(basis).t(), Block::whole(t))
}

/// Column of component l and of index x over what a transform of this axis does not mix.
pub(crate) fn column_of(
    axis: Axis,
    (components, kept): (usize, usize),
) -> impl Fn(usize, usize) -> usize {
    move |l, x| match axis {
        Axis::Kernel => x * components + l,
        _ => l * kept + x,
    }
}

/// Column j of W (or T) as a component with elements (r, x): rearranged so that `mixed` indexes rows.
pub(crate) fn by_component(
    weights: &Array2<f32>,
    (components, kept): (usize, usize),
    column: impl Fn(usize, usize) -> usize,
) -> Array2<f32> {
    let n = weights.nrows();
    Array2::from_shape_fn((components, n * kept), |(l, e)| {
        weights[(e / kept, column(l, e % kept))]
    })
}

/// `x` with rows mixed by the analysis matrix: `Uᵗx`.
pub(crate) fn analysed(dual: &Dual, x: &Array2<f32>) -> Array2<f32> {
    let u = dual.analysis.mapv(|v| v as f32);
    product(Block::whole(&u).t(), Block::whole(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    fn subject() -> Subject {
        let mut rng = Pcg64::seed_from_u64(5);
        let mut noise = |shape| Array2::from_shape_fn(shape, |_| rng.random_range(-1.0..1.0_f64));
        let (n, m, period) = (6, 5, 4);
        let positive = |x: &Array2<f64>| x.dot(&x.t()) + Array2::<f64>::eye(x.nrows());
        let input = positive(&noise((m * period, m * period)));
        let output = positive(&noise((n, n)));
        Subject {
            weights: noise((n, m * period)).mapv(|v| v as f32),
            input: BlockDiagonal {
                blocks: vec![input],
            },
            output,
            period,
            kernel: vec![2, 2],
        }
    }

    /// What cannot be factored is not transformed, and that is told; what need not be factored is.
    #[test]
    fn a_layer_whose_covariances_cannot_be_factored_is_left_as_it_is() {
        let mut subject = subject();
        let whole = |s: &Subject, spec| s.transform_or_none(spec, Axis::Column);
        assert!(matches!(
            whole(&subject, TransformSpec::Elt),
            (Transform::Column(_), None)
        ));
        subject.output[(2, 2)] = -1.0;
        let (transform, told) = whole(&subject, TransformSpec::Elt);
        assert!(matches!(transform, Transform::None) && told.is_some());
        let (transform, told) = whole(&subject, TransformSpec::Klt);
        assert!(matches!(transform, Transform::Column(_)) && told.is_none());
        subject.kernel = vec![1];
        subject.period = 1;
        let (transform, told) = subject.transform_or_none(TransformSpec::Dct2, Axis::Kernel);
        assert!(matches!(transform, Transform::None) && told.is_some());
    }

    /// Analysis and synthesis are inverse along every axis.
    #[test]
    fn parts_synthesised_are_the_weights() {
        let subject = subject();
        let (n, period) = (subject.weights.nrows(), subject.period);
        let a = subject.input.to_single();
        let g = subject.output.mapv(|v| v as f32);
        for axis in [Axis::Column, Axis::Row, Axis::Kernel, Axis::Both] {
            let transform = subject
                .transform(TransformSpec::Elt, axis)
                .expect("factors");
            let parts = subject.parts(&transform, (&a, &g));
            let bases: Vec<Array2<f32>> = parts.bases.into_iter().map(|b| b.values).collect();
            let back = transform.synthesised(&parts.kernels.values, &bases, (n, period));
            let worst = (&back - &subject.weights).mapv(f32::abs);
            assert!(worst.iter().all(|&e| e < 1e-4), "{axis:?}: {worst}");
        }
    }
}
