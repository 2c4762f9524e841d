#!/usr/bin/env python3
"""Check ONNX files that `tqz decompress` wrote against the files they were compressed from.

    check_exports.py ORIGINAL EXPORTED [--inputs FOLDER] [--max-error E]

ORIGINAL and EXPORTED are two .onnx files, or two folders searched for them: a pair has the same path
in both, and a file without its partner is a failure. For every pair:

* the graph is the original's in every field: nodes, attributes, names, inputs and outputs, operator
  sets, functions, metadata; of the tensors all but the numbers of the floating-point ones (name, dims and
  element type too; whether the numbers lie in raw, typed or external data is free);
* no number has become infinite or not a number;
* the ONNX checker with shape inference accepts it, if it accepts the original;
* ONNX Runtime loads and runs it on the same seeded inputs, with the same input and output names,
  element types and shapes, and finite outputs where the original's are.

Printed for each output: the largest difference over the range of the original's values, and the root mean
square of the difference over their standard deviation. Needs numpy, onnx, onnxruntime.
Exit code 0: all passed; 1: a line `FAILED …` for each failure; 2: wrong usage.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

# Fields that hold a tensor's numbers, wherever they lie.
NUMBERS = ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data",
           "external_data", "data_location")
# Failures printed for one pair.
SHOWN = 20
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
         "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16,
         "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16, "tensor(bool)": np.bool_}


# ---------------------------------------------------------------- fields

def is_list(field):
    """Whether a field descriptor is of a repeated field, in any version of protobuf."""
    repeated = getattr(field, "is_repeated", None)
    return field.label == field.LABEL_REPEATED if repeated is None else repeated


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


def named(path, message):
    """The path with the message's name, so that a reader finds the node or tensor."""
    name = getattr(message, "name", "") or getattr(message, "op_type", "")
    return f"{path} '{name}'" if isinstance(name, str) and name else path


def differences(a, b, path):
    """Where two messages of one type differ, as text, field by field."""
    before = {f.name: (f, v) for f, v in a.ListFields()}
    after = {f.name: (f, v) for f, v in b.ListFields()}
    for name in sorted(before.keys() | after.keys()):
        here = f"{path}.{name}"
        if name not in after or name not in before:
            yield f"{here}: {'lost' if name in before else 'added'}"
            continue
        (field, x), (_, y) = before[name], after[name]
        if not is_list(field):
            x, y = [x], [y]
        elif len(x) != len(y):
            yield f"{here}: {len(x)} became {len(y)}"
            continue
        for index, (old, new) in enumerate(zip(x, y, strict=True)):
            place = f"{here}[{index}]" if is_list(field) else here
            if field.message_type is not None:
                yield from differences(old, new, named(place, old))
            elif old != new and not (old != old and new != new):  # NaN equals NaN here
                yield f"{place}: {str(old)[:60]!r} became {str(new)[:60]!r}"


def compare_files(original, exported):
    """Compares two loaded models and strips their numbers; returns (problems, remarks)."""
    problems, changed, total = [], 0, 0
    # Lists of unequal length are told apart below; the numbers of what is left over do not matter then.
    for old, new in zip(list(tensors(original)), list(tensors(exported)), strict=False):
        if TensorProto.STRING in (old.data_type, new.data_type):
            continue
        if (old.data_type, list(old.dims)) == (new.data_type, list(new.dims)):
            differ, floating = compare_numbers(old, new, problems), is_float(old.data_type)
            changed, total = changed + (differ and floating), total + floating
        for tensor in (old, new):
            for field in NUMBERS:
                tensor.ClearField(field)
    problems += list(differences(original, exported, "model"))
    before, after = (model.SerializeToString(deterministic=True) for model in (original, exported))
    if not problems and before != after:
        problems.append("model: fields that this version of the onnx package does not know differ")
    return problems, f"{changed} of {total} floating-point tensors changed"


def compare_numbers(old, new, problems):
    """Adds what is wrong with a tensor's new numbers to the problems; returns whether they changed."""
    x, y = numpy_helper.to_array(old), numpy_helper.to_array(new)
    same = x.tobytes() == y.tobytes()
    if not is_float(old.data_type):
        if not same:
            problems.append(f"tensor '{old.name}' of {TensorProto.DataType.Name(old.data_type)}: "
                            "its numbers changed, only floating-point ones may")
    elif np.isfinite(x.astype(np.float64)).all() and not np.isfinite(y.astype(np.float64)).all():
        problems.append(f"tensor '{old.name}': finite numbers became infinite or not a number")
    return not same


def is_float(data_type):
    """Whether an ONNX element type is a floating-point one, small ones from ml_dtypes included."""
    kind = helper.tensor_dtype_to_np_dtype(data_type)
    return kind.kind == "f" or "float" in kind.name


