#!/usr/bin/env python3
"""Writes what ONNX Runtime computes for whole networks: crates/engine/tests/fixtures/networks/*.json.

Usage: make_network_references.py [SHARED_FOLDER]        (default: ../shared beside the repository)
Needs the PyPI packages onnx, onnxruntime, numpy.

Each file holds the recipe of the input (a linear congruential generator that the Rust tests
repeat), a fixed subsample of every output, and the output's range and shape. The nine graphs
of the onnx package (backend/test/data/light) come without weights and get some from the same
generator.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "crates/engine/tests/fixtures/networks"
SAMPLES = 64

# Shape of the input of each shared network, and factor and offset that bring -1..1 to what it expects.
SHARED = {
    "resnet20-cifar10": ([2, 3, 32, 32], 2.0, 0.0),
    "resnet56-cifar10": ([2, 3, 32, 32], 2.0, 0.0),
    "densenet40-12-cifar10": ([2, 3, 32, 32], 127.5, 127.5),
    "mobilenet-v1-075": ([1, 3, 224, 224], 1.0, 0.0),
    "efficientnet-lite0": ([1, 3, 224, 224], 1.0, 0.0),
    "dncnn-s-25": ([1, 1, 40, 56], 0.5, 0.5),
    "imdn-x2": ([1, 3, 24, 32], 0.5, 0.5),
    "carn-m-x2": ([1, 3, 24, 32], 0.5, 0.5),
    "vdsr": ([1, 1, 40, 56], 0.5, 0.5),
    "alexnet-cifar10": ([2, 3, 32, 32], 2.0, 0.0),
    "resnet18-cifar10": ([2, 3, 32, 32], 2.0, 0.0),
}


def noise(count, seed):
    """-1..1: the upper 24 bits of a 64-bit linear congruential generator (Knuth's MMIX)."""
    multiplier, increment, mask = 6364136223846793005, 1442695040888963407, (1 << 64) - 1
    # Jumping ahead by powers of two fills the array without a loop per number.
    values = np.empty(count, dtype=np.uint64)
    state = seed & mask
    state = (state * multiplier + increment) & mask
    if count:
        values[0] = state
    filled, a, c = 1, multiplier, increment
    while filled < count:
        take = min(filled, count - filled)
        with np.errstate(over="ignore"):
            values[filled : filled + take] = values[:take] * np.uint64(a) + np.uint64(c)
        a, c = (a * a) & mask, (a * c + c) & mask
        filled += take
    upper = (values >> np.uint64(40)).astype(np.float32)
    return upper / np.float32(1 << 23) - np.float32(1)


def reference(name, model, feeds_recipe):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds, inputs = {}, []
    for port, (dims, scale, offset) in zip(session.get_inputs(), feeds_recipe):
        x = noise(int(np.prod(dims)), 1) * np.float32(scale) + np.float32(offset)
        feeds[port.name] = x.reshape(dims)
        inputs.append({"name": port.name, "dims": dims, "seed": 1, "scale": scale, "offset": offset})
    outputs = []
    for port, y in zip(session.get_outputs(), session.run(None, feeds)):
        flat = y.reshape(-1)
        places = np.unique(np.linspace(0, flat.size - 1, SAMPLES).astype(np.int64))
        outputs.append({
            "name": port.name,
            "dims": list(y.shape),
            "low": float(flat.min()),
            "high": float(flat.max()),
            "places": places.tolist(),
            "values": [float(v) for v in flat[places]],
        })
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"network": name, "inputs": inputs, "outputs": outputs}, indent=1) + "\n")
    print(name, [o["dims"] for o in outputs], [(o["low"], o["high"]) for o in outputs])


def with_noise_weights(model):
    """Replaces every ConstantOfShape of a light graph by an initializer from the generator.

    Node number i has seed i. Tensors of rank 2 and more: noise * sqrt(6 / fan-in), which keeps
    the variance through ReLUs; vectors: 1 + noise / 10, legal as a variance too. The Rust
    test does the same.
    """
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    kept = []
    for index, node in enumerate(model.graph.node):
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        dims = [int(d) for d in shapes[node.input[0]]]
        x = noise(int(np.prod(dims)), index)
        if len(dims) >= 2:
            x = x * np.float32(np.sqrt(6.0 / np.prod(dims[1:])))
        else:
            x = x / np.float32(10) + np.float32(1)
        model.graph.initializer.append(onnx.numpy_helper.from_array(x.reshape(dims), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    if kept[-1].op_type == "Softmax":
        # Generated weights saturate the softmax: its input says more.
        del model.graph.output[:]
        logits = onnx.helper.make_tensor_value_info(kept[-1].input[0], onnx.TensorProto.FLOAT, None)
        model.graph.output.append(logits)
    return model


def main():
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared"
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, recipe in SHARED.items():
        reference(name, onnx.load(shared / "models" / f"{name}.onnx"), [recipe])
    light = Path(onnx.__file__).parent / "backend/test/data/light"
    for path in sorted(light.glob("*.onnx")):
        model = onnx.load(path)
        stored = {tensor.name for tensor in model.graph.initializer}
        recipe = [
            ([d.dim_value for d in port.type.tensor_type.shape.dim], 1.0, 0.0)
            for port in model.graph.input
            if port.name not in stored
        ]
        reference(path.stem, with_noise_weights(model), recipe)


if __name__ == "__main__":
    main()
