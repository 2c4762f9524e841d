#!/usr/bin/env python3
"""Check ResNet-20 at 4 bits/weight: the file's rate, its loss, and that two independent scorers agree.

    check_scores.py COMPRESS.json EVAL.json SCORE.json

COMPRESS.json and EVAL.json come from tqz, SCORE.json from the independent scorer. Exit code 1 with a line per failure.
"""
import json
import sys

FULL_PRECISION = 80.20  # top-1 in percent of the original on the 5000 test images


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    compress, ours, theirs = map(load, sys.argv[1:4])
    top1, agreement = ours["top1_percent"], ours["reference"]["agreement_percent"]
    checks = [
        ("bits per weight at most 4", compress["bits_per_weight"] <= 4.0),
        ("rate is that of the file", abs(compress["bits_per_weight"] - 8 * compress["file_bytes"] / compress["weights"]) < 1e-9),
        ("5000 images", ours["images"] == 5000),
        ("loss at most 0.7 points", top1 >= FULL_PRECISION - 0.7),
        ("top-1 as the independent scorer", abs(top1 - 100 * theirs["top1"]) < 0.1),
        ("agreement as the independent scorer", abs(agreement - 100 * theirs["agree"]) < 0.1),
        ("divergence as the independent scorer", abs(ours["reference"]["kl_nats"] - theirs["kl_nats"]) < 1e-3),
    ]
    print(f"bits/weight {compress['bits_per_weight']:.3f}  top-1 {top1:.2f} % (scorer {100 * theirs['top1']:.2f})  "
          f"agreement {agreement:.2f} %  seconds {compress['seconds']:.1f}")
    failed = [name for name, passed in checks if not passed]
    for name in failed:
        print(f"FAILED: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