def checker_error(path):
    """The ONNX checker's objection to a file, or None."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # the checker raises several unrelated types
        return str(error).strip().split("\n")[0]
    return None


# ---------------------------------------------------------------- running

def session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def seeded(port, sizes, rng):
    """A random value for an input; equal axis names get equal sizes."""
    if port.type not in KINDS:
        raise ValueError(f"input '{port.name}' is {port.type}: give its value with --inputs")
    shape = [d if isinstance(d, int) and d > 0 else sizes.setdefault(d or f"axis {axis}", 2 if axis == 0 else 64)
             for axis, d in enumerate(port.shape)]
    kind = np.dtype(KINDS[port.type])
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    top = 256 if kind == np.uint8 else 128 if kind == np.int8 else 2
    return rng.integers(0, top, shape).astype(kind)


def feeds(ports, file, seed):
    """Values for the inputs: those of the .npz file if there is one, else seeded ones."""
    if file is not None and file.is_file():
        with np.load(file) as data:
            keys = {port.name: key for port in ports for key in (port.name, f"input/{port.name}") if key in data}
            if keys:
                return {name: data[key] for name, key in keys.items()}
    sizes, rng = {}, np.random.default_rng(seed)
    return {port.name: seeded(port, sizes, rng) for port in ports}


def described(ports):
    return [(port.name, port.type, port.shape) for port in ports]


def run_both(original, exported, file, args):
    """Runs both files; returns (problems, a remark for each output)."""
    first, second = session(original, args.threads), session(exported, args.threads)
    problems, remarks = [], []
    for what in ("inputs", "outputs"):
        a, b = (described(getattr(net, f"get_{what}")()) for net in (first, second))
        if a != b:
            problems.append(f"{what} {a} became {b}")
    values = feeds(first.get_inputs(), file, args.seed)
    names = [port.name for port in first.get_outputs()]
    for name, x, y in zip(names, first.run(names, values), second.run(names, values), strict=True):
        problem, remark = compare_output(np.asarray(x), np.asarray(y), args.max_error)
        problems += [f"output '{name}': {problem}"] if problem else []
        remarks.append(f"{name} {remark}")
    return problems, remarks


def compare_output(x, y, max_error):
    """Returns (problem or None, remark) for an output of the original and of the export."""
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{x.dtype}{x.shape} became {y.dtype}{y.shape}", "-"
    if x.dtype.kind != "f" or x.size == 0:
        return None, f"{np.mean(x == y) if x.size else 1:.4f} equal"
    x, y = x.astype(np.float64), y.astype(np.float64)
    if not np.isfinite(x).all():
        return None, "the original's output is not finite"
    if not np.isfinite(y).all():
        return "not finite, the original's is", "-"
    tiny = np.finfo(np.float64).tiny
    largest = np.abs(x - y).max() / max(np.ptp(x), np.abs(x).max() * 1e-9, tiny)
    square = np.sqrt(np.mean((x - y) ** 2)) / max(x.std(), np.abs(x).max() * 1e-9, tiny)
    too_much = max_error is not None and largest > max_error
    problem = f"error {largest:.3g} of the range, more than {max_error:g}" if too_much else None
    return problem, f"max {largest:.3g} rms {square:.3g}"


# ---------------------------------------------------------------- pairs

def check(original, exported, file, args):
    """All checks of a pair; returns (problems, remark)."""
    problems, remark = compare_files(onnx.load(original), onnx.load(exported))
    before, after = checker_error(original), checker_error(exported)
    if after and not before:
        problems.append(f"the ONNX checker objects: {after}")
    try:
        more, outputs = run_both(original, exported, file, args)
    except Exception as error:  # ONNX Runtime raises a type of its own for each failure
        more, outputs = [f"ONNX Runtime: {str(error).strip()[:300]}"], []
    if before:
        outputs.append(f"the original fails the ONNX checker: {before[:80]}")
    return problems + more, "; ".join([remark, *outputs])


def pairs(original, exported):
    """(name, original, exported) for each pair, and the names without a partner."""
    if original.is_file() and exported.is_file():
        return [(original.name, original, exported)], []
    left, right = ({str(p.relative_to(root)) for p in root.rglob("*.onnx")} for root in (original, exported))
    both = [(name, original / name, exported / name) for name in sorted(left & right)]
    return both, [f"{name}: only in {original if name in left else exported}" for name in sorted(left ^ right)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("original", type=Path, help=".onnx file or folder")
    p.add_argument("exported", type=Path, help=".onnx file or folder")
    p.add_argument("--inputs", type=Path,
                   help="folder with NAME.npz for NAME.onnx: arrays named as the inputs, or input/NAME")
    p.add_argument("--max-error", type=float, help="largest difference allowed, over the range of an output")
    p.add_argument("--seed", type=int, default=0, help="of the random inputs")
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    for path in (args.original, args.exported):
        if not path.exists():
            p.error(f"{path}: no such file or folder")
    if args.original.is_file() != args.exported.is_file():
        p.error("give two files or two folders")
    found, failures = pairs(args.original, args.exported)
    if not found:
        failures.append(f"{args.original}, {args.exported}: no pair of .onnx files")
    for name, original, exported in found:
        file = (args.inputs / name).with_suffix(".npz") if args.inputs else None
        try:
            problems, remark = check(original, exported, file, args)
        except Exception as error:  # an unreadable file is a failure of that pair, not of the run
            problems, remark = [f"{type(error).__name__}: {str(error).strip()[:300]}"], ""
        print(f"{'FAILED' if problems else 'ok':6} {name}  {remark}", flush=True)
        failures += [f"{name}: {problem}" for problem in problems[:SHOWN]]
        if len(problems) > SHOWN:
            failures.append(f"{name}: and {len(problems) - SHOWN} more")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    bad = len({failure.split(': ')[0] for failure in failures})
    print(f"{len(found)} pairs, {bad} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
