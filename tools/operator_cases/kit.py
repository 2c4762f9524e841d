"""Builds single-node ONNX models with seeded inputs and asks ONNX Runtime for their outputs."""

import base64
import zlib

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FLOATS = {"float16", "float32", "float64", "bfloat16"}
ELEMENT_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "bfloat16": TensorProto.BFLOAT16,
    "int2": TensorProto.INT2,
    "uint2": TensorProto.UINT2,
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
    "int32": TensorProto.INT32,
    "uint32": TensorProto.UINT32,
    "int64": TensorProto.INT64,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
}


def element_type(array):
    """ONNX's number for the type of an array."""
    return ELEMENT_TYPES[array.dtype.name]


class Draw:
    """Seeded inputs of one case; the seed is the case's name, so cases do not move each other."""

    def __init__(self, name):
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))

    def spread(self, *dims, low=-2.0, high=2.0):
        """Evenly spaced numbers in random order: no ties, none within half a step of a kink at 0."""
        count = int(np.prod(dims, dtype=np.int64))
        values = low + (high - low) * (self.rng.permutation(count) + 0.5) / max(count, 1)
        return np.round(values, 3).astype(np.float32).reshape(dims)

    def ints(self, *dims, low=-5, high=6, dtype=np.int64):
        """Integers of `low .. high - 1`."""
        return self.rng.integers(low, high, size=dims).astype(dtype)


def f32(*values):
    """A vector of floats."""
    return np.array(values, np.float32)


def i64(*values):
    """A vector of 64-bit integers."""
    return np.array(values, np.int64)


def scalar(value, dtype=np.float32):
    """A tensor of rank 0."""
    return np.array(value, dtype)


class Family:
    """The cases of one JSON file."""

    def __init__(self, name):
        self.name = name
        self.cases = []

    def draw(self, name):
        """Inputs for the case of this name."""
        return Draw(name)

    def node(self, name, op, inputs, *, opset=17, held=(), outputs=1, free=False, gradient=None,
             tolerance=None, **attributes):
        """One node. `inputs` are arrays (None: left out); those at the places `held`, and all that
        are not floats unless `free`, are initializers. `gradient` says whether the harness compares
        the gradient with differences (default: the first output and some input are floats)."""
        names = ["" if array is None else f"i{k}" for k, array in enumerate(inputs)]
        given = {f"i{k}": array for k, array in enumerate(inputs) if array is not None}
        constant = {
            f"i{k}"
            for k, array in enumerate(inputs)
            if array is not None
            and (k in held or (array.dtype.name not in FLOATS and not free and k > 0))
        }
        if isinstance(outputs, int):
            outputs = [f"o{k}" for k in range(outputs)]
        node = helper.make_node(op, names, outputs, name="probe", **attributes)
        self.graph(name, [node], given, [o for o in outputs if o], opset=opset, constant=constant,
                   gradient=gradient, tolerance=tolerance)

    def graph(self, name, nodes, given, outputs, *, opset=17, constant=(), gradient=None,
              tolerance=None, functions=(), imports=()):
        """Several nodes; `given` are the arrays by name, those in `constant` initializers."""
        model = make_model(nodes, given, outputs, opset, constant, functions, imports)
        feeds = {key: array for key, array in given.items() if key not in constant}
        results = run(name, model, feeds, outputs)
        floats = any(array.dtype.name in FLOATS for array in feeds.values())
        if gradient is None:
            gradient = floats and results[0].dtype.name in FLOATS
        case = {
            "name": name,
            "opset": opset,
            "gradient": bool(gradient),
            "model": encoded(model),
            "inputs": {key: plain(array) for key, array in feeds.items()},
            "outputs": [plain(array) for array in results],
        }
        if tolerance is not None:
            case["tolerance"] = tolerance
        self.push(case)

    def reject(self, name, op, inputs, words, *, opset=17, held=(), outputs=1, free=False,
               domain="", **attributes):
        """A model that must be refused, while it is loaded or while it runs, with an error that
        holds each of `words`; ONNX Runtime is not asked."""
        names = ["" if array is None else f"i{k}" for k, array in enumerate(inputs)]
        given = {f"i{k}": array for k, array in enumerate(inputs) if array is not None}
        constant = {
            f"i{k}"
            for k, array in enumerate(inputs)
            if array is not None
            and (k in held or (array.dtype.name not in FLOATS and not free and k > 0))
        }
        outs = [f"o{k}" for k in range(outputs)]
        node = helper.make_node(op, names, outs, name="probe", domain=domain, **attributes)
        self.reject_graph(name, [node], given, outs, words, opset=opset, constant=constant)

    def reject_graph(self, name, nodes, given, outputs, words, *, opset=17, constant=(),
                     functions=(), imports=()):
        """As `reject`, for several nodes."""
        model = make_model(nodes, given, outputs, opset, constant, functions, imports)
        feeds = {key: array for key, array in given.items() if key not in constant}
        self.push({
            "name": name,
            "opset": opset,
            "model": encoded(model),
            "inputs": {key: plain(array) for key, array in feeds.items()},
            "error": list(words),
        })

    def push(self, case):
        """Adds a case; names are unique within a family."""
        if any(other["name"] == case["name"] for other in self.cases):
            raise ValueError(f"two cases are called {case['name']}")
        self.cases.append(case)


def make_model(nodes, given, outputs, opset, constant, functions, imports):
    """A model whose inputs and initializers have the given arrays' types, with free dimensions."""
    inputs = [
        helper.make_tensor_value_info(
            key, element_type(array), [f"{key}_{axis}" for axis in range(array.ndim)]
        )
        for key, array in given.items()
        if key not in constant
    ]
    initializers = [numpy_helper.from_array(given[key], key) for key in given if key in constant]
    untyped = [helper.make_empty_tensor_value_info(key) for key in outputs]
    graph = helper.make_graph(nodes, "g", inputs, untyped, initializers)
    opsets = [helper.make_opsetid("", opset), *imports]
    version = max(8, helper.find_min_ir_version_for(opsets, ignore_unknown=True))
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions),
                             ir_version=version, producer_name="")


def run(name, model, feeds, outputs):
    """ONNX Runtime's outputs, without graph optimisations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options,
                                       providers=["CPUExecutionProvider"])
        return session.run(outputs, feeds)
    except Exception as error:
        raise RuntimeError(f"{name}: {error}") from error


def encoded(model):
    """The model's bytes as text."""
    return base64.b64encode(model.SerializeToString()).decode()


def plain(array):
    """An array as JSON: numbers in row-major order; infinities and NaN as text."""
    array = np.asarray(array)
    if array.dtype.name in FLOATS:
        data = [number(value) for value in array.astype(np.float64).ravel()]
    else:
        data = [int(value) for value in array.ravel()]
    return {"dtype": array.dtype.name, "dims": list(array.shape), "data": data}


def number(value):
    """Seven digits are as many as f32 has."""
    if np.isnan(value):
        return "nan"
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    short = float(f"{value:.7g}")
    return int(short) if short == int(short) and abs(short) < 1e6 else short
