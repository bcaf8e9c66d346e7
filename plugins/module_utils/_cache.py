# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What the engine caches for a model: keys and values of each token, and the state of recurrent layers.

Exact: llama_kv_cache, llama_kv_cache_iswa and llama_memory_recurrent allocate these bytes.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Iterable

from ._errors import FleetError
from ._formula import Formula, formula, named, rounded_up, smallest_of
from ._gguf import Header
from ._shape import Layer, Shape, is_known

CELL_PADDING = 256
"""llama.cpp rounds cache cells up to this."""
KV_TYPES = {"f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q5_1": (24, 32), "q5_0": (22, 32), "q4_1": (20, 32),
            "q4_0": (18, 32), "iq4_nl": (18, 32)}
"""Cache type → bytes a block, elements a block."""

NUMBERS = {"context": (1, 2 ** 31 - 1), "slots": (1, 256), "ubatch": (1, 2 ** 31 - 1), "batch": (1, 2 ** 31 - 1), "checkpoints": (0, 2 ** 31 - 1),
           "image_tokens": (0, 2 ** 31 - 1), **dict.fromkeys(("prompt_cache", "projector", "draft", "draft_file"), (0, 2 ** 63 - 1))}
"""Settings that are numbers → the least and the most: the engine counts tokens in 32 bits, and has no more slots (LLAMA_MAX_SEQ)."""
FLAGS = ("unified", "flash_attention", "swa_full", "mmap", "embeddings", "trimmed")


@dataclass(frozen=True)
class Settings:
    """How the engine runs a model; the defaults are those of LocalAI's llama.cpp engine, except the bounds.

    `context` in tokens, over all slots when `unified`. `prompt_cache` and `projector` (file) in bytes. `projector_header` is that file's, None where it
    is not known; `image_tokens` the limit of one image, 0 where the engine heeds none.
    `trimmed`: the engine gives memory back as soon as it is free, as its containers have it (`MALLOC_TRIM_THRESHOLD_`); else the C library keeps what it may
    use again, by a history that nothing can tell.
    `draft` and `draft_file` are the anonymous bytes and the file of a draft model's own estimate (`_memory.with_draft`).
    `checkpoints` is a number a slot. `isa` as in a host's capacity; empty is unknown, which plans the worst. None is the default, and what the engine
    decides by itself (`auto`) is flash attention on a CPU.
    """

    context: int = 4096
    slots: int = 1
    unified: bool = True
    ubatch: int = 512
    batch: int = 512
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attention: bool = True
    swa_full: bool = False
    mmap: bool = True
    embeddings: bool = False
    trimmed: bool = False
    isa: tuple[str, ...] = ()
    prompt_cache: int = 0
    checkpoints: int = 0
    projector: int = 0
    projector_header: Header | None = None
    image_tokens: int = 0
    draft: int = 0
    draft_file: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) is None or (item.name, getattr(self, item.name)) == ("flash_attention", "auto"):
                object.__setattr__(self, item.name, item.default)


@dataclass(frozen=True)
class Cells:
    """Cache cells of one stream, full and window, the number of streams, and the tokens of one micro-batch."""

    full: Formula
    window: Formula
    streams: int
    ubatch: Formula


def check(model: Shape, settings: Settings) -> None:
    """Refuse what the engine would refuse at load."""
    _check_numbers(settings)
    for kind in (settings.type_k, settings.type_v):
        if not isinstance(kind, str) or kind not in KV_TYPES:
            raise FleetError("The cache type is not known", "kv_type", str(kind), f"Use one of {', '.join(KV_TYPES)}.")
    if KV_TYPES[settings.type_v][1] > 1 and not settings.flash_attention:
        raise FleetError("A quantized value cache needs flash attention", "kv_type", settings.type_v, "Use f16, or turn flash attention on.")
    if model.mla and settings.type_k != settings.type_v:
        raise FleetError("Latent attention has one cache, of one type", f"architecture {model.architecture}",
                         f"{settings.type_k} for keys, {settings.type_v} for values", "Use the same type for both.")
    for layer in model.layers if model.cached else ():
        for kind, size in ((settings.type_k, layer.key), (settings.type_v, layer.value)):
            if layer.kv_heads and size % KV_TYPES[kind][1]:
                raise FleetError("The cache type does not fit the model's heads", f"architecture {model.architecture}",
                                 f"{kind} in blocks of {KV_TYPES[kind][1]}, head size {size}", "Use f16.")


