//! Products of matrices that lie in slices, by the kernels that the tensor library uses: the one room of the engine with unsafe
//! code, since the kernels take pointers. Bounds are checked before.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// A matrix in a slice: element (r, c) is r · its first stride + c · its second one from the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    dims: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows are contiguous and begin `stride` numbers after each other.
    pub(crate) fn new(values: &'a [f32], dims: [usize; 2], stride: usize) -> Self {
        let strides = [stride, 1];
        assert!(
            fits(values.len(), dims, strides),
            "{dims:?} with {strides:?}"
        );
        Self {
            values,
            dims,
            strides,
        }
    }

    /// A matrix whose rows follow each other.
    pub(crate) fn whole(values: &'a [f32], dims: [usize; 2]) -> Self {
        Self::new(values, dims, dims[1])
    }

    /// The same matrix, rows as columns.
    pub(crate) fn transposed(self) -> Self {
        let ([rows, cols], [down, across]) = (self.dims, self.strides);
        Self {
            dims: [cols, rows],
            strides: [across, down],
            ..self
        }
    }
}

/// Whether a matrix ends inside a slice.
fn fits(len: usize, [rows, cols]: [usize; 2], strides: [usize; 2]) -> bool {
    if rows == 0 || cols == 0 {
        return true;
    }
    let along = |count: usize, stride: usize| (count - 1).checked_mul(stride);
    let last = along(rows, strides[0]).zip(along(cols, strides[1]));
    last.and_then(|(down, across)| down.checked_add(across))
        .is_some_and(|last| last < len)
}

/// What becomes of the numbers that a product goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    /// They are replaced.
    Replaced,
    /// The product is added to them.
    AddedTo,
}

/// `a·b`, in this order of sums whatever the thread, into a matrix whose rows begin `stride` numbers after each other in `to`.
pub(crate) fn multiply(
    (to, stride): (&mut [f32], usize),
    old: Old,
    (a, b): (Matrix<'_>, Matrix<'_>),
) {
    let ([m, k], n) = (a.dims, b.dims[1]);
    assert!(
        k == b.dims[0] && stride >= n && fits(to.len(), [m, n], [stride, 1]),
        "{:?} times {:?} with {stride}",
        a.dims,
        b.dims
    );
    let signed = |stride: usize| {
        isize::try_from(stride).unwrap_or_else(|_| unreachable!("slices are smaller"))
    };
    let [a_down, a_across] = a.strides.map(signed);
    let [b_down, b_across] = b.strides.map(signed);
    // SAFETY: all three matrices end inside their slices (checked here and where they were made), and the rows of the one that
    // is written, which nobody else sees, do not overlap.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            signed(stride),
            old == Old::AddedTo,
            a.values.as_ptr(),
            a_across,
            a_down,
            b.values.as_ptr(),
            b_across,
            b_down,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(matrix: &Matrix<'_>, r: usize, c: usize) -> f32 {
        matrix.values[r * matrix.strides[0] + c * matrix.strides[1]]
    }

    /// The definition.
    fn plain((to, stride): (&mut [f32], usize), old: Old, (a, b): (Matrix<'_>, Matrix<'_>)) {
        for r in 0..a.dims[0] {
            for c in 0..b.dims[1] {
                let sum: f32 = (0..a.dims[1]).map(|k| at(&a, r, k) * at(&b, k, c)).sum();
                let to = &mut to[r * stride + c];
                *to = sum + if old == Old::AddedTo { *to } else { 0.0 };
            }
        }
    }

    fn numbers(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 37 + 11) % 29) as f32 - 14.0)
            .collect()
    }

    /// Whole numbers, so that every order of sums gives the same; what lies beside the result stays.
    #[test]
    fn products_are_those_of_the_definition() {
        for (m, k, n, gap) in [
            (1, 1, 1, 0),
            (3, 7, 5, 2),
            (17, 33, 100, 0),
            (64, 20, 49, 13),
            (2, 600, 16, 1),
        ] {
            let (a, b) = (numbers(m * (k + gap)), numbers(k * (n + gap)));
            let (at, bt) = (numbers(k * (m + gap)), numbers(n * (k + gap)));
            let of_a = [
                Matrix::new(&a, [m, k], k + gap),
                Matrix::new(&at, [k, m], m + gap).transposed(),
            ];
            let of_b = [
                Matrix::new(&b, [k, n], n + gap),
                Matrix::new(&bt, [n, k], k + gap).transposed(),
            ];
            for a in of_a {
                for b in of_b {
                    for old in [Old::Replaced, Old::AddedTo] {
                        let mut fast = numbers(m * (n + gap));
                        let mut slow = fast.clone();
                        multiply((&mut fast, n + gap), old, (a, b));
                        plain((&mut slow, n + gap), old, (a, b));
                        assert_eq!(fast, slow, "{m} {k} {n} {gap} {old:?}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "with")]
    fn a_matrix_beyond_its_slice_is_refused() {
        let _ = Matrix::new(&[0.0; 11], [3, 4], 4);
    }
}
