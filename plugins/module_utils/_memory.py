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
from typing import Any, Iterable, Mapping, Sequence

from ._cache import Cells, Settings, cache_bytes, cells_of, check, checkpoint, state
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
TOKEN_BYTES = 136
"""Bytes a token of the vocabulary takes in the engine: 64 in a table, 40 with its score, 32 as text; 144 more where it is longer than 15 bytes."""
LONG_TOKENS = {"gpt2": 11_000}
OTHER_LONG_TOKENS = 26_000
"""Tokens that a vocabulary has for each of these 144 bytes: larger ones have longer tokens, and gpt2 writes bytes beyond ASCII as two. Longer than 15 bytes
are 1 % of llama-2's 32,000 and 7 % of gemma's 262,144; 3 % of starcoder's 49,152, 7 % of llama-3's 128,256, 10 % of qwen's 151,936."""
TREE_BYTES = {"llama": 0, "bert": 0, "gpt2": 0, "gemma4": 0, "rwkv": 180, "t5": 352}
"""Bytes a token takes in a tree over the bytes of all tokens, by tokenizer: 112 a node, 1.8 nodes a token in rwkv."""
OTHER_TREE_BYTES = 864
"""The same for a tokenizer that is not known (plamo2 builds a tree, too)."""
TABLE_SIZES = (10_273, 20_753, 42_043, 85_229, 172_933, 351_061, 712_697)
"""How many places of 8 bytes a hash table of the C++ library has: the next that holds all."""
MERGE_BYTES = 98
"""Bytes of one merge rule of byte-pair encoding."""
LIST_BYTES, LONG_BYTES, SCORE_BYTES = 32, 4, 8
"""Bytes a token or merge rule, the texts of the longer ones, and a score with its type take in the lists of the file. They are freed once the model is
loaded: the heap keeps that room."""
CHOICE_BYTES = 12
"""Bytes a token takes in each slot that has answered: the list that the next token is chosen from."""
SLOT_BYTES = MIB // 8
"""What else a slot that has answered keeps."""
MERGES_A_TOKEN = 9, 4
"""Merge rules a token where only the start of the header was read: 2.2 in llama-3 and gpt-oss, 2 in gemma4, 1 in most."""
TENSOR_BYTES, REWRITTEN_BYTES = 450, 2500
"""Bytes the engine keeps a tensor, and more where weights are rewritten (measured in deep models)."""
REWRITING = ("avx2",)
"""Whether a model's weights are rewritten is told as on these hosts, so that only `repack` differs by host."""
NODES = frozenset("qwen3next qwen35 qwen35moe kimi-linear bailingmoe3 kimi-k3 nanbeige minimax-01 minimax-m3".split())
"""Architectures whose graph has room for 40 nodes a token of a micro-batch and 32 a tensor; others have 8 a tensor, and 1024 at least."""
GRAPH_BYTES, SCHEDULE_BYTES = 430, 244
"""Bytes a node of that room takes in each graph (one to reserve, one that gives an output, one that does not), and in each of four lists of the scheduler."""
GROWN_BYTES = 13 * MIB // 16
"""What an encoder's tables leave free where they have grown for 0.97 to 1.35 times as many tokens; 0.5 to 0.8 MiB measured, nothing in 24 processes
that give it back."""
JOINED = frozenset(("phi3", "chatglm", "glm4"))
"""Architectures with gate and up in one tensor."""
NO_TOKENIZER = frozenset(("none", "no_vocab"))
PAIRS = frozenset(("gpt2", "gemma4"))
"""Tokenizers of byte-pair encoding."""
MEAN = 1
"""`pooling_type` of a model whose embedding is the mean of all tokens."""
ANONYMOUS = ("kv_full", "kv_window", "state", "compute", "output", "repack", "prompt_cache", "checkpoints", "projector", "draft", "base", "weights")
"""The terms that `anonymous` sums."""


@dataclass(frozen=True)
class Held:
    """Bytes that an engine which gives freed memory back holds beside `_engine`: in any case, for each tensor and each merge rule; `long` is the number of
    tokens whose square gives one byte for the longer ones. `_engine` is counted as where weights are rewritten: its tables are held in any case."""

    start: int
    tensor: int
    merge: int
    long: int


