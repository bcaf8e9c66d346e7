# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Which model runs where, with which threads and limits. The one decision for the fleet; pure and deterministic.

Every model that stays loaded is planned with all of its memory: LocalAI exceeds its own limit of loaded models when cold requests come
at once. What is loaded on demand has an instance of its own, so that it can take memory from no other model.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Mapping, Sequence

from ._assign import Board, place
from ._budget import CONTROL_BYTES, FRONT_BYTES, GATEWAY_BYTES, Room, budget, node_rooms
from ._capacity import Capacity
from ._fleet import DISTRIBUTED, FEDERATED, SHARDED, Fleet, Model
from ._instances import arrange, frontend, instances, weights
from ._needs import Needs, kind_of
from ._plan import INSTANCE, WORKER, Instance, Plan, PlannedHost, PlannedModel, Shard, Worker, some
from ._remarks import advice, refusals, too_few, warnings
from ._scope import Scope, deployed_limits, previously, scope
from ._sharding import WORKER_FILES, Split, bytes_per_token, network_milliseconds
from ._speed import expected
from ._threads import ModelThreads, Threads, default_reserve, plan_threads
from ._worker_sets import near_workers, worker_sets

STARTS, SEARCHED = 4, 2000
"""Further starts where a model is short, and hosts times models up to which they are made: a start takes up to 50 ms then."""


@dataclass
class _Work:
    """A plan in the making: what it is for, who is who, and what the models need."""

    fleet: Fleet
    scope: Scope
    models: Mapping[str, Model]
    needs: Needs
    hosts_before: Mapping[str, Mapping[str, int]]
    nodes_before: Mapping[str, Mapping[str, int]]
    splits: dict[str, tuple[tuple[str, ...], Split]] = field(default_factory=dict)
    terms: dict[tuple[str, tuple[str, ...]], dict[str, int]] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return WORKER if self.scope.topology == DISTRIBUTED else INSTANCE


def plan_fleet(hosts: Mapping[str, Capacity], models: Sequence[Model], topology: str = "auto", fleet: Fleet = Fleet()) -> Plan:
    """Place every wanted model and set every number of the deployment.

    `hosts` are the capacities of all hosts that the plan is for, by name; models come with their headers and digests. Raises
    `FleetError` for input that contradicts itself (see `scope`); what does not fit is in `refused`.
    """
    found = scope(hosts, models, topology, fleet)
    work = _Work(fleet, found, {model.name: model for model in models}, Needs({model.name: model for model in models}), *previously(fleet.previous))
    rooms = {name: _room(work, name, hosts[name]) for name in sorted({*found.servers, *found.workers, *found.control})}
    work.splits, refused = worker_sets(work.models, work.needs, rooms, found, fleet)
    work.needs.kept.update({name: part.server_layers for name, (_order, part) in work.splits.items()})
    board = _placed(work, rooms)
    work.splits = {name: found for name, found in work.splits.items() if board.placed[name]}  # the others have no server
    shards = _shards(work, board)
    spare = [] if topology not in ("auto", SHARDED) else [
        rooms[name] for name in near_workers(fleet, _by_memory(rooms, found.workers)) if not any(name in shard.workers for shard in shards.values())]
    said: list[Mapping[str, str]] = []
    planned = {name: _planned_host(work, room, said) for name, room in rooms.items()}
    planned = _same_threads(planned) if found.topology == DISTRIBUTED else planned
    refused += [*too_few(work.models, found, fleet), *refusals(board, work.needs, spare)]
    return Plan(
        found.topology, planned, {name: tuple(sorted(board.placed[name])) for name in work.models}, shards, tuple(refused),
        (*warnings(rooms, planned, fleet), *said), tuple(advice(board, work.needs, shards, fleet, found.topology)),
        tuple(name for name in work.models if board.unmet(name)))


def _room(work: _Work, name: str, capacity: Capacity) -> Room:
    """A host's budget, less what else it runs for the fleet."""
    found, others = work.scope, 0
    if name in work.fleet.gateways:
        others += GATEWAY_BYTES + (FRONT_BYTES if found.topology == FEDERATED else 0)
    if name in found.control:
        others += CONTROL_BYTES
    return budget(name, capacity, others, stores=found.topology == DISTRIBUTED and name in found.workers)


