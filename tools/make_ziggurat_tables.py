#!/usr/bin/env python3
"""Write the tables of numpy's normal ziggurat as crates/data/src/random/ziggurat_tables.rs.

The numbers follow from the normal density by a recurrence, but numpy's are rounded in their own way, and a generator that
shall give numpy's draws needs exactly those. They are read from the static library that numpy ships for users of its C
interface. Run from anywhere; needs numpy, and nm and objdump of binutils.
"""
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "crates/data/src/random/ziggurat_tables.rs"
HEAD = """//! The ziggurat's 256 layers for the normal distribution, with numpy's rounding of each number.
//! Written by `tools/make_ziggurat_tables.py`; not edited by hand.

/// Per layer: the largest mantissa inside the rectangle (exclusive), the bits of the width of a
/// mantissa's unit, the bits of the density's value at the layer's edge.
pub(super) const LAYERS: [[u64; 3]; 256] = [
"""


def main():
    archive = Path(np.__file__).parent / "random/lib/libnpyrandom.a"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["ar", "x", archive.resolve()], cwd=folder, check=True)
        (member,) = Path(folder).glob("*distributions_distributions*.o")
        symbols = {}
        for line in subprocess.run(["nm", member], capture_output=True, text=True, check=True).stdout.splitlines():
            parts = line.split()
            if len(parts) == 3:
                symbols[parts[2]] = int(parts[0], 16)
        sections = subprocess.run(["objdump", "-h", member], capture_output=True, text=True, check=True).stdout
        base = next(int(row.split()[5], 16) for row in sections.splitlines() if row.split()[1:2] == [".rodata"])
        data = member.read_bytes()

    def table(name):
        at = base + symbols[name]
        return struct.unpack("<256Q", data[at:at + 2048])

    rows = zip(table("ki_double"), table("wi_double"), table("fi_double"), strict=True)
    body = "".join(f"    [0x{k:016x}, 0x{w:016x}, 0x{f:016x}],\n" for k, w, f in rows)
    TARGET.write_text(HEAD + body + "];\n")


if __name__ == "__main__":
    main()
