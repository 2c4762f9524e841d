#!/usr/bin/env python3
"""An independent decoder of .tqz files, written from docs/format.md alone: plain Python and numpy, nothing of the program called.

Usage: decode_tqz.py FILE [N]. A line a tensor: section, site, shape, CRC-32 of the little-endian numbers, the first of them. With N
only the layer of that number, counted from 0; no other section is touched.
"""
import pathlib, re, sys, zlib
import numpy as np

DOCUMENT = (pathlib.Path(__file__).resolve().parent.parent / "docs/format.md").read_text()
APPENDICES = {name: DOCUMENT.split(f"## Appendix {name}:")[1].split("```")[1].split() for name in "AB"}
OCTAVE = np.array([int(word, 16) for word in APPENDICES["A"]], "<u8").view("<f8")
PRIME = bytes.fromhex("".join(APPENDICES["B"]))
ROWS = re.findall(r"^\| (?:\d|8 and later) \| (-\d+ \d+ -?\d+ \|.*) \|$", DOCUMENT, re.M)
FIRST = [[tuple(map(int, cell.split())) for cell in row.split("|")] for row in ROWS]
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
def clamp(x, a, b): return a if x < a else b if x > b else x
def log2q(x):
    e = x.bit_length() - 1
    m, result = x << (31 - e), e
    for _ in range(16):
        m = m * m >> 31
        result, m = (2 * result + 1, m >> 1) if m >= 1 << 32 else (2 * result, m)
    return result

