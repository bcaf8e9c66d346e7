# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Tensor infos of a GGUF header: checked one by one, kept as a few sums."""
from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Iterable, Sequence

from ._gguf_bytes import U64, Cursor

_U32 = struct.Struct("<I")
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}
"""ggml type number → name, elements a block, bytes a block (ggml.h and ggml-common.h)."""
LOOKED_UP = frozenset(("token_embd.weight", "per_layer_token_embd.weight", "position_embd.weight", "token_types.weight"))
"""Tensors whose rows are looked up, not multiplied."""
ROW_DIVISORS = (32, 16, 8, 4)


@dataclass(frozen=True)
class TensorGroup:
    """Tensors of one ggml type, role and row divisor: how many, and their bytes in the file.

    `role` is `matrix` (2-D product), `experts` (3-D product by expert), `output` (the output matrix), `tied`
    (an embedding that is the output matrix too), `embedding` or `other`. `rows_divisor` is the largest of 32, 16, 8, 4, 1 that
    divides the number of rows (the second dimension).
    """

    type: str
    role: str
    rows_divisor: int
    count: int
    bytes: int


@dataclass(frozen=True)
class _Info:
    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    size: int


def read_tensors(cursor: Cursor, count: int, alignment: int) -> tuple[TensorGroup, ...]:
    """Read `count` tensor infos at the cursor and check each against the file; returns their sums."""
    names: set[str] = set()
    spans: list[tuple[int, int]] = []
    sums: dict[tuple[str, str, int], list[int]] = {}
    for index in range(count):
        info = _read_info(cursor, index, alignment)
        if info.name in names:
            raise cursor.error("A tensor occurs twice")
        names.add(info.name)
        spans.append((info.offset, info.size))
        total = sums.setdefault((info.type, _role(info), _divisor(info.shape)), [0, 0])
        total[0] += 1
        total[1] += info.size
    _check_spans(cursor, spans, alignment)
    return merge_groups([[TensorGroup(*key, *total) for key, total in sums.items()]])


def merge_groups(parts: Iterable[Sequence[TensorGroup]]) -> tuple[TensorGroup, ...]:
    """Sum groups of equal key, sorted; an embedding is not tied when some part has an output matrix."""
    groups = [group for part in parts for group in part]
    own_output = any(group.role == "output" for group in groups)
    sums: dict[tuple[str, str, int], list[int]] = {}
    for group in groups:
        role = "embedding" if group.role == "tied" and own_output else group.role
        total = sums.setdefault((group.type, role, group.rows_divisor), [0, 0])
        total[0] += group.count
        total[1] += group.bytes
    return tuple(TensorGroup(*key, *total) for key, total in sorted(sums.items()))


def _read_info(cursor: Cursor, index: int, alignment: int) -> _Info:
    """One tensor info: name, dimensions, type, offset."""
    cursor.field = f"tensor {index}"
    start = cursor.offset
    raw = cursor.take(cursor.length(cursor.limits.tensor_name_bytes, "tensor name"))
    name = "".join(letter for letter in raw.decode("utf-8", "replace") if letter.isprintable())
    cursor.field = f"tensor {index} {name}".rstrip()
    if not name:
        raise cursor.error("A tensor has no name", offset=start)
    shape = _read_shape(cursor)
    number = cursor.number(_U32)
    if number not in TYPES:
        raise cursor.error("A tensor has an unknown type", str(number), "Update the collection, or choose another quant.", offset=cursor.offset - 4)
    kind, block, block_bytes = TYPES[number]
    if shape[0] % block:
        raise cursor.error(f"A row of a tensor is not made of whole {kind} blocks", f"{shape[0]} elements, blocks of {block}")
    offset = cursor.number(U64)
    if offset % alignment:
        raise cursor.error(f"The offset of a tensor is not a multiple of {alignment}", str(offset), offset=cursor.offset - 8)
    elements = 1
    for dimension in shape:
        elements *= dimension
    return _Info(name, kind, shape, offset, elements // block * block_bytes)


def _read_shape(cursor: Cursor) -> tuple[int, ...]:
    """One to four dimensions, fastest first."""
    count = cursor.number(_U32)
    if not 1 <= count <= 4:
        raise cursor.error("A tensor must have 1 to 4 dimensions", str(count), offset=cursor.offset - 4)
    shape = tuple(cursor.number(U64) for _unused in range(count))
    for dimension in shape:
        if not 1 <= dimension <= cursor.limits.dimension:
            raise cursor.error(f"A dimension of a tensor is not in 1 to {cursor.limits.dimension}", str(dimension), offset=cursor.offset - 8 * count)
    return shape


def _check_spans(cursor: Cursor, spans: list[tuple[int, int]], alignment: int) -> None:
    """Tensor data must not overlap and must lie inside the file."""
    cursor.field = "tensor data"
    data = (cursor.offset + alignment - 1) // alignment * alignment
    end = 0
    for offset, size in sorted(spans):
        if offset < end:
            raise cursor.error("Two tensors overlap", f"offset {offset}, the tensor before ends at {end}", offset=data + offset)
        end = offset + size
    if end and cursor.source.size is not None and data + end > cursor.source.size:
        raise cursor.error("Tensor data reaches behind the end of the file", f"{data + end} bytes needed, the file has {cursor.source.size}", offset=data)


def _role(info: _Info) -> str:
    """How the engine uses a tensor; decides whether it is copied when weights are repacked."""
    if info.name == "token_embd.weight":
        return "tied"
    if info.name == "output.weight":
        return "output"
    if info.name in LOOKED_UP:
        return "embedding"
    dimensions = len(info.shape)
    while dimensions > 1 and info.shape[dimensions - 1] == 1:
        dimensions -= 1
    if dimensions == 3 and "_exps" in info.name:
        return "experts"
    return "matrix" if dimensions == 2 else "other"


def _divisor(shape: tuple[int, ...]) -> int:
    rows = shape[1] if len(shape) > 1 else 1
    return next((divisor for divisor in ROW_DIVISORS if rows % divisor == 0), 1)
