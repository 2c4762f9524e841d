"""Models that must be refused, with words that the error must hold besides node and operator."""

import numpy as np
from onnx import helper

from .kit import Family, f32, i64, scalar


def add(family: Family):
    """All cases of the family."""
    unknown(family)
    windows(family)
    shapes(family)
    slicing(family)
    quantization(family)
    graphs(family)


def image(*dims):
    """Zeros; the numbers do not matter."""
    return np.zeros(dims, np.float32)


def unknown(family):
    """Operators, domains, attributes and values that the engine does not compute."""
    family.reject("operator_unknown", "Frobnicate", [image(2)], ["Frobnicate"])
    family.reject("domain_unknown", "Relu", [image(2)], ["com.example"], domain="com.example")
    family.reject("attribute_unknown", "Relu", [image(2)], ["wobble"], wobble=1)
    family.reject("attribute_of_wrong_type", "Concat", [image(2)], ["axis"], axis=1.5)
    family.reject("attribute_missing", "Concat", [image(2), image(2)], ["axis"])
    family.reject("too_many_inputs", "Relu", [image(2), image(2)], ["input"])
    family.reject("too_few_inputs", "Add", [image(2)], ["input"])
    family.reject("opset_from_the_future", "Relu", [image(2)], ["9999"], opset=9999)
    family.reject("text_unknown", "DepthToSpace", [image(1, 4, 1, 1)], ["XYZ"], blocksize=2,
                  mode="XYZ")
    family.reject("einsum_diagonal", "Einsum", [image(2, 2)], ["diagonals"], equation="ii->i")
    family.reject("einsum_operands_differ", "Einsum", [image(2, 2)], ["equation"], equation="ij,jk")
    family.reject("einsum_axis_unknown", "Einsum", [image(2, 2)], ["axis"], equation="ij->k")
    family.reject("pad_mode_unknown", "Pad", [image(2), i64(1, 1)], ["mode"], mode="mirror")
    family.reject("resize_mode_unknown", "Resize", [image(1, 1, 2, 2), None, f32(1, 1, 2, 2)],
                  ["mode"], held=(2,), mode="sinc")
    family.reject("resize_crop", "Resize", [image(1, 1, 2, 2), f32(0, 0, 0, 0, 1, 1, 1, 1),
                                            f32(1, 1, 2, 2)],
                  ["tf_crop_and_resize"], held=(1, 2),
                  coordinate_transformation_mode="tf_crop_and_resize")
    family.reject("cast_to_text", "Cast", [image(2)], ["8"], to=8)


def windows(family):
    """Kernels, strides, pads and groups."""
    x, w = image(1, 4, 5, 5), image(4, 4, 3, 3)
    family.reject("conv_channels_differ", "Conv", [image(1, 3, 5, 5), w], ["does not fit"], held=(1,))
    family.reject("conv_group_does_not_divide", "Conv", [x, image(4, 2, 3, 3)], ["group"],
                  held=(1,), group=3)
    family.reject("conv_group_zero", "Conv", [x, w], ["group"], held=(1,), group=0)
    family.reject("conv_pads_too_few", "Conv", [x, w], ["pads"], held=(1,), pads=[1, 1])
    family.reject("conv_pads_negative", "Conv", [x, w], ["pads"], held=(1,), pads=[-1, 0, 0, 0])
    family.reject("conv_stride_zero", "Conv", [x, w], ["strides"], held=(1,), strides=[0, 1])
    family.reject("conv_auto_pad_unknown", "Conv", [x, w], ["auto_pad"], held=(1,),
                  auto_pad="SOMETIMES")
    family.reject("conv_kernel_shape_differs", "Conv", [x, w], ["kernel_shape"], held=(1,),
                  kernel_shape=[2, 2])
    family.reject("conv_input_smaller_than_kernel", "Conv", [image(1, 4, 2, 2), w], ["window"],
                  held=(1,))
    family.reject("conv_bias_too_long", "Conv", [x, w, image(5)], ["bias"], held=(1, 2))
    family.reject("conv_rank_of_input", "Conv", [image(4, 5), w], [], held=(1,))
    family.reject("conv_dilation_zero", "Conv", [x, w], ["dilations"], held=(1,), dilations=[0, 1])
    for op in ("MaxPool", "AveragePool", "LpPool"):
        name = op.lower()
        family.reject(f"{name}_without_kernel", op, [x], ["kernel_shape"])
        family.reject(f"{name}_kernel_of_wrong_rank", op, [x], ["kernel"], kernel_shape=[2])
        family.reject(f"{name}_kernel_zero", op, [x], ["kernel_shape"], kernel_shape=[0, 2])
        family.reject(f"{name}_too_large", op, [x], ["window"], kernel_shape=[6, 6])
        family.reject(f"{name}_pads_reach_kernel", op, [x], ["pads"], kernel_shape=[2, 2],
                      pads=[2, 2, 2, 2])
        family.reject(f"{name}_overflowing_stride", op, [x], ["strides"], kernel_shape=[2, 2],
                      strides=[2**62, 1])
    family.reject("maxpool_indices", "MaxPool", [x], ["Indices"], kernel_shape=[2, 2], outputs=2)
    family.reject("globalaveragepool_rank", "GlobalAveragePool", [image(2)], ["rank"])
    family.reject("averagepool_dilations_before_opset_19", "AveragePool", [x], ["dilations"],
                  kernel_shape=[2, 2], dilations=[2, 2])
    family.reject("lppool_p_zero", "LpPool", [x], ["`p`"], kernel_shape=[2, 2], p=0)


