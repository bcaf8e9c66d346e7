# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Tensor infos of a GGUF header: checked one by one, kept as a few sums."""
from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import Iterable, Sequence

from ._gguf_bytes import U32, Cursor, GgufError, printable

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
LOOKED_UP = frozenset((b"token_embd.weight", b"per_layer_token_embd.weight", b"position_embd.weight", b"token_types.weight"))
"""Tensors whose rows are looked up, not multiplied."""
ROLES = ("matrix", "experts", "output", "tied", "embedding", "other", "nextn")
"""How the engine uses a tensor; `TensorGroup` says what each is."""
ROW_DIVISORS = (32, 16, 8, 4)
SORTED_AT_MOST = 16_384
"""Tensors that may be in another order than their data; ggml itself takes none that are."""
LARGEST = (1 << 63) - 1
"""Bytes of the largest file."""
_SHAPES = {count: struct.Struct(f"<{count}QIQ") for count in range(1, 5)}
"""Dimensions, type, offset."""


@dataclass(frozen=True)
class TensorGroup:
    """Tensors of one ggml type, role and row divisor: how many, and their bytes in the file.

    `role` is `matrix` (2-D product), `experts` (3-D product by expert), `output` (the output matrix), `tied`
    (an embedding that is the output matrix too), `embedding`, `other`, or `nextn` (of the last layers, which only predict further
    tokens: the engine does not load them unless it is asked to draft). `rows_divisor` is the largest of 32, 16, 8, 4, 1 that
    divides the number of rows (the second dimension).
    """

    type: str
    role: str
    rows_divisor: int
    count: int
    bytes: int


class Seen:
    """Names that occurred, in 16 to 32 bytes each whatever their length: a table of hashes with open addressing.

    Two different names are taken for one in one of 2^64 pairs: a sound file of a million tensors is refused once in 4e7 times.
    """

    def __init__(self) -> None:
        self._table, self._count = array("q", bytes(8 << 10)), 0

    def add(self, name: bytes) -> bool:
        """False when the name was here before."""
        if 2 * self._count >= len(self._table):
            old, self._table = self._table, array("q", bytes(16 * len(self._table)))
            for mark in old:
                if mark:
                    self._table[self._place(mark)] = mark
        mark = hash(name) or 1
        place = self._place(mark)
        if self._table[place]:
            return False
        self._table[place] = mark
        self._count += 1
        return True

    def _place(self, mark: int) -> int:
        """Where a mark is, or the free place where it belongs."""
        table, last = self._table, len(self._table) - 1
        place = mark & last
        while table[place] and table[place] != mark:
            place = (place + 1) & last
        return place


class _Spans:
    """Where the data of each tensor lies: its start, its end, its number, and the byte of the header that says so.

    Only the first `SORTED_AT_MOST` are kept, for sorting; when there are more, all must be in order.
    """

    def __init__(self) -> None:
        self.kept: list[tuple[int, int, int, int]] = []
        self.last = self.furthest = (0, 0, 0, 0)
        self.in_order = True

    def add(self, cursor: Cursor, index: int, offset: int, size: int, place: int) -> None:
        """Raises when the data is behind the end of the file, or in the tensor before."""
        end, most = offset + size, LARGEST if cursor.source.size is None else cursor.source.size
        cursor.field = f"tensor data of {cursor.field}"
        if end > most:
            raise cursor.error("Tensor data reaches behind the end of the file", f"offset {offset}, {size} bytes, the file has {most}", offset=place)
        if self.last[0] <= offset < self.last[1]:
            raise cursor.error("Two tensors overlap", f"offset {offset}, the tensor before ends at {self.last[1]}", offset=place)
        self.in_order = self.in_order and offset >= self.last[1]
        self.last = (offset, end, index, place)
        self.furthest = max(self.furthest, self.last, key=_end)
        if index < SORTED_AT_MOST:
            self.kept.append(self.last)
        elif not self.in_order:
            raise cursor.error(f"More than {SORTED_AT_MOST} tensors must be in the order of their data", f"offset {offset}", offset=place)

    def check(self, cursor: Cursor, data: int) -> None:
        """All tensors together; `data` is the byte at which their data starts."""
        before = (0, 0, 0, 0)
        for span in [] if self.in_order else sorted(self.kept):
            if span[0] < before[1]:
                raise self._error(cursor, span, "Two tensors overlap", f"offset {span[0]}, tensor {before[2]} ends at {before[1]}")
            before = span
        end = self.furthest[1]
        if end and cursor.source.size is not None and data + end > cursor.source.size:
            raise self._error(cursor, self.furthest, "Tensor data reaches behind the end of the file",
                              f"{data + end} bytes needed, the file has {cursor.source.size}")

    def _error(self, cursor: Cursor, span: tuple[int, int, int, int], what: str, got: str) -> GgufError:
        cursor.field = f"tensor data of tensor {span[2]}"
        return cursor.error(what, got, offset=span[3])


