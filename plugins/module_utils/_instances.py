# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The instances of a host: one for the whole host or one a memory node, one more for what is loaded on demand, and their limits."""
from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Callable, Collection, Mapping, Sequence

from ._budget import BASE_BYTES, SERVER_FILES, Room, files_of
from ._errors import FleetError
from ._memory import MIB, SERVER_TMP
from ._plan import ON_DEMAND, RESIDENT, Instance, PlannedModel, gib
from ._threads import SERVER_CORES, ModelThreads, Threads

STEADY_PERCENT = 10
"""A deployed memory limit stays when it is at most this much larger than a new one would be: a container is not made anew for less."""
STEADY_LESS = 32 * MIB
"""And when it is at most this much smaller: of SERVER_FILES a third is read when the server starts and hardly ever again."""

MakeModel = Callable[[str, Room, ModelThreads], PlannedModel]


@dataclass(frozen=True)
class _Limit:
    limit: int
    planned: int
    share: float


def arrange(room: Room, nodes: Sequence[Room], once: Collection[str], before: Mapping[str, int]) -> tuple[Room, ...]:
    """The host's models on its memory nodes, or the host's room as it is where they do not fit its nodes.

    Every model gets an instance on each node, so that all cores and channels work for whatever is asked for, with caches and rewritten
    weights on the node of the threads that read them (pages of a mapped file lie where they were read first). Where memory does not hold
    that, each model gets one node. `once` names models that run once whatever there is room for; what is loaded on demand runs once too.
    `before`: the node that a model is on.
    """
    if not nodes or not room.weights:
        return (room,)
    several = [name for name in room.resident if name not in once]
    single = [(name,) for name in room.resident if name in once] + ([tuple(room.on_demand)] if room.on_demand else [])
    for items, copied in ((single, several), (single + [(name,) for name in several], [])):
        found = [Room(node.name, node.capacity, node.usable, node=node.node) for node in nodes]
        for part in found:
            for name in copied:
                part.join(name, room)
        if all(part.wish <= part.usable for part in found) and _distribute(found, items, room, before):
            return tuple(found)
    return (room,)


def instances(
    part: Room, threads: Threads, order: Mapping[str, int], make: MakeModel, prefix: str, deployed: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Instance, ...]:
    """The instances of a room, whose `threads` are those of its resident models, then of one model on demand.

    `deployed`: the memory limits of the instances that run on the host, by name; what is about right stays, so that no container is made anew.
    """
    names = {RESIDENT: sorted(part.resident, key=order.__getitem__), ON_DEMAND: sorted(part.on_demand, key=order.__getitem__)}
    limits = _steady(part, _limits(part), {residency: deployed.get(_name(part, residency, prefix)) for residency in names})
    found = []
    for residency in (residency for residency in (RESIDENT, ON_DEMAND) if names[residency]):
        chosen, limit = names[residency], limits[residency]
        pairs = threads.models[:len(chosen)] if residency == RESIDENT else threads.models[-1:] * len(chosen)
        at_once = pairs if residency == RESIDENT else pairs[:1]
        found.append(Instance(
            _name(part, residency, prefix), part.node, residency, threads.cpuset, _cpus(threads, at_once),
            min(threads.server, sum(pair.threads for pair in at_once)), _max_active(part, threads, residency), limit.limit, limit.planned,
            limit.share, SERVER_TMP, tuple(make(name, part, pair) for name, pair in zip(chosen, pairs))))
    return tuple(found)