def shapes(family):
    """Ranks, axes and shapes."""
    x = image(2, 3)
    family.reject("add_shapes", "Add", [x, image(4)], ["broadcast"])
    family.reject("matmul_shapes", "MatMul", [x, image(2, 3)], [])
    family.reject("gemm_rank", "Gemm", [image(2, 2, 2), image(2, 2)], [])
    family.reject("gemm_shapes", "Gemm", [x, image(4, 2)], [])
    family.reject("softmax_axis", "Softmax", [x], ["axis"], axis=2)
    family.reject("flatten_axis", "Flatten", [x], ["axis"], axis=3)
    family.reject("reduce_axis", "ReduceMean", [x], ["axis"], axes=[2])
    family.reject("reduce_axis_twice", "ReduceMean", [x], ["twice"], axes=[1, -1])
    family.reject("argmax_axis", "ArgMax", [x], ["axis"], axis=-3)
    family.reject("transpose_no_permutation", "Transpose", [x], ["permutation"], perm=[0, 0])
    family.reject("transpose_rank", "Transpose", [x], ["permutation"], perm=[0, 2, 1])
    family.reject("reshape_count", "Reshape", [x, i64(4, 2)], ["shape"])
    family.reject("reshape_two_unknown", "Reshape", [x, i64(-1, -1)], ["-1"])
    family.reject("reshape_negative", "Reshape", [x, i64(-2, 3)], ["-2"])
    family.reject("reshape_zero_out_of_range", "Reshape", [x, i64(2, 3, 0)], ["0"])
    family.reject("reshape_does_not_divide", "Reshape", [x, i64(4, -1)], ["-1"])
    family.reject("reshape_floats_as_shape", "Reshape", [x, f32(3, 2)], ["input 1"])
    family.reject("squeeze_not_one", "Squeeze", [x, i64(0)], ["axis"])
    family.reject("unsqueeze_twice", "Unsqueeze", [x, i64(0, 0)], ["twice"])
    family.reject("unsqueeze_out_of_range", "Unsqueeze", [x, i64(4)], ["axis"])
    family.reject("expand_shapes", "Expand", [x, i64(2, 2)], ["broadcast"])
    family.reject("expand_huge", "Expand", [image(1, 1), i64(1 << 20, 1 << 20)], ["elements"])
    family.reject("expand_negative", "Expand", [x, i64(-1, 3)], ["-1"])
    family.reject("constantofshape_huge", "ConstantOfShape", [i64(1 << 40)], ["elements"],
                  held=(0,))
    family.reject("constantofshape_negative", "ConstantOfShape", [i64(-1)], ["-1"])
    family.reject("constantofshape_two_values", "ConstantOfShape", [i64(2)], ["value"],
                  value=helper.make_tensor("t", 1, [2], [1, 2]))
    family.reject("range_step_zero", "Range", [scalar(v, np.int64) for v in (0, 5, 0)], ["delta"],
                  free=True)
    family.reject("range_huge", "Range", [scalar(v, np.int64) for v in (0, 2**62, 1)], ["elements"],
                  held=(0, 1, 2))
    family.reject("constant_without_value", "Constant", [], ["value"])
    sparse = helper.make_sparse_tensor(helper.make_tensor("v", 1, [1], [1.5]),
                                       helper.make_tensor("i", 7, [1], [0]), [2])
    family.reject("constant_sparse", "Constant", [], ["sparse_value"], sparse_value=sparse)
    family.reject("constant_text", "Constant", [], ["value_string"], value_string="t")
    family.reject("shape_of_empty_name", "Shape", [None], ["input"])
    family.reject("depthtospace_blocks", "DepthToSpace", [image(1, 3, 2, 2)], ["blocksize"],
                  blocksize=2)
    family.reject("depthtospace_rank", "DepthToSpace", [image(4, 2, 2)], ["rank"], blocksize=2)
    family.reject("depthtospace_zero", "DepthToSpace", [image(1, 4, 2, 2)], ["blocksize"],
                  blocksize=0)
    family.reject("spacetodepth_blocks", "SpaceToDepth", [image(1, 1, 3, 2)], ["blocksize"],
                  blocksize=2)


