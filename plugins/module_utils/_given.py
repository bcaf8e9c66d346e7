# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Values of variables as a command line, a survey or a file gives them: texts, or what they stand for. Pure Python."""
from __future__ import annotations

import math
from typing import Any, Sequence

from ._errors import FleetError


def number(name: str, value: Any) -> int:
    """A whole number. FleetError for anything else."""
    try:
        return int(str(value))
    except ValueError:
        raise FleetError("A whole number is wanted", name, str(value), "Give digits alone, as 4096.") from None


def amount(name: str, value: Any) -> float:
    """A finite number. FleetError for anything else."""
    try:
        found = float(str(value))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise FleetError("A number is wanted", name, str(value), "Give one such as 0.5.")
    return found


def truth(name: str, value: Any) -> bool:
    """True or false. FleetError for anything else."""
    word = str(value).lower()
    if word not in ("true", "yes", "1", "false", "no", "0"):
        raise FleetError("True or false is wanted", name, str(value), "Say true or false.")
    return word in ("true", "yes", "1")


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    """One of these words. FleetError for anything else."""
    if value not in known:
        raise FleetError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}", got=str(value) or "nothing")
    return str(value)


def folder(name: str, value: Any) -> str:
    """An absolute path of a folder below /. FleetError for anything else."""
    if not (isinstance(value, str) and value.startswith("/") and value.strip("/")):
        raise FleetError(f"{name} must be an absolute path", got=str(value) or "nothing", do="Give the folder from / on, as /opt/localai.")
    return value


def words(value: Any) -> list[str]:
    """A list, or a text with commas, without what is empty."""
    parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
    return [str(part).strip() for part in parts if str(part).strip()]
