# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Bytes of a GGUF file from a file, from HTTP ranges or from memory, in bounds.

A source answers `read_at(offset, count, deadline)`. A `Cursor` walks a source forwards in growing
chunks, keeps only what is still to be parsed and counts every byte against the limits.
"""
from __future__ import annotations

import os
import re
import struct
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Callable, Mapping
from urllib.parse import urlsplit

from ._errors import FleetError
from ._http import FAILURES, build_opener, reason
from ._patience import PASSING, asked_wait

U32, U64 = struct.Struct("<I"), struct.Struct("<Q")
FIRST_CHUNK = 64 * 1024
"""Bytes of the first read: holds every architecture key of usual files."""
GROWN_CHUNKS = (2 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20)
"""Bytes of the reads after it; the last one repeats, so that twelve requests reach the limit of 64 MB."""

_LENGTH = re.compile(r"[0-9]{1,18}\Z")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z", re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~]*\Z")


class GgufError(FleetError):
    """A file that is not a sound GGUF file, or that leaves a limit; `where` names byte and field."""


def printable(text: str | bytes, most: int = 200) -> str:
    """Text for people, at most `most` letters: bad UTF-8 replaced, control and format characters removed."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return (text if text.isprintable() else "".join(letter for letter in text if letter.isprintable()))[:most]


@dataclass(frozen=True)
class Limits:
    """What a header may cost and claim; the defaults hold every header seen in public files.

    Counts are of elements, names in `_bytes` are bytes, `seconds` is wall time. Bytes, seconds and tensors are those of all parts of a
    split set together, `requests` those of one file behind a server.
    """

    total_bytes: int = 64 << 20
    seconds: float = 30.0
    requests: int = 12
    keys: int = 65_536
    key_bytes: int = 256
    string_bytes: int = 8 << 20
    array_items: int = 4_000_000
    kept_bytes: int = 1 << 20
    tensors: int = 1_000_000
    tensor_name_bytes: int = 63
    dimension: int = 1 << 32
    alignment: int = 65_536
    layers: int = 4_096
    splits: int = 1_024


class BytesSource:
    """A header held in memory; `size` is that of the whole file when the bytes are only its start."""

    counted = False

    def __init__(self, data: bytes, size: int | None = None, label: str = "bytes") -> None:
        self.data, self.size, self.label = data, len(data) if size is None else size, printable(label)

    def read_at(self, offset: int, count: int, deadline: float) -> bytes:
        """Up to `count` bytes from `offset`."""
        return self.data[offset:offset + count]


class FileSource:
    """A local GGUF file. The file is opened for each read, so nothing is left open."""

    counted = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.label = printable(self.path, 4096)
        try:
            self.size = os.stat(self.path).st_size
            regular = os.path.isfile(self.path)
        except (OSError, ValueError) as error:
            raise GgufError("The GGUF file cannot be read", self.label, str(error), "Check the path and its permissions.") from error
        if not regular:
            raise GgufError("The GGUF path is not a regular file", self.label, "", "Name the .gguf file itself.")

    def read_at(self, offset: int, count: int, deadline: float) -> bytes:
        """Up to `count` bytes from `offset`."""
        try:
            with open(self.path, "rb", buffering=0) as stream:
                stream.seek(offset)
                return stream.read(count)
        except (OSError, OverflowError) as error:
            raise GgufError("The GGUF file cannot be read", self.label, str(error), "Check the path and its permissions.") from error


