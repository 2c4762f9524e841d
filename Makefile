# What developers and .ci/run call; each target is one line of the README's or CONTRIBUTING's promises.
SHARED ?= ../shared
PYTHON ?= python3

.PHONY: check fmt lint test doc shared light end-to-end bench retraining

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
end-to-end:
	SHARED=$(abspath $(SHARED)) PYTHON=$(PYTHON) tools/end_to_end.sh

bench:
	cargo bench --workspace

# The points of docs/results/2026-11-26-retraining, hours on two cores; ONLY="resnet20 alexnet" for some networks. Goes on where it was stopped.
retraining:
	cargo build --release
	nice -n 5 $(PYTHON) tools/retraining.py --tqz $${CARGO_TARGET_DIR:-target}/release/tqz --shared $(SHARED) $(if $(ONLY),--only $(ONLY))
