#!/usr/bin/env python3
"""Compares every number of the engine's outputs with ONNX Runtime's, for each network of a folder.

Usage: check_engine.py MODELS --program target/release/examples/outputs [--max-error 1e-3]
Build the program with: cargo build --release --workspace --example outputs
Inputs are smooth seeded noise in what the network expects (make_network_references.py has the ranges); open dims of
networks that are not listed there become 1 for the batch and 32 for the rest. The error is the largest difference over
the range of an output. Needs the PyPI packages onnxruntime and numpy. Exit code 1 if a network fails.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from make_network_references import SHARED

OPEN_SIDE = 32


def picture(dims, scale, offset, rng):
    """Noise with strong low frequencies, as photographs have: the sum of noise at three sizes, in -1..1."""
    total = np.zeros(dims)
    for cell in (8, 3, 1):
        coarse = rng.uniform(-1, 1, [*dims[:-2], dims[-2] // cell + 1, dims[-1] // cell + 1])
        total += coarse.repeat(cell, axis=-2).repeat(cell, axis=-1)[..., : dims[-2], : dims[-1]] / 3
    return (total * scale + offset).astype("<f4")


def recipe(name, port):
    if name in SHARED:
        return SHARED[name]
    dims = [d if isinstance(d, int) else (OPEN_SIDE if axis else 1) for axis, d in enumerate(port.shape)]
    return dims, 1.0, 0.0


def engine(program, model, x, work):
    """The engine's outputs, in the model's order."""
    x.tofile(work / "input")
    command = [program, model, ",".join(map(str, x.shape)), work / "input", work / "output"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    shapes = [tuple(map(int, line.split("\t")[1].split(","))) for line in lines]
    numbers = np.fromfile(work / "output", "<f4")
    parts = np.split(numbers, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def relative_error(model, program, work, seed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    dims, scale, offset = recipe(model.stem, port)
    x = picture(dims, scale, offset, np.random.default_rng(seed))
    wanted, found = session.run(None, {port.name: x}), engine(program, model, x, work)
    if [y.shape for y in wanted] != [y.shape for y in found]:
        raise ValueError(f"shapes {[y.shape for y in found]}, ONNX Runtime has {[y.shape for y in wanted]}")
    worst = max(float(np.abs(y - z).max() / np.ptp(y)) for y, z in zip(wanted, found))
    return worst, sum(y.size for y in wanted)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", type=Path, help="folder of .onnx files, or one of them")
    p.add_argument("--program", type=Path, required=True, help="the engine's example `outputs`")
    p.add_argument("--max-error", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=0, help="of the inputs")
    args = p.parse_args()
    models = [args.models] if args.models.is_file() else sorted(args.models.glob("*.onnx"))
    if not models:
        p.error(f"{args.models}: no .onnx files")
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for model in models:
            try:
                error, count = relative_error(model, args.program.resolve(), Path(work), args.seed)
                remark = f"largest error {error:.1e} of the range, {count} numbers"
            except (subprocess.CalledProcessError, ValueError) as problem:
                error, remark = np.inf, str(problem)
            bad = not error <= args.max_error
            failed += bad
            print(f"{'FAILED' if bad else 'ok':6} {model.stem}: {remark}", flush=True)
    print(f"{len(models)} networks, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
