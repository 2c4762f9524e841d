"""Concat, Split, Slice, Pad, Gather and Tile."""

import numpy as np
from onnx import helper

from .kit import Family, i64, scalar

LIMIT = 2**63 - 1


def add(family: Family):
    """All cases of the family."""
    concat(family)
    split(family)
    slices(family)
    pad(family)
    pad_forms(family)
    gather(family)
    tile(family)


def concat(family):
    """Axes of both signs, constants among the operands, integers."""
    draw = family.draw("concat")
    family.node("concat_channels", "Concat", [draw.spread(2, 1, 2), draw.spread(2, 3, 2)], axis=1)
    family.node("concat_last", "Concat", [draw.spread(2, 1), draw.spread(2, 2)], axis=-1)
    family.node("concat_batch", "Concat", [draw.spread(1, 2, 2, 2), draw.spread(2, 2, 2, 2)], axis=0)
    family.node("concat_one", "Concat", [draw.spread(2, 2)], axis=0)
    family.node("concat_three", "Concat", [draw.spread(2), draw.spread(1), draw.spread(3)], axis=0)
    family.node("concat_constant", "Concat", [draw.spread(2, 2), draw.spread(2, 1)], held=(1,),
                axis=1)
    family.node("concat_same_twice", "Concat", [draw.spread(2, 2), draw.spread(2, 2)], axis=1)
    family.node("concat_integers", "Concat", [i64(1, 2), i64(-1)], axis=0, free=True)
    family.node("concat_opset_4", "Concat", [draw.spread(2, 1), draw.spread(2, 2)], axis=1, opset=7)


def split(family):
    """Sizes as attribute (before opset 13), as input, or equal parts."""
    draw = family.draw("split")
    x = draw.spread(2, 6)
    family.node("split_equal_opset_11", "Split", [x], opset=11, axis=1, outputs=3)
    family.node("split_sizes_opset_11", "Split", [x], opset=11, axis=1, outputs=3, split=[1, 2, 3])
    family.node("split_equal_opset_13", "Split", [x], opset=13, axis=-1, outputs=2)
    family.node("split_sizes_opset_13", "Split", [x, i64(4, 2)], opset=13, axis=1, outputs=2)
    family.node("split_axis_0", "Split", [x], outputs=2)
    family.node("split_num_outputs", "Split", [x], opset=18, axis=1, outputs=2, num_outputs=2)
    family.node("split_num_outputs_uneven", "Split", [draw.spread(2, 7)], opset=18, axis=1,
                outputs=3, num_outputs=3)
    family.node("split_sizes_opset_18", "Split", [x, i64(1, 5)], opset=18, axis=1, outputs=2)
    family.node("split_feature_map", "Split", [draw.spread(1, 4, 2, 2), i64(1, 3)], axis=1,
                outputs=2)
    family.node("split_integers", "Split", [draw.ints(4)], outputs=2)
    family.node("split_into_one", "Split", [x], axis=1, outputs=1, opset=11)


def slices(family):
    """Attributes before opset 10; negative, clamped and reversed ranges."""
    draw = family.draw("slice")
    x = draw.spread(3, 4, 5)
    family.node("slice_opset_9", "Slice", [x], opset=9, starts=[0, 1], ends=[2, 3], axes=[0, 2])
    family.node("slice_opset_9_default_axes", "Slice", [x], opset=9, starts=[1], ends=[1000])
    family.node("slice_opset_9_negative", "Slice", [x], opset=9, starts=[-2], ends=[-1], axes=[1])

    def case(name, starts, ends, axes=None, steps=None, **extra):
        inputs = [x, i64(*starts), i64(*ends)]
        inputs.append(None if axes is None else i64(*axes))
        inputs.append(None if steps is None else i64(*steps))
        while inputs[-1] is None:
            inputs.pop()
        family.node(f"slice_{name}", "Slice", inputs, **extra)

    case("default_axes", (1, 0), (3, 2))
    case("axes", (1,), (4,), (2,))
    case("negative_axis", (0,), (2,), (-2,))
    case("stride", (0, 0), (LIMIT, LIMIT), (1, 2), (2, 3))
    case("every_second", (1,), (LIMIT,), (2,), (2,))
    case("negative_bounds", (-3,), (-1,), (1,))
    case("clamped", (-100,), (100,), (0,))
    case("reversed", (-1,), (-LIMIT,), (2,), (-1,))
    case("reversed_stride", (4,), (0,), (2,), (-2,))
    case("reversed_clamped", (100,), (-100,), (1,), (-3,))
    case("reversed_two_axes", (-1, 3), (0, -LIMIT), (0, 1), (-1, -2))
    case("unordered_axes", (1, 0), (3, 2), (2, 0), (1, 1))
    case("opset_10", (1,), (3,), (1,), None, opset=10)
    case("opset_11_steps", (0,), (4,), (1,), (3,), opset=11)
    case("free", (1,), (3,), (1,), (1,), free=True)
    case("nothing_left", (3,), (1,), (1,), gradient=False)
    family.node("slice_integers", "Slice", [i64(2, 3, 4, 5), i64(1), i64(3)])
    family.node("slice_int32_bounds", "Slice",
                [x, np.array([1], np.int32), np.array([3], np.int32), np.array([1], np.int32)])


