# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A compute graph as ggml's allocator sees it, and the bytes that the allocator gives it.

ggml-alloc walks the nodes in the order they run: a node takes over the room of a source that nothing else needs where its
operation works in place and both have the same layout, else it gets the smallest free block that fits, else more room at the
end; after it, the room of sources that nothing else needs is free again. Replayed here node by node: equal to the byte.
"""
from __future__ import annotations

from typing import Iterable, Sequence

from ._formula import Formula, formula, named

ALIGNMENT = 32
"""ggml-cpu aligns every tensor to this."""


class Dim(int):
    """A length with the name it has in formulas."""

    name: str

    def __new__(cls, name: str, value: int) -> Dim:
        found = super().__new__(cls, value)
        found.name = name
        return found


class Tensor:
    """A node: `lengths` in elements of `width` bytes, `root` what it is a view of, `uses` nodes that still read it, `views` of it."""

    __slots__ = ("name", "lengths", "width", "size", "sources", "over", "root", "unread", "uses", "views", "offset", "held", "index")

    def __init__(self, name: str, lengths: Sequence[int], width: int, sources: Sequence[Tensor], over: bool, root: Tensor | None, index: int) -> None:
        self.name, self.lengths, self.width, self.sources, self.over, self.root, self.index = name, tuple(lengths), width, sources, over, root, index
        self.unread = self.held = False
        self.uses = self.views = self.offset = 0
        size = width
        for length in lengths:
            size *= length
        self.size = (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


class Graph:
    """Nodes in the order they run. Every method gives the new node."""

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []
        self.nodes: list[Tensor] = []

    def leaf(self, name: str, *lengths: int, width: int = 4) -> Tensor:
        """An input; it has room from the start."""
        found = Tensor(name, lengths, width, (), False, None, len(self.leaves))
        self.leaves.append(found)
        return found

    def new(self, name: str, lengths: Sequence[int], *sources: Tensor, width: int = 4) -> Tensor:
        """A node that needs room of its own."""
        return self._node(name, lengths, width, sources, False, None)

    def over(self, name: str, lengths: Sequence[int], *sources: Tensor, width: int = 4) -> Tensor:
        """A node whose operation works in place."""
        return self._node(name, lengths, width, sources, True, None)

    def view(self, of: Tensor, *others: Tensor) -> Tensor:
        """Another layout of the same room."""
        return self._node(of.name, (), 0, (of, *others), False, of.root or of)

    def part(self, of: Tensor, lengths: Sequence[int]) -> Tensor:
        """The first elements of each row: a view with lengths of its own, whose room no node takes over."""
        return self._node(of.name, lengths, 0, (of,), False, of.root or of)

    def sink(self, *sources: Tensor) -> None:
        """A node that writes to a cache."""
        self._node("", (), 0, sources, False, None)

    def _node(self, name: str, lengths: Sequence[int], width: int, sources: Sequence[Tensor], over: bool, root: Tensor | None) -> Tensor:
        found = Tensor(name, lengths, width, sources, over, root, len(self.nodes))
        self.nodes.append(found)
        for source in sources:
            source.uses += 1
        if root is not None:
            root.views += 1
        return found


class _Room:
    """ggml_dyn_tallocr with one chunk: free blocks by offset, the last one without end."""

    def __init__(self) -> None:
        self.free: list[list[int]] = [[0, 1 << 60]]
        self.size = 0

    def take(self, size: int) -> int:
        best, last = None, len(self.free) - 1
        for index in range(last):
            have = self.free[index][1]
            if have >= size and (best is None or have <= self.free[best][1]):
                best = index
        block = self.free[last if best is None else best]
        offset = block[0]
        block[0] += size
        block[1] -= size
        if not block[1]:
            self.free.remove(block)
        self.size = max(self.size, offset + size)
        return offset

    def give(self, offset: int, size: int) -> None:
        free, at = self.free, 0
        while at < len(free) and free[at][0] < offset:
            at += 1
        if at < len(free) and offset + size == free[at][0]:
            size += free.pop(at)[1]
        if at and sum(free[at - 1]) == offset:
            free[at - 1][1] += size
        else:
            free.insert(at, [offset, size])


def replay(graph: Graph) -> tuple[int, list[Tensor]]:
    """Bytes of the buffer, and what lay in it when it was largest. A graph can be replayed once."""
    room, held = _Room(), {}
    peak: list[Tensor] = []

    def place(node: Tensor) -> None:
        nonlocal peak
        before = room.size
        node.offset, node.held = room.take(node.size), True
        held[id(node)] = node
        if room.size > before:
            peak = list(held.values())

    def release(node: Tensor) -> None:
        if node.held and not node.unread and not node.uses and not node.views:
            room.give(node.offset, node.size)
            node.held = False
            del held[id(node)]

    for node in graph.leaves:
        place(node)
    for node in graph.nodes:
        if node.width and not node.held:
            old = _takes_over(node) if node.over else None
            if old is None:
                place(node)
            else:
                node.offset, node.held, old.held = old.offset, True, False
                del held[id(old)]
                held[id(node)] = node
        for source in node.sources:
            source.uses -= 1
            if source.root is not None:
                if not source.uses and not source.views:
                    source.root.views -= 1
                    release(source.root)
            else:
                release(source)
    return room.size, peak


def _takes_over(node: Tensor) -> Tensor | None:
    """The source whose room the node can have."""
    for source in node.sources:
        if source.held and not source.unread and source.uses == 1 and not source.views and source.lengths == node.lengths and source.width == node.width:
            return source
    return None


def explained(size: int, peak: Iterable[Tensor]) -> Formula:
    """The sum of what lay in the buffer, alike tensors together, and the gaps between."""
    groups: dict[tuple[tuple[str, ...], int], list[Tensor]] = {}
    for tensor in peak:
        key = tuple(sorted(getattr(length, "name", str(length)) for length in tensor.lengths if length != 1)), tensor.width
        groups.setdefault(key, []).append(tensor)
    total = formula(0)
    for tensors in groups.values():
        first = tensors[0]
        product = formula(len(tensors) * first.width)
        for length in first.lengths:
            if length != 1 or isinstance(length, Dim):
                product = product * named(getattr(length, "name", str(length)), int(length))
        total += product
    return total + named("gaps", size - total.value) if size != total.value else total
