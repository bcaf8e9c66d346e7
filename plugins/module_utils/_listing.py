# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a Hub's list says of a repository, and what follows from it: base model, kind of model, family. Pure; nothing it says is believed."""
from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Iterable, Mapping, Sequence

from ._gguf_bytes import printable
from ._names import MODEL, PROJECTOR, parse_name
from ._shape import DENSE, ENCODERS, HYBRID, RECURRENT, WINDOWED

CATEGORIES = ("chat", "code", "reasoning", "tools", "vision", "embedding", "rerank")
RUNNABLE = frozenset((*DENSE, *WINDOWED, *RECURRENT, *HYBRID, *ENCODERS, "deepseek4")) - {
    "dream", "llada", "llada-moe", "rnd1", "t5", "t5encoder", "wavtokenizer-dec"}
"""Architectures that the pinned engine can answer with. It knows some more by name: parts of models, speech, diffusion of text."""
EXPAND = ("cardData", "createdAt", "disabled", "downloads", "gated", "gguf", "likes", "pipeline_tag", "private", "sha", "siblings", "tags")
"""What is asked of a list for each repository, so that most are judged without another call."""

OTHER_TASKS = frozenset("""automatic-speech-recognition text-to-speech text-to-audio audio-to-audio audio-classification voice-activity-detection
    text-to-image image-to-image text-to-video image-to-video image-to-3d text-to-3d unconditional-image-generation image-classification
    image-segmentation object-detection depth-estimation zero-shot-image-classification video-classification mask-generation""".split())
"""Tasks of models that make or read something else than text."""
_EMBEDDING_TASKS = frozenset(("feature-extraction", "sentence-similarity"))
_FAMILIES = {"gemma": ("gemma",), "qwen": ("qwen", "rwkv6qwen2"), "gpt-oss": ("gpt-oss",), "phi": ("phi", "llama"), "llama": ("llama", "deci")}
"""A word in a model's name → how the architectures of its family begin."""
_DRAFT = re.compile(r"(?<![a-z])(?:draft|dflash|dspark|eagle3)(?![a-z])", re.IGNORECASE)
_SIZE = re.compile(r"(?<![a-z\d.])(\d+(?:\.\d+)?)([bm])(?![a-z\d])", re.IGNORECASE)
_NOISE = re.compile(r"[-_.](?:gguf|imat(?:rix)?|i1|quantized|quants?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """A repository as a list tells of it. `gated` is "", "auto" or "manual"; `gguf` is the Hub's own reading of one of its files.

    `parameters` is what that file claims (None when the Hub has read none), `paths` are the names of all files.
    """

    repository: str
    commit: str = ""
    gated: str = ""
    private: bool = False
    disabled: bool = False
    downloads: int = 0
    likes: int = 0
    created: datetime | None = None
    pipeline: str = ""
    tags: tuple[str, ...] = ()
    license: str | None = None
    languages: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    architecture: str | None = None
    parameters: int | None = None
    parsed_bytes: int | None = None
    template: str = ""

    @property
    def owner(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def base(self) -> str:
        """The model this one was made from, as ORG/NAME or NAME: the one base that is stated, else the repository's own name without marks."""
        return self.base_models[0] if len(self.base_models) == 1 else plain_name(self.repository)

    @property
    def group(self) -> str:
        """What re-uploads of one model share: its name, whatever organisation is said to have made it."""
        return _folded(self.base)

    @property
    def is_draft(self) -> bool:
        """Whether it is made to guess for another model."""
        return bool(_DRAFT.search(self.repository.partition("/")[2]))

    @property
    def categories(self) -> tuple[str, ...]:
        """What the model is for, of CATEGORIES: by architecture, task, template and name, in this order."""
        words, text = self.repository.partition("/")[2].lower(), self.template
        if self.pipeline == "text-ranking" or "rerank" in words:
            return ("rerank",)
        if self.architecture in ENCODERS or self.pipeline in _EMBEDDING_TASKS or re.search(r"(?<![a-z])embed", words):
            return ("embedding",)
        said = {
            "chat": "conversational" in self.tags or bool(text) or bool(re.search(r"(?<![a-z])(?:instruct|chat|it)(?![a-z])", words)),
            "code": "code" in self.tags or bool(re.search(r"(?<!en)(?<!de)(?<!trans)coder|devstral|(?<![a-z])code", words)),
            "reasoning": "<think" in text or "enable_thinking" in text or "reasoning" in self.tags or bool(
                re.search(r"think|reason|(?<![a-z\d])(?:r1|qwq)(?![a-z\d])", words)),
            "tools": "tools" in text or "tool_call" in text or "function-calling" in self.tags,
            "vision": self.pipeline in ("image-text-to-text", "any-to-any") or any(parse_name(path).kind == PROJECTOR for path in self.paths),
        }
        return tuple(name for name in CATEGORIES if said.get(name))

    @property
    def labels(self) -> frozenset[str]:
        """The quants that its files' names tell of, models only."""
        names = [parse_name(path) for path in self.paths if path.lower().endswith(".gguf")]
        return frozenset(name.label.upper() for name in names if name.kind == MODEL and name.label)

    @property
    def stated_parameters(self) -> int | None:
        """Parameters by the Hub's reading, else by the size in the name (1.5B)."""
        return self.parameters or size_in_name(plain_name(self.base)) or size_in_name(plain_name(self.repository))


def listing(data: Any) -> Listing | None:
    """One item of a list, taken apart with care; None for what is none."""
    if not isinstance(data, dict) or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(data.get("id"))):
        return None
    card, gguf = _mapping(data.get("cardData")), _mapping(data.get("gguf"))
    tags = tuple(_words(data.get("tags")))
    siblings = data.get("siblings")
    return Listing(
        repository=data["id"], commit=_text(data.get("sha")), gated=_gated(data.get("gated")), private=data.get("private") is True,
        disabled=data.get("disabled") is True, downloads=_number(data.get("downloads")) or 0, likes=_number(data.get("likes")) or 0,
        created=_time(data.get("createdAt")), pipeline=_text(data.get("pipeline_tag")), tags=tags,
        license=license_of(card, tags), languages=_languages(card, tags), base_models=quantized_from(data["id"], card, tags),
        paths=tuple(_text(item.get("rfilename")) for item in (siblings if isinstance(siblings, list) else ()) if isinstance(item, dict)),
        architecture=_text(gguf.get("architecture")) or None, parameters=_number(gguf.get("total")), parsed_bytes=_number(gguf.get("totalFileSize")),
        template=_text(gguf.get("chat_template")))


