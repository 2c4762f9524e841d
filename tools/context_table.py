#!/usr/bin/env python3
"""What each part of the level model (docs/format.md, "Level model") is worth in bits, on the levels of .tqz files: the table of appendix C.

Usage: tools/context_table.py FILE.tqz ... [--every N ...]
Decodes layers with decode_tqz.py and codes their levels again with models of which one part is changed. Prints the change of the bits in per cent,
a table of parts taken away and one of parts added, and a table of the level sets: the matrices of one kind (T, S, direct) of one file. Sets with more
than 5000 levels count in the column "all", those with more than 100000 also in one of their kind. Plain Python, some 150 microseconds a level at a bit
each: --every takes every N-th layer only. Exit code 1 with a line if a file cannot be read.
"""
import argparse
import collections
import inspect
import math
import sys
import textwrap
import types
import zlib
from pathlib import Path

import decode_tqz
from decode_tqz import LevelModel, slot

# Of a set: to count at all, and to count in a column of its kind, which few levels would blur.
LEAST_LEVELS, COLUMN_LEVELS = 5000, 100000
# Direct layers have two columns: below so many bits a level, and from there on.
FEW_BITS = 3
COST = [-math.log2(min(max(p, 16), 65520) / 65536) for p in range(65537)]
BLOCK, MIXED = decode_tqz.block, decode_tqz.mixed


class Meter(decode_tqz.Stream):
    """A stream that adds up what its bits cost."""
    bits = 0.0

    def bit(self, p):
        bit = super().bit(p)
        self.bits += COST[p if bit else 65536 - p]
        return bit


class Known:
    """In place of a stream: gives bits that are known and adds up what they cost."""

    def __init__(self):
        self.bits, self.answers = 0.0, collections.deque()

    def bit(self, p):
        bit = self.answers.popleft()
        self.bits += COST[p if bit else 65536 - p]
        return bit

    def plain(self, n=1):
        self.bits += n
        return sum(self.answers.popleft() << i for i in range(n - 1, -1, -1))


# Changes that leave the binary decisions what they are: each decision is coded right after the full model has decoded it.
class PlainSigns(LevelModel):
    def sign(self, io, p, cls, ls, t):
        return io.plain()


class NoClass(LevelModel):
    def decide(self, io, bank, index, contexts):
        return super().decide(io, bank, index, (*contexts[:2], (contexts[2][0], 9 if index else 0), contexts[3]))

    def sign(self, io, p, cls, ls, t):
        return super().sign(io, p, 0, ls, t)


class NoFirstProbabilities(LevelModel):
    def decide(self, io, bank, index, contexts):
        for which, context in enumerate(contexts):
            self.slots.setdefault((bank >> (which == 3), index, which, *context), slot(32768, 0))
        return super().decide(io, bank, index, contexts)


class NoOddBank(LevelModel):
    def decide(self, io, bank, index, contexts):
        return super().decide(io, bank & 1, index, contexts)


class Remixed:
    """Other mixers of the full model's slots, of the `kept` contexts only."""

    def __init__(self, kept, weights):
        self.kept, self.first, self.weights = kept, weights, {}

    def mixed(self, io, key, rate):
        inputs = [list(io.found[which]) for which in self.kept]
        MIXED(io, self.weights.setdefault(key, self.first[:]), inputs, rate)


class Decisions(Remixed):
    def decide(self, io, bank, index, contexts):
        self.mixed(io, (bank, index), 14)


class Signs(Remixed):
    def sign(self, io, p, cls, ls, t):
        self.mixed(io, (min(p, 63),), 13)


# Changes of more than that: the matrix is coded anew, from its levels.
def bits_of(level, shift):
    """The bits of a level in the order of the format."""
    if level == 0:
        return [0]
    digits = lambda number, count: [number >> i & 1 for i in range(count - 1, -1, -1)]
    rest = abs(level) - 1
    more = rest >> shift
    found = [1, int(level < 0)] + [1] * min(more, 15) + [0] * (more < 15)
    if more >= 15:  # the uint more - 15
        length = (more - 14).bit_length()
        found += [1] * (length - 1) + [0] * (length < 40) + digits(more - 14, length)[1:]
    return found + digits(rest, shift)


