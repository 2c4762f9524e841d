#!/usr/bin/env python3
"""Make the demo: draw its images, train its network, write assets/demo*.

    train_demo.py [--out ../assets] [--epochs 20] [--train-images 30000] [--seed 7]
    train_demo.py --preview sheet.png          a sheet of drawn images, no training

Ten classes of drawn shapes (SHAPES below) on 32 x 32 RGB pictures: any position, size, angle and
colour, on a shaded background, between stray lines and blobs, some of which cover part of the
shape, with low contrast, noise, and only LEVELS steps a channel (so that the files stay small). All is
drawn by this file from seeds, so the images are ours. The network is a residual one with batch
normalisation, exported with the BatchNormalization nodes kept. Written:

    demo.onnx        opset 17, input [N,3,32,32] = (RGB/255 - 0.5)/0.25, output [N,10] logits
    demo-calib.npz   512 images: x uint8 [N,32,32,3], y int64 [N]    (images of the training part)
    demo-test.npz    1000 images, never trained on                   (another seed)

Needs numpy, torch, onnx, onnxruntime; pillow for --preview. One core: about a quarter of an hour.
The scores printed at the end come from ONNX Runtime on the files as written; besides full
precision also with the weights rounded crudely (one symmetric grid per output channel), which shows
what a codec without any skill would cost.
"""
import argparse
import sys
import time
from pathlib import Path

import numpy as np

SHAPES = ("disc", "ring", "crescent", "half disc", "heart", "triangle", "square", "hexagon", "star", "cross")
SIDE = 32
OVERSAMPLING = 3
# Values a channel can take, evenly spaced in 0..255.
LEVELS = 16
MEAN, STD = 0.5, 0.25
BATCH = 128


# ---------------------------------------------------------------- pictures

def inside(shape, u, v):
    """Where points (u, v), in units of the shape's radius, lie inside the shape."""
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    if shape == "disc":
        return radius < 0.9
    if shape == "ring":
        return (radius < 0.95) & (radius > 0.55)
    if shape == "crescent":
        return (radius < 0.95) & (np.hypot(u - 0.45, v) > 0.75)
    if shape == "half disc":
        return (np.hypot(u + 0.4, v) < 1) & (u > -0.4)
    if shape == "heart":
        x, y = 1.2 * u, 1.2 * v + 0.15
        return (x * x + y * y - 1) ** 3 < x * x * y ** 3
    if shape == "star":
        return radius < star_radius(angle)
    if shape == "cross":
        return np.maximum(np.abs(u), np.abs(v)) < np.where(np.minimum(np.abs(u), np.abs(v)) < 0.28, 0.92, 0)
    corners = {"triangle": 3, "square": 4, "hexagon": 6}[shape]
    half = np.pi / corners
    return radius * np.cos(angle % (2 * half) - half) < np.cos(half) * (1.15 if corners == 3 else 1.05)


def star_radius(angle, points=5, inner=0.42):
    """The outline of a star: straight edges between outer (radius 1) and inner corners."""
    half = np.pi / points
    t = np.abs((angle + half) % (2 * half) - half)
    # The edge from (1, 0) to inner * (cos half, sin half), cut by the ray at angle t.
    x, y = inner * np.cos(half) - 1, inner * np.sin(half)
    return y / (y * np.cos(t) - x * np.sin(t))


def colour(rng):
    return rng.uniform(0, 255, 3)


def contrasting(rng, other):
    """A colour that differs from `other`, sometimes only just."""
    least = rng.uniform(26, 110)
    while True:
        c = colour(rng)
        if np.linalg.norm(c - other) > least:
            return other + (c - other) * min(1, (least + 50) / np.linalg.norm(c - other))


def grid():
    axis = (np.arange(SIDE * OVERSAMPLING) + 0.5) / OVERSAMPLING
    return np.meshgrid(axis, axis, indexing="xy")


def background(rng, x, y):
    """A plane of colour, shaded along one direction with a wave on it."""
    angle, phase, waves = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 5)
    along = (np.cos(angle) * (x / SIDE - 0.5) + np.sin(angle) * (y / SIDE - 0.5))
    base, shade = colour(rng), rng.normal(0, 35, 3)
    wave = rng.uniform(0, 18) * np.sin(2 * np.pi * waves * along + phase)
    return base, base + along[..., None] * shade + wave[..., None]