def plain_name(name: str) -> str:
    """A model's name without owner, publisher's prefix (bartowski writes org_Name), quant and ending."""
    text = name.rpartition("/")[2]
    while _NOISE.search(text):
        text = _NOISE.sub("", text)
    text = parse_name(text).stem or text
    while _NOISE.search(text):
        text = _NOISE.sub("", text)
    return text.partition("_")[2] if re.match(r"[A-Za-z\d-]+_[A-Z]", text) else text


def served_name(name: str) -> str:
    """A name to serve the model under, as `models_wanted` takes it."""
    text = re.sub(r"[^a-z0-9._-]+", "-", plain_name(name).lower()).strip("-._")[:63].rstrip("-._")
    return text or "model"


def size_in_name(name: str) -> int | None:
    """Parameters that a name tells (Qwen3-30B-A3B: the whole 30B); None when it tells none."""
    found = [float(number) * (10 ** 9 if unit in "bB" else 10 ** 6) for number, unit in _SIZE.findall(name)]
    return int(max(found)) if found else None


def other_family(name: str, architecture: str) -> str | None:
    """The family that a name claims and that its architecture is not of; None when they agree or nothing is claimed."""
    claimed = [word for word in _FAMILIES if re.search(rf"(?<![a-z]){word}(?![a-z]*(?:file|cpp))", name.lower())]
    if not claimed or any(architecture.startswith(_FAMILIES[word]) for word in claimed):
        return None
    return claimed[0]


def license_of(card: Mapping[str, Any], tags: Sequence[str]) -> str | None:
    """The license by the card, else by a tag; for `other` the license's own name."""
    said = card.get("license")
    if isinstance(said, list):
        said = said[0] if said else None
    if said == "other":
        said = card.get("license_name") or said
    return _text(said) or next((tag.partition(":")[2] for tag in tags if tag.startswith("license:")), None)


def base_models_of(card: Mapping[str, Any], tags: Sequence[str]) -> tuple[str, ...]:
    """All models that card and tags name as origin."""
    tagged = [tag.rpartition(":")[2] for tag in tags if tag.startswith("base_model:")]
    return tuple(sorted({*tagged, *_words(card.get("base_model"))}))


def quantized_from(repository: str, card: Mapping[str, Any], tags: Sequence[str]) -> tuple[str, ...]:
    """The models a repository is the quantized form of; without a word on that, those of its origins that have its own name.

    An origin of another name is what it was trained from, and many different models have the same one.
    """
    quantized = {tag.rpartition(":")[2] for tag in tags if tag.startswith("base_model:quantized:")}
    return tuple(sorted(quantized or {name for name in base_models_of(card, tags) if _folded(name) == _folded(repository)}))


def _folded(name: str) -> str:
    """A model's name without letter case and separators."""
    return re.sub(r"[-_. ]", "", plain_name(name).lower())


def _languages(card: Mapping[str, Any], tags: Sequence[str]) -> tuple[str, ...]:
    said = [word.lower() for word in _words(card.get("language"))]
    return tuple(sorted({*said, *(tag for tag in tags if re.fullmatch(r"[a-z]{2}", tag))}))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> list[str]:
    """Texts of a list, or of one text."""
    values: Iterable[Any] = value if isinstance(value, list) else [value]
    return [_text(item) for item in values if isinstance(item, str) and item]


def _text(value: Any) -> str:
    return printable(value, 1 << 16) if isinstance(value, str) else ""


def _gated(value: Any) -> str:
    return "auto" if value is True else _text(value)


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return int(value)


def _time(value: Any) -> datetime | None:
    try:
        return datetime.strptime(str(value)[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
