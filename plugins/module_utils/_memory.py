# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Memory of one model in llama.cpp on CPU, term by term, anonymous and file-backed apart.

The formulas follow llama.cpp's allocation (cache, state, output, repacking: exact; compute buffer and
base: fitted to measurements and never below them). Each keeps its own text: see `_explain`.
Anonymous bytes must fit without swapping. File-backed bytes are page cache: they should fit too.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable

from ._cache import Settings, cache_bytes, cells_of, check, checkpoint, state
from ._compute import MIB, compute_bytes, unread_bytes, work_bytes
from ._errors import FleetError
from ._formula import Formula, formula, largest_of, named, smallest_of
from ._gguf import Header
from ._mmproj import projector_bytes, projector_notes
from ._repack import repacked
from ._shape import UNFLASHED, Shape, all_logits, largest, shape_of

__all__ = ["CHECKPOINTS", "MIB", "SERVER_ANONYMOUS", "SERVER_TMP", "Memory", "Settings", "checkpoint_bytes", "estimate", "formulas",
           "needs_checkpoints", "repack_bytes", "with_draft"]

SERVER_ANONYMOUS = 96 * MIB
"""LocalAI's own process: 51 MiB RssAnon idle, seen on v4.9.0; the rest is for requests in flight."""
SERVER_TMP = 128 * MIB
"""Size of the container's /tmp (a tmpfs, so memory): the engine's output there grows about 6 KB a long prompt."""
CHECKPOINTS = 4
"""Context checkpoints a slot (`n_ctx_checkpoints`) for models that cannot rewind their state; each request adds two."""
TOKEN_BYTES = {"llama": 172, "bert": 165, "gpt2": 172, "none": 0, "no_vocab": 0}
"""Bytes a token of the vocabulary takes in the engine's tables, by tokenizer; 166 to 171 measured."""
TABLE_SIZES, GROWN_BYTES, FEWER_BYTES = (10_273, 20_753, 42_043, 85_229), MIB, 3 * MIB // 8
"""Tokens at which the C++ library makes a table larger; what that leaves free in the heap of an encoder with 0.97 to 1.35 times as many (0 to 0.9 MiB
more measured than in others), and in that of others between the first two (0 to 0.34). A cache and longer lists of merges fill it in other models."""
FEW_TENSORS = 140
"""An encoder with fewer takes as much as with so many: what they take lies in what loading left free."""
TRIE_TOKEN_BYTES = 1000
"""The same for tokenizers that build a tree over the bytes of each token (t5, rwkv, plamo2, gemma4 and unknown ones)."""
MERGE_BYTES = 113
"""Bytes of one merge rule of byte-pair encoding; 109 to 113 measured."""
HOLE_BYTES, HOLE_MERGES = 24, 66_000
"""Bytes a merge rule that stay free in the heap, from so many rules on; 15 to 33 measured."""
SPARE_BYTES = MIB
"""What is free in the heap beside shorter lists once weights are rewritten: 0.1 to 0.9 MiB measured in narrow models, none in RWKV; others hold it in what
products need."""
MERGES_A_TOKEN = 9, 4
"""Merge rules a token where only the start of the header was read: 2.2 in llama-3 and gpt-oss, 1 in most."""
TENSOR_BYTES = 10_850
"""Bytes the engine keeps a tensor: its description and the graph's nodes; 10.5 KiB measured."""
NODES = frozenset("qwen3next qwen35 qwen35moe kimi-linear bailingmoe3 kimi-k3 nanbeige minimax-01 minimax-m3".split())
"""Architectures whose graph the engine gives 40 nodes a token of a micro-batch."""
NODE_BYTES = 1300
MEAN = 1
"""`pooling_type` of a model whose embedding is the mean of all tokens."""
ANONYMOUS = ("kv_full", "kv_window", "state", "compute", "output", "repack", "prompt_cache", "checkpoints", "projector", "draft", "base", "weights")
"""The terms that `anonymous` sums."""


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
    draft: int = 0
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