def clutter(rng, picture, x, y):
    """Draws one stray stroke or blob onto the picture."""
    cx, cy, angle = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(0, np.pi)
    u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
    v = -np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)
    if rng.random() < 0.6:
        mask = (np.abs(u) < rng.uniform(3, 11)) & (np.abs(v) < rng.uniform(0.4, 1.0))
    else:
        mask = (u / rng.uniform(1, 3.5)) ** 2 + (v / rng.uniform(1, 3.5)) ** 2 < 1
    picture[mask] = colour(rng)


def draw(rng, label, axes):
    """One picture, uint8 [SIDE, SIDE, 3]."""
    x, y = axes
    base, picture = background(rng, x, y)
    for _ in range(rng.integers(1, 5)):
        clutter(rng, picture, x, y)
    radius, angle = rng.uniform(5.5, 12.5), rng.uniform(0, 2 * np.pi)
    cx, cy = rng.uniform(radius * 0.8, SIDE - radius * 0.8, 2)
    stretch = np.exp(rng.normal(0, 0.07))
    u = (np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)) / (radius * stretch)
    v = (-np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)) / (radius / stretch)
    mask = inside(SHAPES[label], u, v)
    fill = contrasting(rng, base) + u[..., None] * rng.normal(0, 12, 3)
    picture[mask] = fill[mask]
    for _ in range(rng.integers(0, 4)):
        clutter(rng, picture, x, y)
    small = picture.reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING, 3).mean((1, 3))
    small += rng.normal(0, rng.uniform(2, 22), (SIDE, SIDE, 1)) + rng.normal(0, rng.uniform(1, 8), (SIDE, SIDE, 3))
    step = 255 / (LEVELS - 1)
    return np.clip(np.rint(np.rint(small / step) * step), 0, 255).astype(np.uint8)


def pictures(count, seed):
    """`count` pictures with labels 0..9 in turn, in an order shuffled by the seed."""
    rng, axes = np.random.default_rng(seed), grid()
    labels = rng.permutation(np.arange(count) % len(SHAPES)).astype(np.int64)
    return np.stack([draw(rng, label, axes) for label in labels]), labels


