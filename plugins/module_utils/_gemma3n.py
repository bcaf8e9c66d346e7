# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The graph of gemma3n: four streams, of which each layer predicts all, computes one and corrects the others; inputs to each layer, as in gemma4."""
from __future__ import annotations

from ._blocks import Block
from ._gemma4 import Gemma4
from ._graph import Dim, Graph, Tensor
from ._styles import forward_width

STREAMS, RANK, SPARSE = 4, 64, 10
"""Streams, the rank of the learned residual, and the first layers whose gates are cut to their largest; the engine has these as constants."""


class Gemma3n(Gemma4):
    """All layers on a block: they repeat in no period."""

    def __init__(self, block: Block, chosen: list[int]) -> None:
        super().__init__(block, list(range(len(block.model.layers))))
        self.row, self.streams = (block.embedding, block.rows), (block.embedding, block.rows, Dim("streams", STREAMS))
        self.others = (block.embedding, block.rows, Dim("other_streams", STREAMS - 1))

    def build(self) -> Graph:
        """From the embeddings to the logits."""
        block, graph, row = self.block, self.graph, self.row
        embeddings = block.start()
        self.selected = graph.new("per_layer_inputs", (self.all, block.rows), graph.leaf("tokens", block.rows))
        self.selected = graph.new("per_layer_inputs", (self.size, self.all // self.size, block.rows), graph.view(self.selected))
        added = graph.new("streams", self.others, graph.new("streams", self.others, embeddings))
        current = graph.new("streams", self.streams, embeddings, self.scaled(added, graph.over("streams", row, embeddings)))
        for index in self.chosen:
            current = self.streams_of(current, index, embeddings)
        added = graph.new("streams", self.others, graph.view(current))
        added = self.scaled(added, graph.new("streams", row, graph.view(current)))
        found = graph.new("sum", row, graph.view(current), graph.view(added))
        for dummy in range(STREAMS - 2):
            found = graph.over("sum", row, found, graph.view(added))
        return block.finish(block.last(found))

    def scaled(self, added: Tensor, squares: Tensor) -> Tensor:
        """Streams brought to the length of one of them."""
        graph, rows = self.graph, self.block.rows
        found = graph.over("streams", self.others, added, graph.new("length", (1, rows), squares))
        return graph.over("streams", self.others, found, graph.new("length", (1, *self.others[1:]), graph.over("streams", self.others, added)))

    def streams_of(self, source: Tensor, index: int, embeddings: Tensor) -> Tensor:
        """One layer."""
        block, graph, row = self.block, self.graph, self.row
        predicted = self.predicted(source)
        normed = graph.new("norm", row, graph.view(predicted))
        found = block.out(self.attention(normed, block.model.layers[index], index))
        found = graph.over("sum", row, found, graph.view(predicted))
        learned = graph.new("residual", row, graph.new("residual", (RANK, block.rows), normed))
        joined = graph.over("sum", row, found, graph.over("residual", row, learned, normed))
        found = graph.over("sum", row, self.forward(block.norm(joined), index), joined)
        corrected = self.corrected(predicted, found)
        gate = graph.new("gate", (self.size, block.rows), graph.new("gate", row, graph.view(corrected)))
        gate = graph.over("gate", gate.lengths, gate, graph.view(self.all_inputs(embeddings)))
        rest = graph.new("streams", self.others, graph.view(corrected), graph.new("recurrent", row, gate))
        return graph.new("streams", self.streams, graph.view(corrected), rest)

    def predicted(self, source: Tensor) -> Tensor:
        """Every stream, from all of them."""
        graph, rows, streams = self.graph, self.block.rows, self.streams[2]
        turned = graph.new("streams", (streams, *self.row), graph.view(source))
        chosen = graph.new("chosen", (streams, rows), graph.new("norm", self.row, graph.view(source)))
        mixed = graph.new("streams", (streams, *self.row), turned, graph.view(graph.new("chosen", (streams * streams, rows), chosen)))
        return graph.over("streams", self.streams, graph.new("streams", self.streams, graph.view(mixed)), source)

    def corrected(self, predicted: Tensor, found: Tensor) -> Tensor:
        """What the layer found beyond its prediction, added to each stream."""
        graph, rows, streams = self.graph, self.block.rows, self.streams[2]
        repeated = graph.new("streams", self.streams, graph.over("sum", self.row, found, graph.view(predicted)))
        chosen = graph.new("chosen", (streams, rows), graph.over("norm", self.row, found))
        weights = graph.new("chosen", (1, rows, streams), graph.view(graph.new("chosen", (streams, rows), chosen)))
        return graph.over("streams", self.streams, graph.over("streams", self.streams, repeated, weights), predicted)

    def forward(self, normed: Tensor, index: int) -> Tensor:
        """The feed-forward; the gates of the first layers are cut by their mean and deviation."""
        graph, rows = self.graph, self.block.rows
        size = (Dim("feed_forward", forward_width(self.header, index)), rows)
        up, gate = graph.new("up", size, normed), graph.new("gate", size, normed)
        if index < SPARSE:
            mean = graph.new("mean", (1, rows), gate)
            deviation = graph.new("mean", (1, rows), graph.over("gate", size, gate, mean))
            gate = graph.over("gate", size, gate, graph.over("mean", (1, rows), mean, deviation))
        return graph.new("down", self.row, graph.over("up", size, up, gate))
