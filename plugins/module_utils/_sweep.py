# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A sweep over numbers of threads: what to run, in which order, and what follows from the speeds. Pure Python.

Every number of threads is measured in short turns, one after another and again, so that a neighbour's load hits all alike.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median
from typing import Any, Callable, Mapping, Optional, Sequence

from ._capacity import Capacity
from ._errors import FleetError
from ._modelyaml import render

MOST = 8
"""Numbers of threads that one sweep tries at most."""
TOLERANCE = 0.01
"""Within this share of the fastest, fewer threads are better: they leave cores to others. No more than what such a measurement is off by anyhow
(1 to 3 % from one sweep to the next), as both add up against what the fastest would give."""
CONTEXT = 512
"""Tokens: the prompt and the longest turn fit."""
WARM_TOKENS = 8
MOST_TOKENS = 128
TURN_SECONDS = 1.0
BUSY_SHARE = 0.1
THROTTLED_SHARE = 0.05
GENERATING = ("chat", "completion")


@dataclass(frozen=True)
class Turn:
    """One completion: tokens per second of its decoding, and the share of quota periods in which the threads were stopped."""

    threads: int
    tokens_per_second: float
    throttled: float


@dataclass(frozen=True)
class Measured:
    """All turns with one number of threads: the median speed, the slowest and the fastest turn, the mean throttled share."""

    threads: int
    tokens_per_second: float
    lowest: float
    highest: float
    turns: int
    throttled: float


@dataclass(frozen=True)
class World:
    """How a sweep reaches the engine: `turn(threads, tokens)`, which loads what is not loaded, `unload(threads)`, `clock()` in seconds."""

    turn: Callable[[int, int], Turn]
    unload: Callable[[int], None]
    clock: Callable[[], float]


# --- what to run: on the controller, from what is deployed and from the plan


