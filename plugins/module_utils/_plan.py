# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The plan's parts and their JSON. Sizes are bytes, cores are physical, tuples become lists."""
from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Iterable, Mapping, Sequence

from ._memory import MIB
from ._wanted import RESIDENCIES

SCHEMA = 1
RESIDENT, ON_DEMAND = RESIDENCIES
INSTANCE = "localai"
"""Name of a host's resident instance; on a NUMA node `-node` and its number follow."""
WORKER = "localai-worker"
"""Name of a worker's instance in the distributed mode."""


@dataclass(frozen=True)
class PlannedModel:
    """A model on an instance. `context` in tokens over all slots, `prompt_cache` and `memory` in bytes.

    `sha256` is its first file; `files` are the digests of all of them, the shards of a split set in order. `projector` is the digest of
    the file that reads images, `image_tokens` the limit of one image (0: the engine has its own).
    """

    name: str
    sha256: str | None
    kind: str
    threads: int
    threads_batch: int
    context: int
    slots: int
    unified: bool
    batch: int
    kv_type: str
    prompt_cache: int
    checkpoints: int
    aliases: tuple[str, ...]
    memory: Mapping[str, int]
    expected_tokens_per_second: float | None = None
    files: tuple[str, ...] = ()
    projector: str | None = None
    image_tokens: int = 0


@dataclass(frozen=True)
class Instance:
    """One container. `memory_planned`: bytes that cannot be dropped; `memory_limit`: they and `file_share` of the files.

    `node` is a NUMA node's number, or None for the whole host. `residency` is `resident` (every model stays loaded) or
    `on_demand` (one model at a time, loaded when it is asked for).
    """

    name: str
    node: int | None
    residency: str
    cpuset: str | None
    cpus: float
    threads: int
    max_active: int | None
    memory_limit: int
    memory_planned: int
    file_share: float
    tmp_size: int
    models: tuple[PlannedModel, ...]


@dataclass(frozen=True)
class Worker:
    """A host's part in a model that is split over several: `layers` of it, counted with its output matrix as one."""

    model: str
    layers: int
    cpuset: str | None
    cpus: float
    threads: int
    memory_limit: int
    memory_planned: int


@dataclass(frozen=True)
class Shard:
    """How one model is split. The last `gpu_layers` layers go to `workers`, in their order, `tensor_split` to each.

    `bytes_per_token` cross the network; `network_milliseconds` is what a token waits for it, None when no round trip was measured.
    """

    server: str
    workers: tuple[str, ...]
    gpu_layers: int
    tensor_split: str
    bytes_per_token: int
    network_milliseconds: float | None


@dataclass(frozen=True)
class PlannedHost:
    """A host's budget (cores and bytes), its instances, and what it does as a worker."""

    usable_cores: int
    budget_cores: int
    memory_usable_bytes: int
    memory_reserved_bytes: int
    instances: tuple[Instance, ...]
    workers: tuple[Worker, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """A model that a host cannot hold: the nearest options that would fit, and other hosts that it would fit on (maybe none).

    With `short_by` bytes of memory (or of disk that is free) more the host would hold it, with one less not. 0 where neither is the reason.
    """

    model: str
    host: str
    reason: str
    short_by: int
    fits_with: Mapping[str, Any]
    fits_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The plan. `unmet` names wanted models with fewer places than asked for; `shards` is by model."""

    topology: str
    hosts: Mapping[str, PlannedHost]
    placement: Mapping[str, tuple[str, ...]]
    shards: Mapping[str, Shard]
    refused: tuple[Refusal, ...] = ()
    warnings: tuple[Mapping[str, str], ...] = ()
    advice: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe, the same bytes for the same input."""
        return {"schema": SCHEMA, **_plain(self)}


@lru_cache(maxsize=None)
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries and tuples as lists, all the way down."""
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]


def gib(size: int) -> str:
    """Bytes for people."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{-(-size // MIB)} MiB"


def some(names: Sequence[str]) -> str:
    """Up to five names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def alike(warnings: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Hosts in short and what is said of them, each sentence once."""
    found: dict[str, list[str]] = {}
    for item in warnings:
        found.setdefault(item["message"], []).append(item["host"])
    return [(some(list(dict.fromkeys(hosts))), message) for message, hosts in found.items()]
