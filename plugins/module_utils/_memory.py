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

from dataclasses import asdict, dataclass
from typing import Any, Iterable

from ._cache import Settings, cache_bytes, cells_of, check, checkpoint, state
from ._compute import GATED_QUERY, MIB, compute_bytes
from ._formula import Formula, formula, largest_of, named
from ._gguf import Header
from ._repack import repacked
from ._shape import Shape, shape_of

__all__ = ["CHECKPOINTS", "MIB", "SERVER_ANONYMOUS", "SERVER_TMP", "Memory", "Settings", "checkpoint_bytes", "estimate", "formulas",
           "needs_checkpoints", "repack_bytes"]

SERVER_ANONYMOUS = 96 * MIB
"""LocalAI's own process: 51 MiB RssAnon idle, seen on v4.9.0; the rest is for requests in flight."""
SERVER_TMP = 128 * MIB
"""Size of the container's /tmp (a tmpfs, so memory): the engine's output there grows about 6 KB a long prompt."""
CHECKPOINTS = 4
"""Context checkpoints a slot (`n_ctx_checkpoints`) for models that cannot rewind their state; each request adds two."""
SPM = frozenset(("llama", "bert", "t5"))
"""Tokenizers whose tables need less memory than those of byte-pair encoding."""
ANONYMOUS = ("kv_full", "kv_window", "state", "compute", "output", "repack", "prompt_cache", "checkpoints", "projector", "base", "weights")
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

    Raises `FleetError` for settings the engine refuses: an unknown cache type, a quantized value cache
    without flash attention, a head size that the cache type's blocks do not divide.
    """
    exact = shape.tensors is not None and bool(settings.isa)
    notes = shape_of(shape).notes + (() if exact else ("Tensor infos were not read: repacking is planned at its safe bound.",))
    values = {name: term.value for name, term in formulas(shape, settings).items()}
    return Memory(**values, repack_exact=exact, notes=notes)


def formulas(shape: Header, settings: Settings) -> dict[str, Formula]:
    """The formula of each field of `Memory` that is a number, in its order. Raises `FleetError` as `estimate` does."""
    model = shape_of(shape)
    check(model, settings)
    cells, slots = cells_of(model, settings), named("slots", settings.slots)
    file, repack = named("file", shape.file_size or 0), repacked(shape, settings.isa, model.cached)[0]
    found = {
        "kv_full": cache_bytes(model, settings, cells, window=False), "kv_window": cache_bytes(model, settings, cells, window=True),
        "state": slots * state(model), "compute": compute_bytes(shape, model, settings, cells), "output": _output(model, settings, slots),
        "repack": repack, "prompt_cache": named("prompt_cache", settings.prompt_cache if model.cached else 0),
        "checkpoints": slots * named("checkpoints_a_slot", settings.checkpoints) * checkpoint(model, settings).called("checkpoint"),
        "projector": named("projector", settings.projector), "base": _base(shape, settings),
        "weights": formula(0) if settings.mmap else largest_of((0, file - repack.called("repack"))), "file": file}
    total = formula(0)
    for name in ANONYMOUS:
        total += named(name, found[name].value)
    return {**found, "anonymous": total, "file_backed": file if settings.mmap else formula(0)}


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


def _output(model: Shape, settings: Settings, slots: Formula) -> Formula:
    """One row of logits a slot, and of the embedding where it is asked for."""
    row = named("vocabulary", model.vocabulary)
    return 4 * slots * (row + named("embedding", model.embedding) if settings.embeddings else row)


def _base(shape: Header, settings: Settings) -> Formula:
    """Everything else of the engine's process, mostly tables of the vocabulary; a line above all measured cases."""
    per_token = 205 if shape.tokenizer_model in SPM else 379  # 0.2 and 0.37 KiB
    extra = 24 * MIB if shape.architecture in GATED_QUERY else 0
    return per_token * named("vocabulary", shape.vocab_size) + 16 * MIB + extra + (0 if settings.mmap else 16 * MIB)
