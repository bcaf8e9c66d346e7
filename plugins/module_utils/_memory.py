# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Memory of one model in llama.cpp on CPU, term by term, anonymous and file-backed apart.

The formulas follow llama.cpp's allocation (cache, state, output, repacking: exact; compute buffer:
fitted to measurements on 45 shapes and never below them; base: a line above all measurements).
Anonymous bytes must fit without swapping. File-backed bytes are page cache: they should fit too.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable

from ._errors import FleetError
from ._gguf import Header, TensorGroup
from ._shape import HYBRID, Layer, Shape, at_layer, largest, shape_of

MIB = 1 << 20
SERVER_ANONYMOUS = 96 * MIB
"""LocalAI's own process: 51 MiB RssAnon idle, seen on v4.9.0; the rest is for requests in flight."""
SERVER_TMP = 128 * MIB
"""Size of the container's /tmp (a tmpfs, so memory): the engine's output there grows about 6 KB a long prompt."""
CHECKPOINTS = 4
"""Context checkpoints a slot (`n_ctx_checkpoints`) for models that cannot rewind their state; each request adds two."""
CELL_PADDING = 256
"""llama.cpp rounds cache cells up to this."""
KV_TYPES = {"f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q5_1": (24, 32), "q5_0": (22, 32), "q4_1": (20, 32),
            "q4_0": (18, 32), "iq4_nl": (18, 32)}
"""Cache type → bytes a block, elements a block."""
REPACK_RULES = {
    "Q4_0": ((("avx2",), 8), (("neon", "i8mm"), 4), (("neon", "dotprod"), 4)),
    "Q4_K": ((("avx2",), 8), (("neon", "i8mm"), 8), (("neon", "dotprod"), 8)),
    "Q2_K": ((("avx512",), 8),),
    "Q5_K": ((("neon", "i8mm"), 8), (("neon", "dotprod"), 8)),
    "Q6_K": ((("neon", "i8mm"), 8), (("neon", "dotprod"), 8)),
    "Q8_0": ((("neon", "i8mm"), 4), (("neon", "dotprod"), 4)),
    "Q1_0": ((("neon", "i8mm"), 4), (("neon", "dotprod"), 4)),
    "IQ4_NL": ((("avx2",), 8), (("neon",), 4)),
    "MXFP4": ((("avx2",), 8), (("neon", "dotprod"), 4)),
}
"""Tensor type → instruction sets needed and what must divide the rows (ggml-cpu/repack.cpp)."""
AMX_BLOCKS = {"Q4_0": (18, 18), "Q4_1": (20, 20), "Q8_0": (38, 34), "Q4_K": (148, 144), "Q5_K": (180, 176),
              "Q6_K": (210, 210), "IQ4_XS": (138, 136), "F16": (2, 2)}
"""Types that AMX hosts copy into tiles when rows come in 32s → bytes a block there, in the file (ggml-cpu/amx/mmq.cpp)."""
AMX_BOUND = (38, 34)
UNGATED = frozenset("""phi2 falcon gptneox gptj gpt2 starcoder starcoder2 mpt bloom codeshell bert nomic-bert-moe jina-bert-v3 nemotron nemotron_h
    nemotron_h_moe arcee apertus""".split())
PARALLEL = frozenset(("cohere2", "cohere2moe", "command-r", "falcon", "bert", "granitehybrid"))
"""Blocks that hold one more row of the embedding's width."""
ONLY_EXPERTS = frozenset(("qwen2moe", "qwen3moe", "qwen35moe", "olmoe", "gpt-oss", "llama"))
"""Every layer is a mixture when there are experts: `feed_forward_length` is another thing there."""
GATED_QUERY = frozenset(("qwen3next", "qwen35", "qwen35moe"))
SPM = frozenset(("llama", "bert", "t5"))
"""Tokenizers whose tables need less memory than those of byte-pair encoding."""


@dataclass(frozen=True)
class Settings:
    """How the engine runs a model; the defaults are those of LocalAI's llama.cpp engine, except the bounds.

    `context` in tokens, over all slots when `unified`. `prompt_cache` and `projector` (file) in bytes.
    `checkpoints` is a number a slot. `isa` as in a host's capacity; empty is unknown, which plans the worst.
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
    isa: tuple[str, ...] = ()
    prompt_cache: int = 0
    checkpoints: int = 0
    projector: int = 0


@dataclass(frozen=True)
class Memory:
    """Bytes by term. `anonymous` and `file_backed` are the sums; `weights` are weights read instead of mapped."""

    kv_full: int = 0
    kv_window: int = 0
    state: int = 0
    compute: int = 0
    output: int = 0
    repack: int = 0
    prompt_cache: int = 0
    checkpoints: int = 0
    projector: int = 0
    base: int = 0
    weights: int = 0
    file: int = 0
    anonymous: int = 0
    file_backed: int = 0
    repack_exact: bool = True
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe, every term in bytes."""
        return {**asdict(self), "notes": list(self.notes)}


