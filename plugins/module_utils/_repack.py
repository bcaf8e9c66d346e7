# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Weights that the engine rewrites into anonymous memory at load, for faster products on this processor.

Exact from tensor infos (ggml-cpu/repack.cpp and ggml-cpu/amx/mmq.cpp); a safe bound without them.
"""
from __future__ import annotations

from typing import Iterable, Sequence

from ._formula import Formula, formula, largest_of, named
from ._gguf import Header, TensorGroup
from ._shape import is_known

REPACK_RULES = {
    "Q4_0": ((("avx2",), 8), (("neon", "i8mm"), 4), (("neon", "dotprod"), 4)),
    "Q4_K": ((("avx2",), 8), (("neon", "i8mm"), 8), (("neon", "dotprod"), 8)),
    "Q2_K": ((("avx512",), 8),),
    "Q5_K": ((("neon", "i8mm"), 8), (("neon", "dotprod"), 8)),
    "Q6_K": ((("neon", "i8mm"), 8), (("neon", "dotprod"), 8)),
    "Q8_0": ((("neon", "i8mm"), 4), (("neon", "dotprod"), 4)),
    "Q1_0": ((("neon", "i8mm"), 4), (("neon", "dotprod"), 4)),
    "IQ4_NL": ((("avx2",), 8), (("neon",), 4)),
    "MXFP4": ((("avx2",), 8), (("neon", "dotprod"), 4)),
}
"""Tensor type → instruction sets needed and what must divide the rows (ggml-cpu/repack.cpp)."""
AMX_BLOCKS = {"Q4_0": (18, 18), "Q4_1": (20, 20), "Q8_0": (38, 34), "Q4_K": (148, 144), "Q5_K": (180, 176),
              "Q6_K": (210, 210), "IQ4_XS": (138, 136), "F16": (2, 2)}
"""Types that AMX hosts copy into tiles when rows come in 32s → bytes a block there, in the file (ggml-cpu/amx/mmq.cpp)."""
AMX_BOUND = (38, 34)
WORST = (("avx2", "avx512", "amx"), ("neon", "dotprod", "i8mm"))
"""An unknown instruction set is planned as the one of these that copies most."""


def repacked(shape: Header, isa: Iterable[str], tied: bool) -> tuple[Formula, bool]:
    """Bytes of weights that are rewritten at load, and whether that is exact.

    `tied`: an embedding without an output matrix beside it is the output matrix too (not so in encoders).
    From tensor infos the sum is exact; an architecture that is known does not load layers that only predict further tokens.
    Without infos: 0.85 of the file on x86 with AVX2, all of it on ARM, nothing on x86 without AVX2; an unknown instruction set is planned as ARM.
    """
    names = frozenset(isa)
    if shape.tensors is None:
        return _bound(shape.file_size or 0, names), False
    roles = {"matrix", "experts", "output", "other", *(["tied"] if tied else []), *([] if is_known(shape.architecture) else ["nextn"])}
    groups = [group for group in shape.tensors if group.role in roles]
    if not names:
        return largest_of(_copied(groups, frozenset(some)) for some in WORST), False
    return _copied(groups, names), True


def _copied(groups: Sequence[TensorGroup], names: frozenset[str]) -> Formula:
    """The sum over groups that this processor copies, by type and role."""
    total = formula(0)
    for group in groups:
        total += _group(group, names)
    return total


def _group(group: TensorGroup, names: frozenset[str]) -> Formula:
    """Bytes that a group takes once rewritten, 0 when this processor leaves it mapped. AMX comes first, as in the engine."""
    size = named(f"{group.type}_{group.role}_rows{group.rows_divisor}_bytes", group.bytes)
    if "amx" in names and group.role != "experts" and group.type in AMX_BLOCKS and group.rows_divisor % 32 == 0:
        tile, block = AMX_BLOCKS[group.type]
        return size * tile // block if tile != block else size
    rules = REPACK_RULES.get(group.type, ()) if group.role != "other" else ()
    return size if any(names.issuperset(needed) and group.rows_divisor % rows == 0 for needed, rows in rules) else formula(0)


def _bound(size: int, names: frozenset[str]) -> Formula:
    file = named("file", size)
    if "amx" in names:
        return file * AMX_BOUND[0] // AMX_BOUND[1]
    if "avx2" in names:
        return file * 85 // 100
    return formula(0) if names and "neon" not in names else file
