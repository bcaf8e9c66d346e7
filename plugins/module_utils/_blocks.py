# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Parts of the graph that llama.cpp builds for one micro-batch: attention, feed-forward, experts; nodes in the order they run.

Only what the allocator sees is here: which node needs room, which works in place, and until when each is needed. What works in place on
a node that nothing else reads (biases, scales, activations, further norms) changes nothing and is left out.
"""
from __future__ import annotations

from typing import Callable, Sequence

from ._cache import KV_TYPES, Cells, Settings
from ._gguf import Header
from ._graph import Dim, Graph, Tensor
from ._indexed import Indexer
from ._shape import ALL_ROWS, Layer, Shape, all_logits, at_layer, largest, slides, uncached
from ._sparse import Sparse
from ._styles import Style, copied, deepstack, order, placed

PRODUCTS = {"q": "query", "k": "keys", "v": "values"}


class Block:
    """A graph being built: the model's dimensions, the inputs that exist so far, and the parts. Every part gives its last node."""

    def __init__(self, header: Header, model: Shape, settings: Settings, cells: Cells, style: Style) -> None:
        self.header, self.model, self.settings, self.cells, self.style = header, model, settings, cells, style
        self.graph = Graph()
        self.inputs: dict[str, Tensor] = {}
        self.slots = Dim("slots", settings.slots)
        self.rows = Dim("rows", (cells.ubatch.value + settings.slots - 1) // settings.slots * settings.slots)
        self.part = Dim("rows_a_slot", self.rows // settings.slots)
        self.embedding = Dim("embedding", model.embedding)
        self.alone = uncached(model)
        every = settings.embeddings or all_logits(header, False) or header.architecture in ALL_ROWS
        asked = self.rows if cells.ubatch.value == self.rows or style.unchosen else Dim("micro_batch", cells.ubatch.value)
        self.outputs = asked if every else self.slots
        self.indexer = Indexer(self) if style.indexed and model.mla else None
        self.sparse = Sparse(self) if style.indexed and not model.mla else None
        self.stacked: Tensor | None = None
        """Embeddings that are added to the first layers (`deepstack`)."""
        self.turn_back: Callable[[Tensor], Tensor] | None = None
        """What undoes the rotation of values, once attention's result is used."""

    def input(self, name: str, *lengths: int, width: int = 4) -> Tensor:
        """An input, made when it is first read."""
        if name not in self.inputs:
            self.inputs[name] = self.graph.leaf(name, *lengths, width=width)
        return self.inputs[name]

    def places(self) -> Tensor:
        """Positions of the tokens, several for each in some architectures."""
        return self.input("positions", Dim("positions", self.style.positions * self.rows))

    def start(self) -> Tensor:
        """Embeddings of the tokens, beside the place for embeddings that come as input."""
        graph, rows, row, style = self.graph, self.rows, (self.embedding, self.rows), self.style
        placed = graph.new("positions", row, self.places()) if self.header.architecture == "bert" else None
        if not style.mixed:
            tokens, given = graph.leaf("tokens", rows), graph.leaf("input_embeddings", *row)
            given.unread = True
            return graph.new("embeddings", row, tokens)
        more = deepstack(self.model.architecture)
        wide = (Dim("stacked_embeddings", self.embedding * (1 + more)), rows) if more else row
        tokens, mixed = graph.leaf("tokens", rows), graph.leaf("tokens", rows)
        graph.leaf("input_embeddings", *wide).unread = True
        places, given = graph.leaf("tokens", rows, width=8), graph.leaf("input_embeddings", *wide)
        found, other = graph.new("embeddings", row, tokens), graph.new("embeddings", row, mixed)
        if more:
            found, other = graph.new("stacked", wide, found), graph.new("stacked", wide, other)
        graph.view(graph.new("input_embeddings", wide, given), other, places)
        if more:
            self.stacked = found
            return graph.part(found, row)
        if placed:
            found = self.add(placed, found)
        if style.placed:
            found = self.add(found, graph.new("positions", row, self.places()))
        if style.scaled:
            found = graph.over("embeddings", row, found, self.input("scale", 1, rows))
        return self.norm(found) if style.after or style.normed else found

    def norm(self, source: Tensor) -> Tensor:
        """By root mean square in place where nothing else reads the source; other norms never."""
        return (self.graph.over if self.style.inplace else self.graph.new)("norm", source.lengths, source)

    def add(self, first: Tensor, second: Tensor) -> Tensor:
        """A sum, in the room of the first or of the second."""
        return self.graph.over("sum", (self.embedding, self.rows_of(first, second)), first, second)

    def rows_of(self, *sources: Tensor) -> int:
        """The rows of those of the sources that are no views."""
        return next(source.lengths[-1] for source in sources if source.lengths)

    def last(self, source: Tensor) -> Tensor:
        """The rows that have outputs; cogvlm goes on with all."""
        if self.style.unchosen:
            return source
        return self.graph.new(source.name, (source.lengths[0] if source.lengths else self.embedding, self.outputs), source, self.input("outputs", self.outputs))

    def finish(self, source: Tensor) -> Graph:
        """The last norm, and the logits or one embedding of all tokens."""
        graph, asked = self.graph, self.settings.embeddings
        found = source if self.style.after else self.norm(source)
        found.unread = True
        if (asked and not all_logits(self.header, True)) or (self.alone and self.header.architecture not in DIFFUSION):
            if asked and self.header.pooling_type == 1:
                turned = graph.new("pooled", (self.outputs, self.embedding), found)
                graph.new("pooled", (self.embedding, self.slots), turned, self.input("means", self.rows, self.slots))
            elif asked and self.header.pooling_type:
                graph.new("pooled", (self.embedding, self.slots), found, self.input("pooled", self.slots))
        else:
            found = graph.new("logits", (Dim("vocabulary", self.model.vocabulary), self.outputs), found)
            if self.style.masked:
                found = graph.new("logits", found.lengths, found, graph.leaf("masked", self.style.masked))
            found.unread = True
        return graph

    def attention(self, source: Tensor, layer: Layer, index: int) -> Tensor:
        """Attention up to its output matrix (`out`)."""
        if self.sparse and self.sparse.serves(index):
            return self.sparse.attend(source, layer, index)
        graph, rows, style = self.graph, self.rows, self.style
        heads, stored = (self.header.get(f"attention.head_count{kind}") for kind in ("", "_kv"))
        kv = Dim("kv_heads", layer.kv_heads or at_layer(heads if stored is None else stored, index))
        key, value, heads = Dim("key_length", layer.key), Dim("value_length", layer.value), Dim("heads", at_layer(heads, index))
        shapes = {"q": (key, heads, rows), "k": (key, kv, rows), "v": (value, kv, rows)}
        joined, gates = None, None
        if style.fused:
            width = 3 * self.embedding if style.wide == "thrice" else (self.embedding if style.wide else key * heads) + (key + value) * kv
            joined = graph.new("qkv", (Dim("qkv", width), rows), source)
        elif style.gate == "query":
            gates = graph.new("q", (Dim("query_and_gate", 2 * key * heads), rows), source)
        made: dict[str, Tensor] = {}
        for letter in order(self.model, style):
            size, matrix = shapes[letter], self.rotation(letter, layer)
            whole = joined or (gates if letter == "q" else None)
            item = graph.view(whole) if whole else graph.new(letter, (Dim(PRODUCTS[letter], size[0] * size[1]), rows), source)
            if letter == "v" or not copied(self.header, layer, index, style):
                item = graph.new(letter, size, item) if whole and matrix else item
            else:
                places = (self.places(),) if placed(self.model, layer, index) else ()
                item = graph.new(letter, size, graph.view(item), *places)
            if letter == "q" and style.tempered == "all":
                item = graph.over(letter, size, item, self.input("attention_scale", rows))
            elif letter == "q" and style.tempered and not copied(self.header, layer, index, style):
                item = graph.new(letter, size, graph.view(item), self.input("attention_scale", rows))
            made[letter] = self.turn(item, matrix, size)
        found = self.attend_alone(made, shapes, index) if self.alone else self.attend(made, shapes, layer)
        self.turns_back(layer, value, heads, rows)
        return self.gated(found, gates or source, key * heads, heads) if style.gate else found

    def gated(self, found: Tensor, source: Tensor, width: int, heads: int) -> Tensor:
        """Attention's result times a gate."""
        graph, whole, name = self.graph, (Dim("query", width), self.rows), self.header.architecture
        found = self.straight(found)
        if self.style.gate == "heads" and (name != "laguna" or self.model.window):  # without windows its gate is wide
            return graph.new("gate", whole, found, graph.view(graph.new("gate", (heads, self.rows), source)))
        return graph.over("gate", whole, found, graph.new("gate", whole, graph.view(source) if self.style.gate == "query" else source))

    def rotation(self, kind: str, layer: Layer) -> Tensor | None:
        """The matrix that rotates keys (and queries) or values before they are quantized; None where they stay as they are."""
        first = self.model.layers[0]  # the engine asks the first layer's sizes, whichever layer it builds
        cache, size = (self.settings.type_v, first.value) if kind == "v" else (self.settings.type_k, first.key)
        unturned = self.alone or self.model.mla or (layer.window and self.header.architecture == "lfm2")
        if unturned or KV_TYPES[cache][1] == 1 or size % 64:
            return None
        wide = 64 if kind == "v" else max(64, layer.key & -layer.key)
        return self.input(f"{'window_' if layer.window else ''}rotation_{'v' if kind == 'v' else 'k'}", wide, wide)

    def turn(self, item: Tensor, matrix: Tensor | None, size: Sequence[int]) -> Tensor:
        """Rows multiplied with a rotation where there is one."""
        if matrix is None:
            return item
        wide = matrix.lengths[0]
        return self.graph.new("rotated", (wide, size[0] * size[1] * size[2] // wide), matrix, self.graph.view(item))

    def turns_back(self, layer: Layer, *size: int) -> None:
        """Attention's result is rotated back once it is used (`straight`) where values are rotated."""
        matrix = self.rotation("v", layer)
        self.turn_back = None if matrix is None else lambda item: self.turn(item, matrix, size)

    def straight(self, item: Tensor) -> Tensor:
        """Attention's result, rotated back."""
        turn_back, self.turn_back = self.turn_back, None
        return self.graph.view(turn_back(item)) if turn_back else item

    def out(self, source: Tensor) -> Tensor:
        """The output matrix of attention."""
        found = self.straight(source)
        if self.style.between and not found.lengths:
            found = self.graph.new("norm", (self.model.layers[0].value * self.model.heads, self.rows), found)
        return self.graph.new("attention", (self.embedding, self.rows), found)

    def attend(self, made: dict[str, Tensor], shapes: dict[str, Sequence[int]], layer: Layer) -> Tensor:
        """Keys and values go to the cache, queries meet all of it."""
        graph, rows, side = self.graph, self.rows, "window_" if layer.window else ""
        (dummy, heads, dummy), (value, dummy, dummy) = shapes["q"], shapes["v"]
        cells = Dim(f"{side}cells", (self.cells.window if layer.window else self.cells.full).value)
        flash, streams = self.settings.flash_attention, self.cells.streams
        if "k" in made:  # else the layer reads the cache of an earlier one
            graph.sink(graph.view(made["k"]), self.input(f"{side}places_k", rows, width=8))
            widest = Dim("widest_values", max(item.kv_heads * item.value for item in self.model.layers))
            places = (rows,) if flash else (rows, widest)
            if not flash and not made["v"].lengths:  # a part of a product of all three is copied
                made["v"] = graph.new("v", shapes["v"], made["v"])
            if not flash and layer.kv_heads * layer.value < widest:  # values are transposed: all layers have rows as wide as the widest
                made["v"] = graph.new("v", (widest, rows), made["v"])
            graph.sink(graph.view(made["v"]), self.input(f"{side}places_v", *places, width=8))
        query = graph.view(made["q"])
        if flash and not self.style.biased:
            return graph.view(graph.new("attended", (value, heads, rows), query, self.input(f"{side}mask", cells, rows, width=2)))
        width, block = KV_TYPES[self.settings.type_v]
        sources = [graph.new("values", (cells // block, value * layer.kv_heads), width=width)] if flash else []  # cached as flash attention wants them
        scores = graph.new("scores", (cells, rows // streams, heads, streams), query)
        if self.style.biased:
            scores = graph.over("scores", scores.lengths, scores, self.bias(cells, heads))
        scores = graph.over("scores", scores.lengths, scores, self.input(f"{side}mask", cells, rows, width=2 if flash else 4))
        found = graph.new("attended", (value, rows // streams, heads, streams), *sources, scores)
        return graph.new("attended", (Dim("query", value * heads), rows), graph.view(found))

    def bias(self, seen: int, heads: int) -> Tensor:
        """What scores get by the distance of two tokens."""
        graph, rows = self.graph, self.rows
        found = graph.new("bias", (heads, seen * rows), graph.view(self.input("distances", seen, rows)))
        return graph.new("bias", (seen, rows, heads), graph.view(found))

    def cross(self, source: Tensor) -> Tensor:
        """Attention over what an encoder gave: as many tokens as the model was trained for."""
        graph, rows, layer, flash = self.graph, self.rows, self.model.layers[0], self.settings.flash_attention
        heads, seen = Dim("heads", self.model.heads), Dim("encoded", self.header.get("context_length") or 0)
        given, row, kept = self.input("encoded", self.embedding, seen), (layer.value * heads, rows), (layer.key * layer.kv_heads, seen)
        query = graph.view(graph.new("q", (layer.key * heads, rows), source))
        keys, values = graph.view(graph.new("k", kept, given)), graph.view(graph.new("v", kept, given))
        if flash:
            keys, values = graph.new("k", kept, keys, width=2), graph.new("v", kept, values, width=2)
            found = graph.view(graph.new("attended", row, query, keys, values, self.input("cross_mask", seen, rows, width=2)))
        else:
            values, scores = graph.new("v", kept, values), graph.new("scores", (seen, rows, heads), keys, query)
            scores = graph.over("scores", scores.lengths, scores, self.input("cross_mask", seen, rows))
            found = graph.new("attended", row, graph.view(graph.new("attended", row, values, scores)))
        return graph.new("attention", (self.embedding, rows), found)

    def attend_alone(self, made: dict[str, Tensor], shapes: dict[str, Sequence[int]], index: int) -> Tensor:
        """Attention over the micro-batch itself, padded, without a cache."""
        graph, rows = self.graph, self.rows
        padded = Dim("padded_rows", (rows + 255) // 256 * 256)
        side = "window_" if self.model.window and slides(self.header, index) else ""
        (key, heads, dummy), (value, kv, dummy) = shapes["q"], shapes["v"]

        def pad(letter: str, size: int) -> Tensor:
            return graph.view(graph.new("padded", (size, kv, padded), graph.view(made[letter])))
        if self.settings.flash_attention and not self.style.biased:
            query = graph.view(made["q"])
            keys = graph.new("padded", (key, padded, kv), pad("k", key), width=2)
            values = graph.new("padded", (value, padded, kv), pad("v", value), width=2)
            return graph.view(graph.new("attended", (value, heads, rows), query, keys, values, self.input(f"{side}mask", padded, rows, width=2)))
        values = graph.new("values", (padded, value, kv), pad("v", value))
        scores = graph.new("scores", (padded, rows, heads, 1), pad("k", key), graph.view(made["q"]))
        if self.style.biased:
            scores = graph.over("scores", scores.lengths, scores, graph.new("bias", scores.lengths, self.bias(rows, heads)))
        mask = self.input(f"{side}mask", padded, rows, width=2 if self.settings.flash_attention else 4)
        scores = graph.over("scores", scores.lengths, scores, mask)
        found = graph.new("attended", (value, rows, heads), values, scores)
        return graph.view(graph.new("attended", (value, heads, rows), graph.view(found)))

    def latent(self, source: Tensor, index: int) -> Tensor:
        """Attention over a cache of latent rows (MLA), up to its output matrix."""
        graph, rows, get = self.graph, self.rows, self.header.get
        heads, size = Dim("heads", at_layer(get("attention.head_count"), index)), Dim("key_length_mla", largest(get("attention.key_length_mla")))
        rank, rope = Dim("kv_rank", get("attention.kv_lora_rank")), Dim("rope", get("rope.dimension_count"))
        wide, ranks = Dim("rank_and_rope", rank + rope), get("attention.q_lora_rank")
        if self.indexer:
            self.indexer.store(source, index)
        packed = graph.new("q", (Dim("query_rank", ranks), rows), source) if ranks else source
        query = graph.view(graph.new("q", (size, heads, rows), packed))
        absorbed = graph.new("absorbed", (rank, rows, heads), graph.view(query))
        moved = self.moved("q", query, (rope, heads, rows))
        query = graph.new("q", (wide, heads, rows), graph.view(absorbed), moved)
        both = graph.new("kv", (wide, rows), source)
        row = graph.new("kv", (rank, rows), graph.view(both))
        key = graph.new("k", (wide, rows), graph.view(row), self.moved("k", both, (rope, rows)))
        graph.sink(graph.view(key), self.input("places_k", rows, width=8))

        def mask() -> Tensor:
            if self.indexer:
                return self.indexer.mask(packed, source, index)
            return self.input("mask", Dim("cells", self.cells.full.value), rows, width=2 if self.settings.flash_attention else 4)
        return self.attend_latent(graph.view(query), heads, rank, mask)

    def unpacked(self, source: Tensor, layer: Layer, index: int) -> Tensor:
        """Attention whose keys and values are unpacked from a latent row before they are cached, up to its output matrix."""
        graph, rows, get = self.graph, self.rows, self.header.get
        heads, key, value = Dim("heads", at_layer(get("attention.head_count"), index)), Dim("key_length", layer.key), Dim("value_length", layer.value)
        rank, rope, ranks = Dim("kv_rank", get("attention.kv_lora_rank")), Dim("rope", get("rope.dimension_count")), get("attention.q_lora_rank")
        shapes = {"q": (key, heads, rows), "k": (key, heads, rows), "v": (value, heads, rows)}
        packed = graph.new("q", (Dim("query_rank", ranks), rows), source) if ranks else source
        made = {"q": graph.new("q", shapes["q"], graph.view(graph.new("q", (key * heads, rows), packed)), self.places())}
        made["q"] = self.turn(made["q"], self.rotation("q", layer), shapes["q"])
        both = graph.new("kv", (rank + rope, rows), source)
        whole = graph.new("kv", (Dim("keys_and_values", (key - rope + value) * heads), rows), graph.new("kv", (rank, rows), graph.view(both)))
        made["v"] = self.turn(graph.new("v", shapes["v"], graph.view(whole)), self.rotation("v", layer), shapes["v"])
        repeated = graph.new("k", (rope, heads, rows), graph.new("k", (rope, rows), graph.view(both), self.places()))
        made["k"] = self.turn(graph.new("k", shapes["k"], graph.view(whole), repeated), self.rotation("k", layer), shapes["k"])
        self.turns_back(layer, *shapes["v"])
        return self.attend(made, shapes, layer)

    def moved(self, name: str, source: Tensor, lengths: Sequence[int]) -> Tensor:
        """The part that positions turn; in some architectures none does."""
        view = self.graph.view(source)
        return self.graph.new(name, lengths, view, self.places()) if self.style.copied else view

    def attend_latent(self, query: Tensor, heads: int, rank: int, mask: Callable[[], Tensor]) -> Tensor:
        """Queries meet the latent rows; the result is unpacked to values."""
        graph, rows, streams = self.graph, self.rows, self.cells.streams
        cells, value = Dim("cells", self.cells.full.value), Dim("value_length_mla", largest(self.header.get("attention.value_length_mla")))
        if self.settings.flash_attention:
            found = graph.new("attended", (rank, heads, rows), query, mask())
            found = graph.new("attended", (value, rows, heads), graph.view(found))
            return graph.view(graph.new("attended", (value, heads, rows), graph.view(found)))
        part, latents = rows // streams, graph.new("latents", (cells, rank, streams), width=2)
        scores = graph.new("scores", (cells, part, heads, streams), query)
        scores = graph.over("scores", scores.lengths, scores, mask())
        found = graph.new("attended", (rank, part, heads, streams), latents, scores)
        found = graph.new("attended", (value, part, heads, streams), found)
        return graph.new("attended", (value, heads, rows), graph.view(found))

    def feed_forward(self, source: Tensor, width: int, name: str = "feed_forward") -> Tensor:
        """Gate and up, their product, and down."""
        graph, rows, kind = self.graph, source.lengths[-1], self.style.ffn
        size = (Dim(name, width), rows)
        if kind == "gated":
            hidden = graph.new("hidden", size, graph.new("gate", size, source), graph.new("up", size, source))
        elif kind == "joined":
            hidden = graph.new("hidden", size, graph.new("up", (Dim(f"{name}_twice", 2 * width), rows), source))
        else:
            hidden = graph.over("hidden", size, graph.new("up", size, source))
        return graph.new("down", (self.embedding, rows), hidden)

    def mixture(self, source: Tensor, used: int, count: int, width: int, choice: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Experts: chosen by the router's scores (of another source where `choice` is given), weighted, and summed."""
        graph, rows, words = self.graph, source.lengths[-1], self.style.weights.split()
        chosen, weights = choice or self.chosen(self.router(source, count), used)
        size, latent = (Dim("expert_width", width), Dim("experts_used", used), rows), self.header.get("moe_latent_size")
        row = Dim("latent", latent) if latent else self.embedding
        item = graph.view(graph.new("latent", (row, rows), source) if latent else source)
        if "before" in words:
            item = graph.new("repeated", (row, used, rows), item)
            item = graph.over("repeated", item.lengths, item, weights)
        if self.style.ffn == "plain":
            hidden = graph.over("hidden", size, graph.new("up", size, item, chosen))
        elif self.style.joined:
            both = graph.new("up", (Dim("expert_width_twice", 2 * width), *size[1:]), item, chosen)
            hidden = graph.new("hidden", size, graph.view(both), graph.view(both))
        else:
            hidden = graph.new("hidden", size, graph.new("gate", size, item, chosen), graph.new("up", size, item, chosen))
        out = graph.new("experts", (row, size[1], rows), hidden, chosen)
        if "before" not in words:
            out = graph.over("experts", out.lengths, out, weights)
        views = [graph.view(out) for dummy in range(used)]
        found = views[0]
        for view in views[1:]:
            found = graph.over("mixture", (row, rows), found, view)
        return found if used > 1 else graph.new("mixture", (row, rows), found)

    def router(self, source: Tensor, count: int) -> Tensor:
        """How much each token wants each expert."""
        return self.graph.new("router", (Dim("experts", count), source.lengths[-1]), source)

    def chosen(self, ranked: Tensor, used: int) -> tuple[Tensor, Tensor]:
        """Which experts each token uses, and their weights."""
        graph, (experts, rows), words = self.graph, ranked.lengths, self.style.weights.split()
        used = Dim("experts_used", used)
        scores = ranked if "raw" in words else graph.over("router", ranked.lengths, ranked)
        if "before" not in words:
            ranked = graph.over("router", ranked.lengths, ranked if "apart" in words else scores) if {"bias", "apart"} & set(words) else scores
        viewed = graph.view(scores)
        chosen = graph.view(graph.new("chosen", (experts, rows), ranked))
        weights = graph.new("weights", (1, used, rows), viewed, chosen)
        if "norm" in words:
            flat = graph.view(weights)
            total = graph.new("weights", (1, rows), flat)
            weights = graph.view(graph.over("weights", (used, rows), flat, total))
        return chosen, weights


DIFFUSION = frozenset(("dream", "llada", "llada-moe", "rnd1"))
"""Without a cache, and with logits."""
