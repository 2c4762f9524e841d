#!/usr/bin/env python3
"""Compare the inputs of crates/data with an independent preparation in numpy and Pillow, and its scores with score.py's.

    check_preprocessing.py SHARED DUMP_BATCH [CARD ...]

SHARED is the folder of shared data; DUMP_BATCH the built example `dump_batch`. Per card: the largest difference of the inputs
from those that shared/tools/score.py makes, and for cards with a network the score of ONNX Runtime's outputs by our scorer
beside the one of score.py. Exits with 1 when inputs differ or scores differ by more than 0.01.
"""
import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort

CARDS = Path(__file__).resolve().parent.parent / "examples/cards"
NETWORKS = {
    "cifar10-test": ["resnet20-cifar10", "resnet56-cifar10", "alexnet-cifar10", "resnet18-cifar10"],
    "cifar10-raw-test": ["densenet40-12-cifar10"],
    "imagenet-report": ["efficientnet-lite0"],
    "imagenet-keras-report": ["mobilenet-v1-075"],
    "denoise-set12": ["dncnn-s-25"],
    "sr-x2-set12": ["imdn-x2", "carn-m-x2"],
    "vdsr-x2-set12": ["vdsr"],
}
KIND = {"cifar10-test": "cifar", "cifar10-raw-test": "cifar", "imagenet-report": "imagenet",
        "imagenet-keras-report": "imagenet", "denoise-set12": "denoise", "sr-x2-set12": "sr", "vdsr-x2-set12": "sr"}


def load_scorer(shared):
    spec = importlib.util.spec_from_file_location("score", shared / "tools/score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorder:
    """Stands for a network in score.py and keeps the inputs it is given."""

    def __init__(self, path, shape):
        self.path, self.shape, self.inputs = Path(path), shape, []

    def __call__(self, x):
        self.inputs.append(np.ascontiguousarray(x, np.float32))
        if len(self.shape) == 4 and self.shape[2] is None:
            scale = 2 if self.shape[1] == 3 else 1
            return np.zeros((len(x), x.shape[1], x.shape[2] * scale, x.shape[3] * scale), np.float32)
        return np.zeros((len(x), 1000), np.float32)


def expected_inputs(score, card, shared, name):
    shape = [None, 3, 224, 224] if KIND[card] == "imagenet" else [None, 1 if card in ("denoise-set12", "vdsr-x2-set12") else 3, None, None]
    if KIND[card] == "cifar":
        shape = [None, 3, 32, 32]
    net = Recorder(f"{name}.onnx", shape)
    args = SimpleNamespace(data=shared / "data", limit=None, mean=None, std=None, half="odd" if KIND[card] == "imagenet" else None,
                           prep=None, sigma=25.0, output="noise", scale=2)
    with np.errstate(all="ignore"):
        score.KINDS[KIND[card]](net, None, args)
    return [image for batch in net.inputs for image in batch]


def run(card, shared, dump, score):
    path = CARDS / f"{card}.toml"
    ok = True
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subprocess.run([dump, path, folder, "50"], check=True)
        files = sorted(folder.glob("batch-*.in.npy"))
        images = [image for f in files for image in np.load(f)]
        for name in NETWORKS[card][:1]:
            expected = expected_inputs(score, card, shared, name)
            worst = max(float(np.abs(a - b).max()) for a, b in zip(images, expected, strict=True))
            exact = sum(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))
            print(f"{card}: {exact} of {len(images)} inputs equal to the bit, largest difference {worst:.3g}")
            ok &= worst <= 2e-5
        for name in NETWORKS[card]:
            model = shared / "models" / f"{name}.onnx"
            session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
            for f in files:
                out = session.run(None, {session.get_inputs()[0].name: np.load(f)})[0]
                np.save(folder / f.name.replace(".in.", ".out."), out)
            ours = json.loads(subprocess.run([dump, path, folder, "50", folder], check=True, capture_output=True, text=True).stdout)
            command = [sys.executable, shared / "tools/score.py", model, KIND[card], "--json"]
            command += ["--half", "odd"] if KIND[card] == "imagenet" else []
            theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            pairs = [(ours.get("psnr_db"), theirs.get("psnr")), (ours.get("top1_percent"), percent(theirs, "top1")),
                     (ours.get("top5_percent"), percent(theirs, "top5")),
                     (ours.get("input_psnr_db"), theirs.get("noisy_psnr", theirs.get("bicubic_psnr")))]
            pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
            print(f"  {name}: {ours['images']} images, ours | score.py: " + "  ".join(f"{a:.6f} | {b:.6f}" for a, b in pairs))
            ok &= ours["images"] == theirs["images"] and all(abs(a - b) <= 0.01 for a, b in pairs)
    return ok


def percent(scores, key):
    return 100 * scores[key] if key in scores else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("dump_batch")
    parser.add_argument("cards", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    args = parser.parse_args()
    score = load_scorer(args.shared)
    results = [run(card, args.shared, args.dump_batch, score) for card in args.cards or NETWORKS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
