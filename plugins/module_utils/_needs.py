# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What wanted models need: their kind, the engine's settings, their memory, and what they could do with less of."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Iterator, Mapping, Sequence

from ._errors import FleetError
from ._fleet import Model
from ._gguf import Header
from ._memory import CHECKPOINTS, MIB, Memory, Settings, estimate, needs_checkpoints, repack_bytes
from ._mmproj import image_tokens
from ._quants import smaller
from ._shape import ENCODERS
from ._sharding import server_part
from ._wanted import MIN_CONTEXT, WantedModel

BATCH = 512
"""Tokens LocalAI reads at once; embedding and rerank models read their whole context at once."""
RANK_POOLING = 4
NEVER = 1 << 62
"""More bytes than any host has."""


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


def settings_of(wanted: WantedModel, header: Header, isa: Sequence[str] = (), projector: int = 0, beside: Header | None = None) -> Settings:
    """The engine's settings for a wanted model on a host with these instruction sets; `projector` is the bytes of the file that reads images.

    `beside` is that file's header, None where the lock does not have it.
    """
    whole = kind_of(wanted, header) in ("embedding", "rerank")
    batch = max(BATCH, wanted.context) if whole else BATCH
    return Settings(
        context=wanted.context, slots=wanted.slots, unified=True, ubatch=batch, batch=batch, type_k=wanted.kv_type, type_v=wanted.kv_type,
        flash_attention=True, mmap=True, embeddings=whole, isa=tuple(isa), prompt_cache=0 if whole else wanted.prompt_cache_bytes,
        checkpoints=CHECKPOINTS if not whole and needs_checkpoints(header) else 0, projector=projector,
        projector_header=beside, image_tokens=image_tokens(beside, wanted.context, wanted.slots, batch) if projector else 0)


@dataclass
class Needs:
    """What each model needs, by instruction sets, each computed once. `kept`: layers that a server keeps of a model that is split."""

    models: Mapping[str, Model]
    kept: dict[str, int] = field(default_factory=dict)
    _settings: dict[str, Settings] = field(default_factory=dict)
    _memory: dict[tuple[str, tuple[str, ...]], Memory] = field(default_factory=dict)
    _changes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _quants: dict[str, dict[str, Header]] = field(default_factory=dict)
    _unpacked: dict[tuple[str, int], int] = field(default_factory=dict)
    _repack: dict[tuple[str, str, tuple[str, ...]], int] = field(default_factory=dict)

    def settings(self, name: str, isa: tuple[str, ...]) -> Settings:
        """The engine's settings for a model on a host with these instruction sets."""
        if name not in self._settings:
            model = self.models[name]
            self._settings[name] = settings_of(model.wanted, model.header, (), model.projector_size, model.projector_header)
        return replace(self._settings[name], isa=isa)

    def memory(self, name: str, isa: tuple[str, ...]) -> Memory:
        """What a model needs on a server. FleetError names the model for settings that the engine refuses."""
        key = (name, isa)
        if key not in self._memory:
            whole = self.whole(name, isa)
            self._memory[key] = server_part(self.models[name].header, whole, self.kept[name]) if name in self.kept else whole
        return self._memory[key]

    def whole(self, name: str, isa: tuple[str, ...]) -> Memory:
        """What a model needs where it is not split."""
        try:
            return estimate(self.models[name].header, self.settings(name, isa))
        except FleetError as error:
            raise FleetError(error.what, f"model {name}, {error.where}".rstrip(", "), error.got, error.do) from error

    def nearest(self, name: str, isa: tuple[str, ...], room: int) -> dict[str, Any]:
        """The smallest change of wanted options that fits into `room` anonymous bytes; empty when none does.

        A change of `quant` is an estimate: another file's sizes are not known before it is looked at.
        """
        if name in self.kept:
            return {}
        if name not in self._changes:
            wanted, header = self.models[name].wanted, self.models[name].header
            self._quants[name] = dict(smaller(header, wanted.quant))
            self._changes[name] = list(_ladder(wanted, self.settings(name, ()), list(self._quants[name])))
        changes = self._changes[name]
        # Most hosts that refuse a model are full: what needs the least is tried before the whole ladder is computed.
        least = min((change.get("context", 0) for change in changes[-1:]), default=0)
        last = [index for index, change in enumerate(changes) if change.get("context", 0) == least and len(change) > 1]
        packed = min(self._repacked(name, quant, isa) for quant in ("", *self._quants[name]))
        if last and min(self._unpacked_bytes(name, index) for index in last) + packed > room:
            return {}
        return next((change for index, change in enumerate(changes)
                     if self._unpacked_bytes(name, index) + self._repacked(name, change.get("quant", ""), isa) <= room), {})

    def _unpacked_bytes(self, name: str, index: int) -> int:
        """Anonymous bytes of a model with a change, without repacked weights: those alone differ from host to host."""
        if (name, index) not in self._unpacked:
            change = self._changes[name][index]
            header = self._quants[name].get(change.get("quant", ""), self.models[name].header)
            try:
                model = self.models[name]
                memory = estimate(header, settings_of(replace(model.wanted, **change), header, (), model.projector_size, model.projector_header))
                self._unpacked[(name, index)] = memory.anonymous - memory.repack
            except FleetError:  # the engine refuses this cache type for the model's heads
                self._unpacked[(name, index)] = NEVER
        return self._unpacked[(name, index)]

    def _repacked(self, name: str, quant: str, isa: tuple[str, ...]) -> int:
        """Bytes of weights that a host rewrites in memory, of the model's own file or of one in a smaller quant."""
        key = (name, quant, isa)
        if key not in self._repack:
            self._repack[key] = repack_bytes(self._quants[name].get(quant, self.models[name].header), isa)[0]
        return self._repack[key]


def _ladder(wanted: WantedModel, settings: Settings, quants: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One option at a time: prompt cache, slots, cache type, context, quant. Then together, the context and the quant last."""
    caches = [mib for mib in (128, 64, 0) if mib < settings.prompt_cache // MIB]
    slots = list(_halves(wanted.slots, 1))
    contexts = list(_halves(wanted.context, MIN_CONTEXT))
    quantized = ["q8_0"] if wanted.kv_type == "f16" else []
    for name, values in (("prompt_cache_mib", caches), ("slots", slots), ("kv_type", quantized), ("context", contexts), ("quant", quants)):
        yield from ({name: value} for value in values)
    together: dict[str, Any] = {}
    for name, values in (("prompt_cache_mib", caches), ("kv_type", quantized), ("slots", slots)):
        if values:
            together = {**together, name: values[-1]}
            yield together
    yield from ({**without, "context": context} for context in contexts for without in _tails(together))
    least = {**together, "context": contexts[-1]} if contexts else together
    yield from ({**without, "quant": quant} for quant in quants for without in _tails(least))


def _tails(together: dict[str, Any]) -> list[dict[str, Any]]:
    """All options together, and the same with the cache type left alone for models that refuse another."""
    plain = {name: value for name, value in together.items() if name != "kv_type"}
    return [plain] if plain == together else [plain, together]


def _halves(value: int, least: int) -> Iterator[int]:
    while value > least:
        value = max(least, value // 2)
        yield value
