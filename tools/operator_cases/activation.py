"""Functions of each element, and Softmax."""

import numpy as np

from .kit import Family, f32, scalar


def add(family: Family):
    """All cases of the family."""
    plain(family)
    clip(family)
    prelu(family)
    softmax(family)


def plain(family):
    """One input, at most a few factors."""
    draw = family.draw("plain")
    for op in ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "HardSwish", "Mish", "Elu",
               "Selu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Celu"):
        opset = 18 if op == "Mish" else 17
        name = op.lower()
        family.node(name, op, [draw.spread(2, 3, 4, low=-5, high=5)], opset=opset)
        family.node(f"{name}_large_numbers", op, [f32(-90, -20, 0.25, 20, 90)], opset=opset,
                    gradient=False)
    family.node("relu_opset_6", "Relu", [draw.spread(3, 4)], opset=7)
    family.node("relu_scalar", "Relu", [scalar(-1.5)])
    family.node("leakyrelu_alpha", "LeakyRelu", [draw.spread(3, 4)], alpha=0.2)
    family.node("leakyrelu_alpha_negative", "LeakyRelu", [draw.spread(3, 4)], alpha=-0.5)
    family.node("elu_alpha", "Elu", [draw.spread(3, 4)], alpha=0.5)
    family.node("selu_factors", "Selu", [draw.spread(3, 4)], alpha=2.0, gamma=3.0)
    family.node("celu_alpha", "Celu", [draw.spread(3, 4)], alpha=2.0)
    family.node("thresholdedrelu_alpha", "ThresholdedRelu", [draw.spread(3, 4)], alpha=0.3)
    family.node("hardsigmoid_factors", "HardSigmoid", [draw.spread(3, 4)], alpha=0.6, beta=0.4)
    family.node("gelu_exact", "Gelu", [draw.spread(2, 3, 4, low=-4, high=4)], opset=20)
    family.node("gelu_tanh", "Gelu", [draw.spread(2, 3, 4, low=-4, high=4)], opset=20,
                approximate="tanh")
    family.node("swish", "Swish", [draw.spread(3, 4, low=-4, high=4)], opset=24)
    family.node("swish_alpha", "Swish", [draw.spread(3, 4)], opset=24, alpha=1.7)


def clip(family):
    """Bounds as attributes (before opset 11) and as inputs."""
    draw = family.draw("clip")
    x = draw.spread(3, 4, low=-7.9, high=8)
    family.node("clip_attributes", "Clip", [x], opset=6 + 1, min=-1.0, max=6.0)
    family.node("clip_attribute_min", "Clip", [x], opset=9, min=0.5)
    family.node("clip_no_attributes", "Clip", [x], opset=9)
    family.node("clip_inputs", "Clip", [x, scalar(0.0), scalar(6.0)], held=(1, 2))
    family.node("clip_inputs_free", "Clip", [x, scalar(-2.0), scalar(3.0)], gradient=False)
    family.node("clip_input_min", "Clip", [x, scalar(-1.0)], held=(1,))
    family.node("clip_input_max", "Clip", [x, None, scalar(1.0)], held=(2,))
    family.node("clip_no_inputs", "Clip", [x])
    family.node("clip_opset_11", "Clip", [x, scalar(-1.5), scalar(1.5)], held=(1, 2), opset=11)
    family.node("clip_min_above_max", "Clip", [x, scalar(2.0), scalar(1.0)], held=(1, 2),
                gradient=False)
    family.node("clip_integers", "Clip", [draw.ints(2, 4), scalar(-2, np.int64),
                                          scalar(3, np.int64)])


def prelu(family):
    """Slopes of every shape that broadcasts."""
    draw = family.draw("prelu")
    for name, dims in (("channel", (3, 1, 1)), ("one", (1,)), ("full", (2, 3, 2, 2)),
                       ("row", (2,))):
        family.node(f"prelu_{name}", "PRelu", [draw.spread(2, 3, 2, 2), draw.spread(*dims)],
                    held=(1,))
    family.node("prelu_slope_as_input", "PRelu", [draw.spread(2, 3, 2), draw.spread(3, 1)])
    family.node("prelu_opset_9", "PRelu", [draw.spread(2, 3, 2), draw.spread(3, 1)], opset=9,
                held=(1,))


def softmax(family):
    """Before opset 13 the axes from `axis` on are one; since then one axis alone."""
    draw = family.draw("softmax")
    for op in ("Softmax", "LogSoftmax"):
        name = op.lower()
        for opset in (11, 13):
            family.node(f"{name}_opset_{opset}_default", op, [draw.spread(2, 3, 4)], opset=opset)
            for axis in (0, 1, 2, -1, -2):
                family.node(f"{name}_opset_{opset}_axis_{axis}", op, [draw.spread(2, 3, 4)],
                            opset=opset, axis=axis)
    family.node("softmax_opset_7_matrix", "Softmax", [draw.spread(2, 5)], opset=7)
    family.node("softmax_opset_9_feature_map", "Softmax", [draw.spread(2, 3, 2, 2)], opset=9)
    family.node("softmax_large_numbers", "Softmax", [f32(1000, 999, -1000).reshape(1, 3)])
    family.node("logsoftmax_large_numbers", "LogSoftmax", [f32(1000, 999, -1000).reshape(1, 3)],
                gradient=False)
    family.node("softmax_vector", "Softmax", [draw.spread(5)])
