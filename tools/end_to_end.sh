#!/usr/bin/env bash
# ResNet-20 through the whole program: compress, decompress, score with tqz and, independently, with ONNX Runtime.
# Usage: SHARED=PATH PYTHON=python3 tools/end_to_end.sh
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SHARED:?folder with models, data and tools}" "${PYTHON:=python3}"
cargo build --release
tqz=${CARGO_TARGET_DIR:-target}/release/tqz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=$SHARED/models/resnet20-cifar10.onnx

"$tqz" compress "$model" --calib examples/cards/cifar10-calib.toml --source "$SHARED/data/cifar10-jpeg/calib.npz" \
    --bits 4 -o "$work/two-threads.tqz" --threads 2 --json > "$work/compress.json"
"$tqz" compress "$model" --calib examples/cards/cifar10-calib.toml --source "$SHARED/data/cifar10-jpeg/calib.npz" \
    --bits 4 -o "$work/one-thread.tqz" --threads 1 --json > /dev/null
cmp "$work/two-threads.tqz" "$work/one-thread.tqz"
"$tqz" decompress "$work/two-threads.tqz" -o "$work/resnet20-cifar10.onnx" --json > /dev/null
"$tqz" eval "$work/two-threads.tqz" --data examples/cards/cifar10-test.toml --source "$SHARED/data/cifar10-jpeg/test.npz" \
    --ref "$model" --json > "$work/eval.json"
"$PYTHON" "$SHARED/tools/score.py" "$work/resnet20-cifar10.onnx" cifar --ref "$model" --data "$SHARED/data" \
    --threads 2 --json > "$work/score.json"
"$PYTHON" tools/check_scores.py "$work/compress.json" "$work/eval.json" "$work/score.json"
mkdir "$work/original" "$work/exported"
cp "$model" "$work/original/"
cp "$work/resnet20-cifar10.onnx" "$work/exported/"
"$PYTHON" tools/check_exports.py "$work/original" "$work/exported"
