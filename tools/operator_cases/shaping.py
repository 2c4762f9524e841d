"""Reshape, Flatten, Transpose, Squeeze, Unsqueeze, Shape, Size, Expand, Cast, Constant and the like."""

import numpy as np
from onnx import TensorProto, helper

from .kit import Family, f32, i64, scalar


def add(family: Family):
    """All cases of the family."""
    reshape(family)
    flatten_transpose(family)
    squeeze(family)
    shape(family)
    expand(family)
    cast(family)
    cast_out_of_range(family)
    constants(family)
    ranges(family)


def reshape(family):
    """Zeros copy, -1 fills."""
    draw = family.draw("reshape")
    for name, dims, target in (("plain", (2, 6), (3, 4)), ("minus_one", (2, 3, 4), (2, -1)),
                               ("zero_copies", (2, 3, 4), (0, -1)), ("zeros", (2, 3, 4), (0, 0, 4)),
                               ("to_rank_6", (4, 6), (2, 2, 1, 3, 2, 1)), ("to_vector", (2, 3), (-1,)),
                               ("to_rank_0", (1, 1), ())):
        family.node(f"reshape_{name}", "Reshape", [draw.spread(*dims), i64(*target)])
    family.node("reshape_free", "Reshape", [draw.spread(2, 6), i64(4, -1)], free=True)
    family.node("reshape_allowzero", "Reshape", [draw.spread(2, 3), i64(3, 2)], allowzero=1)
    family.node("reshape_allowzero_empty", "Reshape", [np.zeros((0, 3), np.float32), i64(3, 0)],
                allowzero=1, held=(0,), gradient=False)
    family.node("reshape_opset_5", "Reshape", [draw.spread(2, 6), i64(0, 3, 2)], opset=7)
    family.node("reshape_integers", "Reshape", [draw.ints(2, 3), i64(6)])


def flatten_transpose(family):
    """Axes of both signs."""
    draw = family.draw("flatten")
    family.node("flatten_default", "Flatten", [draw.spread(2, 3, 2, 2)])
    for axis in (0, 2, 4, -1, -3):
        family.node(f"flatten_{axis}", "Flatten", [draw.spread(2, 3, 2, 2)], axis=axis)
    family.node("flatten_vector", "Flatten", [draw.spread(4)], axis=0)
    family.node("flatten_opset_9", "Flatten", [draw.spread(2, 3, 2)], opset=9, axis=1)
    family.node("transpose_default", "Transpose", [draw.spread(2, 3, 4)])
    for perm in ([0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 1, 2, 3]):
        family.node("transpose_" + "".join(map(str, perm)), "Transpose", [draw.spread(2, 3, 2, 2)],
                    perm=perm)
    family.node("transpose_rank_6", "Transpose", [draw.spread(1, 2, 2, 3, 1, 2)],
                perm=[0, 3, 4, 1, 5, 2])
    family.node("transpose_integers", "Transpose", [draw.ints(2, 3)])


def squeeze(family):
    """Axes as attribute (before opset 13) and as input."""
    draw = family.draw("squeeze")
    x = draw.spread(1, 3, 1, 2)
    family.node("squeeze_all", "Squeeze", [x])
    family.node("squeeze_axes", "Squeeze", [x, i64(0, -2)])
    family.node("squeeze_opset_11", "Squeeze", [x], opset=11, axes=[2])
    family.node("squeeze_opset_11_negative", "Squeeze", [x], opset=11, axes=[-4])
    family.node("squeeze_opset_9_all", "Squeeze", [x], opset=9)
    family.node("squeeze_to_scalar", "Squeeze", [f32(2.5)])
    family.node("squeeze_integers", "Squeeze", [i64(4), i64(0)])
    y = draw.spread(3, 2)
    family.node("unsqueeze_axes", "Unsqueeze", [y, i64(0, 3)])
    family.node("unsqueeze_negative", "Unsqueeze", [y, i64(-1, 1)])
    family.node("unsqueeze_unsorted", "Unsqueeze", [y, i64(3, 0)])
    family.node("unsqueeze_opset_11", "Unsqueeze", [y], opset=11, axes=[1, -1])
    family.node("unsqueeze_opset_9", "Unsqueeze", [y], opset=9, axes=[0])
    family.node("unsqueeze_scalar", "Unsqueeze", [scalar(7, np.int64), i64(0)])


