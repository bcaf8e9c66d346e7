# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a plan changes in what is deployed. Pure Python."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

from ._errors import FleetError
from ._form import misfit
from ._plan import INSTANCE, gib, some
from ._plan_view import plural
from ._scope import DEPLOYED, NEEDED

SHOWN = 12
"""Changes that the plan's text tells; the rest is told in diff mode."""
MODEL_FIELDS = ("files", "projector", "kind", "threads", "threads_batch", "context", "slots", "unified", "batch", "kv_type", "prompt_cache", "checkpoints",
                "image_tokens", "aliases")
INSTANCE_FIELDS = ("residency", "node", "cpuset", "cpus", "threads", "max_active", "memory_limit", "memory_planned", "file_share", "tmp_size")
SIZES = ("prompt_cache", "memory_limit", "memory_planned", "tmp_size")
WORDS = {"added": "starts on", "removed": "ends on", "changed": "on"}


@dataclass(frozen=True)
class Change:
    """One difference, the same on all its `places`.

    `kind` is added, removed or changed; `what` a model, an instance or a worker; `fields` are (name, before, after) as texts.
    A model that moves is removed on one place and added on another.
    """

    kind: str
    what: str
    places: tuple[str, ...]
    fields: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {before} → {after}" for name, before, after in self.fields)
        return f"{self.what} {WORDS[self.kind]} {some(self.places)}{': ' if numbers else ''}{numbers}"


def deployed(states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A plan of what runs, from each server's `state/plan.json` (empty where nothing runs): `hosts` and `placement`.

    FleetError, naming the host, for one that has not the form of a plan.
    """
    hosts = {name: _runs(name, state) for name, state in sorted(states.items())}
    placement: dict[str, list[str]] = {}
    for name, entry in hosts.items():
        for model in {model["name"]: None for instance in entry["instances"] for model in instance["models"]}:
            placement.setdefault(model, []).append(name)
    return {"hosts": hosts, "placement": placement}


def _runs(host: str, state: Any) -> dict[str, Any]:
    """What a host says it runs, when that has its form."""
    entry = {key: state.get(key) or [] for key in ("instances", "workers")} if isinstance(state, Mapping) else state
    wrong = misfit(entry, "PlannedHost", DEPLOYED, NEEDED)
    if wrong is not None:
        raise FleetError("What a host says is deployed is damaged", f"{host}, state/plan.json{wrong}",
                         do="Take that file of the host away to plan as if nothing ran on it.")
    return {key: list(value) for key, value in entry.items()}


def running(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a plan that runs on hosts, which is what a deployed plan can be compared in."""
    hosts = plan.get("hosts") or {}
    return {"hosts": {name: {"instances": entry["instances"], "workers": entry.get("workers") or []} for name, entry in hosts.items()
                      if entry["instances"] or entry.get("workers")}} if hosts else {}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """What `after` changes in `before`: models first, then their numbers, then those of instances and workers."""
    found = list(_compared(_models(before), _models(after), MODEL_FIELDS))
    found += _compared(_instances(before), _instances(after), INSTANCE_FIELDS)
    found += _compared(_workers(before), _workers(after), None)
    order = {kind: index for index, kind in enumerate(WORDS)}
    return tuple(sorted(found, key=lambda change: order[change.kind]))


def lines(found: Sequence[Change] | None, most: int | None = None) -> list[str]:
    """The changes for people, up to `most`; none at all is a line too. `None`, what is deployed is not known, says nothing."""
    if found is None:
        return []
    if not found:
        return ["deployed: the same as this plan"]
    shown = [f"deployed: {change}" for change in found[:most]]
    more = len(found) - len(shown)
    return shown + ([f"deployed: {plural(more, 'more change')}, in diff mode"] if more else [])


_Found = Mapping[tuple[str, str], Mapping[str, Any]]


def _compared(before: _Found, after: _Found, names: Sequence[str] | None) -> Iterable[Change]:
    """Changes of things by (what, place), those that are alike as one."""
    alike: dict[tuple[str, str, tuple[tuple[str, str, str], ...]], list[str]] = {}
    for what, place in sorted(set(before) | set(after)):
        old, new = before.get((what, place)), after.get((what, place))
        if old is None or new is None:
            alike.setdefault(("added" if old is None else "removed", what, ()), []).append(place)
            continue
        fields = tuple(_fields(old, new, names or sorted(set(old) | set(new))))
        if fields:
            alike.setdefault(("changed", what, fields), []).append(place)
    return [Change(kind, what, tuple(places), fields) for (kind, what, fields), places in alike.items()]


def _fields(old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    for name in names:
        if name in old and name in new and old[name] != new[name]:
            before, after = _told(name, old[name]), _told(name, new[name])
            exact = before == after
            yield name.replace("_", " "), f"{old[name]} bytes" if exact else before, f"{new[name]} bytes" if exact else after


def _told(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name in ("files", "projector"):
        return some([digest[:12] for digest in ([value] if isinstance(value, str) else value)])
    if name in SIZES:
        return gib(value)
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def _models(plan: Mapping[str, Any]) -> _Found:
    return {(model["name"], place): model for place, instance in _by_place(plan) for model in instance["models"]}


def _instances(plan: Mapping[str, Any]) -> _Found:
    return {(f"instance {instance['name']}", host): instance
            for host, entry in (plan.get("hosts") or {}).items() for instance in entry["instances"]}


def _workers(plan: Mapping[str, Any]) -> _Found:
    return {(f"worker of {worker['model']}", host): worker
            for host, entry in (plan.get("hosts") or {}).items() for worker in entry.get("workers") or []}


def _by_place(plan: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Instances with the place that people call them by: the host's name, and the instance's where it is not the usual one."""
    for host, entry in (plan.get("hosts") or {}).items():
        for instance in entry["instances"]:
            yield (host if instance["name"] == INSTANCE else f"{host} ({instance['name']})"), instance
