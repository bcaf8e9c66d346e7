# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The engine's compute buffer, and what products need beside it.

Where the graph of an architecture is known (`_layers`), ggml's allocator is replayed on it and the buffer is exact. Elsewhere it is a
bound: the largest phase of a block, and what lives beside it. Those phases are measured, not derived; none is below what the engine was
seen to allocate.
"""
from __future__ import annotations

from ._cache import KV_TYPES, Cells, Settings, rotation
from ._formula import Formula, Number, formula, largest_of, named, rounded_up, smallest_of
from ._gguf import Header
from ._graph import explained, replay
from ._layers import graphs
from ._shape import ENCODERS, HYBRID, INDEXED, Shape, all_logits, at_layer, largest, uncached
from ._styles import WIDE

MIB = 1 << 20
UNGATED = frozenset("bert nomic-bert-moe".split())
"""Feed-forward layers of one product, an activation, and one product back."""
ROWS = {"bert": 6, "cohere2moe": 6, "gemma3n": 14, "plamo2": 8, "smallthinker": 7}
"""Rows of the embedding's width that a feed-forward holds; 5 elsewhere."""
MORE_ROWS: dict[str, dict[str, int]] = {
    "bailingmoe": {"experts": 1}, "cohere2moe": {"experts": 2}, "deepseek32": {"always": 2}, "gemma3n": {"quantized": 2, "narrow": 2},
    "gemma4": {"experts": 2, "quantized": 1, "gaps": 1}, "glm-dsa": {"always": 2}, "hy_v3": {"experts": 2}, "laguna": {"experts": 1},
    "llama-embed": {"always": 1, "experts": 1, "scores": 1}, "minimax-m3": {"always": 2}, "plamo2": {"asked": 1, "scores": 1},
    "step35": {"quantized": 1}, "talkie": {"asked": 1}}
"""Rows more, by what is so (`_more_rows`)."""
BESIDE_SCORES = {"gemma4": 8, "step35": 5, "cohere2moe": 5, "plamo2": 5, "talkie": 1}
"""Rows more that attention with scores holds; 4 in other hybrids, 1 where queries are wider than the embedding."""
FUSED = frozenset("minicpm3 plamo3".split())
"""Query, keys and values come from one product (minicpm3: of two), and stay in its result."""
ONLY_EXPERTS = frozenset("""qwen2moe qwen3moe qwen35moe qwen3next qwen3vlmoe olmoe gpt-oss llama granitemoe phimoe dbrx grok minimax-m2 mellum granite
    mistral3""".split())
"""Every layer is a mixture when there are experts: `feed_forward_length` is another thing there."""
SHARED_EXPERTS = frozenset("arctic cohere2moe grovemoe hy_v3 laguna step35".split())
"""Mixtures that hold one more output row an expert, for what every token uses, whether a key says so or not."""
WIDE_EXPERTS = frozenset("arctic cohere2moe grovemoe".split())
"""Of these, those that hold it whatever the sizes of their experts."""


def compute_bytes(shape: Header, model: Shape, settings: Settings, cells: Cells) -> Formula:
    """The compute buffer of one context: of the known graph, else the bound of its largest phase."""
    known = [explained(*replay(graph)) for graph in graphs(shape, model, settings, cells)]
    return max(known, key=lambda found: found.value) if known else _bound(shape, model, settings, cells)


def _bound(shape: Header, model: Shape, settings: Settings, cells: Cells) -> Formula:
    """The largest phase of a block, and what lives beside it."""
    rows = rounded_up(cells.ubatch, named("slots", settings.slots)).called("rows")
    kept = (settings.slots + 1) * named("state_bytes", model.state_bytes) if model.block in ("delta", "kda", "lightning") else 0
    phases = [(kept + 4 * rows * (_feed_forward(shape, model, settings) + _left_by_scores(shape, model, settings, cells))).called("feed_forward")]
    further = {"attention": _attention(shape, model, settings, cells, rows), "recurrent": _recurrent(shape, model, settings, rows),
               "logits": _logits(shape, model, settings, rows)}
    phases += [phase.called(name) for name, phase in further.items() if phase.value]
    phase = largest_of(phases)
    if model.rough:
        phase = phase * 3 // 2
    small_inputs = 64 * rows + 8192  # positions, indices and token numbers
    if shape.architecture in ENCODERS:  # rows of masks are padded when their length is uneven
        small_inputs += 65_536 + (512 * rows if rows.value % 64 else 0)
    small_inputs = small_inputs.called("inputs")
    return phase + _masks(model, settings, cells, rows).called("masks") + rotation(model, settings) + small_inputs


