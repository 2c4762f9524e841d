"""MaxPool, AveragePool, LpPool and the global pools."""

from .kit import Family


def add(family: Family):
    """All cases of the family."""
    for op in ("MaxPool", "AveragePool", "LpPool"):
        windows(family, op)
        auto_pad(family, op)
    ceil_mode(family)
    only_max(family)
    only_average(family)
    only_lp(family)
    whole(family)


def case(family, name, op, x, **attributes):
    """One node over an input of shape x."""
    family.node(name, op, [family.draw(name).spread(*x)], **attributes)


def windows(family, op):
    """Ranks, strides and pads."""
    name = op.lower()
    case(family, f"{name}_1d", op, (2, 2, 7), kernel_shape=[3])
    case(family, f"{name}_2d", op, (2, 2, 5, 6), kernel_shape=[3, 2])
    case(family, f"{name}_3d", op, (1, 2, 3, 4, 3), kernel_shape=[2, 2, 2], strides=[1, 2, 1])
    case(family, f"{name}_2x2_stride_2", op, (1, 2, 6, 7), kernel_shape=[2, 2], strides=[2, 2])
    case(family, f"{name}_overlapping", op, (1, 2, 7, 7), kernel_shape=[3, 3], strides=[2, 2],
         pads=[1, 1, 1, 1])
    case(family, f"{name}_asymmetric_pads", op, (1, 2, 5, 6), kernel_shape=[3, 3], strides=[2, 2],
         pads=[0, 1, 2, 0])
    case(family, f"{name}_1d_pads", op, (1, 2, 6), kernel_shape=[3], strides=[2], pads=[1, 0])
    case(family, f"{name}_3d_pads", op, (1, 1, 3, 3, 3), kernel_shape=[2, 2, 2],
         pads=[1, 0, 0, 0, 1, 1])
    case(family, f"{name}_opset_8", op, (1, 2, 5, 5), kernel_shape=[3, 3], pads=[1, 1, 1, 1],
         opset=8)
    case(family, f"{name}_window_is_input", op, (2, 2, 3, 3), kernel_shape=[3, 3])
    case(family, f"{name}_gaps_between_windows", op, (1, 1, 7, 7), kernel_shape=[1, 2],
         strides=[3, 3])


def auto_pad(family, op):
    """The values of auto_pad."""
    for pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
        for stride in (1, 2):
            case(family, f"{op.lower()}_{pad.lower()}_stride_{stride}", op, (1, 1, 5, 6),
                 kernel_shape=[3, 2], strides=[stride, stride], auto_pad=pad)
    case(family, f"{op.lower()}_same_upper_large_stride", op, (1, 1, 5, 8), kernel_shape=[2, 2],
         strides=[3, 3], auto_pad="SAME_UPPER")


def ceil_mode(family):
    """Windows that reach over the padded input's end."""
    for op, opsets in (("MaxPool", (10, 12, 22)), ("AveragePool", (10, 19, 22)), ("LpPool", (18,))):
        for opset in opsets:
            name = f"{op.lower()}_ceil_opset_{opset}"
            extra = {"opset": opset, "ceil_mode": 1}
            case(family, name, op, (1, 2, 6, 5), kernel_shape=[3, 2], strides=[2, 2], **extra)
            case(family, f"{name}_pads", op, (1, 1, 6, 7), kernel_shape=[3, 3], strides=[2, 2],
                 pads=[1, 1, 1, 1], **extra)
            case(family, f"{name}_no_window_in_the_pads", op, (1, 1, 4, 4), kernel_shape=[2, 2],
                 strides=[3, 3], pads=[1, 1, 1, 1], **extra)
            case(family, f"{name}_1d", op, (1, 2, 6), kernel_shape=[3], strides=[2], **extra)
    for opset in (10, 11, 19):
        case(family, f"averagepool_ceil_include_pad_opset_{opset}", "AveragePool", (1, 1, 6, 7),
             kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1,
             count_include_pad=1, opset=opset)
        case(family, f"averagepool_ceil_include_pad_without_pads_opset_{opset}", "AveragePool",
             (1, 1, 6, 6), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1,
             opset=opset)


def only_max(family):
    """Dilations and the second output."""
    case(family, "maxpool_dilated", "MaxPool", (1, 2, 7, 6), kernel_shape=[3, 2], dilations=[2, 3])
    case(family, "maxpool_dilated_pads", "MaxPool", (1, 1, 6, 6), kernel_shape=[2, 2],
         dilations=[2, 2], pads=[1, 1, 1, 1], strides=[2, 2])
    case(family, "maxpool_dilated_ceil", "MaxPool", (1, 1, 7, 8), kernel_shape=[2, 2],
         dilations=[2, 2], strides=[3, 3], ceil_mode=1)
    case(family, "maxpool_1d_dilated", "MaxPool", (1, 2, 9), kernel_shape=[3], dilations=[3])
    draw = family.draw("negative")
    family.node("maxpool_all_negative_with_pads", "MaxPool",
                [draw.spread(1, 2, 4, 4, low=-5, high=-1)], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    family.node("maxpool_storage_order_without_indices", "MaxPool", [draw.spread(1, 2, 4, 4)],
                kernel_shape=[2, 2], storage_order=1)
    family.node("maxpool_bytes", "MaxPool",
                [draw.ints(1, 1, 4, 4, low=0, high=200, dtype="uint8")], kernel_shape=[2, 2])


def only_average(family):
    """What the divisor counts; dilations since opset 19."""
    for include in (0, 1):
        case(family, f"averagepool_include_pad_{include}", "AveragePool", (1, 2, 4, 5),
             kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=include)
        case(family, f"averagepool_include_asymmetric_pad_{include}", "AveragePool", (1, 1, 4, 5),
             kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1], count_include_pad=include)
        case(family, f"averagepool_include_pad_same_upper_{include}", "AveragePool", (1, 1, 5, 5),
             kernel_shape=[2, 2], auto_pad="SAME_UPPER", count_include_pad=include)
        case(family, f"averagepool_include_pad_1d_{include}", "AveragePool", (1, 2, 5),
             kernel_shape=[3], pads=[1, 1], count_include_pad=include)
        case(family, f"averagepool_dilated_{include}", "AveragePool", (1, 1, 6, 7),
             kernel_shape=[2, 3], dilations=[2, 2], pads=[1, 1, 1, 1], strides=[1, 2],
             count_include_pad=include, opset=19)


def only_lp(family):
    """The exponent; dilations since opset 18."""
    case(family, "lppool_p_1", "LpPool", (1, 2, 4, 4), kernel_shape=[2, 2], p=1)
    case(family, "lppool_p_3", "LpPool", (1, 2, 4, 4), kernel_shape=[2, 2], p=3, strides=[2, 2])
    case(family, "lppool_dilated", "LpPool", (1, 1, 6, 6), kernel_shape=[2, 2], dilations=[2, 2],
         opset=18)


def whole(family):
    """Over all spatial axes."""
    for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        for rank, x in ((1, (2, 3, 4)), (2, (2, 3, 3, 4)), (3, (1, 2, 2, 3, 2))):
            case(family, f"{op.lower()}_{rank}d", op, x)
    case(family, "globallppool_p_1", "GlobalLpPool", (1, 2, 3, 2), p=1)
    case(family, "globalaveragepool_opset_1", "GlobalAveragePool", (1, 2, 3, 2), opset=7)
