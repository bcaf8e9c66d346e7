# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How a model came to its numbers: memory term by term with formulas, then limits, threads and speed. Pure Python.

What it tells of limits and threads is read from the plan and from the capacity; nothing is decided here.
"""
from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Callable, Iterable, Mapping, Sequence

from ._budget import ON_DEMAND_LOADED
from ._capacity import Capacity, node_capacity
from ._errors import FleetError
from ._explain import Term
from ._plan import INSTANCE, ON_DEMAND, gib, some
from ._plan_view import exact, instance_parts, plural

Terms = Callable[[tuple[str, ...]], Sequence[Term]]


def find(asked: str, names: Mapping[str, Sequence[str]]) -> str:
    """The model that is meant by its name or an alias; `names` are the aliases by model. FleetError with the nearest known one."""
    for name, aliases in names.items():
        if asked in (name, *aliases):
            return name
    known = [word for name, aliases in names.items() for word in (name, *aliases)]
    near = get_close_matches(asked, known, n=1, cutoff=0)
    raise FleetError("The model to explain is not wanted", "explain", asked, f"The nearest wanted one is {near[0]}." if near else "No model is wanted.")


def explanation(name: str, plan: Mapping[str, Any], capacities: Mapping[str, Capacity], terms: Terms) -> list[str]:
    """The terms of the model's memory, then limits, threads and speed, each for all places where they are the same.

    `plan` is the plan as a dictionary, `terms` the terms of the model's memory by a host's instruction sets.
    """
    memory: dict[tuple[str, ...], list[str]] = {}
    rest: dict[tuple[str, ...], list[str]] = {}
    for place, host, instance, model in _places(name, plan):
        part = capacities[host] if instance.get("node") is None else node_capacity(capacities[host], instance["node"])
        memory.setdefault((*_memory(terms(part.isa)), *_split(model, terms(part.isa))), []).append(place)
        entry = plan["hosts"][host]
        rest.setdefault((*_limits(entry, instance, capacities[host]), *_threads(entry, instance, part), *_speed(model)), []).append(place)
    found = [line for each in (memory, rest) for lines, places in each.items() for line in (f"{name} on {some(places)}:", *lines)]
    return found or _nowhere(name, plan, capacities, terms)


def _places(name: str, plan: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    """The place as people call it, its host, its instance, and the model there."""
    for host, entry in plan["hosts"].items():
        for instance in entry["instances"]:
            for model in instance["models"]:
                if model["name"] == name:
                    yield (host if instance["name"] == INSTANCE else f"{host} ({instance['name']})"), host, instance, model


def _nowhere(name: str, plan: Mapping[str, Any], capacities: Mapping[str, Capacity], terms: Terms) -> list[str]:
    """The terms on each kind of processor, and why no host takes the model."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for host, capacity in capacities.items():
        kinds.setdefault(capacity.isa, []).append(host)
    found = [line for isa, hosts in kinds.items() for line in (f"{name}, which is nowhere, would take on {some(hosts)}:", *_memory(terms(isa)))]
    return found + [f"refused: {item['reason']}" for item in plan["refused"] if item["model"] == name]


# --- memory


def _memory(terms: Sequence[Term]) -> list[str]:
    """Every term with its parts; a part that several terms have is told once, and terms of nothing are only named."""
    lines, told = ["  memory of the model in bytes; a dot begins a part of a term, told once"], set()
    zero = [term.name for term in terms if not term.bytes and "." not in term.name]
    for term in terms:
        part = (term.name.split(".", 1)[1:], term.formula, term.values)
        if term.name.split(".")[0] not in zero and not (part[0] and str(part) in told):
            lines += _term(term)
            told.add(str(part))
    return lines + ([f"    none of it: {', '.join(zero)}"] if zero else [])


def _term(term: Term) -> Iterable[str]:
    inner = "." in term.name
    size = "" if inner else f" ({gib(term.bytes)})"
    yield f"    {'  .' + term.name.split('.', 1)[1] if inner else term.name} = {exact(term.bytes)}{size}"
    if term.formula not in (term.name, str(term.bytes)):
        yield f"        = {term.formula}"
    if term.values not in (term.formula, str(term.bytes)) and term.formula != term.name:
        yield f"        = {term.values}"


def _split(model: Mapping[str, Any], terms: Sequence[Term]) -> list[str]:
    """What a server keeps of a model that workers share is less than the terms."""
    whole = next((term.bytes for term in terms if term.name == "anonymous"), None)
    kept = model["memory"]["anonymous"]
    return [] if whole in (None, kept) else [f"    of this, the server keeps {exact(kept)} ({gib(kept)}); the rest is on the model's workers"]


