# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a plan says to people: refusals with what would help, warnings of hosts, advice for models."""
from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ._assign import Board
from ._budget import Room, more_disk, more_memory
from ._fleet import DISTRIBUTED, Fleet, Model
from ._needs import Needs
from ._plan import RESIDENT, Instance, PlannedHost, Refusal, Shard, gib, some
from ._plan_view import plural
from ._scope import Scope
from ._sharding import server_part, split
from ._threads import default_reserve, proposed_reserve
from ._tuning import told

SMALL_MEMORY_BYTES = 3_750_000_000
"""Below this a host counts as having less than 4 GB: firmware and kernel keep some of what is built in."""
SMALL_CORES = 2


def too_few(models: Mapping[str, Model], scope: Scope, fleet: Fleet) -> Iterable[Refusal]:
    """For each model that asks for more hosts than may run it, one that may not where there is one."""
    known = some(sorted({label for labels in fleet.labels.values() for label in labels})) or "none"
    for name, model in models.items():
        may, labels = scope.candidates[name], model.wanted.labels
        if len(may) < (model.replicas or 1):
            asked = (plural(model.replicas, "server") if model.replicas else "every server") + (f" with the labels {', '.join(labels)}" if labels else "")
            there = f"there are {len(may)}" if len(may) > 1 else "there is 1" if may else "there is none"
            do = f"set common_labels of a host; known labels are {known}." if labels else "add a host."
            do = f"Lower replicas, or {do}" if may else do[0].upper() + do[1:]
            host = next((host for host in scope.serving if host not in may), scope.serving[0])
            yield Refusal(name, host, f"{name} is wanted on {asked}, and {there}. {do}", 0, {})


def refusals(board: Board, needs: Needs, workers: Sequence[Room]) -> Iterable[Refusal]:
    """For each model on fewer hosts than asked for, every host that it may run on and that has no place for it."""
    for name in board.models:
        if not board.unmet(name):
            continue
        others = tuple(host for host, room in board.rooms.items() if host not in board.candidates[name] and board.fits(name, room))
        for host in board.candidates[name]:
            if host not in board.placed[name] and not board.fits(name, board.rooms[host]):
                yield _refusal(board, needs, name, board.rooms[host], others, workers)


def _refusal(board: Board, needs: Needs, name: str, room: Room, others: tuple[str, ...], workers: Sequence[Room]) -> Refusal:
    """What keeps a model out of a room, with what would help."""
    room, wanted, memory = board.offered(name, room), board.models[name].wanted, board.need(name, room)
    elsewhere = f" {some(others)} would hold it as it is." if others else ""
    neighbours = sorted(board.apart[name].intersection(room.weights))
    if neighbours:
        reason = f"{name} is to be apart from {some(neighbours)}, which {room.name} has. Lower replicas, or add a host.{elsewhere}"
        return Refusal(name, room.name, reason, 0, {}, others)
    left = room.left(wanted.residency)
    lacks, lacks_disk = memory.anonymous - left, room.lacks_disk(name, memory)
    disk = more_disk(room, lacks_disk) if lacks_disk else 0
    file = (f"a file of {gib(memory.file)}, and {room.name} has {gib(room.disk or 0)} of disk for it beside what must stay free: "
            f"{_short(lacks_disk, disk)}. Free some disk, or choose another host.") if lacks_disk else ""
    if lacks <= 0:
        return Refusal(name, room.name, f"{name} has {file}{elsewhere}", disk, {}, others)
    change = {} if file else needs.nearest(name, room.capacity.isa, left) or _split_change(needs, name, room, workers)
    others_there = f" beside {some(sorted(room.weights))}" if room.weights else ""
    needed, there = (gib(memory.anonymous), gib(left)) if gib(memory.anonymous) != gib(left) else (f"{memory.anonymous} bytes", f"{left} bytes")
    has = f"has {there}" if left >= 0 else f"lacks {gib(-left)} even for an empty container"
    short = more_memory(room, lacks)
    reason = (f"{name} needs {needed} of memory besides its file, and {room.name} {has}{others_there}: "
              f"{_short(lacks, short)}. {f'It also has {file}' if file else _way_out(change)}{elsewhere}")
    return Refusal(name, room.name, reason, short, change, others)


def _short(lacks: int, short: int) -> str:
    """What is missing, and what the host needs more for it where a share of that is kept from models too."""
    host = "" if short == lacks else f", for which the host needs {gib(short)} ({short} bytes) more"
    return f"{gib(lacks)} ({lacks} bytes) short{host}"


def _split_change(needs: Needs, name: str, room: Room, workers: Sequence[Room]) -> dict[str, Any]:
    """The fewest workers, the largest first, that would hold the model together with this server."""
    wanted = needs.models[name].wanted
    if name in needs.kept or not workers or wanted.residency != RESIDENT or (wanted.replicas or 1) > 1:
        return {}
    memory, header = needs.whole(name, room.capacity.isa), needs.models[name].header
    for count in range(1, len(workers) + 1):
        found = split(header, memory, list(reversed(workers[:count])))
        if found and server_part(header, memory, found.server_layers).anonymous <= room.left(RESIDENT):
            return {"shards": count}
    return {}


def _way_out(change: Mapping[str, Any]) -> str:
    if not change:
        return "No smaller setting makes it fit: choose a smaller model or quant, or a larger host."
    words = ", ".join(f"{name} {value}" for name, value in change.items())
    return f"It would fit with {words}{', by an estimate from bits per weight' if 'quant' in change else ''}."


