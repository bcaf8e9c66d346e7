# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Which models go to which hosts. First what every host is to have, then what stays, then what is new, then what must make room.

Replicas stay where they are while they fit, so that a plan made from itself is itself, and a change moves only what must move.
A model for every server is on each that holds none of those it is to be apart from: it has its place first, and makes way where one of them
comes, on its last host only when that one has no other.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence

from ._budget import Room
from ._fleet import PACK, Model
from ._memory import Memory

_Elsewhere = dict[str, list[tuple[tuple[Any, ...], Room]]]
"""For each model where else it may go: ranks and rooms, the best first."""


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
        """Whether a model may join what is in the room, where what makes way for it is away."""
        away = self.away(name, room)
        if room.name in self.placed[name] or len(away) < len(self.apart[name].intersection(room.weights)):
            return False
        need, residency = self.need(name, room), self.models[name].wanted.residency
        return room.holds(name, need, residency) or bool(away) and room.without(away).holds(name, need, residency)

    def offered(self, name: str, room: Room) -> Room:
        """The room as a model would find it: what makes way for it is away."""
        away = self.away(name, room)
        return room.without(away) if away else room

    def away(self, name: str, room: Room) -> list[str]:
        """Models in the room that make way for this one: those for every server."""
        return [other for other in self.apart[name].intersection(room.weights) if self.everywhere(other) and not self.everywhere(name)]

    def put(self, name: str, room: Room) -> None:
        for other in self.away(name, room):
            self.take(other, room)
        wanted = self.models[name].wanted
        room.add(name, self.need(name, room), wanted.residency, self.models[name].blob, wanted.weight)
        self.placed[name].add(room.name)

    def take(self, name: str, room: Room) -> None:
        """Take a model away; those for every server that made way for it come back."""
        room.remove(name)
        self.placed[name].remove(room.name)
        for other in sorted(self.apart[name].intersection(self.models)):
            if self.lacks(other, room) and self.fits(other, room):
                self.put(other, room)

    @property
    def short(self) -> int:
        """Places that models lack, all together."""
        return sum(self.unmet(name) for name in self.models)

    def everywhere(self, name: str) -> bool:
        """Whether a model is for every server."""
        return self.models[name].replicas is None

    def lacks(self, name: str, room: Room) -> bool:
        """Whether a model is for every server and not on this one, though none is there that it is to be apart from."""
        return (self.everywhere(name) and room.name not in self.placed[name] and not self.apart[name].intersection(room.weights)
                and room.name in self.candidates[name])

    def unmet(self, name: str) -> int:
        """Places that a model lacks: replicas; of one for every server the hosts that lack it, and at least one of all."""
        replicas, placed = self.models[name].replicas, len(self.placed[name])
        if replicas is not None:
            return max(0, replicas - placed)
        return sum(self.lacks(name, self.rooms[host]) for host in self.candidates[name]) or int(not placed)

    def fitting(self, name: str) -> list[Room]:
        """The rooms that a model may join, the best first."""
        found = [self.rooms[host] for host in self.candidates[name] if self.fits(name, self.rooms[host])]
        return sorted(found, key=lambda room: self.rank(name, room))

    def ousts(self, name: str, room: Room) -> bool:
        """Whether a model for every server would make way here and be nowhere then."""
        return any(len(self.placed[other]) == 1 for other in self.away(name, room))

    def fill(self, name: str) -> list[Room]:
        """Give a model what it lacks, as far as there is room; the rooms that it got."""
        got: list[Room] = []
        found = self.fitting(name)
        for _place in range(self.unmet(name)):
            if found and self.ousts(name, found[0]):  # what came before made it the last one of another
                found = self.fitting(name)
            if not found:
                break
            got.append(found.pop(0))
            self.put(name, got[-1])
        return got

    def rank(self, name: str, room: Room) -> tuple[Any, ...]:
        """The best room for a model has the lowest."""
        if self.placement == PACK:  # used hosts first, the fullest of them; then the largest
            return (self.ousts(name, room), not room.weights, room.usable - room.anonymous if room.weights else -room.usable, room.name)
        return (self.ousts(name, room), room.wish - room.usable, room.load, room.name)