class Anew(LevelModel):
    """Codes the iterator `levels`; an io gets the bits of each just before it is asked for them."""

    def level(self, io, p, sizes, sign, odd):
        io.answers.extend(bits_of(next(self.levels), min(max((sizes[4] >> 3) - 2, 0), 18)))
        return super().level(io, p, sizes, sign, odd)


class NoLearning(Anew):
    def move(self, w, levels, predicted, taps):
        pass


class NoLowBits(Anew):
    """Shift 0 for every level; context 2 sees the size that the shift came from."""

    def level(self, io, p, sizes, sign, odd):
        self.size = decode_tqz.size(sizes[4])
        return super().level(io, p, (*sizes[:4], min(sizes[4], 23), sizes[5]), sign, odd)

    def decide(self, io, bank, index, contexts):
        return super().decide(io, bank, index, (*contexts[:2], (self.size, contexts[2][1]), contexts[3]))


def matrix_with(old, new):
    """LevelModel.matrix with a piece of its text replaced: it has no method to override for this."""
    text = textwrap.dedent(inspect.getsource(LevelModel.matrix))
    assert text.count(old) == 1, f"{old} is not once in LevelModel.matrix of decode_tqz.py"
    names = {}
    exec(text.replace(old, new), vars(decode_tqz), names)
    return names["matrix"]


class FasterRowMean(Anew):
    matrix = matrix_with("(slow, r, 5)", "(slow, r, min(7, (j + 2).bit_length() - 1))")


TAKEN = {
    "sign contexts (signs plain)": PlainSigns,
    "class of the predicted level": NoClass,
    "learning of the prediction": NoLearning,
    "context 0: expected size × neighbours": lambda: Decisions([1, 2, 3], [36000, 36000, 0]),
    "context 1: fast means of row and column": lambda: Decisions([0, 2, 3], [36000, 36000, 0]),
    "context 2: blended size × predicted level": lambda: Decisions([0, 1, 3], [36000, 36000, 0]),
    "context 3: the row": lambda: Decisions([0, 1, 2], [24000] * 3),
    "sign context 0: predicted level": lambda: Signs([1, 2], [39000] * 2),
    "sign context 1: weighted neighbours": lambda: Signs([0, 2], [39000] * 2),
    "sign context 2: position": lambda: Signs([0, 1], [39000] * 2),
    "first probabilities": NoFirstProbabilities,
    "banks of the odd quantizer": NoOddBank,
    "low bits (they are there for speed)": NoLowBits,
}
ADDED = {
    "slow mean of a row: shift min(7, ilog2(j + 2))": FasterRowMean,
}


class Full(LevelModel):
    """The format's model; decodes, and has every variant code the same."""
    basis = False

    def __init__(self):
        super().__init__()
        self.variants = {name: make() for name, make in {**TAKEN, **ADDED}.items()}
        changing = {name: v for name, v in self.variants.items() if not isinstance(v, Anew)}
        self.of = {method: [(name, v) for name, v in changing.items() if method in vars(type(v))] for method in ("decide", "sign")}
        self.known = Known()

    def compared(self, method, io, *arguments):
        """The bit that the model's `method` decodes; each variant that has its own codes it too."""
        before = io.bits
        bit = getattr(super(), method)(io, *arguments)
        paid, self.known.found = io.bits - before, io.found
        for name, variant in self.of[method]:
            self.known.answers.append(bit)
            self.known.bits = -paid
            getattr(variant, method)(self.known, *arguments)
            self.extra[name] += self.known.bits
        return bit

    def decide(self, io, *arguments):
        return self.compared("decide", io, *arguments)

    def sign(self, io, *arguments):
        return self.compared("sign", io, *arguments)

    def level(self, io, *arguments):
        self.levels.append(super().level(io, *arguments))
        return self.levels[-1]

    def matrix(self, io, R, C, kk, dependent):
        self.levels, self.extra, before = [], collections.Counter(), io.bits
        columns = super().matrix(io, R, C, kk, dependent)
        paid = io.bits - before
        for name, variant in self.variants.items():
            if isinstance(variant, LevelModel):  # whose decisions are coded outside its own `matrix`
                variant.slots = {key: found for key, found in variant.slots.items() if key[2] < 3}
            if isinstance(variant, Anew):
                variant.levels, self.known.bits = iter(self.levels), -paid
                assert variant.matrix(self.known, R, C, kk, dependent) == columns and not self.known.answers
                self.extra[name] = self.known.bits
        io.sets[io.path, "S" if self.basis else io.kind].update({"levels": R * C, "bits": paid, **self.extra})
        return columns


