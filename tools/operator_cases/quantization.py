"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper

from .kit import Family, f32, scalar

LEVELS = {
    "int8": (np.int8, -128, 127, 10),
    "uint8": (np.uint8, 0, 255, 10),
    "int16": (np.int16, -32768, 32767, 21),
    "uint16": (np.uint16, 0, 65535, 21),
    "int4": (ml_dtypes.int4, -8, 7, 21),
    "uint4": (ml_dtypes.uint4, 0, 15, 21),
}


def add(family: Family):
    """All cases of the family."""
    for name in LEVELS:
        per_tensor(family, name)
        per_axis(family, name)
        blocked(family, name)
    special(family)
    two_bits(family)


def both(family, name, x, scale, zero, opset, **attributes):
    """Quantize, look at the levels as int32, and reconstruct; scales are constants."""
    inputs = ["x", "scale"] + (["zero"] if zero is not None else [])
    given = {"x": x, "scale": scale} | ({"zero": zero} if zero is not None else {})
    shared = {k: v for k, v in attributes.items() if k != "output_dtype"}
    nodes = [
        helper.make_node("QuantizeLinear", inputs, ["q"], name="probe", **attributes),
        helper.make_node("Cast", ["q"], ["levels"], to=TensorProto.INT32),
        helper.make_node("DequantizeLinear", ["q", *inputs[1:]], ["y"], **shared),
    ]
    family.graph(name, nodes, given, ["levels", "y"], opset=opset, constant={"scale", "zero"})


def stored(family, name, levels, scale, zero, opset, **attributes):
    """Reconstruct constant levels and add them to an input, as weights are."""
    given = {"x": family.draw(name).spread(*levels.shape), "q": levels, "scale": scale}
    inputs = ["q", "scale"]
    if zero is not None:
        given["zero"] = zero
        inputs.append("zero")
    nodes = [
        helper.make_node("DequantizeLinear", inputs, ["w"], name="probe", **attributes),
        helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    # Levels of 16 bits are too large next to the steps of difference quotients.
    gradient = levels.dtype.itemsize == 1
    family.graph(name, nodes, given, ["y"], opset=opset, constant={"q", "scale", "zero"},
                 gradient=gradient)


def middle(kind, low, high):
    """A zero point that is legal and not zero."""
    return np.array((low + high) // 2 + 3).astype(kind)


def per_tensor(family, name):
    """One scale; saturation at both ends; ties to even."""
    kind, low, high, opset = LEVELS[name]
    span = (high - low) * 0.25
    x = f32(0, 0.125, 0.375, -0.375, 0.5, 1, -1, 2, span, -span, 2 * span, -2 * span)
    both(family, f"quantize_{name}", x, scalar(0.25), middle(kind, low, high), opset)
    both(family, f"quantize_{name}_zero_point_0", x, scalar(0.3), np.array(0).astype(kind), opset)
    draw = family.draw(name)
    levels = draw.ints(2, 3, low=low, high=high + 1).astype(kind)
    stored(family, f"dequantize_{name}", levels, scalar(0.05), middle(kind, low, high), opset)
    stored(family, f"dequantize_{name}_no_zero_point", levels, scalar(0.05), None, opset)


def per_axis(family, name):
    """A scale for each channel; axis 1 unless said otherwise."""
    kind, low, high, opset = LEVELS[name]
    opset = max(opset, 13)
    draw = family.draw(f"axis {name}")
    x = draw.spread(2, 3, 2, low=-4, high=4)
    scale = f32(0.1, 0.5, 0.02)
    zero = np.array([0, 1, 2]).astype(kind) if low == 0 else np.array([-1, 0, 2]).astype(kind)
    both(family, f"quantize_{name}_axis_default", x, scale, zero, opset)
    both(family, f"quantize_{name}_axis_minus_2", x, scale, zero, opset, axis=-2)
    both(family, f"quantize_{name}_axis_0", x.reshape(3, 4), scale, zero, opset, axis=0)
    levels = draw.ints(3, 2, 2, low=low, high=high + 1).astype(kind)
    stored(family, f"dequantize_{name}_axis_0", levels, scale, zero, opset, axis=0)
    stored(family, f"dequantize_{name}_axis_0_no_zero_point", levels, scale, None, opset, axis=0)


def blocked(family, name):
    """A scale for each block along an axis; the last block may be shorter."""
    kind, low, high, _ = LEVELS[name]
    draw = family.draw(f"block {name}")
    x = draw.spread(3, 6, low=-3, high=3)
    scale = draw.spread(3, 3, low=0.1, high=0.6)
    zero = draw.ints(3, 3, low=max(low, -2), high=3).astype(kind)
    both(family, f"quantize_{name}_blocks", x, scale, zero, 21, axis=1, block_size=2)
    levels = draw.ints(5, 2, low=low, high=high + 1).astype(kind)
    stored(family, f"dequantize_{name}_short_last_block", levels,
           draw.spread(2, 2, low=0.1, high=0.5), draw.ints(2, 2, low=0, high=3).astype(kind), 21,
           axis=0, block_size=3)


def special(family):
    """Defaults, scales of one element, int32 levels, half-precision scales, dynamic."""
    x = f32(-1, -0.3, 0, 0.26, 1, 70)
    both(family, "quantize_default_is_uint8", x, scalar(0.2), None, 10)
    both(family, "quantize_output_dtype", x, scalar(0.2), None, 21, output_dtype=TensorProto.INT8)
    both(family, "quantize_scale_of_one_element", x, f32(0.2), np.array([5], np.uint8), 13)
    levels = np.array([-70000, -1, 0, 5, 70000], np.int32)
    stored(family, "dequantize_int32", levels, scalar(0.01), None, 13)
    family.node("dequantize_levels_as_input", "DequantizeLinear",
                [np.array([[1, -2], [3, 4]], np.int8), scalar(0.5), scalar(1, np.int8)],
                held=(1, 2))
    family.node("quantize_scale_as_input", "QuantizeLinear", [x, scalar(0.25), scalar(9, np.uint8)],
                held=(2,))
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["h"], name="probe"),
        helper.make_node("Cast", ["h"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    given = {"x": f32(1, 2), "q": np.array([3, -4], np.int8), "scale": scalar(0.375, np.float16)}
    family.graph("dequantize_float16_scale", nodes, given, ["y"], opset=19,
                 constant={"q", "scale"})
    family.node("dynamicquantizelinear", "DynamicQuantizeLinear", [f32(-1, 0.3, 2.55, 1.1)],
                outputs=3, gradient=False)
    family.node("dynamicquantizelinear_positive", "DynamicQuantizeLinear", [f32(1, 2, 3, 5.1)],
                outputs=3, gradient=False)


def two_bits(family):
    """int2 and uint2 since opset 25."""
    for name, kind, low, high in (("int2", ml_dtypes.int2, -2, 1), ("uint2", ml_dtypes.uint2, 0, 3)):
        levels = family.draw(name).ints(3, 5, low=low, high=high + 1).astype(kind)
        nodes = [
            helper.make_node("Cast", ["q"], ["f"], to=TensorProto.FLOAT, name="probe"),
            helper.make_node("Mul", ["f", "scale"], ["w"]),
            helper.make_node("Add", ["x", "w"], ["y"]),
        ]
        given = {"x": family.draw(name).spread(3, 5), "q": levels, "scale": scalar(0.7)}
        family.graph(f"cast_{name}_weights", nodes, given, ["y"], opset=25,
                     constant={"q", "scale"})
