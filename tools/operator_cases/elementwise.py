"""Arithmetic, comparisons, logic and choice."""

import numpy as np

from .kit import Family, f32, i64, scalar


def add(family: Family):
    """All cases of the family."""
    binary(family)
    powers(family)
    unary(family)
    many(family)
    comparisons(family)
    logic(family)
    integers(family)


def binary(family):
    """Two operands: equal shapes, broadcast both ways, constants."""
    for op in ("Add", "Sub", "Mul", "Div"):
        draw = family.draw(op)
        name = op.lower()

        def second(*dims, draw=draw):
            return draw.spread(*dims, low=0.5, high=3)

        family.node(f"{name}_same", op, [draw.spread(2, 3), second(2, 3)])
        family.node(f"{name}_bias", op, [draw.spread(2, 3, 2, 2), second(3, 1, 1)], held=(1,))
        family.node(f"{name}_both_broadcast", op, [draw.spread(3, 1), second(2, 1, 4)])
        family.node(f"{name}_scalar", op, [draw.spread(2, 3), scalar(1.5)], held=(1,))
        family.node(f"{name}_one_element", op, [draw.spread(2, 3), f32(-2.5)], held=(1,))
        family.node(f"{name}_constant_first", op, [second(3), second(2, 3)], held=(0,))
        family.node(f"{name}_rank_6", op, [draw.spread(1, 2, 1, 2, 1, 2), second(2, 1, 2, 1)])
        family.node(f"{name}_opset_7", op, [draw.spread(2, 3), second(3)], opset=7)
        family.node(f"{name}_scalars", op, [scalar(1.25), scalar(0.5)])
        family.node(f"{name}_opset_14", op, [draw.spread(2, 3), second(2, 1)], opset=14)


def powers(family):
    """Pow: whole, broken, negative and tensor exponents, mixed types."""
    draw = family.draw("pow")
    positive = draw.spread(2, 3, low=0.3, high=3)
    for exponent in (0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -0.5, 2.5):
        text = str(exponent).replace("-", "minus_")
        family.node(f"pow_{text}", "Pow", [positive, scalar(exponent)], held=(1,))
    family.node("pow_2_of_negative", "Pow", [draw.spread(2, 3), scalar(2.0)], held=(1,))
    family.node("pow_3_of_negative", "Pow", [draw.spread(2, 3), f32(3)], held=(1,))
    family.node("pow_tensor", "Pow", [positive, draw.spread(3)], held=(1,))
    family.node("pow_both_inputs", "Pow", [positive, draw.spread(2, 1)])
    family.node("pow_integer_exponent", "Pow", [draw.spread(2, 3), scalar(2, np.int64)])
    family.node("pow_integers", "Pow", [draw.ints(2, 3), i64(0, 1, 3)])
    family.node("pow_opset_7", "Pow", [positive, f32(2)], opset=7, held=(1,))


def unary(family):
    """One operand."""
    draw = family.draw("unary")
    for op in ("Sqrt", "Log", "Reciprocal"):
        family.node(op.lower(), op, [draw.spread(2, 3, 2, low=0.3, high=4)])
    for op in ("Exp", "Neg", "Abs", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh"):
        family.node(op.lower(), op, [draw.spread(2, 3, 2)])
    for op in ("Floor", "Ceil", "Sign"):
        family.node(op.lower(), op, [f32(-2.5, -2, -1.2, -0.5, 0, 0.5, 1.2, 1.5, 2.5)],
                    gradient=False)
    family.node("round_halves_to_even", "Round", [f32(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4, -0.6)],
                gradient=False)
    family.node("reciprocal_negative", "Reciprocal", [f32(-2, -0.5, 4)])
    family.node("log_of_zero", "Log", [f32(0, 1)], gradient=False)
    family.node("sqrt_of_zero", "Sqrt", [f32(0, 4)], gradient=False)
    family.node("abs_integers", "Abs", [draw.ints(2, 3)])
    family.node("neg_integers", "Neg", [draw.ints(2, 3)])
    family.node("sign_integers", "Sign", [draw.ints(2, 3)])


def many(family):
    """Any number of operands."""
    for op in ("Sum", "Mean", "Max", "Min"):
        draw = family.draw(op)
        name = op.lower()
        family.node(f"{name}_one", op, [draw.spread(2, 3)])
        family.node(f"{name}_two", op, [draw.spread(2, 3), draw.spread(2, 3) + f32(0.01)])
        family.node(f"{name}_three_broadcast", op,
                    [draw.spread(2, 3), draw.spread(3) + f32(0.013), draw.spread(2, 1) - f32(0.017)])
        family.node(f"{name}_scalar", op, [draw.spread(2, 3), scalar(0.2)], held=(1,))
        family.node(f"{name}_opset_8", op, [draw.spread(2, 3), draw.spread(3) + f32(0.01)], opset=8)
    draw = family.draw("integers")
    family.node("max_integers", "Max", [draw.ints(2, 3), draw.ints(3)], free=True)
    family.node("min_integers", "Min", [draw.ints(2, 3), i64(1)])


def comparisons(family):
    """Results are truth values."""
    draw = family.draw("comparisons")
    a = f32(1, 2, 3, -1, 0, 2.5).reshape(2, 3)
    b = f32(1, 2.5, 2)
    for op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
        family.node(f"{op.lower()}_floats", op, [a, b])
        family.node(f"{op.lower()}_scalar", op, [a, scalar(2.0)], held=(1,))
        family.node(f"{op.lower()}_integers", op,
                    [draw.ints(2, 3, low=0, high=3), draw.ints(3, low=0, high=3)], free=True)
    family.node("equal_truth_values", "Equal",
                [np.array([True, False, True]), np.array([True, True, False])], free=True)
    family.node("isnan", "IsNaN", [f32(1, np.nan, np.inf)])


def logic(family):
    """Truth values, and choice by them."""
    a, b = np.array([[True], [False]]), np.array([True, False, True])
    for op in ("And", "Or", "Xor"):
        family.node(op.lower(), op, [a, b], free=True)
    family.node("not", "Not", [a])
    draw = family.draw("where")
    mask = np.array([[True, False, True], [False, True, True]])
    family.node("where_same", "Where", [mask, draw.spread(2, 3), draw.spread(2, 3)])
    family.node("where_broadcast", "Where", [b, draw.spread(2, 1), draw.spread(2, 2, 3)])
    family.node("where_scalars", "Where", [mask, scalar(1.0), draw.spread(3)], held=(1,))
    family.node("where_condition_constant", "Where", [mask, draw.spread(2, 3), scalar(-9.0)],
                held=(0, 2))
    family.node("where_integers", "Where", [mask, i64(5), draw.ints(2, 3)], free=True)


def integers(family):
    """Integer arithmetic: division towards zero, wrap-around, remainders."""
    draw = family.draw("integers")
    for op in ("Add", "Sub", "Mul"):
        family.node(f"{op.lower()}_integers", op, [draw.ints(2, 3), draw.ints(3)], free=True)
    family.node("div_integers", "Div", [i64(7, -7, 7, -7, 6), i64(2, 2, -2, -2, 3)], free=True)
    family.node("div_int32", "Div", [np.array([9, -9], np.int32), np.array([4, 4], np.int32)])
    family.node("mod_integers", "Mod", [i64(7, -7, 7, -7), i64(3, 3, -3, -3)], free=True)
    family.node("mul_integers_beyond_32_bits", "Mul", [i64(1 << 20, 3), i64(2, 1 << 20)], free=True)
