# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How a running LocalAI comes to serve what is wanted of it. Pure Python.

LocalAI v4.9 does not watch its models. A reload adds and overwrites but never drops; a loaded model keeps the settings that it was
loaded with. Settings are revisions, so a change is a new revision, a move of the names to it, and the end of the old one.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Collection, Mapping

from ._modelyaml import is_revision


@dataclass(frozen=True)
class Running:
    """One container: the engine's id of it, when it started (as the engine tells it, and in seconds since 1970), its first process, its limit in bytes or 0."""

    name: str
    container_id: str
    started_at: str
    started: float
    pid: int = 0
    memory_limit: int = 0


@dataclass(frozen=True)
class Known:
    """What a running LocalAI knows: the names that it lists, the target of each alias, the models that are loaded."""

    listed: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    loaded: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wanted:
    """The revisions of an instance, and the revision that each served name points to."""

    revisions: frozenset[str]
    names: Mapping[str, str]

    @property
    def all(self) -> frozenset[str]:
        return self.revisions | frozenset(self.names)

    @property
    def served(self) -> frozenset[str]:
        """The revisions that names point to."""
        return frozenset(self.names.values())


@dataclass(frozen=True)
class Steps:
    """What to do, in this order: load beside what runs, reload, stop, load what had no room or other settings before, remove files, forget names."""

    load: tuple[str, ...] = ()
    reload: bool = False
    stop: tuple[str, ...] = ()
    load_later: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.load or self.reload or self.stop or self.load_later or self.remove or self.forget)

    def __str__(self) -> str:
        parts = [f"load {name}" for name in self.load] + (["reload"] if self.reload else []) + [f"stop {name}" for name in self.stop]
        parts += [f"load {name}" for name in self.load_later] + [f"remove {name}" for name in self.remove] + [f"forget {name}" for name in self.forget]
        return ", ".join(parts) or "nothing"


def suspects(wanted: Wanted, known: Known, recorded: Mapping[str, Any] | None, running: Running, written: Mapping[str, float],
             digests: Mapping[str, str]) -> frozenset[str]:
    """Revisions that LocalAI may have read with other settings than their files have now.

    That is one whose file was written after the container started (`written`, seconds since 1970, by name) and that LocalAI knows, though no
    run recorded that it was told these very settings: somebody changed the file and it was repaired.
    """
    same = recorded is not None and (recorded.get("container_id"), recorded.get("started_at")) == (running.container_id, running.started_at)
    told = (recorded or {}).get("models") or {} if same else {}
    return frozenset(name for name in wanted.revisions & known.listed
                     if written.get(name, 0.0) > running.started and told.get(name) != digests.get(name))


def decide(wanted: Wanted, known: Known, files: Collection[str], suspect: Collection[str] = (), load: bool = True,
           needs: Mapping[str, int] | None = None, room: int | None = None) -> Steps:
    """What a running LocalAI needs to serve `wanted` and nothing else.

    `files`: the names of all files of its settings folder. `load`: whether what the served names point to is loaded, before a name moves to it;
    else its first request loads it. One of `suspect` is loaded when it was read again. `needs`: memory of a revision that cannot be dropped, `room`:
    what there is beside what runs, bytes; None is unlimited. Where there is no room the old revision goes first.
    """
    moving = {name for name, target in wanted.names.items() if known.aliases.get(name) != target}
    served = wanted.served if load else frozenset()
    coming = tuple(sorted(served - known.loaded - frozenset(suspect)))
    fits = room is None or sum((needs or {}).get(name, 0) for name in coming) <= room
    old = known.loaded - wanted.revisions
    unwanted = tuple(sorted(name for name in files if name.removesuffix(".yaml") not in wanted.all or not name.endswith(".yaml")))
    gone = {name[:-len(".yaml")] for name in unwanted if name.endswith(".yaml")} | old
    return Steps(
        load=coming if fits else (), reload=bool(moving or suspect or wanted.all - known.listed), stop=tuple(sorted(old | (set(suspect) & known.loaded))),
        load_later=(*(() if fits else coming), *sorted(served & frozenset(suspect))), remove=unwanted,
        forget=tuple(sorted(name for name in known.listed - wanted.all if name in gone or not is_revision(name))))


def record(digests: Mapping[str, str], running: Running) -> dict[str, Any]:
    """What to remember of a container that was told the settings with these digests."""
    return {
        "name": running.name, "container_id": running.container_id, "started_at": running.started_at, "models": dict(sorted(digests.items())),
    }