def block(io, header, models, *shape):
    """decode_tqz.block, whose kind of block is read before it for the name of the level set."""
    kinds, models[1].basis = [header.code(io)], True
    io.kind = "T" if kinds[0] else "direct"
    again = types.SimpleNamespace(code=lambda io: kinds.pop() if kinds else header.code(io), sint=header.sint)
    return BLOCK(io, again, models, *shape)


def mixed(io, weights, found, rate):
    """decode_tqz.mixed, with a note of what the slots were before they learnt."""
    if isinstance(io, Meter):
        io.found = [list(each) for each in found]
    return MIXED(io, weights, found, rate)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure(path, every, sets):
    """Adds the levels, bits and changes of the bits of a file's layers to its sets."""
    layers = [section for section in decode_tqz.sections(path.read_bytes()) if section[0] == "LAYER"]
    for number, (_, data, crc) in list(enumerate(layers))[::every]:
        progress(f"{path.name}: layer {number + 1} of {len(layers)}")
        assert zlib.crc32(data) == crc, "checksum"
        io = Meter(data)
        io.path, io.sets = path, sets
        decode_tqz.layer(io)


def column(kind, found):
    few = found["bits"] < FEW_BITS * found["levels"]
    return kind if kind != "direct" else f"direct, {'below' if few else 'from'} {FEW_BITS} bits"


def change(name, sets):
    """In per cent, mean of the logarithms."""
    mean = sum(math.log1p(found[name] / found["bits"]) for found in sets) / len(sets)
    return f"{round(100 * math.expm1(mean), 2) + 0:+.2f}"


def report(sets):
    columns = collections.defaultdict(list)
    for (_, kind), found in sets.items():
        if found["levels"] > COLUMN_LEVELS:
            columns[column(kind, found)].append(found)
    columns = {name: columns[name] for name in sorted(columns, key=lambda name: (name != "T", name))} | {"all": list(sets.values())}
    for title, rows in (("part", TAKEN), ("candidate", ADDED)):
        print(f"| {title} | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
        for name in rows:
            print(f"| {name} | {' | '.join(change(name, of) for of in columns.values())} |")
        print()
    print("| level set | levels | bits a level |\n| --- | --- | --- |")
    for (path, kind), found in sets.items():
        print(f"| {path.stem} {kind} | {found['levels']} | {found['bits'] / found['levels']:.3f} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", type=Path, nargs="+", metavar="FILE.tqz")
    p.add_argument("--every", type=int, nargs="+", default=[1], metavar="N", help="take every N-th layer only; one number, or one for each file")
    args = p.parse_args()
    every = args.every * len(args.files) if len(args.every) == 1 else args.every
    if len(every) != len(args.files) or min(every) < 1:
        p.error("--every: one number, or one for each file, of at least 1")
    decode_tqz.block, decode_tqz.mixed, decode_tqz.LevelModel = block, mixed, Full
    sets = collections.defaultdict(collections.Counter)
    for path, step in zip(args.files, every):
        try:
            measure(path, step, sets)
        except (OSError, AssertionError, IndexError, StopIteration) as problem:
            progress("")
            raise SystemExit(f"context_table.py: {path}: cannot be read as a .tqz file: {problem or 'it ends too early'}")
    progress("")
    sets = {key: found for key, found in sets.items() if found["levels"] > LEAST_LEVELS}
    if not sets:
        raise SystemExit(f"context_table.py: no matrices with more than {LEAST_LEVELS} levels by the level model")
    report(sets)


if __name__ == "__main__":
    main()
