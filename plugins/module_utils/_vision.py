# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The graph by which llama.cpp's vision encoders (mtmd) make embeddings of the pieces of one image, as its allocator sees it.

A piece is what one run of the graph reads: the whole image, resized, or tiles of it. Nodes are named as in `_blocks`; the order is that of
the engine's graph, so that the replay of `_graph` gives the engine's buffer.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from ._graph import Dim, Graph, Tensor

LAYERS = 3
"""Layers of the graph: all further ones take the room of these."""


@dataclass(frozen=True)
class Encoder:
    """Sizes of one projector: `width` and `hidden` of a patch, `text` of the model's embeddings, `pieces` at once of `patches` each.

    `merge` patches a side become one embedding. `extra` is what the text model takes beside the embedding (deepstack), in embeddings.
    """

    width: int
    hidden: int
    text: int
    patch: int
    merge: int
    patches: int
    pieces: int = 1
    extra: int = 0


@dataclass(frozen=True)
class Look:
    """What differs between kinds. `twice`: two convolutions, for two frames. `token`: a class token beside the patches. `positions`: how they are
    added: "" as weights, "rows" looked up, "two" looked up by axis, "resized", "merged" resized and moved. `ready`: a norm before the layers.
    `inplace`: norms work in place. `fused`: query, keys and values come from one product. `moved`: positions turn queries and keys.
    `clamped`: inputs and outputs of products are. `gated`: the feed-forward is. `masked`: windows by a mask over all patches. `tail`: what
    follows (a method of `_Builder`)."""

    tail: str
    twice: bool = False
    token: bool = False
    positions: str = ""
    ready: bool = False
    inplace: bool = False
    fused: bool = False
    moved: int = 0
    clamped: bool = False
    gated: bool = False
    masked: bool = False


LOOKS: dict[str, Look] = {
    "gemma3": Look("pooled"), "idefics3": Look("shuffled"), "lfm2": Look("shuffled", positions="resized"), "janus_pro": Look("plain"),
    "mlp": Look("picked", token=True, positions="rows", ready=True), "resampler": Look("resampled", positions="rows"),
    "internvl": Look("shuffled", token=True), "llama4": Look("shuffled", token=True, ready=True, moved=2),
    "kimivl": Look("shuffled", positions="resized", moved=2), "pixtral": Look("rowed", ready=True, inplace=True, moved=2, gated=True),
    "qwen2vl_merger": Look("joined", twice=True, moved=1),
    "qwen2.5vl_merger": Look("joined", twice=True, inplace=True, moved=1, gated=True, masked=True),
    "qwen3vl_merger": Look("joined", twice=True, positions="merged", fused=True, moved=1),
    "gemma4v": Look("pooled", positions="two", inplace=True, moved=2, clamped=True, gated=True)}
"""Kinds whose graph is known."""


def graph_of(kind: str, encoder: Encoder) -> Graph:
    """The graph of a kind in `LOOKS` for pieces of these sizes."""
    builder = _Builder(LOOKS[kind], encoder)
    found = builder.layers(builder.start())
    getattr(builder, LOOKS[kind].tail)(found)
    return builder.graph


