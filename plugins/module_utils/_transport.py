# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Where the bytes of a download come from: HTTP or a file of the host, from an offset on. Standard library only."""
from __future__ import annotations

import http.client
import ipaddress
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Mapping, NoReturn, Protocol, Sequence
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from ._errors import FleetError
from ._http import bare_url, trust
from ._patience import PASSING, asked_wait

MAX_REDIRECTS = 8
WAIT_LIMIT = 600.0
HUB_HOSTS = ("huggingface.co", "hf.co")
"""Where the Hub's links lead: these names and all below them (cas-server.xethub.hf.co, cdn-lfs-us-1.hf.co, us.aws.cdn.hf.co ...)."""
OURS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "localai.fleet"}


class Again(Exception):
    """A failure that another attempt may not have.

    `wait`: seconds the server asked for, or None. `restart_after`: so many of these while resuming mean that
    the range itself is refused, and the next attempt starts from the first byte; None: never.
    """

    def __init__(self, reason: str, wait: float | None = None, restart_after: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.restart_after = reason, wait, restart_after


class Later(Exception):
    """Nothing to read yet, but `name` is about to have it: ask again in a moment. No failure."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Readable(Protocol):
    """What an answer's body must offer; buffered files and HTTP responses do."""

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes, as soon as there are any."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of it."""
        raise NotImplementedError


class Answer:
    """An open answer to a request from byte `asked` on; a context manager.

    `peer`: the other host that gives it, "" for the origin. `growing`: that one is fetching it itself, so its end is no failure.
    """

    def __init__(
        self, stream: Readable, status: int, headers: Mapping[str, str], url: str, asked: int, peer: str = "", growing: bool = False,
    ) -> None:
        self.peer, self.growing = peer, growing
        self._stream, self._headers, self._asked = stream, headers, asked
        self.partial = status == 206
        self.shown, self.host = bare_url(url), urlsplit(url).netloc

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()

    @property
    def etag(self) -> str:
        """The entity tag, if it is a strong one: only those may guard a resume."""
        etag = self._headers.get("ETag") or ""
        return etag if etag.startswith('"') else ""

    @property
    def total(self) -> int | None:
        """Bytes of the whole file by this answer; None when it does not tell."""
        if not self.partial:
            return self._length()
        span = self._span()
        return span[1] if span else None

    def start(self, remaining: int) -> int:
        """The first byte of this answer; -1 when it cannot be known. Without `Content-Range` the length must be `remaining`."""
        if not self.partial:
            return 0
        span = self._span()
        if span:
            return span[0]
        return self._asked if self._length() == remaining else -1

    def read(self, size: int) -> bytes:
        """What has arrived, up to `size` bytes; empty at the end. Raises `Again` when the connection fails."""
        try:
            return self._stream.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise Again(f"the connection to {self.source} failed: {why(error)}") from error

    @property
    def source(self) -> str:
        """Who gives it, for people."""
        return self.peer or self.host or "the file"

    def _length(self) -> int | None:
        length = self._headers.get("Content-Length") or ""
        return int(length) if length.isdigit() else None

    def _span(self) -> tuple[int, int | None] | None:
        """First byte and total of `Content-Range`."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", (self._headers.get("Content-Range") or "").strip())
        if not found:
            return None
        return int(found.group(1)), None if found.group(2) == "*" else int(found.group(2))


class Source(Protocol):
    """Something that a blob can be read from; `shown` is its address without anything secret."""

    shown: str

    def open(self, offset: int, etag: str = "", etag_host: str = "") -> Answer:
        """An answer from byte `offset` on. Raises `Again`, `Later` or FleetError."""
        raise NotImplementedError

    def distrust(self) -> bool:
        """What came was wrong: whether anybody but the origin gave some of it. Those are not asked again."""
        raise NotImplementedError


class FileSource:
    """A file of the host itself (`file:///...`), for a mounted share or a copied bundle."""

    def __init__(self, path: str) -> None:
        self._path, self.shown = path, f"file://{path}"

    def open(self, offset: int, etag: str = "", etag_host: str = "") -> Answer:
        """The file from `offset` on; FleetError when it cannot be read."""
        try:
            stream = open(self._path, "rb")
        except OSError as error:
            raise FleetError("The file cannot be read on this host", self._path, error.strerror or str(error),
                             "Put it there, or mount the share that holds it.") from error
        size = os.fstat(stream.fileno()).st_size
        stream.seek(offset)
        headers = {"Content-Length": str(size), "Content-Range": f"bytes {offset}-{max(size - 1, 0)}/{size}"}
        return Answer(stream, 206 if offset else 200, headers, self.shown, offset)

    def distrust(self) -> bool:
        """There is nobody else."""
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to us: what may be sent along is decided at each hop."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Do not follow."""
        return None


class HttpSource:
    """A file behind an `http(s)` URL, through redirects, resumable.

    The caller's headers go to the URL's own origin only. A redirect may not leave https, nor lead to a link-local
    address or to a host that nobody named; it is followed anew at each attempt, since signed links expire.
    """

    def __init__(self, url: str, headers: Mapping[str, str], ca_path: str, timeout: float, redirect_hosts: Sequence[str] = ()) -> None:
        self._url, self._headers, self._timeout, self._hosts = url, dict(headers), timeout, tuple(redirect_hosts)
        self.shown = bare_url(url)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust(ca_path)), _NoRedirect)

    def open(self, offset: int, etag: str = "", etag_host: str = "") -> Answer:
        """An answer from `offset` on; `etag` guards the resume at `etag_host`, the host that gave it."""
        url = self._url
        for hop in range(MAX_REDIRECTS + 1):
            request = urllib.request.Request(url, headers=self._headers_for(url, offset, etag, etag_host))
            try:
                reply = self._opener.open(request, timeout=self._timeout)
            except urllib.error.HTTPError as error:
                with error:
                    url = self._next(url, error, hop, offset)
                continue
            except (OSError, http.client.HTTPException) as error:
                self._unreachable(url, error)
            return self._checked(Answer(reply, reply.status, reply.headers, url, offset), reply.headers)
        raise FleetError("The source redirects in a circle", self.shown, f"more than {MAX_REDIRECTS} redirects", "Check its address.")

    def distrust(self) -> bool:
        """There is nobody else."""
        return False

    def _headers_for(self, url: str, offset: int, etag: str, etag_host: str) -> dict[str, str]:
        headers = dict(OURS)
        if origin(url) == origin(self._url):
            headers.update(self._headers)
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if etag and etag_host == urlsplit(url).netloc:
                headers["If-Range"] = etag
        return headers

    def _next(self, url: str, error: urllib.error.HTTPError, hop: int, offset: int) -> str:
        """Where an answer that is no file leads; raises when it leads nowhere."""
        if error.code in (301, 302, 303, 307, 308) and error.headers.get("Location"):
            target = redirected(url, error.headers["Location"])
            if not is_expected(target, self._url, self._hosts):
                raise FleetError("The source redirects to a host that nobody named", self.shown, urlsplit(target).hostname or "",
                                 "If it belongs to the source, add it to models_redirect_hosts.")
            return target
        self._refused(url, error, hop, offset)

    def _refused(self, url: str, error: urllib.error.HTTPError, hop: int, offset: int) -> NoReturn:
        host, message = urlsplit(url).netloc, (error.headers.get("X-Error-Message") or "")[:200]
        got = f"{error.code} {message or error.reason}".strip()
        if error.code in PASSING:
            raise Again(f"{host} answered {got}", wait=wait_asked(error.headers))
        if error.code == 416 and offset:
            raise Again(f"{host} answered {got}", wait=0.0, restart_after=0)
        if error.code in (401, 403) and hop:
            raise Again(f"{host} answered {got} to a link that may have expired", restart_after=2)
        todo = "Check the address: at a mirror that it has SHA256.gguf, at the Hub that repository, commit and file exist."
        if error.code in (401, 403):
            todo = "Give a token that may read it, at a mirror as models_mirror_token, at the Hub as models_hub_token, and accept the repository's terms there."
        raise FleetError("The source refuses the file", bare_url(url), got, todo)

    def _unreachable(self, url: str, error: Exception) -> NoReturn:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise FleetError("The certificate of the source is not trusted", bare_url(url), cause.verify_message,
                             "Give its authority's certificate: of a mirror as models_mirror_ca, of the Hub as models_hub_ca, in a task as ca_path.") from error
        raise Again(f"{urlsplit(url).netloc} cannot be reached: {why(cause)}") from error

    def _checked(self, answer: Answer, headers: Mapping[str, str]) -> Answer:
        encoding = (headers.get("Content-Encoding") or "identity").lower()
        if encoding != "identity":
            answer.__exit__()
            raise FleetError("The source compresses the file, so it cannot be resumed or checked", answer.shown, encoding,
                             "Switch compression off there.")
        return answer


