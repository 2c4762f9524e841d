# What developers and .ci/run call; each target is one line of the README's or CONTRIBUTING's promises.
SHARED ?= ../shared
PYTHON ?= python3
# Apart from the rest: the same program with fewer features.
DECODER = $(or $(CARGO_TARGET_DIR),target)/decoder

.PHONY: check fmt lint test doc shared light end-to-end bench golden golden-check decoder retraining torch-ddp

check: fmt lint test doc

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --release --workspace --all-targets -- -D warnings

test:
	cargo test --release --workspace

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# The tests that need the trained networks and images of $(SHARED).
shared:
	TQZ_SHARED=$(abspath $(SHARED)) cargo test --release --workspace shared_ -- --ignored

# The nine graphs without weights of the Python package onnx.
light:
	TQZ_LIGHT="$$($(PYTHON) -c 'import onnx, os; print(os.path.join(os.path.dirname(onnx.__file__), "backend/test/data/light"))')" \
	    cargo test --release --workspace --test networks light -- --ignored

# A real network through the whole program, its score checked with an independent scorer.
end-to-end: decoder
	DECODER=$(DECODER)/release/tqz SHARED=$(abspath $(SHARED)) PYTHON=$(PYTHON) tools/end_to_end.sh

GOLDENS = crates/format/tests/goldens

# The small files that hold the format still, and what an independent decoder reads in them. Only for a new version of the
# format, or for goldens added.
golden:
	cargo run --release -p tqz-format --example make_goldens -- $(GOLDENS)
	for file in $(GOLDENS)/*.tqz; do $(PYTHON) tools/decode_tqz.py $$file > $${file%.tqz}.txt || exit 1; done

# The program without the encoder: decompress and inspect. Without tensors and linear algebra it builds in under a minute.
decoder:
	@crates=$$(cargo tree -p tqz-cli --no-default-features --edges normal --prefix none) || exit 1; \
	    if echo "$$crates" | grep -E "^(burn|cubecl|faer|ndarray|tqz-engine)"; \
	    then echo "the program without the encoder depends on the crates above"; exit 1; fi
	cargo build --release -p tqz-cli --no-default-features --target-dir $(DECODER)

golden-check:
	$(PYTHON) tools/check_decoder.py $(GOLDENS)

bench:
	cargo bench --workspace

# The points of docs/results/2026-11-29-retraining, hours on two cores; ONLY="resnet20 alexnet" for some networks. Goes on where it was stopped.
retraining:
	cargo build --release
	nice -n 5 $(PYTHON) tools/retraining.py --tqz $${CARGO_TARGET_DIR:-target}/release/tqz --shared $(SHARED) $(if $(ONLY),--only $(ONLY))

# The demo network trained by two processes of PyTorch between decompress and compress; $(PYTHON) needs torch beside tools/requirements.txt.
torch-ddp:
	cargo build --release
	$(PYTHON) tools/check_torch_ddp.py --tqz $${CARGO_TARGET_DIR:-target}/release/tqz
