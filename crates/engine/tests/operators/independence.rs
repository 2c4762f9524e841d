//! Results do not depend on how many threads there are.

use ndarray::{ArrayD, IxDyn};
use tqz_engine::{EngineDevice, Network, TapRequest};

use crate::fixture;

fn network() -> Network {
    let case = fixture::read("structure")
        .into_iter()
        .find(|case| case.name == "network_classifier")
        .expect("the case exists");
    Network::from_model(&case.model(), &EngineDevice::cpu()).expect("the network loads")
}

/// A batch of 24 images of 3×6×6 numbers that follow no pattern.
fn batch() -> ArrayD<f32> {
    let mut state = 12345u32;
    ArrayD::from_shape_simple_fn(IxDyn(&[24, 3, 6, 6]), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool");
    pool.install(work)
}

fn bits(arrays: &[ArrayD<f32>]) -> Vec<u32> {
    arrays
        .iter()
        .flatten()
        .map(|number| number.to_bits())
        .collect()
}

#[test]
fn sharded_batches_give_the_same_bits_on_any_number_of_threads() {
    let (network, batch) = (network(), batch());
    let run = |threads| {
        on_threads(threads, || {
            bits(&network.run_batch(&batch, 5).expect("the batch runs"))
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
}

#[test]
fn sharding_gives_what_one_call_gives() {
    let (network, batch) = (network(), batch());
    let whole = network
        .run(std::slice::from_ref(&batch))
        .expect("the batch runs");
    for shard in [1, 5, 24, 100] {
        let sharded = network.run_batch(&batch, shard).expect("the batch runs");
        for (a, b) in whole.iter().flatten().zip(sharded.iter().flatten()) {
            assert!((a - b).abs() < 1e-5, "shards of {shard}: {a} and {b}");
        }
    }
}

#[test]
fn gradients_have_the_same_bits_on_any_number_of_threads() {
    let (network, batch) = (network(), batch());
    let taps = TapRequest {
        inputs_of: vec![0, 1],
        output_grads_of: vec![0, 1],
    };
    let run = |threads| {
        on_threads(threads, || {
            let result = network
                .forward_backward(std::slice::from_ref(&batch), &taps, &|outputs| {
                    outputs.to_vec()
                })
                .expect("the pass runs");
            [
                bits(&result.outputs),
                bits(&result.layer_inputs),
                bits(&result.output_grads),
            ]
        })
    };
    let one = run(1);
    assert!(
        one[2].iter().any(|&bits| f32::from_bits(bits) != 0.0),
        "some gradient is not zero"
    );
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
}
