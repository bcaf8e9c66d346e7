# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The lock: what is deployed, pinned. Reads, checks, compares and writes its text; touches no file and no network."""
from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Iterable, Mapping, Sequence

from ._errors import FleetError
from ._gguf import Header
from ._http import bare_url
from ._lock_text import parse, render
from ._oci import Image
from ._presets import preset
from ._wanted import NAME, SEARCH, SHA256, Source, WantedModel, parse_source

SCHEMA = 1
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLATFORM = re.compile(r"multi|[a-z0-9]+/[a-z0-9]+")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
ASKED = "asked for"
_BY_HAND = "Correct it, or remove the entry to have it resolved again."


@dataclass(frozen=True)
class LockedImage:
    """An image by name and version (tag), pinned to the digest that `docker pull name@digest` takes."""

    name: str
    version: str
    digest: str
    platform: str


@dataclass(frozen=True)
class LockedFile:
    """One file of a model; size in bytes; `url` only for https:// sources."""

    path: str
    size: int
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class LockedModel:
    """A wanted model pinned to files: one, or the shards of a split set in order, whose joined header is kept; and the projector beside them.

    `quant` is the one asked for; where a file was asked for, that file's own. `projector_header` is None in locks of before it was kept. `search` is
    the policy that found it, None when it was not searched.
    """

    source: str
    repository: str | None
    commit: str | None
    files: tuple[LockedFile, ...]
    quant: str | None
    license: str | None
    architecture: str
    chat_template_sha256: str | None
    header: Mapping[str, Any]
    resolved_at: str
    resolved_by: str
    projector: LockedFile | None = None
    projector_header: Mapping[str, Any] | None = None
    search: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes of the model's files, without its projector."""
        return sum(file.size for file in self.files)

    @property
    def all_files(self) -> tuple[LockedFile, ...]:
        """Every file that a host must hold."""
        return self.files + ((self.projector,) if self.projector else ())


@dataclass(frozen=True)
class Lock:
    """Images by key and models by served name."""

    images: Mapping[str, LockedImage] = field(default_factory=dict)
    models: Mapping[str, LockedModel] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data in the shape of the file."""
        models = {name: {**asdict(model), "files": [asdict(file) for file in model.files]} for name, model in self.models.items()}
        return {"schema": SCHEMA, "images": {key: asdict(image) for key, image in self.images.items()}, "models": models}


@dataclass(frozen=True)
class Missing:
    """What has to be resolved, each with the reason in words."""

    models: Mapping[str, str]
    images: Mapping[str, str]


def load(text: str, where: str = "the lock") -> Lock:
    """The lock of a file's text; empty text is an empty lock. FleetError for bad YAML and for what `validate` refuses."""
    data = parse(text, where)
    return Lock() if data is None else validate(data, where)


def dump(lock: Lock) -> str:
    """The file's text: the same lock gives the same bytes."""
    return render(lock.as_dict())


def validate(data: Any, where: str = "the lock") -> Lock:
    """Plain data as a checked lock. People edit the file: FleetError names the entry, what it holds and what to do."""
    top = _mapping(data, where, {"schema", "images", "models"}, optional={"images", "models"})
    if top["schema"] != SCHEMA:
        raise FleetError("The lock has an unknown schema", where, repr(top["schema"]), f"This release reads schema {SCHEMA}.")
    images = _entries(top.get("images"), f"{where}, images", _KEY)
    models = _entries(top.get("models"), f"{where}, models", NAME)
    return Lock(
        images={key: _image(value, f"{where}, images.{key}") for key, value in images.items()},
        models={name: _model(value, f"{where}, models.{name}") for name, value in models.items()},
    )


def missing(lock: Lock, wanted: Sequence[WantedModel], images: Mapping[str, Image], refresh: Iterable[str] = ()) -> Missing:
    """What has to be resolved: entries that are absent, or that were locked for something else than is wanted now, or that `refresh` names.

    FleetError when `refresh` names a model that is not wanted.
    """
    strange = sorted(set(refresh) - {model.name for model in wanted})
    if strange:
        raise FleetError("A model is to be refreshed that is not wanted", "refresh", ", ".join(strange),
                         f"The wanted ones are {', '.join(model.name for model in wanted) or 'none'}.")
    models = {model.name: why_missing(lock.models.get(model.name), model) or (ASKED if model.name in refresh else "") for model in wanted}
    pins = {key: _why_image(lock.images.get(key), image) for key, image in images.items()}
    return Missing({name: why for name, why in models.items() if why}, {key: why for key, why in pins.items() if why})


def why_missing(entry: LockedModel | None, wanted: WantedModel) -> str:
    """Why the lock's entry is not for what is wanted now, in words; empty when it is."""
    if entry is None:
        return "not in the lock"
    now, then = wanted.parsed_source, parse_source(entry.source)
    if replace(now, revision=None) != replace(then, revision=None):
        return f"source was {bare_url(entry.source)}"
    if entry.search != wanted.search:
        return f"search was {_policy(entry.search)}"
    if now.revision != then.revision and now.revision != entry.commit:
        return f"revision was {then.revision or 'the newest'}, is {now.revision or 'the newest'}"
    if wanted.file and wanted.file not in [file.path for file in entry.files]:
        return f"file was {entry.files[0].path}"
    if now.kind != "https" and not wanted.file and entry.quant != wanted.quant and not _by_preset(now, wanted):
        return f"quant was {entry.quant}"
    if wanted.sha256 and wanted.sha256 != entry.files[0].sha256:
        return f"sha256 was {entry.files[0].sha256}"
    return _why_projector(entry.projector, wanted)


