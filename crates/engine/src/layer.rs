//! Descriptions of the parts of a network that a compressor looks at: layers with constant
//! weights and batch normalizations.

/// What a layer computes, with its geometry; lists have one number per spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerOp {
    /// Convolution; the weight is [outputs, inputs / group, kernel...].
    Conv {
        /// Kernel size.
        kernel: Vec<usize>,
        /// Step of the window.
        strides: Vec<usize>,
        /// Padding: all begins, then all ends; `None` where it follows from the input's size
        /// (`auto_pad` SAME_UPPER or SAME_LOWER).
        pads: Option<Vec<usize>>,
        /// Distance of kernel elements.
        dilations: Vec<usize>,
        /// Number of groups.
        group: usize,
    },
    /// Transposed convolution; the weight is [inputs, outputs / group, kernel...].
    ConvTranspose {
        /// Kernel size.
        kernel: Vec<usize>,
        /// Step of the window.
        strides: Vec<usize>,
        /// Padding taken off the output: all begins, then all ends; `None` where it follows from
        /// the sizes (`auto_pad`, `output_shape`).
        pads: Option<Vec<usize>>,
        /// Distance of kernel elements.
        dilations: Vec<usize>,
        /// Number of groups.
        group: usize,
    },
    /// Dense layer: alpha·A·B + beta·C with a constant B. Also a MatMul (A of any rank, no C) whose
    /// second operand is a stored matrix put through Transpose: then `trans_b` holds.
    Gemm {
        /// Whether the weight is [outputs, inputs] rather than [inputs, outputs].
        trans_b: bool,
        /// Whether the layer's input is transposed first.
        trans_a: bool,
        /// Factor of the product, as bits of an f32 (see [`LayerOp::alpha`]).
        alpha_bits: u32,
        /// Factor of the bias, as bits of an f32.
        beta_bits: u32,
    },
    /// Matrix product with one constant operand.
    MatMul {
        /// Which operand is the weight.
        side: Side,
    },
}

/// Which operand of a product is constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first: weight · input.
    Left,
    /// The second: input · weight.
    Right,
}

impl LayerOp {
    /// Factor of Gemm's product; 1 for the other operators.
    pub fn alpha(&self) -> f32 {
        match self {
            Self::Gemm { alpha_bits, .. } => f32::from_bits(*alpha_bits),
            _ => 1.0,
        }
    }
}

/// What an operator says of itself as a layer.
#[derive(Debug)]
pub(crate) struct LayerParts {
    pub(crate) op: LayerOp,
    /// Operand that the weight is applied to.
    pub(crate) input: usize,
    /// Operand that is the weight.
    pub(crate) weight: usize,
    /// Operand that is the bias, if the operator has one.
    pub(crate) bias: Option<usize>,
}

/// A node with a constant weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The node's name, or its position where it has none.
    pub node: String,
    /// Operator and geometry.
    pub op: LayerOp,
    /// Name of the tensor that holds the weight's numbers.
    pub weight: String,
    /// Name of the bias tensor, if the bias is constant.
    pub bias: Option<String>,
    /// Shape of the weight.
    pub weight_dims: Vec<usize>,
    /// Name of the value that the weight is applied to.
    pub input: String,
    /// Name of the layer's output.
    pub output: String,
}

/// A BatchNormalization node whose parameters are constant, by the names of its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// The node's name, or its position where it has none.
    pub node: String,
    /// The value that is normalized.
    pub input: String,
    /// The normalized value.
    pub output: String,
    /// Factor per channel.
    pub scale: String,
    /// Offset per channel.
    pub bias: String,
    /// Mean per channel.
    pub mean: String,
    /// Variance per channel.
    pub var: String,
    /// Added to the variance.
    pub epsilon: f32,
}
