# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Where a model that nobody asked for yet would fit: the plan's own engine, asked what if. Decides nothing and is deployed by nobody."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from ._capacity import Capacity
from ._errors import FleetError
from ._fleet import Fleet, Model, model_of
from ._gguf import Header
from ._hub import RepoFile
from ._lock import Lock
from ._placement import plan_fleet
from ._wanted import parse_wanted


@dataclass(frozen=True)
class Site:
    """A fleet to fit models into: capacities by host, the models it runs anyway, and the options that a new one would have.

    `options` are those of a wanted model (`context`, `slots`, `kv_type`, ...); the defaults count for the rest.
    """

    capacities: Mapping[str, Capacity]
    beside: Sequence[Model] = ()
    fleet: Fleet = Fleet()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def largest(self) -> int:
        """Bytes of memory of the largest host."""
        known = [[size for size in (capacity.memory_total_bytes, capacity.memory_limit_bytes) if size] for capacity in self.capacities.values()]
        return max((min(sizes) for sizes in known if sizes), default=0)


def fit(
    site: Site, item: Mapping[str, Any], header: Header, files: Sequence[RepoFile], projector: RepoFile | None = None, seeing: Header | None = None,
) -> dict[str, Any]:
    """What the plan would have for a model besides what runs already.

    `item` is the model as `models_wanted` would have it; the site's options come over its own. `files` are all of the model, `projector` the
    file that reads images when it shall, `seeing` its header. `hosts` has, for each host that holds it, `kind`, `threads`, `context`, `slots`,
    `memory` (every term in bytes), `memory_limit` (of its whole container) and `expected_tokens_per_second` (maybe None); `refused` the plan's
    refusals of the others. FleetError for options that the engine refuses.
    """
    name = str(item["name"])
    wanted = parse_wanted([{**item, **site.options, "aliases": []}])[0]
    beside = [model for model in site.beside if model.name != name]  # it would take the place of one of the same name
    digests = tuple(file.sha256 or "" for file in files)
    model = Model(wanted, replace(header, file_size=sum(file.size for file in files)), digests[0], digests)
    if projector and wanted.wants_projector:
        model = replace(model, projector=projector.sha256, projector_size=projector.size, projector_header=seeing)
    plan = plan_fleet(site.capacities, [*beside, model], fleet=site.fleet).as_dict()
    shown = ("kind", "threads", "context", "slots", "memory", "expected_tokens_per_second")
    hosts = {
        host: {**{key: found[key] for key in shown}, "memory_limit": instance["memory_limit"]}
        for host, entry in plan["hosts"].items() for instance in entry["instances"] for found in instance["models"] if found["name"] == name}
    return {"hosts": hosts, "refused": [found for found in plan["refused"] if found["model"] == name]}


def refuse_unfit(plan: Mapping[str, Any]) -> None:
    """FleetError with the plan's own words for a model that no host holds."""
    if not plan["hosts"]:
        reasons = [item["reason"] for item in plan["refused"]]
        raise FleetError("It fits on no host", got="; ".join(reasons[:3]), do=f"{len(reasons) - 3} more say the same." if len(reasons) > 3 else "")


def locked_models(wanted: Sequence[Mapping[str, Any]], lock: Lock) -> tuple[Model, ...]:
    """The wanted models that a lock has; the others are not known well enough to plan with."""
    return tuple(model_of(item, lock.models[item.name]) for item in parse_wanted(wanted) if item.name in lock.models)