@dataclass(frozen=True)
class _Cells:
    """Cache cells of one stream, full and window, and the number of streams; tokens."""

    full: int
    window: int
    streams: int
    ubatch: int


def estimate(shape: Header, settings: Settings = Settings()) -> Memory:
    """Every term for one model with these settings.

    Raises `FleetError` for settings the engine refuses: an unknown cache type, a quantized value cache
    without flash attention, a head size that the cache type's blocks do not divide.
    """
    model = shape_of(shape)
    _check(model, settings)
    cells = _cells(model, settings)
    repack, exact = repack_bytes(shape, settings.isa)
    notes = model.notes + (() if exact else ("Tensor infos were not read: repacking is planned at its safe bound.",))
    file = shape.file_size or 0
    found = Memory(
        kv_full=_kv(model, settings, cells, window=False), kv_window=_kv(model, settings, cells, window=True),
        state=_state(model) * settings.slots, compute=_compute(shape, model, settings, cells),
        output=4 * settings.slots * (model.vocabulary + (model.embedding if settings.embeddings else 0)),
        repack=repack, prompt_cache=settings.prompt_cache if model.cached else 0,
        checkpoints=settings.slots * settings.checkpoints * checkpoint_bytes(shape, settings),
        projector=settings.projector, base=_base(shape, settings), weights=0 if settings.mmap else max(0, file - repack), file=file,
        repack_exact=exact, notes=notes)
    return _summed(found, settings)


def needs_checkpoints(shape: Header) -> bool:
    """Whether the model has window or recurrent layers, whose cache cannot be cut back to an earlier token."""
    model = shape_of(shape)
    return model.cached and any(layer.window or layer.recurrent for layer in model.layers)


def checkpoint_bytes(shape: Header, settings: Settings) -> int:
    """One checkpoint of one slot: all recurrent state and the window layers' cache of one window."""
    model = shape_of(shape)
    if not model.cached:
        return 0
    tokens = 0 if settings.swa_full else min(model.window, _pad(settings.context))
    rows = sum(_row_bytes(model, layer, settings) for layer in model.layers if layer.window)
    return _state(model) + tokens * rows


def repack_bytes(shape: Header, isa: Iterable[str]) -> tuple[int, bool]:
    """Bytes of weights that are rewritten into anonymous memory at load, and whether that is exact.

    From tensor infos the sum is exact. Without them: 0.85 of the file on x86 with AVX2, all of it on ARM,
    nothing on x86 without AVX2; an unknown instruction set is planned as ARM.
    """
    names = frozenset(isa)
    if shape.tensors is None:
        return _repack_bound(shape.file_size or 0, names), False
    roles = {"matrix", "experts", "output", "other"} | ({"tied"} if shape_of(shape).cached else set())
    if not names:
        return max(repack_bytes(shape, some)[0] for some in (("avx2", "avx512", "amx"), ("neon", "dotprod", "i8mm"))), False
    return sum(_repacked(group, names) for group in shape.tensors if group.role in roles), True


def _repacked(group: TensorGroup, names: frozenset[str]) -> int:
    """Bytes that a group takes once rewritten, 0 when this processor leaves it mapped. AMX comes first, as in the engine."""
    if "amx" in names and group.role != "experts" and group.type in AMX_BLOCKS and group.rows_divisor % 32 == 0:
        tile, block = AMX_BLOCKS[group.type]
        return group.bytes * tile // block
    rules = REPACK_RULES.get(group.type, ()) if group.role != "other" else ()
    return group.bytes if any(names.issuperset(needed) and group.rows_divisor % rows == 0 for needed, rows in rules) else 0


def _repack_bound(file: int, names: frozenset[str]) -> int:
    if "amx" in names:
        return file * AMX_BOUND[0] // AMX_BOUND[1]
    if "avx2" in names:
        return file * 85 // 100
    return 0 if names and "neon" not in names else file


