"""Resize, Upsample, DepthToSpace and SpaceToDepth."""

import numpy as np
from onnx import helper

from .kit import Family, f32, i64

MODES = ("nearest", "linear", "cubic")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
               "half_pixel_symmetric")


def add(family: Family):
    """All cases of the family."""
    coordinates(family)
    nearest(family)
    sizes(family)
    cubic(family)
    ranks(family)
    older(family)
    newer(family)
    upsample(family)
    depth(family)


def case(family, name, dims, scales=None, target=None, opset=13, **attributes):
    """One Resize by scales or to a size."""
    x = family.draw(name).spread(*dims)
    inputs = [x, None, None if scales is None else f32(*scales)]
    if target is not None:
        inputs.append(i64(*target))
    family.node(f"resize_{name}", "Resize", inputs, held=(2, 3), opset=opset, **attributes)


def coordinates(family):
    """Every pairing of mode and coordinates, up and down, whole and broken scales."""
    for mode in MODES:
        for system in COORDINATES:
            opset = 19 if system == "half_pixel_symmetric" else 13
            for text, scales in (("up_2", (1, 1, 2, 2)), ("down", (1, 1, 0.6, 0.5)),
                                 ("broken", (1, 1, 1.5, 2.3))):
                case(family, f"{mode}_{system}_{text}", (1, 1, 4, 5), scales, mode=mode,
                     coordinate_transformation_mode=system, opset=opset)


def nearest(family):
    """The four roundings, under the coordinates exporters write."""
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for system in ("half_pixel", "asymmetric", "align_corners"):
            case(family, f"nearest_{rounding}_{system}", (1, 1, 3, 4), (1, 1, 2.5, 0.75),
                 mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=system)
    case(family, "nearest_pytorch_export", (1, 2, 2, 3), (1, 1, 2, 2), mode="nearest",
         nearest_mode="floor", coordinate_transformation_mode="asymmetric", cubic_coeff_a=-0.75)


def sizes(family):
    """A target size in place of scales."""
    for mode in MODES:
        for system in ("half_pixel", "align_corners", "pytorch_half_pixel"):
            case(family, f"{mode}_{system}_to_size", (1, 2, 4, 3), None, (1, 2, 7, 2), mode=mode,
                 coordinate_transformation_mode=system)
    case(family, "linear_to_one_pixel_pytorch", (1, 1, 4, 4), None, (1, 1, 1, 1), mode="linear",
         coordinate_transformation_mode="pytorch_half_pixel")
    case(family, "linear_to_one_pixel_align_corners", (1, 1, 4, 4), None, (1, 1, 1, 4),
         mode="linear", coordinate_transformation_mode="align_corners")
    case(family, "linear_to_same_size", (1, 1, 3, 4), None, (1, 1, 3, 4), mode="linear")
    case(family, "nearest_to_same_size", (1, 1, 3, 4), None, (1, 1, 3, 4), mode="nearest")
    x = family.draw("free").spread(1, 1, 2, 2)
    nodes = [
        helper.make_node("Shape", ["z"], ["target"]),
        helper.make_node("Resize", ["x", "", "", "target"], ["y"], name="probe", mode="linear"),
    ]
    family.graph("resize_to_shape_of_other_input", nodes,
                 {"x": x, "z": np.zeros((1, 1, 4, 3), np.float32)}, ["y"], opset=13)
    family.node("resize_empty_scales_and_roi", "Resize", [x, f32(), f32(), i64(1, 1, 4, 3)],
                held=(1, 2), mode="linear", opset=11)


def cubic(family):
    """The coefficient and the treatment of the border."""
    for a in (-0.5, -0.75):
        for outside in (0, 1):
            case(family, f"cubic_a_{a}_exclude_outside_{outside}", (1, 1, 5, 4), (1, 1, 1.8, 0.7),
                 mode="cubic", cubic_coeff_a=a, exclude_outside=outside)


def ranks(family):
    """One and three spatial axes; batch and channels."""
    for mode in ("nearest", "linear"):
        case(family, f"{mode}_1d", (2, 2, 4), (1, 1, 2), mode=mode)
        case(family, f"{mode}_3d", (1, 1, 2, 3, 2), (1, 1, 2, 1.5, 2), mode=mode)
        case(family, f"{mode}_batch_and_channels", (2, 3, 2, 2), (1, 1, 2, 3), mode=mode)
        case(family, f"{mode}_one_axis", (1, 2, 3, 3), (1, 1, 1, 2), mode=mode)
        case(family, f"{mode}_matrix", (3, 4), (2, 1.5), mode=mode)
    case(family, "nearest_channels_scaled", (1, 2, 2, 2), (1, 2, 2, 1), mode="nearest")


