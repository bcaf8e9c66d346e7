# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role tuning: who measures, with what, and the fact that comes of it."""
from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Callable, Mapping

from ansible_collections.localai.fleet.plugins.plugin_utils._filters import Engine, told

_capacity = Engine("_capacity")
_sweep = Engine("_sweep")
_tuning = Engine("_tuning")


def tuning_parts(capacities: Mapping[str, Any], deployed: Mapping[str, Any], force: bool = False, now: float | None = None) -> dict[str, Any]:
    """What each host does, by name."""
    read = {name: _capacity.Capacity.from_dict(data, f"capacity of {name}") for name, data in capacities.items()}
    hosts = {name: _tuning.Host(capacity, capacity.tuning, _engine(deployed[name])) for name, capacity in read.items()}
    return {name: asdict(part) for name, part in _tuning.assign(hosts, time.time() if now is None else now, force).items()}


def sweep_wanted(deployed: Mapping[str, Any], lock: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """The model to plan the measurement with."""
    return _sweep.wanted(deployed["instances"], lock, name)


def sweep_options(planned: Mapping[str, Any], capacity: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the module thread_sweep."""
    return _sweep.options(planned, _capacity.Capacity.from_dict(capacity))


def tuning_fact(swept: Mapping[str, Any], deployed: Mapping[str, Any], capacity: Mapping[str, Any], model: Mapping[str, Any], host: str,
                now: float | None = None) -> dict[str, Any]:
    """What is kept of a measurement."""
    speeds = {one["threads"]: one["tokens_per_second"] for one in swept["measured"]}
    return _tuning.fact(swept["threads"], speeds, model, _capacity.Capacity.from_dict(capacity), _engine(deployed), host, time.time() if now is None else now)


def _engine(deployed: Mapping[str, Any]) -> str:
    """The digest of the engine that a host runs; empty for a host that runs none."""
    return _tuning.engine_digest(deployed["image"], deployed["backend_image"]) if deployed.get("instances") else ""


class FilterModule:
    """Names by which the role calls them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"sweep_options": told(sweep_options), "sweep_wanted": told(sweep_wanted), "tuning_fact": told(tuning_fact), "tuning_parts": told(tuning_parts)}