HELD = {"gpt2": Held(42_000, 3860, 20, 13_680), "llama": Held(221_000, 1020, 0, 39_200), "bert": Held(-1_608_000, -1330, 0, 12_390)}
"""By tokenizer: the least that was 0.3 MiB (encoders) or 0.4 MiB above each of 200 processes with 30 architectures, 1 to 52 layers and 20,000 to 262,144
tokens."""
WINDOW_BYTES = 5_000
"""The same for each tensor where slots share a cache with windows: nothing to 1.2 MiB measured in 45 processes of 6 to 48 layers, with no order in it."""
ENCODER_TOKENS, ENCODER_BYTES = range(145_000, 205_000), 2 * MIB
"""Of vocabularies of these sizes an encoder's engine keeps what others give back: up to 1.5 MiB more in 24 processes of 4 to 48 layers, nothing at 147,000
and 205,000 tokens."""


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
    """Every term for one model with these settings and two threads; `_budget.Room.base` has what further threads keep.

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
        "draft": named("draft", settings.draft), "base": formula(0),  # in the order of `Memory`
        "weights": formula(0) if settings.mmap else largest_of((0, file - repack.called("repack"))), "file": file}
    found["base"] = _base(shape, model, settings, cells, found)
    total = formula(0)
    for name in ANONYMOUS:
        total += named(name, found[name].value)
    mapped = file + named("draft_file", settings.draft_file) if settings.draft_file else file
    return {**found, "anonymous": total, "file_backed": mapped if settings.mmap else formula(0)}


def _base(shape: Header, model: Shape, settings: Settings, cells: Cells, found: Mapping[str, Formula]) -> Formula:
    """The rest of the engine's process with its work areas, less what of the other terms nothing touches."""
    work, left = work_bytes(shape, model, settings, cells)
    unread = unread_bytes(model, settings, cells)
    if settings.trimmed and shape.tokenizer_model in HELD and shape.architecture not in NODES:
        unread = unread // 2 if settings.embeddings and shape.pooling_type == MEAN else unread
        beside = _engine(shape, settings, cells, True) + _answer(shape, settings) + work + _held(shape, settings, bool(found["kv_window"].value))
    else:
        rewritten = bool(repacked(shape, REWRITING, model.cached)[0].value)
        caches = [found[name] for name in ("output", "kv_full", "kv_window", "state")]
        free = _free(shape, settings, caches, _nodes(shape, cells), work, _read_buffer(shape, settings, found["repack"]))
        beside = _engine(shape, settings, cells, rewritten) + _answer(shape, settings) + work + left + free + _grown(shape)
    return largest_of((0, beside - unread))


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


def _tokens(shape: Header) -> Formula:
    """Tokens that the engine has tables of."""
    return named("vocabulary", 0 if shape.tokenizer_model in NO_TOKENIZER else shape.vocab_size)


def _merges(shape: Header) -> Formula:
    """Rules of byte-pair encoding."""
    if shape.tokenizer_model in (*TREE_BYTES, *NO_TOKENIZER) and shape.tokenizer_model not in PAIRS:
        return formula(0)
    count, a_token = MERGES_A_TOKEN
    return named("vocabulary", shape.vocab_size) * count // a_token if shape.merge_count is None else named("merges", shape.merge_count)


def _table(name: str, count: int) -> Formula:
    """The places of a hash table."""
    return 8 * named(f"{name}_places", next((size for size in TABLE_SIZES if size >= count), 2 * count)) if count else formula(0)


def _nodes(shape: Header, cells: Cells) -> Formula:
    """Nodes of a graph that the engine makes room for (llama_context::graph_max_nodes)."""
    tensors = named("tensors", shape.tensor_count)
    return largest_of((40 * cells.ubatch, 32 * tensors) if shape.architecture in NODES else (1024, 8 * tensors)).called("nodes")


def _graphs(settings: Settings) -> int:
    """How many graphs are kept: embeddings are always an output."""
    return 2 if settings.embeddings else 3


