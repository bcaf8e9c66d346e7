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

from ._budget import ON_DEMAND_LOADED, SERVER_FILES, SYSTEM_RESERVE_BYTES, SYSTEM_RESERVE_PERCENT, system_reserve
from ._capacity import Capacity, node_capacity
from ._errors import FleetError
from ._explain import Term
from ._gguf import Header
from ._memory import MIB, Memory
from ._plan import INSTANCE, ON_DEMAND, gib, some
from ._plan_view import exact, instance_parts, plural
from ._sharding import ROUND_TRIPS, STAGE_BYTES, WEIGHT_MARGIN_PERCENT, layers_bytes, worker_terms
from ._speed import PRACTICE, SATURATING_THREADS, bytes_read
from ._threads import THREADS_PER_CHANNEL

Terms = Callable[[tuple[str, ...]], Sequence[Term]]
MOVED = ("kv_full", "kv_window", "state", "repack")
"""Terms of which a server that shares a model with workers keeps a part."""


def find(asked: str, names: Mapping[str, Sequence[str]]) -> str:
    """The model that is meant by its name or an alias; `names` are the aliases by model. FleetError with the nearest known one."""
    for name, aliases in names.items():
        if asked in (name, *aliases):
            return name
    known = [word for name, aliases in names.items() for word in (name, *aliases)]
    near = get_close_matches(asked, known, n=1, cutoff=0)
    raise FleetError("The model to explain is not wanted", "explain", asked, f"The nearest wanted one is {near[0]}." if near else "No model is wanted.")


def explanation(name: str, plan: Mapping[str, Any], capacities: Mapping[str, Capacity], terms: Terms, header: Header) -> list[str]:
    """The terms of the model's memory, then limits, threads and speed, each for all places where they are the same, then its workers.

    `plan` is the plan as a dictionary, `terms` the terms of the model's memory by a host's instruction sets, `header` that of its file.
    """
    memory: dict[tuple[str, ...], list[str]] = {}
    rest: dict[tuple[str, ...], list[str]] = {}
    shard = (plan.get("shards") or {}).get(name)
    for place, host, instance, model in _places(name, plan):
        whole = capacities[host]
        part = whole if instance.get("node") is None else node_capacity(whole, instance["node"])
        memory.setdefault((*_memory(terms(part.isa)), *_split(model, terms(part.isa))), []).append(place)
        entry = plan["hosts"][host]
        speed = ["  expected tokens a second: unknown for a model that is split"] if shard else _speed(model, part, whole, header)
        rest.setdefault((*_limits(entry, instance, whole), *_threads(entry, instance, part), *speed), []).append(place)
    found = [line for each in (memory, rest) for lines, places in each.items() for line in (f"{name} on {some(places)}:", *lines)]
    found += _workers(name, shard, plan, capacities, terms, header) if shard else []
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
    whole = {term.name: term.bytes for term in terms}
    kept = model["memory"]
    if whole.get("anonymous") in (None, kept["anonymous"]):
        return []
    less = "".join(f" - {name} {exact(size - kept[name])}" for name, size in whole.items() if name in MOVED and size > kept[name])
    return [f"    of this, the server keeps {exact(kept['anonymous'])} ({gib(kept['anonymous'])}); the rest is on the model's workers",
            f"        = anonymous {exact(whole['anonymous'])}{less}"]


def _limits(entry: Mapping[str, Any], instance: Mapping[str, Any], host: Capacity) -> Iterable[str]:
    on_demand = instance.get("residency") == ON_DEMAND
    counted = sorted(instance["models"], key=lambda model: -model["memory"]["anonymous"])
    counted = counted[:ON_DEMAND_LOADED] if on_demand else counted
    largest = f" (the {ON_DEMAND_LOADED} largest of the models on demand)" if on_demand and len(instance["models"]) > ON_DEMAND_LOADED else ""
    models = " + ".join(f"{model['name']} {exact(model['memory']['anonymous'])}" for model in counted)
    yield "  memory of its instance"
    yield f"    memory_planned = {exact(instance['memory_planned'])} ({gib(instance['memory_planned'])})"
    yield f"        = server with /tmp {exact(instance_parts(instance)['server'])} + {models}{largest}"
    yield f"    memory_limit = {exact(instance['memory_limit'])} ({gib(instance['memory_limit'])}), the container's"
    yield from _files(instance, on_demand)
    yield f"    memory for all instances of the host = {exact(entry['memory_usable_bytes'])} ({gib(entry['memory_usable_bytes'])})"
    yield from _room(entry, host)