def warnings(rooms: Mapping[str, Room], planned: Mapping[str, PlannedHost], fleet: Fleet) -> Iterable[Mapping[str, str]]:
    """What an operator should know of each host, plan or no plan."""
    for name, room in rooms.items():
        for message in _host_warnings(room, planned[name]):
            yield {"host": name, "message": message}
        if name not in fleet.reserved_cores and (planned[name].instances or planned[name].workers):
            yield from ({"host": name, "message": message} for message in _busy(room, name in fleet.gateways))
        if fleet.reserved_cores.get(name, 0) >= room.capacity.usable_cores:
            yield {"host": name, "message": f"All {room.capacity.usable_cores} usable cores are reserved for other programs: models get one all the same."}
        if name in fleet.ignored:
            yield {"host": name, "message": fleet.ignored[name]}


def _busy(room: Room, gateway: bool) -> Iterable[str]:
    """A proposal where other programs keep cores busy that the plan gives to models."""
    proposed = proposed_reserve(room.capacity, gateway)
    if proposed > default_reserve(room.capacity, gateway):
        yield (f"Other programs ask for {room.capacity.other_load_cores:.1f} cores now: a thread that has to wait holds up all others. "
               f"If that is how it stays, set common_reserved_cores to {proposed}.")


def _host_warnings(room: Room, host: PlannedHost) -> Iterable[str]:
    capacity, size = room.capacity, room.usable + room.reserved
    if size < SMALL_MEMORY_BYTES:
        yield f"The host has {gib(size)} of memory, less than 4 GB: {gib(max(0, room.left(RESIDENT)))} are left for the memory of further models."
    if capacity.usable_cores < SMALL_CORES:
        yield f"The host has {capacity.usable_cores} usable core, less than 2: one model with one thread answers slowly, more models take turns."
    if capacity.swap_total_bytes:
        yield f"The host has {gib(capacity.swap_total_bytes)} of swap: a model in swap answers very slowly. Turn swap off on servers."
    for instance in host.instances:
        yield from _instance_warnings(instance, host.budget_cores)
    yield from _memory_warnings(room, host)


def _instance_warnings(instance: Instance, budget: int) -> Iterable[str]:
    if instance.file_share < 1:
        files = gib(sum({model.sha256 or model.name: model.memory["file_backed"] for model in instance.models}.values()))
        yield (f"The limit holds {int(instance.file_share * 100)} % of the model files ({files}): the rest is read from disk again and again. "
               "Lower context, slots or prompt cache, or add memory.")
    if instance.residency == RESIDENT and instance.max_active is not None:
        yield (f"{len(instance.models)} models share {plural(instance.max_active, 'core')}: at most {instance.max_active} are loaded at once, and a request "
               "for another one waits until it is loaded. Place less there, or add a host.")
    if instance.residency != RESIDENT and budget < SMALL_CORES:
        yield "Models on demand and resident ones share one core: answers are slow when both run at once."


def _memory_warnings(room: Room, host: PlannedHost) -> Iterable[str]:
    planned = sum(instance.memory_planned for instance in host.instances) + sum(worker.memory_planned for worker in host.workers)
    available, free = room.capacity.memory_available_bytes, room.capacity.store_free_bytes
    files = sum({room.blobs[name]: memory.file for name, memory in {**room.resident, **room.on_demand}.items()}.values())
    if available is not None and available < planned:
        yield f"Other programs on the host leave {gib(available)} of memory now, and the plan needs {gib(planned)}. Stop them, or want less."
    if free is not None and free < files:
        yield f"The store has {gib(free)} of disk left, and the model files take {gib(files)}: those not there yet may not fit."


def advice(board: Board, needs: Needs, shards: Mapping[str, Shard], fleet: Fleet, topology: str) -> Iterable[str]:
    """Hints about models that change nothing."""
    isa = list(board.rooms.values())[0].capacity.isa
    for name, model in board.models.items():
        for note in needs.whole(name, isa).notes:
            yield f"{name}: {note}"
        trained, wanted = model.header.context_length, model.wanted
        if trained and wanted.context > trained * (wanted.slots if wanted.slots > 1 else 1):
            yield f"{name}: context {wanted.context} is more than the {trained} tokens it was trained for."
        if name in shards:
            yield from _shard_advice(board, needs, name, shards[name])
        elif len(board.rooms) > 1 and len(board.placed[name]) == 1:
            yield f"{name}: it runs on one server only, so it does not answer while that one is down."
    yield from (f"{name}: threads {told(fleet.tuning[name])}." for name in sorted(fleet.tuning) if name in board.rooms)
    idle = [name for name in sorted(fleet.workers) if not any(name in shard.workers for shard in shards.values())]
    if idle and topology != DISTRIBUTED:
        words = ("this worker", "a server of it") if len(idle) == 1 else ("these workers", "servers of them")
        yield f"{some(idle)}: no model is split over {words[0]}. Give a model shards, or make {words[1]}."


def _shard_advice(board: Board, needs: Needs, name: str, shard: Shard) -> Iterable[str]:
    waits = "" if shard.network_milliseconds is None else f" and waits {shard.network_milliseconds:g} ms for it"
    yield f"{name}: each token sends about {shard.bytes_per_token // 1000} kB over the network{waits}. While a worker is down it does not answer."
    alone = [host for host, room in board.rooms.items() if _holds_alone(board, needs, name, room)]
    if alone:
        yield f"{name}: {some(alone)} would hold it alone, and it would answer faster there. Leave shards out."


def _holds_alone(board: Board, needs: Needs, name: str, room: Room) -> bool:
    """Whether a host would hold a model that is split as a whole beside all else that it has, with their files."""
    other, model = room.without({name}.intersection(room.weights)), board.models[name]
    other.add(name, needs.whole(name, room.capacity.isa), RESIDENT, model.blob)
    return other.wish <= other.usable
