# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The engine's compute buffer: the largest phase of a block, and what lives beside it.

ggml's allocator reuses what is no longer needed, so a graph takes as much as its largest moment. The phases are
measured, not derived; none is below what the engine was seen to allocate.
"""
from __future__ import annotations

from ._cache import Cells, Settings, rotation
from ._formula import Formula, Number, formula, largest_of, named, rounded_up
from ._gguf import Header
from ._shape import HYBRID, Shape, at_layer, largest

MIB = 1 << 20
UNGATED = frozenset("""phi2 falcon gptneox gptj gpt2 starcoder starcoder2 mpt bloom codeshell bert nomic-bert-moe jina-bert-v3 nemotron nemotron_h
    nemotron_h_moe arcee apertus""".split())
PARALLEL = frozenset(("cohere2", "cohere2moe", "command-r", "falcon", "bert", "granitehybrid"))
"""Blocks that hold one more row of the embedding's width."""
ONLY_EXPERTS = frozenset(("qwen2moe", "qwen3moe", "qwen35moe", "olmoe", "gpt-oss", "llama"))
"""Every layer is a mixture when there are experts: `feed_forward_length` is another thing there."""
GATED_QUERY = frozenset(("qwen3next", "qwen35", "qwen35moe"))


def compute_bytes(shape: Header, model: Shape, settings: Settings, cells: Cells) -> Formula:
    """The compute buffer of one context."""
    rows = rounded_up(cells.ubatch, named("slots", settings.slots)).called("rows")
    phases = [(4 * rows * _feed_forward(shape, model)).called("feed_forward")]
    attention, recurrent = _attention(shape, model, settings, cells, rows), _recurrent(shape, model, settings, rows)
    phases += [phase.called(name) for name, phase in (("attention", attention), ("recurrent", recurrent)) if phase.value]
    phase = largest_of(phases)
    if not model.known:
        phase = phase * 3 // 2
    small_inputs = (64 * rows + 8192).called("inputs")  # positions, indices and token numbers
    return phase + _masks(model, settings, cells, rows).called("masks") + rotation(model, settings) + small_inputs


def _feed_forward(shape: Header, model: Shape) -> Formula:
    """Elements a token that the feed-forward phase holds at once."""
    name, width = shape.architecture, named("embedding", model.embedding)
    used, expert = named("experts_used", shape.get("expert_used_count") or 0), named("expert_width", _expert_width(shape))
    hidden = named("feed_forward_length", _dense_width(shape))
    shared = largest(shape.get("expert_shared_feed_forward_length"))
    if used.value or shared:
        hidden = largest_of((hidden, used * expert, named("shared_expert_width", shared)))
    held = (1 if name in UNGATED else 3) * hidden + (6 if name in PARALLEL else 5) * width
    if used.value and 2 * expert.value < width.value:
        held = largest_of((held, 2 * used * width + used * expert + 4 * width))
    per_layer = (shape.get("embedding_length_per_layer_input") or 0) * (shape.get("block_count") or 0)
    if per_layer:
        held += 2 * named("per_layer_inputs", per_layer) + (4 * width if name == "gemma3n" else 0)
    return held


def _expert_width(shape: Header) -> int:
    return largest(shape.get("expert_feed_forward_length")) or largest(shape.get("feed_forward_length"))


def _dense_width(shape: Header) -> int:
    """The widest dense feed-forward; models of experts only keep a width that no layer uses."""
    only_experts = shape.get("expert_used_count") and not shape.get("leading_dense_block_count") and (shape.get("interleave_moe_layer_step") or 1) <= 1
    return 0 if only_experts and shape.architecture in ONLY_EXPERTS else largest(shape.get("feed_forward_length"))


def _attention(shape: Header, model: Shape, settings: Settings, cells: Cells, rows: Formula) -> Formula:
    """Latent attention always, plain attention only where its scores are materialised."""
    heads, width = named("heads", model.heads), named("embedding", model.embedding)
    if model.mla:
        return _latent_attention(shape, settings, cells, rows, heads, width)
    if settings.flash_attention and model.known:
        return formula(0)
    query = named("query", max((at_layer(shape.get("attention.head_count"), index) * layer.key for index, layer in enumerate(model.layers)), default=0))
    values = named("values", max((layer.kv_heads * layer.value for layer in model.layers), default=0))
    queries = 4 if shape.architecture in GATED_QUERY else 3
    scores = 0 if settings.flash_attention else heads * cells.full
    held = 3 * width + queries * query + 2 * values + scores
    return 4 * rows * held + (8 * MIB if model.window else 0)  # windows without flash attention measured up to 6 MiB more


def _latent_attention(shape: Header, settings: Settings, cells: Cells, rows: Formula, heads: Formula, width: Formula) -> Formula:
    rank, rope = named("kv_rank", shape.get("attention.kv_lora_rank") or 0), named("rope", shape.get("rope.dimension_count") or 0)
    held = heads * (named("key_length_mla", largest(shape.get("attention.key_length_mla"))) + 2 * rank + rope) + 5 * width
    if heads.value * rope.value > width.value:
        held += heads * rope
    return 4 * rows * (held + (0 if settings.flash_attention else heads * cells.full))


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
        return 4 * rows * (width + 2 * (inner + 2 * grouped) + 2 * inner) + copies(3)
    if model.block == "rwkv":
        return 4 * rows * 20 * width + 2 * slots * state
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
    return (2 if settings.flash_attention else 4) * rows * held
