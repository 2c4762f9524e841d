"""BatchNormalization, InstanceNormalization, LayerNormalization, GroupNormalization, LRN,
MeanVarianceNormalization and RMSNormalization."""

from .kit import Family


def add(family: Family):
    """All cases of the family."""
    batch(family)
    instance_and_group(family)
    layer(family)
    lrn(family)
    mean_variance(family)
    root_mean_square(family)


def batch(family):
    """Inference with stored means and variances."""
    def case(name, x, held=(1, 2, 3, 4), **attributes):
        draw = family.draw(name)
        channels = x[1] if len(x) > 1 else 1
        parameters = [draw.spread(channels) for _ in range(3)]
        variance = draw.spread(channels, low=0.2, high=2)
        family.node(name, "BatchNormalization", [draw.spread(*x), *parameters, variance],
                    held=held, **attributes)

    case("batchnorm_2d", (2, 3, 3, 2))
    case("batchnorm_epsilon", (2, 3, 3, 2), epsilon=0.1, momentum=0.5)
    case("batchnorm_1d", (2, 3, 4))
    case("batchnorm_3d", (1, 2, 2, 3, 2))
    case("batchnorm_matrix", (3, 4))
    case("batchnorm_parameters_as_inputs", (2, 3, 2, 2), held=())
    for opset in (7, 9, 14, 15):
        case(f"batchnorm_opset_{opset}", (2, 3, 2, 2), opset=opset)
    case("batchnorm_opset_15_training_mode_0", (2, 3, 2, 2), opset=15, training_mode=0)
    case("batchnorm_training", (2, 3, 2, 2), opset=15, training_mode=1, outputs=3)
    case("batchnorm_training_weights", (1, 4, 9), opset=17, training_mode=1, momentum=1.0,
         epsilon=1e-6, outputs=3)
    case("batchnorm_opset_8_spatial_1", (2, 3, 2, 2), opset=8, spatial=1)


def instance_and_group(family):
    """Statistics of each sample."""
    for name, x, eps in (("2d", (2, 3, 3, 2), None), ("1d", (2, 2, 5), None),
                         ("epsilon", (1, 2, 3, 3), 0.1), ("3d", (1, 2, 2, 2, 3), None)):
        draw = family.draw(f"instancenorm_{name}")
        extra = {} if eps is None else {"epsilon": eps}
        family.node(f"instancenorm_{name}", "InstanceNormalization",
                    [draw.spread(*x), draw.spread(x[1]), draw.spread(x[1])], held=(1, 2), **extra)
    draw = family.draw("groupnorm")
    family.node("groupnorm", "GroupNormalization",
                [draw.spread(2, 4, 3, 2), draw.spread(4), draw.spread(4)], held=(1, 2), opset=21,
                num_groups=2)
    family.node("groupnorm_epsilon_one_group", "GroupNormalization",
                [draw.spread(2, 4, 3), draw.spread(4), draw.spread(4)], held=(1, 2), opset=21,
                num_groups=1, epsilon=0.05)
    family.node("groupnorm_each_channel", "GroupNormalization",
                [draw.spread(2, 4, 3), draw.spread(4), draw.spread(4)], held=(1, 2), opset=22,
                num_groups=4)
    family.node("groupnorm_opset_18_scale_per_group", "GroupNormalization",
                [draw.spread(2, 4, 3, 2), draw.spread(2), draw.spread(2)], held=(1, 2), opset=18,
                num_groups=2)


def layer(family):
    """Statistics over the last axes."""
    draw = family.draw("layernorm")
    family.node("layernorm_last_axis", "LayerNormalization",
                [draw.spread(2, 3, 4), draw.spread(4), draw.spread(4)], held=(1, 2))
    family.node("layernorm_without_bias", "LayerNormalization",
                [draw.spread(2, 3, 4), draw.spread(4)], held=(1,))
    family.node("layernorm_axis_1", "LayerNormalization",
                [draw.spread(2, 3, 4), draw.spread(3, 4), draw.spread(3, 4)], held=(1, 2), axis=1)
    family.node("layernorm_axis_minus_2", "LayerNormalization",
                [draw.spread(2, 2, 3, 2), draw.spread(3, 2)], held=(1,), axis=-2, epsilon=0.01)
    family.node("layernorm_axis_0", "LayerNormalization", [draw.spread(3, 4), draw.spread(3, 4)],
                held=(1,), axis=0)
    family.node("layernorm_three_outputs", "LayerNormalization",
                [draw.spread(2, 3, 4), draw.spread(4), draw.spread(4)], held=(1, 2), outputs=3)
    family.node("layernorm_scale_as_input", "LayerNormalization",
                [draw.spread(2, 4), draw.spread(4), draw.spread(4)])


def lrn(family):
    """Across channels."""
    draw = family.draw("lrn")
    family.node("lrn_size_3", "LRN", [draw.spread(2, 5, 2, 2)], size=3)
    family.node("lrn_size_5_factors", "LRN", [draw.spread(1, 4, 2, 3)], size=5, alpha=0.5, beta=0.6,
                bias=2.0)
    family.node("lrn_size_1", "LRN", [draw.spread(1, 3, 2, 2)], size=1, alpha=0.3)
    family.node("lrn_size_beyond_channels", "LRN", [draw.spread(1, 3, 2, 2)], size=9, alpha=0.7)


def mean_variance(family):
    """Over the batch and the positions, or over chosen axes."""
    draw = family.draw("mvn")
    x = draw.spread(2, 3, 2, 4)
    family.node("mvn", "MeanVarianceNormalization", [x])
    family.node("mvn_opset_9", "MeanVarianceNormalization", [x], opset=9)
    family.node("mvn_positions", "MeanVarianceNormalization", [x], axes=[2, 3])
    family.node("mvn_channels", "MeanVarianceNormalization", [x], axes=[-3])
    family.node("mvn_all", "MeanVarianceNormalization", [draw.spread(3, 4)], axes=[0, 1])


def root_mean_square(family):
    """Without a mean, over the last axes."""
    draw = family.draw("rmsnorm")
    family.node("rmsnorm", "RMSNormalization", [draw.spread(2, 3, 4), draw.spread(4)], held=(1,),
                opset=23)
    family.node("rmsnorm_axis_epsilon", "RMSNormalization",
                [draw.spread(2, 3, 4), draw.spread(3, 4)], held=(1,), opset=23, axis=1, epsilon=0.1)
