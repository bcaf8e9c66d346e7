# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The engine's compute buffer: the largest phase of a block, and what lives beside it.

ggml's allocator reuses what is no longer needed, so a graph takes as much as its largest moment. The phases are
measured, not derived; none is below what the engine was seen to allocate.
"""
from __future__ import annotations

from ._cache import KV_TYPES, Cells, Settings, rotation
from ._formula import Formula, Number, formula, largest_of, named, rounded_up
from ._gguf import Header
from ._shape import ENCODERS, HYBRID, INDEXED, Shape, at_layer, largest

MIB = 1 << 20
UNGATED = frozenset("""phi2 falcon gptneox gpt2 starcoder starcoder2 mpt bloom codeshell bert nomic-bert-moe jina-bert-v3 nemotron nemotron_h
    nemotron_h_moe arcee apertus jais2""".split())
"""Feed-forward layers of one product, an activation, and one product back."""
PARALLEL = frozenset("cohere2 cohere2moe falcon bert smallthinker qwen".split())
"""Blocks that hold one more row of the embedding's width."""
PARALLEL_MIXTURES = frozenset("gemma4 qwen3next qwen35moe".split())
"""The same where there are experts."""
WIDEST = {"plamo2": 7, "lfm2moe": 7, "granitehybrid": 8, "falcon-h1": 7, "gemma3n": 14}
"""Blocks that hold still more rows of the embedding's width."""
WIDE_HYBRID = frozenset("granitehybrid falcon-h1 nemotron_h nemotron_h_moe".split())
"""The same in the recurrent blocks of these."""
FUSED = frozenset("falcon gpt2 gptneox bloom mpt jais openelm plamo3 codeshell starcoder qwen".split())
"""Query, keys and values come from one product, and stay in its result."""
ONLY_EXPERTS = frozenset("""qwen2moe qwen3moe qwen35moe qwen3next qwen3vlmoe olmoe gpt-oss llama granitemoe phimoe dbrx grok minimax-m2 mellum granite
    mistral3""".split())
"""Every layer is a mixture when there are experts: `feed_forward_length` is another thing there."""
SHARED_EXPERTS = frozenset("qwen2moe exaone-moe hunyuan-moe step35 qwen3next qwen35moe hy_v3 laguna llama4 cohere2moe grovemoe deepseek deepseek2".split())
"""Mixtures with an expert that every token uses, whether a key says so or not."""
WIDE_EXPERTS = frozenset(("llama4", "grok", "grovemoe", "arctic", "cohere2moe", "qwen3next", "qwen35moe"))
"""Mixtures that hold the widest and the longest rows of their experts at once, whatever their sizes."""
EXPERTS_AS_WIDE_AS_DENSE = frozenset("""llama llama-embed granite granitemoe granite_swa granitehybrid dbrx phimoe grok minimax-m2 minimax-01 olmoe
    hunyuan-moe mistral3 minicpm jamba arctic""".split())
"""`feed_forward_length` is the width of an expert, whatever another key says."""
GATED_QUERY = frozenset(("qwen3next", "qwen35", "qwen35moe"))


def compute_bytes(shape: Header, model: Shape, settings: Settings, cells: Cells) -> Formula:
    """The compute buffer of one context."""
    rows = rounded_up(cells.ubatch, named("slots", settings.slots)).called("rows")
    kept = (settings.slots + 1) * named("state_bytes", model.state_bytes) if model.block in ("delta", "kda") else 0
    phases = [(kept + 4 * rows * (_feed_forward(shape, model, settings) + _left_by_scores(shape, model, settings, cells))).called("feed_forward")]
    attention, recurrent = _attention(shape, model, settings, cells, rows), _recurrent(shape, model, settings, rows)
    phases += [phase.called(name) for name, phase in (("attention", attention), ("recurrent", recurrent)) if phase.value]
    phase = largest_of(phases)
    if model.rough:
        phase = phase * 3 // 2
    small_inputs = 64 * rows + 8192  # positions, indices and token numbers
    if shape.architecture in ENCODERS:  # rows of masks are padded when their length is uneven
        small_inputs += 65_536 + (512 * rows if rows.value % 64 else 0)
    small_inputs = small_inputs.called("inputs")
    return phase + _masks(model, settings, cells, rows).called("masks") + rotation(model, settings) + small_inputs


def _left_by_scores(shape: Header, model: Shape, settings: Settings, cells: Cells) -> Formula:
    """Without flash attention the feed-forward cannot use all that the scores leave: with windows their whole room, else the values'."""
    if settings.flash_attention or not model.heads or model.mla:
        return formula(0)
    scores = named("heads", model.heads) * cells.full
    if model.window and scores.value < _feed_forward(shape, model, settings).value:
        return scores + 2 * _values(model)
    return 2 * _values(model)


def _values(model: Shape) -> Formula:
    """Elements of one token's values in the widest layer."""
    return named("values", max((layer.kv_heads * layer.value for layer in model.layers), default=0))


