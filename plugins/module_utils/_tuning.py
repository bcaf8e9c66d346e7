# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The measured number of threads of a host class: the fact, whom it is for, how long it holds. Pure Python.

A host class is all hosts with the same fingerprint: what decides how many threads are best, and the engine that was measured.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Mapping, Optional

from ._capacity import Capacity
from ._cgroup import MAX_CPU

SCHEMA = 1
MAX_AGE_DAYS = 180
"""A measurement holds half a year: kernels, firmware and what else runs on a host change without a trace in the fingerprint."""
DAY = 86400
MAX_SPEED = 1e9
"""Tokens per second that no host reaches; a file may hold numbers that are no `float`."""
WORDS = {"cpu_model": "the CPU", "usable_cores": "usable cores", "quota_cores": "the CPU quota", "smt": "SMT"}
AGAIN = "Run localai.fleet.tune again."


def engine_digest(localai: str, backend: str) -> str:
    """One name for the pair of LocalAI's and the backend's images, from their references or digests; "" unless both have one."""
    digests = [reference.rpartition("sha256:")[2] for reference in (localai, backend) if "sha256:" in reference]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if len(digests) == 2 else ""


def fingerprint(capacity: Capacity, engine: str) -> dict[str, Any]:
    """What must be alike where a measurement is to hold; `engine` is an `engine_digest`."""
    return {"cpu_model": capacity.cpu_model, "usable_cores": capacity.usable_cores, "quota_cores": capacity.quota_cores,
            "smt": capacity.smt, "engine": engine}


def fact(threads: Optional[int], speeds: Mapping[int, float], model: Mapping[str, Any], capacity: Capacity, engine: str, host: str,
         now: float) -> dict[str, Any]:
    """The content of a host's `state/tuning.json`.

    `threads`: the best number, None when it is yet to be measured; `speeds`: tokens per second by number of threads; `model`: name and sha256 of what was
    measured; `now`: seconds since 1970.
    """
    return {
        "schema": SCHEMA, "fingerprint": fingerprint(capacity, engine), "measured_at": _text(now), "measured_on": host,
        "model": {"name": model["name"], "sha256": model["sha256"]}, "threads": threads,
        "tokens_per_second": {str(count): speeds[count] for count in sorted(speeds)},
    }


def usable(tuning: Any, capacity: Capacity, engine: str, now: float) -> tuple[Optional[int], str]:
    """The measured threads where they hold, else None; with the reason, when there is a measurement that does not.

    `tuning`: what a host's file holds, None without one. `now`: seconds since 1970. The sentence has no age in days, so that
    a plan stays the same from day to day.
    """
    if tuning is None:
        return None, ""
    measured = _measured_at(tuning)
    if measured is None:
        return None, f"The measured threads are ignored: state/tuning.json is damaged or of another version. {AGAIN}"
    day = tuning["measured_at"][:10]
    differs = _differences(tuning["fingerprint"], fingerprint(capacity, engine))
    if differs:
        return None, f"The threads measured on {day} are ignored: {'; '.join(differs)}. {AGAIN}"
    if now - measured > MAX_AGE_DAYS * DAY:
        return None, f"The threads measured on {day} are ignored: that is more than {MAX_AGE_DAYS} days ago. {AGAIN}"
    if measured - now > DAY:
        return None, f"The threads measured on {day} are ignored: that is in the future, so a clock is wrong. {AGAIN}"
    return tuning["threads"], ""


def judged(capacities: Mapping[str, Capacity], images: Mapping[str, Any], now: float) -> tuple[dict[str, Any], dict[str, str]]:
    """The measurements that hold for the images of the lock, by host, and why others do not."""
    engine = engine_digest(*(f"@{images[key].digest}" if key in images else "" for key in ("localai", "llama_cpp")))
    found = {name: usable(capacity.tuning, capacity, engine, now) for name, capacity in capacities.items()}
    return ({name: capacities[name].tuning for name, (threads, _words) in found.items() if threads},
            {name: words for name, (_threads, words) in found.items() if words})


