# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What wanted models need: their kind, the engine's settings, their memory, and what they could do with less of."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Iterator, Mapping, Sequence

from ._errors import FleetError
from ._gguf import Header
from ._memory import CHECKPOINTS, MIB, Memory, Settings, estimate, needs_checkpoints
from ._shape import ENCODERS
from ._wanted import MIN_CONTEXT, WantedModel

BATCH = 512
"""Tokens LocalAI reads at once; embedding and rerank models read their whole context at once."""
RANK_POOLING = 4


def kind_of(wanted: WantedModel, header: Header) -> str:
    """chat, completion, embedding or rerank: as wanted, else as the file's header says."""
    if wanted.kind:
        return wanted.kind
    if header.pooling_type == RANK_POOLING:
        return "rerank"
    if header.pooling_type or header.causal is False or header.architecture in ENCODERS:
        return "embedding"
    # A header that was read in part does not tell; a repository of a base model is the exception.
    return "completion" if header.has_chat_template is False and not wanted.template else "chat"


def settings_of(wanted: WantedModel, header: Header, isa: Sequence[str] = ()) -> Settings:
    """The engine's settings for a wanted model on a host with these instruction sets."""
    whole = kind_of(wanted, header) in ("embedding", "rerank")
    batch = max(BATCH, wanted.context) if whole else BATCH
    return Settings(
        context=wanted.context, slots=wanted.slots, unified=True, ubatch=batch, batch=batch, type_k=wanted.kv_type, type_v=wanted.kv_type,
        flash_attention=True, mmap=True, embeddings=whole, isa=tuple(isa), prompt_cache=0 if whole else wanted.prompt_cache_bytes,
        checkpoints=CHECKPOINTS if not whole and needs_checkpoints(header) else 0)


@dataclass
class Needs:
    """Memory of each wanted model by instruction sets, each computed once."""

    models: Mapping[str, WantedModel]
    headers: Mapping[str, Header]
    _memory: dict[tuple[str, tuple[str, ...]], Memory] = field(default_factory=dict)
    _less: dict[tuple[str, tuple[str, ...]], list[tuple[dict[str, Any], int]]] = field(default_factory=dict)

    def memory(self, name: str, isa: tuple[str, ...]) -> Memory:
        """What a model needs. FleetError names the model for settings that the engine refuses."""
        key = (name, isa)
        if key not in self._memory:
            header = self.headers[name]
            try:
                self._memory[key] = estimate(header, settings_of(self.models[name], header, isa))
            except FleetError as error:
                raise FleetError(error.what, f"model {name}, {error.where}".rstrip(", "), error.got, error.do) from error
        return self._memory[key]

    def nearest(self, name: str, isa: tuple[str, ...], room: int) -> dict[str, Any]:
        """The smallest change of wanted options that fits into `room` anonymous bytes; empty when none does."""
        key = (name, isa)
        if key not in self._less:
            self._less[key] = list(self._changes(name, isa))
        return next((change for change, anonymous in self._less[key] if anonymous <= room), {})

    def _changes(self, name: str, isa: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], int]]:
        """Changes and the anonymous bytes they lead to, what a user misses least first."""
        wanted, header = self.models[name], self.headers[name]
        for change in _ladder(wanted, settings_of(wanted, header)):
            try:
                yield change, estimate(header, settings_of(replace(wanted, **change), header, isa)).anonymous
            except FleetError:
                continue  # the engine refuses this cache type for the model's heads


def _ladder(wanted: WantedModel, settings: Settings) -> Iterator[dict[str, Any]]:
    """One option at a time: prompt cache, slots, cache type, context. Then together, the context last."""
    caches = [mib for mib in (128, 64, 0) if mib < settings.prompt_cache // MIB]
    slots = list(_halves(wanted.slots, 1))
    contexts = list(_halves(wanted.context, MIN_CONTEXT))
    quantized = ["q8_0"] if wanted.kv_type == "f16" else []
    for name, values in (("prompt_cache_mib", caches), ("slots", slots), ("kv_type", quantized), ("context", contexts)):
        yield from ({name: value} for value in values)
    together: dict[str, Any] = {}
    for name, values in (("prompt_cache_mib", caches), ("kv_type", quantized), ("slots", slots)):
        if values:
            together = {**together, name: values[-1]}
            yield together
    yield from ({**without, "context": context} for context in contexts for without in _tails(together))


def _tails(together: dict[str, Any]) -> list[dict[str, Any]]:
    """All options together, and the same with the cache type left alone for models that refuse another."""
    plain = {name: value for name, value in together.items() if name != "kv_type"}
    return [plain] if plain == together else [plain, together]


def _halves(value: int, least: int) -> Iterator[int]:
    while value > least:
        value = max(least, value // 2)
        yield value
