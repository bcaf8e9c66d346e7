# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Values of variables as a command line, a survey or a file gives them: texts, or what they stand for. Pure Python."""
from __future__ import annotations

from typing import Any

from ._errors import FleetError


def number(name: str, value: Any) -> int:
    """A whole number. FleetError for anything else."""
    try:
        return int(str(value))
    except ValueError:
        raise FleetError("A whole number is wanted", name, str(value)) from None


def truth(name: str, value: Any) -> bool:
    """True or false. FleetError for anything else."""
    word = str(value).lower()
    if word not in ("true", "yes", "1", "false", "no", "0"):
        raise FleetError("True or false is wanted", name, str(value))
    return word in ("true", "yes", "1")


def words(value: Any) -> list[str]:
    """A list, or a text with commas, without what is empty."""
    parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
    return [str(part).strip() for part in parts if str(part).strip()]
