#!/usr/bin/env python3
"""Check that every form `tqz export` writes of every .tqz file loads in ONNX Runtime and computes what the dense form does.

    check_forms.py FOLDER --program TQZ [--calib CARDS] [--shared PATH] [--max-error E]

FOLDER holds .tqz files. Of each, the forms dense, transform and packed are written; with --calib (a folder of cards) also int8 and
int8-dense for the networks whose card and images are known (see CARDS). All run on the same seeded inputs; free axes get 2 for the
batch and 64 for others. The largest difference from the dense form, over the range of its output, must not exceed E (default 1e-5)
for transform and packed; of the int8 forms it is the signal-to-noise ratio of the outputs that is printed and must exceed 10 dB.
Needs numpy, onnx, onnxruntime. Exit code 0: all passed; 1: a line `FAILED …` for each failure; 2: wrong usage.
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

# Network's name → card, images below --shared/data, how many of them.
CARDS = {
    "resnet20-cifar10": ("cifar10-calib", "cifar10-jpeg/calib.npz", 32),
    "resnet56-cifar10": ("cifar10-calib", "cifar10-jpeg/calib.npz", 32),
    "resnet18-cifar10": ("cifar10-calib", "cifar10-jpeg/calib.npz", 32),
    "alexnet-cifar10": ("cifar10-calib", "cifar10-jpeg/calib.npz", 32),
    "densenet40-12-cifar10": ("cifar10-raw-calib", "cifar10-jpeg/calib.npz", 32),
    "mobilenet-v1-075": ("imagenet-keras-calib", "imagenet-sample", 8),
    "efficientnet-lite0": ("imagenet-calib", "imagenet-sample", 8),
    "dncnn-s-25": ("denoise-calib", "imagenet-sample", 8),
    "imdn-x2": ("sr-x2-calib", "imagenet-sample", 8),
    "carn-m-x2": ("sr-x2-calib", "imagenet-sample", 8),
    "vdsr": ("vdsr-x2-calib", "imagenet-sample", 8),
}
FLOAT_FORMS = ["dense", "transform", "packed"]
INT8_FORMS = ["int8", "int8-dense"]
# Cards whose networks take other numbers than normalised ones.
RAW_INPUTS = {"densenet40-12-cifar10": (0.0, 255.0)}


def session(path):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def shape(port):
    return [d if isinstance(d, int) else (2 if i == 0 else 64) for i, d in enumerate(port.shape)]


def inputs(net, name):
    rng = np.random.default_rng(0)
    low, high = RAW_INPUTS.get(name, (0.0, 1.0))
    return {p.name: rng.uniform(low, high, shape(p)).astype(np.float32) for p in net.get_inputs()}


def export(program, tqz, form, output, more):
    command = [program, "export", tqz, "--form", form, "-o", output, "--force", "--json", *more]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"export failed: {done.stderr.strip()}")


def check(tqz, form, wanted, arguments, folder):
    """Exports one form and compares it; returns (text for the table, whether it passed, outputs)."""
    output = folder / f"{tqz.stem}.{form}.onnx"
    more = []
    if form in INT8_FORMS:
        card, images, count = CARDS[tqz.stem]
        more = ["--calib", arguments.calib / f"{card}.toml", "--source", arguments.shared / "data" / images,
                "--images", count]
    export(arguments.program, tqz, form, output, more)
    onnx.checker.check_model(onnx.load(output), full_check=True)
    net = session(output)
    found = net.run(None, inputs(net, tqz.stem))
    size = output.stat().st_size
    if not all(np.isfinite(f).all() for f in found):
        return "not finite", False, None
    if wanted is None:
        return f"{size:>11,} bytes", form == "dense", found
    worst, noise, power = 0.0, 0.0, 0.0
    for w, f in zip(wanted, found, strict=True):
        if w.shape != f.shape:
            return f"shape {f.shape}, not {w.shape}", False, found
        worst = max(worst, float(np.abs(w - f).max() / max(np.ptp(w), 1e-30)))
        noise += float(np.square(w - f).sum())
        power += float(np.square(w).sum())
    ratio = 10 * np.log10(power / max(noise, 1e-30))
    passed = ratio > 10 if form in INT8_FORMS else worst <= arguments.max_error
    return f"{size:>11,} bytes  largest difference {worst:.2e} of the range  {ratio:6.1f} dB", passed, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--calib", type=Path)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--max-error", type=float, default=1e-5)
    arguments = parser.parse_args()
    files = sorted(arguments.folder.glob("*.tqz"))
    if not files:
        parser.error(f"{arguments.folder} holds no .tqz file")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for tqz in files:
            wanted = None
            known = arguments.calib is not None and tqz.stem in CARDS
            for form in FLOAT_FORMS + (INT8_FORMS if known else []):
                try:
                    text, passed, found = check(tqz, form, wanted, arguments, Path(folder))
                except Exception as error:  # every failure of a form is a finding
                    text, passed, found = f"{type(error).__name__}: {error}", False, None
                if form == "dense":
                    wanted = found
                print(f"{'' if passed else 'FAILED '}{tqz.stem:<22} {form:<10} {text}", flush=True)
                failures += not passed
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