def _placed(work: _Work, rooms: dict[str, Room]) -> Board:
    """Models on hosts, as much as can stay where it is. Where that leaves a model short, a new start may serve more of them.

    Where it still does, those that are short choose first in further starts; one that leaves none short is taken.
    """
    board = _tried(work, rooms, work.hosts_before, ())
    if work.hosts_before and board.short:
        anew = _tried(work, rooms, {}, ())
        board = anew if anew.short < board.short else board
    last, first = board, []
    for _number in range(STARTS if board.short and len(rooms) * len(work.models) <= SEARCHED else 0):
        short = [name for name in work.models if last.unmet(name)]
        first = short + [name for name in first if name not in short]
        last = _tried(work, rooms, {}, first)
        if not last.short:
            board = last
            break
    rooms.update(board.rooms)
    return board


def _tried(work: _Work, rooms: Mapping[str, Room], before: Mapping[str, Mapping[str, int]], first: Sequence[str]) -> Board:
    """Every model placed on rooms that were empty."""
    found = work.scope
    stored = {host: {name for name, hosts in work.hosts_before.items() if host in hosts} for host in found.serving}
    fresh = {name: replace(rooms[name], resident={}, on_demand={}, blobs={}, weights={}, stored=frozenset(stored[name])) for name in found.serving}
    candidates = {name: () if model.wanted.shards and name not in work.splits else found.candidates[name] for name, model in work.models.items()}
    board = Board(fresh, work.models, candidates, found.apart, work.needs.memory, work.fleet.placement)
    place(board, before, first)
    return board


def _shards(work: _Work, board: Board) -> dict[str, Shard]:
    """How each model that is split is shared."""
    return {
        name: Shard(min(board.placed[name]), order, found.gpu_layers, found.tensor_split,
                    bytes_per_token(work.models[name].header, len(order)), network_milliseconds(order, work.fleet.round_trip_ms))
        for name, (order, found) in work.splits.items()}


def _by_memory(rooms: Mapping[str, Room], names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (-rooms[name].usable, name))


def _planned_host(work: _Work, room: Room, said: list[Mapping[str, str]]) -> PlannedHost:
    """Threads, limits and models of one host; what to know of them is added to `said`, as warnings."""
    found = work.scope
    if room.name in found.workers and found.topology != DISTRIBUTED:
        return _planned_worker(work, room)
    order = {name: index for index, name in enumerate(work.models)}
    nodes = node_rooms(room, _reserve(work, room))
    parts = arrange(room, nodes, work.splits, work.nodes_before.get(room.name, {}))
    if nodes and parts == (room,) and room.weights:
        said.append({"host": room.name, "message": (
            f"{some(sorted(room.weights))} do not fit into the host's {len(nodes)} memory nodes one by one, so one instance runs over all of them, and "
            "reading another node's memory is slower. Lower context or slots, or place less there.")})
    threads = [_threads(work, part, kept, weights(part, order)) for part, kept in zip(parts, _kept(work, room, parts))]
    if room.weights and any(item.undecided for item in threads):
        said.append({"host": room.name, "message": (
            f"The CPU quota of {room.capacity.quota_cores:g} cores leaves a part of a core, and only a measurement tells whether one more thread is faster. "
            "Run localai.fleet.tune, then localai.fleet.site again.")})
    built: tuple[Instance, ...] = ()
    for part, found_threads in zip(parts, threads):
        built += instances(part, found_threads, order, lambda name, where, pair: _planned_model(work, room, name, where, pair), work.prefix,
                           deployed_limits(work.fleet.previous, room.name))
    if found.topology == DISTRIBUTED and room.name in found.servers:
        built = (frontend(room, threads[0], INSTANCE),)
    return PlannedHost(room.capacity.usable_cores, sum(item.budget for item in threads), room.usable, room.reserved, built)


def _planned_worker(work: _Work, room: Room) -> PlannedHost:
    """A host that computes layers of a model that is split; without one it does nothing."""
    threads = _threads(work, room, _reserve(work, room), [])
    parts = [(name, found, order.index(room.name)) for name, (order, found) in work.splits.items() if room.name in order]
    workers = tuple(
        Worker(name, found.layers[index], threads.cpuset, threads.cpus, threads.models[0].threads,
               max(found.bytes[index], min(room.usable, found.bytes[index] + WORKER_FILES)), found.bytes[index])
        for name, found, index in parts)
    return PlannedHost(room.capacity.usable_cores, threads.budget, room.usable, room.reserved, (), workers)


