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
from ._fleet import Fleet, Model
from ._gguf import Header
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
        return max((capacity.memory_limit_bytes or 0 for capacity in self.capacities.values()), default=0)


def fit(site: Site, name: str, source: str, header: Header, size: int, sha256: str | None, quant: str) -> dict[str, Any]:
    """What the plan would have for the model besides what runs already.

    `hosts` has, for each host that holds it, `threads`, `context`, `slots`, `memory` (every term in bytes), `memory_limit` (of its whole
    container) and `expected_tokens_per_second` (maybe None); `refused` the plan's refusals of the others. `size` is that of all its files.
    FleetError for options that the engine refuses.
    """
    taken = {word.lower() for model in site.beside for word in model.wanted.served_names}
    mine = name if name.lower() not in taken else f"{name}-new"
    wanted = parse_wanted([{**site.options, "name": mine, "source": source, "quant": quant}])[0]
    model = Model(wanted, replace(header, file_size=size), sha256)
    plan = plan_fleet(site.capacities, [*site.beside, model], fleet=site.fleet).as_dict()
    hosts = {
        host: {key: found[key] for key in ("kind", "threads", "context", "slots", "memory", "expected_tokens_per_second")}
        | {"memory_limit": instance["memory_limit"]}
        for host, entry in plan["hosts"].items() for instance in entry["instances"] for found in instance["models"] if found["name"] == mine}
    return {"hosts": hosts, "refused": [item for item in plan["refused"] if item["model"] == mine]}


def refuse_unfit(plan: Mapping[str, Any]) -> None:
    """FleetError with the plan's own words for a model that no host holds."""
    if not plan["hosts"]:
        reasons = [item["reason"] for item in plan["refused"]]
        raise FleetError("It fits on no host", got="; ".join(reasons[:3]), do=f"{len(reasons) - 3} more say the same." if len(reasons) > 3 else "")
