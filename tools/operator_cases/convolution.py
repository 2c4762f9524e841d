"""Conv, ConvTranspose and ONNX Runtime's FusedConv."""

from onnx import helper

from .kit import Family


def add(family: Family):
    """All cases of the family."""
    conv(family)
    conv_auto_pad(family)
    transpose(family)
    transpose_sizes(family)
    fused(family)


def case(family, name, op, x, w, bias=None, held=(1, 2), **attributes):
    """One node with an input of shape x, a weight of shape w and a bias of length `bias`."""
    draw = family.draw(name)
    inputs = [draw.spread(*x), draw.spread(*w, low=-1, high=1)]
    if bias:
        inputs.append(draw.spread(bias))
    family.node(name, op, inputs, held=held, **attributes)


def conv(family):
    """Ranks, groups, strides, dilations and pads."""
    for rank, x in ((1, (2, 3, 9)), (2, (2, 3, 6, 5)), (3, (1, 2, 4, 3, 4))):
        k = [3, 2, 2][:rank]
        case(family, f"conv_{rank}d", "Conv", x, (2, x[1], *k), 2)
        case(family, f"conv_{rank}d_pads_strides", "Conv", x, (2, x[1], *k), None,
             strides=[2, 1, 2][:rank], pads=[1, 0, 1][:rank] + [2, 1, 0][:rank])
    two = (1, 4, 6, 5)
    case(family, "conv_kernel_shape_given", "Conv", two, (2, 4, 3, 3), 2, kernel_shape=[3, 3],
         pads=[1, 1, 1, 1])
    case(family, "conv_symmetric_pads", "Conv", two, (3, 4, 3, 3), None, pads=[1, 2, 1, 2])
    case(family, "conv_asymmetric_pads", "Conv", two, (3, 4, 3, 3), None, pads=[0, 0, 1, 1],
         strides=[2, 2])
    case(family, "conv_pads_larger_than_kernel", "Conv", (1, 1, 3, 3), (1, 1, 2, 2), None,
         pads=[3, 3, 3, 3])
    case(family, "conv_group_2", "Conv", two, (4, 2, 3, 3), 4, group=2)
    case(family, "conv_depthwise", "Conv", two, (4, 1, 3, 3), 4, group=4, pads=[1, 1, 1, 1])
    case(family, "conv_depthwise_multiplier", "Conv", two, (8, 1, 3, 3), None, group=4,
         strides=[2, 2], pads=[0, 0, 1, 1])
    case(family, "conv_dilated", "Conv", (1, 2, 8, 7), (2, 2, 3, 3), None, dilations=[2, 3],
         pads=[2, 1, 2, 1])
    case(family, "conv_1d_dilated_group", "Conv", (2, 4, 9), (2, 2, 3), 2, dilations=[2], group=2)
    case(family, "conv_1x1", "Conv", two, (3, 4, 1, 1), 3)
    case(family, "conv_1x1_stride_2", "Conv", two, (3, 4, 1, 1), None, strides=[2, 2])
    case(family, "conv_stride_leaves_a_rest", "Conv", (1, 2, 8, 8), (2, 2, 3, 3), None,
         strides=[3, 3])
    case(family, "conv_full_size_kernel", "Conv", (2, 3, 4, 4), (2, 3, 4, 4), 2)
    case(family, "conv_weight_as_input", "Conv", (1, 2, 5, 5), (2, 2, 3, 3), 2, held=())
    case(family, "conv_weight_as_input_group", "Conv", (1, 4, 4, 4), (4, 2, 3, 3), None, held=(),
         group=2, pads=[1, 1, 1, 1], strides=[2, 2])
    case(family, "conv_opset_1", "Conv", (1, 2, 5, 5), (2, 2, 3, 3), 2, opset=7, pads=[1, 1, 1, 1])
    case(family, "conv_opset_22", "Conv", (1, 2, 5, 5), (2, 2, 3, 3), 2, opset=22)


def conv_auto_pad(family):
    """The four values of auto_pad."""
    for pad in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        for stride in (1, 2):
            name = f"conv_{pad.lower()}_stride_{stride}"
            case(family, name, "Conv", (1, 2, 6, 7), (2, 2, 3, 2), None, auto_pad=pad,
                 strides=[stride, stride])
    case(family, "conv_same_upper_1x1_stride_2", "Conv", (1, 2, 5, 6), (2, 2, 1, 1), None,
         auto_pad="SAME_UPPER", strides=[2, 2])
    case(family, "conv_same_lower_1d", "Conv", (1, 2, 8), (2, 2, 4), None, auto_pad="SAME_LOWER",
         strides=[3])


