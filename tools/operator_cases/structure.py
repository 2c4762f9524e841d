"""Graphs of several nodes: If, local functions, optional names, initializers among the inputs."""

import numpy as np
from onnx import AttributeProto, helper

from .kit import Family, f32, i64, scalar


def add(family: Family):
    """All cases of the family."""
    conditions(family)
    functions(family)
    networks(family)


def branch(name, nodes, output):
    """A subgraph without inputs: it sees the outer names."""
    return helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info(output)])


def conditions(family):
    """If with a condition that is constant or folds to one."""
    x = family.draw("if").spread(1, 4)
    yes = branch("yes", [helper.make_node("Relu", ["x"], ["a"])], "a")
    no = branch("no", [helper.make_node("Neg", ["x"], ["b"])], "b")
    for value in (True, False):
        nodes = [helper.make_node("If", ["c"], ["y"], name="probe", then_branch=yes, else_branch=no)]
        family.graph(f"if_{str(value).lower()}", nodes, {"x": x, "c": scalar(value, np.bool_)}, ["y"],
                     constant={"c"})
    squeeze = branch("squeeze", [helper.make_node("Squeeze", ["x", "axis"], ["s"])], "s")
    keep = branch("keep", [helper.make_node("Identity", ["x"], ["k"])], "k")
    nodes = [
        helper.make_node("Shape", ["w"], ["dims"]),
        helper.make_node("Gather", ["dims", "zero"], ["d0"]),
        helper.make_node("Equal", ["d0", "one"], ["c"]),
        helper.make_node("If", ["c"], ["y"], name="probe", then_branch=squeeze, else_branch=keep),
    ]
    given = {"x": x, "w": f32(1), "zero": scalar(0, np.int64), "one": scalar(1, np.int64),
             "axis": i64(0)}
    family.graph("if_by_shape_of_a_constant", nodes, given, ["y"],
                 constant={"w", "zero", "one", "axis"})
    run_time_conditions(family, yes, no)


def run_time_conditions(family, yes, no):
    """If with a condition that is known in a run: an input, or the shape of one."""
    x = family.draw("if_run").spread(1, 4)
    for value in (True, False):
        node = helper.make_node("If", ["c"], ["y"], name="probe", then_branch=yes, else_branch=no)
        family.graph(f"if_by_input_{str(value).lower()}", [node], {"x": x, "c": scalar(value, np.bool_)},
                     ["y"])
    squeeze = branch("squeeze", [helper.make_node("Squeeze", ["r", "axis"], ["s"])], "s")
    keep = branch("keep", [helper.make_node("Identity", ["r"], ["k"])], "k")
    for rows in (1, 3):
        nodes = [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Shape", ["r"], ["dims"]),
            helper.make_node("Gather", ["dims", "zero"], ["d0"]),
            helper.make_node("Equal", ["d0", "one"], ["c"]),
            helper.make_node("If", ["c"], ["z"], name="probe", then_branch=squeeze,
                             else_branch=keep),
            helper.make_node("Neg", ["z"], ["y"]),
        ]
        given = {"x": family.draw(f"if_shape_{rows}").spread(rows, 4),
                 "zero": scalar(0, np.int64), "one": scalar(1, np.int64), "axis": i64(0)}
        family.graph(f"if_by_shape_of_an_input_{rows}", nodes, given, ["y"],
                     constant={"zero", "one", "axis"})
    inner = branch("inner", [helper.make_node("If", ["c"], ["i"], then_branch=yes, else_branch=no)],
                   "i")
    node = helper.make_node("If", ["d"], ["y"], name="probe", then_branch=inner, else_branch=no)
    for outer in (True, False):
        family.graph(f"if_nested_{str(outer).lower()}", [node],
                     {"x": x, "c": scalar(True, np.bool_), "d": scalar(outer, np.bool_)}, ["y"])