def frontend(room: Room, threads: Threads, name: str) -> Instance:
    """An instance without models: it hands requests to workers. FleetError when the host has not even memory for that."""
    if room.usable < BASE_BYTES:
        raise FleetError("The host has no memory for a frontend", f"host {room.name}", f"{gib(room.usable)}, {gib(BASE_BYTES)} needed", "Use a larger host.")
    limit = min(_up(BASE_BYTES + SERVER_FILES), room.usable // MIB * MIB)
    share = 1.0 if limit >= BASE_BYTES + SERVER_FILES else (limit - BASE_BYTES) * 100 // SERVER_FILES / 100
    return Instance(name, None, RESIDENT, threads.cpuset, threads.cpus, threads.server, None, limit, BASE_BYTES, share, SERVER_TMP, ())


def weights(part: Room, order: Mapping[str, int]) -> list[float]:
    """Expected load of what can run at the same time: each resident model in the wanted order, then one of those on demand."""
    resident = [part.weights[name] for name in sorted(part.resident, key=order.__getitem__)]
    return resident + ([max(part.weights[name] for name in part.on_demand)] if part.on_demand else [])


def _distribute(parts: Sequence[Room], items: Sequence[tuple[str, ...]], room: Room, before: Mapping[str, int]) -> bool:
    """Each item to one of the rooms with all its memory and files, the largest first; where it is, while it fits. False when one fits none."""
    sizes = {**room.resident, **room.on_demand}
    for item in sorted(items, key=lambda names: (-sum(sizes[name].anonymous for name in names), names)):
        choices = sorted(parts, key=lambda part: (part.node != before.get(item[0]), part.wish - part.usable, part.node))
        if not any(_join(part, item, room) for part in choices):
            return False
    return True


def _join(part: Room, item: Sequence[str], room: Room) -> bool:
    for name in item:
        part.join(name, room)
    if part.wish <= part.usable:
        return True
    for name in item:
        part.remove(name)
    return False


def _limits(part: Room) -> dict[str, _Limit]:
    """Limits that hold everything, or what cannot be dropped and an equal share of every file."""
    kinds = ((RESIDENT, part.resident), (ON_DEMAND, part.on_demand))
    planned = {residency: part.planned(residency) for residency, models in kinds if models}
    files = {residency: files_of(models, residency, part.blobs) for residency, models in kinds if models}
    found = {}
    enough = sum(_up(planned[residency] + files[residency]) for residency in planned) <= part.usable // MIB * MIB
    spare = part.usable - sum(planned.values())
    for residency, least in planned.items():
        wish = least + files[residency]
        limit = _up(wish) if enough else min(_up(wish), (least + spare * files[residency] // sum(files.values())) // MIB * MIB)
        share = 1.0 if limit >= wish else max(0, (limit - least) * 100 // files[residency]) / 100
        found[residency] = _Limit(max(limit, least), least, share)
    return found


def _steady(part: Room, limits: Mapping[str, _Limit], deployed: Mapping[str, int | None]) -> Mapping[str, _Limit]:
    """The limits, each with the deployed one in its place where that is enough and not much more, and where all together still fit."""
    kept = {residency: _keep(limit, deployed.get(residency)) for residency, limit in limits.items()}
    return kept if sum(limit.limit for limit in kept.values()) <= max(part.usable, sum(limit.limit for limit in limits.values())) else limits


def _keep(limit: _Limit, deployed: int | None) -> _Limit:
    least = max(limit.planned, limit.limit - (STEADY_LESS if limit.share == 1 else 0))
    steady = deployed is not None and least <= deployed <= limit.limit * (100 + STEADY_PERCENT) // 100
    return replace(limit, limit=deployed) if steady and deployed else limit


def _cpus(threads: Threads, at_once: Sequence[ModelThreads]) -> float:
    """The CPU limit of an instance: that of all instances of its room, or less where it has only a part of the threads."""
    return min(threads.cpus, max(sum(pair.threads for pair in at_once), sum(pair.threads_batch for pair in at_once)) + SERVER_CORES)


def _max_active(part: Room, threads: Threads, residency: str) -> int | None:
    """How many models may be loaded at once: one on demand; of the resident ones all, unless they outnumber the cores."""
    if residency == ON_DEMAND:
        return 1
    free = max(1, threads.budget - (1 if part.on_demand else 0))
    return free if len(part.resident) > free else None


def _name(part: Room, residency: str, prefix: str) -> str:
    if residency == ON_DEMAND:
        return f"{prefix}-ondemand"
    return prefix if part.node is None else f"{prefix}-node{part.node}"


def _up(size: int) -> int:
    return -(-size // MIB) * MIB