def estimate(shape: Header, settings: Settings = Settings()) -> Memory:
    """Every term for one model with these settings.

    Raises `FleetError` for settings the engine refuses: an unknown cache type, a quantized value cache without flash attention, a head
    size that the cache type's blocks do not divide, slots that do not divide the micro-batch of a model that averages its tokens.
    """
    exact = shape.tensors is not None and bool(settings.isa)
    seen = projector_notes(settings.projector, settings.projector_header, largest(shape.get("embedding_length")))
    notes = shape_of(shape).notes + seen + (() if exact else ("Tensor infos were not read: repacking is planned at its safe bound.",))
    values = {name: term.value for name, term in formulas(shape, settings).items()}
    return Memory(**values, repack_exact=exact, notes=notes)


def formulas(shape: Header, settings: Settings) -> dict[str, Formula]:
    """The formula of each field of `Memory` that is a number, in its order. Raises `FleetError` as `estimate` does."""
    model = shape_of(shape)
    settings = replace(settings, flash_attention=False) if shape.architecture in UNFLASHED else settings
    check(model, settings)
    cells, slots = cells_of(model, settings), named("slots", settings.slots)
    if settings.embeddings and shape.pooling_type == MEAN and cells.ubatch.value % settings.slots:
        raise FleetError("The engine does not start a model that averages its tokens where the slots do not divide the micro-batch",
                         f"architecture {model.architecture}", f"{settings.slots} slots, {cells.ubatch.value} tokens", "Use 1, 2, 4 or 8 slots.")
    file, repack = named("file", shape.file_size or 0), repacked(shape, settings.isa, model.cached)[0]
    found = {
        "kv_full": cache_bytes(model, settings, cells, window=False), "kv_window": cache_bytes(model, settings, cells, window=True),
        "state": slots * state(model), "compute": compute_bytes(shape, model, settings, cells), "output": _output(shape, model, settings, slots),
        "repack": repack, "prompt_cache": named("prompt_cache", settings.prompt_cache if model.cached else 0),
        "checkpoints": slots * named("checkpoints_a_slot", settings.checkpoints) * checkpoint(model, settings).called("checkpoint"),
        "projector": _projector(shape, settings),
        "draft": named("draft", settings.draft), "base": formula(0),
        "weights": formula(0) if settings.mmap else largest_of((0, file - repack.called("repack"))), "file": file}
    (work, left), hole = work_bytes(shape, model, settings, cells), _hole(shape, found["kv_full"] + found["kv_window"])
    free = largest_of((left, hole)) if left.value else hole
    spare = _merges(shape).value and repack.value and hole.value < SPARE_BYTES and model.block != "rwkv"
    process = _engine(shape, settings) + _unmapped(shape, settings, repack) + (SPARE_BYTES if spare else 0)
    beside = process + _answer(shape, settings) + (hole if 2 * work.value <= hole.value else work + free)
    found["base"] = largest_of((0, beside - unread_bytes(model, settings, cells)))
    total = formula(0)
    for name in ANONYMOUS:
        total += named(name, found[name].value)
    mapped = file + named("draft_file", settings.draft_file) if settings.draft_file else file
    return {**found, "anonymous": total, "file_backed": mapped if settings.mmap else formula(0)}


def with_draft(settings: Settings, draft: Header, draft_settings: Settings) -> Settings:
    """These settings with a draft model beside the model: a second estimate, whose process part is counted though both share one."""
    memory = estimate(draft, draft_settings)
    return replace(settings, draft=memory.anonymous, draft_file=memory.file_backed)


def needs_checkpoints(shape: Header) -> bool:
    """Whether the model has window or recurrent layers, whose cache cannot be cut back to an earlier token."""
    model = shape_of(shape)
    return model.cached and any(layer.window or layer.recurrent for layer in model.layers)


def checkpoint_bytes(shape: Header, settings: Settings) -> int:
    """One checkpoint of one slot: all recurrent state and the window layers' cache of one window."""
    return checkpoint(shape_of(shape), settings).value


def repack_bytes(shape: Header, isa: Iterable[str]) -> tuple[int, bool]:
    """Bytes of weights that are rewritten into anonymous memory at load, and whether that is exact."""
    tied = shape.tensors is not None and shape_of(shape).cached
    found, exact = repacked(shape, isa, tied)
    return found.value, exact