STRETCH = [-(((log2q(8192 - a) - log2q(a)) * 45426 + (1 << 23)) >> 24) for a in range(1, 4096, 2)]
STRETCH += [-x for x in reversed(STRETCH)]
SQUASH, E = [], 1 << 32
for _ in range(533):
    SQUASH.append(max(16, (E * 65536 + ((1 << 32) + E) // 2) // ((1 << 32) + E)))
    E = E * 4228380000 >> 32
RATE = [131072 // (2 * n + 3) for n in range(256)]

def size(l): return clamp((l + 66) >> 2, 0, 27)
def fastclass(l): return clamp((l - 100) >> 2, 0, 15)

def squash(x):
    i = (clamp(x, -2128, 2128) + 2) >> 2
    return SQUASH[-i] if i <= 0 else 65536 - SQUASH[i]

def log8(x):
    x |= 8
    e = x.bit_length() - 1
    return 8 * e + (x >> (e - 3) & 7)

def exp8(l): return ((8 | clamp(l, 0, 248) & 7) << (clamp(l, 0, 248) >> 3)) >> 3

# Bits and integers
class Stream:
    def __init__(self, data):
        self.data, self.taken, self.range = data, 0, (1 << 64) - 1
        self.offset = self.word() << 32 | self.word()
    def word(self):
        self.taken += 4
        assert self.taken <= len(self.data) + 8, "the stream ends too early"
        return int.from_bytes(self.data[self.taken - 4:self.taken].ljust(4, b"\0"), "big")
    def bit(self, p):
        bound = (self.range >> 16) * clamp(p, 16, 65520)
        bit = int(self.offset < bound)
        self.range, self.offset = (bound, self.offset) if bit else (self.range - bound, self.offset - bound)
        if self.range < 1 << 32: self.offset, self.range = self.offset << 32 | self.word(), self.range << 32
        return bit
    def plain(self, n=1): return sum(self.bit(32768) << i for i in range(n - 1, -1, -1))

def adaptive(io, state):
    (p, n), bit = state, io.bit(state[0])
    rate = 131072 // (2 * n + 3)
    state[:] = p + ((65536 - p) * rate >> 16) if bit else p - (p * rate >> 16), min(n + 1, 32)
    return bit

def fresh(count, p=32768, n=0): return [[p, n] for _ in range(count)]
class Uint:
    def __init__(self): self.longer, self.second = fresh(40), fresh(40)
    def code(self, io):
        length = next((i for i in range(1, 40) if not adaptive(io, self.longer[i])), 40)
        second = 2 | adaptive(io, self.second[length - 1]) if length > 1 else 0
        return (second << (length - 2) | io.plain(length - 2)) - 1 if second else 0
    def sint(self, io):
        magnitude = self.code(io)
        return -magnitude if magnitude and io.plain() else magnitude

# Slots [p24, n, s] and mixers
def slot(p, n): return [256 * p, n, STRETCH[p >> 4]]
def learn(slot, bit):
    p24, n, _ = slot
    p24 += (16777215 - p24) * RATE[n] >> 16 if bit else -(p24 * RATE[n] >> 16)
    slot[:] = p24, min(n + 1, 255), STRETCH[p24 >> 12]

def mixed(io, weights, slots, rate):
    inputs = [each[2] for each in slots]
    p = squash(sum((w >> 2) * x for w, x in zip(weights, inputs)) >> 14)
    bit = io.bit(p)
    error = (65536 * bit - p) >> 2
    weights[:] = [clamp(w + (x * error >> rate), -131072, 131072) for w, x in zip(weights, inputs)]
    for each in slots: learn(each, bit)
    return bit

# The level model: what is kept from matrix to matrix
class LevelModel:
    def __init__(self):
        self.slots, self.mixers, self.signs, self.sign_mixers, self.low, self.escape = {}, {}, {}, {}, {}, Uint()
    def decide(self, io, bank, index, contexts):
        found = []
        for which, (a, b) in enumerate(contexts):
            key = (bank >> (which == 3), index, which, a, b)
            if key not in self.slots:
                f0, f1, f2 = FIRST[min(index, 8)][which] if which < 3 else (-1200 if index else -600, 0, 0)
                f = f0 + f1 * a + f2 * (b - 9 if which == 2 and index > 0 else b) + (0 if index or bank < 2 or which == 3 else 300)
                self.slots[key] = slot(squash((352 if index else 900) if bank & 1 and which < 3 else f), 8 if which < 3 else 4)
            found.append(self.slots[key])
        return mixed(io, self.mixers.setdefault((bank, index), [24000] * 3 + [0]), found, 14)
    def sign(self, io, p, cls, ls, t):
        sgn = [(x > 0) - (x < 0) for x in t]
        contexts = ((cls + 9) * 8 + clamp((ls - 96) >> 3, 0, 7),
                    clamp(2 * t[0] + 2 * t[1] + t[3] - t[2], -9, 9) + 9 + 19 * (clamp(t[4] + t[5] + t[2], -3, 3) + 3),
                    sgn[0] + 1 + 3 * (sgn[1] + 1) + 9 * min(p, 63))
        found = [self.signs.setdefault((i, context), slot(32768, 4)) for i, context in enumerate(contexts)]
        return mixed(io, self.sign_mixers.setdefault(min(p, 63), [26000] * 3), found, 13)
    def matrix(self, io, R, C, kk, dependent):
        root = round(kk ** 0.5)
        width = root if root * root == kk else kk
        self.slots = {key: found for key, found in self.slots.items() if key[2] < 3}  # rows' slots are of one matrix
        zeros, history, columns = [0] * R, {}, []
        slow, fast, position, common = ([32768] * count for count in (R, R, kk, 3))  # common: column, columnfast, global
        weights, taps, predicted = [[1600, 1600, -500, 500, 0, 0] for _ in range(kk)], zeros, zeros
        for j in range(C):
            if j > 0 and kk > 1: self.move(weights[(j - 1) % kk], history[j - 1], predicted, taps)
            p, x, y, before = j % kk, j % kk % width, j % kk // width, lambda lag: history.get(j - lag, zeros)
            inside = (x > 0, y > 0, x > 0 and y > 0, y > 0 and x + 1 < width, x > 1, y > 1)
            lags = (1, width, width + 1, width - 1, 2, 2 * width)
            if kk > 1:
                taps = list(zip(*(before(lag) if there else zeros for there, lag in zip(inside, lags))))
                predicted = [clamp(sum(a * b for a, b in zip(weights[p], t)) >> 8, -32752, 32752) for t in taps]
            common[1], g, coded, history[j], u, v, state = common[0], log8(common[2]), [], [], 0, 0, 0
            means = ((position, p, 5), (common, 0, 5), (common, 1, 3), (common, 2, 10))
            for r, three in enumerate(zip(before(1), before(2), before(kk if kk > 2 else 3))):
                a, b, c = map(abs, three)
                total = (a + b + c if kk > 1 else a) + u
                cls = clamp((log8(8 * abs(predicted[r])) - 38) >> 2, 0, 9) if kk > 1 else 0
                ls, lf = log8(slow[r]), log8(fast[r])
                ex = ls + log8((common[0] + position[p]) >> 1 if kk > 1 else common[0]) - g
                bl = log8(min(exp8(ex - 8) + ((2 * a + b + 2 * c + 2 * u + v) << 12), 0xFFFFFFFF)) - 128
                sizes = (ex, total if total < 2 else 2 if total < 4 else 3, lf, log8(common[1]), bl, r)
                signs = -cls if predicted[r] < 0 else cls, ls, taps[r]
                index = self.level(io, p if kk > 1 else None, sizes, signs, dependent and state & 1)
                coded.append(2 * index - (state & 1) * ((index > 0) - (index < 0)) if dependent else index)
                state = (state >> 1 ^ state) & 1 | (state >> 1 ^ index << 1) & 2 | (state & 1) << 2
                history[j].append(clamp(index, -2047, 2047))
                u, v = abs(history[j][-1]), u
                for mean, at, s in ((slow, r, 5), (fast, r, 3), *means): mean[at] += (65536 * u - mean[at]) >> s
            history.pop(j - max(kk, 3), None)
            columns.append(coded)
        return columns
    def move(self, w, levels, predicted, taps):
        G, E, R = [0] * 6, 4, len(levels)
        for r in range(0, R, max(1, -(-R // 64))):
            error = 16 * levels[r] - predicted[r]
            G = [g + error * t for g, t in zip(G, taps[r])]
            E += 4 + sum(t * t for t in taps[r])
        moved = [(abs(g) * 2 * min(R, 64) // E) * (1 if g > 0 else -1) for g in G]
        w[:] = [clamp(a + b, -16384, 16384) for a, b in zip(w, moved)]
    def level(self, io, p, sizes, sign, odd):
        (ex, sumc, lf, lcf, bl, r), (cls, ls, t) = sizes, sign
        shift = clamp((bl >> 3) - 2, 0, 18)
        bank, h, two = int(shift > 0) + 2 * odd, abs(cls), ((size(ex - 128), sumc), (fastclass(lf), fastclass(lcf)))
        if not self.decide(io, bank, 0, (*two, (size(bl), h), (r, 0))): return 0
        negative = io.plain() if p is None else self.sign(io, p, cls, ls, t)
        four = (*two, (size(bl), 9 + h if (cls < 0) == negative else 9 - h), (r, 0))
        index = next((i for i in range(1, 16) if not self.decide(io, bank, i, four)), 16)
        rest = index - 1 + (self.escape.code(io) if index == 16 else 0)
        if shift > 0:
            low = self.low.setdefault((shift, index), slot(32768, 0))
            first = io.bit(low[0] >> 8)
            learn(low, first)
            rest = (2 * rest + first) << (shift - 1) | io.plain(shift - 1)
        return -rest - 1 if negative else rest + 1

# The byte model
def scramble(x):
    y = x * 0x9E3779B1 & 0xFFFFFFFF
    return (y ^ y >> 15) * 0x85EBCA6B & 0xFFFFFFFF

class ByteModel:
    def __init__(self, made_for):
        self.B = clamp((8 * clamp(made_for, 256, 1 << 24)).bit_length() - 1, 12, 18)
        self.slots, self.width, self.word, self.previous = [{} for _ in range(12)], 1, 0, 0
        self.agreement = [slot(65536 - 32768 // (i // 4 + 2), 4) for i in range(64)]
        self.by_match, self.by_bits = ([[8000] * 14 for _ in range(n)] for n in (32, 256))
        self.seen, self.last, self.match = bytearray(), {}, (0, 0, 0)
    def bases(self):
        seen, width, (pointer, length, _), bases = self.seen, self.width, self.match, [0]
        back = lambda d: seen[-d] if d <= len(seen) else 0
        for k in range(6): bases.append(scramble(bases[k] + back(k + 1) + 1))
        bases += [scramble(self.word ^ back(1) << 24), scramble(self.word + 31 * self.previous),
                  scramble(back(width) + 256 * (len(seen) % width) + (back(2 * width) << 16)),
                  scramble(1 + seen[pointer] + 256 * min(length, 15) + 4096 * back(1)) if pointer else 0,
                  scramble(back(2) + (back(3) << 8) + (back(4) << 16))]
        return bases
    def bit(self, io, bases, partial, known_byte):
        keys = [scramble(base ^ partial * 0xC2B2AE35) >> (32 - self.B) for base in bases]
        slots = [table.setdefault(key, slot(32768, 0)) for table, key in zip(self.slots, keys)]
        (pointer, length, misses), predicted, done = self.match, None, partial.bit_length() - 1
        if pointer and (256 | self.seen[pointer]) >> (8 - done) == partial:
            predicted = self.seen[pointer] >> (7 - done) & 1
        confidence = self.agreement[4 * min(length, 15) + misses % 4]
        x = [s[2] if s[1] else 0 for s in slots]
        x += [0 if predicted is None else confidence[2] if predicted else -confidence[2], 256]
        state = 0 if predicted is None else 1 if length == 0 else 2 if length < 16 else 3
        sets = self.by_match[8 * state + next((k for k in range(7) if slots[k][1] == 0), 7)], self.by_bits[partial]
        p = squash(sum((a + b) * v for a, b, v in zip(*sets, x)) >> 16)
        bit = io.bit(p) if io else known_byte >> (7 - done) & 1
        for weights in sets:
            weights[:] = [clamp(w + (v * (65536 * bit - p) >> 15), -1 << 20, 1 << 20) for w, v in zip(weights, x)]
        for s in slots: learn(s, bit)
        if predicted is not None: learn(confidence, predicted == bit)
        return bit
    def code(self, io, known=None):
        bases, partial = self.bases(), 1
        while partial < 256: partial = 2 * partial + self.bit(io, bases, partial, known)
        c = partial - 256
        if c in LETTERS: self.word = scramble(self.word + c + 1)
        elif self.word: self.word, self.previous = 0, self.word
        seen, (pointer, length, misses) = self.seen, self.match
        if pointer:
            miss = int(seen[pointer] != c)
            misses = (misses << 1 | miss) & 255
            self.match = (0, 0, 0) if misses.bit_count() > 4 else (pointer + 1, 0 if miss else length + 1, misses)
        seen.append(c)
        if len(seen) >= 4:
            h = scramble(int.from_bytes(seen[-4:], "little")) >> 16
            q, n = self.last.get(h, 0), 0
            while q > n and n < 32 and seen[q - 1 - n] == seen[-1 - n]: n += 1
            if self.match[1] < 16 and n >= 4 and n > self.match[1]: self.match = (q, n, 0)
            self.last[h] = len(seen)
        return c

# Layers
def exponents(io, count, positions):
    shift = io.plain(3)
    lag = positions if positions > 1 and io.plain() else 1
    zero, sign, magnitude, units, large, last = fresh(3), fresh(3), [Uint() for _ in range(3)], [], 0, 0
    for i in range(count):
        difference = 0
        if adaptive(io, zero[large]):
            last = 2 if adaptive(io, sign[last]) else 1
            difference = (magnitude[large].code(io) + 1) * (1 if last == 1 else -1)
        large = min(abs(difference), 2)
        units.append((units[i - lag] if i >= lag else units[i - 1] if i else 0) + difference)
        assert shift <= 6 and abs(units[i]) << shift <= 4096, "exponent"
    return [unit << shift for unit in units]

# The values of a matrix, f64.
def matrix(io, header, model, rows, cols, kk):
    quantizer, base = header.code(io), header.sint(io)
    assert quantizer <= 3 and abs(base) <= 6400, "quantizer or base exponent"
    active = list(range(rows)) if rows and cols else []
    if active and not io.plain():
        bits, flags = fresh(2), [1]
        for _ in range(rows): flags.append(adaptive(io, bits[flags[-1]]))
        active = [r for r, flag in enumerate(flags[1:]) if flag]
    row, col, values = np.zeros(rows, int), np.zeros(cols, int), np.zeros((rows, cols))
    if io.plain(): row[active] = exponents(io, len(active), 1)
    if io.plain(): col[:] = exponents(io, cols, kk)
    widths = exponents(io, len(active) if quantizer == 1 else cols, 1) if quantizer in (1, 2) else []
    assert all(1 <= w <= 21 for w in widths), "width"
    if active:
        of_column = lambda j: widths if quantizer == 1 else [widths[j]] * len(active)
        signed = lambda value, w: value - (value >> (w - 1) << w)
        levels = [[signed(io.plain(w), w) for w in of_column(j)] for j in range(cols)] if quantizer in (1, 2) \
            else model.matrix(io, len(active), cols, kk, quantizer == 3)
        assert np.abs(levels).max() <= 1 << 20, "level"
        e = base + row[active][:, None] + col
        values[active] = np.array(levels, float).T * np.ldexp(OCTAVE[e & 63], e >> 6)
    return values

def block(io, header, models, n, m, kk):
    """The weights of n rows, [n, m, kk], before the rounding to f32."""
    kind = header.code(io)
    assert kind <= 4, "block kind"
    k, q = header.code(io) if kind else 0, header.code(io) if kind == 4 else m
    first = lambda n, m, kk: matrix(io, header, models[0], n, m * kk, max(kk, 1)).reshape(n, m, kk)
    basis = lambda n, m: matrix(io, header, models[1], n, m, 1)
    add = lambda terms: sum(terms, np.zeros((n, m, kk)))
    assert kind < 4 or k <= n and q <= m, "inner dimensions"
    if kind == 0: return first(n, m, kk)
    if kind == 2:
        T, S = first(n, k, kk), basis(k, m)
        return add(T[:, l, None, :] * S[l][:, None] for l in range(k))
    if kind == 3:
        T, S = first(n, m, k), basis(k, kk)
        return add(T[:, :, l, None] * S[l] for l in range(k))
    T, S = first(k, q, kk), basis(n, k)
    X = sum((S[:, l, None, None] * T[l] for l in range(k)), np.zeros((n, q, kk)))
    if kind == 1: return X
    V = basis(q, m)
    return add(X[:, l, None, :] * V[l][:, None] for l in range(q))

def layer(io):
    header, models = Uint(), (LevelModel(), LevelModel())
    site, layout = header.code(io), header.code(io)
    groups = header.code(io) if layout == 2 else 1
    dims = [header.code(io) for _ in range(header.code(io))]
    assert site < 1 << 32 and layout <= 2 and groups and dims[0] % groups == 0, "site, layout or groups"
    assert all(dims) and (len(dims) == 2 if layout == 1 else (2 if layout else 1) <= len(dims) <= 8), "dimensions"
    d0, d1, kk = dims[0], dims[1] if len(dims) > 1 else 1, int(np.prod(dims[2:], dtype=int))
    n, m = ((d0, d1), (d1, d0), (d1 * groups, d0 // groups))[layout]
    parts, left = [], n
    while left:
        after = header.code(io)
        assert after < left, "rows after a block"
        parts.append(block(io, header, models, left - after, m, kk))
        left = after
    weights = np.concatenate(parts).astype("<f4")
    if layout: weights = weights.reshape(groups, n // groups, m, kk).transpose(0, 2, 1, 3)
    return [(site, np.ascontiguousarray(weights).reshape(dims))]

# The other sections
def vectors(io):
    found, past = [], []
    site_model, step_model, length_model, reference_model, escape = (Uint() for _ in range(5))
    starts = (16000, 20000, 25000, 30000, 36000, 41000, 46000, 50000, 47000, 49000, 50500, 52000)
    unary, low, sign = [fresh(20, p, 4) for p in starts], [fresh(21) for _ in starts], fresh(3)
    site, step, length = -1, 0, 0
    for _ in range(length_model.code(io)):
        site, step, length = site + 1 + site_model.sint(io), step + step_model.sint(io), length + length_model.sint(io)
        reference, centred, levels, z = reference_model.code(io), io.plain(), [], 0
        assert 0 <= site < 1 << 32 and abs(step) <= 160 and length >= 0 and reference <= min(8, len(past)), "a vector's head"
        mean, size, count = (*past[-reference], 3) if reference else (0, 32768, 0)
        for _ in range(length):
            expected, u = (mean + 128) >> 8 if centred else 0, clamp(size >> 4, 4, 1 << 30)
            e, q = u.bit_length() - 1, u >> (u.bit_length() - 3) & 3
            shift, c = (0, 2 * (e - 2) + (q >> 1)) if e < 6 else (e - 5, 8 + q)
            index = next((i for i in range(20) if not adaptive(io, unary[c][i])), 20)
            m = index + (escape.code(io) if index == 20 else 0)
            if shift > 0: m = (2 * m + adaptive(io, low[c][index])) << (shift - 1) | io.plain(shift - 1)
            m = min(m, 1 << 30)
            z = (2 if adaptive(io, sign[z]) else 1) if m else z
            levels.append(expected + (-m if z == 2 else m))
            rate = min(count + 2, 48)
            mean, size, count = mean + (256 * levels[-1] - mean) // rate, size + (256 * m - size) // rate, count + 1
        past.append((mean, size))
        assert all(abs(level) <= 1 << 24 for level in levels), "level of a vector"
        found.append((site, np.ldexp(np.array(levels, float), step).astype("<f4")))
    return found

def raw(io):
    header, model, site, found = Uint(), ByteModel(8192), -1, []
    for _ in range(header.code(io)):
        site, model.width = site + 1 + header.sint(io), 1 << header.code(io)
        assert site < 1 << 32 and model.width <= 8, "site or width of elements"
        found.append((site, np.array([model.code(io) for _ in range(header.code(io))], "u1")))
    return found

def varint(data, at):
    end = next(i for i in range(at, at + 9) if data[i] < 128) + 1
    assert data[end - 1] or end == at + 1, "not the shortest form"
    return sum((byte & 127) << 7 * i for i, byte in enumerate(data[at:end])), end

def graph(io, length):
    model = ByteModel(length)
    for byte in PRIME: model.code(None, byte)
    return [(0, np.array([model.code(io) for _ in range(length)], "u1"))]

KINDS = ["META", "GRAPH", "VECTORS", "RAW", "LAYER"]
def sections(data):
    assert data[:10] == b"\x89TQZ\r\n\x1a\n\x01\0", "signature or version"
    (count, at), listed, found = varint(data, 10), [], []
    for _ in range(count):
        kind, (length, end) = data[at], varint(data, at + 1)
        listed.append((kind, length, int.from_bytes(data[end:end + 4], "little")))
        at = end + 4
    assert zlib.crc32(data[:at]) == int.from_bytes(data[at:at + 4], "little"), "checksum of the header"
    kinds, at = [kind for kind, _, _ in listed], at + 4
    assert kinds == sorted(kinds) and all(kinds.count(kind) < 2 for kind in (1, 2, 3, 4)), "order of sections"
    for kind, length, crc in listed:
        found.append((KINDS[kind - 1], data[at:at + length], crc))
        at += length
    assert at == len(data) and all(1 <= kind <= 5 for kind in kinds), "length of the file or section kind"
    return found

def read(kind, data, crc):  # [(site, numbers)] of one section, which needs no other
    assert zlib.crc32(data) == crc, "checksum"
    length, at = varint(data, 0) if kind in ("META", "GRAPH") else (0, 0)
    if kind == "META": return [(length, np.frombuffer(data, "u1"))]
    io = Stream(data[at:])
    found = graph(io, length) if kind == "GRAPH" else {"VECTORS": vectors, "RAW": raw, "LAYER": layer}[kind](io)
    assert io.taken >= len(io.data), "bytes are left over"
    assert all(np.isfinite(numbers).all() for _, numbers in found), "a number is not finite"
    return found

def main(path, layer=None):
    wanted = sections(pathlib.Path(path).read_bytes())
    if layer is not None: wanted = [[section for section in wanted if section[0] == "LAYER"][int(layer)]]
    for kind, data, crc in wanted:
        for site, numbers in read(kind, data, crc):
            shown = numbers.reshape(-1)[:12].view(f"<u{numbers.itemsize}")
            words = " ".join(f"{number:0{2 * numbers.itemsize}x}" for number in shown)
            print(f"{kind} {site} {'x'.join(map(str, numbers.shape))} {zlib.crc32(numbers.tobytes()):08x} {words}".rstrip())

if __name__ == "__main__": main(*sys.argv[1:])
