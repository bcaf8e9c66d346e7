# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Threads from capacity and from the models that run at the same time.

Every layer of a model ends in a barrier where its threads spin. A thread that the scheduler stops (quota, a neighbour,
a sibling) makes all others burn time, so a thread too many costs far more than a thread too few.
"""
from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any, Optional, Sequence

from ._capacity import Capacity
from ._errors import FleetError

RESERVE_FROM_CORES = 4  # from here on one core is left to the system, the server process and the proxy
# The server process needs time beside the threads: 0 of 60 periods throttled with it, 14 to 18 of 50 without (1 thread)
SERVER_CORES = 0.5
THREADS_PER_CHANNEL = 3  # more do not read the weights faster: memory is the limit


@dataclass(frozen=True)
class ModelThreads:
    """`threads` generate tokens (bound by memory), `threads_batch` read prompts (bound by cores)."""

    threads: int
    threads_batch: int


@dataclass(frozen=True)
class Threads:
    """The thread plan of one instance.

    `budget`: cores for inference. `cpus`: the container's CPU limit in cores, half a core above the budget where the
    host has it, so that the server process does not get the threads throttled. `cpuset`: CPUs to pin to, or None.
    `server`: the value of LOCALAI_THREADS, what one model alone would get. `models`: in the order of the weights.
    `max_active`: how many models may run at once when they outnumber the budget, else None.
    """

    budget: int
    reserve: int
    cpus: float
    cpuset: Optional[str]
    server: int
    models: tuple[ModelThreads, ...]
    max_active: Optional[int]

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON-safe values."""
        models = [{"threads": m.threads, "threads_batch": m.threads_batch} for m in self.models]
        return {"budget": self.budget, "reserve": self.reserve, "cpus": self.cpus, "cpuset": self.cpuset,
                "server": self.server, "models": models, "max_active": self.max_active}


def plan_threads(capacity: Capacity, models: Sequence[float] = (1.0,), reserve: Optional[int] = None) -> Threads:
    """Split a host's cores over its resident models.

    `models` holds one weight (expected load, above 0) for each model that may run at the same time as the others.
    `reserve` is the number of cores left to everything else; None is 1 from 4 usable cores on, else 0.
    budget = max(1, usable cores − reserve); the sum of threads, and of batch threads, stays within it whenever each model
    can have one thread. One model never gets more than 3 threads for each memory channel, where the channels are known.

    :raises FleetError: a negative reserve or a weight that is not above 0.
    """
    _check(models, reserve)
    kept = (1 if capacity.usable_cores >= RESERVE_FROM_CORES else 0) if reserve is None else reserve
    budget = max(1, capacity.usable_cores - kept)
    bound = budget if capacity.memory_channels is None else min(budget, THREADS_PER_CHANNEL * capacity.memory_channels)
    decode, batch = _split(budget, models, bound), _split(budget, models, budget)
    return Threads(
        budget=budget,
        reserve=kept,
        cpus=_cpu_limit(capacity, budget),
        cpuset=None,
        server=bound,
        models=tuple(ModelThreads(*pair) for pair in zip(decode, batch)),
        max_active=budget if len(models) > budget else None,
    )


def _cpu_limit(capacity: Capacity, budget: int) -> float:
    """Budget and server, within the quota and the logical CPUs of the host (Docker refuses more than those)."""
    ceilings = [capacity.quota_cores or math.inf, len(capacity.allowed_cpus) or budget]
    return float(round(min(budget + SERVER_CORES, *ceilings), 2))


def _check(models: Sequence[float], reserve: Optional[int]) -> None:
    if reserve is not None and reserve < 0:
        raise FleetError("The number of reserved cores is negative", "reserve", str(reserve), "Give 0 or more.")
    for index, weight in enumerate(models):
        if not 0 < weight < float("inf"):
            raise FleetError("A model's weight must be a number above 0", f"models[{index}]", repr(weight),
                             "Give its expected share of the load, 1 for all when unknown.")


def _split(budget: int, weights: Sequence[float], bound: int) -> list[int]:
    """One thread each, then each further one by the highest average (Sainte-Lague: nearest to the weights)."""
    threads = [1] * len(weights)
    queue = [(-weight / 3, index) for index, weight in enumerate(weights) if bound > 1]
    heapq.heapify(queue)
    for _thread in range(budget - len(weights)):
        if not queue:
            break
        index = heapq.heappop(queue)[1]
        threads[index] += 1
        if threads[index] < bound:
            heapq.heappush(queue, (-weights[index] / (2 * threads[index] + 1), index))
    return threads
