# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The graph that llama.cpp reserves for one micro-batch of a model: its layers, made of the parts in `_blocks` and `_recurrent`.

Checked against the engine byte by byte on random shapes and settings of every architecture in `_styles.STYLES`.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Iterator

from ._blocks import Block
from ._cache import Cells, Settings
from ._gguf import Header
from ._gemma3n import Gemma3n
from ._gemma4 import Gemma4
from ._graph import Graph, Tensor
from ._lightning import Lightning
from ._recurrent import delta, kda, read_rwkv, read_states, rwkv6, rwkv6_forward, rwkv7, rwkv_forward, scan
from ._shape import Shape, at_layer, slides
from ._styles import STYLES, Style, copied, deepstack, expert_width, forward_only, forward_width, guessed, kinds, mixed, shared_width

SCANS = ("mamba1", "mamba2", "conv")
OWN: dict[str, Any] = {"gemma3n": Gemma3n, "gemma4": Gemma4, "minimax-01": Lightning}
"""Architectures whose layers are not those below."""
RULES = {"delta": delta, "kda": kda}


def graphs(header: Header, model: Shape, settings: Settings, cells: Cells) -> Iterator[Graph]:
    """The graphs that a file may have: none where none is known or a key is missing, several where the file may have either of two kinds of tensors."""
    style = STYLES.get(header.architecture)
    if style is None or not _complete(header, model):
        return
    if header.architecture == "gptneox" and not header.get("use_parallel_residual"):
        style = replace(style, parallel="")
    if header.get("swin_norm"):
        style = replace(style, before=False, parallel="after")
    for kind in kinds(header, style):
        block = Block(header, model, settings, cells, kind)
        own = OWN.get(header.architecture)
        yield own(block, replayed(header, model, style)).build() if own else Layers(block).build()


def guesses(header: Header, model: Shape, settings: Settings, cells: Cells) -> Iterator[Graph]:
    """What a file may have whose architecture is not known, or that lacks a key which the graph needs."""
    block = "mamba2" if header.get("ssm.inner_size") and model.block in ("mamba2", "kda") else None
    layers = model.layers if block else tuple(replace(layer, recurrent=False) for layer in model.layers)
    simple = replace(model, mla=False, block=block, layers=layers)
    for style in guessed(header):
        yield Layers(Block(header, simple, settings, cells, style)).build()
    if header.get("wkv.head_size"):
        for name in ("rwkv6", "rwkv7"):
            yield Layers(Block(header, replace(model, block="rwkv"), settings, cells, STYLES[name])).build()
    if header.get("embedding_length_per_layer_input"):
        yield Gemma3n(Block(header, simple, settings, cells, STYLES["gemma3n"]), []).build()


def _complete(header: Header, model: Shape) -> bool:
    """Whether the keys are there that the graph needs."""
    get, needed = header.get, []
    if STYLES[header.architecture].unpacked:
        needed += ["attention.kv_lora_rank", "rope.dimension_count"]
    if header.architecture == "t5":
        needed.append("context_length")
    if header.architecture == "gemma3n":
        needed.append("embedding_length_per_layer_input")
    if model.mla:
        needed += ["attention.kv_lora_rank", "rope.dimension_count", "attention.key_length_mla", "attention.value_length_mla"]
    if STYLES[header.architecture].indexed:
        needed += [f"attention.indexer.{name}" for name in ("key_length", "head_count", "top_k", *(() if model.mla else ("block_size",)))]
    if model.block == "delta":
        needed += [f"ssm.{name}" for name in ("inner_size", "state_size", "group_count", "time_step_rank")]
    if model.block not in ("mamba1", "mamba2", "rwkv") or any(layer.kv_heads for layer in model.layers):
        needed.append("attention.head_count")
    return all(get(name) for name in needed)


