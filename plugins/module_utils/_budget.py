# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Memory of a host, or of one of its memory nodes, while models are placed on it.

Its budget is its memory without reserved huge pages, less what is left to the system and to what else it runs for the fleet.
A model fits where its anonymous memory fits beside that of the others: anonymous pages cannot be dropped, so a limit
below them kills. Model files are page cache: what does not fit is read again from disk.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Collection, Mapping, TypeVar

from ._capacity import Capacity, node_capacity, usable_nodes
from ._compute import PLANNED_THREADS, THREAD_BYTES
from ._errors import FleetError
from ._memory import MIB, SERVER_ANONYMOUS, SERVER_TMP, Memory
from ._plan import ON_DEMAND, RESIDENT

SYSTEM_RESERVE_BYTES = 512 * MIB
"""Least memory left to the system and the container engine."""
SYSTEM_RESERVE_PERCENT = 5
"""Share of a large host's memory left to the system."""
GATEWAY_BYTES = 128 * MIB
"""Memory left to the proxy on a server that is a gateway too."""
FRONT_BYTES = 64 * MIB
"""Memory left to the front of a federation on a gateway: 38 to 44 MiB idle, seen on LocalAI v4.9.0."""
CONTROL_BYTES = 320 * MIB
"""Memory left to PostgreSQL (47 to 56 MiB idle; 256 for shared buffers and connections) and NATS (4 to 5 MiB idle; 64)."""
SERVER_FILES = 96 * MIB
"""Page cache of the server's and the engine's programs: 76 and 20 MiB RssFile, seen on LocalAI v4.9.0."""
BASE_BYTES = SERVER_ANONYMOUS + SERVER_TMP
"""What an instance takes before it has a model."""
ON_DEMAND_LOADED = 2
"""On-demand models whose memory is planned: LocalAI keeps a second one when cold requests for two come at once."""
NODE_CORES = 2
"""Below this a memory node is too small for an instance of its own."""
DISK_BYTES = 1 << 30
DISK_PERCENT = 5
"""A worker of LocalAI's distributed mode takes a new model only when this much of its disk, or that share, stays free."""

Value = TypeVar("Value")


@dataclass
class Room:
    """Memory in bytes. `node` is a memory node's number, or None for the whole host; `disk` is bytes left for files that are not `stored`, or None."""

    name: str
    capacity: Capacity
    usable: int
    reserved: int = 0
    node: int | None = None
    disk: int | None = None
    stored: frozenset[str] = frozenset()
    resident: dict[str, Memory] = field(default_factory=dict)
    on_demand: dict[str, Memory] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    anonymous: int = 0
    wish: int = 0

    @property
    def load(self) -> float:
        """Expected load a core; exact sums, so that the order of placing does not show."""
        return math.fsum(self.weights.values()) / self.capacity.usable_cores

    @property
    def base(self) -> int:
        """What an instance takes before it has a model, with what the threads of its models keep: together they are no more than the cores."""
        return BASE_BYTES + THREAD_BYTES * max(0, self.capacity.usable_cores - PLANNED_THREADS)

    def left(self, residency: str) -> int:
        """Anonymous bytes that a further model of this residency may take."""
        if residency == RESIDENT:
            return self.usable - self.anonymous - (0 if self.resident else self.base)
        largest = max((memory.anonymous for memory in self.on_demand.values()), default=0)
        return self.usable - self.planned(RESIDENT) - self.base - largest

    def planned(self, residency: str) -> int:
        """Bytes that cannot be dropped of the instance with the models of this residency; 0 without any. On demand the two largest count."""
        models = self.resident if residency == RESIDENT else self.on_demand
        sizes = sorted((memory.anonymous for memory in models.values()), reverse=True)
        return self.base + sum(sizes if residency == RESIDENT else sizes[:ON_DEMAND_LOADED]) if sizes else 0

    def holds(self, name: str, memory: Memory, residency: str) -> bool:
        """Whether a further model fits, with its file where new files count."""
        return memory.anonymous <= self.left(residency) and not self.lacks_disk(name, memory)

    def lacks_disk(self, name: str, memory: Memory) -> int:
        """Bytes of disk that a further model's file lacks; 0 where new files do not count."""
        return 0 if self.disk is None or name in self.stored else max(0, memory.file - self.disk)

    def add(self, name: str, memory: Memory, residency: str, blob: str, weight: float = 1.0) -> None:
        """Place a model."""
        (self.resident if residency == RESIDENT else self.on_demand)[name] = memory
        self.blobs[name], self.weights[name] = blob, weight
        self._count(0 if name in self.stored else memory.file)

    def remove(self, name: str) -> None:
        """Take a model away."""
        memory = self.resident.pop(name) if name in self.resident else self.on_demand.pop(name)
        del self.blobs[name], self.weights[name]
        self._count(0 if name in self.stored else -memory.file)

    def without(self, names: Collection[str]) -> Room:
        """The room as it would be without these models."""
        room = Room(self.name, self.capacity, self.usable, self.reserved, self.node, self.disk, self.stored, _less(self.resident, names),
                    _less(self.on_demand, names), _less(self.blobs, names), _less(self.weights, names))
        room._count(-sum({**self.resident, **self.on_demand}[name].file for name in names if name not in self.stored))
        return room

    def join(self, name: str, source: Room) -> None:
        """Place a model that another room has."""
        memory, residency = (source.resident[name], RESIDENT) if name in source.resident else (source.on_demand[name], ON_DEMAND)
        self.add(name, memory, residency, source.blobs[name], source.weights[name])

    def _count(self, file: int) -> None:
        self.disk = None if self.disk is None else self.disk - file
        parts = ((self.resident, RESIDENT), (self.on_demand, ON_DEMAND))
        self.anonymous = self.planned(RESIDENT) + self.planned(ON_DEMAND)
        self.wish = self.anonymous + sum(files_of(models, residency, self.blobs) for models, residency in parts)


