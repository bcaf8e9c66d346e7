# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Tokens a second that a plan may promise: from what was measured on the host, else nothing."""
from __future__ import annotations

from typing import Any, Mapping

from ._fleet import Model
from ._gguf import Header
from ._tuning import speed


def expected(model: Model, threads: int, tuning: Mapping[str, Any] | None, measured: Model | None) -> float | None:
    """Tokens a second of one answer while nothing else runs, at a short context; None where nothing tells.

    `tuning` is a valid measurement of the host and `measured` the model of it. Another model is as much slower as it reads more
    bytes a token: decoding is bound by memory (tokens/s = bandwidth / bytes of the weights that a token uses).
    """
    if not tuning or not measured:
        return None
    same = speed(tuning, model.blob, threads)
    found = speed(tuning, measured.blob, threads)
    if same is not None or found is None:
        return same
    ours, theirs = bytes_read(model.header), bytes_read(measured.header)
    return round(found * theirs / ours, 2) if ours and theirs else None


def bytes_read(header: Header) -> int | None:
    """Bytes of weights that one token uses: all matrices, of experts those that it is sent to; None without tensor infos."""
    if header.tensors is None:
        return None
    count, used = header.get("expert_count") or 1, header.get("expert_used_count") or 1
    whole = sum(group.bytes for group in header.tensors if group.role in ("matrix", "other", "output", "tied"))
    return whole + sum(group.bytes for group in header.tensors if group.role == "experts") * min(used, count) // count