def shape(family):
    """Shape and Size."""
    draw = family.draw("shape")
    x = draw.spread(2, 3, 4)
    family.node("shape_opset_13", "Shape", [x], opset=13)
    family.node("shape_all", "Shape", [x])
    family.node("shape_from_1", "Shape", [x], start=1)
    family.node("shape_to_minus_1", "Shape", [x], end=-1)
    family.node("shape_clamped", "Shape", [x], start=-9, end=9)
    family.node("shape_nothing", "Shape", [x], start=2, end=1)
    family.node("shape_scalar", "Shape", [scalar(1.0)])
    family.node("size", "Size", [x])
    family.node("size_scalar", "Size", [scalar(1.0)])
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["batch"], axis=0),
        helper.make_node("Unsqueeze", ["batch", "axis"], ["batch1"]),
        helper.make_node("Concat", ["batch1", "minus"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"], name="probe"),
    ]
    given = {"x": x, "zero": scalar(0, np.int64), "axis": i64(0), "minus": i64(-1)}
    family.graph("shape_arithmetic_flatten", nodes, given, ["y"], constant={"zero", "axis", "minus"})


def expand(family):
    """Broadcast both ways; Identity and Dropout pass through."""
    draw = family.draw("expand")
    for name, dims, target in (("rows", (3, 1), (3, 4)), ("new_axis", (3, 1), (2, 1, 4)),
                               ("keeps_larger", (3, 4), (1,)), ("scalar", (), (2, 2)),
                               ("both", (2, 1), (1, 3))):
        family.node(f"expand_{name}", "Expand", [draw.spread(*dims), i64(*target)])
    family.node("expand_integers", "Expand", [i64(1, 2), i64(2, 2)])
    x = draw.spread(2, 3)
    family.node("identity", "Identity", [x])
    family.node("identity_integers", "Identity", [draw.ints(3)])
    family.node("dropout_opset_7", "Dropout", [x], opset=7, ratio=0.4)
    # The mask has no meaning at inference before opset 12; files name it all the same.
    nodes = [helper.make_node("Dropout", ["x"], ["y", "mask"], name="probe", ratio=0.5)]
    family.graph("dropout_opset_9_unread_mask", nodes, {"x": x}, ["y"], opset=9)
    family.graph("dropout_opset_10_unread_mask", nodes, {"x": x}, ["y"], opset=10)
    family.node("dropout_opset_13", "Dropout", [x, scalar(0.3)], opset=13, held=(1,))
    family.node("dropout_opset_13_mask", "Dropout", [x, scalar(0.3), scalar(False, np.bool_)],
                opset=13, held=(1, 2), outputs=2)
    family.node("dropout_seed", "Dropout", [x], opset=12, seed=3)
    family.node("dropout_opset_22", "Dropout", [x, scalar(0.5)], opset=22, held=(1,))


def cast(family):
    """Between floats, integers and truth values."""
    x = f32(-2.7, -1, -0.5, 0, 0.4, 0.5, 1.9, 3)
    for to in ("FLOAT", "FLOAT16", "DOUBLE", "INT32", "INT64", "INT8", "BOOL"):
        family.node(f"cast_float_to_{to.lower()}", "Cast", [x], to=getattr(TensorProto, to),
                    gradient=to in ("FLOAT",))
    fine = f32(1.0002, 0.1, 333.3333, 65519.0, 1e-7)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16, name="probe"),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    family.graph("cast_through_float16", nodes, {"x": fine}, ["y"], gradient=False,
                 tolerance=1e-3)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16, name="probe"),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    family.graph("cast_through_bfloat16", nodes, {"x": fine}, ["y"], gradient=False,
                 tolerance=8e-3)
    numbers = i64(-300, -1, 0, 1, 127, 300)
    for to in ("FLOAT", "INT32", "INT8", "UINT8", "BOOL", "FLOAT16"):
        family.node(f"cast_int64_to_{to.lower()}", "Cast", [numbers], to=getattr(TensorProto, to))
    flags = np.array([True, False])
    for to in ("FLOAT", "INT64"):
        family.node(f"cast_bool_to_{to.lower()}", "Cast", [flags], to=getattr(TensorProto, to))
    family.node("cast_opset_6", "Cast", [x], to=TensorProto.INT32, opset=7)
    family.node("cast_opset_19", "Cast", [x], to=TensorProto.FLOAT16, opset=19, saturate=1,
                gradient=False)
    family.node("castlike_integers", "CastLike", [x, i64(1)], gradient=False)
    family.node("castlike_floats", "CastLike", [numbers, f32(1)], held=(1,))


