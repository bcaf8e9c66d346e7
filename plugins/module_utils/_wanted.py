# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Wanted models: what the user asks for, checked and typed. Pure Python."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import urlsplit

from ._errors import FleetError
from ._given import amount, number, truth, words
from ._presets import PREFIX, expanded

KINDS = ("chat", "completion", "embedding", "rerank")
KV_TYPES = ("f16", "q8_0", "q4_0")
RESIDENCIES = ("resident", "on_demand")
# A model of such a name would take the place of one of LocalAI's own routes below /models and /api/models.
RESERVED = (
    "apply", "available", "capabilities", "delete", "edit", "galleries", "import", "import-uri",
    "jobs", "reload", "toggle-pinned", "toggle-state",
)
MIN_CONTEXT = 256
MAX_SLOTS = 64
MAX_SHARDS = 64
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1000
NO_PROJECTOR = "none"
SEARCH = "search"
SOURCE_FORMS = "hf://OWNER/REPOSITORY[@REVISION], preset:NAME, https://HOST/PATH/FILE.gguf with sha256, and search with its policy"

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_QUANT = re.compile(r"(?:(?:UD|I1)-)?[A-Z0-9]+(?:_[A-Z0-9]+)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
_HF = re.compile(r"hf://(?!.*\.\.)(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+(?:/[\w.-]+)*))?", re.ASCII)
# LocalAI takes a model name that is a file of its models directory literally, past the model's own settings.
_FILE_SUFFIXES = (".gguf", ".yaml", ".yml", ".bin", ".json")


@dataclass(frozen=True)
class Source:
    """Where a model comes from: `hf` with repository and revision, `https` with url, `preset` by name, or `search`, by the wanted model's own policy."""

    kind: str
    repository: str | None = None
    revision: str | None = None
    url: str | None = None
    preset: str | None = None


@dataclass(frozen=True)
class Template:
    """LocalAI prompt templates (Go templates); all empty means the GGUF's own template."""

    chat: str = ""
    chat_message: str = ""
    completion: str = ""

    def __bool__(self) -> bool:
        return bool(self.chat or self.chat_message or self.completion)


@dataclass(frozen=True)
class WantedModel:
    """One item of `models_wanted`. `context` in tokens, `prompt_cache_mib` in MiB; None means "decide for me".

    `search` is the policy of a source that is searched, as `_search.Policy` takes it, without what it leaves open; its quant is `quant` too.
    """

    name: str
    source: str
    quant: str = "Q4_K_M"
    file: str | None = None
    sha256: str | None = None
    context: int = 4096
    slots: int = 1
    kv_type: str = "f16"
    prompt_cache_mib: int = 256
    aliases: tuple[str, ...] = ()
    kind: str | None = None
    replicas: int | None = None
    hosts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    apart_from: tuple[str, ...] = ()
    residency: str = "resident"
    weight: float = 1.0
    shards: int | None = None
    template: Template = field(default_factory=Template)
    stopwords: tuple[str, ...] = ()
    max_tokens: int | None = None
    vision: bool = False
    projector: str | None = None
    search: Mapping[str, Any] | None = None

    @property
    def wants_projector(self) -> bool:
        """Whether the model reads images: it is asked for, or a projector is named."""
        return self.projector != NO_PROJECTOR and (self.vision or self.projector is not None)

    @property
    def prompt_cache_bytes(self) -> int:
        return self.prompt_cache_mib * 1024 * 1024

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names clients may ask for: the model's own, then its aliases."""
        return (self.name, *self.aliases)

    @property
    def parsed_source(self) -> Source:
        return parse_source(self.source)


def wanted_spec() -> dict[str, Any]:
    """The argument suboptions of a wanted model, shared by every module that takes them."""
    text, number, words = {"type": "str"}, {"type": "int"}, {"type": "list", "elements": "str"}
    return {
        "name": {**text, "required": True},
        "source": {**text, "required": True},
        "quant": text,
        "file": text,
        "sha256": text,
        "context": number,
        "slots": {**number, "default": 1},
        "kv_type": {**text, "default": "f16", "choices": list(KV_TYPES)},
        "prompt_cache_mib": {**number, "default": 256},
        "aliases": {**words, "default": []},
        "kind": {**text, "choices": list(KINDS)},
        "replicas": number,
        "hosts": {**words, "default": []},
        "labels": {**words, "default": []},
        "apart_from": {**words, "default": []},
        "residency": {**text, "default": "resident", "choices": list(RESIDENCIES)},
        "weight": {"type": "float", "default": 1.0},
        "shards": number,
        "template": {"type": "dict", "options": {"chat": text, "chat_message": text, "completion": text}},
        "stopwords": {**words, "default": []},
        "max_tokens": {**number, "no_log": False},
        "vision": {"type": "bool", "default": False},
        "projector": text,
        "search": {"type": "dict"},
    }


def parse_source(text: str, where: str = "source") -> Source:
    """A source's text in parts. FleetError, naming the forms that work, for anything else."""
    found = _HF.fullmatch(text)
    if found:
        return Source("hf", repository=found["repository"], revision=found["revision"])
    if _is_https_gguf(text):
        return Source("https", url=text)
    if text == SEARCH:
        return Source(SEARCH)
    if NAME.fullmatch(text[len(PREFIX):]) and text.startswith(PREFIX):
        return Source("preset", preset=text[len(PREFIX):])
    raise FleetError("The model source has no known form", where, _without_secrets(text),
                     f"The forms that work are {SOURCE_FORMS}.")


def parse_wanted(items: Sequence[Mapping[str, Any]]) -> list[WantedModel]:
    """Typed wanted models of `models_wanted`, in the given order.

    A missing or null key takes its default. FleetError names the item and the option for bad values,
    and both models for a served name that is asked for twice.
    """
    check_forms(items)
    models = [_parse_item(index, item) for index, item in enumerate(items)]
    _refuse_shared_names(models)
    _refuse_strange_neighbours(models)
    return models


def check_forms(items: Any) -> None:
    """FleetError for what is no list of mappings with known options."""
    if not isinstance(items, (list, tuple)):
        raise FleetError("models_wanted is no list of models", got=_form(items), do="Begin each model with '- name:'.")
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise FleetError("A wanted model is not a mapping", f"models_wanted[{index}]", _form(item), "Give it name and source, as in '- name: NAME'.")
        unknown = sorted(str(key) for key in item if key not in wanted_spec())
        if unknown:
            near = get_close_matches(unknown[0], wanted_spec(), n=1)
            raise FleetError("A wanted model has an unknown option", _place(index, item), ", ".join(unknown),
                             f"{f'Did you mean {near[0]}? ' if near else ''}Known are {', '.join(wanted_spec())}.")


def as_modules_take(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item whose texts are what their options are, as 4096 for "4096"; a value that cannot be stays, and is refused when it is parsed."""
    return {key: _as_option(wanted_spec()[key]["type"], value) for key, value in item.items()}


def _is_https_gguf(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return (parts.scheme == "https" and bool(parts.hostname) and not parts.username
            and parts.path.lower().endswith(".gguf"))


def _without_secrets(url: str) -> str:
    """A URL fit for a message: without user, password and query."""
    bare = url.split("?", 1)[0]
    return re.sub(r"//[^/@]*@", "//", bare)


def _form(value: Any) -> str:
    """What a value is, for people who write YAML."""
    names = {"dict": "a mapping", "str": "the text", "list": "a list", "NoneType": "nothing", "int": "the number", "float": "the number", "bool": "the word"}
    told = names.get(type(value).__name__, type(value).__name__)
    return f"{told} {value}" if isinstance(value, (str, int, float)) else told


def _place(index: int, item: Mapping[str, Any]) -> str:
    """Where an item is, by its number, and by its name where it has one."""
    name = item.get("name")
    return f"models_wanted[{index}]{f', {name[:80]}' if name and isinstance(name, str) else ''}"


def _as_option(kind: str, value: Any) -> Any:
    """A value as its option has it where it stands for that, else as it is."""
    plain: tuple[type, ...] = {"str": (int, float), "int": (str,), "float": (str,), "bool": (str, int), "list": (str, int, float)}.get(kind, ())
    if not isinstance(value, plain) or isinstance(value, bool):
        return value
    convert: Mapping[str, Callable[[Any], Any]] = {
        "str": str, "int": lambda given: number("", given), "float": lambda given: amount("", given), "bool": lambda given: truth("", given), "list": words}
    try:
        return convert[kind](value)
    except FleetError:
        return value


def _parse_item(index: int, item: Mapping[str, Any]) -> WantedModel:
    place = _place(index, item)
    given = {key: value for key, value in expanded(item, f"{place}.source").items() if value is not None}
    for key in ("name", "source"):
        if not given.get(key):
            raise FleetError(f"A wanted model has no {key}", place, do=f"Give it {key}.")
    _check_types(given, place)
    model = _typed(given)
    _check_names(model, f"models_wanted[{index}]")
    _check_file(model, place)
    _check_numbers(model, place)
    _check_words(model, place)
    return model


def _check_types(given: Mapping[str, Any], where: str) -> None:
    """What `_typed` takes apart, and texts; numbers are checked with their ranges."""
    forms = {"str": (str, "a text"), "list": ((list, tuple), "a list"), "dict": (Mapping, "a mapping")}
    for key, value in given.items():
        form, word = forms.get(wanted_spec()[key]["type"], (object, ""))
        if key not in ("quant", "sha256") and not isinstance(value, form):
            raise FleetError(f"{key} is not {word}", f"{where}.{key}", repr(value), f"Give {word}.")


def _typed(given: Mapping[str, Any]) -> WantedModel:
    values = dict(given)
    for key in ("aliases", "hosts", "stopwords", "labels", "apart_from"):
        values[key] = tuple(str(word) for word in given.get(key, ()))
    template = given.get("template", {})
    values["template"] = Template(**{key: template.get(key) or "" for key in ("chat", "chat_message", "completion")})
    if given["source"] == SEARCH:
        values["search"] = {key: value for key, value in (given.get("search") or {}).items() if value is not None}
    values["quant"] = str((values.get("search") or {}).get("quant") or given.get("quant", "Q4_K_M")).upper()
    if "sha256" in given:
        values["sha256"] = str(given["sha256"]).lower()
    return WantedModel(**values)


def _check_names(model: WantedModel, where: str) -> None:
    if not NAME.fullmatch(model.name):
        raise FleetError("The model name is not usable", f"{where}.name", model.name,
                         "Use up to 63 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first.")
    for name in model.served_names:
        option = f"{where}, {model.name}" if name == model.name else f"{where}.aliases of {model.name}"
        _check_served_name(name, option)


def _check_served_name(name: str, where: str) -> None:
    if not _ALIAS.fullmatch(name):
        raise FleetError("The alias is not usable", where, name,
                         "Use up to 63 letters, digits, dots, underscores and hyphens, a letter or digit first.")
    if name.lower() in RESERVED:
        raise FleetError("The name is one of LocalAI's own routes", where, name, "Choose another name.")
    if name.lower().endswith(_FILE_SUFFIXES):
        raise FleetError("The name looks like a file, and LocalAI would serve that file past its settings", where, name,
                         "Leave the ending out.")


def _check_file(model: WantedModel, where: str) -> None:
    source = parse_source(model.source, f"{where}.source")
    if model.sha256 is not None and not SHA256.fullmatch(model.sha256):
        raise FleetError("The sha256 is not 64 hexadecimal digits", f"{where}.sha256", model.sha256, "Give the file's, as sha256sum prints it.")
    if source.kind == "https" and not model.sha256:
        raise FleetError("An https:// source has no sha256", where, do="Give the file's sha256, as its publisher states it.")
    if model.search is not None and source.kind != SEARCH:
        raise FleetError("A search is given for a source that is not searched", f"{where}.search", model.source, "Say source: search, or leave it out.")
    if not _QUANT.fullmatch(model.quant):
        raise FleetError("The quant is not a quant's name", f"{where}.quant", model.quant, "An example is Q4_K_M.")
    for option, path in (("file", model.file), ("projector", model.projector)):
        if path is not None and (option, path) != ("projector", NO_PROJECTOR):
            _check_path(path, source, f"{where}.{option}")
    if model.wants_projector and source.kind == "https":
        raise FleetError("A model that reads images needs a projector beside it, and the source is no repository", f"{where}.vision",
                         do="Take the model from a repository, or leave vision out.")


def _check_path(path: str, source: Source, where: str) -> None:
    if source.kind not in ("hf", "preset"):
        raise FleetError("A file in a repository is asked for, and the source is no repository", where, path,
                         f"Leave {where.rpartition('.')[2]} out, or name the repository as source.")
    steps = path.split("/")
    if not path.lower().endswith(".gguf") or "" in steps or ".." in steps or "." in steps:
        raise FleetError("The file is not a path of a GGUF file inside a repository", where, path,
                         "Give it as the repository lists it, as in folder/model-Q4_K_M.gguf.")


def _check_numbers(model: WantedModel, where: str) -> None:
    ranges = (
        ("context", MIN_CONTEXT, 2 ** 24), ("slots", 1, MAX_SLOTS), ("prompt_cache_mib", 0, 2 ** 20),
        ("replicas", 1, 10_000), ("max_tokens", 1, 2 ** 24), ("shards", 1, MAX_SHARDS),
    )
    for key, low, high in ranges:
        value = getattr(model, key)
        if value is None and key in ("replicas", "max_tokens", "shards"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise FleetError(f"{key} is out of range", f"{where}.{key}", str(value), f"Give a number from {low} to {high}.")
    if isinstance(model.weight, bool) or not isinstance(model.weight, (int, float)) or not LEAST_WEIGHT <= model.weight <= MOST_WEIGHT:
        raise FleetError("weight is out of range", f"{where}.weight", str(model.weight), f"Give a number from {LEAST_WEIGHT} to {MOST_WEIGHT}.")


def _check_words(model: WantedModel, where: str) -> None:
    choices_of = (("kv_type", model.kv_type, KV_TYPES), ("kind", model.kind, (None, *KINDS)), ("residency", model.residency, RESIDENCIES))
    for key, value, choices in choices_of:
        if value not in choices:
            known = ", ".join(word for word in choices if word)
            raise FleetError(f"{key} is unknown", f"{where}.{key}", str(value), f"Known are {known}.")
    if not isinstance(model.vision, bool):
        raise FleetError("vision is neither true nor false", f"{where}.vision", str(model.vision), "Say true or false.")
    if len(set(model.hosts)) != len(model.hosts):
        raise FleetError("A host is named twice", f"{where}.hosts", ", ".join(model.hosts), "Name each host once.")
    if model.hosts and model.replicas and model.replicas > len(model.hosts):
        raise FleetError("More replicas are asked for than hosts are named", f"{where}.replicas",
                         f"{model.replicas} replicas, {len(model.hosts)} hosts", "Name more hosts or lower replicas.")
    if model.shards and (model.residency != "resident" or (model.replicas or 1) > 1):
        raise FleetError("A model that is split over workers runs once and stays loaded", f"{where}.shards",
                         f"residency {model.residency}, replicas {model.replicas}", "Leave residency and replicas out, or shards.")


def _refuse_shared_names(models: Sequence[WantedModel]) -> None:
    """Names are compared without case, because the edge's maps compare them so."""
    taken: dict[str, str] = {}
    for model in models:
        for name in model.served_names:
            if name.lower() in taken:
                raise FleetError("A served name is used twice", f"models_wanted, {model.name}",
                                 f"{name}, which {taken[name.lower()]} has already",
                                 "Give each model and alias a name of its own.")
            taken[name.lower()] = model.name


def _refuse_strange_neighbours(models: Sequence[WantedModel]) -> None:
    names = {model.name for model in models}
    for model in models:
        for other in model.apart_from:
            if other == model.name or other not in names:
                what = "A model cannot be apart from itself" if other == model.name else "A model is to be apart from one that is not wanted"
                raise FleetError(what, f"models_wanted, {model.name}.apart_from", other, "Name other wanted models by their names, not their aliases.")
