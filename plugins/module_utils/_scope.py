# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Who is who in a fleet, and where each model may run. Input that contradicts itself ends here, with a sentence."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ._capacity import READ, Capacity, check_capacity
from ._errors import FleetError
from ._fleet import DISTRIBUTED, PLACEMENTS, REPLICATED, SHARDED, STANDALONE, TOPOLOGIES, Fleet, Model
from ._form import misfit
from ._plan import Instance, PlannedHost, PlannedModel, Worker, some

UNKNOWN_BYTES = 1 << 62
DEPLOYED = {"PlannedHost": PlannedHost, "Instance": Instance, "PlannedModel": PlannedModel, "Worker": Worker}
NEEDED = {"PlannedHost": ("instances",), "Instance": ("name", "models"), "PlannedModel": ("name", "memory"), "Worker": ("model",)}
"""What of an earlier plan is looked at; other fields may be missing, of an earlier version for example."""


@dataclass(frozen=True)
class Scope:
    """The topology, the hosts that run models (`serving`), other hosts of the plan, and for each model its `candidates` and who is `apart`."""

    topology: str
    serving: tuple[str, ...]
    servers: tuple[str, ...]
    workers: tuple[str, ...]
    control: tuple[str, ...]
    candidates: Mapping[str, tuple[str, ...]]
    apart: Mapping[str, frozenset[str]]


