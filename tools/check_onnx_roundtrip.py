#!/usr/bin/env python3
"""Check that tqz-onnx reads and writes ONNX files without losing anything.

An independent reader, the Python package `onnx`, compares what goes in with what comes out of the
example program `crates/onnx/examples/roundtrip.rs`:

* every .onnx file of the `onnx` package's own test data, and every file or folder given;
* seeded random models that use every field and enum value which the installed `onnx` knows, found
  by reflection, so that a field added to ONNX later is tested the day the package has it;
* models with fields that no ONNX version has;
* one tensor of every element type, inline and as external data, pulled in and split off.

    cargo build --release -p tqz-onnx --example roundtrip
    pip install onnx
    python tools/check_onnx_roundtrip.py ../shared/models

Exit code 0: all passed; 1: something was lost or refused; 2: wrong usage.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT_TYPES = {"float", "double"}
DATA_FIELDS = (
    "raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data",
    "external_data", "data_location",
)


def is_list(field):
    """Whether a field descriptor is of a repeated field, in any version of protobuf."""
    repeated = getattr(field, "is_repeated", None)
    return field.label == field.LABEL_REPEATED if repeated is None else repeated


def random_scalar(field, rng):
    """A value for a field that is no message: zero and the extremes are likely."""
    kind = field.cpp_type
    if kind == field.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    if kind in (field.CPPTYPE_INT32, field.CPPTYPE_INT64):
        bits = 31 if kind == field.CPPTYPE_INT32 else 63
        return rng.choice([0, 1, -1, 2**bits - 1, -(2**bits), rng.getrandbits(bits)])
    if kind == field.CPPTYPE_UINT64:
        return rng.choice([0, 1, 2**64 - 1, rng.getrandbits(64)])
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice([0.0, -0.0, float("inf"), rng.uniform(-1, 1)])
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 200]))
    return rng.choice(["", "x", "naïve Ω 名前", "y" * 130])


def fill(message, rng, depth, counts):
    """Fill a message with random content; `counts` learns which fields were used."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < (0.35 if depth else 0.9):
            continue
        repeated = is_list(field)
        number = rng.randint(0, 3) if repeated else 1
        counts[field.full_name] = counts.get(field.full_name, 0) + number
        for _ in range(number):
            if field.cpp_type != field.CPPTYPE_MESSAGE:
                value = random_scalar(field, rng)
                if repeated:
                    getattr(message, field.name).append(value)
                else:
                    setattr(message, field.name, value)
                continue
            target = getattr(message, field.name)
            child = target.add() if repeated else target
            child.SetInParent()
            fill(child, rng, max(depth - 1, 0), counts)


def random_model(rng, counts):
    """A model of random content that holds what every model must."""
    model = onnx.ModelProto()
    fill(model, rng, 6, counts)
    model.ir_version = rng.randint(1, 14)
    model.graph.SetInParent()
    if not model.opset_import:
        model.opset_import.add().version = 1
    return model


def all_field_names(descriptor, names):
    """The full names of all fields of a message and of the messages in it."""
    for field in descriptor.fields:
        if field.full_name not in names:
            names.add(field.full_name)
            if field.message_type is not None:
                all_field_names(field.message_type, names)