def _reserve(work: _Work, room: Room) -> int:
    """Cores that a host leaves to others: as many as it is told, else what its size asks for."""
    return work.fleet.reserved_cores.get(room.name, default_reserve(room.capacity, room.name in work.fleet.gateways))


def _kept(work: _Work, room: Room, parts: Sequence[Room]) -> list[int]:
    """Of these cores those that each part keeps: one by one where most are left, and models on demand, which run beside others, give last.

    Unasked, a memory node keeps at least what a host of its size would: small nodes keep nothing themselves.
    """
    left = [part.capacity.usable_cores for part in parts]
    for _core in range(min(_reserve(work, room), sum(left))):
        left[max(range(len(parts)), key=lambda index: (left[index], not parts[index].on_demand, index))] -= 1
    kept = [part.capacity.usable_cores - cores for part, cores in zip(parts, left)]
    if room.name in work.fleet.reserved_cores:
        return kept
    gateway = room.name in work.fleet.gateways
    return [max(cores, default_reserve(part.capacity, gateway and index == 0)) for index, (part, cores) in enumerate(zip(parts, kept))]


def _threads(work: _Work, part: Room, kept: int, loads: Sequence[float]) -> Threads:
    """The threads of a host, or of one of its memory nodes, which leaves so many cores to others."""
    return plan_threads(part.capacity, loads or [1.0], kept, (work.fleet.tuning.get(part.name) or {}).get("threads"))


def _planned_model(work: _Work, host: Room, name: str, part: Room, threads: ModelThreads) -> PlannedModel:
    model, isa = work.models[name], part.capacity.isa
    settings = work.needs.settings(name, isa)
    key = (name, isa)
    if key not in work.terms:
        terms = work.needs.memory(name, isa).as_dict()
        work.terms[key] = {term: size for term, size in terms.items() if term not in ("notes", "repack_exact")}
    tuning = work.fleet.tuning.get(host.name)
    measured = next((other for other in work.models.values() if other.blob == tuning["model"]["sha256"]), None) if tuning else None
    speed = None if name in work.splits else expected(model, threads.threads, _memory_of(host, part), tuning, measured)
    return PlannedModel(
        name=name, sha256=model.sha256 or model.wanted.sha256, kind=kind_of(model.wanted, model.header), threads=threads.threads,
        threads_batch=threads.threads_batch, context=settings.context, slots=settings.slots, unified=settings.unified, batch=settings.batch,
        kv_type=settings.type_k, prompt_cache=settings.prompt_cache, checkpoints=settings.checkpoints, aliases=model.wanted.aliases,
        memory=work.terms[key], expected_tokens_per_second=speed, files=model.files, projector=model.projector,
        image_tokens=settings.image_tokens)


def _memory_of(host: Room, part: Room) -> Capacity:
    """A part's capacity with its share of the host's bandwidth, by channels."""
    whole, bandwidth = host.capacity.memory_channels, host.capacity.memory_bandwidth_bytes_per_second
    if part.node is None or not bandwidth or not whole:
        return part.capacity
    return replace(part.capacity, memory_bandwidth_bytes_per_second=bandwidth * (part.capacity.memory_channels or 0) // whole)


def _same_threads(planned: Mapping[str, PlannedHost]) -> dict[str, PlannedHost]:
    """In the distributed mode a frontend sends one number of threads to every worker of a model: the least of them."""
    least: dict[str, tuple[int, int]] = {}
    for model in (model for host in planned.values() for instance in host.instances for model in instance.models):
        threads, batch = least.get(model.name, (model.threads, model.threads_batch))
        least[model.name] = (min(threads, model.threads), min(batch, model.threads_batch))
    return {name: replace(host, instances=tuple(
        replace(instance, models=tuple(replace(model, threads=least[model.name][0], threads_batch=least[model.name][1]) for model in instance.models))
        for instance in host.instances)) for name, host in planned.items()}
