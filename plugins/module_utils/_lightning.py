# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The graph of minimax-01: linear attention with decays, full attention in each eighth layer, experts, and residuals that are the norms."""
from __future__ import annotations

from ._blocks import Block
from ._graph import Dim, Graph, Tensor
from ._recurrent import copies
from ._shape import at_layer, largest
from ._styles import expert_width


class Lightning:
    """Layers `chosen` on a block."""

    def __init__(self, block: Block, chosen: list[int]) -> None:
        self.block, self.graph, self.header, self.chosen = block, block.graph, block.header, chosen
        self.heads, self.head = Dim("heads", largest(block.header.get("attention.head_count"))), Dim("head", block.model.layers[0].key)
        self.row = (Dim("inner", self.heads * self.head), block.rows)

    def build(self) -> Graph:
        """From the embeddings to the logits."""
        current = self.block.start()
        for index in self.chosen:
            current = self.layer(current, index, index == self.chosen[-1])
        return self.block.finish(current)

    def layer(self, source: Tensor, index: int, last: bool) -> Tensor:
        """Attention of either kind, and experts; each is added to the norm that it had."""
        block, graph, get, layer = self.block, self.graph, self.header.get, self.block.model.layers[index]
        state = self.read() if layer.recurrent else None
        normed = block.norm(source)
        found = self.linear(normed, state) if state else block.out(block.attention(normed, layer, index))
        found, normed = (block.last(found), block.last(normed)) if last else (found, normed)
        normed = block.norm(block.add(found, graph.over("norm", normed.lengths, normed)))
        used = at_layer(get("expert_used_count"), index)
        down = block.mixture(normed, used, get("expert_count") or used, expert_width(self.header, index))
        return block.add(down, graph.over("norm", normed.lengths, normed))

    def read(self) -> Tensor:
        """The states of all slots."""
        return self.graph.new("states", (Dim("state", self.heads * self.head * self.head), self.block.slots), copies(self.block))

    def decay(self, name: str, *lengths: int) -> Tensor:
        """An input, scaled for a layer."""
        given = self.block.input(name, *lengths)
        return self.graph.over(name, given.lengths, given)

    def linear(self, normed: Tensor, state: Tensor) -> Tensor:
        """Linear attention: what the states know, and the tokens of the micro-batch among each other."""
        block, graph, row, part, slots = self.block, self.graph, self.row, self.block.part, self.block.slots
        joined = graph.view(graph.new("qkv", (Dim("qkv", 3 * row[0]), block.rows), graph.view(normed)))
        scaled = graph.new("q", row, joined, self.decay("q_decay", 1, self.heads, part, slots))
        known = graph.new("attended", row, graph.view(state), graph.view(scaled))
        values, square = graph.new("values", row, joined), (part, part, self.heads, slots)
        scores = graph.new("scores", square, joined)
        scores = graph.over("scores", square, scores, self.decay("decay", *square))
        found = graph.over("attended", row, known, graph.new("attended", row, values, scores))
        kept = graph.new("states", state.lengths, graph.view(state), self.decay("slopes", self.heads))
        keys = graph.new("k", row, joined, self.decay("k_decay", 1, self.heads, part, slots))
        keys = graph.new("k", row, graph.view(keys))
        graph.sink(graph.over("states", state.lengths, kept, graph.new("states", state.lengths, keys, values)))
        gate = graph.new("gate", row, graph.view(normed))
        found = graph.new("attended", row, graph.view(graph.new("attended", row, graph.view(found))))
        return graph.view(graph.new("attention", (block.embedding, block.rows), graph.over("gate", row, gate, found)))
