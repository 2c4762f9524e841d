//! Gradients at layers' inputs and outputs, at stored tensors and at weights given as tensors, against differences.

use tqz_engine::burn::tensor::Tensor;

use super::*;

/// Small enough that the network bends little within it.
const STEP: f32 = 1e-2;

/// Sum of output·v.
fn weighted(network: &Network, x: &ArrayD<f32>, v: &ArrayD<f32>) -> f64 {
    let y = network.run(std::slice::from_ref(x)).unwrap();
    y[0].iter()
        .zip(v)
        .map(|(&y, &v)| f64::from(y) * f64::from(v))
        .sum()
}

/// Slope of [`weighted`] over one number of a stored tensor, by the difference of what `step` more and less of it give.
pub(super) fn slope(
    network: &Network,
    (name, place, step): (&str, usize, f32),
    (x, v): (&ArrayD<f32>, &ArrayD<f32>),
) -> f64 {
    let shifted = |sign: f32| {
        let mut values = network.weight(name).unwrap();
        values.as_slice_mut().unwrap()[place] += sign * step;
        let other = network
            .with_weights(&BTreeMap::from([(name.to_owned(), values)]))
            .unwrap();
        weighted(&other, x, v)
    };
    (shifted(1.0) - shifted(-1.0)) / f64::from(2.0 * step)
}

#[test]
fn tapped_gradients_explain_the_effect_of_a_bias() {
    let network = network(0);
    let (x, v) = (noise(&[3, 2, 6, 5], 9), noise(&[3, 3], 10));
    let taps = TapRequest {
        inputs_of: vec![3, 0, 1],
        output_grads_of: vec![0, 2, 3, 1, 1],
    };
    let cotangent = |outputs: &[ArrayD<f32>]| {
        assert_eq!(outputs[0].shape(), [3, 3]);
        vec![v.clone()]
    };
    let tapped = network
        .forward_backward(std::slice::from_ref(&x), &taps, &cotangent)
        .unwrap();
    assert_eq!(
        tapped.outputs,
        network.run(std::slice::from_ref(&x)).unwrap()
    );
    let seen = network
        .observe(std::slice::from_ref(&x), &["f", "r1"])
        .unwrap()
        .values;
    assert_eq!(
        tapped.layer_inputs,
        [seen["f"].clone(), x.clone(), seen["r1"].clone()]
    );
    assert_eq!(tapped.output_grads[2], v);
    assert_eq!(tapped.output_grads[3], tapped.output_grads[4]);
    // A bias adds to every position of its channel.
    for channel in 0..4 {
        let slope = slope(&network, ("b1", channel, STEP), (&x, &v));
        let grad = &tapped.output_grads[0];
        let sum: f32 = grad.index_axis(ndarray::Axis(1), channel).sum();
        assert!(
            (slope - f64::from(sum)).abs() < 2e-2 * (1.0 + slope.abs()),
            "{slope} {sum}"
        );
    }
}

#[test]
fn a_layer_without_effect_has_no_gradient() {
    let mut model = small(0);
    let graph = model.graph.as_mut().unwrap();
    graph.output = vec![port("r1", &[0, 4, 6, 5])];
    let network = Network::from_model(&model, &EngineDevice::cpu()).unwrap();
    let taps = TapRequest {
        inputs_of: vec![],
        output_grads_of: vec![2],
    };
    let ones = |outputs: &[ArrayD<f32>]| vec![ArrayD::ones(outputs[0].raw_dim())];
    let tapped = network
        .forward_backward(&[noise(&[1, 2, 6, 5], 1)], &taps, &ones)
        .unwrap();
    assert_eq!(
        tapped.output_grads[0],
        ArrayD::<f32>::zeros(IxDyn(&[1, 4, 6, 5]))
    );
}

#[test]
fn wrong_taps_and_cotangents_are_refused() {
    let network = network(0);
    let x = [noise(&[1, 2, 6, 5], 1)];
    let taps = |layer: usize| TapRequest {
        inputs_of: vec![],
        output_grads_of: vec![layer],
    };
    let ones = |outputs: &[ArrayD<f32>]| vec![ArrayD::ones(outputs[0].raw_dim())];
    assert!(network.forward_backward(&x, &taps(4), &ones).is_err());
    assert!(network.forward_backward(&x, &taps(0), &|_| vec![]).is_err());
    assert!(
        network
            .forward_backward(&x, &taps(0), &|_| vec![noise(&[3], 1)])
            .is_err()
    );
}

#[test]
fn weights_given_as_tensors_receive_gradients() {
    let network = network(0);
    let (x, v) = (noise(&[2, 2, 6, 5], 9), noise(&[2, 3], 10));
    let device = network.device().burn();
    let tensor = |array: &ArrayD<f32>| Tensor::<1>::from_data(array.as_slice().unwrap(), device);
    let w2 = network.weight("w2").unwrap();
    let leaf = tensor(&w2).reshape([4, 4, 3, 3]).autodiff().require_grad();
    let input = Real::from_tensor(tensor(&x).reshape([2, 2, 6, 5]));
    let weights = BTreeMap::from([("w2".to_owned(), Real::from_tensor(leaf.clone()))]);
    let outputs = network.run_tensors(vec![input], weights).unwrap();
    let y = outputs[0].clone().into_tensor::<2>().unwrap();
    let loss = (y * tensor(&v).reshape([2, 3])).sum();
    let grads = loss.backward();
    let grad = leaf.grad(&grads).unwrap().try_to_vec_as::<f32>().unwrap();
    for place in [0, 17, 90, 143] {
        let slope = slope(&network, ("w2", place, STEP), (&x, &v));
        assert!(
            (slope - f64::from(grad[place])).abs() < 2e-2 * (1.0 + slope.abs()),
            "{slope} {}",
            grad[place]
        );
    }
}

/// Gradients of stored tensors, also of one that two layers share through a folded node, against differences.
#[test]
fn gradients_of_stored_tensors_are_slopes() {
    let network = network(0);
    let (x, v) = (noise(&[3, 2, 6, 5], 9), noise(&[3, 3], 10));
    let names = ["w1", "w2", "scale", "shift", "b1"];
    let given = |_: &[ArrayD<f32>]| vec![v.clone()];
    let found = network
        .weight_gradients(std::slice::from_ref(&x), &names, &given)
        .unwrap();
    let plain = network.run(std::slice::from_ref(&x)).unwrap();
    for (a, b) in found.outputs[0].iter().zip(&plain[0]) {
        assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
    }
    for name in names {
        let stored = network.weight(name).unwrap();
        let gradient = &found.gradients[name];
        assert_eq!(gradient.shape(), stored.shape());
        let place = stored.len() / 2;
        let slope = slope(&network, (name, place, STEP), (&x, &v));
        let gradient = f64::from(gradient.as_slice().unwrap()[place]);
        assert!(
            (slope - gradient).abs() < 2e-2 * (1.0 + slope.abs()),
            "{name}: {slope} {gradient}"
        );
    }
    assert!(network.weight_gradients(&[x], &["no"], &given).is_err());
}