def scope(hosts: Mapping[str, Capacity], models: Sequence[Model], topology: str, fleet: Fleet) -> Scope:
    """Sort hosts into roles and models onto hosts. FleetError for damaged capacities, and for roles, pins or neighbours that cannot be."""
    names = [model.name for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FleetError("Two models have the same name", "models", some(twice), "Give each a name of its own.")
    workers, control = tuple(sorted(set(fleet.workers))), tuple(sorted(set(fleet.control)))
    given = set(hosts) - set(workers) - set(control) if fleet.servers is None else set(fleet.servers)
    servers = tuple(sorted(given))
    _check_hosts(hosts, servers, workers, control, fleet)
    chosen = _topology(topology, models, servers, workers, control)
    serving = workers if chosen == DISTRIBUTED else servers
    candidates = {model.name: _candidates(model, serving, fleet) for model in models}
    return Scope(chosen, serving, servers, workers, control if chosen == DISTRIBUTED else (), candidates, _apart(models, candidates))


def _check_hosts(hosts: Mapping[str, Capacity], servers: Sequence[str], workers: Sequence[str], control: Sequence[str], fleet: Fleet) -> None:
    if not servers:
        raise FleetError("There is no server to plan for", "capacities", "", "Put a host into the group localai_server.")
    both = sorted(set(servers) & set(workers))
    if both:
        raise FleetError("A host is a server and a worker", "hosts", some(both), "Take it out of localai_server or out of localai_worker.")
    unread = sorted({*servers, *workers, *control} - set(hosts))
    if unread:
        raise FleetError("The capacity of a host is not known", "capacities", some(unread), READ)
    for name in (*servers, *workers, *control):
        check_capacity(hosts[name], f"capacities.{name}")
    if fleet.placement not in PLACEMENTS:
        raise FleetError("The placement is not known", "placement", str(fleet.placement), f"Use one of {', '.join(PLACEMENTS)}.")


def _topology(topology: str, models: Sequence[Model], servers: Sequence[str], workers: Sequence[str], control: Sequence[str]) -> str:
    """What is asked for, or what the hosts and models make of it; checked."""
    split = [model.name for model in models if model.wanted.shards]
    if topology == "auto":
        topology = SHARDED if split else STANDALONE if len(servers) == 1 else REPLICATED
    if topology not in TOPOLOGIES:
        raise FleetError("The topology is not known", "topology", topology, f"Use one of auto, {', '.join(TOPOLOGIES)}.")
    if topology == STANDALONE and len(servers) > 1:
        raise FleetError("A standalone fleet has one server", "topology", f"{len(servers)} servers", "Use replicated, or leave topology out.")
    if split and topology != SHARDED:
        raise FleetError("A model is to be split over workers in a topology that has none", "topology", f"{topology}, shards of {some(split)}",
                         "Use sharded, or leave shards out.")
    if topology in (SHARDED, DISTRIBUTED) and not workers:
        raise FleetError(f"The topology {topology} has no worker", "topology", "no worker", "Put hosts into the group localai_worker.")
    if topology == DISTRIBUTED and not control:
        raise FleetError("The topology distributed has no host for its database and its messages", "topology", "no control host",
                         "Put a host into the group localai_control.")
    return topology


def _candidates(model: Model, serving: Sequence[str], fleet: Fleet) -> tuple[str, ...]:
    """The hosts that a model may run on: its pins that carry its labels. Where they are fewer than it asks for, the plan refuses it."""
    wanted = model.wanted
    absent = sorted(set(wanted.hosts) - set(serving))
    if absent:
        raise FleetError("A model is pinned to a host that is not a server", f"model {model.name}, hosts", ", ".join(absent),
                         f"The servers are {some(serving)}.")
    return tuple(name for name in serving if name in (wanted.hosts or serving) and set(wanted.labels) <= set(fleet.labels.get(name, ())))


def _apart(models: Sequence[Model], candidates: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Who shares no host with whom; both ways, whoever of the two says it."""
    found: dict[str, set[str]] = {model.name: set(model.wanted.apart_from) for model in models}
    for model in models:
        for other in found.keys() & model.wanted.apart_from:  # a part of what is wanted may be planned, without what is not in the lock yet
            found[other].add(model.name)
    everywhere = [model.name for model in models if model.replicas is None]
    for name in everywhere:
        for other in (other for other in everywhere if other in found[name]):
            shared = sorted(set(candidates[name]) & set(candidates[other]))
            if shared:
                raise FleetError("Two models that are to be apart are both wanted on every server", f"models {name} and {other}", some(shared),
                                 "Give one of them replicas or hosts.")
    return {name: frozenset(others) for name, others in found.items()}


def previously(previous: Mapping[str, Any] | None) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Of an earlier plan: for each model its hosts with its anonymous bytes there, and for each host the memory node of each model.

    A model whose bytes the plan does not tell counts as not grown.
    """
    plan = _checked(previous or {})
    hosts: dict[str, dict[str, int]] = {name: dict.fromkeys(found, UNKNOWN_BYTES) for name, found in (plan.get("placement") or {}).items()}
    nodes: dict[str, dict[str, int]] = {}
    for host, entry in (plan.get("hosts") or {}).items():
        for instance in entry.get("instances") or ():
            for model in instance["models"]:
                hosts.setdefault(model["name"], {})[host] = model["memory"].get("anonymous", UNKNOWN_BYTES)
                if instance.get("node") is not None:
                    nodes.setdefault(host, {}).setdefault(model["name"], instance["node"])
    return hosts, nodes


def _checked(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of an earlier plan that are used, when they have their form. FleetError when they have not."""
    for key, kind in (("hosts", "Mapping[str, PlannedHost] | None"), ("placement", "Mapping[str, tuple[str, ...]] | None")):
        wrong = misfit(plan.get(key), kind, DEPLOYED, NEEDED)
        if wrong is not None:
            raise FleetError("The plan that is deployed is damaged", f"previous.{key}{wrong}", do="Leave it out to plan from nothing.")
    return plan


def deployed_limits(previous: Mapping[str, Any] | None, host: str) -> dict[str, int]:
    """Of an earlier plan: the memory limit in bytes of each of a host's instances, by name."""
    entry = ((previous or {}).get("hosts") or {}).get(host) or {}
    return {instance["name"]: instance["memory_limit"] for instance in entry.get("instances") or () if instance.get("memory_limit")}