def tensors(message):
    """Every TensorProto in a message, in the order of the fields."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in value if is_list(field) else [value]:
            if isinstance(child, TensorProto):
                yield child
            else:
                yield from tensors(child)


def same(a, b):
    """Whether two messages are equal in every field, known or not."""
    return a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True)


def same_numbers(a, b):
    """Whether two models differ at most in where their tensors keep their data."""
    a_tensors, b_tensors = list(tensors(a)), list(tensors(b))
    if len(a_tensors) != len(b_tensors):
        return False
    for x, y in zip(a_tensors, b_tensors, strict=True):
        if x.data_type != TensorProto.STRING:
            if numpy_helper.to_array(x).tobytes() != numpy_helper.to_array(y).tobytes():
                return False
            for tensor in (x, y):
                for name in DATA_FIELDS:
                    tensor.ClearField(name)
    return same(a, b)


def tensors_of_every_type():
    """A model whose Constant nodes and initializers hold one tensor of every numeric type, twice:
    as raw data and in a typed list."""
    model = helper.make_model(helper.make_graph([], "types", [], []))
    skipped = {TensorProto.UNDEFINED, TensorProto.STRING}
    for name, kind in TensorProto.DataType.items():
        if kind in skipped:
            continue
        kind_of_numpy = helper.tensor_dtype_to_np_dtype(kind)
        array = np.array([0, 1, 1, 0, 1], dtype=np.float32).astype(kind_of_numpy)
        raw = numpy_helper.from_array(array, name=f"{name}_raw")
        typed = helper.make_tensor(f"{name}_typed", kind, [5], array)
        model.graph.initializer.extend([raw, typed])
        model.graph.node.add(op_type="Constant").attribute.add(name="value", type=4).t.CopyFrom(raw)
    return model


def with_unknown_fields(model):
    """The model with fields 33 (integer), 34 (bytes), 35 and 36 (fixed) in several messages."""
    unknown = b"\x88\x02\x96\x01" + b"\x92\x02\x03abc" + b"\x9d\x02\1\2\3\4" + b"\xa1\x02\1\2\3\4\5\6\7\x08"
    result = onnx.ModelProto.FromString(model.SerializeToString() + unknown)
    result.graph.MergeFromString(unknown)
    for part in list(result.graph.node)[:3] + list(result.graph.initializer)[:3]:
        part.MergeFromString(unknown)
    return result


class Checker:
    """Runs the program on models and counts what comes out right."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.passed, self.failures, self.identical = 0, [], 0

    def run(self, mode, source, target):
        """Run the program; returns its message if it failed."""
        command = [str(self.program), mode, str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"

    def count(self, what, error):
        """Count one check, passed if `error` is empty."""
        if error:
            self.failures.append(f"{what}: {error}")
            print(f"FAILED {what}: {error}")
        else:
            self.passed += 1

    def keep(self, what, source):
        """Reading and writing keeps every field."""
        target = self.folder / "out.onnx"
        error = self.run("keep", source, target)
        if not error:
            before, after = (onnx.load(path, load_external_data=False) for path in (source, target))
            error = None if same(before, after) else "the written model differs from the read one"
            self.identical += pathlib.Path(source).read_bytes() == target.read_bytes()
        self.count(what, error)

    def keep_message(self, what, model):
        """As keep, for a model in memory."""
        source = self.folder / "in.onnx"
        source.write_bytes(model.SerializeToString())
        self.keep(what, source)

    def external(self, what, model):
        """External data by the onnx package are pulled in, and ours are read by it."""
        plain, outside = self.folder / "plain.onnx", self.folder / "outside.onnx"
        target = self.folder / "out.onnx"
        plain.write_bytes(model.SerializeToString())
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        data = self.folder / "outside.data"
        data.unlink(missing_ok=True)
        onnx.save_model(copy, str(outside), save_as_external_data=True, location=data.name,
                        size_threshold=0, convert_attribute=True)
        for mode, source in (("inline", outside), ("split", plain)):
            error = self.run(mode, source, target)
            if not error:
                equal = same_numbers(onnx.load(plain), onnx.load(target))
                error = None if equal else "numbers or fields differ"
            self.count(f"{what}, {mode}", error)


def onnx_files(paths):
    """The .onnx files among the paths, and in the folders among them."""
    for path in paths:
        found = sorted(path.rglob("*.onnx")) if path.is_dir() else [path]
        if not found:
            sys.exit(f"{path}: no .onnx file in it")
        yield from found


def default_program():
    """Where cargo puts the example."""
    root = pathlib.Path(__file__).resolve().parent.parent
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    return target / "release" / "examples" / "roundtrip"


def main():
    """Parse the arguments, run all checks, print the outcome."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=pathlib.Path, metavar="PATH",
                        help=".onnx files, or folders searched for them")
    parser.add_argument("--program", type=pathlib.Path, default=default_program(),
                        help="the example program (default: %(default)s)")
    parser.add_argument("--random", type=int, default=300, metavar="N",
                        help="number of random models (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="their seed (default: %(default)s)")
    options = parser.parse_args()
    if not options.program.is_file():
        parser.error(f"no program {options.program}: cargo build --release -p tqz-onnx --example roundtrip")

    package = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    with tempfile.TemporaryDirectory() as folder:
        checker = Checker(options.program, pathlib.Path(folder))
        files = list(onnx_files([package, *options.paths]))
        for path in files:
            checker.keep(str(path), path)
        print(f"{len(files)} files, {checker.identical} of them written byte for byte as read")

        rng, counts = random.Random(options.seed), {}
        for index in range(options.random):
            checker.keep_message(f"random model {index}", random_model(rng, counts))
        names = set()
        all_field_names(onnx.ModelProto.DESCRIPTOR, names)
        missed = sorted(names - {name for name, count in counts.items() if count})
        checker.count(f"{options.random} random models use all {len(names)} fields",
                      f"never used: {', '.join(missed)}" if missed else None)

        every_type = tensors_of_every_type()
        checker.keep_message("a tensor of every type", every_type)
        checker.external("a tensor of every type", every_type)
        first = onnx.load(package / "light" / "light_squeezenet.onnx")
        checker.keep_message("unknown fields", with_unknown_fields(first))
        for path in onnx_files(options.paths):
            checker.external(str(path), onnx.load(path))
    print(f"{checker.passed} passed, {len(checker.failures)} failed")
    return 1 if checker.failures else 0


if __name__ == "__main__":
    sys.exit(main())
