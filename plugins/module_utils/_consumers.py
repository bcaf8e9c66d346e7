# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Keys of the edge's consumers. Pure Python; no message of this file holds a key."""
from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ._errors import FleetError

SUFFIX = ".key"
_KEY = re.compile(r"[A-Za-z0-9._~+/=:@-]{20,512}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Action:
    """One change of a consumer's key: `create`, `replace`, `tighten` or `remove`; `key` is None where none is written."""

    kind: str
    name: str
    key: str | None = None


@dataclass(frozen=True)
class Found:
    """A key as it lies on the host; `tight` when nobody but its owner root can read it."""

    key: str
    tight: bool


def new_key() -> str:
    """A random key of the usual form: `sk-` and 64 hexadecimal digits (256 random bits)."""
    return "sk-" + secrets.token_hex(32)


def digest(key: str) -> str:
    """The SHA-256 of a key in hexadecimal digits: all that the edge ever knows of it."""
    return hashlib.sha256(key.encode("ascii")).hexdigest()


def plan(wanted: Sequence[Mapping[str, Any]], found: Mapping[str, Found]) -> tuple[list[Action], dict[str, str]]:
    """The changes, and the key of each wanted consumer after them.

    `wanted`: `{name, key or None}`; a given key wins, then the one found, then a new one. Keys of others are removed.
    FleetError for a consumer named twice, a shared key, or a key of no usable form.
    """
    actions, keys = [], {}
    for item in wanted:
        name = item["name"]
        _check_name(name, keys)
        key, action = _decide(name, item.get("key"), found.get(name))
        keys[name] = key
        actions += [action] if action else []
    _refuse_shared(keys)
    return actions + [Action("remove", name) for name in sorted(set(found) - set(keys))], keys


def _decide(name: str, given: str | None, found: Found | None) -> tuple[str, Action | None]:
    key = given or (found.key if found else new_key())
    if not _KEY.fullmatch(key):
        where = f"proxy_consumers, {name}" if given else f"{name}{SUFFIX}"
        raise FleetError("The key of a consumer has no usable form", where, f"{len(key)} characters",
                         "Use 20 to 512 letters, digits and . _ ~ + / = : @ - without blanks"
                         + ("." if given else ", or remove the file to have a new one made."))
    if found is None:
        return key, Action("create", name, key)
    if found.key != key:
        return key, Action("replace", name, key)
    return key, None if found.tight else Action("tighten", name)


def _check_name(name: str, names: Mapping[str, str]) -> None:
    if not _NAME.fullmatch(name):
        raise FleetError("The consumer's name is not usable", "proxy_consumers", repr(name),
                         "Use up to 63 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first.")
    if name in names:
        raise FleetError("A consumer is named twice", "proxy_consumers", name, "Give each a name of its own.")


def _refuse_shared(keys: Mapping[str, str]) -> None:
    owners: dict[str, str] = {}
    for name, key in keys.items():
        if key in owners:
            raise FleetError("Two consumers have the same key", "proxy_consumers", f"{owners[key]} and {name}",
                             "Give each a key of its own.")
        owners[key] = name
