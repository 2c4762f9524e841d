//! Biases corrected in one pass: rounding weights and clipping values moves the means of a layer's channels; each is moved back as
//! soon as it is computed, so that later layers already see the corrected values.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Axis};
use tqz_engine::{EngineDevice, Network};
use tqz_onnx::model::{DataType, ModelProto, TensorProto};

use super::insert::BiasPlace;
use crate::error::TqzError;
use crate::images::Images;
use crate::progress::Progress;

/// Images of the pass at most, and numbers of an input at most: all are in memory at once.
const IMAGES: usize = 64;
const ELEMENTS: usize = 2_500_000;

/// Changes the integer biases of the quantized model so that channel means are those of the float network.
///
/// # Errors
/// A network that does not run on the images.
pub(super) fn correct_biases(
    (floats, model): (&Network, &mut ModelProto),
    places: &[BiasPlace],
    (images, numbers): (&Images, &[usize]),
    progress: &dyn Progress,
) -> Result<(), TqzError> {
    let network = Network::from_model(model, &EngineDevice::cpu())?;
    let one = images.batch(&numbers[..1])?.len().max(1);
    let count = (ELEMENTS / one).clamp(1, IMAGES);
    let count = network.fixed_batch().unwrap_or(count);
    let Some(batch) = images.batches(numbers, count).into_iter().next() else {
        return Ok(());
    };
    let by_output: BTreeMap<&str, &BiasPlace> = places
        .iter()
        .map(|place| (place.output.as_str(), place))
        .collect();
    let names: Vec<&str> = by_output.keys().copied().collect();
    progress.begin("correcting biases", 2 * names.len() as u64);
    let batch = network.fill_batch(images.batch(&batch)?.view())?;
    let mut wanted: BTreeMap<String, Means> = BTreeMap::new();
    floats.run_adjusting(std::slice::from_ref(&batch), &names, &mut |name, value| {
        progress.advance(1);
        let axis = by_output.get(name).map_or(0, |place| place.axis);
        wanted.insert(name.to_owned(), means(&value, axis));
        value
    })?;
    let mut moves: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    network.run_adjusting(&[batch], &names, &mut |name, value| {
        progress.advance(1);
        match (by_output.get(name), wanted.get(name)) {
            (Some(place), Some(wanted)) => {
                let (value, levels) = moved(value, place, wanted);
                moves.insert(place.tensor.clone(), levels);
                value
            }
            _ => value,
        }
    })?;
    progress.finish();
    let tensors = model
        .graph
        .iter_mut()
        .flat_map(|graph| &mut graph.initializer);
    for tensor in tensors {
        let name = tensor.name.clone().unwrap_or_default();
        if let Some(moves) = moves.get(&name) {
            *tensor = added(tensor, &name, moves)?;
        }
    }
    Ok(())
}

type Means = Vec<f64>;

/// Mean of each channel.
fn means(value: &ArrayD<f32>, axis: usize) -> Means {
    let channels = value.axis_iter(Axis(axis));
    channels
        .map(|channel| {
            channel.iter().map(|&v| f64::from(v)).sum::<f64>() / channel.len().max(1) as f64
        })
        .collect()
}

/// The value with the wanted channel means, and how many units of the bias that takes.
fn moved(mut value: ArrayD<f32>, place: &BiasPlace, wanted: &Means) -> (ArrayD<f32>, Vec<i32>) {
    let found = means(&value, place.axis);
    let mut levels = Vec::with_capacity(place.steps.len());
    for (c, ((step, wanted), found)) in place.steps.iter().zip(wanted).zip(&found).enumerate() {
        let level = ((wanted - found) / step).round().clamp(-1e9, 1e9);
        levels.push(level as i32);
        let offset = (level * step) as f32;
        value
            .index_axis_mut(Axis(place.axis), c)
            .mapv_inplace(|v| v + offset);
    }
    (value, levels)
}

fn added(tensor: &TensorProto, name: &str, moves: &[i32]) -> Result<TensorProto, TqzError> {
    let levels = tensor.to_i64()?;
    let sums = levels.iter().zip(moves).map(|(level, &by)| {
        let sum = level + i64::from(by);
        sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    });
    let bytes = sums.flat_map(i32::to_le_bytes).collect();
    Ok(TensorProto::from_raw(
        name,
        &tensor.dims_usize()?,
        DataType::Int32,
        bytes,
    )?)
}