def _check(model: Shape, settings: Settings) -> None:
    """Refuse what the engine would refuse at load."""
    for kind in (settings.type_k, settings.type_v):
        if kind not in KV_TYPES:
            raise FleetError("The cache type is not known", "kv_type", kind, f"Use one of {', '.join(KV_TYPES)}.")
    if KV_TYPES[settings.type_v][1] > 1 and not settings.flash_attention and not model.mla:
        raise FleetError("A quantized value cache needs flash attention", "kv_type", settings.type_v, "Use f16, or turn flash attention on.")
    if min(settings.context, settings.slots, settings.ubatch, settings.batch) < 1:
        raise FleetError("Context, slots and batch sizes must be 1 or more", "settings", f"context {settings.context}, slots {settings.slots}")
    for layer in model.layers if model.cached else ():
        for kind, size in ((settings.type_k, layer.key), (settings.type_v, layer.value)):
            if layer.kv_heads and size % KV_TYPES[kind][1]:
                raise FleetError("The cache type does not fit the model's heads", f"architecture {model.architecture}",
                                 f"{kind} in blocks of {KV_TYPES[kind][1]}, head size {size}", "Use f16.")


def _pad(tokens: int) -> int:
    return -(-tokens // CELL_PADDING) * CELL_PADDING


def _cells(model: Shape, settings: Settings) -> _Cells:
    """llama_context and llama_kv_cache_iswa: what a stream holds."""
    total = _pad(settings.context)
    full = total if settings.unified else _pad(total // settings.slots)
    ubatch = min(settings.ubatch, settings.batch, total)
    parallel = settings.slots if settings.unified else 1
    window = min(full, _pad(model.window * parallel + ubatch))
    return _Cells(full, full if settings.swa_full else window, 1 if settings.unified else settings.slots, ubatch)


def _row_bytes(model: Shape, layer: Layer, settings: Settings) -> int:
    """Cache bytes of one token in one layer."""
    if not layer.kv_heads or not model.cached:
        return 0
    values = 0 if model.mla else _typed(layer.kv_heads * layer.value, settings.type_v)
    if not settings.flash_attention and not model.mla:  # transposed values take the widest layer's row
        values = _typed(max(other.kv_heads * other.value for other in model.layers), settings.type_v)
    return _typed(layer.kv_heads * layer.key, settings.type_k) + values


def _typed(elements: int, kind: str) -> int:
    block_bytes, block = KV_TYPES[kind]
    return elements * block_bytes // block


def _kv(model: Shape, settings: Settings, cells: _Cells, window: bool) -> int:
    count = (cells.window if window else cells.full) * cells.streams
    return count * sum(_row_bytes(model, layer, settings) for layer in model.layers if layer.window == window)


def _state(model: Shape) -> int:
    """Recurrent state of one slot, all layers."""
    return model.state_bytes * sum(layer.recurrent for layer in model.layers)


def _base(shape: Header, settings: Settings) -> int:
    """Everything else of the engine's process, mostly tables of the vocabulary; a line above all measured cases."""
    per_token = 205 if shape.tokenizer_model in SPM else 379  # 0.2 and 0.37 KiB
    extra = 24 * MIB if shape.architecture in GATED_QUERY else 0
    return 16 * MIB + per_token * shape.vocab_size + extra + (0 if settings.mmap else 16 * MIB)


def _summed(found: Memory, settings: Settings) -> Memory:
    anonymous = sum((found.kv_full, found.kv_window, found.state, found.compute, found.output, found.repack, found.prompt_cache,
                     found.checkpoints, found.projector, found.base, found.weights))
    return replace(found, anonymous=anonymous, file_backed=found.file if settings.mmap else 0)


# The compute buffer: the largest phase of a block, the masks, and rotation matrices of quantized caches

def _compute(shape: Header, model: Shape, settings: Settings, cells: _Cells) -> int:
    rows = -(-cells.ubatch // settings.slots) * settings.slots
    phases = [4 * rows * _feed_forward(shape, model), _attention(shape, model, settings, cells, rows), _recurrent(shape, model, settings, rows)]
    largest_phase = max(phases)
    if not model.known:
        largest_phase = largest_phase * 3 // 2
    small_inputs = 64 * rows + 8192  # positions, indices and token numbers
    return largest_phase + _masks(model, settings, cells, rows) + _rotation(model, settings) + small_inputs


def _feed_forward(shape: Header, model: Shape) -> int:
    """Elements a token that the feed-forward phase holds at once."""
    width, name = model.embedding, shape.architecture
    used, expert = shape.get("expert_used_count") or 0, _expert_width(shape)
    hidden = max(_dense_width(shape), used * expert, largest(shape.get("expert_shared_feed_forward_length")))
    held = (1 if name in UNGATED else 3) * hidden + (6 if name in PARALLEL else 5) * width
    if used and 2 * expert < width:
        held = max(held, 2 * used * width + used * expert + 4 * width)
    per_layer = (shape.get("embedding_length_per_layer_input") or 0) * (shape.get("block_count") or 0)
    if per_layer:
        held += 2 * per_layer + (4 * width if name == "gemma3n" else 0)
    return held


def _expert_width(shape: Header) -> int:
    return largest(shape.get("expert_feed_forward_length")) or largest(shape.get("feed_forward_length"))


def _dense_width(shape: Header) -> int:
    """The widest dense feed-forward; models of experts only keep a width that no layer uses."""
    only_experts = shape.get("expert_used_count") and not shape.get("leading_dense_block_count") and (shape.get("interleave_moe_layer_step") or 1) <= 1
    return 0 if only_experts and shape.architecture in ONLY_EXPERTS else largest(shape.get("feed_forward_length"))


def _attention(shape: Header, model: Shape, settings: Settings, cells: _Cells, rows: int) -> int:
    """Latent attention always, plain attention only where its scores are materialised."""
    heads, width = model.heads, model.embedding
    if model.mla:
        rank, rope = shape.get("attention.kv_lora_rank") or 0, shape.get("rope.dimension_count") or 0
        held = heads * (largest(shape.get("attention.key_length_mla")) + rank + rank + rope) + 5 * width
        held += heads * rope if heads * rope > width else 0
        return 4 * rows * (held + (0 if settings.flash_attention else heads * cells.full))
    if settings.flash_attention and model.known:
        return 0
    query = max((at_layer(shape.get("attention.head_count"), index) * layer.key for index, layer in enumerate(model.layers)), default=0)
    values = max((layer.kv_heads * layer.value for layer in model.layers), default=0)
    queries = 4 if shape.architecture in GATED_QUERY else 3
    held = (0 if settings.flash_attention else heads * cells.full) + 3 * width + queries * query + 2 * values
    return 4 * rows * held + (8 * MIB if model.window else 0)  # windows without flash attention measured up to 6 MiB more


def _recurrent(shape: Header, model: Shape, settings: Settings, rows: int) -> int:
    """The phase of a recurrent block; state copies are planned at the upper bound for several slots."""
    width, state, slots, mixed = model.embedding, model.state_bytes, settings.slots, shape.architecture in HYBRID
    inner = shape.get("ssm.inner_size") or 2 * width
    grouped = (shape.get("ssm.group_count") or 0) * (shape.get("ssm.state_size") or 0)
    first = (2 if mixed else 1) * width
    if model.block == "mamba1":
        return 4 * rows * (first + 7 * inner) + slots * state
    if model.block == "mamba2":
        return 4 * rows * (first + 7 * inner + 6 * grouped + (shape.get("ssm.time_step_rank") or 0)) + (state if slots == 1 else 2 * slots * state)
    if model.block in ("delta", "kda"):
        if model.block == "kda":
            inner = grouped = model.heads * (shape.get("kda.head_dim") or 128)
        return 4 * rows * (width + 2 * (inner + 2 * grouped) + 2 * inner) + (state if slots == 1 else 3 * slots * state)
    if model.block == "rwkv":
        return 4 * rows * 20 * width + 2 * slots * state
    return 0


def _masks(model: Shape, settings: Settings, cells: _Cells, rows: int) -> int:
    """One row of cells a token, for full and for window layers."""
    full = any(layer.kv_heads and not layer.window for layer in model.layers)
    window = any(layer.kv_heads and layer.window for layer in model.layers)
    held = (cells.full if full else 0) + (cells.window if window else 0)
    if not model.cached:
        held = cells.ubatch * (2 if model.window else 1)
    return (2 if settings.flash_attention else 4) * rows * held


def _rotation(model: Shape, settings: Settings) -> int:
    """Hadamard matrices, one for keys and one for values of each cache that is quantized."""
    total = 0
    for window in (False, True):
        layer = next((layer for layer in model.layers if layer.kv_heads and layer.window == window), None)
        if layer is None or not model.cached:
            continue
        if KV_TYPES[settings.type_k][1] > 1 and layer.key % 64 == 0:
            total += 4 * (layer.key & -layer.key) ** 2
        if KV_TYPES[settings.type_v][1] > 1 and layer.value % 64 == 0 and not model.mla:
            total += 4 * 64 ** 2
    return total