def open_source(url: str, headers: Mapping[str, str], ca_path: str = "", timeout: float = 30.0, redirect_hosts: Sequence[str] = ()) -> Source:
    """The source for a URL (`https`, `http`, `file`). FleetError for any other, or one with credentials in it.

    `redirect_hosts`: where it may redirect to besides its own host and those of the Hub; `.example.com` means all below it.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return FileSource(unquote(parts.path))
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise FleetError("The URL cannot be fetched", bare_url(url), f"scheme {parts.scheme or 'none'}",
                         "Use https://HOST/PATH, or file:///PATH for a file of the host.")
    if parts.username or parts.password:
        raise FleetError("The URL holds credentials", bare_url(url), "user information before the host", "Give them as a token or headers.")
    return HttpSource(url, headers, ca_path, timeout, redirect_hosts)


def redirected(url: str, location: str) -> str:
    """The URL that a redirect leads to. FleetError when it leaves https, or leads where no source can be."""
    target = urljoin(url, location)
    parts = urlsplit(target)
    schemes = ("https",) if urlsplit(url).scheme == "https" else ("https", "http")
    if parts.scheme not in schemes or not parts.hostname:
        raise FleetError("The source redirects out of a protected connection", bare_url(url), bare_url(target), "Check the address of the source.")
    if _is_link_local(parts):
        raise FleetError("The source redirects to an address of this host's own link", bare_url(url), bare_url(target),
                         "Check the address of the source.")
    return target


def is_expected(target: str, url: str, more: Sequence[str] = ()) -> bool:
    """Whether a redirect from `url` may lead to the host of `target`: its own, one of the Hub, or one of `more` (`.example.com`: below it)."""
    host = (urlsplit(target).hostname or "").lower()
    named = [name.lower().lstrip("*") for name in more]
    if host == urlsplit(url).hostname or host in named:
        return True
    below = [f".{name}" for name in HUB_HOSTS] + [name for name in named if name.startswith(".")]
    return host in HUB_HOSTS or any(host.endswith(name) for name in below)


def _is_link_local(parts: SplitResult) -> bool:
    try:
        return ipaddress.ip_address(parts.hostname or "").is_link_local
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what a header may be meant for."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def wait_asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (see `asked_wait`), at most ten minutes; None when it names no time."""
    asked = asked_wait(headers, time.time())
    return None if asked is None else min(asked, WAIT_LIMIT)


def why(error: object) -> str:
    """The cause of a failed connection in a few words."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