def transpose(family):
    """Transposed convolution: ranks, groups, strides, dilations and pads."""
    op = "ConvTranspose"
    case(family, "convtranspose_1d", op, (2, 3, 5), (3, 2, 3), 2, strides=[2])
    case(family, "convtranspose_2d", op, (1, 3, 4, 3), (3, 2, 3, 3), 2)
    case(family, "convtranspose_3d", op, (1, 2, 2, 3, 2), (2, 2, 2, 2, 2), None, strides=[2, 1, 2])
    case(family, "convtranspose_stride_2", op, (1, 2, 3, 4), (2, 3, 3, 3), None, strides=[2, 2],
         pads=[1, 1, 1, 1], output_padding=[1, 1])
    case(family, "convtranspose_asymmetric_pads", op, (1, 2, 4, 4), (2, 2, 3, 3), 2,
         strides=[2, 2], pads=[0, 1, 1, 0])
    case(family, "convtranspose_one_output_padding", op, (1, 2, 3, 3), (2, 2, 3, 3), None,
         strides=[2, 3], output_padding=[0, 2])
    case(family, "convtranspose_group", op, (1, 4, 3, 3), (4, 2, 2, 2), 4, group=2,
         strides=[2, 2])
    case(family, "convtranspose_depthwise", op, (1, 3, 3, 3), (3, 1, 4, 4), None, group=3,
         strides=[2, 2], pads=[1, 1, 1, 1])
    case(family, "convtranspose_dilated", op, (1, 2, 3, 3), (2, 2, 3, 2), None, dilations=[2, 2],
         pads=[1, 0, 1, 0])
    case(family, "convtranspose_2x2_upsampling", op, (1, 3, 3, 2), (3, 2, 2, 2), 2,
         strides=[2, 2], kernel_shape=[2, 2])
    case(family, "convtranspose_weight_as_input", op, (1, 2, 3, 3), (2, 2, 3, 3), 2, held=(),
         strides=[2, 2], pads=[1, 1, 1, 1])


def transpose_sizes(family):
    """auto_pad and output_shape, which choose the pads."""
    op = "ConvTranspose"
    for pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
        for stride in (1, 2):
            case(family, f"convtranspose_{pad.lower()}_stride_{stride}", op, (1, 2, 4, 3),
                 (2, 2, 3, 4), None, auto_pad=pad, strides=[stride, stride])
    case(family, "convtranspose_output_shape", op, (1, 2, 3, 3), (2, 2, 3, 3), None,
         strides=[2, 2], output_shape=[6, 6])
    case(family, "convtranspose_output_shape_upper", op, (1, 2, 3, 3), (2, 2, 3, 3), None,
         strides=[3, 2], output_shape=[8, 6], auto_pad="SAME_UPPER")
    case(family, "convtranspose_output_shape_lower", op, (1, 2, 3, 3), (2, 2, 3, 3), None,
         strides=[3, 2], output_shape=[8, 6], auto_pad="SAME_LOWER")
    case(family, "convtranspose_output_shape_larger", op, (1, 2, 3, 3), (2, 2, 3, 3), None,
         strides=[2, 2], output_shape=[8, 8])


def fused(family):
    """A convolution with a sum and an activation, as ONNX Runtime's optimizer writes it."""
    domain = "com.microsoft"
    for name, sum_too, extra in (
            ("plain", False, {}), ("relu", False, {"activation": "Relu"}),
            ("sum_relu", True, {"activation": "Relu"}), ("sum", True, {}),
            ("sigmoid", False, {"activation": "Sigmoid"}), ("tanh", False, {"activation": "Tanh"}),
            ("leakyrelu", False, {"activation": "LeakyRelu", "activation_params": [0.2]}),
            ("hardsigmoid", False, {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]}),
            ("clip", False, {"activation": "Clip", "activation_params": [-0.5, 1.5]})):
        draw = family.draw(f"fusedconv_{name}")
        given = {"x": draw.spread(1, 2, 4, 3), "w": draw.spread(3, 2, 3, 3, low=-1, high=1),
                 "b": draw.spread(3)}
        if sum_too:
            given["z"] = draw.spread(1, 3, 4, 3)
        node = helper.make_node("FusedConv", list(given), ["y"], name="probe", domain=domain,
                                pads=[1, 1, 1, 1], **extra)
        family.graph(f"fusedconv_{name}", [node], given, ["y"], constant={"w", "b"},
                     imports=[helper.make_opsetid(domain, 1)])
