# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a host's store of blobs holds, against what it must hold. Pure Python."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

_BLOB = re.compile(r".*/(?P<sha256>[0-9a-f]{64})\.gguf")
_PART = re.compile(r".*/\.partial/(?P<sha256>[0-9a-f]{64})\.gguf\.part")


@dataclass(frozen=True)
class StoreState:
    """`missing`: sha256 of wanted blobs that are not there whole, in the wanted order; `ahead`: for each of them the bytes that
    the ones after it still need; `abandoned`: sha256 of unfinished downloads that nobody wants any more. `whole` and `partial`:
    bytes of every blob and of every unfinished download by sha256."""

    missing: tuple[str, ...]
    ahead: Mapping[str, int]
    abandoned: tuple[str, ...]
    whole: Mapping[str, int]
    partial: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {"missing": list(self.missing), "ahead": dict(self.ahead), "abandoned": list(self.abandoned)}


def store_state(found: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> StoreState:
    """Compare files on the host (`path`, `size` in bytes) with the wanted blobs (`sha256`, `size` in bytes).

    A blob of another size than wanted counts as missing.
    """
    blobs, parts = _sizes(found, _BLOB), _sizes(found, _PART)
    missing = [file for file in wanted if blobs.get(file["sha256"]) != int(file["size"])]
    ahead, behind = {}, 0
    for file in reversed(missing):
        ahead[file["sha256"]] = behind
        behind += max(0, int(file["size"]) - parts.get(file["sha256"], 0))
    names = {file["sha256"] for file in wanted} | set(blobs)
    return StoreState(tuple(file["sha256"] for file in missing), ahead, tuple(sorted(set(parts) - names)), blobs, parts)


def _sizes(found: Sequence[Mapping[str, Any]], form: re.Pattern[str]) -> dict[str, int]:
    matches = ((form.fullmatch(file["path"]), int(file["size"])) for file in found)
    return {match["sha256"]: size for match, size in matches if match}
