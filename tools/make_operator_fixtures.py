#!/usr/bin/env python3
"""Writes crates/engine/tests/fixtures/operators/*.json: small ONNX models, one operator each, their
inputs and what ONNX Runtime computes from them. Needs tools/requirements.txt; the same versions
write the same bytes.

    python tools/make_operator_fixtures.py [FAMILY ...]
"""

import json
import pathlib
import sys

from operator_cases import (activation, convolution, elementwise, matrix, normalization, pooling,
                            quantization, reduction, rejected, resizing, shaping, slicing,
                            structure)
from operator_cases.kit import Family

MODULES = [activation, convolution, elementwise, matrix, normalization, pooling, quantization,
           reduction, rejected, resizing, shaping, slicing, structure]
FOLDER = pathlib.Path(__file__).parent.parent / "crates/engine/tests/fixtures/operators"


def main():
    """Writes the families named on the command line, or all."""
    wanted = set(sys.argv[1:])
    FOLDER.mkdir(parents=True, exist_ok=True)
    for module in MODULES:
        name = module.__name__.rsplit(".", 1)[1]
        if wanted and name not in wanted:
            continue
        family = Family(name)
        module.add(family)
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in family.cases)
        path = FOLDER / f"{name}.json"
        path.write_text(f"[\n{lines}\n]\n")
        print(f"{name}: {len(family.cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