class HttpSource:
    """A GGUF file behind a server that answers byte ranges.

    `headers` may hold a token. `size` (bytes) is checked against the server's answer when given. `opener` must
    keep the headers from other hosts when it follows redirects; the default and others of `_http` do.
    """

    counted = True

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, size: int | None = None, opener: Any = None) -> None:
        self.url, self.headers, self.size = url, dict(headers or {}), size
        self.label = _checked_label(url)
        for name, text in self.headers.items():
            if not _HEADER.match(f"{name}: {text}"):  # the text may be a secret: it is not told
                raise GgufError("A request header holds characters that no header may have", self.label, printable(name), "Check the token.")
        self.opener = opener or build_opener()

    def read_at(self, offset: int, count: int, deadline: float) -> bytes:
        """Up to `count` bytes from `offset` by one range request; at most until `deadline` (monotonic seconds).

        A socket's timeout begins again with each byte, and a name server knows none: the request runs in a thread that is left
        behind when the time is over.
        """
        outcome: list[Any] = []
        worker = threading.Thread(target=lambda: outcome.append(self._outcome(offset, count, deadline)), daemon=True)
        worker.start()
        worker.join(min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX))
        if not outcome:
            raise self._too_slow(offset)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def _outcome(self, offset: int, count: int, deadline: float) -> bytes | Exception:
        """What was read, or why it was not."""
        try:
            return self._read(offset, count, deadline)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # at or behind the end of the file
                return b""
            return GgufError("The server refused the GGUF file", self.label, f"HTTP {error.code}", _advice(error))
        except FAILURES as error:
            return GgufError("The server of the GGUF file cannot be reached", self.label, printable(reason(error)),
                             "Check the network, the proxy and the CA.")
        except Exception as error:  # pylint: disable=broad-except  # raised again by the thread that waits
            return error

    def _read(self, offset: int, count: int, deadline: float) -> bytes:
        request = urllib.request.Request(self.url, headers=self.headers)
        request.add_header("Accept-Encoding", "identity")
        request.add_header("Range", f"bytes={offset}-{offset + count - 1}")
        with self.opener.open(request, timeout=max(1.0, deadline - time.monotonic())) as answer:
            self._check(answer, offset)
            return self._drain(answer, offset, count, deadline)

    def _check(self, answer: Any, offset: int) -> None:
        """The answer must be the range that was asked for, of a file of one known size."""
        encoding = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
        if encoding != "identity":
            raise GgufError("The server compresses the GGUF file", self.label, printable(encoding), "Switch compression off there, or use another mirror.")
        if answer.status == 200 and offset == 0:
            length = (answer.headers.get("Content-Length") or "").strip()
            size = int(length) if _LENGTH.match(length) else None
        elif answer.status == 206:
            size = self._size_of_range(answer.headers.get("Content-Range"), offset)
        else:
            raise GgufError("The server does not answer byte ranges", self.label, f"HTTP {answer.status} for byte {offset}",
                            "Download the file and read it locally, or use another mirror.")
        if size is not None:
            if self.size not in (None, size):
                raise GgufError("The size of the GGUF file differs from what was announced", self.label,
                                f"{size} bytes, expected {self.size}", "Resolve the model again.")
            self.size = size

    def _size_of_range(self, text: str | None, offset: int) -> int | None:
        """The size of the file by `Content-Range: bytes FIRST-LAST/SIZE`; None for the size `*`."""
        found = _RANGE.match((text or "").strip())
        if not found:
            raise GgufError("The server does not say which bytes it sent", self.label, f"Content-Range {printable(text or 'missing')}", "Use another mirror.")
        first, last, size = int(found.group(1)), int(found.group(2)), None if found.group(3) == "*" else int(found.group(3))
        if first != offset:
            raise GgufError("The server answered another byte range", self.label, f"start {first}, wanted {offset}", "Use another mirror.")
        if last < first or (size is not None and last >= size):
            raise GgufError("The server answered an impossible byte range", self.label, f"Content-Range {printable(text or '')}", "Use another mirror.")
        return size

    def _drain(self, answer: Any, offset: int, count: int, deadline: float) -> bytes:
        parts, left = [], count
        while left > 0:
            if time.monotonic() > deadline:
                raise self._too_slow(offset)
            part = answer.read1(min(left, 1 << 18))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _too_slow(self, offset: int) -> GgufError:
        return GgufError("The header took too long to read", f"{self.label}, byte {offset}", "", "Try again, or download the file first.")


def _advice(error: urllib.error.HTTPError) -> str:
    """What to do about a refusal."""
    if error.code not in PASSING:
        return "Check the URL and the token."
    wait = asked_wait(error.headers, time.time())
    return f"Try again in {wait:.0f} seconds." if wait else "Try again later, or use another mirror."


def _checked_label(url: Any) -> str:
    """The URL as messages may show it: without its user part, which may hold a password, and its query, which may hold a signature."""
    label = printable(re.sub(r"//[^/?#]*@", "//", re.split(r"[?#]", str(url))[0]))
    try:
        parts = urlsplit(url)
        sound = isinstance(url, str) and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError):
        sound = False
    if not sound:
        raise GgufError("The URL of a GGUF file must be http or https", label, "", "Correct the URL.")
    if parts.username is not None or parts.password is not None:
        raise GgufError("The URL of a GGUF file holds credentials", label, "a user before the host", "Give them as a token or a header.")
    if not re.fullmatch("[!-~]+", url):
        raise GgufError("The URL of a GGUF file holds characters that no URL may have", label, "", "Write spaces and other letters as %20 and so on.")
    return label


