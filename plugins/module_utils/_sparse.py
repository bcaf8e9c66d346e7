# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The sparse attention of minimax-m3: an indexer scores blocks of tokens, and each group of heads sees the blocks that it chose."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ._graph import Dim, Tensor
from ._shape import Layer, at_layer, index_cached

if TYPE_CHECKING:
    from ._blocks import Block


class Sparse:
    """Attention of the layers with an indexer; the engine has it with flash attention and a cache for each slot only.

    Positions are planned for a full cache: the engine reserves for the first of them, and takes more as a conversation grows.
    """

    def __init__(self, block: Block) -> None:
        self.block, self.graph, get = block, block.graph, block.header.get
        self.key, self.heads = Dim("index_length", get("attention.indexer.key_length")), Dim("index_heads", get("attention.indexer.head_count"))
        self.cells = Dim("cells", block.cells.full.value)
        self.blocks = Dim("blocks", -(-self.cells // get("attention.indexer.block_size")))
        self.best = Dim("chosen_blocks", min(self.blocks, get("attention.indexer.top_k")))
        self.whole: Tensor | None = None
        """The mask in full precision, made when it is first needed."""

    def serves(self, index: int) -> bool:
        """Whether a layer's attention is sparse."""
        settings = self.block.settings
        return settings.flash_attention and (settings.slots == 1 or not settings.unified) and index_cached(self.block.header, index)

    def attend(self, source: Tensor, layer: Layer, index: int) -> Tensor:
        """Attention up to its output matrix."""
        block, graph, rows = self.block, self.graph, self.block.rows
        heads = Dim("heads", at_layer(block.header.get("attention.head_count"), index))
        graph.sink(graph.view(self.indexed(source, 1)), block.input("index_places", rows, width=8))
        shapes = {"q": (layer.key, heads, rows), "k": (layer.key, layer.kv_heads, rows), "v": (layer.value, layer.kv_heads, rows)}
        made: dict[str, Tensor] = {}
        for letter, size in shapes.items():
            item = graph.new(letter, (size[0] * size[1], rows), source)
            item = item if letter == "v" else graph.new(letter, size, graph.view(item), self.block.places())
            made[letter] = block.turn(item, block.rotation(letter, layer), size)
        for letter in "kv":
            graph.sink(graph.view(made[letter]), block.input(f"places_{letter}", rows, width=8))
        block.turns_back(layer, layer.value, heads, rows)
        return self.streams(source, graph.view(made["q"]), Dim("query", layer.value * heads))

    def streams(self, source: Tensor, query: Tensor, width: Dim) -> Tensor:
        """Each slot's tokens see that slot's cache."""
        graph, part, asked = self.graph, self.block.part, None
        found: Tensor | None = None
        for stream in range(self.block.slots):
            keys = graph.new("index_keys", (self.key, self.cells), graph.view(self.block.input("index_slots", self.cells, self.block.slots)))
            asked = asked or graph.view(self.indexed(source, self.heads))
            attended = graph.new("attended", (width, part), query, self.mask(keys, asked))
            attended = graph.view(graph.new("attended", (width, part), graph.view(attended)))
            found = graph.new("attended", (width, part * (stream + 1)), found, attended) if found else attended
        return found or source

    def mask(self, keys: Tensor, asked: Tensor) -> Tensor:
        """What one slot's tokens may see: the blocks with the best scores."""
        graph, part, rows, given, heads = self.graph, self.block.part, self.block.rows, self.block.input, self.heads
        scores = graph.new("index_scores", (self.cells, heads, part), keys, asked)
        scores = graph.view(scores, graph.view(given("index_mask", self.cells, rows)))
        size = (self.blocks, heads, part)
        pooled, bias = graph.new("blocks", size, scores), graph.view(given("block_bias", self.blocks, rows))
        best = graph.new("choice", (self.best, heads, part), graph.over("blocks", size, pooled, bias))
        zeros = graph.new("choice", best.lengths, best)
        hidden = graph.new("blocks", (self.blocks, 1, part), graph.new("blocks", (self.blocks, 1, part), bias), width=2)
        hidden = graph.view(graph.new("blocks", size, hidden, width=2), zeros, graph.view(best))
        hidden = graph.new("blocks", size, graph.view(graph.new("blocks", size, graph.view(hidden), width=2)), width=2)
        wide = graph.new("sparse_mask", (self.cells, heads, part), hidden, graph.view(given("cell_blocks", self.cells, self.block.slots)))
        wide = graph.new("sparse_mask", (self.cells, heads, part), graph.view(wide))
        self.whole = self.whole or graph.new("mask", (self.cells, rows), given("mask", self.cells, rows, width=2))
        return graph.new("sparse_mask", wide.lengths, graph.view(wide, graph.view(self.whole)), width=2)

    def indexed(self, source: Tensor, heads: int) -> Tensor:
        """Keys or queries of the indexer."""
        made = self.graph.new("index", (self.key * heads, self.block.rows), source)
        return self.graph.new("index", (self.key, heads, self.block.rows), self.graph.view(made), self.block.places())