def to_input(images):
    """uint8 [N,H,W,3] to the network's input, float32 [N,3,H,W]."""
    return ((images.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def preview(path, seed):
    from PIL import Image
    images, labels = pictures(200, seed)
    rows = np.concatenate([images[labels == k][:20].reshape(20, SIDE, SIDE, 3) for k in range(10)])
    sheet = rows.reshape(10, 20, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(10 * SIDE, 20 * SIDE, 3)
    Image.fromarray(sheet).resize((20 * SIDE * 2, 10 * SIDE * 2), Image.NEAREST).save(path)


# ---------------------------------------------------------------- network

def network():
    """The residual network; its parameter names become the names in the file."""
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, wide_in, wide, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(wide_in, wide, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(wide)
            self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(wide)
            self.downsample = nn.Sequential()
            if stride != 1 or wide_in != wide:
                self.downsample = nn.Sequential(
                    nn.Conv2d(wide_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

        def forward(self, x):
            out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            return F.relu(out + self.downsample(x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            self.layer1 = nn.Sequential(Block(16, 24, 2))
            self.layer2 = nn.Sequential(Block(24, 48, 2), Block(48, 48, 1))
            self.layer3 = nn.Sequential(Block(48, 80, 2))
            self.fc = nn.Linear(80, len(SHAPES))

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))

    return Net()


def augmented(x, rng):
    """Turns and mirrors a batch [N,3,H,W]: every class keeps its meaning under both."""
    if rng.random() < 0.5:
        x = x.transpose(2, 3)
    flips = [axis for axis in (2, 3) if rng.random() < 0.5]
    return x.flip(flips) if flips else x


def train(images, labels, epochs, seed):
    """Trains with SGD on a one-cycle learning rate; returns the network in evaluation mode."""
    import torch
    torch.manual_seed(seed)
    rng, net = np.random.default_rng(seed), network()
    x, y = torch.from_numpy(to_input(images)), torch.from_numpy(labels)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps, pct_start=0.25)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        start, total, hits = time.time(), 0.0, 0
        for batch in torch.from_numpy(rng.permutation(len(x))).split(BATCH):
            if len(batch) < BATCH:
                continue
            scores = net(augmented(x[batch], rng))
            loss = loss_of(scores, y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total, hits = total + loss.item(), hits + int((scores.argmax(1) == y[batch]).sum())
        print(f"epoch {epoch + 1}/{epochs}  loss {total / (len(x) // BATCH):.4f}  "
              f"train {100 * hits / len(x):.2f} %  {time.time() - start:.0f} s", flush=True)
    return net.eval()


def export(net, path):
    import torch
    torch.onnx.export(net, torch.zeros(1, 3, SIDE, SIDE), str(path), opset_version=17, dynamo=False,
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}})
    name_every_parameter(path)


def name_every_parameter(path):
    """Gives back a tensor of its own to each parameter that the exporter merged with an equal one.

    The two BatchNorm biases added up in a block with a downsample get equal gradients and stay equal;
    the exporter stores one and an Identity node.
    """
    import onnx
    model = onnx.load(path)
    stored = {t.name: t for t in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Identity" and n.input[0] in stored]:
        copy = model.graph.initializer.add()
        copy.CopyFrom(stored[node.input[0]])
        copy.name = node.output[0]
        model.graph.node.remove(node)
    onnx.save(model, path)


# ---------------------------------------------------------------- scores

def accuracy(model, images, labels):
    """Top-1 in percent of ONNX bytes, by ONNX Runtime on one thread."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    scores = [session.run(None, {"input": to_input(images[i:i + 100])})[0] for i in range(0, len(images), 100)]
    return 100 * float((np.concatenate(scores).argmax(1) == labels).mean())


def rounded(path, bits):
    """The model with every weight of two or more axes rounded to 2^bits - 1 symmetric levels a row."""
    import onnx
    from onnx import numpy_helper
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        w = numpy_helper.to_array(tensor)
        if w.ndim < 2:
            continue
        top = 2 ** (bits - 1) - 1
        step = np.abs(w).reshape(len(w), -1).max(1).reshape(-1, *[1] * (w.ndim - 1)) / top
        levels = np.clip(np.rint(w / np.maximum(step, 1e-30)), -top, top)
        tensor.CopyFrom(numpy_helper.from_array((levels * step).astype(np.float32), tensor.name))
    return model.SerializeToString()


def report(out):
    import onnx
    from onnx import numpy_helper
    test = np.load(out / "demo-test.npz")
    model = onnx.load(out / "demo.onnx")
    onnx.checker.check_model(model, full_check=True)
    weights = sum(numpy_helper.to_array(t).size for t in model.graph.initializer if len(t.dims) > 1)
    print(f"{weights} weights; bytes:", {f.name: f.stat().st_size for f in sorted(out.glob("demo*"))})
    full = (out / "demo.onnx").read_bytes()
    print(f"full precision  {accuracy(full, test['x'], test['y']):.2f} %")
    for bits in (8, 6, 5, 4, 3, 2):
        print(f"rounded, {bits} bits {accuracy(rounded(out / 'demo.onnx', bits), test['x'], test['y']):.2f} %")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "assets")
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--train-images", type=int, default=30000)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--preview", type=Path, help="write a sheet of pictures here and stop")
    p.add_argument("--report", action="store_true", help="only print the scores of the files in --out")
    args = p.parse_args()
    if args.preview:
        return preview(args.preview, args.seed)
    if not args.report:
        import torch
        torch.set_num_threads(1)
        args.out.mkdir(parents=True, exist_ok=True)
        images, labels = pictures(args.train_images, args.seed)
        np.savez_compressed(args.out / "demo-calib.npz", x=images[:512], y=labels[:512])
        test_images, test_labels = pictures(1000, args.seed + 1)
        np.savez_compressed(args.out / "demo-test.npz", x=test_images, y=test_labels)
        export(train(images, labels, args.epochs, args.seed), args.out / "demo.onnx")
    report(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
