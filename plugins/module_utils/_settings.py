# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The settings folder of an instance on its host: revisions, the names that point to them, links to the parts of models in several files; and
the file that keeps which settings each container was told.

Only the standard library; LocalAI has the folder read-only, so nobody else writes there.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import Any, Collection, Mapping

from ._modelyaml import SPLIT

FILE_MODE, FOLDER_MODE = 0o640, 0o755


def digest_of(content: str) -> str:
    """What stands for a revision's settings in the record."""
    return hashlib.sha256(content.encode()).hexdigest()


def held(folder: str) -> dict[str, float]:
    """When each file of the folder was written, in seconds since 1970, by name."""
    if not os.path.isdir(folder):
        return {}
    return {entry.name: entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(folder) if not entry.is_dir(follow_symlinks=False)}


def read(path: str) -> str | None:
    """What a file holds, None without one."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def write(path: str, text: str) -> None:
    """Put a text in place; the file is whole at any moment. It belongs to the group of its folder, or is as it was."""
    folder, name = os.path.split(path)
    like = os.stat(path) if os.path.exists(path) else None
    partial = os.path.join(folder, f".{name}.partial")
    with open(partial, "w", encoding="utf-8") as handle:
        os.fchmod(handle.fileno(), like.st_mode & 0o777 if like else FILE_MODE)
        os.fchown(handle.fileno(), like.st_uid if like else -1, like.st_gid if like else os.stat(folder).st_gid)
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(partial, path)


def remove(path: str) -> None:
    """Remove a file that may be gone."""
    if os.path.lexists(path):
        os.unlink(path)


def link(folder: str, links: Mapping[str, str]) -> bool:
    """Have these links (path in the folder → target) and say whether one was missing. Their targets are places in the container."""
    missing = {path: target for path, target in links.items() if not _is_link(os.path.join(folder, path), target)}
    for path, target in missing.items():
        place = os.path.join(folder, path)
        for parent in (os.path.join(folder, SPLIT), os.path.dirname(place)):
            os.makedirs(parent, exist_ok=True)
            os.chmod(parent, FOLDER_MODE)
        remove(place)
        os.symlink(target, place)
    return bool(missing)


def _is_link(place: str, target: str) -> bool:
    return os.path.islink(place) and os.readlink(place) == target


def unlink_all_but(folder: str, paths: Collection[str]) -> None:
    """Remove the folders of links that hold none of these paths, and the one that they lie in when it is empty."""
    below, wanted = os.path.join(folder, SPLIT), {path.split("/")[1] for path in paths}
    if not os.path.isdir(below):
        return
    for name in set(os.listdir(below)) - wanted:
        shutil.rmtree(os.path.join(below, name))
    if not os.listdir(below):
        os.rmdir(below)


def referred(folder: str) -> set[str]:
    """The folders of links that a file of the settings names, as paths."""
    texts = [read(os.path.join(folder, name)) or "" for name in held(folder) if name.endswith(".yaml")]
    below = os.path.join(folder, SPLIT)
    return {f"{SPLIT}/{name}/" for name in (os.listdir(below) if os.path.isdir(below) else ()) if any(f"{SPLIT}/{name}/" in text for text in texts)}


def read_records(path: str) -> dict[str, Any]:
    """What is recorded, by container; nothing for a missing or damaged file."""
    try:
        return {entry["name"]: entry for entry in json.loads(read(path) or "")["instances"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_records(path: str, records: Mapping[str, Any]) -> None:
    """Keep the record."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, json.dumps({"instances": list(records.values())}, indent=2, sort_keys=True) + "\n")
