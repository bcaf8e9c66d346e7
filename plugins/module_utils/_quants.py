# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a model's file would be in a smaller quant: an estimate from bits per weight, to say what would fit."""
from __future__ import annotations

from dataclasses import replace
from typing import Iterator

from ._gguf import Header, TensorGroup
from ._names import FILE_TYPES, parse_name

QUANTS = (("F16", 16.0, "F16"), ("Q8_0", 8.51, "Q8_0"), ("Q6_K", 6.57, "Q6_K"), ("Q5_K_M", 5.71, "Q5_K"), ("Q4_K_M", 4.90, "Q4_K"),
          ("Q3_K_M", 4.00, "Q3_K"), ("Q2_K", 3.35, "Q2_K"))
"""Label, bits per weight (the larger of llama.cpp's two published tables, Llama 2 7B and Llama 3.1 8B), type of most matrices."""
MIXED = {"Q3_K_M": "Q4_K", "Q2_K": "Q4_K"}
"""Quants whose other matrices are of this type, which some processors rewrite in memory though they leave the main one alone: half of all, at most."""


def smaller(header: Header, wanted: str) -> Iterator[tuple[str, Header]]:
    """Each usual quant below a file's own with the header that such a file would have, the largest first.

    `wanted` is the quant that was asked for; the file's own type wins. Nothing for a quant that is not in the table.
    """
    own = FILE_TYPES.get(-1 if header.file_type is None else header.file_type) or parse_name(f"m.{wanted}.gguf").quant
    bits = {label: size for label, size, _type in QUANTS}
    if own not in bits or not header.file_size:
        return
    for label, size, kind in QUANTS:
        if size < bits[own]:
            yield label, _scaled(header, size / bits[own], kind, MIXED.get(label, kind))


def _scaled(header: Header, ratio: float, kind: str, other: str) -> Header:
    """The same model with its matrices in other types; embedding, output and norms stay as they are."""
    if header.tensors is None:
        return replace(header, file_size=int((header.file_size or 0) * ratio))
    groups, less = [], 0
    for group in header.tensors:
        if group.role not in ("matrix", "experts") or group.type == "F32":
            groups.append(group)
            continue
        size = int(group.bytes * ratio)
        less += group.bytes - size
        groups += [TensorGroup(kind, group.role, group.rows_divisor, group.count, size - size // 2),
                   TensorGroup(other, group.role, group.rows_divisor, group.count, size // 2)]
    return replace(header, file_size=(header.file_size or 0) - less, tensors=tuple(groups))
