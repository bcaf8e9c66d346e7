# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What must change in one directory so that it holds the wanted files. Pure Python, no I/O."""
from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Mapping, Sequence

from ._errors import FleetError

# LocalAI lists neither names that end so as models nor dotted YAML, so a file being written stays invisible to it.
STAGED = ".{name}.partial"
_MODE = re.compile(r"0?[0-7]{3,4}")


@dataclass(frozen=True)
class Wanted:
    """One file as it must be. `owner` and `group` are names or None for "leave it"; `mode` is the permission bits."""

    name: str
    content: bytes
    mode: int = 0o644
    owner: str | None = None
    group: str | None = None
    secret: bool = False
    validate: str | None = None


@dataclass(frozen=True)
class Found:
    """One file as it is."""

    content: bytes
    mode: int
    owner: str
    group: str


@dataclass(frozen=True)
class Action:
    """One change: `create`, `replace`, `attributes` or `remove`, with the texts for a diff."""

    kind: str
    name: str
    before: str
    after: str
    wanted: Wanted | None = None


def parse_mode(text: str, where: str) -> int:
    """Permission bits of octal text such as "0640"; FleetError for anything else."""
    if not _MODE.fullmatch(text):
        raise FleetError("The mode is not octal text", where, text, 'Write it in quotes, such as "0640".')
    return int(text, 8)


def parse_files(items: Sequence[Mapping[str, Any]], secret: bool, owner: str | None, group: str | None) -> list[Wanted]:
    """Typed files of a module's option; `owner` and `group` are what an item without its own takes."""
    return [_parse_file(item, secret, owner, group) for item in items]


def plan(wanted: Sequence[Wanted], found: Mapping[str, Found], owned: Sequence[str]) -> list[Action]:
    """The changes in order: files of `wanted`, then the removal of every other file whose name matches a pattern of `owned`."""
    _refuse_twice(wanted)
    actions = [action for item in wanted for action in _changes(item, found.get(item.name))]
    names = {item.name for item in wanted}
    for name in sorted(set(found) - names):
        if any(fnmatch(name, pattern) for pattern in owned) or name in {STAGED.format(name=n) for n in names}:
            actions.append(Action("remove", name, _text(found[name].content), ""))
    return actions


def _parse_file(item: Mapping[str, Any], secret: bool, owner: str | None, group: str | None) -> Wanted:
    name = item["name"]
    if "/" in name or name in ("", ".", ".."):
        raise FleetError("A file's name is not the name of a file in the directory", got=repr(name), do="Leave out folders.")
    return Wanted(
        name, item["content"].encode("utf-8"), parse_mode(item["mode"], f"mode of {name}"),
        item.get("owner") or owner, item.get("group") or group, secret, item.get("validate"),
    )


def _refuse_twice(wanted: Sequence[Wanted]) -> None:
    names = [item.name for item in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FleetError("A file is wanted twice", got=", ".join(twice), do="Give each file once.")


def _changes(item: Wanted, found: Found | None) -> list[Action]:
    if found is None:
        return [Action("create", item.name, "", _shown(item, item.content, "new"), item)]
    if found.content != item.content:
        return [Action("replace", item.name, _shown(item, found.content, "old"), _shown(item, item.content, "new"), item)]
    before, after = _attributes(item, found)
    return [Action("attributes", item.name, before, after, item)] if before != after else []


def _attributes(item: Wanted, found: Found) -> tuple[str, str]:
    owner, group = item.owner or found.owner, item.group or found.group
    return f"{found.mode:04o} {found.owner}:{found.group}\n", f"{item.mode:04o} {owner}:{group}\n"


def _shown(item: Wanted, content: bytes, which: str) -> str:
    return f"{which} secret content, not shown\n" if item.secret else _text(content)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
