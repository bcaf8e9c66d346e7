# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A plan as people look at it: sizes and counts in words, and where a host's memory goes. Pure Python, no markup."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from ._budget import ON_DEMAND_LOADED
from ._plan import ON_DEMAND


@dataclass(frozen=True)
class Term:
    """A part of a host's memory: its key, a code of two letters for bars, its name, and what it is."""

    key: str
    code: str
    name: str
    about: str
    sources: tuple[str, ...] = ()


TERMS = (
    Term("kv", "KV", "KV cache", "keys and values of the tokens in the context", ("kv_full", "kv_window")),
    Term("state", "ST", "State", "recurrent state of each slot", ("state",)),
    Term("compute", "CO", "Compute", "the engine's scratch memory while it reads a batch", ("compute",)),
    Term("output", "OU", "Output", "scores of the next token", ("output",)),
    Term("repack", "RP", "Repacked weights", "weights copied into the order that this CPU reads fastest", ("repack",)),
    Term("prompt_cache", "PC", "Prompt cache", "prompts seen before, at its bound", ("prompt_cache",)),
    Term("checkpoints", "CP", "Checkpoints", "saved states of window and recurrent layers, at their bound", ("checkpoints",)),
    Term("projector", "PR", "Projector", "the part that reads images, and a draft model", ("projector", "draft")),
    Term("base", "BA", "Engine", "the engine's process: tables of the vocabulary, code, stacks", ("base",)),
    Term("weights", "WE", "Weights", "weights that are read instead of mapped", ("weights",)),
    Term("server", "SV", "Server", "LocalAI's own process and its /tmp"),
    Term("worker", "WK", "Workers", "parts of models that are split over several hosts"),
    Term("files", "FI", "File pages", "model files and programs in the page cache, within the limit; the kernel may drop them"),
    Term("free", "FR", "Free", "not given to any instance"),
    Term("reserved", "RS", "Reserved", "left to the system, the container engine and the proxy"),
)


@dataclass(frozen=True)
class Part:
    """A term with its bytes."""

    term: Term
    bytes: int


def instance_parts(instance: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of an instance by term's key. They add up to its memory limit."""
    models = sorted(instance["models"], key=lambda model: -model["memory"]["anonymous"])
    counted = models[:ON_DEMAND_LOADED] if instance.get("residency") == ON_DEMAND else models
    found = {term.key: sum(model["memory"].get(name, 0) for model in counted for name in term.sources) for term in TERMS if term.sources}
    rest = max(0, instance["memory_planned"] - sum(found.values()))
    return {**found, "server": rest, "files": max(0, instance["memory_limit"] - instance["memory_planned"])}


def host_parts(host: Mapping[str, Any]) -> tuple[Part, ...]:
    """Where a host's memory goes, in the order of `TERMS`, without what is zero. The sum is all its memory."""
    total: dict[str, int] = {"reserved": host["memory_reserved_bytes"]}
    for instance in host["instances"]:
        for key, size in instance_parts(instance).items():
            total[key] = total.get(key, 0) + size
    total["worker"] = sum(worker.get("memory_limit", 0) for worker in host.get("workers") or [])
    total["free"] = max(0, host["memory_usable_bytes"] - sum(size for key, size in total.items() if key != "reserved"))
    return tuple(Part(term, total[term.key]) for term in TERMS if total.get(term.key))


def used_bytes(host: Mapping[str, Any]) -> int:
    """What the limits of a host's containers take together."""
    return sum(item.get("memory_limit", 0) for item in (*host["instances"], *(host.get("workers") or [])))


def served(host: Mapping[str, Any]) -> list[str]:
    """Names of the models on a host, each once, then those that it has a part of."""
    whole = [model["name"] for instance in host["instances"] for model in instance["models"]]
    return list(dict.fromkeys(whole + [f"a part of {worker['model']}" for worker in host.get("workers") or []]))


def fits_with(change: Mapping[str, Any]) -> str:
    """The options that would make a refused model fit, in words; empty for none."""
    return ", ".join(f"{name} {value}" for name, value in change.items())


def exact(size: int) -> str:
    """Bytes to the last digit, in groups of three."""
    return f"{size:,}"


def percent(part: int, whole: int) -> str:
    """A share of a whole, with a dot whatever the locale; for people and for widths."""
    return f"{100 * part / whole:.2f}%" if whole else "0%"


def plural(count: int, word: str) -> str:
    """`1 model`, `2 models`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def span(values: Iterable[Any]) -> str:
    """One value, or the lowest to the highest; with a word when some are not known."""
    given = set(values)
    known = sorted(given - {None})
    if not known:
        return "unknown"
    return (str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}") + (" or unknown" if None in given else "")