def wanted(instances: Sequence[Mapping[str, Any]], lock: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """The item of `models_wanted` to plan the sweep with: a model that the host has, with a small context and nothing else.

    `instances` and `lock` are what is deployed on the host; `name` is a model's, or "" for the smallest. FleetError when
    there is none that generates text.
    """
    models = {model["name"]: model for instance in instances for model in instance["models"] if model["kind"] in GENERATING}
    if name and name not in models:
        raise FleetError("The model to measure with is none that generates text on this host", "tuning_model", name,
                         f"Name one of {', '.join(sorted(models)) or 'a host that has one'}, or leave it out.")
    if not models:
        raise FleetError("No model on this host generates text, so there is no speed to measure", do="Deploy one first.")
    chosen = models[name] if name else min(models.values(), key=lambda model: (model["memory"]["file"], model["name"]))
    locked = lock["models"][chosen["name"]]
    return {"name": chosen["name"], "source": locked["source"], "quant": locked["quant"], "kind": chosen["kind"], "kv_type": chosen["kv_type"],
            "context": CONTEXT, "slots": 1, "prompt_cache_mib": 0}


def candidates(budget: int) -> list[int]:
    """The numbers of threads to try: all up to one above the budget when they are few, else evenly spread ones.

    One above the budget shows what a thread too many costs; the plan uses it only where a quota leaves a part of a core (`_threads`).
    """
    if budget + 1 <= MOST:
        return list(range(1, budget + 2))
    return sorted({round(budget * step / (MOST - 2)) for step in range(1, MOST - 1)} | {max(1, budget // (2 * MOST)), budget + 1})


def options(planned: Mapping[str, Any], capacity: Capacity) -> dict[str, Any]:
    """The options of `thread_sweep` that follow from the plan of `wanted` on this host.

    `planned`: the host's entry of that plan. Copies of the model stay loaded beside each other where half of the memory that
    is free now holds them, because loading takes longer than measuring. FleetError when one copy does not fit into it.
    """
    instance = planned["instances"][0]
    model, needed = instance["models"][0], instance["memory_planned"]
    threads = candidates(max(1, int(instance["cpus"])))
    free = _free(capacity)
    if free is not None and free < needed:
        raise FleetError("The host has too little free memory to measure beside what runs on it", f"model {model['name']}",
                         f"{free} bytes free, {needed} needed", "Name a smaller model in tuning_model, or stop other programs.")
    copies = 1 if free is None else max(1, min(len(threads), 1 + (free // 2 - needed) // max(1, model["memory"]["anonymous"])))
    return {"candidates": [{"threads": count, "settings": _settings(model, count)} for count in threads], "loaded": copies, "cpus": instance["cpus"],
            "cpuset": instance["cpuset"] or "", "memory_limit": instance["memory_limit"] + (copies - 1) * model["memory"]["anonymous"],
            "tmp_size": instance["tmp_size"]}


def _free(capacity: Capacity) -> Optional[int]:
    """What is free beside our own containers: a new plan may use their memory again, a sweep may not."""
    available = capacity.memory_available_bytes
    return None if available is None else available - capacity.memory_used_by_deployment_bytes


def _settings(model: Mapping[str, Any], threads: int) -> str:
    """A model's settings with so many threads; JSON is YAML too."""
    return json.dumps({**render({**model, "threads": threads}, {}), "name": served(threads)}, indent=1) + "\n"


def served(threads: int) -> str:
    """The name by which the sweep's LocalAI serves a number of threads."""
    return f"threads-{threads}"


# --- the sweep: on the host


def sweep(threads: Sequence[int], loaded: int, seconds: float, world: World) -> list[Turn]:
    """Turns in rounds until the time is up; every other round runs backwards, so that what is loaded is used again.

    `loaded`: how many numbers of threads may be loaded at once. `seconds` bounds the whole: no turn is begun that would not
    end in time if it took as long as the longest of its kind, and one that outlasts it is left out. FleetError when not every
    number had its turn.
    """
    end = world.clock() + seconds
    longest = {False: 0.0, True: 0.0}  # with and without a load before it
    held: dict[int, int] = {}  # what is loaded, the oldest first: threads → tokens of a turn
    turns: list[Turn] = []
    order = list(threads)
    while True:
        for count in order:
            start, quick = world.clock(), count in held
            if start + longest[quick] > end:
                return _whole(turns, threads, seconds)
            try:
                turns.append(_turn(count, held, loaded, world))
            except FleetError:
                if world.clock() < end:
                    raise
                return _whole(turns, threads, seconds)
            longest[quick] = max(longest[quick], world.clock() - start)
        order.reverse()


def _turn(count: int, held: dict[int, int], loaded: int, world: World) -> Turn:
    """One turn of about a second; what is not loaded is loaded first, and warmed up by a few tokens that tell its speed."""
    if count not in held:
        while len(held) >= loaded:
            oldest = next(iter(held))
            del held[oldest]
            world.unload(oldest)
        warm = world.turn(count, WARM_TOKENS)
        held[count] = max(WARM_TOKENS, min(MOST_TOKENS, round(warm.tokens_per_second * TURN_SECONDS)))
    return world.turn(count, held[count])


def _whole(turns: list[Turn], threads: Sequence[int], seconds: float) -> list[Turn]:
    missing = sorted(set(threads) - {turn.threads for turn in turns})
    if missing:
        raise FleetError("The time was too short to measure every number of threads", "tuning_seconds", f"{seconds:g}, none left for {_words(missing)} threads",
                         "Raise it, or name a smaller model in tuning_model.")
    return turns


def summary(turns: Sequence[Turn]) -> list[Measured]:
    """The turns by number of threads."""
    found = []
    for count in sorted({turn.threads for turn in turns}):
        own = [turn for turn in turns if turn.threads == count]
        speeds = [turn.tokens_per_second for turn in own]
        found.append(Measured(count, round(median(speeds), 2), round(min(speeds), 2), round(max(speeds), 2), len(own),
                              round(sum(turn.throttled for turn in own) / len(own), 3)))
    return found


def best(measured: Sequence[Measured]) -> int:
    """The fewest threads within `TOLERANCE` of the fastest."""
    top = max(one.tokens_per_second for one in measured)
    return min(one.threads for one in measured if one.tokens_per_second >= (1 - TOLERANCE) * top)


def table(measured: Sequence[Measured], chosen: int) -> list[str]:
    """Lines for people."""
    lines = ["threads  tokens/s  lowest  highest  turns  throttled"]
    for one in measured:
        mark = "  <- best" if one.threads == chosen else ""
        speeds = f"{one.tokens_per_second:>8.1f}  {one.lowest:>6.1f}  {one.highest:>7.1f}"
        lines.append(f"{one.threads:>7}  {speeds}  {one.turns:>5}  {100 * one.throttled:>7.0f} %{mark}")
    return lines


def remarks(measured: Sequence[Measured], chosen: int, load: float, cpus: int) -> list[str]:
    """What makes a measurement doubtful: `load` is the load average before it, of `cpus` logical CPUs."""
    found = []
    if load > BUSY_SHARE * cpus:
        found.append(f"The load average was {load:.1f} before it began, on {cpus} CPUs: other work slows more threads first. "
                     "Measure again with tuning_force when the host is quiet.")
    stopped = next(one.throttled for one in measured if one.threads == chosen)
    if stopped > THROTTLED_SHARE:
        found.append(f"Even with {chosen} thread{'s' if chosen > 1 else ''} a CPU limit stopped the engine in {100 * stopped:.0f} % of its periods: "
                     "its own, where threads are above it, else look for a quota above the container's.")
    return found


def _words(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