class Layers:
    """Layers on a block; `states` are those that a layer's predecessor has read for it."""

    def __init__(self, block: Block) -> None:
        self.block, self.header, self.model, self.style = block, block.header, block.model, block.style
        self.graph = block.graph
        self.chosen = replayed(block.header, block.model, block.style)
        self.states: dict[int, Tensor] = {}

    def build(self) -> Graph:
        """From the embeddings to the logits."""
        current = self.embeddings = self.block.start()
        if self.model.block == "rwkv":
            return self.rwkv(current)
        self.read_next(-1, True)
        for index in self.chosen:
            current = self.layer(current, index)
        return self.block.finish(current)

    def layer(self, source: Tensor, index: int) -> Tensor:
        """One layer, with its residuals."""
        block, style, last = self.block, self.style, index == self.chosen[-1]
        if style.parallel:
            return self.parallel(source, index, last)
        found = self.first_part(source, index)
        if style.crossed:
            source = block.add(found, source)
            found = block.cross(block.norm(source))
        if style.router:
            return self.routed(source, found, index, last)
        if last and not style.late and (not style.early or self.model.layers[index].recurrent):
            found, source = block.last(found), block.last(source)
        elif last and not style.late:
            source, found = block.last(source), block.last(block.out(found))
        elif style.early and not self.model.layers[index].recurrent:
            found = block.out(found)
        if style.post and not found.lengths:
            found = self.graph.new("norm", source.lengths, found)
        joined = block.add(source, found) if "attention" in style.residual else block.add(found, source)
        joined = block.last(joined) if last and style.late else joined
        if self.header.architecture in ("mamba", "mamba2") or self.header.architecture.startswith("nemotron_h"):
            return joined
        normed = block.norm(joined) if style.before or style.after else joined
        if style.again:
            normed = block.norm(block.add(normed, source))
        down = self.forward(normed, index)
        total = block.add(joined, down) if "forward" in style.residual else block.add(down, normed if style.after else joined)
        if block.stacked and index < deepstack(self.model.architecture):
            total = block.add(total, self.graph.view(block.stacked))
        if style.skip:
            skipped = block.last(self.embeddings) if last else self.embeddings
            total = block.add(total, self.graph.over("embeddings", skipped.lengths, skipped))
        return block.norm(total) if style.after else total

    def rwkv(self, current: Tensor) -> Graph:
        """Layers of RWKV: the next one's states are read before a layer's channel mixing."""
        block, first, states, six = self.block, None, read_rwkv(self.block), self.style.version == 6
        current = self.graph.new("norm", current.lengths, current)
        for index in self.chosen:
            joined, normed, first = (rwkv6 if six else rwkv7)(block, current, states, first)
            shift, last, width = states[0], index == self.chosen[-1], forward_width(self.header, index)
            if not last:
                states = read_rwkv(block)
            current = rwkv6_forward(block, joined, normed, shift, width, last) if six else rwkv_forward(block, joined, normed, shift, width)
        return block.finish(current if six else block.last(current))

    def first_part(self, source: Tensor, index: int) -> Tensor:
        """What a layer does before its feed-forward."""
        block, layer = self.block, self.model.layers[index]
        if layer.recurrent and self.model.block in RULES:
            return RULES[self.model.block](block, block.norm(source))
        if layer.recurrent and layer.kv_heads:  # falcon-h1 has both
            found = block.attention(block.norm(source), layer, index)
            rest = scan(block, self.read(index), source)
            return block.add(block.out(found), rest())
        if layer.recurrent:
            rest = scan(block, self.read(index), source)
            self.read_next(index)
            return rest()
        normed = block.norm(source) if self.style.before else source
        if forward_only(self.header, index):
            return self.forward(normed, index)
        if self.model.mla:
            found = block.latent(normed, index)
        else:
            found = block.unpacked(normed, layer, index) if self.style.unpacked else block.attention(normed, layer, index)
        self.read_next(index)
        return found if self.style.early or self.style.router else block.out(found)

    def parallel(self, source: Tensor, index: int, last: bool) -> Tensor:
        """Attention and feed-forward beside each other."""
        block, style = self.block, self.style
        normed = block.norm(source) if style.before else source
        found = block.attention(normed, self.model.layers[index], index)
        if style.parallel == "after":
            found = block.last(block.out(found)) if last else block.out(found)
            down = self.forward(found, index)
            return block.add(down, block.add(found, block.last(source) if last else source))
        if style.parallel == "first":
            found = block.out(found)
            if last:
                found, normed, source = block.last(found), block.last(normed), block.last(source)
            return block.add(block.add(self.forward(normed, index), found), source)
        if style.parallel == "own":
            source = block.last(source) if last else source
            normed = block.norm(source)
        else:
            apart = style.apart_from and self.header.tensor_count > style.apart_from * len(self.model.layers)
            normed = block.norm(source) if apart else normed
            normed = block.last(normed) if last else normed
        down = self.forward(normed, index)
        if style.parallel == "last":
            found = block.add(down, block.last(block.out(found)) if last else block.out(found))
            return block.add(found, block.last(source) if last else source)
        source = block.last(source) if last and style.parallel == "late" else source
        down, found = block.add(down, source), block.out(found)
        return block.add(down, block.last(found) if last else found)

    def routed(self, source: Tensor, attended: Tensor, index: int, last: bool) -> Tensor:
        """The router, or all experts, see the layer's input: they run before attention's output."""
        block, get, width = self.block, self.header.get, expert_width(self.header, index)
        used = at_layer(get("expert_used_count"), index)
        count = get("expert_count") or used
        if self.style.router == "source":
            ranked = block.router(source, count)
            choice = block.chosen(block.last(ranked) if last else ranked, used)
            found = block.out(attended)
            joined = block.add(block.last(found), block.last(source)) if last else block.add(found, source)
            return block.add(block.mixture(block.norm(joined), used, count, width, choice), joined)
        source = block.last(source) if last else source
        experts, found = block.mixture(block.norm(source), used, count, width), block.out(attended)
        joined = block.add(block.last(found) if last else found, source)
        return block.add(experts, block.add(block.feed_forward(block.norm(joined), forward_width(self.header, index)), joined))

    def forward(self, normed: Tensor, index: int) -> Tensor:
        """The dense feed-forward, or experts and what is shared beside them."""
        block, graph, style, get = self.block, self.graph, self.style, self.header.get
        width = forward_width(self.header, index)
        if not mixed(self.header, index):
            return block.feed_forward(normed, width)
        used = at_layer(get("expert_used_count"), index)
        count = get("expert_count") or used
        if style.shared == "chunks":
            return self.twice(normed, used, count, index)
        found = block.mixture(normed, used, count, expert_width(self.header, index))
        self.read_next(index, True)
        if get("moe_latent_size"):
            found = graph.new("mixture", normed.lengths, found)
        shared = shared_width(self.header, index)
        if style.shared == "dense":
            return block.add(block.feed_forward(normed, width), found)
        if not style.shared or not shared:
            return found
        beside = block.feed_forward(normed, shared, "shared_width")
        if style.shared == "gate":
            beside = graph.over("down", beside.lengths, beside, graph.new("gate", (1, normed.lengths[-1]), normed))
        return block.add(found, beside)

    def twice(self, normed: Tensor, used: int, count: int, index: int) -> Tensor:
        """Experts, and of their result groups of experts by the same router."""
        block, get = self.block, self.header.get
        ranked, groups = block.router(normed, count), count // (get("experts_per_group") or 1)
        found = block.mixture(normed, used, count, expert_width(self.header, index), block.chosen(ranked, used))
        more = min(used, groups)
        return block.add(found, block.mixture(found, more, groups, get("expert_chunk_feed_forward_length") or 0, block.chosen(ranked, more)))

    def read(self, index: int) -> Tensor:
        """The states of a layer, read now unless its predecessor did."""
        if index not in self.states:
            self.states[index] = read_states(self.block)
        return self.states[index]

    def read_next(self, index: int, after_experts: bool = False) -> None:
        """The engine reads the next layer's states as soon as it builds it: before what is still to run of this one, and of dense feed-forwards between."""
        if self.model.block not in SCANS or not (after_experts or not mixed(self.header, index)):
            return
        layers = (other for other in self.chosen if other > index and (mixed(self.header, other) or not forward_only(self.header, other)))
        following = next(layers, None)
        if following is not None and self.model.layers[following].recurrent and not self.model.layers[following].kv_heads:
            self.read(following)


