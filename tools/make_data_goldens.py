#!/usr/bin/env python3
"""Write the goldens of crates/data: numpy's random numbers, Pillow's resizing and decoding.

They are committed as small JSON files in crates/data/tests/goldens; bytes are in hexadecimal. Needs numpy and Pillow.
The pictures are drawn here by formulas and seeded noise.
"""
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

TARGET = Path(__file__).resolve().parent.parent / "crates/data/tests/goldens"
FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
TAIL = 3.654152885361009


def random_case(seeds, count):
    seed = seeds[0] if len(seeds) == 1 else seeds
    normal = np.random.default_rng(seed).standard_normal(count)
    tail = np.flatnonzero(np.abs(normal) > TAIL)
    at = sorted({*range(0, count, max(1, count // 20)), *tail.tolist()[:20], count - 1})
    return {
        "seeds": seeds,
        "uniform": np.random.default_rng(seed).random(8).tolist(),
        "normal_first": normal[:16].tolist(),
        "normal_at": [[i, float(normal[i])] for i in at],
        "normal_count": count,
        "normal_beyond_tail": len(tail),
        "normal_sum": float(normal.sum()),
    }


def picture(width, height, channels, seed):
    """Waves, an edge and noise: values over all of 0..255."""
    rng = np.random.default_rng(seed)
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    value = 128 + 90 * np.sin(0.35 * x + c) * np.cos(0.21 * y - c) + 60 * (x > y) + rng.normal(0, 25, x.shape)
    return np.clip(value, 0, 255).astype(np.uint8)


def resize_case(array, size, name):
    grey = array.ndim == 2 or array.shape[2] == 1
    image = Image.fromarray(array.reshape(array.shape[:2]) if grey else array)
    out = np.asarray(image.resize(size, FILTERS[name]))
    return {"filter": name, "width": array.shape[1], "height": array.shape[0], "channels": 1 if grey else 3,
            "data": array.tobytes().hex(), "out_width": size[0], "out_height": size[1], "out": out.tobytes().hex()}


def resize_goldens():
    sizes = [((24, 17), (12, 8)), ((24, 17), (31, 40)), ((24, 17), (24, 5)), ((24, 17), (7, 17)), ((13, 29), (10, 10)), ((5, 3), (1, 1)),
             ((1, 1), (4, 3))]
    cases = [resize_case(picture(*source, channels, seed), target, name)
             for seed, (source, target) in enumerate(sizes) for channels in (1, 3) for name in FILTERS]
    planes = [resize_case((picture(*source, 1, seed)[..., 0] * np.float32(0.37) + 16).astype(np.float32), target, name)
              for seed, (source, target) in enumerate(sizes[:5]) for name in FILTERS]
    return {"bytes": cases, "floats": planes}


def decode_case(name, data, extension):
    image = Image.open(io.BytesIO(data))
    return {"name": f"{name}.{extension}", "file": data.hex(), "width": image.width, "height": image.height,
            "rgb": np.asarray(image.convert("RGB")).tobytes().hex(), "grey": np.asarray(image.convert("L")).tobytes().hex()}


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decode_goldens():
    rgb = Image.fromarray(picture(37, 21, 3, 1))
    grey = Image.fromarray(picture(19, 23, 1, 2)[..., 0])
    alpha = Image.fromarray(np.concatenate([picture(11, 9, 3, 3), picture(11, 9, 1, 4)], 2))
    cases = [decode_case(f"jpeg-{s}", saved(rgb, "JPEG", quality=85, subsampling=s), "jpg") for s in ("4:4:4", "4:2:2", "4:2:0")]
    cases += [
        decode_case("jpeg-quality-20", saved(rgb, "JPEG", quality=20), "jpg"),
        decode_case("jpeg-progressive", saved(rgb, "JPEG", quality=85, progressive=True), "jpg"),
        decode_case("jpeg-restarts", saved(rgb, "JPEG", quality=85, restart_marker_blocks=1), "jpg"),
        decode_case("jpeg-grey", saved(grey, "JPEG", quality=85), "jpg"),
        decode_case("jpeg-cmyk", saved(rgb.convert("CMYK"), "JPEG", quality=90), "jpg"),
        decode_case("png-rgb", saved(rgb, "PNG"), "png"),
        decode_case("png-grey", saved(grey, "PNG"), "png"),
        decode_case("png-alpha", saved(alpha, "PNG"), "png"),
        decode_case("png-palette", saved(rgb.quantize(16), "PNG"), "png"),
        decode_case("png-bilevel", saved(grey.point(lambda v: 255 * (v > 128)).convert("1"), "PNG"), "png"),
        decode_case("bmp-rgb", saved(rgb, "BMP"), "bmp"),
        decode_case("bmp-grey", saved(grey, "BMP"), "bmp"),
        decode_case("webp-lossless", saved(rgb, "WEBP", lossless=True), "webp"),
    ]
    return cases


def write(name, value):
    text = json.dumps(value, separators=(",", ":")).replace("},{", "},\n{")
    (TARGET / name).write_text(text + "\n")


def main():
    TARGET.mkdir(parents=True, exist_ok=True)
    write("numpy_random.json", [random_case(seeds, count) for seeds, count in (
        ([0], 100_000), ([7], 100_000), ([2**40 + 3], 1000), ([0, 1], 1000), ([3, 2**33, 5, 6, 7], 20_000))])
    write("pillow_resize.json", resize_goldens())
    write("pillow_decode.json", decode_goldens())


if __name__ == "__main__":
    main()
