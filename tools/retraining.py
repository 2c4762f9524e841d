#!/usr/bin/env python3
"""Points of docs/results/2026-11-29-retraining: each network compressed, retrained without labels (toward the original as it
is, or as it sees an image and its mirror image) and with them, every file scored on test images.

Usage: tools/retraining.py --tqz target/release/tqz --shared ../shared [--only NETWORK ...] [--work FOLDER]
Appends to raw.csv in the result's folder; points that are there already are left out, so it goes on where it was stopped (a
retraining that was cut goes on from its checkpoint).
"""
import argparse
import csv
import json
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs/results/2026-11-29-retraining"
FIELDS = ["network", "quantizer", "transform", "asked_bpw", "training", "temperature", "steps", "images", "file_bytes", "bits_per_weight", "top1_percent",
          "psnr_db", "kl_nats", "agreement_percent", "seconds", "device"]
CIFAR = {"data": "cifar10-train", "test": "cifar10-test", "calib": "cifar10-calib", "batch": 64, "temperature": 2}
RAW = {"data": "cifar10-raw-train", "test": "cifar10-raw-test", "calib": "cifar10-raw-calib", "batch": 64, "temperature": 2}
# What `tqz compress` does unless told otherwise.
QUANTIZER = "dependent"
# Steps and images by network: on the larger ones a part of the epochs that the paper allows. At about .5, 1, 1.5 and 2 bits, and where the project set itself a bound.
NETWORKS = {
    "resnet20": {**CIFAR, "file": "resnet20-cifar10", "bits": [0.5, 0.85, 1.0, 1.2, 1.5, 2.0], "steps": 300, "images": 20500, "mirrored": True},
    "resnet56": {**CIFAR, "file": "resnet56-cifar10", "bits": [0.5, 1.0, 1.5, 2.0], "steps": 120, "images": 9500, "mirrored": True},
    "alexnet": {**CIFAR, "file": "alexnet-cifar10", "bits": [0.11, 0.2, 0.5, 1.0, 1.5, 2.0], "steps": 200, "images": 14500, "start": 4096, "mirrored": True},
    "resnet18": {**CIFAR, "file": "resnet18-cifar10", "bits": [0.15, 0.22, 0.5, 1.0, 1.5, 2.0], "steps": 120, "images": 9500, "start": 4096, "mirrored": True},
    "densenet40": {**RAW, "file": "densenet40-12-cifar10", "bits": [0.5, 0.9, 1.25, 1.5, 2.0], "steps": 80, "images": 6500},
    "dncnn": {"data": "denoise-calib", "test": "denoise-set12", "calib": "denoise-calib", "file": "dncnn-s-25", "bits": [0.5, 1.0, 1.4, 2.0],
              "steps": 150, "images": None, "batch": 16, "patch": 48, "rate": 0.02},
}
# What is asked for by training: toward the original's predictions of an image, toward their mean over it and its mirror image (networks that know
# both: what `--teacher auto` finds), toward labels.
TRAININGS = {"distill": ["--loss", "distill", "--teacher", "plain"], "mirrored": ["--loss", "distill", "--teacher", "mirrored"], "labels": ["--loss", "labels"]}
# KLT against ELT after retraining, without labels, where layers are wide.
TRANSFORMS = {"alexnet": {"bits": [0.2, 0.5], "transforms": ["klt", "elt"]}, "resnet18": {"bits": [0.22], "transforms": ["klt", "elt"]}}


def call(arguments, work, options=()):
    """Runs tqz, returns what it says as JSON and the seconds it took."""
    start = time.time()
    done = subprocess.run([str(a) for a in arguments] + ["--json", *options], stdout=subprocess.PIPE, check=True, cwd=work)
    return json.loads(done.stdout), time.time() - start


def points(names, trainings):
    """Every (network, transform, bits, trainings)."""
    for name in names:
        fit = [training for training in trainings if training != "mirrored" or NETWORKS[name].get("mirrored")]
        for bits in NETWORKS[name]["bits"]:
            yield name, "auto", bits, fit
    for name in names:
        compared = TRANSFORMS.get(name, {"bits": [], "transforms": []})
        for bits in compared["bits"]:
            for transform in compared["transforms"]:
                yield name, transform, bits, [training for training in trainings if training == "distill"]


