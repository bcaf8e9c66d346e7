# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What every HTTP client shares: trust, careful redirects, reasons in words."""
from __future__ import annotations

import http.client
import ssl
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ._errors import FleetError

USER_AGENT = "localai.fleet"
# What `open` and `read` of an urllib answer raise when the connection or the answer is bad. HTTPError is among them.
FAILURES = (OSError, ValueError, http.client.HTTPException)
HARMLESS = frozenset(("Accept", "Accept-encoding", "Range", "User-agent"))
"""Headers that another origin may see, as urllib spells them."""


class CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, never from https to anything else, and takes no credentials to another origin."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme != "https" and new.scheme != old.scheme:
            raise FleetError("The server redirects to an address without TLS", bare_url(req.full_url), bare_url(newurl),
                             "Check the address and what stands between.")
        if fp is not None:  # urllib would read the whole body of the redirect, however long
            fp.close()
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and old[:2] != new[:2]:
            for name in set(request.headers) - HARMLESS:  # a cookie or a header of a name of its own is a credential too
                request.remove_header(name)
        return request


def trust(ca_path: str | None = None) -> ssl.SSLContext:
    """The system's certificate authorities, and those of the file `ca_path` (PEM) besides."""
    context = ssl.create_default_context()
    if ca_path:
        try:
            context.load_verify_locations(cafile=ca_path)
        except OSError as error:
            raise FleetError("The CA file cannot be read", ca_path, error.strerror or str(error),
                             "Give the path of a file with PEM certificates.") from error
    return context


def build_opener(ca_path: str | None = None) -> urllib.request.OpenerDirector:
    """An opener that trusts `ca_path` too and redirects carefully. Proxies come from the environment."""
    opener = urllib.request.build_opener(CarefulRedirects(), urllib.request.HTTPSHandler(context=trust(ca_path)))
    opener.addheaders = [("User-Agent", USER_AGENT)]
    return opener


def bare_url(url: str) -> str:
    """A URL fit for a message: without user, password, query and fragment, which may hold secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def tls_reason(error: BaseException) -> str | None:
    """What is wrong with the server's TLS, or None when the error is of another kind."""
    seen: BaseException | None = error
    while seen is not None:
        inner = seen.reason if isinstance(getattr(seen, "reason", None), BaseException) else None
        if isinstance(seen, ssl.SSLError):
            words = getattr(seen, "verify_message", "") or getattr(seen, "reason", "") or str(seen)
            return words.lower().replace("_", " ")
        seen = inner or seen.__cause__ or seen.__context__
    return None


def reason(error: BaseException) -> str:
    """The cause of a failed connection in a few words."""
    inner = getattr(error, "reason", None)
    text = str(inner) if inner else str(error)
    return text.removeprefix("got ") or type(error).__name__  # a sentence says "got" already