def pad(family):
    """The four modes, in one to three dimensions."""
    draw = family.draw("pad")
    shapes = {1: ((5,), (2, 1)), 2: ((3, 4), (1, 2, 2, 0)),
              4: ((1, 2, 3, 4), (0, 0, 1, 2, 0, 0, 2, 1))}
    for mode in ("constant", "reflect", "edge", "wrap"):
        for rank, (dims, pads) in shapes.items():
            opset = 19 if mode == "wrap" else 13
            family.node(f"pad_{mode}_rank_{rank}", "Pad", [draw.spread(*dims), i64(*pads)],
                        mode=mode, opset=opset)
    family.node("pad_wrap_opset_18", "Pad", [draw.spread(1, 2, 3, 4), i64(0, 0, 1, 2, 0, 0, 2, 1)],
                mode="wrap", opset=18)
    family.node("pad_reflect_whole_axis", "Pad", [draw.spread(1, 4), i64(0, 3, 0, 3)],
                mode="reflect")
    family.node("pad_edge_large", "Pad", [draw.spread(2, 2), i64(0, 5, 0, 4)], mode="edge")
    family.node("pad_channels", "Pad", [draw.spread(1, 2, 2, 2), i64(0, 1, 0, 0, 0, 2, 0, 0)])
    family.node("pad_batch_edge", "Pad", [draw.spread(2, 2), i64(1, 0, 1, 0)], mode="edge")
    family.node("pad_5d", "Pad", [draw.spread(1, 1, 2, 2, 2), i64(0, 0, 1, 0, 1, 0, 0, 1, 1, 0)])


def pad_forms(family):
    """Attributes before opset 11, values, negative pads, axes."""
    draw = family.draw("pad_forms")
    x = draw.spread(3, 4)
    family.node("pad_opset_2", "Pad", [x], opset=7, pads=[1, 0, 0, 2], value=1.5)
    family.node("pad_opset_2_default", "Pad", [x], opset=10, pads=[1, 0, 0, 2])
    family.node("pad_opset_2_reflect", "Pad", [x], opset=10, pads=[1, 0, 0, 2], mode="reflect")
    family.node("pad_value", "Pad", [x, i64(1, 1, 1, 1), scalar(-2.5)], held=(1, 2))
    family.node("pad_value_one_element", "Pad", [x, i64(1, 0, 0, 1), scalar(0.5)], held=(1, 2),
                opset=11)
    family.node("pad_minus_infinity", "Pad", [x, i64(0, 1, 0, 0), scalar(-np.inf)], held=(1, 2),
                gradient=False)
    family.node("pad_negative", "Pad", [x, i64(-1, 1, 0, -2)])
    family.node("pad_negative_alone", "Pad", [x, i64(-1, 0, -1, -2)])
    family.node("pad_negative_edge", "Pad", [x, i64(1, -1, 0, 2)], mode="edge")
    family.node("pad_nothing", "Pad", [x, i64(0, 0, 0, 0)])
    family.node("pad_axes", "Pad", [draw.spread(1, 2, 2, 3), i64(1, 2, 0, 1), None, i64(3, -2)],
                opset=18)
    family.node("pad_axes_value", "Pad",
                [draw.spread(1, 2, 2, 3), i64(1, 2), scalar(3.0), i64(2)], opset=18, held=(2,))
    family.node("pad_free", "Pad", [x, i64(1, 1, 0, 0)], free=True)
    family.node("pad_integers", "Pad", [draw.ints(2, 2), i64(0, 1, 1, 0), scalar(7, np.int64)])
    family.node("pad_integers_edge", "Pad", [draw.ints(2, 2), i64(0, 1, 1, 0)], mode="edge")
    family.node("pad_opset_21", "Pad", [x, i64(1, 0, 0, 2)], opset=21)


def gather(family):
    """Indices of every rank, axes of both signs."""
    draw = family.draw("gather")
    x = draw.spread(3, 4, 2)
    family.node("gather_rows", "Gather", [x, i64(2, 0)])
    family.node("gather_axis_1", "Gather", [x, i64(3, 3, 0)], axis=1)
    family.node("gather_last_axis", "Gather", [x, i64(1)], axis=-1)
    family.node("gather_scalar_index", "Gather", [x, scalar(1, np.int64)], axis=1)
    family.node("gather_matrix_of_indices", "Gather", [x, i64(0, 1, 2, 0).reshape(2, 2)], axis=0)
    family.node("gather_negative_index", "Gather", [x, i64(-1, 0)], axis=1)
    family.node("gather_int32_index", "Gather", [x, np.array([2, 1], np.int32)])
    family.node("gather_free", "Gather", [x, i64(1, 0)], free=True, axis=2)
    family.node("gather_integers", "Gather", [i64(4, 5, 6), scalar(-1, np.int64)])
    family.node("gather_embedding", "Gather", [draw.spread(5, 3), i64(4, 0, 4)], held=(0,),
                free=True)
    family.node("gatherelements", "GatherElements", [x[0], i64(1, 0, 0, -1).reshape(2, 2)], axis=0)
    family.node("gatherelements_axis_1", "GatherElements", [x[0], i64(1, 0, 0, 1).reshape(2, 2)],
                axis=1)
    family.node("gathernd", "GatherND", [x, i64(0, 1, 2, -1).reshape(2, 2)])


def tile(family):
    """Repeats of every axis."""
    draw = family.draw("tile")
    family.node("tile_both", "Tile", [draw.spread(2, 3), i64(2, 2)])
    family.node("tile_one_axis", "Tile", [draw.spread(1, 2, 2), i64(1, 3, 1)])
    family.node("tile_vector", "Tile", [draw.spread(3), i64(2)])
    family.node("tile_nothing", "Tile", [draw.spread(3), i64(1)])
    family.node("tile_none", "Tile", [draw.spread(3), i64(0)], gradient=False)
    family.node("tile_integers", "Tile", [i64(1, 2), i64(2)])
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Tile", ["x", "s"], ["y"], name="probe"),
    ]
    family.graph("tile_by_shape", nodes, {"x": draw.spread(2, 2)}, ["y"])
