# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Tokens a second that a plan may promise: from what was measured on the host, or from the bandwidth of its memory, else nothing."""
from __future__ import annotations

from typing import Any, Mapping

from ._capacity import Capacity
from ._fleet import Model
from ._gguf import Header
from ._shape import largest
from ._tuning import speed


PRACTICE = 0.6
"""What decoding reaches of the bandwidth that the memory has on paper: 0.6 to 0.8 seen."""
SATURATING_THREADS = 2
"""Threads a memory channel from which on the memory is the limit: 2 to 3."""


def expected(model: Model, threads: int, part: Capacity, tuning: Mapping[str, Any] | None, measured: Model | None) -> float | None:
    """Tokens a second of one answer while nothing else runs, at a short context; None where nothing tells.

    Decoding is bound by memory: tokens/s = bandwidth / bytes of the weights that a token uses. `tuning` is a valid measurement
    of the host and `measured` the model of it, which tells what the host reaches with so many threads. Else the bandwidth of
    `part` (the host, or one of its memory nodes) counts, where the threads are enough to use it.
    """
    ours = bytes_read(model.header)
    if tuning and measured:
        same, other = speed(tuning, model.blob, threads), speed(tuning, measured.blob, threads)
        theirs = bytes_read(measured.header)
        return same if same is not None or other is None or not ours or not theirs else round(other * theirs / ours, 2)
    bandwidth, channels = part.memory_bandwidth_bytes_per_second, part.memory_channels
    if not ours or not bandwidth or not channels or threads < SATURATING_THREADS * channels:
        return None
    return round(PRACTICE * bandwidth / ours, 2)


def bytes_read(header: Header) -> int | None:
    """Bytes of weights that one token uses: all matrices, of experts those that it is sent to; None without tensor infos."""
    if header.tensors is None:
        return None
    count, used = header.get("expert_count") or 1, largest(header.get("expert_used_count")) or 1
    whole = sum(group.bytes for group in header.tensors if group.role in ("matrix", "other", "output", "tied"))
    return whole + sum(group.bytes for group in header.tensors if group.role == "experts") * min(used, count) // count
