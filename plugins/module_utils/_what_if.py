# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Questions to a plan: another model or option, more or fewer servers, servers offline. Pure Python.

The questions are variables of one run of `plan.yml`. Their answers are made from changed input; nothing is written.
"""
from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Iterable, Mapping, Sequence

from ._capacity import Capacity
from ._errors import FleetError
from ._fleet import TOPOLOGIES
from ._given import number, one_of, truth, words
from ._plan import some
from ._plan_view import plural
from ._presets import expanded
from ._wanted import as_modules_take, check_forms, parse_wanted

MODEL_OPTIONS = ("source", "quant", "file", "sha256", "context", "slots", "kv_type", "prompt_cache_mib", "replicas", "shards")
NUMBERS = ("context", "slots", "prompt_cache_mib", "replicas", "shards")
OF_ONE_MODEL = ("source", "quant", "file", "sha256", "shards")
QUESTIONS = ("explain", "offline", "topology", "add_hosts", "remove_hosts", "model", *MODEL_OPTIONS)
CLOSE = 0.85
"""From this likeness on, a name is taken for a question with a slip of the pen."""
GIB = 1 << 30
UNCHANGED = "This is a what-if: no host and no lock was changed."
_COUNT = re.compile(r"([1-9]\d{0,3})x(?=.)")
_SIZE = re.compile(r"(?P<cores>[1-9]\d{0,3})c(?P<memory>[1-9]\d{0,4})g")


@dataclass(frozen=True)
class Asked:
    """The questions of one run. `options` change `model`, or every wanted model when it is empty; `add_hosts` are (count, kind)."""

    explain: str = ""
    offline: bool = False
    topology: str = ""
    add_hosts: tuple[tuple[int, str], ...] = ()
    remove_hosts: tuple[str, ...] = ()
    model: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def what_if(self) -> bool:
        """Whether the plan is of something else than what is wanted and there."""
        return bool(self.topology or self.add_hosts or self.remove_hosts or self.model or self.options)


@dataclass(frozen=True)
class Imagined:
    """What to plan instead: capacities by server, wanted models, and sentences that say how they differ from what is.

    `like` is the host of the inventory whose labels and reserved cores count for a server: itself, or the one that a new server is like.
    """

    capacities: Mapping[str, Any]
    wanted: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...]
    like: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {**asdict(self), "notes": list(self.notes)}


def questions(variables: Mapping[str, Any]) -> Asked:
    """The questions among the variables of a run. FleetError for one that cannot be meant."""
    given = {name: variables[name] for name in QUESTIONS if variables.get(name) not in (None, "")}
    options = tuple((name, number(name, given[name]) if name in NUMBERS else str(given[name])) for name in MODEL_OPTIONS if name in given)
    model = str(given.get("model", ""))
    alone = [name for name, _value in options if name in OF_ONE_MODEL and not model]
    if alone:
        raise FleetError("This question is about one model, and none is named", alone[0], do="Name it: -e model=NAME.")
    if model and not options:
        raise FleetError("A model is named, and nothing is asked about it", "model", model, f"Say one of {', '.join(MODEL_OPTIONS)}, or use explain.")
    topology = one_of("topology", given["topology"], ("auto", *TOPOLOGIES)) if "topology" in given else ""
    return Asked(str(given.get("explain", "")), truth("offline", given.get("offline", False)), topology,
                 tuple(_addition(item) for item in words(given.get("add_hosts", ""))), tuple(words(given.get("remove_hosts", ""))), model, options)


def names_asked(variables: Mapping[str, Any]) -> list[str]:
    """Names of variables that are questions."""
    return [name for name in QUESTIONS if name in variables]


def slips(variables: Iterable[str]) -> list[str]:
    """A sentence for each variable that is almost a question."""
    near = {name: get_close_matches(name, QUESTIONS, n=1, cutoff=CLOSE) for name in sorted(set(variables) - set(QUESTIONS))}
    return [f"The variable {name} asks nothing: did you mean {found[0]}?" for name, found in near.items() if found]


def imagine(asked: Asked, known: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]], files: Mapping[str, Any],
            cached: Sequence[str], now: datetime, current: bool = False) -> Imagined:
    """What to plan for these questions.

    `known` is the capacity of each server, as `capacity_facts` returns it, None where it is not known; `files` holds what each
    file that `add_hosts` names contains; `cached` are servers that were not read in this run, which do not count when `current`.
    FleetError for what is not there, and for wanted models that are none.
    """
    check_forms(wanted)
    absent = [name for name in asked.remove_hosts if name not in known]
    if absent:
        raise FleetError("A server to leave out is not there", "remove_hosts", some(absent), f"The servers are {some(sorted(known))}.")
    unread = [name for name, capacity in known.items() if name not in asked.remove_hosts and (not capacity or current and name in cached)]
    if unread:
        raise FleetError("The plan needs the capacity of every server", "localai_server", f"nothing from {some(unread)}",
                         "Run without a limit, or take what cannot be reached out of the group localai_server. The playbook plan also takes "
                         "what a fact cache keeps.")
    hosts, like, added = _hosts(asked, {name: _checked(capacity, f"capacity of {name}") for name, capacity in known.items() if capacity}, files)
    models, changed = _models(asked, [as_modules_take(item) for item in wanted])
    parse_wanted(models)
    models = [expanded(item, f"models_wanted, {item.get('name')}.source") for item in models]
    models, gone = _unpinned(models, asked.remove_hosts)
    told = [*changed, *added, *([f"without {some(asked.remove_hosts)}{gone}"] if asked.remove_hosts else []),
            *([f"topology {asked.topology}"] if asked.topology else [])]
    notes = [f"What if: {'; '.join(told)}.", UNCHANGED] if told else []
    notes += _ages([name for name in cached if name in hosts], hosts, now)
    return Imagined(hosts, models, tuple(notes), like)


# --- the words of the questions


def _addition(item: str) -> tuple[int, str]:
    count = _COUNT.match(item)
    return (int(count[1]), item[count.end():]) if count else (1, item)


# --- servers


def is_file(kind: str) -> bool:
    """Whether a kind of server to add is the name of a file with capacities."""
    return "/" in kind or kind.endswith((".json", ".yml", ".yaml"))


def _hosts(asked: Asked, capacities: Mapping[str, Any], files: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Capacities by server, the host that each is like where there is one, and what was added in words."""
    hosts = {name: capacity for name, capacity in capacities.items() if name not in asked.remove_hosts}
    like, told = {name: name for name in hosts}, []
    for count, kind in asked.add_hosts:
        new, added = _added(count, kind, capacities, files, hosts)
        hosts.update(new)
        like.update(dict.fromkeys(new, kind) if kind in capacities else {})
        told.append(f"{added} ({some(list(new))})")
    return hosts, like, told