class Table:
    """raw.csv."""

    def __init__(self, path):
        self.path = path
        self.rows = list(csv.DictReader(path.open())) if path.exists() else []

    def has(self, *key):
        known = [r for r in self.rows if r["quantizer"] == QUANTIZER]
        return any((r["network"], r["transform"], float(r["asked_bpw"]), r["training"], r["temperature"]) == key for r in known)

    def add(self, row):
        new = not self.path.exists()
        self.rows.append({k: str(row.get(k, "")) for k in FIELDS})
        with self.path.open("a", newline="") as out:
            writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


def score(call, tqz, file, network, model):
    """What a file does on the test images."""
    card = ROOT / f"examples/cards/{network['test']}.toml"
    found, _ = call([tqz, "eval", file, "--data", card, "--ref", model])
    reference = found.get("reference") or {}
    return {
        "top1_percent": found.get("top1_percent"), "psnr_db": found.get("psnr_db"),
        "kl_nats": reference.get("kl_nats"), "agreement_percent": reference.get("agreement_percent"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tqz", type=pathlib.Path, required=True)
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("target/retraining"))
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=0, help="of each run; 0: as many as there are cores")
    parser.add_argument("--device", default="cpu", help="where gradients are taken: cpu, or what the program was built with")
    parser.add_argument("--trainings", nargs="*", default=list(TRAININGS), choices=list(TRAININGS))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    tqz, work = args.tqz.resolve(), args.work.resolve()
    options = ["--threads", str(args.threads)] if args.threads else []
    run = lambda arguments: call(arguments, work, options)
    RESULT.mkdir(parents=True, exist_ok=True)
    table = Table(RESULT / "raw.csv")
    for name, transform, bits, trainings in points(args.only, args.trainings):
        network = NETWORKS[name]
        model = (args.shared / f"models/{network['file']}.onnx").resolve()
        card = lambda which: ROOT / f"examples/cards/{network[which]}.toml"
        start = work / f"{name}-{transform}-{bits}.tqz"
        row = {"network": name, "quantizer": QUANTIZER, "transform": transform, "asked_bpw": bits}
        # Labels are compared with predictions as they are.
        tempered = lambda training: "" if training == "labels" else str(network.get("temperature", ""))
        measured = table.has(name, transform, bits, "none", "")
        if not measured or (not start.exists() and not all(table.has(name, transform, bits, training, tempered(training)) for training in trainings)):
            # As `tqz retrain` makes its starts: many images of the training set where there are many weights.
            images = ["--calib", card("data"), "--images", network["start"]] if "start" in network else ["--calib", card("calib")]
            found, seconds = run([tqz, "compress", model, *images, "--bits", bits, "--transform", transform,
                                  "-o", start, "--force"])
        if not measured:
            table.add({**row, "device": "cpu", "training": "none", "steps": 0, "images": found["calibration_images"],
                       "file_bytes": found["file_bytes"], "bits_per_weight": round(found["bits_per_weight"], 4),
                       **score(run, tqz, start, network, model), "seconds": round(seconds)})
        for training in trainings:
            if table.has(name, transform, bits, training, tempered(training)):
                continue
            output = work / f"{name}-{transform}-{bits}-{training}.tqz"
            asked = [tqz, "retrain", model, "--data", card("data"), "--from", start, "--bits", bits, *TRAININGS[training],
                     "--steps", network["steps"], "--batch", network["batch"], "-o", output, "--force",
                     "--log", output.with_suffix(".csv"), "--device", args.device]
            if tempered(training):
                asked += ["--temperature", tempered(training)]
            if network["images"]:
                asked += ["--images", network["images"]]
            if "patch" in network:
                asked += ["--patch", network["patch"], "--rate", network["rate"]]
            if output.with_suffix(".checkpoint").exists():
                asked += ["--resume"]
            found, seconds = run(asked)
            table.add({**row, "device": args.device, "training": training, "temperature": tempered(training), "steps": found["steps"], "images": found["training_images"],
                       "file_bytes": found["file_bytes"], "bits_per_weight": round(found["bits_per_weight"], 4),
                       **score(run, tqz, output, network, model), "seconds": round(seconds)})


if __name__ == "__main__":
    main()
