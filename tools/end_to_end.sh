#!/usr/bin/env bash
# Real networks through the whole program. ResNet-20 at 4 bits/weight is scored by tqz and independently with ONNX Runtime; every
# other network is compressed once, and every exported file is loaded and run in ONNX Runtime beside its original.
# Usage: SHARED=PATH PYTHON=python3 [DECODER=PROGRAM] tools/end_to_end.sh; DECODER is the program built without the encoder.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SHARED:?folder with models, data and tools}" "${PYTHON:=python3}"
# What `cargo test` builds: the same features, so nothing is compiled twice.
cargo test --release --workspace --no-run
target=${CARGO_TARGET_DIR:-target}
tqz=$target/release/tqz
cards=examples/cards
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/original" "$work/exported"

echo "== ResNet-20 at 4 bits/weight"
resnet=$SHARED/models/resnet20-cifar10.onnx
calibration=$SHARED/data/cifar10-jpeg/calib.npz
for threads in 1 2; do
    "$tqz" compress "$resnet" --calib $cards/cifar10-calib.toml --source "$calibration" --bits 4 \
        -o "$work/$threads.tqz" --threads $threads --json > "$work/compress.json"
done
cmp "$work/1.tqz" "$work/2.tqz"
"$tqz" decompress "$work/2.tqz" -o "$work/exported/resnet20-cifar10.onnx" --json > /dev/null
"$PYTHON" tools/check_decoder.py "$work/2.tqz" "$work/exported/resnet20-cifar10.onnx"
if [ -n "${DECODER:-}" ]; then
    "$DECODER" inspect "$work/2.tqz" --json > /dev/null
    "$DECODER" decompress "$work/2.tqz" -o "$work/decoder.onnx" --json > /dev/null
    cmp "$work/decoder.onnx" "$work/exported/resnet20-cifar10.onnx"
    echo "the program without the encoder decompresses to the same bytes"
fi
"$tqz" eval "$work/2.tqz" --data $cards/cifar10-test.toml --source "$SHARED/data/cifar10-jpeg/test.npz" \
    --ref "$resnet" --json > "$work/eval.json"
"$PYTHON" "$SHARED/tools/score.py" "$work/exported/resnet20-cifar10.onnx" cifar --ref "$resnet" --data "$SHARED/data" \
    --threads 2 --json > "$work/score.json"
"$PYTHON" tools/check_scores.py "$work/compress.json" "$work/eval.json" "$work/score.json"

echo "== every network: compress, decompress, run"
# network, card, images, source
while read -r name card images source; do
    "$tqz" compress "$SHARED/models/$name.onnx" --calib "$cards/$card.toml" --source "$SHARED/data/$source" \
        --images "$images" --step 0.001 -o "$work/$name.tqz" --json > "$work/compress.json"
    "$tqz" decompress "$work/$name.tqz" -o "$work/exported/$name.onnx" --json > /dev/null
done <<'NETWORKS'
resnet56-cifar10 cifar10-calib 64 cifar10-jpeg/calib.npz
resnet18-cifar10 cifar10-calib 64 cifar10-jpeg/calib.npz
alexnet-cifar10 cifar10-calib 64 cifar10-jpeg/calib.npz
densenet40-12-cifar10 cifar10-raw-calib 128 cifar10-jpeg/calib.npz
mobilenet-v1-075 imagenet-keras-calib 16 imagenet-sample
efficientnet-lite0 imagenet-calib 16 imagenet-sample
dncnn-s-25 denoise-calib 8 imagenet-sample
imdn-x2 sr-x2-calib 8 imagenet-sample
carn-m-x2 sr-x2-calib 8 imagenet-sample
vdsr vdsr-x2-calib 8 imagenet-sample
NETWORKS
cp "$SHARED"/models/*.onnx "$work/original/"
"$PYTHON" tools/check_exports.py "$work/original" "$work/exported" --threads 2

echo "== every form of some networks, in ONNX Runtime"
mkdir "$work/forms"
"$tqz" compress "$SHARED/models/resnet18-cifar10.onnx" --calib $cards/cifar10-calib.toml --source "$calibration" --images 64 \
    --bits 0.5 --macs 0.6 --preset fast -o "$work/forms/resnet18-cifar10.tqz" --json > /dev/null
cp "$work/densenet40-12-cifar10.tqz" "$work/forms/"
"$PYTHON" tools/check_forms.py "$work/forms" --program "$tqz" --calib $cards --shared "$SHARED"

echo "== every number of every network's output against ONNX Runtime"
"$PYTHON" tools/check_engine.py "$SHARED/models" --program "$target/release/examples/outputs"

echo "== ONNX files survive reading and writing"
"$PYTHON" tools/check_onnx_roundtrip.py "$SHARED/models" --program "$target/release/examples/roundtrip"