def told(tuning: Mapping[str, Any]) -> str:
    """Where the threads of a usable measurement come from, in words."""
    speed = tuning["tokens_per_second"].get(str(tuning["threads"]))
    return (f"measured on {tuning['measured_at'][:10]} on {tuning['measured_on']}: {tuning['model']['name']} alone was fastest with "
            f"{tuning['threads']} thread{'s' if tuning['threads'] > 1 else ''}" + (f", {speed:g} tokens per second" if speed else ""))


def speed(tuning: Any, sha256: Optional[str], threads: int) -> Optional[float]:
    """Tokens per second that were measured for this very file with so many threads, else None. Only of a usable measurement."""
    if tuning is None or sha256 is None or tuning["model"]["sha256"] != sha256:
        return None
    return tuning["tokens_per_second"].get(str(threads))


@dataclass(frozen=True)
class Host:
    """A host in a tuning run: its capacity, the fact that it has (or None), the digest of its engine ("" without one)."""

    capacity: Capacity
    tuning: Any
    engine: str


@dataclass(frozen=True)
class Part:
    """What a host does in a tuning run: `measure`, `keep`, `copy` (from `source`) or `nothing`; `sentence` says why."""

    action: str
    source: str
    sentence: str


def assign(hosts: Mapping[str, Host], now: float, force: bool = False) -> dict[str, Part]:
    """Who measures, who keeps, who copies: one measurement a class.

    Where a host of the class has a usable measurement, the newest one is the class's, unless `force`; else the first host
    of the class, in the given order, measures.
    """
    classes: dict[str, list[str]] = {}
    for name, host in hosts.items():
        classes.setdefault(json.dumps(fingerprint(host.capacity, host.engine), sort_keys=True), []).append(name)
    parts = {}
    for names in classes.values():
        parts.update(_assign_class({name: hosts[name] for name in names}, now, force))
    return {name: parts[name] for name in hosts}


def _assign_class(hosts: Mapping[str, Host], now: float, force: bool) -> dict[str, Part]:
    first = next(iter(hosts))
    if not hosts[first].engine:
        return {name: Part("nothing", "", "Nothing is deployed on it.") for name in hosts}
    found = {name: usable(host.tuning, host.capacity, host.engine, now) for name, host in hosts.items()}
    if force or all(threads is None for threads, _sentence in found.values()):
        why = found[first][1] or ("It was asked to." if force else "Its class has no measurement.")
        return {name: Part("measure", first, why) if name == first else Part("copy", first, f"{first} measures for its class.") for name in hosts}
    source = max((name for name in hosts if found[name][0] is not None), key=lambda name: hosts[name].tuning["measured_at"])
    newest = hosts[source].tuning
    kept = f"It has {newest['threads']}, {told(newest)}."
    return {name: Part("keep", source, kept) if host.tuning == newest else Part("copy", source, f"{source} has the measurement of its class.")
            for name, host in hosts.items()}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What is not as it was, in words; digests say nothing to people."""
    found = [f"{words}: {_word(old.get(name))} then, {_word(new[name])} now" for name, words in WORDS.items() if old.get(name) != new[name]]
    return found + (["the engine's images are others now"] if old.get("engine") != new["engine"] else [])


def _measured_at(tuning: Any) -> Optional[float]:
    """Seconds since 1970 of a whole measurement; None for anything else, since people and crashes can damage a file."""
    try:
        right = (tuning["schema"] == SCHEMA and isinstance(tuning["fingerprint"], dict) and _is_count(tuning["threads"])
                 and isinstance(tuning["measured_on"], str) and isinstance(tuning["model"]["name"], str) and "sha256" in tuning["model"]
                 and all(_is_speed(value) for value in tuning["tokens_per_second"].values()))
        moment = datetime.strptime(tuning["measured_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return moment.timestamp() if right else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_CPU


def _is_speed(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < MAX_SPEED


def _text(now: float) -> str:
    return datetime.fromtimestamp(int(now), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
