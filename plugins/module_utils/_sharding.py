# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""One model over a server and RPC workers: which layers go where, what that takes, what the network costs.

As seen on LocalAI v4.9.0 with llama.cpp's RPC: the last `gpu_layers` of the layers, the output matrix counted as one more, go to the
workers in their order, `tensor_split` to each; the first layers and the token embedding stay on the server. A worker holds its weights
in anonymous memory and serves one connection, so it belongs to one model.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping, Sequence

from ._budget import Room
from ._gguf import Header
from ._memory import MIB, Memory
from ._shape import shape_of

WORKER_ANONYMOUS = 64 * MIB
"""A worker's own processes: 33 MiB idle for LocalAI, seen on v4.9.0; the rest is for tensors on their way."""
WORKER_FILES = 64 * MIB
"""Page cache of a worker's programs."""
WEIGHT_MARGIN_PERCENT = 10
"""Layers of one file differ in size (Q4_K_M has Q6_K in some of them), and the header keeps only their sum."""
STAGE_BYTES = 12_500
"""Bytes a token between two stages besides the row itself: 15 KB seen with rows of 640 numbers."""
ROUND_TRIPS = 1.5
"""Round trips a token and worker: 46 ms more at 20 ms and 150 ms more at 50 ms, seen with two workers."""
SLOW_MILLISECONDS = 1.0
"""A worker behind a longer round trip is refused."""


@dataclass(frozen=True)
class Split:
    """Layers of the server, and of each worker in order (the last one's with the output matrix); bytes of each worker.

    `unloaded`: layers that only predict further tokens. They take nothing, but the engine counts them, between the others and the output.
    """

    server_layers: int
    layers: tuple[int, ...]
    bytes: tuple[int, ...]
    unloaded: int = 0

    @property
    def gpu_layers(self) -> int:
        return sum(self.layers) + self.unloaded

    @property
    def tensor_split(self) -> str:
        return ",".join(str(count) for count in (*self.layers[:-1], self.layers[-1] + self.unloaded))


@dataclass(frozen=True)
class _Parts:
    """Bytes of each layer with its cache and state, and of the output matrix."""

    layers: tuple[int, ...]
    output: int


def split(header: Header, memory: Memory, workers: Sequence[Room]) -> Split | None:
    """The layers of a model over workers, in proportion to their memory where that fits; None when they cannot hold it in this order.

    The last worker gets the output matrix, so it should have the most memory. The server keeps as few layers as the workers
    leave to it: a share on the server was a fifth slower in the measurements.
    """
    parts = _parts(header, memory)
    fixed = WORKER_ANONYMOUS + memory.compute
    rooms = [room.usable - fixed for room in workers]
    if min(rooms) <= 0:
        return None
    for kept in range(len(parts.layers)):
        sizes = [*parts.layers[kept:], parts.output]
        if sum(sizes) > sum(rooms):
            continue
        for counts in (_shares(sizes, rooms), _filled(sizes, rooms)):
            taken = _sums(sizes, counts)
            if min(counts) > 0 and sum(counts) == len(sizes) and all(size <= room for size, room in zip(taken, rooms)):
                return Split(kept, tuple(counts), tuple(size + fixed for size in taken), header.get("block_count") - len(parts.layers))
    return None