def slicing(family):
    """Slice, Split, Pad, Gather, Tile, Concat and Resize."""
    x = image(2, 3)
    family.reject("slice_step_zero", "Slice", [x, i64(0), i64(1), i64(0), i64(0)], ["step"])
    family.reject("slice_lengths_differ", "Slice", [x, i64(0, 0), i64(1)], ["starts"])
    family.reject("slice_axis", "Slice", [x, i64(0), i64(1), i64(2)], ["axis"])
    family.reject("slice_axis_twice", "Slice", [x, i64(0, 0), i64(1, 1), i64(0, -2)], ["twice"])
    family.reject("split_sum", "Split", [x, i64(1, 1)], ["split"], axis=1, outputs=2)
    family.reject("split_uneven", "Split", [x], ["split"], axis=1, outputs=2, opset=13)
    family.reject("split_negative", "Split", [x, i64(4, -1)], ["-1"], axis=1, outputs=2)
    family.reject("split_outputs_differ", "Split", [x, i64(1, 1, 1)], ["output"], axis=1,
                  outputs=2)
    family.reject("concat_shapes", "Concat", [x, image(3, 3)], ["joined"], axis=1)
    family.reject("concat_axis", "Concat", [x, x], ["axis"], axis=2)
    family.reject("concat_types", "Concat", [x, i64(1, 2).reshape(1, 2)], [], axis=0)
    family.reject("pad_count", "Pad", [x, i64(1, 1)], ["pads"])
    family.reject("pad_reflect_too_far", "Pad", [x, i64(0, 3, 0, 0)], ["reflect"], mode="reflect")
    family.reject("pad_takes_more_than_there_is", "Pad", [x, i64(-2, 0, -1, 0)], ["pads"])
    family.reject("pad_huge", "Pad", [x, i64(1 << 40, 0, 0, 0)], [])
    family.reject("pad_minimum", "Pad", [x, i64(-(2**63), 0, 0, 0)], ["pads"])
    family.reject("gather_index", "Gather", [x, i64(2)], ["index"])
    family.reject("gather_index_negative", "Gather", [x, i64(-3)], ["index"])
    family.reject("gather_float_index", "Gather", [x, f32(1)], ["input 1"])
    family.reject("gather_scalar", "Gather", [scalar(1.0), i64(0)], ["axis"])
    family.reject("tile_count", "Tile", [x, i64(2)], ["repeats"])
    family.reject("tile_negative", "Tile", [x, i64(1, -1)], ["-1"])
    family.reject("tile_integers_huge", "Tile", [i64(1, 2), i64(1 << 26)], ["elements"], held=(0,))
    family.reject("expand_integers_huge", "Expand", [i64(1), i64(1 << 26)], ["elements"],
                  held=(0,))
    family.reject("pad_edge_huge", "Pad", [x, i64(0, 0, 0, 1 << 22)], ["pads"], mode="edge")
    family.reject("pad_integers_huge", "Pad", [i64(1, 2), i64(0, 1 << 26)], ["elements"],
                  held=(0,))
    family.reject("tile_huge", "Tile", [x, i64(1 << 30, 1 << 30)], ["elements"])
    y = image(1, 1, 2, 2)
    family.reject("resize_nothing_given", "Resize", [y, None, f32()], ["scales"], held=(2,))
    family.reject("resize_both_given", "Resize", [y, None, f32(1, 1, 2, 2), i64(1, 1, 4, 4)],
                  ["scales"], held=(2,))
    family.reject("resize_scales_count", "Resize", [y, None, f32(2, 2)], ["scales"], held=(2,))
    family.reject("resize_scale_negative", "Resize", [y, None, f32(1, 1, -2, 2)], ["scales"],
                  held=(2,))
    family.reject("resize_scale_nan", "Resize", [y, None, f32(1, 1, np.nan, 2)], ["scales"],
                  held=(2,))
    family.reject("resize_scale_huge", "Resize", [y, None, f32(1, 1, 1e30, 1e30)], [], held=(2,))
    family.reject("resize_size_zero", "Resize", [y, None, None, i64(1, 1, 0, 2)], ["sizes"])
    family.reject("resize_axis_huge", "Resize", [y, None, f32(1, 1, 1 << 22, 1)], ["scales"],
                  held=(2,))
    family.reject("resize_size_huge", "Resize", [y, None, None, i64(1, 1, 1 << 22, 2)], ["sizes"])
    family.reject("resize_antialias_nearest", "Resize", [y, None, f32(1, 1, 0.5, 0.5)],
                  ["antialias"], held=(2,), opset=18, antialias=1, mode="nearest")


