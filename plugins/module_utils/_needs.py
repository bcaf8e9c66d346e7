# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What wanted models need: their kind, the engine's settings, their memory, and what they could do with less of."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Iterable, Mapping, Sequence

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
CONTEXT_STEPS = 16
"""Contexts that a refusal may offer between one power of two and the next, where blocks of cells are smaller."""
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
        flash_attention=True, mmap=True, embeddings=whole, trimmed=True, isa=tuple(isa), prompt_cache=0 if whole else wanted.prompt_cache_bytes,
        checkpoints=CHECKPOINTS if not whole and needs_checkpoints(header) else 0, projector=projector,
        projector_header=beside, image_tokens=image_tokens(beside, wanted.context, wanted.slots, batch) if projector else 0)


@dataclass
class Needs:
    """What each model needs, by instruction sets, each computed once. `kept`: layers that a server keeps of a model that is split."""

    models: Mapping[str, Model]
    kept: dict[str, int] = field(default_factory=dict)
    _settings: dict[str, Settings] = field(default_factory=dict)
    _memory: dict[tuple[str, tuple[str, ...]], Memory] = field(default_factory=dict)
    _quants: dict[str, dict[str, Header]] = field(default_factory=dict)
    _unpacked: dict[tuple[Any, ...], int] = field(default_factory=dict)
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
            self._memory[key] = self._here(name, self.whole(name, isa))
        return self._memory[key]

    def whole(self, name: str, isa: tuple[str, ...]) -> Memory:
        """What a model needs where it is not split."""
        try:
            return estimate(self.models[name].header, self.settings(name, isa))
        except FleetError as error:
            raise FleetError(error.what, f"model {name}, {error.where}".rstrip(", "), error.got, error.do) from error

    def _here(self, name: str, whole: Memory) -> Memory:
        """What of a model a server keeps."""
        return server_part(self.models[name].header, whole, self.kept[name]) if name in self.kept else whole

    def nearest(self, name: str, isa: tuple[str, ...], room: int) -> dict[str, Any]:
        """The smallest change of wanted options that fits into `room` anonymous bytes; empty when none does.

        One option first: prompt cache, slots, cache type, context, quant. Then together, the context and the quant last.
        A change of `quant` is an estimate: another file's sizes are not known before it is looked at.
        """
        wanted, settings = self.models[name].wanted, self.settings(name, ())
        if name not in self._quants:
            self._quants[name] = {} if name in self.kept else dict(smaller(self.models[name].header, wanted.quant))
        least: dict[str, Any] = {"prompt_cache_mib": 0} if settings.prompt_cache >= MIB else {}
        least.update({"kv_type": "q8_0"} if wanted.kv_type == "f16" else {}, **({"slots": 1} if wanted.slots > 1 else {}))
        contexts, quants = _contexts(wanted.context), self._quants[name]
        small = {"context": contexts[-1]} if contexts else {}
        # Most hosts that refuse a model are full: what needs the least is tried before all that needs more.
        packed = min(self._repacked(name, quant, isa) for quant in ("", *quants))
        if min(self._unpacked_bytes(name, {**each, **small}) for each in _tails(least)) + packed > room:
            return {}
        first = partial(self._first, name, isa, room)
        return (first("prompt_cache_mib", range(settings.prompt_cache // MIB - 1, -1, -1)) or first("slots", range(wanted.slots - 1, 0, -1))
                or first("kv_type", ["q8_0"] if "kv_type" in least else []) or first("context", contexts)
                or self._fitting(name, isa, room, ({"quant": quant} for quant in quants))
                or self._fitting(name, isa, room, (dict(list(least.items())[:count]) for count in range(2, len(least) + 1)))
                or self._smaller_context(name, isa, room, least, contexts)
                or self._fitting(name, isa, room, ({**tail, **small, "quant": quant} for quant in quants for tail in _tails(least))))

    def _smaller_context(self, name: str, isa: tuple[str, ...], room: int, least: dict[str, Any], contexts: Sequence[int]) -> dict[str, Any]:
        """A context with the least of everything else; the cache type stays where it does not help."""
        plain = _tails(least)[0]
        found = self._first(name, isa, room, "context", contexts, least) or self._first(name, isa, room, "context", contexts, plain)
        return self._fitting(name, isa, room, ({**tail, "context": found["context"]} for tail in (plain, least))) if found else {}

    def _fitting(self, name: str, isa: tuple[str, ...], room: int, changes: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """The first of the changes that fits; empty when none does."""
        return next((change for change in changes if self._fits(name, isa, room, change)), {})

    def _first(
        self, name: str, isa: tuple[str, ...], room: int, option: str, values: Sequence[Any], beside: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """The first of an option's values, each of which needs less than the one before, that fits; empty when none does."""
        if not values or not self._fits(name, isa, room, {**beside, option: values[-1]}):
            return {}
        fails, fits = -1, len(values) - 1
        while fits - fails > 1:
            middle = (fails + fits) // 2
            fails, fits = (fails, middle) if self._fits(name, isa, room, {**beside, option: values[middle]}) else (middle, fits)
        return {**beside, option: values[fits]}

    def _fits(self, name: str, isa: tuple[str, ...], room: int, change: Mapping[str, Any]) -> bool:
        """Whether a model with this change needs no more than `room` anonymous bytes."""
        return self._unpacked_bytes(name, change) + self._repacked(name, change.get("quant", ""), isa) <= room

    def _unpacked_bytes(self, name: str, change: Mapping[str, Any]) -> int:
        """Anonymous bytes of a model with a change, without repacked weights: those alone differ by host and quant."""
        cached = change.get("prompt_cache_mib")  # it adds to the rest, so one estimate does for all sizes
        options = {option: value for option, value in change.items() if option not in ("quant", "prompt_cache_mib")}
        key = (name, cached is None, *options.items())
        if key not in self._unpacked:
            model, none = self.models[name], {} if cached is None else {"prompt_cache_mib": 0}
            wanted = replace(model.wanted, **{**options, **none})
            try:
                memory = self._here(name, estimate(model.header, settings_of(wanted, model.header, (), model.projector_size, model.projector_header)))
                self._unpacked[key] = memory.anonymous - memory.repack
            except FleetError:  # the engine refuses this cache type for the model's heads
                self._unpacked[key] = NEVER
        return self._unpacked[key] + (cached or 0) * MIB

    def _repacked(self, name: str, quant: str, isa: tuple[str, ...]) -> int:
        """Bytes of weights that a host rewrites in memory, of the model's own file or of one in a smaller quant."""
        key = (name, quant, isa)
        if key not in self._repack:
            found = repack_bytes(self._quants[name].get(quant, self.models[name].header), isa)[0]
            self._repack[key] = self._here(name, Memory(repack=found)).repack
        return self._repack[key]


def _tails(together: dict[str, Any]) -> list[dict[str, Any]]:
    """All options together, and before them the same with the cache type left alone, for models that refuse another."""
    plain = {name: value for name, value in together.items() if name != "kv_type"}
    return [together] if plain == together else [plain, together]


@lru_cache(maxsize=None)
def _contexts(wanted: int) -> tuple[int, ...]:
    """Smaller contexts to offer, the largest first: whole blocks of cells, and no nearer to each other than a sixteenth of the power of two below."""
    found = [wanted]
    while found[-1] > MIN_CONTEXT:
        step = max(MIN_CONTEXT, (1 << (found[-1] - 1).bit_length()) // (2 * CONTEXT_STEPS))
        found.append((found[-1] - 1) // step * step)
    return tuple(found[1:])