def _added(count: int, kind: str, capacities: Mapping[str, Any], files: Mapping[str, Any], taken: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """New servers by name, and what they are in words."""
    more = f"{count} more {'server' if count == 1 else 'servers'}"
    if is_file(kind):
        return _of_file(kind, files.get(kind), count, taken), f"{more if count > 1 else 'servers'} of {kind}"
    size = _SIZE.fullmatch(kind)
    if size:
        plain, told = _plain(int(size["cores"]), int(size["memory"]) * GIB, capacities)
        return _named(count, plain, taken), f"{more} with {plural(int(size['cores']), 'core')} and {size['memory']} GiB, {told}"
    if kind not in capacities:
        raise FleetError("A server to add is of no known kind", "add_hosts", kind, "Say COUNTxNAME for servers like one that is there "
                         f"({some(sorted(capacities))}), COUNTx16c64g for 16 cores and 64 GiB, or a file of capacities.")
    return _named(count, capacities[kind], taken), f"{more} like {kind}"


def _named(count: int, capacity: Any, taken: Mapping[str, Any]) -> dict[str, Any]:
    free = (f"new{index}" for index in range(1, len(taken) + count + 1) if f"new{index}" not in taken)
    return {name: capacity for name, _index in zip(free, range(count))}


def _of_file(path: str, content: Any, count: int, taken: Mapping[str, Any]) -> dict[str, Any]:
    """Servers of a file: one capacity, as often as asked for, or several by name."""
    if not isinstance(content, Mapping) or not content:
        raise FleetError("The file holds no capacities", f"add_hosts {path}", type(content).__name__,
                         "It must hold one capacity as capacity_facts returns it, or several by name.")
    content = _returned(content)
    if "schema" in content:
        return _named(count, _checked(content, f"add_hosts {path}"), taken)
    twice = [name for name in content if name in taken]
    if twice or count > 1:
        raise FleetError("Servers of a file with names can be added once", f"add_hosts {path}", some(twice) or f"{count}x", "Give them other names.")
    return {name: _checked(_returned(item), f"add_hosts {path}, {name}") for name, item in content.items()}


def _returned(content: Any) -> Any:
    """The capacity in what the module capacity_facts returns or a fact cache keeps; anything else as it is."""
    for key in ("ansible_facts", "localai_capacity"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return content


def _checked(content: Any, where: str) -> dict[str, Any]:
    Capacity.from_dict(content, where)
    return dict(content)


def _plain(cores: int, memory: int, capacities: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A server of which two numbers are known. Its CPU is taken to be that of the others when these are alike, else unknown."""
    kinds = {(capacity.get("arch"), tuple(capacity.get("isa") or ())) for capacity in capacities.values()}
    arch, isa = kinds.pop() if len(kinds) == 1 else (None, ())
    told = f"instruction sets as the others have ({', '.join(isa)})" if isa else "instruction sets unknown, so memory is planned for the worst"
    plain = Capacity(
        arch=arch, isa=isa, cpu_model=None, logical_cpus_online=cores, allowed_cpus=tuple(range(cores)), physical_cores_allowed=cores,
        performance_cores_allowed=cores, usable_cores=cores, smt=False, sockets=1, numa_nodes=(), quota_cores=None, memory_total_bytes=memory,
        memory_limit_bytes=None, memory_available_bytes=None, memory_used_by_deployment_bytes=0, hugepages_reserved_bytes=0, swap_total_bytes=None,
        memory_channels=None, store_free_bytes=None, virtualization=None)
    return plain.as_dict(), told


# --- models


def _models(asked: Asked, wanted: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    options, models = dict(asked.options), [dict(item) for item in wanted]
    changes = {name: value or None if name == "shards" else value for name, value in options.items()}  # no shards: it is not split
    if not options:
        return models, []
    told = ", ".join(f"{name} {value}" for name, value in options.items())
    if not asked.model:
        return [{**item, **changes} for item in models], [f"every model with {told}"]
    name = next((item.get("name") for item in models if asked.model == item.get("name") or asked.model in _names_in(item, "aliases")), None)
    if name:
        return [{**item, **changes} if item.get("name") == name else item for item in models], [f"{name} with {told}"]
    if "source" not in options:
        names = [str(name) for item in models for name in (item.get("name"), *_names_in(item, "aliases"))]
        near = get_close_matches(asked.model, names, n=1, cutoff=0)
        raise FleetError("The model is not wanted, and no source is given for it", "model", asked.model,
                         f"{f'The nearest wanted one is {near[0]}. ' if near else ''}Add another with -e source=hf://OWNER/REPOSITORY.")
    return [*models, {"name": asked.model, **changes}], [f"{asked.model} too, with {told}"]


def _unpinned(models: Sequence[dict[str, Any]], removed: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """The models without pins to servers that are left out, and a word on those that go with these servers."""
    pins = [_names_in(item, "hosts") for item in models]
    gone = [str(item.get("name")) for item, hosts in zip(models, pins) if hosts and not set(hosts) - set(removed)]
    found = []
    for item, hosts in zip(models, pins):
        left, apart = [host for host in hosts if host not in removed], _names_in(item, "apart_from")
        if item.get("name") in gone:
            continue
        more: dict[str, Any] = {"hosts": left} if left != hosts else {}
        if left != hosts and isinstance(item.get("replicas"), int):
            more["replicas"] = min(item["replicas"], len(left))
        if set(apart) & set(gone):
            more["apart_from"] = [name for name in apart if name not in gone]
        found.append({**item, **more})
    return found, f" and {some(gone)}, pinned there alone" if gone else ""


def _names_in(item: Mapping[str, Any], option: str) -> list[Any]:
    """A list of a wanted model that was not checked yet; nothing for what is none."""
    value = item.get(option)
    return list(value) if isinstance(value, (list, tuple)) else []


# --- age of what is known


def _ages(cached: Sequence[str], hosts: Mapping[str, Any], now: datetime) -> list[str]:
    """A sentence for all servers whose capacity was read at about the same time."""
    alike: dict[str, list[str]] = {}
    for name in sorted(cached):
        alike.setdefault(age(hosts[name].get("read_at"), now), []).append(name)
    return [f"Not asked now, known from the fact cache: {some(names)}, read {told}." for told, names in alike.items()]


def age(read_at: str | None, now: datetime) -> str:
    """How long ago, in the largest whole unit; `at an unknown time` for what does not say."""
    try:
        seconds = (now - datetime.strptime(str(read_at), "%Y-%m-%dT%H:%M:%S%z")).total_seconds()
    except ValueError:
        return "at an unknown time"
    for length, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{plural(int(seconds // length), unit)} ago"
    return "less than a minute ago"
