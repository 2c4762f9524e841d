"""Gemm, MatMul and Einsum."""

from .kit import Family, scalar


def add(family: Family):
    """All cases of the family."""
    gemm(family)
    matmul(family)
    einsum(family)


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


def einsum(family):
    """Products as attention and excitation blocks write them, with and without `...`."""
    for number, (equation, *shapes) in enumerate((
            ("bchw,bc->bchw", (2, 3, 2, 2), (2, 3)), ("nchw,dc->ndhw", (2, 3, 2, 2), (4, 3)),
            ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
            ("ij,jk", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)), ("i,j->ij", (2,), (3,)),
            ("i,i->", (3,), (3,)), ("ij->ji", (2, 3)), ("bij->b", (2, 2, 3)),
            ("...ij,...jk->...ik", (2, 2, 3, 2), (2, 2, 2, 2)), ("...c,cd->...d", (2, 2, 3), (3, 4)),
            ("b...->...b", (2, 3, 2)), ("ij,ik,kl->jl", (2, 3), (2, 2), (2, 3)),
            (" n c t v , k v w -> n c t w ", (2, 2, 3, 2), (2, 2, 3)), ("ba", (2, 3)))):
        draw = family.draw(f"einsum_{number}")
        family.node(f"einsum_{number}", "Einsum", [draw.spread(*dims) for dims in shapes],
                    equation=equation)
    draw = family.draw("einsum_constant")
    family.node("einsum_constant", "Einsum", [draw.spread(1, 3, 2, 2), draw.spread(4, 3)], held=(1,),
                opset=12, equation="nchw,dc->ndhw")
