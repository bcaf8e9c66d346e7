# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The graph of gemma4: normed values, the last layers on the cache of earlier ones, experts beside a dense feed-forward, and inputs to each layer."""
from __future__ import annotations

from ._blocks import Block
from ._graph import Dim, Graph, Tensor
from ._shape import Layer, at_layer, slides
from ._styles import expert_width, forward_width


class Gemma4:
    """Layers `chosen` on a block; `inputs` are those of all layers, made when the first one needs them."""

    def __init__(self, block: Block, chosen: list[int]) -> None:
        self.block, self.graph, self.header, self.chosen = block, block.graph, block.header, chosen
        self.size = block.header.get("embedding_length_per_layer_input") or 0
        self.all = Dim("per_layer_inputs", self.size * len(block.model.layers))
        self.selected: Tensor | None = None
        self.inputs: Tensor | None = None

    def build(self) -> Graph:
        """From the embeddings to the logits."""
        block, rows = self.block, self.block.rows
        if self.size:
            self.selected = self.graph.new("per_layer_inputs", (self.all, rows), self.graph.leaf("tokens", rows))
        embeddings = current = block.start()
        for index in self.chosen:
            current = self.layer(current, index, index == self.chosen[-1], embeddings)
        return block.finish(current)

    def layer(self, source: Tensor, index: int, last: bool, embeddings: Tensor) -> Tensor:
        """Attention, feed-forward, and what the layer's own input adds."""
        block = self.block
        found = block.out(self.attention(block.norm(source), block.model.layers[index], index))
        if last:
            found, source = block.last(found), block.last(source)
        joined = block.add(found, source)
        if self.header.get("expert_used_count"):
            down = self.experts(joined, index)
        else:
            down = block.feed_forward(block.norm(joined), forward_width(self.header, index))
        current = block.add(down, joined)
        return self.own_input(current, last, embeddings) if self.size else current

    def attention(self, source: Tensor, layer: Layer, index: int) -> Tensor:
        """Queries, and keys and values where the layer has a cache of its own."""
        block, graph, rows, get = self.block, self.graph, self.block.rows, self.header.get
        window = bool(block.model.window) and slides(self.header, index)
        heads = Dim("heads", at_layer(get("attention.head_count"), index))
        seen = Layer(layer.kv_heads, layer.key, layer.value, window)
        shapes = {"q": (Dim("key_length", layer.key), heads, rows), "k": (Dim("key_length", layer.key), Dim("kv_heads", layer.kv_heads), rows),
                  "v": (Dim("value_length", layer.value), Dim("kv_heads", layer.kv_heads), rows)}
        made = {}
        for letter in "qkv" if layer.kv_heads else "q":
            size, matrix = shapes[letter], block.rotation(letter, seen)
            item = graph.view(graph.new(letter, (size[0] * size[1], rows), source))
            item = graph.new(letter, size, item, *(() if letter == "v" else (block.places(),)))
            made[letter] = block.turn(item, matrix, size)
        found = block.attend(made, shapes, seen)
        block.turns_back(seen, shapes["v"][0], heads, rows)
        return found

    def experts(self, joined: Tensor, index: int) -> Tensor:
        """Experts, then the dense feed-forward, each from a norm of its own."""
        block, get = self.block, self.header.get
        used = at_layer(get("expert_used_count"), index)
        choice = block.chosen(block.router(block.norm(joined), get("expert_count") or used), used)
        found = block.mixture(block.norm(joined), used, get("expert_count") or used, expert_width(self.header, index), choice)
        return block.add(block.feed_forward(block.norm(joined), forward_width(self.header, index)), found)

    def own_input(self, current: Tensor, last: bool, embeddings: Tensor) -> Tensor:
        """A gate of the layer's result times the layer's input, added."""
        block, graph, rows = self.block, self.graph, current.lengths[-1]
        gate = graph.new("gate", (self.size, rows), current)
        own = graph.view(self.all_inputs(embeddings))
        if last:
            own = graph.new("per_layer_inputs", (self.size, rows), own, block.input("outputs", block.outputs))
        gate = graph.over("gate", gate.lengths, gate, own)
        return block.add(current, graph.new("recurrent", (block.embedding, rows), gate))

    def all_inputs(self, embeddings: Tensor) -> Tensor:
        """Inputs of all layers, made when the first one needs them."""
        graph, rows = self.graph, self.block.rows
        if self.inputs is None:
            lengths = (self.size, self.all // self.size, rows)
            made = graph.new("per_layer_inputs", lengths, graph.view(graph.new("per_layer_inputs", (self.all, rows), embeddings)))
            chosen = graph.over("per_layer_inputs", (self.all, rows), self.selected)
            made = graph.over("per_layer_inputs", lengths, made, graph.view(chosen))
            self.inputs = graph.new("per_layer_inputs", (Dim("per_layer_inputs", self.all), rows), graph.view(made))
        return self.inputs
