# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Which files of a repository make the wanted model. Pure: no network."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Sequence

from ._errors import FleetError
from ._names import MODEL, GgufName, parse_name

# parse_name calls a draft by its prefix alone, as llama.cpp does. These words inside a name mean a draft too
# (Qwen3-4B-DFlash.Q8_0.gguf), so such a file is taken only when it is asked for by its path.
_DRAFT_WORD = re.compile(r"(?<![^\W_])(?:dflash|dspark|eagle3)(?![^\W_])", re.IGNORECASE)
_MARKS = re.compile(r"(UD|I1)-(.+)")
_LISTED = 12


class HubUnavailable(FleetError):
    """The Hub as a whole cannot be asked now: out of reach, failing, limiting, or refusing the token. Another repository would fail alike."""


@dataclass(frozen=True)
class RepoFile:
    """One file of a repository: size in bytes; sha256 is None for a file that is not in LFS."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class _Candidate:
    """A whole model: one file, or the shards of one split set in order."""

    name: GgufName
    files: tuple[RepoFile, ...]

    @property
    def digests(self) -> tuple[str | None, ...]:
        return tuple(file.sha256 for file in self.files)


def choose(files: Iterable[RepoFile], quant: str, file: str | None = None, where: str = "") -> tuple[RepoFile, ...]:
    """The file, or the whole split set in order, of the wanted quant; or of the path `file`, whatever its quant.

    Projectors, drafts and importance matrices are left out. Of one quant the plain file is preferred over UD- and i1-,
    unless `quant` asks for these (UD-Q4_K_M). FleetError lists the candidates when several remain, names the quants
    that are there when none does, and the missing shards of a set. `where` names the repository in errors.
    """
    ggufs = [entry for entry in files if entry.path.lower().endswith(".gguf")]
    if not ggufs:
        raise FleetError("The repository holds no GGUF file", where, do="Look for a repository whose name ends in -GGUF.")
    if file is not None:
        chosen = _of_path(ggufs, file, where)
    else:
        chosen = _of_quant(_candidates(ggufs), quant.upper(), where)
    _check_whole(chosen, where)
    return chosen.files


def quants(files: Iterable[RepoFile]) -> list[str]:
    """The labels of the models a repository holds, sorted: what a user may ask for."""
    return sorted({entry.name.label for entry in _candidates(files) if entry.name.label})


def _candidates(files: Iterable[RepoFile]) -> list[_Candidate]:
    """Model files, with the shards of a set joined. Shards of one set share folder, stem, label and count."""
    sets: dict[object, list[tuple[GgufName, RepoFile]]] = {}
    for entry in files:
        name = parse_name(entry.path)
        if not entry.path.lower().endswith(".gguf") or name.kind != MODEL or _DRAFT_WORD.search(name.stem):
            continue
        sets.setdefault(_set_of(entry.path, name), []).append((name, entry))
    return [_joined(members) for members in sets.values()]


def _set_of(path: str, name: GgufName) -> object:
    if name.shard is None:
        return path
    return (path.rpartition("/")[0], name.stem, name.label, name.shard[1])


def _joined(members: Sequence[tuple[GgufName, RepoFile]]) -> _Candidate:
    ordered = sorted(members, key=lambda member: member[0].shard or (0, 0))
    return _Candidate(ordered[0][0], tuple(entry for _name, entry in ordered))


def _of_path(files: Sequence[RepoFile], path: str, where: str) -> _Candidate:
    found = next((entry for entry in files if entry.path == path), None)
    if found is None:
        raise FleetError("The repository has no such file", where, path, f"Its GGUF files are {_some(e.path for e in files)}.")
    name = parse_name(path)
    wanted = _set_of(path, name)
    return _joined([(parse_name(e.path), e) for e in files if _set_of(e.path, parse_name(e.path)) == wanted])


def _of_quant(candidates: Sequence[_Candidate], quant: str, where: str) -> _Candidate:
    marks = _MARKS.fullmatch(quant)
    mark, base = (marks[1], marks[2]) if marks else (None, quant)
    same = [entry for entry in candidates if entry.name.quant == base]
    fitting = _without_copies(_unsplit_first(_marked(same, mark)))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise FleetError(f"Several files of the repository are {quant}", where,
                         do=f"They are {_some(e.files[0].path for e in fitting)}: name one of them as the model's file.")
    raise FleetError(f"The repository has no {quant}", where, do=f"It has {_what_is_there(candidates)}. Choose one of these, or another repository.")


def _marked(candidates: Sequence[_Candidate], mark: str | None) -> list[_Candidate]:
    if mark == "UD":
        return [entry for entry in candidates if entry.name.dynamic]
    if mark == "I1":
        return [entry for entry in candidates if entry.name.weighted]
    plain = [entry for entry in candidates if not entry.name.dynamic and not entry.name.weighted]
    return plain or list(candidates)


def _unsplit_first(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Publishers sometimes keep a model both whole and split; the bytes are the same, and one file is simpler."""
    whole = {entry.name.stem for entry in candidates if entry.name.shard is None}
    return [entry for entry in candidates if entry.name.shard is None or entry.name.stem not in whole]


def _without_copies(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    seen: dict[object, _Candidate] = {}
    for entry in candidates:
        seen.setdefault(entry.digests if all(entry.digests) else entry.files, entry)
    return list(seen.values())


def _what_is_there(candidates: Sequence[_Candidate]) -> str:
    labels = sorted({entry.name.label for entry in candidates if entry.name.label})
    unlabelled = [entry.files[0].path for entry in candidates if not entry.name.label]
    parts = [", ".join(labels)] if labels else []
    if unlabelled:
        parts.append(f"without a quant in the name {_some(unlabelled)}")
    return "; ".join(parts) or "only projectors, drafts or importance matrices"


def _some(paths: Iterable[str]) -> str:
    listed = sorted(paths)
    more = len(listed) - _LISTED
    return ", ".join(listed[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _check_whole(chosen: _Candidate, where: str) -> None:
    if chosen.name.shard is not None:
        count = chosen.name.shard[1]
        there = {parse_name(entry.path).shard[0] for entry in chosen.files}
        absent = sorted(set(range(1, count + 1)) - there)
        if absent:
            raise FleetError("The split model lacks shards", f"{where}, {chosen.files[0].path}",
                             f"{len(there)} of {count}, without {', '.join(map(str, absent[:_LISTED]))}",
                             "Choose another quant or repository.")
    for entry in chosen.files:
        if entry.sha256 is None:
            raise FleetError("The repository states no sha256 for the file", f"{where}, {entry.path}",
                             do="Choose a file that the repository keeps in LFS.")
