# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The engine's compute buffer, and what products need beside it.

ggml's allocator is replayed on the graph of each architecture (`_layers`), so the buffer is exact. An architecture that is not known is
planned by the heaviest graph that it may have, with a margin.
"""
from __future__ import annotations

from ._cache import Cells, Settings
from ._formula import Formula, formula, largest_of, named, rounded_up, smallest_of
from ._gguf import Header
from ._graph import explained, replay
from ._layers import graphs, guesses
from ._shape import Shape, at_layer, largest, uncached
from ._styles import WIDE, deepstack

MIB = 1 << 20
THREAD_BYTES, PLANNED_THREADS = MIB // 2, 2
"""What a thread keeps for products in tiles (up to 0.55 MiB measured), and how many threads an estimate is for."""
MARGIN = 2
"""Times the heaviest guess, where the graph is not known."""
ONLY_EXPERTS = frozenset("""qwen2moe qwen3moe qwen35moe qwen3next qwen3vlmoe olmoe gpt-oss llama granitemoe phimoe dbrx grok minimax-m2 mellum granite
    mistral3""".split())
"""Every layer is a mixture when there are experts: `feed_forward_length` is another thing there."""


def compute_bytes(shape: Header, model: Shape, settings: Settings, cells: Cells) -> Formula:
    """The compute buffer of one context: of the known graph, else of the heaviest that it may have, with a margin."""
    known = [explained(*replay(graph)) for graph in graphs(shape, model, settings, cells)]
    found = known or [explained(*replay(graph)) for graph in guesses(shape, model, settings, cells)]
    heaviest = max(found, key=lambda one: one.value)
    return heaviest if known else MARGIN * heaviest


def work_bytes(shape: Header, model: Shape, settings: Settings, cells: Cells) -> tuple[Formula, Formula]:
    """What products need beside the compute buffer: their right side in the type of the left one (ggml_graph_plan), and what it leaves free in the heap.

    Without flash attention it is the scores, and grows with the prompt: what smaller sizes leave in the heap stays. Not without a cache, as keys
    and values are not in another type then.
    """
    rows, used = rounded_up(cells.ubatch, named("slots", settings.slots)), largest(shape.get("expert_used_count"))
    halves = any(group.type in ("F16", "BF16") and group.role in ("matrix", "experts") for group in shape.tensors or ())
    hidden = largest_of((named("feed_forward_length", _dense_width(shape)), named("experts_used", used) * _expert_width(shape), _query(shape, model),
                         named("inner", largest(shape.get("ssm.inner_size"))), named("embedding", model.embedding)))
    work = rows * hidden * 2 if halves else rows * hidden * 5 // 4  # 292 bytes for 256 elements of Q8_K, and what is free beside in the heap
    left = formula(0)
    if not settings.flash_attention and model.heads and not uncached(model):
        work = largest_of((work, 2 * rows * named("heads", model.heads) * cells.full))
        left = smallest_of((work // 2, 16 * MIB)) if cells.full.value >= 2 * cells.ubatch.value else left  # 0 to 14 MiB measured
    return (work + PLANNED_THREADS * THREAD_BYTES).called("work"), left


def unread_bytes(model: Shape, settings: Settings, cells: Cells) -> Formula:
    """Room in the compute buffer that prompts of tokens never touch: for embeddings as input, and a copy of them, whose room all but answers in tokens use.

    A projector gives such input.
    """
    rows = rounded_up(cells.ubatch, named("slots", settings.slots))
    width = named("embedding", model.embedding) * (1 + deepstack(model.architecture))
    return formula(0) if settings.projector else ((4 if settings.embeddings or not model.cached else 8) * rows * width).called("unread")


def _query(shape: Header, model: Shape) -> Formula:
    """Elements of one token's queries in the widest layer."""
    return named("query", max((at_layer(shape.get("attention.head_count"), index) * layer.key for index, layer in enumerate(model.layers)), default=0))


def _expert_width(shape: Header) -> int:
    dense, expert = (largest(shape.get(f"{name}feed_forward_length")) for name in ("", "expert_"))
    return dense if shape.architecture in WIDE else expert or dense


def _dense_width(shape: Header) -> int:
    """The widest dense feed-forward; models of experts only keep a width that no layer uses."""
    if shape.architecture == "qwen":  # half of it is the gate
        return largest(shape.get("feed_forward_length")) // 2
    only_experts = shape.get("expert_used_count") and not shape.get("leading_dense_block_count") and (shape.get("interleave_moe_layer_step") or 1) <= 1
    return 0 if only_experts and shape.architecture in ONLY_EXPERTS else largest(shape.get("feed_forward_length"))
