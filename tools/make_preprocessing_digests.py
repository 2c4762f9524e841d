#!/usr/bin/env python3
"""Write crates/data/tests/goldens/shared_inputs.json: what the cards' inputs must be, made with numpy and Pillow alone.

    make_preprocessing_digests.py SHARED

For some images of every card: shape, sum, sum of squares and five values of the input. The cards' meaning is written out
again here on purpose.
"""
import argparse
import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

TARGET = Path(__file__).resolve().parent.parent / "crates/data/tests/goldens/shared_inputs.json"
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def normal(x):
    return ((np.float32(x) / 255 - MEAN) / STD).transpose(2, 0, 1)


def raw(x):
    return np.float32(x).transpose(2, 0, 1)


def square(image, mean, std):
    w, h = image.size
    side = int(224 / 256 * min(w, h))
    left, top = (w - side + 1) // 2, (h - side + 1) // 2
    image = image.crop((left, top, left + side, top + side))
    if side != 224:
        image = image.resize((224, 224), Image.BICUBIC)
    return ((np.float32(image) - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)


def random_crop(image, size, seed, index):
    rng = np.random.default_rng([seed, index])
    w, h = min(size, image.width), min(size, image.height)
    left = int(rng.random() * (image.width - w + 1))
    top = int(rng.random() * (image.height - h + 1))
    return image.crop((left, top, left + w, top + h))


def even(image, scale=2):
    return image.crop((0, 0, image.width // scale * scale, image.height // scale * scale))


def small_rgb(image):
    image = even(image)
    low = image.resize((image.width // 2, image.height // 2), Image.BICUBIC)
    return np.float32(low).transpose(2, 0, 1) / 255


def enlarged_luma(image):
    image = even(image)
    luma = 16 + np.float64(image) @ np.array([65.481, 128.553, 24.966]) / 255
    plane = Image.fromarray(luma.astype(np.float32))
    plane = plane.resize((image.width // 2, image.height // 2), Image.BICUBIC).resize(image.size, Image.BICUBIC)
    return np.asarray(plane)[None] / np.float32(255)


def noisy(clean, rng):
    clean = np.float32(clean) / 255
    return np.float32(clean + rng.standard_normal(clean.shape) * 25 / 255)[None]


def digest(index, x):
    x = np.ascontiguousarray(x, np.float32)
    flat = x.reshape(-1)
    at = [int(v) for v in np.linspace(0, len(flat) - 1, 5)]
    return {"index": index, "shape": list(x.shape), "sum": float(np.float64(flat).sum()), "squares": float((np.float64(flat) ** 2).sum()),
            "values": [[i, float(flat[i])] for i in at]}


def from_npz(path, prepare):
    data = np.load(path)
    n = len(data["x"])
    picks = [0, 1, n // 2, n - 1]
    return {"images": n, "labels": [int(data["y"][i]) for i in picks], "samples": [digest(i, prepare(data["x"][i])) for i in picks]}


def from_train(path, prepare):
    with tarfile.open(path) as tar:
        names = sorted(m.name for m in tar if m.isfile())
    classes = sorted({name.split("/")[0] for name in names})
    picks = [0, 1, 4999, 5000, 27777, len(names) - 1]
    wanted, found = {names[i] for i in picks}, {}
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name in wanted:
                found[member.name] = tar.extractfile(member).read()
    samples = [digest(i, prepare(np.asarray(Image.open(io.BytesIO(found[names[i]])).convert("RGB")))) for i in picks]
    return {"images": len(names), "labels": [classes.index(names[i].split("/")[0]) for i in picks], "samples": samples}


def from_rows(root, start, prepare, noise_seed=None):
    """prepare(image, index); with a seed its results are clean and get noise, image after image."""
    with open(root / "labels.csv", newline="") as f:
        rows = list(csv.DictReader(f))[start::2]
    picks, samples = [0, 1, 117, len(rows) - 1], []
    rng = None if noise_seed is None else np.random.default_rng(noise_seed)
    for i, row in enumerate(rows):
        if rng is None and i not in picks:
            continue
        x = prepare(Image.open(root / row["file"]).convert("RGB"), i)
        x = x if rng is None else noisy(x, rng)
        if i in picks:
            samples.append(digest(i, x))
    labels = [int(rows[i]["label"]) for i in picks] if rng is None else None
    return {"images": len(rows), "labels": labels, "samples": samples}


def from_set12(root, prepare):
    files = sorted(root.glob("*.png"))
    return {"images": len(files), "labels": None, "samples": [digest(i, prepare(Image.open(f))) for i, f in enumerate(files)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    data = parser.parse_args().shared / "data"
    cifar, imagenet, set12 = data / "cifar10-jpeg", data / "imagenet-sample", data / "denoise"
    rng = np.random.default_rng(0)
    cards = {}
    for name, prepare in (("cifar10", normal), ("cifar10-raw", raw)):
        cards[f"{name}-calib"] = from_npz(cifar / "calib.npz", prepare)
        cards[f"{name}-test"] = from_npz(cifar / "test.npz", prepare)
        cards[f"{name}-train"] = from_train(cifar / "train.tar.xz", prepare)
    for name, mean, std in (("imagenet", 127, 128), ("imagenet-keras", 127.5, 127.5)):
        for half, start in (("calib", 0), ("report", 1)):
            cards[f"{name}-{half}"] = from_rows(imagenet, start, lambda image, _, m=mean, s=std: square(image, m, s))
    cards["denoise-calib"] = from_rows(imagenet, 0, lambda image, i: random_crop(image.convert("L"), 96, 0, i), noise_seed=1)
    cards["denoise-set12"] = from_set12(set12, lambda image: noisy(image.convert("L"), rng))
    cards["sr-x2-calib"] = from_rows(imagenet, 0, lambda image, i: small_rgb(random_crop(image, 192, 0, i)))
    cards["sr-x2-set12"] = from_set12(set12, lambda image: small_rgb(image.convert("RGB")))
    cards["vdsr-x2-calib"] = from_rows(imagenet, 0, lambda image, i: enlarged_luma(random_crop(image, 96, 0, i)))
    cards["vdsr-x2-set12"] = from_set12(set12, lambda image: enlarged_luma(image.convert("RGB")))
    for name in ("denoise-calib", "sr-x2-calib", "vdsr-x2-calib"):
        cards[name]["labels"] = None
    TARGET.write_text(json.dumps(cards, separators=(",", ":")).replace('},{"index"', '},\n{"index"').replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