class _Builder:
    """Adds nodes in the engine's order."""

    def __init__(self, look: Look, encoder: Encoder) -> None:
        self.look, self.encoder, self.graph = look, encoder, Graph()
        self.width, self.hidden = Dim("width", encoder.width), Dim("hidden", encoder.hidden)
        self.patches = Dim("patches", encoder.patches * encoder.pieces)
        self.rows = Dim("rows", (encoder.patches + look.token) * encoder.pieces)
        self.tokens = Dim("image_tokens", encoder.patches // encoder.merge ** 2 * encoder.pieces)
        self.merged = Dim("merged_width", encoder.width * encoder.merge ** 2)
        self.text = Dim("embedding", encoder.text)
        self.pixels = self.graph.leaf("pixels", Dim("patch_pixels", 3 * encoder.patch ** 2), self.patches)
        self.mask = self.graph.leaf("mask", self.patches, self.patches) if look.masked else None
        self.places = self._places()
        self.breaks = self.graph.leaf("breaks", self.text, self.tokens) if look.tail == "rowed" else None
        self.kept: list[Tensor] = []

    def _places(self) -> list[Tensor]:
        """Inputs with the places of patches, one an axis or four in one."""
        if self.look.moved == 1:
            return [self.graph.leaf("positions", Dim("positions", 4 * self.rows))]
        if self.look.tail == "picked":
            return [self.graph.leaf("positions", self.rows), self.graph.leaf("picked", self.patches)]
        return [self.graph.leaf("positions", self.rows) for dummy in range(4 if self.look.tail == "resampled" else self.look.moved)]

    def copy(self, source: Tensor, *lengths: int, width: int = 4) -> Tensor:
        """The same elements in another order, in room of their own."""
        return self.graph.new(source.name, lengths, self.graph.view(source), width=width)

    def row(self, name: str, *sources: Tensor) -> Tensor:
        return self.graph.new(name, (self.width, self.rows), *sources)

    def norm(self, source: Tensor) -> Tensor:
        """Norm, weight and bias; the last two in place."""
        make = self.graph.over if self.look.inplace else self.graph.new
        return make("norm", (self.width, self.rows), source)

    def product(self, name: str, lengths: Sequence[int], source: Tensor) -> Tensor:
        """A product with weights, and its bias in place."""
        if self.look.clamped:
            source = self.graph.over("clamped", source.lengths, source)
        return self.graph.new(name, lengths, source)

    def start(self) -> Tensor:
        """Patches as rows, with their positions."""
        graph, look = self.graph, self.look
        pixels = graph.over("pixels", self.pixels.lengths, self.pixels) if look.clamped else self.pixels
        found = self.convolved(pixels)
        if look.twice:
            found = graph.over("patches", found.lengths, found, self.convolved(pixels))
            found = self.copy(found, self.width, self.patches)
        found = self.copy(found, self.width, self.patches)
        if look.token:
            found = self.row("patches", found, graph.new("class", (self.width, Dim("pieces", self.encoder.pieces))))
        for added in self.positions():
            found = graph.over("patches", found.lengths, found, added)
        if look.masked:
            found = self.row("patches", graph.view(found))
        if not look.twice:
            found = graph.view(found) if not look.ready else self.norm(graph.view(found))
        return found

    def convolved(self, pixels: Tensor) -> Tensor:
        columns = self.graph.new("columns", pixels.lengths, pixels, width=2)
        found = self.graph.new("patches", (self.patches, self.width), self.graph.view(columns))
        return self.copy(found, self.patches, self.width)

    def positions(self) -> list[Tensor]:
        """What is added to the patches for their places."""
        graph, how = self.graph, self.look.positions
        if how in ("rows", "two"):
            return [self.row("positions", *self.places) for dummy in range(2 if how == "two" else 1)]
        if how not in ("resized", "merged"):
            return []
        found = self.copy(graph.new("positions", (self.rows, self.width)), self.width, self.rows)
        if how == "merged":
            found = self.copy(self.copy(found, self.width, self.rows), self.width, self.rows)
        return [found]

    def layers(self, source: Tensor) -> Tensor:
        for index in range(LAYERS + 2 * self.encoder.extra):
            source = self.forward(self.attention(source))
            if index % 2 and index < 2 * self.encoder.extra:
                self.kept.append(source)
        return source

    def attention(self, source: Tensor) -> Tensor:
        graph, size = self.graph, (self.width, self.rows)
        normed = self.norm(source)
        if self.look.fused:
            packed = graph.new("qkv", (Dim("qkv", 3 * self.width), self.rows), normed)
            query, keys, values = (graph.view(packed) for dummy in range(3))
            query, keys = graph.new("q", size, query, *self.places), graph.new("k", size, keys, *self.places)
        else:
            query, keys, values = (self.seen(name, normed) for name in "qkv")
        keys, values = self.copy(keys, *size, width=2), self.copy(values, *size, width=2)
        masks = [self.mask] if self.mask else []
        found = graph.new("attended", size, graph.view(query), keys, values, *masks)
        found = self.product("out", size, graph.view(found))
        if self.look.clamped:
            found = self.norm(found)
        return graph.over("sum", size, found, source)

    def seen(self, name: str, normed: Tensor) -> Tensor:
        """Queries, keys or values, turned by their positions where they are."""
        graph, size = self.graph, (self.width, self.rows)
        found = graph.view(self.product(name, size, normed))
        if self.look.clamped:
            found = graph.new(name, size, found)
        if self.look.moved and name != "v":
            made = graph.over if self.look.clamped else graph.new
            found = made(name, size, found, *self.places)
            if self.look.moved == 2:
                found = graph.over(name, size, found, *self.places)
        return found

    def forward(self, source: Tensor) -> Tensor:
        graph, size = self.graph, (self.hidden, self.rows)
        normed = self.norm(source)
        if self.look.gated:
            hidden = graph.new("hidden", size, self.product("gate", size, normed), self.product("up", size, normed))
        else:
            hidden = graph.over("hidden", size, self.product("up", size, normed))
        down = self.product("down", (self.width, self.rows), hidden)
        if self.look.clamped:
            down = self.norm(down)
        return graph.over("sum", (self.width, self.rows), source, down)

    def mlp(self, source: Tensor, hidden: int) -> Tensor:
        """Up, an activation, and down to the text model's width."""
        found = self.graph.new("projected", (hidden, self.tokens), source)
        return self.graph.new("projected", (self.text, self.tokens), self.graph.over("projected", found.lengths, found))

    def plain(self, source: Tensor) -> None:
        self.mlp(self.graph.view(self.norm(source)), self.text)

    def picked(self, source: Tensor) -> None:
        """Without the class token."""
        self.mlp(self.graph.new("picked", (self.width, self.patches), self.graph.view(source), *self.places), self.text)

    def pooled(self, source: Tensor) -> None:
        """Means of squares of patches."""
        graph, size = self.graph, (self.width, self.tokens)
        found = source if self.look.clamped else self.norm(source)
        found = self.copy(found, self.patches, self.width)
        found = self.copy(graph.new("pooled", size, found), *size)
        found = self.product("projected", (self.text, self.tokens), graph.over("pooled", size, found))
        if not self.look.clamped:
            graph.new("weights", (self.width, self.text), found, width=2)

    def shuffled(self, source: Tensor) -> None:
        """Squares of patches become one row each."""
        graph, size = self.graph, (self.merged, self.tokens)
        found = self.norm(source)
        if self.look.token:
            found = self.copy(found, self.width, self.patches)
        found = self.copy(self.copy(found, *size), *size)
        self.mlp(graph.new("normed", size, graph.view(found)), max(self.merged, self.text))

    def joined(self, source: Tensor) -> None:
        """Rows of a square of patches side by side already; then those of earlier layers beside them."""
        graph, size = self.graph, (self.merged, self.tokens)
        found = self.mlp(graph.view(self.norm(source)), self.merged)
        if self.mask:
            graph.new("projected", found.lengths, graph.view(found), self.mask)
        parts: list[Tensor] = []
        for index, kept in enumerate(self.kept, 1):
            normed = graph.new("deep", size, graph.view(kept))
            deep = self.mlp(normed, self.merged)
            parts = [graph.new("deep", (Dim("deep", index * self.text), self.tokens), *parts, deep)] if parts else [deep]
        if parts:
            graph.new("projected", (Dim("all", (1 + len(self.kept)) * self.text), self.tokens), found, *parts)

    def rowed(self, source: Tensor) -> None:
        """A break after each row of patches: as many as there are tokens in an image of one column."""
        graph, found = self.graph, self.graph.view(source)
        if self.encoder.merge > 1:
            normed = self.norm(found)
            found = self.copy(self.copy(normed, self.patches, self.width), self.merged, self.tokens)
            found = graph.view(graph.new("merged", (self.width, self.tokens), graph.view(found)))
        found = self.mlp(found, self.text)
        breaks = graph.new("breaks", found.lengths, self.breaks)
        graph.new("projected", (Dim("twice", 2 * self.text), self.tokens), graph.view(found), breaks)

    def resampled(self, source: Tensor) -> None:
        """A fixed number of queries looks at all patches."""
        graph, size = self.graph, (self.text, self.patches)
        values = graph.new("values", size, graph.new("values", size, graph.view(self.norm(source))))
        quarter, half = (Dim("quarter", self.text // 4), self.patches), (Dim("half", self.text // 2), self.patches)
        wave, places = graph.new("waves", quarter, *self.places), []
        for dummy in range(2):
            angle = graph.over("waves", quarter, wave, *self.places)
            places.append(graph.new("waves", half, graph.new("waves", quarter, angle), graph.new("waves", quarter, angle)))
        keys = graph.over("keys", size, values, graph.new("places", size, *places))
        keys, values = graph.new("keys", size, keys), graph.new("values", size, values)
        keys, values = self.copy(keys, *size, width=2), self.copy(values, *size, width=2)
        graph.new("attended", (self.text, Dim("queries", 96)), keys, values)
