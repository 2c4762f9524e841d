"""Reduce* over axes, ArgMax and ArgMin, CumSum."""

import numpy as np

from .kit import Family, i64, scalar

SUMS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
        "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum")


def add(family: Family):
    """All cases of the family."""
    for op in SUMS:
        reduce(family, op)
    integers(family)
    arg(family)
    cumulative(family)


def reduce(family, op):
    """Axes as attribute (opset 11; 13 and 17 except ReduceSum) and as input (18; ReduceSum 13)."""
    name = op.lower()
    draw = family.draw(op)
    low = 0.2 if op in ("ReduceLogSum", "ReduceProd") else -2

    def x(*dims):
        return draw.spread(*dims, low=low)

    family.node(f"{name}_all", op, [x(2, 3, 2)])
    family.node(f"{name}_all_without_dims", op, [x(2, 3, 2)], keepdims=0)
    family.node(f"{name}_opset_11", op, [x(2, 3, 4)], opset=11, axes=[1], keepdims=1)
    family.node(f"{name}_opset_11_negative", op, [x(2, 3, 4)], opset=11, axes=[-1, 0], keepdims=0)
    as_input = 13 if op == "ReduceSum" else 18
    if op != "ReduceSum":
        family.node(f"{name}_opset_17", op, [x(2, 3, 2, 2)], axes=[2, 3])
        family.node(f"{name}_opset_17_middle", op, [x(2, 3, 4)], axes=[1], keepdims=0)
    family.node(f"{name}_axes_input", op, [x(2, 3, 4), i64(1)], opset=as_input)
    family.node(f"{name}_axes_input_spatial", op, [x(2, 2, 3, 2), i64(-1, -2)], opset=as_input,
                keepdims=0)
    family.node(f"{name}_axes_empty", op, [x(2, 3), i64()], opset=as_input)
    family.node(f"{name}_axes_empty_no_op", op, [x(2, 3), i64()], opset=as_input,
                noop_with_empty_axes=1)
    family.node(f"{name}_no_axes_no_op", op, [x(2, 3)], opset=as_input, noop_with_empty_axes=1)
    family.node(f"{name}_opset_20", op, [x(2, 3), i64(0)], opset=20)


def integers(family):
    """Shape arithmetic."""
    draw = family.draw("integers")
    for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
        axes = {"axes": [1]} if op != "ReduceSum" else {}
        extra = [i64(1)] if op == "ReduceSum" else []
        family.node(f"{op.lower()}_integers", op, [draw.ints(2, 3), *extra], keepdims=0, **axes)
    family.node("reduceprod_shape", "ReduceProd", [i64(2, 3, 4)], keepdims=0)
    family.node("reducemean_int32", "ReduceMean", [np.array([[7, 2, 5], [-7, 1, 1]], np.int32)],
                axes=[1])
    family.node("reducemax_bytes", "ReduceMax",
                [np.array([[7, 2, 5], [200, 1, 1]], np.uint8)], axes=[1])


def arg(family):
    """Positions; the first of equals unless `select_last_index`."""
    for op in ("ArgMax", "ArgMin"):
        name = op.lower()
        draw = family.draw(op)
        family.node(f"{name}_default", op, [draw.spread(3, 4)])
        family.node(f"{name}_axis_1", op, [draw.spread(3, 4)], axis=1)
        family.node(f"{name}_last_without_dims", op, [draw.spread(2, 3, 4)], axis=-1, keepdims=0)
        family.node(f"{name}_middle", op, [draw.spread(2, 3, 4)], axis=1, keepdims=0)
        family.node(f"{name}_opset_11", op, [draw.spread(3, 4)], axis=1, opset=11)
        ties = np.array([[1, 3, 3, 0, 0], [2, 2, 2, 2, 2]], np.float32)
        family.node(f"{name}_ties", op, [ties], axis=1)
        family.node(f"{name}_ties_last", op, [ties], axis=1, select_last_index=1)
        family.node(f"{name}_integers", op, [draw.ints(3, 4, dtype=np.int32)], axis=1)


def cumulative(family):
    """Running sums, from either end, with and without the element itself."""
    draw = family.draw("cumsum")
    x, axis = draw.spread(2, 3, 4), scalar(1, np.int64)
    for exclusive in (0, 1):
        for reverse in (0, 1):
            family.node(f"cumsum_exclusive_{exclusive}_reverse_{reverse}", "CumSum", [x, axis],
                        exclusive=exclusive, reverse=reverse)
            family.node(f"cumsum_integers_exclusive_{exclusive}_reverse_{reverse}", "CumSum",
                        [draw.ints(2, 3, 2), axis], exclusive=exclusive, reverse=reverse)
    family.node("cumsum_last_axis_opset_11", "CumSum", [x, scalar(-1, np.int32)], opset=11)