def only_projector(entry: LockedModel, wanted: WantedModel) -> bool:
    """Whether nothing but the projector is wanted otherwise than it was locked, so that the model itself need not move."""
    locked = entry.projector.path if entry.projector else None
    return bool(why_missing(entry, wanted)) and not why_missing(entry, replace(wanted, vision=False, projector=locked))


def settled(new: Lock, earlier: Lock) -> Lock:
    """The new lock, with the entries of an earlier proposal that differ in nothing but when they were resolved: the same proposal stays the same."""
    models = {}
    for name, model in new.models.items():
        before = earlier.models.get(name)
        models[name] = before if before and replace(before, resolved_at=model.resolved_at) == model else model
    return replace(new, models=models)


def refuse_missing(lacks: Missing, where: str) -> None:
    """FleetError that names everything the lock lacks, for when nothing may be asked."""
    found = [f"{kind} {name} ({why})" for kind, entries in (("model", lacks.models), ("image", lacks.images)) for name, why in entries.items()]
    if found:
        raise FleetError("The lock lacks what is wanted, and nothing may be asked for it", where, "; ".join(found),
                         "Run again with the Hub and the registry in reach.")


def updated(
    old: Lock, fresh: Lock, models: Iterable[str] | None, images: Iterable[str] | None, prune: bool = True,
) -> Lock:
    """The old lock with the fresh entries in place.

    With `prune`, entries outside the names in `models` and `images` leave; None leaves that half alone.
    Entries that are not in `fresh` do not move. FleetError for bytes that changed under the same name (`check_same`).
    """
    check_same(old, fresh)
    return Lock(
        images=_kept({**old.images, **fresh.images}, images, prune), models=_kept({**old.models, **fresh.models}, models, prune),
    )


def check_same(old: Lock, fresh: Lock) -> None:
    """The same commit must hold the same files, the same tag must be the same digest. FleetError names both."""
    digests = {(image.name, image.version): image.digest for image in old.images.values()}
    for key, image in fresh.images.items():
        known = digests.setdefault((image.name, image.version), image.digest)
        if known != image.digest:
            raise FleetError(f"The tag {image.name}:{image.version} is another image than the lock's", f"images.{key}",
                             f"{image.digest}, locked {known}", "Find out who moved the tag; to accept it, remove the entry from the lock.")
    files = {_identity(model, file): file.sha256 for model in old.models.values() for file in model.all_files}
    for name, model in fresh.models.items():
        for file in model.all_files:
            known = files.setdefault(_identity(model, file), file.sha256)
            if known != file.sha256 and model.commit:
                raise FleetError(f"{model.repository} answers other bytes for the same commit {model.commit}", f"models.{name}, {file.path}",
                                 f"sha256 {file.sha256}, locked {known}", "Distrust this endpoint; to accept it, remove the entry from the lock.")


# --- checks ---


def _mapping(data: Any, where: str, known: set[str], optional: Iterable[str] = ()) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise FleetError("The lock's entry is not a mapping", where, _short(data), _BY_HAND)
    unknown = sorted(str(key) for key in set(data) - known)
    if unknown:
        raise FleetError("The lock has an unknown key", where, ", ".join(unknown), f"Known are {', '.join(sorted(known))}.")
    absent = sorted(known - set(data) - set(optional))
    if absent:
        raise FleetError("The lock's entry lacks a key", where, f"no {', '.join(absent)}", _BY_HAND)
    return data


def _entries(data: Any, where: str, pattern: re.Pattern[str]) -> Mapping[str, Any]:
    entries = {} if data is None else data
    if not isinstance(entries, dict):
        raise FleetError("The lock's entry is not a mapping", where, _short(data), _BY_HAND)
    for key in entries:
        if not isinstance(key, str) or not pattern.fullmatch(key):
            raise FleetError("The lock has an entry with an unusable name", where, _short(key), _BY_HAND)
    return entries


def _image(data: Any, where: str) -> LockedImage:
    _mapping(data, where, {item.name for item in fields(LockedImage)})
    for key in ("name", "version"):
        _text(data, key, where)
    _text(data, "digest", where, _DIGEST, "sha256: and 64 hexadecimal digits")
    _text(data, "platform", where, _PLATFORM, "a platform such as linux/amd64, or multi")
    return LockedImage(**data)


