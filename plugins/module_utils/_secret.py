# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Secrets that are made once and then kept. Pure Python; no message of this file holds a secret."""
from __future__ import annotations

import re
import secrets

from ._errors import FleetError

# LocalAI splits its keys at commas, Compose reads quotes, and HTTP headers carry neither blanks nor controls.
_USABLE = re.compile(r"[A-Za-z0-9._~+/=:@-]{16,512}")


def generate(size: int = 32) -> str:
    """A new secret of `size` random bytes as hexadecimal digits."""
    if size < 16:
        raise FleetError("The secret would be too short", "bytes", str(size), "Use at least 16.")
    return secrets.token_hex(size)


def decide(given: str | None, found: str | None, where: str, size: int = 32) -> tuple[str, bool]:
    """The secret and whether it must be written: a given one wins, then the one found, then a new one.

    `where` names the file in errors. FleetError for a given or found secret of no usable form.
    """
    if given:
        _check(given, f"the value given for {where}")
        return given, given != found
    if found is not None:
        _check(found, where)
        return found, False
    return generate(size), True


def _check(value: str, where: str) -> None:
    if not _USABLE.fullmatch(value):
        raise FleetError("The secret has no usable form", where, f"{len(value)} characters",
                         "Use 16 to 512 letters, digits and . _ ~ + / = : @ - without blanks.")
