#!/usr/bin/env python3
"""Holds the program to the independent decoder: every number of .tqz files must be, bit for bit, what docs/format.md says.

Usage: check_decoder.py FILE.tqz FILE.onnx [FILE.tqz FILE.onnx ...]   the second made of the first by `tqz decompress`
       check_decoder.py GOLDENS                                       a folder of NAME.tqz with NAME.txt, what decode_tqz.py prints
"""
import contextlib
import io
import multiprocessing
import sys
from pathlib import Path

import onnx
from onnx import numpy_helper

import decode_tqz


def of_graph(graph):
    """Tensors in the document's order of sites."""
    yield from graph.initializer
    for node in graph.node:
        yield from of_attributes(node.attribute)
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def of_attributes(attributes):
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in [attribute.sparse_tensor] * attribute.HasField("sparse_tensor") + list(attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in [attribute.g] * attribute.HasField("g") + list(attribute.graphs):
            yield from of_graph(graph)


def of_model(model):
    yield from of_graph(model.graph)
    for function in model.functions:
        yield from of_attributes(function.attribute_proto)
        for node in function.node:
            yield from of_attributes(node.attribute)
    for training in model.training_info:
        for graph in (training.initialization, training.algorithm):
            yield from of_graph(graph)


def compare(path, onnx_path, pool):
    """Number of tensors and of elements that were compared."""
    tensors = list(of_model(onnx.load(onnx_path)))
    coded = [section for section in decode_tqz.sections(path.read_bytes()) if section[0] not in ("META", "GRAPH")]
    count, elements = 0, 0
    for (kind, _, _), found in zip(coded, pool.starmap(decode_tqz.read, coded)):
        for site, numbers in found:
            expected = numpy_helper.to_array(tensors[site])
            ours = numbers if kind == "RAW" else numbers.astype(expected.dtype)
            if ours.tobytes() != expected.tobytes():
                raise SystemExit(f"{path}: tensor {tensors[site].name!r} (site {site}, {kind}) differs from {onnx_path}")
            count, elements = count + 1, elements + expected.size
    graph = next(section for section in decode_tqz.sections(path.read_bytes()) if section[0] == "GRAPH")
    if len(list(of_model(onnx.ModelProto.FromString(decode_tqz.read(*graph)[0][1].tobytes())))) != len(tensors):
        raise SystemExit(f"{path}: the graph has not the tensors of {onnx_path}")
    return count, elements


# What the decoder promises to stay within, so that it can be read in one sitting.
MOST_LINES = 400


def goldens(folder):
    lines = len(Path(decode_tqz.__file__).read_text().splitlines())
    if lines > MOST_LINES:
        raise SystemExit(f"decode_tqz.py has {lines} lines, at most {MOST_LINES} are promised")
    paths = sorted(folder.glob("*.tqz"))
    for path in paths:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            decode_tqz.main(path)
        if printed.getvalue() != path.with_suffix(".txt").read_text():
            raise SystemExit(f"{path} decodes to other numbers than {path.with_suffix('.txt')} lists")
    print(f"{len(paths)} goldens decode to the numbers listed")
    if not paths:
        raise SystemExit(f"no .tqz files in {folder}")


def main():
    paths = [Path(argument) for argument in sys.argv[1:]]
    if len(paths) == 1:
        return goldens(paths[0])
    if not paths or len(paths) % 2:
        raise SystemExit(__doc__)
    with multiprocessing.Pool() as pool:
        for path, onnx_path in zip(paths[::2], paths[1::2]):
            count, elements = compare(path, onnx_path, pool)
            print(f"{path.name}: {count} tensors, {elements} numbers, equal bit for bit")


if __name__ == "__main__":
    main()
