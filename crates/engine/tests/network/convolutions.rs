//! Gradients of convolutions of every kind against differences: at their own weights, and through their input at a layer before.

use super::gradients::slope;
use super::*;

struct Kind {
    what: &'static str,
    group: i64,
    strides: [i64; 2],
    dilations: [i64; 2],
    pads: [i64; 4],
    /// Of the weights: outputs, inputs of a group, kernel.
    dims: [usize; 4],
}

const KINDS: [Kind; 6] = [
    Kind {
        what: "plain",
        group: 1,
        strides: [1, 1],
        dilations: [1, 1],
        pads: [1, 1, 1, 1],
        dims: [6, 4, 3, 3],
    },
    Kind {
        what: "grouped",
        group: 2,
        strides: [1, 1],
        dilations: [1, 1],
        pads: [1, 1, 1, 1],
        dims: [6, 2, 3, 3],
    },
    Kind {
        what: "depthwise, two outputs a channel",
        group: 4,
        strides: [1, 1],
        dilations: [1, 1],
        pads: [1, 1, 1, 1],
        dims: [8, 1, 3, 3],
    },
    Kind {
        what: "strided",
        group: 1,
        strides: [2, 3],
        dilations: [1, 1],
        pads: [0, 1, 1, 0],
        dims: [3, 4, 3, 2],
    },
    Kind {
        what: "dilated",
        group: 1,
        strides: [1, 1],
        dilations: [2, 3],
        pads: [2, 0, 2, 3],
        dims: [3, 4, 2, 3],
    },
    Kind {
        what: "depthwise, strided and dilated",
        group: 4,
        strides: [2, 1],
        dilations: [1, 2],
        pads: [1, 2, 0, 1],
        dims: [4, 1, 3, 3],
    },
];

/// A convolution of 1 × 1, a bias and one of the kind after it.
fn after_another(kind: &Kind) -> Network {
    let last = node("Conv", "last", &["mixed", "w", "b"], "output");
    let last = last
        .with("pads", kind.pads)
        .with("strides", kind.strides)
        .with("dilations", kind.dilations)
        .with("group", kind.group);
    let graph = GraphProto {
        node: vec![node("Conv", "first", &["input", "before"], "mixed"), last],
        initializer: vec![
            stored("before", &noise(&[4, 2, 1, 1], 1)),
            stored("w", &noise(&kind.dims, 2)),
            stored("b", &noise(&[kind.dims[0]], 3)),
        ],
        input: vec![port("input", &[0, 2, 8, 9])],
        output: vec![port("output", &[0, kind.dims[0] as i64, 0, 0])],
        ..GraphProto::default()
    };
    Network::from_model(&model(graph), &EngineDevice::cpu()).unwrap()
}

#[test]
fn gradients_of_all_convolutions_are_slopes() {
    for kind in &KINDS {
        let network = after_another(kind);
        let x = noise(&[3, 2, 8, 9], 4);
        let shape = network.run(std::slice::from_ref(&x)).unwrap()[0]
            .shape()
            .to_vec();
        let v = noise(&shape, 5);
        let found = network
            .weight_gradients(std::slice::from_ref(&x), &["before", "w", "b"], &|_| {
                vec![v.clone()]
            })
            .unwrap();
        for (name, gradient) in &found.gradients {
            assert_eq!(gradient.shape(), network.weight(name).unwrap().shape());
            for place in 0..gradient.len() {
                // The output is linear in every one of them.
                let slope = slope(&network, (name, place, 0.5), (&x, &v)) as f32;
                let gradient = gradient.as_slice().unwrap()[place];
                assert!(
                    (slope - gradient).abs() < 2e-3 * (1.0 + slope.abs()),
                    "{}: {name} {place}: {slope} {gradient}",
                    kind.what
                );
            }
        }
    }
}