def _files(instance: Mapping[str, Any], on_demand: bool) -> Iterable[str]:
    """What the limit is above the planned memory: the page cache of files, each counted once; on demand those of the largest."""
    sizes = {model["sha256"] or model["name"]: (model["memory"]["file_backed"], model["name"]) for model in instance["models"]}
    counted = sorted(sizes.values(), reverse=True)[:ON_DEMAND_LOADED if on_demand else None]
    files, given = SERVER_FILES + sum(size for size, _name in counted), instance["memory_limit"] - instance["memory_planned"]
    if instance["file_share"] < 1:
        yield f"        = memory_planned + {exact(given)}, which is {round(100 * instance['file_share'])} % of files: the host has no more"
    elif 0 <= given - files < MIB:
        yield "        = memory_planned + files, up to a whole MiB"
    else:
        yield f"        = memory_planned + {exact(given)}, as it is deployed: near enough to memory_planned + files, and no container is made anew"
    yield f"    files = {exact(files)} ({gib(files)})"
    yield f"        = programs {exact(SERVER_FILES)}" + "".join(f" + {name} {exact(size)}" for size, name in counted)


def _room(entry: Mapping[str, Any], host: Capacity) -> Iterable[str]:
    """The memory of a host for instances: the smaller of memory and limit, less what is reserved."""
    memory, limit, pages = host.memory_total_bytes, host.memory_limit_bytes, host.hugepages_reserved_bytes
    known = [size for size in (memory, limit) if size is not None]
    parts = [f"memory {exact(known[0])}{f' - huge pages {exact(pages)}' if pages else ''}"] if memory is not None or pages else []
    parts += [f"limit {exact(limit)}"] if limit is not None else []
    reserved, system = entry["memory_reserved_bytes"], system_reserve(min(known))
    yield f"        = {parts[0] if len(parts) == 1 else f'min({parts[0]}, {parts[1]})'} - reserved {exact(reserved)}"
    yield f"    reserved = {exact(reserved)} ({gib(reserved)})"
    others = f" + {exact(reserved - system)} for what else it runs for the fleet" if reserved > system else ""
    yield f"        = max({exact(SYSTEM_RESERVE_BYTES)}, {SYSTEM_RESERVE_PERCENT} % of {exact(min(known))}) for the system{others}"


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
    yield f"    LOCALAI_THREADS = {instance['threads']}, for a model that runs alone{_bound(entry, instance, budget, part)}"
    together = f"{plural(instance['max_active'], 'model')} at once" if instance["max_active"] else "all may run at once"
    split = ", ".join(f"{model['name']} {model['threads']} ({model['threads_batch']} for prompts)" for model in instance["models"])
    yield f"    threads of each model: {split}; {together}"
    yield f"    CPU limit of the container = {instance['cpus']:g}, {_pinned(instance)}"
    yield f"        = threads and half a core for the server, within {quota} and {plural(_cpus(instance['cpuset']) or len(part.allowed_cpus), 'CPU')}"


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


def _bound(entry: Mapping[str, Any], instance: Mapping[str, Any], budget: int, part: Capacity) -> str:
    """Why a model that runs alone gets fewer threads than the budget."""
    server, node = instance["threads"], instance.get("node")
    if server >= budget:
        return ""
    beside = [other["name"] for other in entry["instances"] if other.get("node") == node and other["name"] != instance["name"]]
    at_once = sum(model["threads"] for model in instance["models"][:1 if instance.get("residency") == ON_DEMAND else None])
    if part.memory_channels and server == THREADS_PER_CHANNEL * part.memory_channels:
        why = f"more than {THREADS_PER_CHANNEL} a memory channel ({part.memory_channels}) are no faster"
    elif beside and server == at_once:
        why = f"the others are for {some(beside)}"
    else:
        why = "more were measured to be no faster"
    return f"; below the budget of {budget}, since {why}"


