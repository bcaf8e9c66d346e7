# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Which models go to which hosts. First what every host is to have, then what stays, then what is new, then what must make room.

Replicas stay where they are while they fit, so that a plan made from itself is itself, and a change moves only what must move.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence

from ._budget import BASE_BYTES, Room
from ._fleet import PACK, Model
from ._memory import Memory


@dataclass
class Board:
    """Models on rooms. `candidates` are the hosts that each model may run on; `apart` are models that share no host with it."""

    rooms: dict[str, Room]
    models: Mapping[str, Model]
    candidates: Mapping[str, Sequence[str]]
    apart: Mapping[str, frozenset[str]]
    memory: Callable[[str, tuple[str, ...]], Memory]
    placement: str
    placed: dict[str, set[str]] = field(default_factory=dict)

    def need(self, name: str, room: Room) -> Memory:
        return self.memory(name, room.capacity.isa)

    def fits(self, name: str, room: Room) -> bool:
        """Whether a model may join what is in the room."""
        wanted = self.models[name].wanted
        return (room.name not in self.placed[name] and room.holds(name, self.need(name, room), wanted.residency)
                and not (self.apart[name] and self.apart[name].intersection(room.weights)))

    def put(self, name: str, room: Room) -> None:
        wanted = self.models[name].wanted
        room.add(name, self.need(name, room), wanted.residency, self.models[name].blob, wanted.weight)
        self.placed[name].add(room.name)

    def take(self, name: str, room: Room) -> None:
        room.remove(name)
        self.placed[name].remove(room.name)

    @property
    def short(self) -> int:
        """Places that models lack, all together."""
        return sum(self.unmet(name) for name in self.models)

    def unmet(self, name: str) -> int:
        """Places that a model lacks. One that goes everywhere need not be where those are that it keeps apart from."""
        if self.models[name].replicas is not None or not self.apart[name]:
            return max(0, self.missing(name))
        free = [host for host in self.candidates[name] if host not in self.placed[name] and not self.apart[name].intersection(self.rooms[host].weights)]
        return len(free) or int(not self.placed[name])

    def missing(self, name: str) -> int:
        """Replicas that a model lacks; for one that goes everywhere, the hosts that are left."""
        return (self.models[name].replicas or len(self.candidates[name])) - len(self.placed[name])

    def fitting(self, name: str) -> list[Room]:
        """The rooms that a model may join, the best first."""
        return sorted((self.rooms[host] for host in self.candidates[name] if self.fits(name, self.rooms[host])), key=self._rank)

    def fill(self, name: str) -> bool:
        """Give a model what it lacks, as far as there is room; True when it got something."""
        found = self.fitting(name)[:max(0, self.missing(name))]
        for room in found:
            self.put(name, room)
        return bool(found)

    def _rank(self, room: Room) -> tuple[Any, ...]:
        if self.placement == PACK:  # used hosts first, the fullest of them; then the largest
            return (not room.weights, room.usable - room.anonymous if room.weights else -room.usable, room.name)
        return (room.wish - room.usable, room.load, room.name)


def place(board: Board, before: Mapping[str, Mapping[str, int]], first: Sequence[str] = ()) -> None:
    """Place every model. `before`: for each model the hosts that it is on, with its anonymous bytes there; `first`: models that choose before others."""
    board.placed.update({name: set() for name in board.models})
    everywhere = [name for name, model in board.models.items() if model.replicas is None]
    some = sorted((name for name in board.models if name not in everywhere), key=lambda name: (-_size(board, name), name))
    for name in everywhere:
        if not board.apart[name]:
            board.fill(name)
    for name in first:
        board.fill(name)
    _keep(board, some, before)
    for name in some:
        board.fill(name)
    _move(board, some)
    for name in everywhere:
        if board.apart[name]:  # where those that it keeps apart from are not
            board.fill(name)


def _size(board: Board, name: str) -> int:
    """What a model takes on the largest host, whose instruction sets stand for all."""
    largest = max(board.rooms.values(), key=lambda room: (room.usable, room.name))
    return board.need(name, largest).anonymous


def _keep(board: Board, names: Sequence[str], before: Mapping[str, Mapping[str, int]]) -> None:
    """Replicas stay: first those that did not grow, the smallest first. What is left over is then the least."""
    kept = []
    for name in names:
        for host, bytes_before in before.get(name, {}).items():
            if host in board.candidates[name]:
                now = board.need(name, board.rooms[host]).anonymous
                kept.append((now > bytes_before, now, name, host))
    for _grew, _now, name, host in sorted(kept):
        if board.missing(name) > 0 and board.fits(name, board.rooms[host]):
            board.put(name, board.rooms[host])


def _move(board: Board, some: Sequence[str]) -> None:
    """Make room for what has no place, until no single move helps. Each move gives a model a place more, so this ends."""
    elsewhere: dict[str, list[Room]] = {}
    short = [name for name in some if board.missing(name) > 0]
    while short:
        moved = False
        for name in short:
            while board.missing(name) > 0 and _make_room(board, name, some, elsewhere):
                elsewhere.clear()
                moved = True
        short = [name for name in short if board.missing(name) > 0] if moved else []
        for name in short:
            board.fill(name)


def _make_room(board: Board, name: str, some: Sequence[str], elsewhere: dict[str, list[Room]]) -> bool:
    """Move one replica of another model to another host, so that this model gets its place; the smallest that helps.

    `elsewhere` remembers where else each model would fit, until something is moved.
    """
    for other in some:
        if other not in elsewhere:
            elsewhere[other] = board.fitting(other)[:2]
    movable = {other for other in some if elsewhere[other]}
    moves = []
    for host in board.candidates[name] if movable else ():
        room = board.rooms[host]
        lacks = board.need(name, room).anonymous - room.left(board.models[name].wanted.residency) - BASE_BYTES
        for other in () if host in board.placed[name] else movable.intersection(room.weights):
            freed = board.need(other, room).anonymous
            if freed >= lacks and any(target is not room for target in elsewhere[other]):
                moves.append((freed, other, host))
    for _bytes, other, host in sorted(moves):
        if _swap(board, name, other, board.rooms[host], next(room for room in elsewhere[other] if room.name != host)):
            return True
    return False


def _swap(board: Board, name: str, other: str, room: Room, target: Room) -> bool:
    """Another model leaves the room for `target`, and this one comes; False, and nothing is changed, when it still does not fit."""
    board.take(other, room)
    if not board.fits(name, room):
        board.put(other, room)
        return False
    board.put(name, room)
    board.put(other, target)
    return True
