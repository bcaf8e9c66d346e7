# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Whether data that came from outside has the form that the annotations of a dataclass tell. Pure Python."""
from __future__ import annotations

import re
from dataclasses import fields
from functools import lru_cache
from typing import Any, Mapping, Optional

MOST = 1 << 62
"""No number of a host or a plan is as large."""
_OPTIONAL = re.compile(r"Optional\[(.+)\]|(.+) \| None")
_MANY = re.compile(r"tuple\[(.+), \.\.\.\]|Mapping\[str, (.+)\]")


def misfit(value: Any, kind: str, forms: Mapping[str, type], needed: Mapping[str, tuple[str, ...]]) -> Optional[str]:
    """The path to what is not as the annotation `kind` says, None where all is.

    `forms` are the dataclasses that annotations may name; a mapping with such fields does as well, and of its fields only those that are
    `needed` must be there. A tuple may be a list. Numbers are finite, from 0 to `MOST`, and no booleans.
    """
    plain, optional, many = _parsed(kind)
    if value is None:
        return None if optional or plain == "Any" else ""
    if many == "list":
        return _of_items(enumerate(value), plain, forms, needed) if isinstance(value, (list, tuple)) else ""
    if many == "mapping":
        strange = not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value)
        return "" if strange else _of_items(value.items(), plain, forms, needed)
    if plain in forms:
        return _of_fields(value, plain, forms, needed)
    return None if _is(value, plain) else ""


def _of_fields(value: Any, kind: str, forms: Mapping[str, type], needed: Mapping[str, tuple[str, ...]]) -> Optional[str]:
    if isinstance(value, forms[kind]):
        given = {name: getattr(value, name) for name, _kind in _fields(forms[kind])}
    elif isinstance(value, Mapping):
        given = {name: value[name] for name, _kind in _fields(forms[kind]) if name in value}
    else:
        return ""
    absent = next((name for name in needed.get(kind, ()) if name not in given), None)
    if absent:
        return f".{absent}"
    found = ((name, misfit(given[name], each, forms, needed)) for name, each in _fields(forms[kind]) if name in given)
    return next((f".{name}{rest}" for name, rest in found if rest is not None), None)


def _of_items(items: Any, kind: str, forms: Mapping[str, type], needed: Mapping[str, tuple[str, ...]]) -> Optional[str]:
    found = ((key, misfit(item, kind, forms, needed)) for key, item in items)
    return next((f"[{key}]{rest}" for key, rest in found if rest is not None), None)


def _is(value: Any, kind: str) -> bool:
    if kind in ("int", "float"):
        return isinstance(value, (int,) if kind == "int" else (int, float)) and not isinstance(value, bool) and 0 <= value <= MOST
    return kind == "Any" or isinstance(value, {"str": str, "bool": bool}[kind])


@lru_cache(maxsize=None)
def _fields(form: type) -> tuple[tuple[str, str], ...]:
    return tuple((each.name, str(each.type)) for each in fields(form))


@lru_cache(maxsize=None)
def _parsed(kind: str) -> tuple[str, bool, str]:
    """The annotation of a value or of what it holds, whether None does as well, and list, mapping or nothing."""
    optional = _OPTIONAL.fullmatch(kind)
    plain = next(filter(None, optional.groups())) if optional else kind
    many = _MANY.fullmatch(plain)
    if not many:
        return plain, bool(optional), ""
    return next(filter(None, many.groups())), bool(optional), "list" if plain.startswith("tuple") else "mapping"
