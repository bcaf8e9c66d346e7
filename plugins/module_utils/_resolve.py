# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Turns a wanted model into an entry of the lock: asks the Hub or the file's server, reads the header. Controller only."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import unquote, urlsplit

from . import _http
from ._capacity import Capacity
from ._errors import FleetError
from ._fits import Site
from ._gguf import Header, HttpSource, read_header
from ._hub import RepoFile, choose
from ._hub_client import Hub
from ._lock import LockedFile, LockedModel, only_projector, why_missing
from ._names import FILE_TYPES, parse_name
from ._presets import preset
from ._projector import check_projector, choose_projector, misfit
from ._search import Policy, search
from ._version import VERSION
from ._wanted import SEARCH, Source, WantedModel, parse_source

BY = f"localai.fleet {VERSION}"
SIZING = ("context", "slots", "kv_type", "prompt_cache_mib", "vision")
"""Options of a wanted model that say how much memory it needs."""
_REASONS = 3


def resolve_model(
    wanted: WantedModel, hub: Callable[[], Hub], now: str, ca_path: str | None = None, known: LockedModel | None = None,
    capacities: Mapping[str, Capacity] | None = None,
) -> tuple[LockedModel, list[str]]:
    """The lock's entry for a wanted model, and warnings in words.

    `hub` is called when the source is a repository, which costs one call of its API, or a search, which costs a page of its list and a call for
    each repository that is read. `now` is the time to write (ISO 8601). `known` is the entry that the lock has: where only its projector is
    wanted otherwise, its commit stays, and it is returned as it is when what is found are the same files under the same license. A search takes
    only what fits one of `capacities`, by host, where they are given. FleetError when the source does not have the model, lacks a shard or the
    projector, or has another file than `sha256` says.
    """
    said = ""
    if wanted.parsed_source.kind == "https":
        entry = _from_web(wanted, ca_path, now, known)
    else:
        entry, said = _from_hub(wanted, _place(wanted, hub(), known, capacities), hub(), now, known)
    if entry is known:
        return entry, []
    header = Header.from_dict(entry.header)
    _check_kind(wanted, header)
    return entry, _warnings(wanted, entry, header) + ([f"{wanted.name}: {said}"] if said else [])


def _place(wanted: WantedModel, hub: Hub, known: LockedModel | None, capacities: Mapping[str, Capacity] | None) -> Source:
    """The repository and the revision that a model is taken from."""
    if known and only_projector(known, wanted):
        return Source("hf", known.repository, known.commit)
    source = wanted.parsed_source
    if source.preset:
        return parse_source(preset(source.preset).source)
    return _searched(wanted, hub, capacities) if source.kind == SEARCH else source


def _searched(wanted: WantedModel, hub: Hub, capacities: Mapping[str, Capacity] | None) -> Source:
    """Where the first model is that the policy takes."""
    policy = Policy.from_dict({**(wanted.search or {}), "quant": wanted.quant, "count": 1}, f"{wanted.name}.search")
    options = {name: getattr(wanted, name) for name in SIZING}
    result = search(hub, policy, site=Site(capacities, options=options) if capacities else None)
    if not result.candidates:
        reasons = [f"{item.repository}: {item.reason}" for item in result.refused[:_REASONS]]
        raise FleetError("The search finds no model", f"{wanted.name}.search", " ".join(reasons) or "an empty list", "Ask for less in its policy.")
    return Source("hf", result.candidates[0].repository, result.candidates[0].commit)


def _from_hub(wanted: WantedModel, place: Source, hub: Hub, now: str, known: LockedModel | None) -> tuple[LockedModel, str]:
    """The entry, and what speaks against its projector."""
    name = place.repository or ""
    repository = hub.repository(name, place.revision)
    files = choose(repository.files, wanted.quant, wanted.file, where=name)
    if wanted.sha256 and wanted.sha256 != files[0].sha256:
        raise FleetError("The repository's file is not the one whose sha256 is wanted", f"{name}, {files[0].path}",
                         f"{files[0].sha256}, wanted {wanted.sha256}", "Correct sha256, or pin the revision that has it.")
    beside = choose_projector(repository.files, files[0].path, wanted.projector, where=name) if wanted.wants_projector else None
    locked, projector = tuple(map(_locked, files)), _locked(beside) if beside else None
    same = known is not None and not why_missing(known, wanted) and (known.repository, known.files, known.projector) == (name, locked, projector)
    if known and same and repository.license in (None, known.license) and (known.projector_header or not beside):
        return known, ""
    reader = hub.header(repository, [beside]) if beside else None
    if beside and reader:
        check_projector(reader, f"{name}, {beside.path}")
    header = hub.header(repository, files)
    _check_split(header, files, name)
    origin = {"repository": name, "commit": repository.commit, "license": repository.license or header.license, "projector": projector,
              "projector_header": replace(reader, tensors=None).as_dict() if reader else None}
    return _entry(wanted, header, locked, now, **origin), misfit(reader, header) if reader else ""


