# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A few files that are read, changed elsewhere and put back, with a way back and safe when several do so. Standard library only."""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ._errors import FleetError


def revision(files: Mapping[str, str]) -> str:
    """What stands for the content of these files, 64 hexadecimal digits: the same texts under the same names have the same one."""
    told = "".join(f"{name}\0{hashlib.sha256(files[name].encode()).hexdigest()}\n" for name in sorted(files))
    return hashlib.sha256(told.encode()).hexdigest()


def previous_name(name: str) -> str:
    """Where the text before the last change of a file is kept: fleet.lock.yml → fleet.lock.previous.yml."""
    stem, ending = os.path.splitext(name)
    return f"{stem}.previous{ending}"


def check_files(files: Mapping[str, Any], names: Sequence[str], previous: Iterable[str]) -> None:
    """FleetError for a name that is not that of a file in the folder, for a file that is not looked at, and for one that is neither text nor None."""
    for name in names:
        if "/" in name or "\0" in name or name in ("", ".", ".."):
            raise FleetError("A file's name is not the name of a file in the folder", "names", repr(name), "Leave out folders.")
    strange = sorted({*files, *previous} - set(names))
    if strange:
        raise FleetError("A file is given that is not looked at", "files and previous", ", ".join(strange), f"The names are {', '.join(names)}.")
    for name, text in files.items():
        if text is not None and not isinstance(text, str):
            raise FleetError("A file's content is not text", f"files.{name}", type(text).__name__)


def changed(found: Mapping[str, str], wanted: Mapping[str, str | None], expected: str | None, where: str) -> dict[str, str | None]:
    """The files of `wanted` whose text is another than the one `found`; None is a file that shall not be there.

    FleetError when there are some and `found` is no longer what `expected`, the revision that the change was made from, stands for.
    """
    new = {name: text for name, text in wanted.items() if found.get(name) != text}
    if new and expected is not None and expected != revision(found):
        raise FleetError("What is kept there was changed by someone else since it was read, so nothing was written", where,
                         f"another {', '.join(sorted(found)) or 'content, none of these files'}", "Run again: it starts from what is there now.")
    return new


def after(found: Mapping[str, str], new: Mapping[str, str | None]) -> dict[str, str]:
    """The texts that are there once `new` is."""
    return {name: text for name, text in {**found, **new}.items() if text is not None}


def outcome(found: Mapping[str, str], before: Mapping[str, str], new: Mapping[str, str | None], previous: Iterable[str]) -> dict[str, Any]:
    """What a keeper tells after it made `new` of `found` (None: removed): `before` are the texts before each last change, which `new` moves on."""
    now = after(found, new)
    replaced = {name: found[name] for name in previous if name in found and name in new}
    return {"changed": bool(new), "files": now, "previous": {**before, **replaced}, "revision": revision(now), "written": sorted(new)}


def read(folder: str, names: Iterable[str]) -> dict[str, str]:
    """The texts of those files of a folder that exist. FleetError for one that cannot be read."""
    found = {}
    for name in names:
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="utf-8") as stream:
                found[name] = stream.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise FleetError("The file cannot be read", path, str(error), "Check the path and its permissions.") from error
    return found


def keep(
    folder: str, files: Mapping[str, str | None], expected: str | None, names: Iterable[str], previous: Iterable[str],
) -> dict[str, str | None]:
    """Put files into a folder, which is made when it is missing, or take them out; returns those that changed.

    Only one process does so at a time, and only while the files `names` still are what `expected` stands for (see `changed`). The text
    that a file of `previous` had goes under its `previous_name` first, so that a run that ends at any point leaves a whole file and a way back.
    """
    with _alone(folder):
        found = read(folder, names)
        new = changed(found, files, expected, folder)
        for name, text in new.items():
            if name in previous and name in found:
                put(os.path.join(folder, previous_name(name)), found[name])
            _put_or_remove(os.path.join(folder, name), text)
    return new


def put(path: str, text: str) -> None:
    """Replace a file at once: beside it, synced, read back, renamed. It keeps its owner, is readable by all, and a link stays a link."""
    target = os.path.realpath(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target))
        with os.fdopen(handle, "w+", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            if os.path.exists(target) and os.geteuid() == 0:
                os.fchown(stream.fileno(), os.stat(target).st_uid, os.stat(target).st_gid)
            os.fsync(stream.fileno())
            stream.seek(0)
            if stream.read() != text:
                raise OSError("what was read back is something else")
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise FleetError("The file cannot be written", path, error.strerror or str(error), "Make its folder, or choose another path.") from error


def _put_or_remove(path: str, text: str | None) -> None:
    if text is not None:
        return put(path, text)
    try:
        return os.unlink(path)
    except OSError as error:
        raise FleetError("The file cannot be removed", path, error.strerror or str(error), "Check the permissions of its folder.") from error


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep other processes of this kind out of the folder. Where its file system knows no locks, only `changed` guards it."""
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FleetError("The folder cannot be used", folder, error.strerror or str(error), "Choose another one.") from error
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