def _feed_forward(shape: Header, model: Shape, settings: Settings) -> Formula:
    """Elements a token that the feed-forward phase holds at once."""
    name, width = shape.architecture, named("embedding", model.embedding)
    mixed = bool(shape.get("expert_used_count"))
    rows = WIDEST.get(name, 6 if name in PARALLEL or (mixed and name in PARALLEL_MIXTURES) else 5)
    rows += 1 if _quantized(settings) and (mixed or name == "command-r") else 0
    held = (1 if name in UNGATED else 3) * named("feed_forward_length", _dense_width(shape)) + rows * width
    if mixed:
        held = largest_of((held, _experts(shape, width, rows)))
    per_layer = (shape.get("embedding_length_per_layer_input") or 0) * (shape.get("block_count") or 0)
    if per_layer:
        inputs = named("per_layer_inputs", per_layer)
        held = largest_of((held + 2 * inputs, 4 * inputs + 5 * width))
    return held


def _quantized(settings: Settings) -> bool:
    """Keys and values are rotated before they are quantized, which takes copies."""
    return KV_TYPES[settings.type_k][1] > 1 or KV_TYPES[settings.type_v][1] > 1


def _experts(shape: Header, width: Formula, rows: int) -> Formula:
    """Elements a token of a mixture: three hidden rows an expert used, one output row an expert used, or both, by how they fit into each other."""
    used, expert = named("experts_used", largest(shape.get("expert_used_count"))), named("expert_width", _expert_width(shape))
    hidden, out = used * expert, used * width
    shared = largest(shape.get("expert_shared_feed_forward_length")) or (shape.get("expert_shared_count") or 0) * expert.value
    shares = bool(shared) or shape.architecture in SHARED_EXPERTS
    if shape.architecture in WIDE_EXPERTS:
        held = rows * width + 3 * hidden + out
    elif hidden.value > width.value and 2 * expert.value >= width.value:
        held = rows * width + 3 * hidden
    elif hidden.value > width.value or shares:
        held = rows * width + 3 * hidden + out
    elif used.value == 1:
        held = largest_of(((rows + 3) * width, rows * width + 3 * hidden))
    else:
        held = rows * width + out
    return largest_of((held, 3 * named("shared_expert_width", shared) + (rows + 1) * width)) if shared else held


def _expert_width(shape: Header) -> int:
    dense, expert = (largest(shape.get(f"{name}feed_forward_length")) for name in ("", "expert_"))
    return dense if shape.architecture in EXPERTS_AS_WIDE_AS_DENSE else expert or dense


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
    query = named("query", max((at_layer(shape.get("attention.head_count"), index) * layer.key for index, layer in enumerate(model.layers)), default=0))
    values = _values(model)
    if not query.value:
        return formula(0)
    if settings.flash_attention and not model.rough:
        return 4 * rows * _flash(shape.architecture, _quantized(settings), width, query, values)
    queries = 4 if shape.architecture in GATED_QUERY else 3
    beside = 3 * width + queries * query + (4 if shape.architecture in FUSED else 2) * values + (2 * width + values if model.window else 0)
    return 4 * rows * (heads * cells.full + largest_of((beside, 6 * width + 2 * values, 5 * width + 3 * values)))


def _flash(name: str, quantized: bool, width: Formula, query: Formula, values: Formula) -> Formula:
    """Elements a token that flash attention holds at once, without scores."""
    if name in FUSED:
        own = 2 * width + 4 * query + 2 * values
    elif name in GATED_QUERY:
        own = (6 if quantized else 5) * width + 4 * query + 2 * values
    else:
        own = 5 * width + (2 if query.value > width.value else 1) * query
    if quantized:
        own = largest_of((own + query if name in FUSED else own, 5 * width + 2 * query + 2 * values))
    return largest_of((own, 2 * width + 2 * query + 4 * values))


def _latent_attention(shape: Header, settings: Settings, cells: Cells, rows: Formula, heads: Formula, width: Formula) -> Formula:
    rank, rope = named("kv_rank", shape.get("attention.kv_lora_rank") or 0), named("rope", shape.get("rope.dimension_count") or 0)
    held = heads * (named("key_length_mla", largest(shape.get("attention.key_length_mla"))) + 2 * rank + rope) + 5 * width
    if heads.value * rope.value > width.value:
        held += heads * rope
    query = named("query_rank", shape.get("attention.q_lora_rank") or 0)
    if query.value > width.value:
        held += query
    held = largest_of((held, 6 * width))
    if shape.architecture in INDEXED:
        held += (named("index_heads", shape.get("attention.indexer.head_count") or 1) + 2) * cells.full
    return 4 * rows * (held + (0 if settings.flash_attention else heads * cells.full))


def _recurrent(shape: Header, model: Shape, settings: Settings, rows: Formula) -> Formula:
    """The phase of a recurrent block; state copies are planned at the upper bound for several slots."""
    width, state, slots = named("embedding", model.embedding), named("state_bytes", model.state_bytes), named("slots", settings.slots)
    inner = named("inner", shape.get("ssm.inner_size") or 2 * model.embedding)
    grouped = named("groups", shape.get("ssm.group_count") or 0) * named("state_size", shape.get("ssm.state_size") or 0)
    first = (3 if shape.architecture in WIDE_HYBRID else 2 if shape.architecture in HYBRID else 1) * width

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