def _less(items: Mapping[str, Value], names: Collection[str]) -> dict[str, Value]:
    return {name: value for name, value in items.items() if name not in names}


def files_of(models: Mapping[str, Memory], residency: str, blobs: Mapping[str, str]) -> int:
    """Bytes of page cache that the instance reads again and again; two models of one file share its pages."""
    sizes = sorted({blobs[name]: memory.file_backed for name, memory in models.items()}.values(), reverse=True)
    return SERVER_FILES + sum(sizes if residency == RESIDENT else sizes[:ON_DEMAND_LOADED]) if sizes else 0


def budget(name: str, capacity: Capacity, others: int = 0, stores: bool = False) -> Room:
    """A host's budget: min(memory, limit) without huge pages, less what the system and `others` (bytes) keep.

    `stores`: LocalAI itself copies model files to this host, and looks at the disk before it does. FleetError when no memory is known.
    """
    if capacity.memory_total_bytes is None and capacity.memory_limit_bytes is None:
        raise FleetError("The memory of a host is not known", f"host {name}", "no memory_total_bytes", "Read its capacity again.")
    memory, free = _memory_of(capacity)
    reserved = system_reserve(memory) + others
    return Room(name, capacity, max(0, free - reserved), reserved, disk=_disk_of(capacity) if stores else None)


def _memory_of(capacity: Capacity) -> tuple[int, int]:
    """Bytes that a host has, and that are not huge pages: those are taken out of its memory, and do not count in the limit of a control group."""
    memory = min(size for size in (capacity.memory_total_bytes, capacity.memory_limit_bytes) if size is not None)
    return memory, min((capacity.memory_total_bytes or memory) - capacity.hugepages_reserved_bytes, memory)


def _disk_of(capacity: Capacity) -> int | None:
    """Bytes that new files may take of the disk that is free; None when that is not known."""
    free = capacity.store_free_bytes
    return None if free is None else max(0, free - max(DISK_BYTES, free * DISK_PERCENT // 100))


def system_reserve(memory: int) -> int:
    """Bytes left to the system of a host with so many bytes."""
    return max(SYSTEM_RESERVE_BYTES, memory * SYSTEM_RESERVE_PERCENT // 100)


def more_memory(room: Room, wanted: int) -> int:
    """Bytes of memory (and of limit) that the host must have more, so that `wanted` more can be used: of those too the system keeps its share."""
    memory, free = _memory_of(room.capacity)
    others = room.reserved - system_reserve(memory)
    return _kept_off(room.usable + wanted + others + memory - free, SYSTEM_RESERVE_BYTES, SYSTEM_RESERVE_PERCENT) - memory


def more_disk(room: Room, wanted: int) -> int:
    """The same of disk that is free, with the new files of what is placed there."""
    return _kept_off((_disk_of(room.capacity) or 0) + wanted, DISK_BYTES, DISK_PERCENT) - (room.capacity.store_free_bytes or 0)


def _kept_off(rest: int, least: int, percent: int) -> int:
    """The smallest size of which `rest` is left when `least` or `percent` of it, whatever is more, is kept."""
    return max(rest + least, 100 * (rest - 1) // (100 - percent) + 1)


def node_rooms(room: Room, kept: int) -> tuple[Room, ...]:
    """The host's memory nodes that can have an instance of their own, each with its share of the budget; none when it is better used as a whole.

    Of the cores that are not `kept` for others, each instance needs one, that of the models on demand too.
    """
    capacity = room.capacity
    if not capacity.cores:  # a capacity that people write need not name them
        return ()
    total = sum(node.memory_bytes or 0 for node in capacity.numa_nodes)
    parts = [node_capacity(capacity, number) for number in usable_nodes(capacity)]
    free = sum(part.usable_cores for part in parts) - kept
    if any(part.usable_cores < NODE_CORES for part in parts) or free < len(parts) + bool(room.on_demand):
        return ()
    return tuple(Room(room.name, part, room.usable * (part.memory_total_bytes or 0) // total, node=part.numa_node) for part in parts)