class Cursor:
    """Walks a source forwards. `field` is the name of what is being read, for errors."""

    def __init__(self, source: Any, limits: Limits) -> None:
        self.source, self.limits = source, limits
        self.field = "magic"
        self.bytes_read = 0
        self.requests = 0
        self._deadline = time.monotonic() + limits.seconds
        self._buffer = b""
        self._base = 0  # file offset of the buffer's first byte
        self._at = 0  # position in the buffer

    @property
    def offset(self) -> int:
        """Bytes from the start of the file to the next byte to parse."""
        return self._base + self._at

    @property
    def remaining(self) -> int | None:
        """Bytes from here to the end of the file; None while its size is unknown."""
        return None if self.source.size is None else self.source.size - self.offset

    def error(self, what: str, got: str = "", do: str = "Download the file again, or choose another one.", offset: int | None = None) -> GgufError:
        """A sentence that names file, byte and field."""
        at = self.offset if offset is None else offset
        return GgufError(what, f"{self.source.label}, byte {at}, {self.field}", got, do)

    def holds(self, count: int) -> bool:
        """Whether the next `count` bytes are at hand without another read."""
        return len(self._buffer) - self._at >= count

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self._need(count)
        start, self._at = self._at, self._at + count
        return self._buffer[start:self._at]

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """The next members of a little-endian struct."""
        self._need(form.size)
        values = form.unpack_from(self._buffer, self._at)
        self._at += form.size
        return values

    def number(self, form: struct.Struct) -> Any:
        """The next value of a little-endian struct with one member."""
        return self.unpack(form)[0]

    def pour(self, count: int, sink: Callable[[bytes], Any]) -> None:
        """Hand the next `count` bytes to `sink`, piece by piece, without holding them all."""
        while count:
            self._need(1)
            piece = self._buffer[self._at:self._at + count]
            sink(piece)
            self._at += len(piece)
            count -= len(piece)

    def skip(self, count: int) -> None:
        """Go on `count` bytes, known to be inside the file, without looking at them; bytes not yet read are never read."""
        self.check_time()
        if self.holds(count):
            self._at += count
        else:
            self._base, self._buffer, self._at = self.offset + count, b"", 0

    def check_time(self) -> None:
        """Raise when the wall time of the limits is over."""
        if time.monotonic() > self._deadline:
            raise self.error("The header took too long to read", f"more than {self.limits.seconds:g} s", "Try again, or download the file first.")

    def skip_strings(self, count: int, patient: bool = True) -> bool:
        """Go over `count` strings. When not `patient`, False as soon as that needs another read."""
        done = 0
        while done < count:
            done += self._skip_held_strings(count - done)
            if done < count:
                if not patient:
                    return False
                self.skip(self.length(self.limits.string_bytes, "string"))
                done += 1
        return True

    def _skip_held_strings(self, count: int) -> int:
        """Go over as many whole strings as the buffer holds; a tight loop, since vocabularies have 800,000."""
        buffer, at, unpack, longest = self._buffer, self._at, U64.unpack_from, self.limits.string_bytes
        last, done = len(buffer) - 8, 0
        while done < count and at <= last:
            length = unpack(buffer, at)[0]
            if length > longest or at + 8 + length > len(buffer):
                break  # too long, or not all here: `length` and `skip` say which
            at += 8 + length
            done += 1
        self._at = at
        return done

    def length(self, most: int, what: str) -> int:
        """The next u64, which is the byte length of a `what` and must be inside the limit and the file."""
        start = self.offset
        value = self.number(U64)
        if value > most:
            raise self.error(f"The length of a {what} is over the limit of {most} bytes", str(value), offset=start)
        if self.remaining is not None and value > self.remaining:
            raise self.error(f"A {what} is longer than the file", f"{value} bytes, {self.remaining} left", offset=start)
        return value

    def _need(self, count: int) -> None:
        while len(self._buffer) - self._at < count:
            self.check_time()
            self._grow(count)

    def _grow(self, count: int) -> None:
        """One more read behind the buffer; what was parsed already is dropped."""
        end = self._base + len(self._buffer)
        chunk = FIRST_CHUNK if self.requests == 0 else GROWN_CHUNKS[min(self.requests, len(GROWN_CHUNKS)) - 1]
        chunk = min(max(chunk, count), self.limits.total_bytes - self.bytes_read)
        if chunk <= 0:
            raise self.error("The header is larger than the limit", f"more than {self.limits.total_bytes} bytes")
        if self.source.counted and self.requests >= self.limits.requests:
            raise self.error("The header needs too many requests", f"more than {self.limits.requests}")
        rest, self._base, self._buffer, self._at = self._buffer[self._at:], self.offset, b"", 0  # the old bytes go before the new ones come
        part = self.source.read_at(end, chunk, self._deadline)
        self.requests += 1
        self._buffer = rest + part if rest else part
        self.bytes_read += len(part)
        if not part:
            raise self._ended(end)

    def _ended(self, end: int) -> GgufError:
        if self.source.size is not None and end < self.source.size:
            return self.error("The source of the GGUF file gave no more bytes", f"none at byte {end} of {self.source.size}",
                              "Try again, or use another mirror.")
        return self.error("The GGUF file ends inside its header", f"{end} bytes")
