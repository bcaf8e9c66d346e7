# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Which blobs of a host's store nothing needs any more, and why each other one stays. Pure Python; sizes are bytes."""
from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Iterable, Mapping, Sequence

from ._errors import FleetError
from ._plan import gib

DAY = 86400
_BLOB = re.compile(r".*/(?P<sha256>[0-9a-f]{64})\.gguf")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Retention:
    """How long a blob that nothing refers to stays: the `count` newest of them do, and those brought in the last `days`."""

    count: int = 0
    days: float = 30.0


@dataclass(frozen=True)
class Blob:
    """A blob with what becomes of it. `kept` is why it stays, empty when it may go."""

    sha256: str
    size: int
    kept: str


@dataclass(frozen=True)
class Reclaim:
    """All blobs of a host, those that stay first."""

    blobs: tuple[Blob, ...]

    @property
    def gone(self) -> tuple[Blob, ...]:
        return tuple(blob for blob in self.blobs if not blob.kept)

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe: `blobs`, `remove` (sha256), `bytes` that become free, `lines` for people."""
        return {
            "blobs": [asdict(blob) for blob in self.blobs], "remove": [blob.sha256 for blob in self.gone],
            "bytes": sum(blob.size for blob in self.gone), "lines": list(self._lines()),
        }

    def _lines(self) -> Iterable[str]:
        for blob in self.blobs:
            yield f"{blob.sha256[:12]}  {gib(blob.size)}  {'stays: ' + blob.kept if blob.kept else 'nothing needs it'}"
        yield f"{gib(sum(blob.size for blob in self.gone))} of {gib(sum(blob.size for blob in self.blobs))} can be freed"


def reclaim(found: Sequence[Mapping[str, Any]], references: Mapping[str, str], now: float, retention: Retention = Retention()) -> Reclaim:
    """Decide on each blob among the files `found` (`path`, `size` in bytes, `mtime` in seconds since 1970).

    `references`: why a blob is needed, by sha256 (see `references`); such a one always stays. FleetError for a retention that is less than nothing.
    """
    if retention.count < 0 or retention.days < 0:
        raise FleetError("A retention is less than nothing", "refresh_keep_blobs and refresh_keep_days", f"{retention.count} and {retention.days:g}",
                         "Give 0 or more.")
    blobs = {match["sha256"]: file for file in found for match in [_BLOB.fullmatch(str(file["path"]))] if match}
    unused = sorted((name for name in blobs if name not in references), key=lambda name: (-float(blobs[name]["mtime"]), name))
    why = {name: references[name] for name in blobs if name in references}
    for place, name in enumerate(unused):
        age = (now - float(blobs[name]["mtime"])) / DAY
        if place < retention.count:
            why[name] = f"one of the {retention.count} newest that nothing needs (refresh_keep_blobs)"
        elif age < retention.days:
            why[name] = f"brought {max(0, int(age))} days ago, and {retention.days:g} are kept (refresh_keep_days)"
    order = sorted(blobs, key=lambda name: (name not in why, -int(blobs[name]["size"]), name))
    return Reclaim(tuple(Blob(name, int(blobs[name]["size"]), why.get(name, "")) for name in order))


def references(locks: Mapping[str, Mapping[str, Any]], plans: Iterable[Mapping[str, Any]] = (), settings: Iterable[str] = ()) -> dict[str, str]:
    """Why blobs are needed, by sha256: the first of these that names it.

    `locks`: lock data by what to call it (the current one first); `plans`: deployed plans of the host (`instances`), also those of an unfinished
    refresh; `settings`: texts of the settings that LocalAI was given, for what an alias points to.
    """
    found: dict[str, str] = {}
    for called, lock in locks.items():
        for name, model in ((lock or {}).get("models") or {}).items():
            for file in [*(model.get("files") or ()), *([model["projector"]] if model.get("projector") else ())]:
                found.setdefault(file["sha256"], f"{called} has it for {name}")
    for plan in plans:
        for instance in plan.get("instances") or ():
            for model in instance["models"]:
                for sha256 in filter(None, [model.get("sha256"), *(model.get("files") or ()), model.get("projector")]):
                    found.setdefault(sha256, f"{instance['name']} runs it as {model['name']}")
    for text in settings:
        for sha256 in _SHA256.findall(text):
            found.setdefault(sha256, "a model's settings on the host name it")
    return found
