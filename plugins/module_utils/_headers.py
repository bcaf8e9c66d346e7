# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Headers that were read before, kept by the SHA-256 of their files. Controller only; what cannot be kept is read again."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from typing import Sequence

from ._errors import FleetError
from ._gguf import PARAMETERS, Header
from ._gguf_tensors import ROLES
from ._hub import RepoFile


class HeaderCache:
    """A folder with one file a model. `endpoint` keeps apart what different servers said of the same digest."""

    def __init__(self, folder: str, endpoint: str) -> None:
        self.folder = os.path.join(folder, "headers", re.sub(r"[^\w.-]+", "-", endpoint.partition("://")[2] or endpoint))

    def get(self, files: Sequence[RepoFile]) -> Header | None:
        """The header of these files; None when it is not there, damaged, or of files of another size."""
        try:
            with open(self._path(files), encoding="utf-8") as stream:
                kept = json.load(stream)
            if kept["check"] != _check(kept["header"]):
                return None
            header = Header.from_dict(kept["header"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, FleetError):
            return None
        return header if header.file_size == sum(file.size for file in files) and header.tensors is not None else None

    def put(self, files: Sequence[RepoFile], header: Header) -> None:
        """Keep a header that was read whole from all of its files. Nobody sees half of it; a folder that cannot be written keeps nothing."""
        if header.tensors is None or not header.complete or header.file_size != sum(file.size for file in files):
            return
        plain, temporary = header.as_dict(), ""
        try:
            path = self._path(files)
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({"check": _check(plain), "header": plain}, stream)
            os.replace(temporary, path)
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _path(self, files: Sequence[RepoFile]) -> str:
        """ValueError for files of which the server gave no SHA-256."""
        digests = [file.sha256 or "" for file in files]
        if not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests):
            raise ValueError("no SHA-256")
        name = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
        return os.path.join(self.folder, f"{name}.json")


def _check(plain: object) -> str:
    """Another one when the reader keeps other keys, or other roles of tensors, than it did: a header from before lacks some, and is read again."""
    return hashlib.sha256(json.dumps([sorted(PARAMETERS), ROLES, plain], sort_keys=True).encode()).hexdigest()