def _limits(entry: Mapping[str, Any], instance: Mapping[str, Any], host: Capacity) -> Iterable[str]:
    counted = sorted(instance["models"], key=lambda model: -model["memory"]["anonymous"])
    on_demand = instance.get("residency") == ON_DEMAND
    counted = counted[:ON_DEMAND_LOADED] if on_demand else counted
    server = instance_parts(instance)["server"]
    models = " + ".join(f"{model['name']} {exact(model['memory']['anonymous'])}" for model in counted)
    yield "  memory of its instance"
    yield f"    memory_planned = {exact(instance['memory_planned'])} ({gib(instance['memory_planned'])})"
    yield f"        = server with /tmp {exact(server)} + {models}{f' (the {ON_DEMAND_LOADED} largest of the models on demand)' if on_demand else ''}"
    files = instance["memory_limit"] - instance["memory_planned"]
    yield f"    memory_limit = {exact(instance['memory_limit'])} ({gib(instance['memory_limit'])}), the container's"
    yield f"        = memory_planned + {exact(files)} for {round(100 * instance['file_share'])} % of the files of models and programs"
    sizes = [("memory", host.memory_total_bytes), ("limit", host.memory_limit_bytes), ("huge pages", host.hugepages_reserved_bytes)]
    told = ", ".join(f"{word} {exact(size)}" for word, size in sizes if size)
    yield f"    memory for all instances of the host = {exact(entry['memory_usable_bytes'])} ({gib(entry['memory_usable_bytes'])})"
    yield f"        = {told}, less {exact(entry['memory_reserved_bytes'])} reserved for the system and what else it runs for the fleet"


# --- threads


def _threads(entry: Mapping[str, Any], instance: Mapping[str, Any], part: Capacity) -> Iterable[str]:
    quota = "no quota" if part.quota_cores is None else f"a quota of {part.quota_cores:g}"
    where = "" if instance.get("node") is None else f" of NUMA node {instance['node']}"
    budget = _budget(entry, instance)
    yield "  threads"
    yield f"    usable cores{where} = {part.usable_cores}"
    yield f"        = {plural(part.performance_cores_allowed or part.usable_cores, 'performance core')} within {quota}"
    yield f"    budget{where} = {budget}"
    if budget > part.usable_cores:
        yield f"        = usable cores {part.usable_cores} + the part of a core that the quota leaves, since it was measured to be faster"
    else:
        yield f"        = usable cores {part.usable_cores} - {part.usable_cores - budget} left to the system and other programs"
    yield f"    LOCALAI_THREADS = {instance['threads']}, for a model that runs alone{_bound(instance['threads'], budget, part)}"
    together = f"{plural(instance['max_active'], 'model')} at once" if instance["max_active"] else "all may run at once"
    split = ", ".join(f"{model['name']} {model['threads']} ({model['threads_batch']} for prompts)" for model in instance["models"])
    yield f"    threads of each model: {split}; {together}"
    pinned = f"pinned to CPUs {instance['cpuset']}" if instance["cpuset"] else "not pinned"
    yield f"    CPU limit of the container = {instance['cpus']:g}, {pinned}"
    yield f"        = threads and half a core for the server, within {quota} and {plural(len(part.allowed_cpus), 'CPU')}"


def _budget(entry: Mapping[str, Any], instance: Mapping[str, Any]) -> int:
    """The host's budget; of an instance on one memory node what its node's models have together, since the split gives all of it out."""
    if instance.get("node") is None:
        return int(entry["budget_cores"])
    total = 0
    for other in entry["instances"]:
        if other.get("node") == instance["node"]:
            batches = [model["threads_batch"] for model in other["models"]]
            total += sum(batches if other.get("max_active") is None else batches[:other["max_active"]])
    return total


def _bound(server: int, budget: int, part: Capacity) -> str:
    if server >= budget:
        return ""
    channels = "" if part.memory_channels is None else f" by {plural(part.memory_channels, 'memory channel')}"
    return f"; below the budget of {budget}: tokens are bound{channels or ' by memory, as it was measured or as the others leave it'}"


def _speed(model: Mapping[str, Any]) -> Iterable[str]:
    speed = model.get("expected_tokens_per_second")
    yield f"  expected tokens a second: {'unknown, nothing was measured on this host' if speed is None else f'{speed:g}'}"
