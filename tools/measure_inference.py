#!/usr/bin/env python3
"""Measure what exported forms cost and keep: accuracy, file size, multiply–accumulates, and time in ONNX Runtime.

    measure_inference.py FOLDER --shared PATH --program TQZ --out FOLDER [--only NAME …] [--rounds N] [--limit N] [--no-scores]

FOLDER holds .tqz files named after the networks of PATH/models; a suffix after `@` tells settings apart
(resnet18-cifar10@macs50.tqz). For each: the forms transform, int8 and int8-dense are exported, ONNX Runtime's own static
quantization (QDQ, uint8 activations, int8 weights for each channel, MinMax) is made of the original from the same calibration images,
all are scored with PATH/tools/score.py against the original, and all are timed in turn in one process: each round runs every network
once, another first each time; what is reported is the median over rounds of the time over the original's in the same round, with
quartiles. Writes raw.csv and prints tables. For times that mean something the machine must be idle.
Needs numpy, onnx, onnxruntime, pillow.
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

CARDS = Path(__file__).resolve().parent.parent / "examples" / "cards"
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
# Network → protocol of score.py, card, images below PATH/data, images for calibration, preparation for ONNX Runtime's quantizer.
NETWORKS = {
    "resnet18-cifar10": ("cifar", "cifar10-calib", "cifar10-jpeg/calib.npz", 512, "cifar"),
    "resnet20-cifar10": ("cifar", "cifar10-calib", "cifar10-jpeg/calib.npz", 512, "cifar"),
    "alexnet-cifar10": ("cifar", "cifar10-calib", "cifar10-jpeg/calib.npz", 512, "cifar"),
    "densenet40-12-cifar10": ("cifar", "cifar10-raw-calib", "cifar10-jpeg/calib.npz", 512, "cifar-raw"),
    "efficientnet-lite0": ("imagenet", "imagenet-calib", "imagenet-sample", 100, "lite"),
    "dncnn-s-25": ("denoise", "denoise-calib", "imagenet-sample", 64, "denoise"),
}
SETTINGS = [(1, 1), (8, 1), (1, 2), (8, 2)]
FREE_EXTENT = 64


def square(path, side):
    image = Image.open(path).convert("RGB")
    width, height = image.size
    edge = int(side / (side + 32) * min(width, height))
    left, top = (width - edge + 1) // 2, (height - edge + 1) // 2
    return image.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BICUBIC)


def calibration(kind, data, count):
    """Inputs, one image each, of the calibration images only."""
    if kind.startswith("cifar"):
        pictures = np.load(data / "cifar10-jpeg/calib.npz")["x"][:count].astype(np.float32)
        if kind == "cifar":
            pictures = (pictures / 255 - IMAGENET[0]) / IMAGENET[1]
        yield from pictures.transpose(0, 3, 1, 2)[:, None].astype(np.float32)
        return
    folder = data / "imagenet-sample"
    with open(folder / "labels.csv", newline="", encoding="utf-8") as table:
        names = [row["file"] for row in csv.DictReader(table)][::2][:count]
    rng = np.random.default_rng(1)
    for name in names:
        if kind == "lite":
            x = (np.asarray(square(folder / name, 224), np.float32) - 127) / 128
            yield x.transpose(2, 0, 1)[None]
        else:
            grey = np.asarray(square(folder / name, 180).convert("L"), np.float32) / 255
            noisy = grey + 25 / 255 * rng.standard_normal(grey.shape)
            yield noisy[None, None].astype(np.float32)


class Reader(CalibrationDataReader):
    def __init__(self, name, images):
        self.items = iter([{name: image} for image in images])

    def get_next(self):
        return next(self.items, None)


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def static_int8(original, kind, data, count, output):
    """ONNX Runtime's own quantization of the original."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(original), str(prepared), skip_symbolic_shape=True)
        name = ort.InferenceSession(str(prepared), providers=["CPUExecutionProvider"]).get_inputs()[0].name
        reader = Reader(name, calibration(kind, data, count))
        quantize_static(str(prepared), str(output), reader, quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def session(path, threads):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def times(paths, batch, threads, rounds):
    """Milliseconds, rounds × networks."""
    nets = [session(path, threads) for path in paths]
    port = nets[0].get_inputs()[0]
    dims = [d if isinstance(d, int) else (batch if i == 0 else FREE_EXTENT) for i, d in enumerate(port.shape)]
    x = np.random.default_rng(0).standard_normal(dims).astype(np.float32)
    found = np.zeros((rounds, len(nets)))
    for turn in range(-5, rounds):
        for step in range(len(nets)):
            index = (step + turn) % len(nets)
            start = time.perf_counter()
            nets[index].run(None, {port.name: x})
            if turn >= 0:
                found[turn, index] = 1e3 * (time.perf_counter() - start)
    return found


def score(arguments, path, original, protocol):
    command = [sys.executable, arguments.shared / "tools/score.py", path, protocol, "--ref", original, "--data",
               arguments.shared / "data", "--threads", 2, "--json"]
    if arguments.limit:
        command += ["--limit", arguments.limit]
    return json.loads(run(command))


def forms(arguments, tqz, name, folder):
    """Exports all forms; form → path, in the order of the tables."""
    protocol, card, images, count, kind = NETWORKS[name]
    original = arguments.shared / "models" / f"{name}.onnx"
    calib = ["--calib", CARDS / f"{card}.toml", "--source", arguments.shared / "data" / images, "--images", count]
    paths = {"original": original}
    for form in ["dense", "transform", "int8", "int8-dense"]:
        paths[form] = folder / f"{form}.onnx"
        more = calib if form.startswith("int8") else []
        run([arguments.program, "export", tqz, "--form", form, "-o", paths[form], "--force", "--json", *more])
    paths["ORT static int8"] = folder / "static.onnx"
    static_int8(original, kind, arguments.shared / "data", min(count, 200), paths["ORT static int8"])
    return protocol, original, paths


def measure(arguments, tqz, writer):
    name = tqz.stem.split("@")[0]
    inspected = json.loads(run([arguments.program, "inspect", tqz, "--json"]))
    costs = inspected["costs"]
    with tempfile.TemporaryDirectory() as folder:
        protocol, original, paths = forms(arguments, tqz, name, Path(folder))
        scores = {} if arguments.no_scores else {
            form: score(arguments, path, original, protocol) for form, path in paths.items()}
        found = {setting: times(list(paths.values()), *setting, arguments.rounds) for setting in SETTINGS}
        for index, (form, path) in enumerate(paths.items()):
            row = {"network": tqz.stem, "form": form, "tqz_bytes": tqz.stat().st_size, "onnx_bytes": path.stat().st_size,
                   "macs": costs["macs"] if form in ("transform", "int8") else costs["macs_dense"],
                   **{k: v for k, v in scores.get(form, {}).items() if isinstance(v, (int, float))}}
            for (batch, threads), rounds in found.items():
                ratio = np.quantile(rounds[:, index] / rounds[:, 0], [0.25, 0.5, 0.75])
                tag = f"b{batch}t{threads}"
                row |= {f"{tag}_ms": float(np.median(rounds[:, index])), f"{tag}_ratio": ratio[1],
                        f"{tag}_low": ratio[0], f"{tag}_high": ratio[2]}
            writer(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--rounds", type=int, default=201)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--no-scores", action="store_true")
    arguments = parser.parse_args()
    files = [f for f in sorted(arguments.folder.glob("*.tqz")) if f.stem.split("@")[0] in NETWORKS]
    files = [f for f in files if not arguments.only or f.stem in arguments.only]
    if not files:
        parser.error(f"{arguments.folder} holds no .tqz file of a known network")
    rows = []

    def writer(row):
        rows.append(row)
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        print(json.dumps(shown), flush=True)

    for tqz in files:
        measure(arguments, tqz, writer)
    arguments.out.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(arguments.out / "raw.csv", "w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, columns)
        table.writeheader()
        table.writerows(rows)
    for tqz in files:
        print(f"\n### {tqz.stem}\n")
        print("| form | bytes | MACs | score | agreement | time, 1 image 1 thread | 8 images 1 thread | 1 image 2 threads |")
        print("|---|---|---|---|---|---|---|---|")
        for row in (r for r in rows if r["network"] == tqz.stem):
            ratio = [f"{row[f'{t}_ratio']:.2f} ({row[f'{t}_low']:.2f}–{row[f'{t}_high']:.2f})" for t in ("b1t1", "b8t1", "b1t2")]
            value = f"{100 * row['top1']:.2f} %" if "top1" in row else f"{row['psnr']:.2f} dB" if "psnr" in row else ""
            agreement = f"{100 * row['agree']:.2f} %" if "agree" in row else ""
            print(f"| {row['form']} | {row['onnx_bytes']:,} | {row['macs']:,} | {value} | {agreement} | {' | '.join(ratio)} |")


if __name__ == "__main__":
    main()