def _end(span: tuple[int, int, int, int]) -> int:
    return span[1]


def read_tensors(cursor: Cursor, count: int, alignment: int, names: Seen, layers: int | None) -> tuple[TensorGroup, ...]:
    """Read `count` tensor infos at the cursor and check each against the file; returns their sums.

    `names` are those of the parts before. From layer number `layers` on the tensors are `nextn`; None when no layer is.
    A million tensors, the most there may be, take 43 MB and 6 s.
    """
    spans = _Spans()
    sums: dict[tuple[str, str, int], list[int]] = {}
    for index in range(count):
        if index % 4096 == 0:
            cursor.check_time()
        kind, size = _read_info(cursor, index, alignment, names, spans, layers)
        total = sums.setdefault(kind, [0, 0])
        total[0] += 1
        total[1] += size
    cursor.field = "tensor data"
    spans.check(cursor, (cursor.offset + alignment - 1) // alignment * alignment)
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


def _read_info(
    cursor: Cursor, index: int, alignment: int, names: Seen, spans: _Spans, layers: int | None,
) -> tuple[tuple[str, str, int], int]:
    """One tensor info (name, dimensions, type, offset): its type, role and row divisor, and its bytes."""
    cursor.field = f"tensor {index}"
    start = cursor.offset
    raw = cursor.take(cursor.length(cursor.limits.tensor_name_bytes, "tensor name"))
    cursor.field = f"tensor {index} {printable(raw)}".rstrip()
    if not raw:
        raise cursor.error("A tensor has no name", "0 bytes", offset=start)
    if not names.add(raw):
        raise cursor.error("A tensor occurs twice", f"tensor {index}", offset=start)
    start = cursor.offset
    count = cursor.number(U32)
    if count not in _SHAPES:
        raise cursor.error("A tensor must have 1 to 4 dimensions", str(count), offset=start)
    *shape, number, offset = cursor.unpack(_SHAPES[count])
    elements = 1
    for position, dimension in enumerate(shape):
        if not 1 <= dimension <= cursor.limits.dimension:
            raise cursor.error(f"A dimension of a tensor is not in 1 to {cursor.limits.dimension}", str(dimension), offset=start + 4 + 8 * position)
        elements *= dimension
    if number not in TYPES:
        raise cursor.error("A tensor has an unknown type", str(number), "Update the collection, or choose another quant.", offset=cursor.offset - 12)
    kind, block, block_bytes = TYPES[number]
    if shape[0] % block:
        raise cursor.error(f"A row of a tensor is not made of whole {kind} blocks", f"{shape[0]} elements, blocks of {block}", offset=start + 4)
    if offset % alignment:
        raise cursor.error(f"The offset of a tensor is not a multiple of {alignment}", str(offset), offset=cursor.offset - 8)
    size = elements // block * block_bytes
    spans.add(cursor, index, offset, size, cursor.offset - 8)
    role = "nextn" if layers is not None and _layer(raw) >= layers else _role(raw, shape)
    return (kind, role, _divisor(shape)), size


def _role(name: bytes, shape: Sequence[int]) -> str:
    """How the engine uses a tensor; decides whether it is copied when weights are repacked."""
    if name == b"token_embd.weight":
        return "tied"
    if name == b"output.weight":
        return "output"
    if name in LOOKED_UP:
        return "embedding"
    dimensions = len(shape)
    while dimensions > 1 and shape[dimensions - 1] == 1:
        dimensions -= 1
    if dimensions == 3 and b"_exps" in name:
        return "experts"
    return "matrix" if dimensions == 2 else "other"


def _layer(name: bytes) -> int:
    """The number of the layer in a tensor's name; -1 outside of layers."""
    head, _dot, rest = name.partition(b".")
    number = rest.partition(b".")[0]
    return int(number) if head == b"blk" and number.isdigit() else -1


def _divisor(shape: Sequence[int]) -> int:
    rows = shape[1] if len(shape) > 1 else 1
    return next((divisor for divisor in ROW_DIVISORS if rows % divisor == 0), 1)