def _check_numbers(settings: Settings) -> None:
    """Whole numbers that the engine can take, and yes or no where it is that."""
    for name, (least, most) in NUMBERS.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise FleetError("A setting must be a whole number in the engine's range", name, repr(value), f"Use {least} to {most}.")
    for name in FLAGS:
        if not isinstance(getattr(settings, name), bool):
            raise FleetError("A setting must be true or false", name, repr(getattr(settings, name)))
    if not isinstance(settings.isa, (tuple, list, set, frozenset)):
        raise FleetError("Instruction sets must be a list of names", "isa", repr(settings.isa))


def cells_of(model: Shape, settings: Settings) -> Cells:
    """llama_context and llama_kv_cache_iswa: what a stream holds."""
    slots, total = named("slots", settings.slots), rounded_up(named("context", settings.context), CELL_PADDING)
    full = (total if settings.unified else rounded_up(total // slots, CELL_PADDING)).called("cells")
    streams = 1 if settings.unified else settings.slots
    most = named("context", settings.context) if model.causal else full * named("streams", streams)
    ubatch = smallest_of((named("ubatch", settings.ubatch), named("batch", settings.batch), most)).called("micro_batch")
    wanted = named("window", model.window) * slots if settings.unified else named("window", model.window)
    window = full if settings.swa_full else smallest_of((full, rounded_up(wanted + ubatch, CELL_PADDING)))
    return Cells(full, window.called("window_cells"), streams, ubatch)


def cache_bytes(model: Shape, settings: Settings, cells: Cells, window: bool) -> Formula:
    """The cache of the layers that see the whole context, or of those that see a window."""
    rows = _rows(model, settings, (layer for layer in model.layers if layer.window == window))
    if not (window or settings.flash_attention) and (model.architecture == "deci" or not is_known(model.architecture)):
        rows += _unused_values(model, settings)
    if not rows.value:
        return formula(0)
    return (cells.window if window else cells.full) * named("streams", cells.streams) * rows


def checkpoint(model: Shape, settings: Settings) -> Formula:
    """One checkpoint of one slot: all recurrent state and the window layers' cache of one window."""
    if not model.cached:
        return formula(0)
    rows = _rows(model, settings, (layer for layer in model.layers if layer.window))
    if settings.swa_full or not rows.value:
        return state(model)
    tokens = smallest_of((named("window", model.window), rounded_up(named("context", settings.context), CELL_PADDING)))
    return state(model) + tokens * rows


def state(model: Shape) -> Formula:
    """Recurrent state of one slot, all layers."""
    layers = sum(layer.recurrent for layer in model.layers)
    if not layers:
        return formula(0)
    return named("recurrent_layers", layers) * named("state_bytes", model.state_bytes)


def _rows(model: Shape, settings: Settings, layers: Iterable[Layer]) -> Formula:
    """Cache bytes of one token in these layers, summed by kind of layer."""
    kinds = Counter((layer.kv_heads, layer.key, layer.value, layer.index) for layer in layers if layer.kv_heads and model.cached)
    total = formula(0)
    for number, ((heads, key, value, index), count) in enumerate(sorted(kinds.items())):
        mark = "" if len(kinds) == 1 else f"_{number + 1}"
        row = _typed(named(f"kv_heads{mark}", heads) * named(f"key_length{mark}", key), "type_k", settings.type_k)
        if not model.mla:
            row += _typed(_values(model, settings, heads, value, mark), "type_v", settings.type_v)
        if index:
            row += _typed(named(f"index_length{mark}", index), "type_k", settings.type_k)
            row += _typed(named(f"value_length{mark}", value), "type_v", settings.type_v) if not model.mla else 0
        total += named(f"layers{mark}", count) * row
    return total


def _values(model: Shape, settings: Settings, heads: int, value: int, mark: str) -> Formula:
    """Elements of one token's values; without flash attention values are transposed and take the widest layer's row."""
    own = named(f"kv_heads{mark}", heads) * named(f"value_length{mark}", value)
    widest = max(layer.kv_heads * layer.value for layer in model.layers)
    return own if settings.flash_attention or widest == own.value else named("widest_values", widest)


def _unused_values(model: Shape, settings: Settings) -> Formula:
    """Values of layers without attention: transposed, they have the widest layer's row there too."""
    widest, count = max(layer.kv_heads * layer.value for layer in model.layers), sum(not layer.kv_heads for layer in model.layers)
    if not count:
        return formula(0)
    return named("layers_without_attention", count) * _typed(named("widest_values", widest), "type_v", settings.type_v)


def _typed(elements: Formula, name: str, kind: str) -> Formula:
    """Bytes of elements of a cache type."""
    block_bytes, block = KV_TYPES[kind]
    return elements * named(f"{name}_bytes", block_bytes) // block