def older(family):
    """Opset 10: scales as second input, coordinates asymmetric, rounding down."""
    draw = family.draw("opset 10")
    for mode in ("nearest", "linear"):
        for text, scales in (("up", (1, 1, 2, 2)), ("down", (1, 1, 0.5, 0.5)),
                             ("broken", (1, 1, 1.6, 2.5))):
            family.node(f"resize_opset_10_{mode}_{text}", "Resize",
                        [draw.spread(1, 1, 4, 4), f32(*scales)], held=(1,), opset=10, mode=mode)
    family.node("resize_opset_11", "Resize", [draw.spread(1, 1, 3, 3), f32(), f32(1, 1, 2, 2)],
                held=(1, 2), opset=11, mode="linear")
    family.node("resize_tf_half_pixel_for_nn", "Resize",
                [draw.spread(1, 1, 4, 3), f32(), f32(1, 1, 0.6, 1.7)], held=(1, 2), opset=11,
                mode="nearest", coordinate_transformation_mode="tf_half_pixel_for_nn")


def newer(family):
    """Opset 18: axes and antialias; 19: keep_aspect_ratio_policy."""
    case(family, "axes", (1, 1, 3, 4), (2, 1.5), opset=18, mode="linear", axes=[2, 3])
    case(family, "axes_swapped", (1, 1, 3, 4), None, (5, 7), opset=18, mode="nearest", axes=[3, 2])
    case(family, "axes_negative", (1, 1, 3, 4), None, (5, 7), opset=18, mode="linear",
         axes=[-2, -1])
    for mode in ("linear", "cubic"):
        case(family, f"antialias_{mode}_down", (1, 1, 6, 7), (1, 1, 0.5, 0.4), opset=18, mode=mode,
             antialias=1)
        case(family, f"antialias_{mode}_up", (1, 1, 3, 4), (1, 1, 2, 1.5), opset=18, mode=mode,
             antialias=1)
        case(family, f"antialias_{mode}_to_size", (1, 1, 6, 7), None, (1, 1, 4, 3), opset=18,
             mode=mode, antialias=1)
    case(family, "antialias_cubic_exclude_outside", (1, 1, 6, 7), None, (1, 1, 4, 3), opset=18,
         mode="cubic", antialias=1, exclude_outside=1)
    for policy in ("stretch", "not_larger", "not_smaller"):
        case(family, f"policy_{policy}", (1, 1, 4, 3), None, (7, 4), opset=19, mode="linear",
             axes=[2, 3], keep_aspect_ratio_policy=policy)


def upsample(family):
    """The operator before Resize."""
    draw = family.draw("upsample")
    for mode in ("nearest", "linear"):
        family.node(f"upsample_opset_7_{mode}", "Upsample", [draw.spread(1, 2, 2, 3)], opset=7,
                    mode=mode, scales=[1.0, 1.0, 2.0, 3.0])
        family.node(f"upsample_opset_9_{mode}", "Upsample",
                    [draw.spread(1, 2, 2, 3), f32(1, 1, 2, 2)], held=(1,), opset=9, mode=mode)
        family.node(f"upsample_opset_9_{mode}_broken", "Upsample",
                    [draw.spread(1, 1, 3, 4), f32(1, 1, 1.5, 1.3)], held=(1,), opset=9, mode=mode)


def depth(family):
    """Channels to pixels and back."""
    draw = family.draw("depth")
    for order in ("DCR", "CRD"):
        family.node(f"depthtospace_{order.lower()}", "DepthToSpace", [draw.spread(2, 8, 2, 3)],
                    blocksize=2, mode=order)
    family.node("depthtospace_default", "DepthToSpace", [draw.spread(1, 9, 2, 1)], blocksize=3)
    family.node("depthtospace_opset_9", "DepthToSpace", [draw.spread(1, 8, 1, 2)], blocksize=2,
                opset=9)
    family.node("spacetodepth", "SpaceToDepth", [draw.spread(2, 2, 4, 6)], blocksize=2)
    family.node("spacetodepth_3", "SpaceToDepth", [draw.spread(1, 1, 3, 6)], blocksize=3, opset=9)
