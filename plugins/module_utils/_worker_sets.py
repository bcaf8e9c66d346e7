# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Which workers each model that is split gets. One set a model: a worker serves one connection."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Mapping, Sequence

from ._budget import Room
from ._fleet import Fleet, Model
from ._needs import Needs
from ._plan import Refusal, some
from ._scope import Scope
from ._sharding import SLOW_MILLISECONDS, Split, network_milliseconds, server_part, split

Sets = dict[str, tuple[tuple[str, ...], Split]]


def worker_sets(
    models: Mapping[str, Model], needs: Needs, rooms: Mapping[str, Room], scope: Scope, fleet: Fleet,
) -> tuple[Sets, list[Refusal]]:
    """Workers in order and layers for each model that is to be split; a refusal for each that they cannot hold.

    What takes most of a worker chooses first, in whatever order models are wanted. What is left without chooses first in a further try.
    """
    choice, tries = _Choice(models, needs, rooms, scope, fleet), []
    order = sorted((name for name in models if models[name].wanted.shards), key=lambda name: (-choice.bytes_a_worker(name), name))
    for _try in order:
        tries.append(choice.in_order(order))
        refused = tries[-1][1]
        if not refused:
            break
        order = [*refused, *(name for name in order if name not in refused)]
    sets, failed = min(tries, key=lambda found: len(found[1]), default=({}, {}))
    return sets, [failed[name] for name in models if name in failed]


def near_workers(fleet: Fleet, names: Sequence[str]) -> list[str]:
    """Those that no slow link is known of."""
    return [name for name in names if fleet.round_trip_ms.get(name, 0) <= SLOW_MILLISECONDS]


@dataclass(frozen=True)
class _Choice:
    """What the workers are chosen by."""

    models: Mapping[str, Model]
    needs: Needs
    rooms: Mapping[str, Room]
    scope: Scope
    fleet: Fleet

    def bytes_a_worker(self, name: str) -> int:
        memory = self.needs.whole(name, ())
        return (memory.anonymous + memory.file) // (self.models[name].wanted.shards or 1)

    def in_order(self, names: Sequence[str]) -> tuple[Sets, dict[str, Refusal]]:
        """Models choose in this order, each what it has already while that holds it."""
        free, sets, refused = list(self.scope.workers), {}, {}
        before = ((self.fleet.previous or {}).get("hosts") or {}).items()
        for name in names:
            there = {host for host, entry in before for worker in entry.get("workers") or () if worker["model"] == name}
            near, count = near_workers(self.fleet, free), self.models[name].wanted.shards or 0
            held = self.held(name, near, there, count)
            if not held:
                refused[name] = self.refusal(name, count, near, [host for host in free if host not in near])
                continue
            # Where no server holds the rest of it, the plan refuses it there, with the least bytes.
            sets[name] = next((each for each in held if self.served(name, each[1])), min(held, key=lambda each: each[1].server_layers))
            free = [host for host in free if host not in sets[name][0]]
        return sets, refused

    def held(self, name: str, near: Sequence[str], there: Collection[str], count: int) -> list[tuple[tuple[str, ...], Split]]:
        """The orders of so many workers that hold a model, with its layers on each."""
        memory = self.needs.whole(name, min((self.rooms[host].capacity.isa for host in self.scope.workers), default=()))
        found = ((order, split(self.models[name].header, memory, [self.rooms[host] for host in order])) for order in self.orders(near, there, count))
        return [(order, layers) for order, layers in found if layers]

    def orders(self, near: Sequence[str], there: Collection[str], count: int) -> list[tuple[str, ...]]:
        """Workers to try: those that have the model already and the largest, then the largest of all; none where they are too few.

        The largest one comes last, where the output matrix goes; then the smallest one, which may hold that alone and no layer.
        """
        rooms, found = self.rooms, []
        for first in (there, ()) if 0 < count <= len(near) else ():
            chosen = sorted(near, key=lambda host: (host not in first, -rooms[host].usable, host))[:count]  # pylint: disable=cell-var-from-loop
            found.append(tuple(sorted(chosen, key=lambda host: (rooms[host].usable, host))))
        return [*found, *(order[::-1] for order in found)]

    def served(self, name: str, found: Split) -> bool:
        """Whether a server that has nothing else could hold the layers that are left to it."""
        header, rooms = self.models[name].header, (self.rooms[host] for host in self.scope.candidates[name])
        return any(server_part(header, self.needs.whole(name, room.capacity.isa), found.server_layers).anonymous + room.base <= room.usable for room in rooms)

    def refusal(self, name: str, count: int, near: Sequence[str], slow: Sequence[str]) -> Refusal:
        """Too few workers, slow ones, or too small ones."""
        orders = self.orders(near, (), count)
        if len(near) >= count:
            return Refusal(name, orders[-1][0], f"{name} does not fit on {some(orders[-1])}: its output matrix and a layer on each are more than they have. "
                           "Add memory, or more workers and shards.", 0, {})
        host, why = (near or slow or self.scope.workers or self.scope.servers)[0], ""
        if slow:
            trips = self.fleet.round_trip_ms
            wait = network_milliseconds([slow[0]] * count, trips) or 0.0
            why = (f" {', '.join(f'{other} is {trips[other]:g} ms away' for other in slow)}: over such links a token waits about {wait:g} ms for the "
                   f"network, at most {1000 / wait:.1f} tokens a second.")
        fewer = not slow and any(self.served(name, found) for _order, found in self.held(name, near, (), len(near)))
        return Refusal(name, host, f"{name} is to be split over {count} workers, and of those within {SLOW_MILLISECONDS:g} ms {len(near)} can be had.{why} "
                       "Lower shards, or add workers on a nearer network.", 0, {"shards": len(near)} if fewer else {})
