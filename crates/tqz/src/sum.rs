//! Sums of shards' gradients, added in the order of the shards while they come: no more than those that overtook another are kept.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};

use ndarray::ArrayD;
use rayon::prelude::*;

use crate::error::TqzError;

/// Gradients by the name of their tensor.
pub(crate) type Gradients = BTreeMap<String, ArrayD<f32>>;

/// Gradients of shards worked on in parallel, and what is counted beside them, each summed in the order of the shards.
///
/// # Errors
/// One of a shard's.
pub(crate) fn sum_in_order<S: Send, T: AddAssign + Default + Send>(
    shards: impl Iterator<Item = S> + Send,
    part: impl Fn(S) -> Result<(T, Gradients), TqzError> + Sync,
) -> Result<(T, Gradients), TqzError> {
    let sum = Mutex::new(OrderedSum::default());
    // One after the other, so that few wait for an earlier one.
    let shards = shards.enumerate().par_bridge();
    shards.try_for_each(|(number, shard)| {
        let part = part(shard)?;
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.take(number, part);
        Ok::<_, TqzError>(())
    })?;
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((sum.tally, sum.gradients))
}

/// The sum of parts that come in any order, and of what is counted beside them.
#[derive(Default)]
struct OrderedSum<T> {
    /// Parts added.
    next: usize,
    /// Parts that came before an earlier one.
    waiting: BTreeMap<usize, (T, Gradients)>,
    tally: T,
    gradients: Gradients,
}

impl<T: AddAssign> OrderedSum<T> {
    /// Takes part number `number` in.
    fn take(&mut self, number: usize, part: (T, Gradients)) {
        self.waiting.insert(number, part);
        while let Some((tally, gradients)) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.tally += tally;
            for (name, gradient) in gradients {
                match self.gradients.get_mut(&name) {
                    Some(total) => *total += &gradient,
                    None => {
                        self.gradients.insert(name, gradient);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{arr1, array};

    #[test]
    fn the_order_of_coming_changes_no_bit() {
        let part = |number: usize| {
            let values = array![1.0e8, 1.0, 0.3].mapv(|v: f32| v / (number as f32 + 0.7));
            let sign = if number.is_multiple_of(2) { 1.0 } else { -1.0 };
            let gradient = (sign * values).into_dyn();
            (1, Gradients::from([("w".to_owned(), gradient)]))
        };
        let sum = |order: [usize; 5]| {
            let mut sum = OrderedSum::<usize>::default();
            for number in order {
                sum.take(number, part(number));
                assert!(sum.waiting.len() < 4);
            }
            assert!(sum.waiting.is_empty());
            assert_eq!(sum.tally, 5);
            sum.gradients
        };
        let wanted = sum([0, 1, 2, 3, 4]);
        assert_eq!(sum([3, 0, 4, 1, 2]), wanted);
        assert_ne!(wanted["w"], arr1(&[0.0_f32; 3]).into_dyn());
    }
}
