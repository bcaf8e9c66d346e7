# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The projector of a model that reads images: which file of the repository it is, and whether it is one. Pure."""
from __future__ import annotations

from typing import Sequence

from ._errors import FleetError
from ._gguf import Header
from ._hub import RepoFile
from ._names import PROJECTOR, parse_name

PREFERRED = ("F16", "BF16", "Q8_0", None, "F32")
"""What CPUs read best comes first; None stands for names that say nothing. Other quants come between it and F32."""
ARCHITECTURE = "clip"


def choose_projector(files: Sequence[RepoFile], model: str, path: str | None = None, where: str = "") -> RepoFile:
    """The projector of the model file `model` among the files of its repository, or the one at `path`.

    As llama.cpp does, the one that shares most folders with the model is taken; of these the best of `PREFERRED`. FleetError when
    there is none, when several are alike, and when the repository states no sha256 for it. `where` names the repository in errors.
    """
    found = [file for file in files if file.path.lower().endswith(".gguf") and parse_name(file.path).kind == PROJECTOR]
    chosen = _of_path(files, found, path, where) if path else _best(found, model, where)
    if chosen.sha256 is None:
        raise FleetError("The repository states no sha256 for the projector", f"{where}, {chosen.path}", do="Choose one that the repository keeps in LFS.")
    return chosen


def check_projector(header: Header, where: str) -> None:
    """FleetError for a file whose header is not that of a projector for images."""
    if header.architecture != ARCHITECTURE:
        raise FleetError("The file is no projector", where, f"architecture {header.architecture}", "Name the projector's own file, such as mmproj-F16.gguf.")
    if header.get("has_vision_encoder") is False:
        raise FleetError("The projector reads no images", where, "has_vision_encoder false", "Leave vision out, or name another projector.")


def misfit(header: Header, model: Header) -> str:
    """Why the engine may refuse a projector beside a model, in words; empty when nothing speaks against it.

    The converter of llama.cpp writes the width of the model that the projector was made with; what other programs write there has other meanings.
    """
    made_for, width = header.get("vision.projection_dim"), model.get("embedding_length")
    if header.general_type != "mmproj" or not made_for or not width or made_for == width:
        return ""
    return f"the projector is made for a model of width {made_for}, and this one has {width}: it may be another model's."


def _of_path(files: Sequence[RepoFile], found: Sequence[RepoFile], path: str, where: str) -> RepoFile:
    for file in files:
        if file.path == path:
            return file
    raise FleetError("The repository has no such projector", where, path, f"Its projectors are {_listed(found) or 'none'}.")


def _best(found: Sequence[RepoFile], model: str, where: str) -> RepoFile:
    if not found:
        raise FleetError("The model is to read images, and its repository has no projector", where,
                         do="Name a repository that has one (mmproj-*.gguf), or leave vision out.")
    rank = min(_rank(file, model) for file in found)
    best = [file for file in found if _rank(file, model) == rank]
    if len({file.sha256 or file.path for file in best}) > 1:
        raise FleetError("Several projectors of the repository could be the model's", where, do=f"They are {_listed(best)}: name one of them as projector.")
    return best[0]


def _rank(file: RepoFile, model: str) -> tuple[int, int]:
    """Folders that are not shared with the model, then the place among `PREFERRED`."""
    ours, theirs = file.path.split("/")[:-1], model.split("/")[:-1]
    shared = next((depth for depth, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
    quant = parse_name(file.path).quant
    return -shared, 2 * PREFERRED.index(quant) if quant in PREFERRED else 2 * PREFERRED.index("F32") - 1


def _listed(files: Sequence[RepoFile]) -> str:
    return ", ".join(sorted(file.path for file in files))