def functions(family):
    """Local functions: attributes handed on, defaults, nesting, names that must not clash."""
    domain = "local"
    imports = [helper.make_opsetid(domain, 1)]
    opset = [helper.make_opsetid("", 17)]
    leaky = helper.make_node("LeakyRelu", ["t"], ["out"])
    reference = AttributeProto(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="slope")
    leaky.attribute.append(reference)
    body = [helper.make_node("Mul", ["in", "in"], ["sq"]),
            helper.make_node("Sub", ["in", "sq"], ["t"]), leaky]
    plain = helper.make_function(domain, "Bend", ["in"], ["out"], body, opset, ["slope"])
    x = family.draw("function").spread(2, 4)
    nodes = [helper.make_node("Bend", ["x"], ["y"], name="probe", domain=domain, slope=0.25)]
    family.graph("function_attribute", nodes, {"x": x}, ["y"], functions=[plain], imports=imports)
    nodes = [
        helper.make_node("Bend", ["x"], ["t"], name="first", domain=domain, slope=0.25),
        helper.make_node("Bend", ["t"], ["y"], name="second", domain=domain, slope=-0.5),
    ]
    family.graph("function_twice_with_clashing_names", nodes, {"x": x}, ["y"], functions=[plain],
                 imports=imports)
    default = helper.make_function(
        domain, "Bend", ["in"], ["out"], body, opset, [],
        [helper.make_attribute("slope", 0.125)])
    nodes = [helper.make_node("Bend", ["x"], ["y"], name="probe", domain=domain)]
    family.graph("function_default_attribute", nodes, {"x": x}, ["y"], functions=[default],
                 imports=imports)
    outer = helper.make_function(
        domain, "Twice", ["in"], ["out"],
        [helper.make_node("Bend", ["in"], ["sq"], domain=domain, slope=0.5),
         helper.make_node("Add", ["sq", "in"], ["out"])], [*opset, *imports])
    nodes = [helper.make_node("Twice", ["x"], ["y"], name="probe", domain=domain)]
    family.graph("function_nested", nodes, {"x": x}, ["y"], functions=[plain, outer],
                 imports=imports)


def networks(family):
    """Small networks as exporters write them."""
    draw = family.draw("networks")
    w1, b1 = draw.spread(4, 3, 3, 3, low=-0.5, high=0.5), draw.spread(4)
    given = {"x": draw.spread(2, 3, 6, 6), "w1": w1, "b1": b1, "scale": draw.spread(4),
             "bias": draw.spread(4), "mean": draw.spread(4), "var": draw.spread(4, low=0.5),
             "w2": draw.spread(5, 4), "b2": draw.spread(5)}
    given["var"] = np.abs(given["var"]) + f32(0.1)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["l"], name="head", transB=1),
        helper.make_node("Softmax", ["l"], ["y"], axis=-1),
    ]
    family.graph("network_classifier", nodes, given, ["y", "l"], constant=set(given) - {"x"})
    given = {"x": draw.spread(1, 2, 3, 3), "q": draw.ints(4, 2, 3, 3, dtype=np.int8),
             "s": scalar(0.1), "k": draw.spread(2, 4)}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[1, 0]),
        helper.make_node("MatMul", ["t", "kt"], ["m"]),
        helper.make_node("Transpose", ["m"], ["y"], perm=[0, 3, 1, 2]),
    ]
    family.graph("network_folded_weights", nodes, given, ["y"], constant={"q", "s", "k"})
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    family.graph("network_silu_by_parts", nodes, {"x": draw.spread(2, 4)}, ["y"])
    nodes = [helper.make_node("Add", ["x", "z"], ["y"]), helper.make_node("Sub", ["x", "z"], ["w"])]
    family.graph("network_two_inputs_two_outputs", nodes,
                 {"x": draw.spread(2, 3), "z": draw.spread(3)}, ["w", "y"])
    family.graph("network_output_used_inside", [
        helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["b"])],
        {"x": draw.spread(2, 3)}, ["a", "b"])
