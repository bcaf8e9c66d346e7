# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Which model runs where, with which threads and limits. The one decision for the fleet; pure and deterministic.

A host's budget is its memory without reserved huge pages, what the system keeps, and the proxy on gateways.
A model is placed where its anonymous memory fits beside that of the others: anonymous pages cannot be
dropped, so a limit below them kills. Model files are page cache: what does not fit is read again from disk.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Sequence

from ._capacity import Capacity
from ._errors import FleetError
from ._gguf import Header
from ._memory import MIB, SERVER_ANONYMOUS, SERVER_TMP, Memory
from ._needs import Needs, kind_of, settings_of
from ._plan import INSTANCE, RESIDENT, Instance, Plan, PlannedHost, PlannedModel, Refusal, gib, some
from ._threads import plan_threads
from ._wanted import WantedModel

TOPOLOGIES = ("standalone", "replicated")
SYSTEM_RESERVE_BYTES = 512 * MIB
"""Least memory left to the system and the container engine."""
SYSTEM_RESERVE_PERCENT = 5
"""Share of a large host's memory left to the system."""
GATEWAY_BYTES = 128 * MIB
"""Memory left to the proxy on a server that is a gateway too."""
SERVER_FILES = 96 * MIB
"""Page cache of the server's and the engine's programs: 76 and 20 MiB RssFile, seen on LocalAI v4.9.0."""
SMALL_MEMORY_BYTES = 3_750_000_000
"""Below this a host counts as having less than 4 GB: firmware and kernel keep some of what is built in."""
SMALL_CORES = 2


@dataclass
class _Host:
    """A host while models are being placed on it; bytes."""

    name: str
    capacity: Capacity
    usable: int
    reserved: int
    models: list[str] = field(default_factory=list)
    anonymous: int = SERVER_ANONYMOUS + SERVER_TMP
    files: dict[str, int] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """Anonymous bytes that a further model may take."""
        return self.usable - self.anonymous

    @property
    def wish(self) -> int:
        """The limit that holds everything, files too."""
        return self.anonymous + sum(self.files.values()) + SERVER_FILES

    def add(self, name: str, memory: Memory, blob: str) -> None:
        self.models.append(name)
        self.anonymous += memory.anonymous
        self.files[blob] = memory.file_backed  # two models of one file share its pages


def plan_fleet(hosts: Mapping[str, Capacity], models: Sequence[WantedModel], headers: Mapping[str, Header], topology: str | None = None,
               gateways: Iterable[str] = (), digests: Mapping[str, str] | None = None, previous: Mapping[str, Any] | None = None) -> Plan:
    """Place every wanted model and set every number of the deployment.

    `hosts` are the servers; `headers` and `digests` (sha256) are by model name; `previous` is an earlier plan as a
    dictionary: replicas stay where they are when they still fit. Raises `FleetError` for input that contradicts
    itself (a pinned host that is not there, a standalone fleet of two); what does not fit is in `refused`.
    """
    gates = frozenset(gateways)
    _check(hosts, models, headers)
    chosen = _topology(topology, len(hosts))
    needs = Needs({model.name: model for model in models}, headers)
    blobs = {model.name: (digests or {}).get(model.name) or model.sha256 or model.name for model in models}
    states = {name: _host(name, hosts[name], name in gates) for name in sorted(hosts)}
    placement, refused, unmet = _place(states, models, needs, blobs, _placed_before(previous))
    order = {model.name: index for index, model in enumerate(models)}
    planned = {name: _planned_host(state, needs, digests or {}, order) for name, state in states.items()}
    warnings, advice = _warnings(states, planned), _advice(models, needs, states, placement)
    return Plan(chosen, planned, placement, {}, tuple(refused), tuple(warnings), tuple(advice), tuple(unmet))


def _check(hosts: Mapping[str, Capacity], models: Sequence[WantedModel], headers: Mapping[str, Header]) -> None:
    if not hosts:
        raise FleetError("There is no server to plan for", "capacities", "", "Put a host into the group localai_server.")
    for model in models:
        if model.name not in headers:
            raise FleetError("The lock has no header for a wanted model", f"model {model.name}", "", "Complete the lock first.")
        absent = sorted(set(model.hosts) - set(hosts))
        if absent:
            raise FleetError("A model is pinned to a host that is not a server", f"model {model.name}, hosts", ", ".join(absent),
                             f"The servers are {some(sorted(hosts))}.")
        possible = len(model.hosts or hosts)
        if (model.replicas or 0) > possible:
            raise FleetError("A model is wanted on more servers than there are", f"model {model.name}, replicas", f"{model.replicas}, {possible} possible",
                             "Lower replicas, or leave it out for every server.")