def _model(data: Any, where: str) -> LockedModel:
    _mapping(data, where, {item.name for item in fields(LockedModel)}, optional={"projector", "projector_header", "search"})
    for key in ("source", "architecture", "resolved_at", "resolved_by"):
        _text(data, key, where)
    for key in ("quant", "license"):
        _text(data, key, where, optional=True)
    _text(data, "chat_template_sha256", where, SHA256, "64 hexadecimal digits", optional=True)
    _check_origin(data, where)
    header = Header.from_dict(_plain(data["header"], f"{where}.header"))
    if header.architecture != data["architecture"]:
        raise FleetError("The lock's architecture is not that of its header", where, f"{data['architecture']}, header {header.architecture}", _BY_HAND)
    if data.get("projector_header") is not None:
        Header.from_dict(_plain(data["projector_header"], f"{where}.projector_header"))
    return LockedModel(**{**data, "files": _files(data, where), "projector": _projector(data, where)})


def _check_origin(data: Mapping[str, Any], where: str) -> None:
    source = parse_source(data["source"], f"{where}.source")
    if isinstance(data.get("search"), dict) != (source.kind == SEARCH):
        raise FleetError("The lock's source and search do not fit together", f"{where}.search", _short(data.get("search")), _BY_HAND)
    if source.kind != "https":
        _text(data, "repository", where)
        _text(data, "commit", where, _COMMIT, "40 hexadecimal digits")
        if source.repository and data["repository"] != source.repository:
            raise FleetError("The lock's repository is not that of its source", f"{where}.repository", data["repository"], _BY_HAND)
    elif data["repository"] is not None or data["commit"] is not None:
        raise FleetError("The lock has a repository for a source that is none", where, _short(data["repository"]), _BY_HAND)


def _files(data: Mapping[str, Any], where: str) -> tuple[LockedFile, ...]:
    listed = data["files"]
    if not isinstance(listed, list) or not listed:
        raise FleetError("The lock names no file for the model", f"{where}.files", _short(listed), _BY_HAND)
    files = tuple(_file(item, f"{where}.files[{index}]", bool(data["repository"])) for index, item in enumerate(listed))
    if len({file.path for file in files}) != len(files):
        raise FleetError("The lock names a file twice", f"{where}.files", ", ".join(file.path for file in files), _BY_HAND)
    return files


def _projector(data: Mapping[str, Any], where: str) -> LockedFile | None:
    given = data.get("projector")
    if given is None:
        return None
    if not data["repository"]:
        raise FleetError("The lock has a projector for a source that is no repository", f"{where}.projector", _short(given), _BY_HAND)
    return _file(given, f"{where}.projector", True)


def _file(data: Any, where: str, hub: bool) -> LockedFile:
    _mapping(data, where, {item.name for item in fields(LockedFile)}, optional={"url"})
    _text(data, "path", where)
    _text(data, "sha256", where, SHA256, "64 hexadecimal digits")
    _text(data, "url", where, optional=hub)
    steps = data["path"].split("/")
    if "" in steps or ".." in steps or "." in steps:
        raise FleetError("The lock has a path that leaves its repository", f"{where}.path", data["path"], _BY_HAND)
    size = data["size"]
    if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
        raise FleetError("The lock's size is not a number of bytes", f"{where}.size", _short(size), _BY_HAND)
    return LockedFile(**data)


def _text(
    data: Mapping[str, Any], key: str, where: str, pattern: re.Pattern[str] | None = None, form: str = "text", optional: bool = False,
) -> None:
    value = data.get(key)
    if value is None and optional:
        return
    if not isinstance(value, str) or not value or (pattern and not pattern.fullmatch(value)):
        hint = " Put it in quotes." if value is not None and not isinstance(value, str) else ""
        raise FleetError(f"The lock's {key} is not {form}", f"{where}.{key}", _short(value), _BY_HAND + hint)


def _plain(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise FleetError("The lock has no header for the model", where, _short(data), _BY_HAND)
    return data


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


# --- comparisons ---


def _by_preset(source: Source, wanted: WantedModel) -> bool:
    """Whether nobody but a preset says which quant: a later release may know another one, and does not move what is locked."""
    return bool(source.preset) and preset(source.preset or "").quant == wanted.quant


def _policy(search: Mapping[str, Any] | None) -> str:
    told = {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in sorted((search or {}).items())}
    return ", ".join(f"{key} {value}" for key, value in told.items()) or "for anything"


def _why_projector(locked: LockedFile | None, wanted: WantedModel) -> str:
    if not wanted.wants_projector:
        return f"projector was {locked.path}, is none" if locked else ""
    if locked is None:
        return "projector was none"
    return f"projector was {locked.path}" if wanted.projector not in (None, locked.path) else ""


def _why_image(entry: LockedImage | None, image: Image) -> str:
    if entry is None:
        return "not in the lock"
    return "" if (entry.name, entry.version) == (image.name, image.version) else f"was {entry.name}:{entry.version}"


def _kept(entries: Mapping[str, Any], names: Iterable[str] | None, prune: bool) -> dict[str, Any]:
    if names is None or not prune:
        return dict(entries)
    wanted = set(names)
    return {name: entry for name, entry in entries.items() if name in wanted}


def _identity(model: LockedModel, file: LockedFile) -> tuple[Any, ...]:
    return (model.repository, model.commit, file.path, file.url)
