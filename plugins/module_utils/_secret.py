# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Secrets that are made once and then kept in files. No message of this file holds a secret."""
from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile

from ._errors import FleetError

# LocalAI splits its keys at commas, Compose reads quotes, and HTTP headers carry neither blanks nor controls.
_USABLE = re.compile(r"[A-Za-z0-9._~+/=:@-]{16,512}")
# Permissions of a secret's file and of its folder: for this process's user, root on hosts, alone.
MODE = 0o400
FOLDER_MODE = 0o700


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


def read(path: str) -> str | None:
    """The secret in a file, without the blanks around it; None without the file."""
    try:
        with open(path, encoding="ascii", errors="replace") as handle:
            return handle.read().strip()
    except FileNotFoundError:
        return None


def closed(path: str, mode: int = MODE) -> bool:
    """Whether the path has exactly these permissions and this process's user as owner."""
    status = os.stat(path)
    return (stat.S_IMODE(status.st_mode), status.st_uid) == (mode, os.geteuid())


def tighten(path: str) -> None:
    """Owner and permissions of a secret's file as they must be."""
    os.chown(path, os.geteuid(), os.getegid())
    os.chmod(path, MODE)


def make_folder(folder: str) -> None:
    """The folder, closed when it is made here; one that is there stays as it is."""
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, FOLDER_MODE)


def write(path: str, secret: str, replace: bool) -> bool:
    """Write beside, then take the place; whether it did. Without `replace` a file that another run made meanwhile stays."""
    folder = os.path.dirname(path)
    make_folder(folder)
    handle, staged = tempfile.mkstemp(dir=folder, prefix=".new-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        tighten(staged)
        if replace:
            os.replace(staged, path)
        else:
            os.link(staged, path)
    except FileExistsError:
        return False
    finally:
        if os.path.lexists(staged):
            os.unlink(staged)
    return True


def _check(value: str, where: str) -> None:
    if not _USABLE.fullmatch(value):
        raise FleetError("The secret has no usable form", where, f"{len(value)} characters",
                         "Use 16 to 512 letters, digits and . _ ~ + / = : @ - without blanks.")