def _speed(model: Mapping[str, Any], part: Capacity, host: Capacity, header: Header) -> Iterable[str]:
    speed, channels, bandwidth = model.get("expected_tokens_per_second"), part.memory_channels, host.memory_bandwidth_bytes_per_second
    if speed is None:
        few = bandwidth and channels and model["threads"] < SATURATING_THREADS * channels
        why = f", and {plural(model['threads'], 'thread')} cannot use all of its memory's bandwidth" if few else ""
        yield f"  expected tokens a second: unknown, nothing was measured on this host{why}"
        return
    yield f"  expected tokens a second: {speed:g}"
    if bandwidth and channels and host.memory_channels and channels != host.memory_channels:
        bandwidth = bandwidth * channels // host.memory_channels
    read = bytes_read(header)
    if bandwidth and read and round(PRACTICE * bandwidth / read, 2) == speed:
        yield f"        = {PRACTICE} * {exact(bandwidth)} bytes a second that its memory can give / {exact(read)} bytes of weights that a token uses"
    elif isinstance(host.tuning, Mapping):
        with_what, rate = host.tuning["model"], host.tuning["tokens_per_second"].get(str(model["threads"]))
        other = "" if with_what["sha256"] == model["sha256"] else f" * bytes of weights that a token of it uses / {exact(read or 0)} of this one"
        yield (f"        = {rate}, measured with {with_what['name']} and {plural(model['threads'], 'thread')} on "
               f"{host.tuning['measured_at'][:10]}{other}")


# --- workers


def _workers(name: str, shard: Mapping[str, Any], plan: Mapping[str, Any], capacities: Mapping[str, Capacity], terms: Terms,
             header: Header) -> list[str]:
    """What each worker has of a model that is split, and what a token sends over the network."""
    entries = [(host, worker) for host in shard["workers"] for worker in plan["hosts"][host]["workers"] if worker["model"] == name]
    memory = Memory(**{term.name: term.bytes for term in terms(capacities[shard["server"]].isa) if "." not in term.name})
    parts = worker_terms(header, memory, [worker["layers"] for _host, worker in entries])
    lines = [f"{name} on its {plural(len(entries), 'worker')} {some([host for host, _worker in entries])}:",
             f"  weights of a layer: the mean of {exact(layers_bytes(header))} of all layers and {WEIGHT_MARGIN_PERCENT} % more, "
             "since layers of one file differ"]
    for (host, worker), sizes in zip(entries, parts):
        layers = worker["layers"] - (host == entries[-1][0])
        words = {"process": "its process", "compute": "compute", "weights": f"weights of {plural(layers, 'layer')}", "cache": "their cache and state",
                 "output": "output matrix"}
        files, whole = worker["memory_limit"] - worker["memory_planned"], capacities[host]
        budget = plan["hosts"][host]["budget_cores"]
        lines += [f"  {host}: memory_planned = {exact(worker['memory_planned'])} ({gib(worker['memory_planned'])})",
                  "        = " + " + ".join(f"{words[part]} {exact(size)}" for part, size in sizes.items()),
                  f"    memory_limit = {exact(worker['memory_limit'])} ({gib(worker['memory_limit'])})",
                  f"        = memory_planned + {exact(files)} for the files of its programs",
                  f"    threads = {worker['threads']}: usable cores {whole.usable_cores}, {whole.usable_cores - budget} of them left to the system and "
                  f"other programs; CPU limit {worker['cpus']:g}, {_pinned(worker)}"]
    lines += [f"  each token sends {exact(shard['bytes_per_token'])} bytes over the network",
              f"        = 4 * vocabulary {header.vocab_size} + {plural(len(entries), 'worker')} * "
              f"({STAGE_BYTES} + 4 * embedding {header.get('embedding_length')})"]
    wait = shard["network_milliseconds"]
    return lines + ([] if wait is None else [f"  each token waits {wait:g} ms for the network",
                                             f"        = {ROUND_TRIPS} * {wait / ROUND_TRIPS:g} ms, the round trips to all workers"])


def _cpus(cpuset: str | None) -> int:
    """How many CPUs a list as `0-2,5` names."""
    ends = [part.split("-") for part in (cpuset or "").split(",") if part]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


def _pinned(entry: Mapping[str, Any]) -> str:
    return f"pinned to CPUs {entry['cpuset']}" if entry["cpuset"] else "not pinned"