def place(board: Board, before: Mapping[str, Mapping[str, int]], first: Sequence[str] = ()) -> None:
    """Place every model. `before`: for each model the hosts that it is on, with its anonymous bytes there; `first`: models that choose before others."""
    board.placed.update({name: set() for name in board.models})
    some = sorted((name for name in board.models if not board.everywhere(name)), key=lambda name: (-_size(board, name), name))
    yielding = [name for name in board.models if board.everywhere(name) and board.apart[name]]
    staying = [name for name in board.models if board.everywhere(name) and not board.apart[name]]
    for name in (*staying, *first, *yielding):
        board.fill(name)
    _keep(board, some, before)
    for name in (*yielding, *some):
        board.fill(name)
    for name in yielding:
        while board.unmet(name) and _make_way(board, name):
            board.fill(name)
    _fill(board, some)  # where others made way
    _move(board, some)
    _fill(board, some)
    for name in yielding:
        board.fill(name)


def _fill(board: Board, names: Sequence[str]) -> None:
    """Give models what they lack until none gets more: a place for one may be left by what made way for another."""
    while sum(len(board.fill(name)) for name in names):
        pass


def _size(board: Board, name: str) -> int:
    """What a model takes on the largest host, whose instruction sets stand for all."""
    largest = max(board.rooms.values(), key=lambda room: (room.usable, room.name))
    return board.need(name, largest).anonymous


def _keep(board: Board, names: Sequence[str], before: Mapping[str, Mapping[str, int]]) -> None:
    """Replicas stay: first those that others make way for, then those that did not grow, the smallest first. What is left over is then the least."""
    kept = []
    for name in names:
        alone = not any(board.everywhere(other) for other in board.apart[name].intersection(board.models))
        for host, bytes_before in before.get(name, {}).items():
            if host in board.candidates[name]:
                now = board.need(name, board.rooms[host]).anonymous
                kept.append((alone, now > bytes_before, now, name, host))
    for _alone, _grew, _now, name, host in sorted(kept):
        if board.unmet(name) and board.fits(name, board.rooms[host]):
            board.put(name, board.rooms[host])


def _move(board: Board, some: Sequence[str]) -> None:
    """Make room for what has no place, until no single move helps. Each move gives a model a place more, so this ends."""
    short = [name for name in some if board.unmet(name)]
    elsewhere: _Elsewhere = {name: [] for name in some} if short else {}
    _look_again(board, elsewhere, list(board.rooms.values()))
    while short:
        moved = False
        for name in short:
            while board.unmet(name) and _make_room(board, name, elsewhere):
                moved = True
        short = [name for name in short if board.unmet(name)] if moved else []
        for name in short:
            _look_again(board, elsewhere, board.fill(name))


def _look_again(board: Board, elsewhere: _Elsewhere, changed: Sequence[Room]) -> None:
    """Have for each model the rooms that it may join, the best first, after these have changed."""
    names = {room.name for room in changed}
    for name, found in elsewhere.items():
        same = [each for each in found if each[1].name not in names]
        found[:] = sorted(same + [(board.rank(name, room), room) for room in changed if room.name in board.candidates[name] and board.fits(name, room)])


def _make_way(board: Board, name: str) -> bool:
    """Move a replica that a model for every server is to be apart from to a host that lacks it, so that it comes to the host that is left.

    Where it is nowhere, any other host does. No other model for every server may lose by it.
    """
    nowhere = not board.placed[name]
    for other in sorted(board.apart[name].intersection(board.models)):
        targets = [room for room in board.fitting(other) if (nowhere or board.lacks(name, room)) and not board.ousts(other, room)]
        for room in [board.rooms[host] for host in sorted(board.placed[other])] if targets else ():
            board.take(other, room)
            if room.name in board.placed[name] and not any(board.lacks(each, room) for each in board.apart[other].intersection(board.models)):
                board.put(other, min(targets, key=lambda each: not board.lacks(name, each)))
                return True
            board.put(other, room)
    return False


def _make_room(board: Board, name: str, elsewhere: _Elsewhere) -> bool:
    """Move one replica of another model to another host, so that this model gets its place; the smallest that helps."""
    movable = {other for other, found in elsewhere.items() if found}
    moves = []
    for host in board.candidates[name] if movable else ():
        room = board.rooms[host]
        way = sum(board.need(each, room).anonymous + room.base for each in board.away(name, room))
        lacks = board.need(name, room).anonymous - room.left(board.models[name].wanted.residency) - room.base - way
        for other in () if host in board.placed[name] else movable.intersection(room.weights):
            freed = board.need(other, room).anonymous
            if freed >= lacks:
                moves.append((freed, other, host))
    for _bytes, other, host in sorted(moves):
        room, target = board.rooms[host], elsewhere[other][0][1]
        if _swap(board, name, other, room, target):
            _look_again(board, elsewhere, (room, target))
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