def _logits(shape: Header, model: Shape, settings: Settings, rows: Formula) -> Formula:
    """Logits of the last token of each slot; of every token, where embeddings are asked for."""
    asked, width = all_logits(shape, settings.embeddings), named("embedding", model.embedding)
    if not asked and (settings.embeddings or not model.cached):
        return formula(0)
    plain = settings.flash_attention and settings.slots == 1 and not _quantized(settings) and not model.block
    copies = 2 if model.architecture == "chameleon" else 1
    logits = copies * named("vocabulary", model.vocabulary) * (rows if asked else named("slots", settings.slots))
    beside = ((6 if plain else 10 if model.window else 8) if asked else 5) * width
    if model.architecture == "gemma4":
        beside += 2 * _layer_inputs(shape)
    return 4 * (logits + rows * beside)


def work_bytes(shape: Header, model: Shape, settings: Settings, cells: Cells) -> tuple[Formula, Formula]:
    """What products need beside the compute buffer: their right side in the type of the left one (ggml_graph_plan), and what it leaves free in the heap.

    Without flash attention it is the scores, and grows with the prompt: what smaller sizes leave in the heap stays.
    """
    rows, used = rounded_up(cells.ubatch, named("slots", settings.slots)), largest(shape.get("expert_used_count"))
    halves = any(group.type in ("F16", "BF16") and group.role in ("matrix", "experts") for group in shape.tensors or ())
    hidden = largest_of((named("feed_forward_length", _dense_width(shape)), named("experts_used", used) * _expert_width(shape), _query(shape, model),
                         named("inner", largest(shape.get("ssm.inner_size"))), named("embedding", model.embedding)))
    work = rows * hidden * 2 if halves else rows * hidden * 5 // 4  # 292 bytes for 256 elements of Q8_K, and the ends of blocks in the heap
    left = formula(0)
    if not settings.flash_attention and model.heads:
        work = largest_of((work, 2 * rows * named("heads", model.heads) * _seen(model, cells)))
        left = smallest_of((work // 2, 16 * MIB)) if cells.full.value >= 2 * cells.ubatch.value else left  # 0 to 14 MiB measured
    return work.called("work"), left


def unread_bytes(model: Shape, settings: Settings, cells: Cells) -> Formula:
    """Room in the compute buffer that prompts of tokens never touch: for embeddings as input, and a copy of them. A projector gives such input."""
    rows = rounded_up(cells.ubatch, named("slots", settings.slots))
    return formula(0) if settings.projector else (8 * rows * named("embedding", model.embedding)).called("unread")


def _left_by_scores(shape: Header, model: Shape, settings: Settings, cells: Cells) -> Formula:
    """Without flash attention the feed-forward cannot use all that the scores leave: with windows their whole room, else the values'."""
    if settings.flash_attention or not model.heads or model.mla:
        return formula(0)
    scores, values, query = named("heads", model.heads) * _seen(model, cells), _values(shape, model), _query(shape, model)
    held = 2 * values + (2 * (query - model.embedding) if query.value > model.embedding else 0)
    return scores + held if model.window and scores.value < _feed_forward(shape, model, settings).value else held


def _seen(model: Shape, cells: Cells) -> Formula:
    """Tokens that one token's scores are of: all cells, or without a cache the micro-batch, padded."""
    return rounded_up(cells.ubatch, 256) if uncached(model) else cells.full


def _values(shape: Header, model: Shape) -> Formula:
    """Elements of one token's values in the widest layer."""
    if uncached(model):
        stored = shape.get("attention.head_count_kv")
        return named("values", (model.heads if stored is None else largest(stored)) * model.layers[0].value)
    return named("values", max((layer.kv_heads * layer.value for layer in model.layers), default=0))


def _query(shape: Header, model: Shape) -> Formula:
    """Elements of one token's queries in the widest layer."""
    return named("query", max((at_layer(shape.get("attention.head_count"), index) * layer.key for index, layer in enumerate(model.layers)), default=0))


def _feed_forward(shape: Header, model: Shape, settings: Settings) -> Formula:
    """Elements a token that the feed-forward phase holds at once."""
    name, width = shape.architecture, named("embedding", model.embedding)
    mixed = bool(shape.get("expert_used_count"))
    rows = ROWS.get(name, 5) + _more_rows(shape, model, settings)
    held = (1 if name in UNGATED else 3) * named("feed_forward_length", _dense_width(shape)) + rows * width
    if mixed:
        held = largest_of((held, _experts(shape, width, rows)))
        if name in ("cohere2moe", "step35"):
            held += largest_of((0, _query(shape, model) - width))
    inputs = _layer_inputs(shape)
    if inputs.value:
        held = largest_of((held + 2 * inputs, 4 * inputs + 5 * width))
    return held


def _layer_inputs(shape: Header) -> Formula:
    """Elements of one token's inputs to all layers, beside the embedding."""
    return named("per_layer_inputs", (shape.get("embedding_length_per_layer_input") or 0) * (shape.get("block_count") or 0))


def _more_rows(shape: Header, model: Shape, settings: Settings) -> int:
    """Rows of the width that settings add: quantizing copies, and scores leave gaps that not every row fits."""
    mixed, quantized, scores = bool(shape.get("expert_used_count")), _quantized(settings), not settings.flash_attention
    gaps = quantized or scores
    so = {"always": True, "experts": mixed, "quantized": quantized, "scores": scores, "gaps": gaps, "asked": gaps or settings.embeddings,
          "narrow": _dense_width(shape) < 2 * model.embedding}
    rows = sum(more for what, more in MORE_ROWS.get(shape.architecture, {}).items() if so[what])
    rows += gaps * mixed + 4 * (mixed and settings.embeddings) + settings.embeddings * (shape.architecture in HYBRID)
    return rows + (not model.cached and settings.ubatch % 256 != 0)


def _quantized(settings: Settings) -> bool:
    """Keys and values are rotated before they are quantized, which takes copies."""
    return KV_TYPES[settings.type_k][1] > 1 or KV_TYPES[settings.type_v][1] > 1


def _experts(shape: Header, width: Formula, rows: int) -> Formula:
    """Elements a token of a mixture: three hidden rows an expert used, one output row an expert used, or both, by how they fit into each other."""
    used, expert = named("experts_used", largest(shape.get("expert_used_count"))), named("expert_width", _expert_width(shape))
    hidden, out = used * expert, used * width
    shared = largest(shape.get("expert_shared_feed_forward_length")) or (shape.get("expert_shared_count") or 0) * expert.value
    beside = bool(shared) or shape.architecture in SHARED_EXPERTS
    long = hidden.value > width.value
    if long and 2 * expert.value >= width.value and shape.architecture not in WIDE_EXPERTS:
        held = rows * width + 3 * hidden
    elif long or beside:
        held = rows * width + 3 * hidden + out
    elif used.value == 1:
        held = largest_of(((rows + 3) * width, rows * width + 3 * hidden))
    else:
        held = rows * width + out
    return largest_of((held, 3 * named("shared_expert_width", shared) + (rows + 1) * width)) if shared else held


def _expert_width(shape: Header) -> int:
    dense, expert = (largest(shape.get(f"{name}feed_forward_length")) for name in ("", "expert_"))
    return dense if shape.architecture in WIDE else expert or dense


def _dense_width(shape: Header) -> int:
    """The widest dense feed-forward; models of experts only keep a width that no layer uses."""
    if shape.architecture == "qwen":  # half of it is the gate
        return largest(shape.get("feed_forward_length")) // 2
    only_experts = shape.get("expert_used_count") and not shape.get("leading_dense_block_count") and (shape.get("interleave_moe_layer_step") or 1) <= 1
    return 0 if only_experts and shape.architecture in ONLY_EXPERTS else largest(shape.get("feed_forward_length"))


def _attention(shape: Header, model: Shape, settings: Settings, cells: Cells, rows: Formula) -> Formula:
    """The phase of attention; without flash attention its scores are held too."""
    heads, width = named("heads", model.heads), named("embedding", model.embedding)
    if model.mla:
        return _latent_attention(shape, settings, cells, rows, heads, width)
    query, values = _query(shape, model), _values(shape, model)
    if not query.value:
        return formula(0)
    if shape.architecture == "t5encoder":
        return 4 * rows * (4 * heads * _seen(model, cells) + 11 * width)
    if shape.architecture == "t5":  # keys, values and scores of as many encoded tokens as the model was trained for
        encoded = named("context_length", shape.get("context_length") or settings.context)
        return 4 * (2 * encoded * query + rows * (2 * heads * (encoded + cells.full) + named("vocabulary", model.vocabulary) + 8 * width))
    if uncached(model):  # keys and values are padded
        padded, wide = rounded_up(rows, 256), query.value > width.value
        held = (5 if padded.value == rows.value else 7) * width + (0 if settings.flash_attention else 2 * width) + (3 * query if wide else 0)
        return 4 * (2 * padded * values + rows * (held if settings.flash_attention else held + heads * padded))
    if settings.flash_attention and not model.rough:
        return 4 * rows * _flash(shape.architecture, _quantized(settings), width, query, values)
    return 4 * rows * (heads * _seen(model, cells) + _beside_scores(shape, model, settings, width, query, values))


def _beside_scores(shape: Header, model: Shape, settings: Settings, width: Formula, query: Formula, values: Formula) -> Formula:
    """Elements a token that are held beside the scores of attention."""
    name = shape.architecture
    beside = 3 * width + 3 * query + (4 if name in FUSED or shape.get("expert_used_count") else 2) * values
    beside += 2 * width + 3 * values if model.window else 0
    held = largest_of((beside, 6 * width + 2 * values, 5 * width + 3 * values))
    if shape.get("expert_used_count"):  # experts do not fit into the scores' room at once
        held = largest_of((held, _feed_forward(shape, model, settings) * 3 // 4))
    if name == "gemma3n":  # four streams, and the inputs of all layers
        return held + 10 * width + 2 * _layer_inputs(shape) + 3 * named("feed_forward_length", _dense_width(shape))
    if name == "minimax-01":
        return held + named("heads", model.heads) * settings.ubatch
    more = BESIDE_SCORES.get(name, 4 if name in HYBRID else 1 if query.value > width.value else 0)
    more += name in FUSED and query.value > width.value
    return held + more * width + (values if name == "talkie" else 0)


def _flash(name: str, quantized: bool, width: Formula, query: Formula, values: Formula) -> Formula:
    """Elements a token that flash attention holds at once, without scores."""
    if name in FUSED:
        own = 2 * width + 4 * query + 2 * values
    else:
        own = 5 * width + (2 if query.value > width.value else 1) * query
    if name in FUSED and query.value > width.value:
        own += values
    if quantized:
        own = largest_of((own + query + values if name in FUSED else own, 5 * width + 2 * query + 2 * values))
    return largest_of((own, 2 * width + 2 * query + 4 * values))


def _latent_attention(shape: Header, settings: Settings, cells: Cells, rows: Formula, heads: Formula, width: Formula) -> Formula:
    rank, rope = named("kv_rank", shape.get("attention.kv_lora_rank") or 0), named("rope", shape.get("rope.dimension_count") or 0)
    held = heads * (named("key_length_mla", largest(shape.get("attention.key_length_mla"))) + 2 * rank + rope) + (5 if settings.flash_attention else 7) * width
    if heads.value * rope.value > width.value:
        held += heads * rope
    query = named("query_rank", shape.get("attention.q_lora_rank") or 0)
    if query.value > width.value:
        held += query
    held = largest_of((held, 6 * width))
    if shape.architecture in INDEXED:
        held += (named("index_heads", shape.get("attention.indexer.head_count") or 1) + 2) * cells.full
    if settings.flash_attention:
        return 4 * rows * held
    return 4 * rows * (held + heads * cells.full) + 2 * rank * cells.full * named("streams", cells.streams)


def _recurrent(shape: Header, model: Shape, settings: Settings, rows: Formula) -> Formula:
    """The phase of a recurrent block; state copies are planned at the upper bound for several slots."""
    width, state, slots = named("embedding", model.embedding), named("state_bytes", model.state_bytes), named("slots", settings.slots)
    inner = named("inner", shape.get("ssm.inner_size") or 2 * model.embedding)
    grouped = named("groups", shape.get("ssm.group_count") or 0) * named("state_size", shape.get("ssm.state_size") or 0)
    first = (2 if shape.architecture in HYBRID else 1) * width

    def copies(several: int) -> Number:
        return state if settings.slots == 1 else several * slots * state

    if model.block == "mamba1":
        return 4 * rows * (first + 7 * inner) + slots * state
    if model.block == "mamba2":
        return 4 * rows * (first + 7 * inner + 6 * grouped + named("time_steps", shape.get("ssm.time_step_rank") or 0)) + copies(2)
    if model.block in ("delta", "kda"):
        if model.block == "kda":
            inner = grouped = named("heads", model.heads) * named("kda_head", shape.get("kda.head_dim") or 128)
        return 4 * rows * (5 * width + 2 * (inner + 2 * grouped) + 2 * inner) + 3 * slots * state
    if model.block == "rwkv":
        return 4 * rows * 22 * width + 2 * slots * state
    return formula(0)


def _masks(model: Shape, settings: Settings, cells: Cells, rows: Formula) -> Formula:
    """One row of cells a token, for full and for window layers."""
    held = formula(0)
    if any(layer.kv_heads and not layer.window for layer in model.layers):
        held += cells.full
    if any(layer.kv_heads and layer.window for layer in model.layers):
        held += cells.window
    if not model.cached:
        held = (2 if model.window else 1) * cells.ubatch
    if model.architecture in INDEXED:  # scores of the indexer and what they choose
        held += 10 * cells.full
    return (2 if settings.flash_attention else 4) * rows * held