def _engine(shape: Header, settings: Settings, cells: Cells, rewritten: bool) -> Formula:
    """Everything else of the engine's process: tables of the tokenizer, what it keeps a tensor, a node of its graphs, a cell and a slot."""
    tokens, merges = _tokens(shape), _merges(shape)
    model = shape.tokenizer_model or ""
    each = TOKEN_BYTES + TREE_BYTES.get(model, OTHER_TREE_BYTES)
    tables = each * tokens + tokens * tokens // LONG_TOKENS.get(model, OTHER_LONG_TOKENS) + _table("token", tokens.value)
    tables += MERGE_BYTES * merges + _table("merge", merges.value)
    tensors, slots = named("tensors", shape.tensor_count), named("slots", settings.slots)
    kept = TENSOR_BYTES * tensors + (REWRITTEN_BYTES * tensors if rewritten else formula(0)) + _graphs(settings) * GRAPH_BYTES * _nodes(shape, cells)
    kept += 320 * named("context", settings.context) + SLOT_BYTES * slots
    kept += formula(0) if settings.embeddings else CHOICE_BYTES * slots * tokens
    return (tables.called("tokenizer") + kept + _start(shape, rewritten)).called("engine")


def _held(shape: Header, settings: Settings, windows: bool) -> Formula:
    """What an engine that gives freed memory back holds beside what is planned by `_engine`, less where that plans too much."""
    held, tokens = HELD[shape.tokenizer_model or ""], _tokens(shape)
    found = held.tensor * named("tensors", shape.tensor_count) + held.merge * _merges(shape) + tokens * tokens // held.long + held.start
    if windows and settings.slots > 1 and settings.unified:
        found += WINDOW_BYTES * named("tensors", shape.tensor_count)
    if shape.tokenizer_model == "bert" and tokens.value in ENCODER_TOKENS:
        found += ENCODER_BYTES
    return found.called("held")


def _read_buffer(shape: Header, settings: Settings, repack: Formula) -> Formula:
    """Weights that are read and rewritten pass through a buffer as large as the largest, of which the C library keeps up to 32 MiB."""
    if settings.mmap or not repack.value:
        return formula(0)
    width, expert = largest(shape.get("feed_forward_length")) * (2 if shape.architecture in JOINED else 1), largest(shape.get("expert_feed_forward_length"))
    widest = largest_of((named("feed_forward_length", width), 2 * named("inner", largest(shape.get("ssm.inner_size"))),
                         named("experts", largest(shape.get("expert_count"))) * named("expert_width", expert or width)))
    size = named("embedding", shape.get("embedding_length")) * widest * 9 // 16
    return smallest_of((size, 32 * MIB)).called("read_buffer")


def _start(shape: Header, rewritten: bool) -> int:
    """What does not grow: 2.9 to 3.5 MiB measured in encoders, up to 4.4 where weights are rewritten; the table of all characters with byte-pair encoding."""
    size = 23 * MIB // 8 + (MIB if rewritten else 0)
    return size + {"bert": 9 * MIB // 16, "llama": 0}.get(shape.tokenizer_model or "", 17 * MIB // 8)


def _grown(shape: Header) -> int:
    """What an encoder's tables leave free where they have just grown."""
    grown = shape.tokenizer_model == "bert" and any(97 * places < 100 * shape.vocab_size <= 135 * places for places in TABLE_SIZES)
    return GROWN_BYTES if grown else 0


def _free(shape: Header, settings: Settings, caches: Sequence[Formula], nodes: Formula, work: Formula, read: Formula) -> Formula:
    """What loading leaves free in the heap (the file's lists, and the buffer of weights that are read), less what is put there later.

    The C library puts each where it fits best. What is planned nowhere else takes room and saves nothing: the scheduler's lists, which are touched only
    there, a list of logits, and what the first run and its request leave. The buffer's room is counted on for caches only.
    """
    tokens, graph, rows = _tokens(shape), GRAPH_BYTES * nodes, _merges(shape)
    room = [LIST_BYTES * tokens, LIST_BYTES * rows, read]
    free = (LIST_BYTES + LONG_BYTES + SCORE_BYTES) * tokens + (LIST_BYTES + LONG_BYTES) * rows + read
    later = [(part, 3, True) for part in caches] + [(graph, 2, True)] + [(SCHEDULE_BYTES * nodes, 2, False)] * 4 + [(4 * tokens, 2, False), (graph, 2, True)]
    later += [(formula(MIB), 2, False)] + [(graph, 2, True)] * (_graphs(settings) - 2) + [(work, 2, True)]
    later += [] if settings.embeddings else [(CHOICE_BYTES * tokens, 2, True)]  # of one slot: answers leave no such room to the others
    for part, rooms, saves in later:
        fitting = [index for index in range(rooms) if room[index].value >= part.value > 0]
        if fitting:
            best = min(fitting, key=lambda index: room[index].value)
            room[best] -= part
            free = free - part if saves else free
    return free.called("free")
