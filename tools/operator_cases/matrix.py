"""Gemm and MatMul."""

from .kit import Family, scalar


def add(family: Family):
    """All cases of the family."""
    gemm(family)
    matmul(family)


def gemm(family):
    """Transpositions, factors and every shape that the third operand may have."""
    def case(name, a, b, c=None, held=(1, 2), **attributes):
        draw = family.draw(name)
        inputs = [draw.spread(*a), draw.spread(*b)]
        if c is not None:
            inputs.append(draw.spread(*c))
        family.node(name, "Gemm", inputs, held=held, **attributes)

    case("gemm_plain", (3, 4), (4, 2))
    case("gemm_bias", (3, 4), (4, 2), (2,))
    case("gemm_trans_b", (3, 4), (2, 4), (2,), transB=1)
    case("gemm_trans_a", (4, 3), (4, 2), (2,), transA=1)
    case("gemm_trans_both", (4, 3), (2, 4), (2,), transA=1, transB=1)
    case("gemm_alpha_beta", (3, 4), (4, 2), (2,), alpha=0.5, beta=-1.5)
    case("gemm_alpha_alone", (3, 4), (2, 4), None, alpha=2.0, transB=1)
    case("gemm_beta_zero", (3, 4), (4, 2), (2,), beta=0.0)
    case("gemm_full_bias", (3, 4), (4, 2), (3, 2))
    case("gemm_row_bias", (3, 4), (4, 2), (1, 2))
    case("gemm_column_bias", (3, 4), (4, 2), (3, 1))
    case("gemm_one_bias", (3, 4), (4, 2), (1,))
    case("gemm_all_inputs", (3, 4), (4, 2), (3, 2), held=())
    case("gemm_opset_7", (3, 4), (4, 2), (2,), opset=7)
    case("gemm_opset_9", (3, 4), (4, 2), (2,), opset=9, transB=0)
    case("gemm_opset_11", (3, 4), (4, 2), None, opset=11)
    draw = family.draw("gemm_scalar_bias")
    family.node("gemm_scalar_bias", "Gemm", [draw.spread(2, 3), draw.spread(3, 2), scalar(0.75)],
                held=(1, 2))


def matmul(family):
    """Every pairing of ranks that numpy.matmul takes."""
    for a, b in (((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (3, 4)),
                 ((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 2)), ((2, 2, 3), (2, 3, 2)),
                 ((2, 1, 2, 3), (3, 3, 2)), ((1, 2, 3), (2, 3, 2)), ((3,), (2, 3, 2)),
                 ((2, 2, 3), (3,)), ((2, 2, 2, 3), (3, 2)), ((1, 1, 2, 3), (2, 2, 3, 1))):
        text = "_by_".join("x".join(map(str, dims)) for dims in (a, b))
        for held in ((), (1,)):
            name = f"matmul_{text}" + ("_constant" if held else "")
            draw = family.draw(name)
            family.node(name, "MatMul", [draw.spread(*a), draw.spread(*b)], held=held)
    draw = family.draw("matmul_left_constant")
    family.node("matmul_left_constant", "MatMul", [draw.spread(2, 3), draw.spread(3, 4)], held=(0,))