def _locked(file: RepoFile) -> LockedFile:
    return LockedFile(file.path, file.size, file.sha256 or "")


def _check_split(header: Header, files: Sequence[Any], where: str) -> None:
    """FleetError for the first file of a split set whose name does not say so: the engine would look for the others under names they do not have."""
    count = header.split_count or 1
    if count != len(files):
        raise FleetError("The file is a part of a split model, and its name does not say which", f"{where}, {files[0].path}", f"1 of {count} files",
                         "Choose files that are named NAME-00001-of-00002.gguf, or a repository with one file.")


def _from_web(wanted: WantedModel, ca_path: str | None, now: str, known: LockedModel | None) -> LockedModel:
    if known and not why_missing(known, wanted):  # its bytes are in the wish
        return known
    source = HttpSource(wanted.source, opener=_http.build_opener(ca_path))
    header = read_header(source, exact=True)
    if not header.file_size:
        raise FleetError("The server does not tell the size of the file", _http.bare_url(wanted.source), do="Use a server that answers byte ranges.")
    path = unquote(urlsplit(wanted.source).path).rpartition("/")[2]
    file = LockedFile(path, header.file_size, wanted.sha256 or "", wanted.source)
    _check_split(header, (file,), _http.bare_url(wanted.source))
    return _entry(wanted, header, (file,), now, repository=None, commit=None, license=header.license)


def _entry(wanted: WantedModel, header: Header, files: tuple[LockedFile, ...], now: str, **origin: Any) -> LockedModel:
    by_quant = wanted.parsed_source.kind != "https" and not wanted.file
    return LockedModel(
        source=wanted.source, files=files, quant=wanted.quant if by_quant else _quant(files[0].path, header),
        architecture=header.architecture, chat_template_sha256=header.chat_template_sha256, header=header.as_dict(),
        resolved_at=now, resolved_by=BY, search=wanted.search, **origin,
    )


def _quant(path: str, header: Header) -> str | None:
    """What the file's name says of itself; the header where the name says nothing."""
    label = parse_name(path).label
    return label.upper() if label else FILE_TYPES.get(header.file_type if header.file_type is not None else -1)


def _check_kind(wanted: WantedModel, header: Header) -> None:
    if header.general_type not in (None, "model") or header.architecture == "clip":
        raise FleetError("The file is no language model", f"{wanted.name}, {wanted.source}",
                         f"a {header.general_type or 'projector'} of architecture {header.architecture}", "Choose the model's own file.")


def _warnings(wanted: WantedModel, entry: LockedModel, header: Header) -> list[str]:
    said = parse_name(entry.files[0].path).quant
    real = FILE_TYPES.get(header.file_type if header.file_type is not None else -1)
    if said in FILE_TYPES.values() and real and said != real:
        return [f"{wanted.name}: the name {entry.files[0].path} says {said}, the file's header says {real}."]
    return []


def as_served_now(entry: LockedModel, hub: Hub) -> LockedModel:
    """The entry with sizes and digests as the Hub lists them today for the same commit; to compare with `_lock.check_same`.

    FleetError when a locked file is gone.
    """
    repository = hub.repository(entry.repository or "", entry.commit)
    listed = {file.path: file for file in repository.files}
    gone = [file.path for file in entry.all_files if file.path not in listed]
    if gone:
        raise FleetError("The repository no longer has a locked file at its commit", f"{entry.repository}, {entry.commit}", ", ".join(gone),
                         "Distrust this endpoint, or remove the entry from the lock to resolve it again.")
    files = tuple(_locked(listed[file.path]) for file in entry.files)
    return replace(entry, files=files, projector=_locked(listed[entry.projector.path]) if entry.projector else None)
