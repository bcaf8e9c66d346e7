# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The indexer of deepseek32 and glm-dsa: keys of its own, whose scores choose the tokens that attention may see."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ._graph import Dim, Tensor
from ._shape import index_cached

if TYPE_CHECKING:
    from ._blocks import Block


class Indexer:
    """One a model; its keys are stored before a layer's attention is built, its choice is made after."""

    def __init__(self, block: Block) -> None:
        self.block, self.graph, get = block, block.graph, block.header.get
        self.key, self.heads = Dim("index_length", get("attention.indexer.key_length")), Dim("index_heads", get("attention.indexer.head_count"))
        self.cells = Dim("cells", block.cells.full.value)
        self.best = Dim("chosen_tokens", min(self.cells, get("attention.indexer.top_k")))
        self.choice: Tensor | None = None

    def store(self, source: Tensor, index: int) -> None:
        """The layer's keys go to their cache."""
        if not index_cached(self.block.header, index):
            return
        block, graph, size = self.block, self.graph, (self.key, self.block.rows)
        made = graph.new("index", size, graph.new("index", size, source))
        made = self.turned(graph.new("index", size, graph.view(made), self.block.places()))
        graph.sink(graph.view(made), block.input("index_places", block.rows, width=8))

    def mask(self, packed: Tensor, source: Tensor, index: int) -> Tensor:
        """The mask that lets attention see the chosen tokens only."""
        block, graph, rows = self.block, self.graph, self.block.rows
        width = 2 if block.settings.flash_attention else 4
        zeros = graph.leaf("zeros", self.best, rows)
        zeros = graph.over("zeros", zeros.lengths, zeros)
        if index_cached(self.block.header, index):  # others use the last choice
            query = graph.new("index_query", (self.key * self.heads, rows), packed)
            query = self.turned(graph.new("index_query", (self.key, self.heads, rows), graph.view(query), self.block.places()))
            weights = graph.new("index_weights", (self.heads, rows), graph.view(graph.new("index_weights", (self.heads, rows), source)))
            scores = graph.new("index_scores", (self.cells, rows), graph.view(query), weights, block.input("index_mask", self.cells, rows, width=2))
            self.choice = graph.new("choice", (self.best, rows), graph.new("choice", (self.best, rows), scores))
        mask = block.input("mask", self.cells, rows, width=width)
        hidden = graph.view(graph.over("mask", mask.lengths, mask, width=width), zeros, graph.view(self.choice or zeros))
        return graph.over("mask", mask.lengths, graph.view(hidden), mask, width=width)

    def turned(self, item: Tensor) -> Tensor:
        """Rows multiplied with a rotation, whatever the cache's type is."""
        wide = self.key & -self.key
        return self.graph.new("index", item.lengths, self.block.input("index_rotation", wide, wide), item)
