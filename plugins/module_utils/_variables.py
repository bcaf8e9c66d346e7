# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Variables that carry a role's name but that no role knows. Pure Python."""
from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Iterable, Mapping, Sequence

# What the public variables of these roles start with, where it is not the role's name alone: others own that prefix (AWX gives every job
# variables that begin with awx_), or it is a matter of the fleet.
PREFIXES = {"awx": ("awx_fleet_",), "docker": ("docker_engine_",), "common": ("common_", "fleet_lock_")}
# From this likeness on, a name is taken for a slip of the pen.
CLOSE = 0.6
# Set by the collection while it runs, never by a user.
INTERNAL = {"localai_capacity", "localai_deployed"}


def known_names(specs: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of all options of all entry points; each of `specs` is one role's meta/argument_specs.yml."""
    entries = [entry for spec in specs for entry in (spec.get("argument_specs") or {}).values()]
    return {name for entry in entries for name in (entry.get("options") or {})}


def prefixes(roles: Iterable[str]) -> tuple[str, ...]:
    """What the public variables of these roles start with."""
    return tuple(start for role in sorted(roles) for start in PREFIXES.get(role, (f"{role}_",)))


def unknown_names(names: Iterable[str], known: Iterable[str], starts: Sequence[str]) -> list[str]:
    """A sentence for each of `names` that starts as ours do and is not known, with the nearest known one of the same role."""
    every = set(known) | INTERNAL
    ours = [(name, start) for name in sorted(set(names) - every) for start in starts if name.startswith(start)]
    return [_sentence(name, start, every - INTERNAL) for name, start in ours]


def _sentence(name: str, start: str, known: set[str]) -> str:
    """Compared without the role's prefix, which all of them share and which would make everything look alike."""
    rest = sorted(other[len(start):] for other in known if other.startswith(start))
    near = get_close_matches(name[len(start):], rest, n=1, cutoff=CLOSE)
    if near:
        return f"The variable {name} is unknown: did you mean {start}{near[0]}?"
    if rest:
        nearest = get_close_matches(name[len(start):], rest, n=1, cutoff=0.0)[0]
        return f"The variable {name} is unknown: the nearest known one is {start}{nearest}, of {', '.join(start + other for other in rest)}."
    return f"The variable {name} is unknown: no role has an option that starts so."