def cast_out_of_range(family):
    """uint8 has defined results within its range only."""
    family.node("cast_float_to_uint8", "Cast", [f32(0, 0.9, 1.5, 254.9, 255)],
                to=TensorProto.UINT8)
    family.node("cast_uint8_to_float", "Cast", [np.array([0, 7, 255], np.uint8)],
                to=TensorProto.FLOAT)
    half = np.array([1.5, -2.25, 1e4], np.float16)
    family.node("cast_float16_to_float", "Cast", [half], to=TensorProto.FLOAT, gradient=False)


def constants(family):
    """Constant in its forms, ConstantOfShape."""
    x = family.draw("constants").spread(2, 2)
    forms = {
        "value": {"value": helper.make_tensor("t", TensorProto.FLOAT, [2], [1.5, -2.5])},
        "value_float": {"value_float": 2.5},
        "value_floats": {"value_floats": [1.5, 2.5]},
        "value_int": {"value_int": 3},
        "value_ints": {"value_ints": [3, 4]},
    }
    for name, attributes in forms.items():
        nodes = [
            helper.make_node("Constant", [], ["c"], name="probe", **attributes),
            helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["x", "f"], ["y"]),
        ]
        family.graph(f"constant_{name}", nodes, {"x": x}, ["y"])
    family.node("constantofshape_default", "ConstantOfShape", [i64(2, 3)], free=True)
    family.node("constantofshape_held", "ConstantOfShape", [i64(2, 3)], held=(0,))
    family.node("constantofshape_float", "ConstantOfShape", [i64(2)],
                value=helper.make_tensor("t", TensorProto.FLOAT, [1], [1.5]))
    family.node("constantofshape_int", "ConstantOfShape", [i64(2, 2)],
                value=helper.make_tensor("t", TensorProto.INT64, [1], [-1]))
    family.node("constantofshape_scalar", "ConstantOfShape", [i64()], held=(0,))
    family.node("constantofshape_empty", "ConstantOfShape", [i64(0, 2)])


def ranges(family):
    """Range of floats and integers, both directions."""
    def numbers(*values):
        return [scalar(value, np.int64) for value in values]

    family.node("range_up", "Range", numbers(1, 10, 3), free=True)
    family.node("range_down", "Range", numbers(10, 1, -4), free=True)
    family.node("range_nothing", "Range", numbers(3, 3, 1), free=True)
    family.node("range_held", "Range", numbers(0, 4, 1), held=(0, 1, 2))
    family.node("range_floats", "Range", [scalar(0.5), scalar(2.5), scalar(0.5)], gradient=False)
    family.node("range_floats_rest", "Range", [scalar(0.0), scalar(1.1), scalar(0.25)],
                gradient=False)
    family.node("range_int32", "Range", [scalar(v, np.int32) for v in (2, 8, 2)], free=True)