def replayed(header: Header, model: Shape, style: Style) -> list[int]:
    """The layers that are built: all, but for an even number of periods where they repeat, as two periods later the same room is used again."""
    if (style.indexed and model.mla) or style.version:  # each layer has an input of its own; states of RWKV come to lie elsewhere with each layer
        return list(range(len(model.layers)))
    kinds = [_kind(header, model, style, index) for index in range(len(model.layers))]
    count = len(kinds)
    for period in range(1, 9):
        for lead in range(min(4, count)):
            if all(kinds[index] == kinds[index + period] for index in range(lead, count - period)):
                periods = (count - lead) // period
                kept = lead + period * min(periods, (4 if period == 1 else 2) + periods % 2)
                return [*range(kept), *range(lead + period * periods, count)]
    return list(range(count))


def _kind(header: Header, model: Shape, style: Style, index: int) -> tuple[object, ...]:
    """All that makes a layer's graph."""
    layer, window = model.layers[index], bool(model.window) and (not model.cached or header.architecture == "gemma4") and slides(header, index)
    return (layer, window, mixed(header, index), copied(header, layer, index, style), forward_width(header, index),
            at_layer(header.get("attention.head_count"), index), at_layer(header.get("expert_used_count"), index),
            expert_width(header, index), min(index, deepstack(header.architecture)))