def _output(shape: Header, model: Shape, settings: Settings, slots: Formula) -> Formula:
    """One row of logits a slot; where embeddings are asked for, rows of both that grow to the longest batch (what nothing computes stays untouched)."""
    logits = named("vocabulary", model.vocabulary)
    if not settings.embeddings:
        return 4 * slots * logits
    tokens, row = smallest_of((named("batch", settings.batch), named("context", settings.context))), named("embedding", model.embedding)
    if (shape.pooling_type or 0) > (1 if model.cached else 0):  # of one token; a mean is of all, but encoders give it with the graph
        return 4 * slots * (logits + row)
    if not all_logits(shape, True):
        return 4 * (slots * logits + largest_of((tokens, slots)) * row)
    return 4 * largest_of((tokens, slots)) * (logits + row)


def _projector(shape: Header, settings: Settings) -> Formula:
    """A projector beside the model: its weights, and what the largest image needs."""
    if not settings.projector:
        return formula(0)
    return projector_bytes(settings.projector, settings.projector_header, largest(shape.get("embedding_length")), settings.image_tokens, settings.slots)


def _answer(shape: Header, settings: Settings) -> Formula:
    """An answer with the embedding of every token, in numbers and as text, while it is sent; 38 bytes an element measured."""
    if not settings.embeddings or shape.pooling_type:
        return formula(0)
    tokens = smallest_of((named("batch", settings.batch), named("context", settings.context)))
    return (48 * tokens * named("embedding", shape.get("embedding_length"))).called("answer")


def _merges(shape: Header) -> Formula:
    """Rules of byte-pair encoding."""
    if shape.tokenizer_model in TOKEN_BYTES and shape.tokenizer_model != "gpt2":
        return formula(0)
    count, a_token = MERGES_A_TOKEN
    return named("vocabulary", shape.vocab_size) * count // a_token if shape.merge_count is None else named("merges", shape.merge_count)


def _engine(shape: Header, settings: Settings) -> Formula:
    """Everything else of the engine's process: tables of the tokenizer, what it keeps a tensor, a cell and a thread."""
    tables = TOKEN_BYTES.get(shape.tokenizer_model or "", TRIE_TOKEN_BYTES) * named("vocabulary", shape.vocab_size) + MERGE_BYTES * _merges(shape)
    tensors = max(FEW_TENSORS, shape.tensor_count) if shape.tokenizer_model == "bert" else shape.tensor_count
    kept = TENSOR_BYTES * named("tensors", tensors) + 320 * named("context", settings.context)
    nodes = 40 * NODE_BYTES * smallest_of((named("ubatch", settings.ubatch), named("batch", settings.batch))) if shape.architecture in NODES else 0
    start = _start(shape) + 384 * 1024 * (settings.slots - 1)  # requests at once; 0.3 MiB each measured
    return (tables.called("tokenizer") + kept + nodes + start).called("engine")


def _unmapped(shape: Header, settings: Settings, repack: Formula) -> Formula:
    """Weights that are read and rewritten pass through a buffer as large as the largest: the C library keeps up to 32 MiB, 4.7 to 13 less measured."""
    if settings.mmap or not repack.value:
        return formula(0 if settings.mmap else 4 * MIB)
    size = named("embedding", shape.get("embedding_length")) * named("feed_forward_length", largest(shape.get("feed_forward_length"))) * 9 // 16
    return largest_of((4 * MIB, smallest_of((size, 32 * MIB)) - 4 * MIB)).called("read_buffer")


def _start(shape: Header) -> int:
    """What does not grow: 5.3 MiB measured, 7.4 with byte-pair encoding; 3.1 to 3.8 with the tokenizer of encoders."""
    if shape.tokenizer_model != "bert":
        return 23 * MIB // 4 + (0 if shape.tokenizer_model == "llama" else 2 * MIB)
    if any(97 * size < 100 * shape.vocab_size <= 135 * size for size in TABLE_SIZES):
        return 63 * MIB // 16 + GROWN_BYTES
    return 63 * MIB // 16 + (FEWER_BYTES if TABLE_SIZES[0] < shape.vocab_size < TABLE_SIZES[1] else 0)


def _hole(shape: Header, cache: Formula) -> Formula:
    """What the tokenizer's tables leave free in the heap while they are built, for long lists of merges; a cache that fits takes of it."""
    if _merges(shape).value < HOLE_MERGES:
        return formula(0)
    hole = HOLE_BYTES * _merges(shape)
    return (hole - cache if cache.value <= hole.value else hole).called("hole")