def server_part(header: Header, memory: Memory, layers: int) -> Memory:
    """What the server takes of a model of which it keeps the first `layers`.

    Their weights, cache and state; the embedding stays mapped. What every process of the engine has (compute, output, base)
    and what the server alone keeps (prompt cache, checkpoints) stays whole.
    """
    every = _layer_caches(header, memory)
    full, window, state = (sum(layer[term] for layer in every[:layers]) for term in range(3))
    count = len(every)
    repack = memory.repack * layers // count
    file = _embedding_bytes(header) + (layers_bytes(header) * layers // count)
    less = sum((memory.kv_full - full, memory.kv_window - window, memory.state - state, memory.repack - repack))
    return replace(memory, kv_full=full, kv_window=window, state=state, repack=repack, file=file, anonymous=memory.anonymous - less,
                   file_backed=min(memory.file_backed, file))


def worker_terms(header: Header, memory: Memory, layers: Sequence[int]) -> list[dict[str, int]]:
    """What the bytes of each worker with so many `layers` are made of; what is nothing is left out.

    `weights` are a layer's share of all weights and a tenth, as often as it has layers; the last of the last worker's layers is the output matrix.
    """
    caches, weights = _layer_caches(header, memory), _layer_weights(header)
    start, found = len(caches) + 1 - sum(layers), []
    for index, count in enumerate(layers):
        last = index == len(layers) - 1
        own = caches[start:start + count - last]
        start += count
        terms = {"process": WORKER_ANONYMOUS, "compute": memory.compute, "weights": weights * len(own), "cache": sum(map(sum, own)),
                 "output": _output_bytes(header) if last else 0}
        found.append({name: size for name, size in terms.items() if size})
    return found


def bytes_per_token(header: Header, workers: int) -> int:
    """What a token sends over the network: its logits from the last worker, and a row of numbers into each stage."""
    return 4 * header.vocab_size + workers * (STAGE_BYTES + 4 * (header.get("embedding_length") or 0))


def network_milliseconds(workers: Sequence[str], round_trips: Mapping[str, float]) -> float | None:
    """What a token waits for the network; None when no round trip is known."""
    known = [round_trips[name] for name in workers if name in round_trips]
    return round(ROUND_TRIPS * sum(known), 3) if len(known) == len(workers) else None


def _layer_caches(header: Header, memory: Memory) -> list[tuple[int, int, int]]:
    """Bytes of each layer's full cache, window cache and state: its part of each term."""
    layers = shape_of(header).layers
    rows = [layer.kv_heads * (layer.key + layer.value) for layer in layers]
    full = sum(row for row, layer in zip(rows, layers) if not layer.window) or 1
    window = sum(row for row, layer in zip(rows, layers) if layer.window) or 1
    recurrent = sum(layer.recurrent for layer in layers) or 1
    return [(0 if layer.window else -(-memory.kv_full * row // full), -(-memory.kv_window * row // window) if layer.window else 0,
             -(-memory.state // recurrent) if layer.recurrent else 0) for row, layer in zip(rows, layers)]


def _parts(header: Header, memory: Memory) -> _Parts:
    weights = _layer_weights(header)
    return _Parts(tuple(weights + sum(cache) for cache in _layer_caches(header, memory)), _output_bytes(header))


def _layer_weights(header: Header) -> int:
    """The weights that a worker is planned to hold for a layer."""
    return -(-layers_bytes(header) * (100 + WEIGHT_MARGIN_PERCENT) // (100 * len(shape_of(header).layers)))


def _bytes(header: Header, *roles: str) -> int:
    return sum(group.bytes for group in header.tensors or () if group.role in roles)


def _output_bytes(header: Header) -> int:
    """The output matrix, which is a copy of the embedding where the file has none. Without tensor infos a fifth of the file."""
    return (header.file_size or 0) // 5 if header.tensors is None else _bytes(header, "output", "tied")


def _embedding_bytes(header: Header) -> int:
    return (header.file_size or 0) // 5 if header.tensors is None else _bytes(header, "embedding", "tied")


def layers_bytes(header: Header) -> int:
    """Bytes of the weights of all layers; the whole file where tensor infos were not read."""
    return (header.file_size or 0) if header.tensors is None else _bytes(header, "matrix", "experts", "other")


def _shares(sizes: Sequence[int], rooms: Sequence[int]) -> list[int]:
    """How many of these layers each worker gets, in order: a layer goes where its middle falls on the rooms laid end to end."""
    counts, total, passed, index, end = [0] * len(rooms), sum(sizes), 0, 0, rooms[0]
    for size in sizes:
        middle = (2 * passed + size) * sum(rooms) // (2 * total)
        while middle >= end and index < len(rooms) - 1:
            index += 1
            end += rooms[index]
        counts[index] += 1
        passed += size
    return counts


def _filled(sizes: Sequence[int], rooms: Sequence[int]) -> list[int]:
    """How many of these layers each worker gets when each takes all that it can hold and leaves one to each that follows."""
    counts, start = [], 0
    for index, room in enumerate(rooms):
        end, most = start, len(sizes) - (len(rooms) - 1 - index)
        while end < most and sizes[end] <= room:
            room -= sizes[end]
            end += 1
        counts.append(end - start)
        start = end
    return counts


def _sums(sizes: Sequence[int], counts: Sequence[int]) -> list[int]:
    sums, start = [], 0
    for count in counts:
        sums.append(sum(sizes[start:start + count]))
        start += count
    return sums
