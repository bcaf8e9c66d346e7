# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How a running LocalAI comes to serve what its settings folder holds. Pure Python.

LocalAI v4.9 does not watch its models. A reload adds and overwrites but never drops; a loaded model keeps its old
settings until its engine process is stopped, and stopping it without a reload starts it with the old settings again.
Only a restart makes memory equal disk.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping


@dataclass(frozen=True)
class Running:
    """One container: the engine's id of it, when it started (as the engine tells it, and in seconds since 1970)."""

    name: str
    container_id: str
    started_at: str
    started: float


@dataclass(frozen=True)
class Decision:
    """What to do: a restart, or a reload and then a stop of the engine processes of `stop`."""

    restart: bool = False
    reload: bool = False
    stop: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.restart or self.reload

    def __str__(self) -> str:
        if self.restart:
            return "restart"
        return "reload" + "".join(f", stop {name}" for name in self.stop) if self.reload else "nothing"


def decide(wanted: Mapping[str, str], recorded: Mapping[str, Any] | None, running: Running, written: float) -> Decision:
    """What `running` needs to serve `wanted`, digests of settings by served name.

    `recorded` is what `record` returned when the container was last brought up to date, or None. `written` is when its
    settings folder last changed, in seconds since 1970. A container that started later has read everything.
    """
    if recorded is None or (recorded.get("container_id"), recorded.get("started_at")) != (running.container_id, running.started_at):
        return Decision(restart=running.started <= written)
    known = recorded.get("models") or {}
    if set(known) - set(wanted):
        return Decision(restart=True)
    differs = sorted(name for name in wanted if known.get(name) != wanted[name])
    return Decision(reload=bool(differs), stop=tuple(name for name in differs if name in known))


def record(wanted: Mapping[str, str], running: Running) -> dict[str, Any]:
    """What to remember of a container that serves `wanted`."""
    return {
        "name": running.name, "container_id": running.container_id, "started_at": running.started_at, "models": dict(sorted(wanted.items())),
    }