def _topology(topology: str | None, count: int) -> str:
    if topology in (None, "auto"):
        return "standalone" if count == 1 else "replicated"
    if topology not in TOPOLOGIES:
        raise FleetError("The topology is not known", "topology", str(topology), f"Use one of {', '.join(TOPOLOGIES)}.")
    if topology == "standalone" and count > 1:
        raise FleetError("A standalone fleet has one server", "topology", f"{count} servers", "Use replicated, or leave topology out.")
    return topology


def _host(name: str, capacity: Capacity, gateway: bool) -> _Host:
    """A host's budget: min(memory, limit) without huge pages, less what the system and the proxy keep."""
    known = [size for size in (capacity.memory_total_bytes, capacity.memory_limit_bytes) if size is not None]
    if not known:
        raise FleetError("The memory of a server is not known", f"host {name}", "no memory_total_bytes", "Read its capacity again.")
    reserved = max(SYSTEM_RESERVE_BYTES, min(known) * SYSTEM_RESERVE_PERCENT // 100) + (GATEWAY_BYTES if gateway else 0)
    # Huge pages are taken out of the host's memory, and do not count in the limit of a control group.
    free = min([(capacity.memory_total_bytes or min(known)) - capacity.hugepages_reserved_bytes, *known])
    return _Host(name, capacity, max(0, free - reserved), reserved)


def _placed_before(previous: Mapping[str, Any] | None) -> Mapping[str, Sequence[str]]:
    found = (previous or {}).get("placement")
    return found if isinstance(found, Mapping) else {}


def _place(states: Mapping[str, _Host], models: Sequence[WantedModel], needs: Needs, blobs: Mapping[str, str],
           before: Mapping[str, Sequence[str]]) -> tuple[dict[str, tuple[str, ...]], list[Refusal], list[str]]:
    """Models for every server (or every pinned one) first, in the wanted order; then replicas, the largest first."""
    everywhere = [model for model in models if model.replicas is None]
    isa = max(states.values(), key=lambda state: (state.usable, state.name)).capacity.isa
    some = sorted((model for model in models if model.replicas is not None), key=lambda model: -needs.memory(model.name, isa).anonymous)
    placement: dict[str, tuple[str, ...]] = {}
    refused: list[Refusal] = []
    for model in everywhere + some:
        found, misses = _place_one(states, model, needs, blobs, before.get(model.name, ()))
        placement[model.name] = found
        refused += misses
    unmet = [model.name for model in models if len(placement[model.name]) < (model.replicas or len(model.hosts or states))]
    return {model.name: placement[model.name] for model in models}, refused, unmet


def _place_one(states: Mapping[str, _Host], model: WantedModel, needs: Needs, blobs: Mapping[str, str],
               before: Sequence[str]) -> tuple[tuple[str, ...], list[Refusal]]:
    """Where one model goes, and the refusals when that is fewer than asked for."""
    candidates = [states[name] for name in sorted(model.hosts or states)]
    fitting = [state for state in candidates if needs.memory(model.name, state.capacity.isa).anonymous <= state.room]
    if model.replicas is not None:
        fitting.sort(key=lambda state: (state.name not in before, state.wish - state.usable, state.name))
    taken = fitting[:model.replicas or len(fitting)]
    for state in taken:
        state.add(model.name, needs.memory(model.name, state.capacity.isa), blobs[model.name])
    missing = len(taken) < (model.replicas or len(candidates))
    refused = [_refusal(state, model, needs) for state in candidates if missing and state not in fitting]
    return tuple(sorted(state.name for state in taken)), refused


def _refusal(state: _Host, model: WantedModel, needs: Needs) -> Refusal:
    memory = needs.memory(model.name, state.capacity.isa)
    room, short = max(0, state.room), memory.anonymous - state.room
    change = needs.nearest(model.name, state.capacity.isa, state.room)
    others = f" beside {some(state.models)}" if state.models else ""
    way_out = f"It would fit with {_words(change)}." if change else "No smaller setting makes it fit: choose a smaller model or quant, or a larger host."
    reason = (f"{model.name} needs {gib(memory.anonymous)} of memory besides its file, and {state.name} has {gib(room)}{others}: "
              f"{gib(short)} ({short} bytes) short. {way_out}")
    return Refusal(model.name, state.name, reason, short, change)


def _planned_host(state: _Host, needs: Needs, digests: Mapping[str, str], order: Mapping[str, int]) -> PlannedHost:
    names = sorted(state.models, key=order.__getitem__)
    threads = plan_threads(state.capacity, [1.0] * max(1, len(names)))
    instances: tuple[Instance, ...] = ()
    if names:
        limit = min(_up(state.wish), state.usable // MIB * MIB)
        files = sum(state.files.values()) + SERVER_FILES
        share = 1.0 if limit >= state.wish else max(0, (limit - state.anonymous) * 100 // files) / 100
        models = tuple(_planned_model(name, state, needs, digests, pair.threads, pair.threads_batch) for name, pair in zip(names, threads.models))
        instances = (Instance(INSTANCE, None, RESIDENT, threads.cpuset, threads.cpus, threads.server, threads.max_active, max(limit, state.anonymous),
                              state.anonymous, share, SERVER_TMP, models),)
    return PlannedHost(state.capacity.usable_cores, threads.budget, state.usable, state.reserved, instances)


def _planned_model(name: str, state: _Host, needs: Needs, digests: Mapping[str, str], threads: int, threads_batch: int) -> PlannedModel:
    wanted, header = needs.models[name], needs.headers[name]
    settings = settings_of(wanted, header, state.capacity.isa)
    memory = needs.memory(name, state.capacity.isa).as_dict()
    return PlannedModel(
        name=name, sha256=digests.get(name) or wanted.sha256, kind=kind_of(wanted, header), threads=threads, threads_batch=threads_batch,
        context=settings.context, slots=settings.slots, unified=settings.unified, batch=settings.batch, kv_type=settings.type_k,
        prompt_cache=settings.prompt_cache, checkpoints=settings.checkpoints, aliases=wanted.aliases,
        memory={term: size for term, size in memory.items() if term not in ("notes", "repack_exact")})


def _warnings(states: Mapping[str, _Host], planned: Mapping[str, PlannedHost]) -> Iterable[Mapping[str, str]]:
    for name, state in states.items():
        for message in _host_warnings(state, planned[name]):
            yield {"host": name, "message": message}


def _host_warnings(state: _Host, host: PlannedHost) -> Iterable[str]:
    """What an operator should know of one host, plan or no plan."""
    capacity, size = state.capacity, state.usable + state.reserved
    left = f"{gib(max(0, state.room))} are left for the memory of further models"
    if size < SMALL_MEMORY_BYTES:
        yield f"The host has {gib(size)} of memory, less than 4 GB: {left}."
    if capacity.usable_cores < SMALL_CORES:
        yield f"The host has {capacity.usable_cores} usable core, less than 2: one model with one thread answers slowly, more models take turns."
    if capacity.swap_total_bytes:
        yield f"The host has {gib(capacity.swap_total_bytes)} of swap: a model in swap answers very slowly. Turn swap off on servers."
    for instance in host.instances:
        yield from _instance_warnings(state, instance)


def _instance_warnings(state: _Host, instance: Instance) -> Iterable[str]:
    capacity, files = state.capacity, sum(state.files.values())
    if instance.file_share < 1:
        yield (f"The limit holds {int(instance.file_share * 100)} % of the model files ({gib(files)}): the rest is read from disk again and again. "
               "Lower context, slots or prompt cache, or add memory.")
    if instance.max_active is not None:
        yield f"{len(instance.models)} models share {instance.max_active} cores: answers are slow when more than {instance.max_active} run at once."
    available = capacity.memory_available_bytes
    if available is not None and available < instance.memory_planned:
        yield f"Other programs on the host leave {gib(available)} of memory now, and the plan needs {gib(instance.memory_planned)}. Stop them, or want less."
    if capacity.store_free_bytes is not None and capacity.store_free_bytes < files:
        yield f"The store has {gib(capacity.store_free_bytes)} of disk left, and the model files take {gib(files)}: those not there yet may not fit."


def _advice(models: Sequence[WantedModel], needs: Needs, states: Mapping[str, _Host], placement: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
    """Hints about models that change nothing."""
    isa = list(states.values())[0].capacity.isa
    for model in models:
        for note in needs.memory(model.name, isa).notes:
            yield f"{model.name}: {note}"
        trained = needs.headers[model.name].context_length
        if trained and model.context > trained * (model.slots if model.slots > 1 else 1):
            yield f"{model.name}: context {model.context} is more than the {trained} tokens it was trained for."
        if len(states) > 1 and len(placement[model.name]) == 1:
            yield f"{model.name}: it runs on one server only, so it does not answer while that one is down."


def _up(size: int) -> int:
    return -(-size // MIB) * MIB


def _words(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in change.items())
