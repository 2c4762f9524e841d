#!/usr/bin/env python3
"""Train a network on several processes with PyTorch, and check the way there from a compressed file and back (docs/retraining.md).

    check_torch_ddp.py --tqz TQZ [--bits 1.0] [--steps 300] [--processes 2] [--images 4096]

The demo network (assets/demo.onnx) is compressed, decompressed, and its tensors read by name into the PyTorch module that
train_demo.py trained. Processes train it with DistributedDataParallel (gloo) toward the original's predictions, each on its
part of drawn images without their labels; the tensors are written back by name, and the file compressed at the same rate.
Checked: every tensor of the module is one of the file's, of its shape, and the other way round; all processes end with the
same tensors; ONNX Runtime computes from the written file what PyTorch computed; the file compressed again is within its size;
the trained network is nearer to the original than the decompressed one, on images that neither saw.

Printed: divergence from the original's predictions and top-1 on the demo's test images, of each stage.
Needs numpy, torch, onnx, onnxruntime. Exit code 0: all held; 1: a line says what did not.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import train_demo

ASSETS = Path(__file__).resolve().parent.parent / "assets"
# What a module has and a file does not: PyTorch's count of batches.
ONLY_MODULE = "num_batches_tracked"
BATCH = 64
RATE = 2e-4
SEED = 11
# ONNX Runtime against PyTorch, of the largest score.
CLOSE = 1e-3


class Failed(Exception):
    pass


# ---------------------------------------------------------------- tensors by name

def read_module(path):
    """The demo's module with the tensors of an ONNX file, by name."""
    import torch
    net = train_demo.network()
    stored = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}
    wanted = {name: tensor.shape for name, tensor in net.state_dict().items() if not name.endswith(ONLY_MODULE)}
    found = {name: tensor.shape for name, tensor in stored.items() if name in wanted or tensor.is_floating_point()}
    if found != wanted:
        raise Failed(f"{path}: tensors differ from the module's: {set(found.items()) ^ set(wanted.items())}")
    net.load_state_dict({name: stored[name] for name in wanted}, strict=False)
    return net


def write_onnx(net, like, path):
    """An ONNX file's graph with the module's tensors."""
    model = onnx.load(like)
    state = net.state_dict()
    for tensor in model.graph.initializer:
        if tensor.name in state:
            tensor.CopyFrom(numpy_helper.from_array(state[tensor.name].numpy(), tensor.name))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


# ---------------------------------------------------------------- training

def train(rank, args, start, folder):
    """One process: its shard of every batch, gradients averaged over all."""
    import torch
    from torch import distributed
    from torch.nn import functional as F
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=args.processes)
    teacher = read_module(ASSETS / "demo.onnx").eval()
    # Normalisation stays what it is: each process sees too few images for moments of its own.
    student = torch.nn.parallel.DistributedDataParallel(read_module(start).eval())
    images, _ = train_demo.pictures(args.images, SEED)
    x = torch.from_numpy(train_demo.to_input(images))
    optimizer = torch.optim.Adam(student.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    order = torch.Generator().manual_seed(SEED)
    for _ in range(args.steps):
        batch = x[torch.randint(len(x), (BATCH,), generator=order)][rank::args.processes]
        with torch.no_grad():
            wanted = F.log_softmax(teacher(batch), 1)
        loss = F.kl_div(F.log_softmax(student(batch), 1), wanted, log_target=True, reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    torch.save(student.module.state_dict(), f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


def trained(args, start, folder):
    """The module that all processes agree on."""
    import torch
    torch.multiprocessing.spawn(train, (args, start, folder), nprocs=args.processes)
    states = [torch.load(f"{folder}/rank{rank}.pt") for rank in range(args.processes)]
    for rank, state in enumerate(states):
        for name, tensor in state.items():
            if not torch.equal(tensor, states[0][name]):
                raise Failed(f"process {rank} ended with another {name} than process 0")
    net = train_demo.network()
    net.load_state_dict(states[0])
    return net.eval()


# ---------------------------------------------------------------- scores

def scores(path, images):
    import onnxruntime as ort
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": train_demo.to_input(images[i:i + 100])})[0]
                           for i in range(0, len(images), 100)])


def divergence(wanted, found):
    """Mean Kullback–Leibler divergence in nats."""
    def logs(scores):
        shifted = scores.astype(np.float64) - scores.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    p, q = logs(wanted), logs(found)
    return float((np.exp(p) * (p - q)).sum(1).mean())


def check(args, folder):
    import torch

    def tqz(*words):
        subprocess.run([args.tqz, *map(str, words)], check=True, stdout=subprocess.DEVNULL)

    def compressed(source, name):
        packed, back = folder / f"{name}.tqz", folder / f"{name}.onnx"
        tqz("compress", source, "--calib", ASSETS / "demo-calib.toml", "--bits", args.bits, "-o", packed)
        tqz("decompress", packed, "-o", back)
        return packed, back

    original, test = ASSETS / "demo.onnx", np.load(ASSETS / "demo-test.npz")
    first, start = compressed(original, "first")
    # Before processes are begun, which could not tell.
    read_module(original), read_module(start)
    net = trained(args, start, folder)
    middle = folder / "trained.onnx"
    write_onnx(net, start, middle)
    with torch.no_grad():
        by_torch = net(torch.from_numpy(train_demo.to_input(test["x"]))).numpy()
    wanted, by_runtime = scores(original, test["x"]), scores(middle, test["x"])
    off = np.abs(by_torch - by_runtime).max() / np.abs(by_torch).max()
    if not off < CLOSE:
        raise Failed(f"ONNX Runtime and PyTorch differ by {off:.1e} of the largest score")
    second, end = compressed(middle, "second")
    weights = sum(numpy_helper.to_array(t).size for t in onnx.load(original).graph.initializer if len(t.dims) > 1)
    found = {}
    for stage, path, size in (("original", original, None), ("compressed", start, first),
                              ("trained from it", middle, None), ("compressed again", end, second)):
        of = scores(path, test["x"])
        found[stage] = divergence(wanted, of)
        bits = f"{8 * size.stat().st_size / weights:.3f} b" if size else "float"
        print(f"{stage:16}  {bits:8}  {found[stage]:.4f} nats  "
              f"{100 * float((of.argmax(1) == test['y']).mean()):.2f} %", flush=True)
        if size and 8 * size.stat().st_size > args.bits * weights:
            raise Failed(f"{stage}: larger than {args.bits} bits/weight")
    if not found["trained from it"] < found["compressed"]:
        raise Failed("training did not bring the network nearer to the original")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tqz", required=True, help="the program")
    p.add_argument("--bits", type=float, default=1.0)
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--images", type=int, default=4096)
    args = p.parse_args()
    args.tqz = os.path.abspath(args.tqz)
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(args, Path(folder))
        except (Failed, subprocess.CalledProcessError) as failure:
            print(f"FAILED {failure}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