def quantization(family):
    """Scales, zero points, axes and blocks."""
    x = image(2, 4)
    q = np.zeros((2, 4), np.int8)
    family.reject("quantize_scale_length", "QuantizeLinear", [x, f32(1, 1, 1)], ["scale"],
                  held=(1,))
    family.reject("quantize_zero_point_length", "QuantizeLinear",
                  [x, f32(1, 1, 1, 1), np.zeros(3, np.int8)], ["zero point"], held=(1, 2))
    family.reject("quantize_axis", "QuantizeLinear", [x, f32(1, 1)], ["axis"], held=(1,), axis=2)
    family.reject("quantize_integers", "QuantizeLinear", [q, scalar(1.0)], [], free=True)
    family.reject("quantize_output_float8", "QuantizeLinear", [x, scalar(1.0)], ["output_dtype"],
                  held=(1,), opset=21, output_dtype=17)
    family.reject("quantize_output_dtype_differs", "QuantizeLinear",
                  [x, scalar(1.0), scalar(0, np.int8)], ["output_dtype"], held=(1, 2), opset=21,
                  output_dtype=2)
    family.reject("dequantize_floats", "DequantizeLinear", [x, scalar(1.0)], ["input 0"],
                  held=(1,))
    family.reject("dequantize_zero_point_type", "DequantizeLinear",
                  [q, scalar(1.0), scalar(0, np.uint8)], ["zero point"], free=True)
    family.reject("dequantize_blocks", "DequantizeLinear", [q, image(2, 3) + f32(1)], ["block_size"],
                  opset=21, free=True, axis=1, block_size=2)
    family.reject("dequantize_block_size_negative", "DequantizeLinear", [q, scalar(1.0)],
                  ["block_size"], opset=21, free=True, block_size=-1)


def graphs(family):
    """The graph as a whole."""
    x = image(2)
    relu = helper.make_node("Relu", ["x"], ["y"], name="probe")
    family.reject_graph("graph_input_from_nowhere",
                        [helper.make_node("Add", ["x", "ghost"], ["y"], name="probe")],
                        {"x": x}, ["y"], ["ghost"])
    family.reject_graph("graph_output_from_nowhere", [relu], {"x": x}, ["phantom"], ["phantom"])
    family.reject_graph("graph_name_made_twice",
                        [relu, helper.make_node("Neg", ["x"], ["y"], name="again")],
                        {"x": x}, ["y"], ["y"])
    family.reject_graph("graph_cycle",
                        [helper.make_node("Add", ["x", "b"], ["a"], name="probe"),
                         helper.make_node("Relu", ["a"], ["b"])], {"x": x}, ["b"], [])
    loop = helper.make_function("local", "Ouroboros", ["in"], ["out"],
                                [helper.make_node("Ouroboros", ["in"], ["out"], domain="local")],
                                [helper.make_opsetid("local", 1)])
    family.reject_graph("function_calls_itself",
                        [helper.make_node("Ouroboros", ["x"], ["y"], name="probe", domain="local")],
                        {"x": x}, ["y"], ["Ouroboros"], functions=[loop],
                        imports=[helper.make_opsetid("local", 1)])
