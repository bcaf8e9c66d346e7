"""The HTTP layer: prefix and slash stripping, body limit, key check, routing, headers, errors."""
from __future__ import annotations

import gzip
import re
import socket
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterable, Mapping, Optional
from urllib.parse import parse_qsl, urlsplit

from . import log
from .engine import Caller, ClientGone
from .errors import RequestError, echo_error, not_found
from .keys import Keys
from .messages import Request, Response, answer
from .metrics import Metrics
from .settings import Settings

Handler = Callable[[Request], Response]
Routes = Mapping[str, Mapping[str, Handler]]  # pattern → method → handler

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
_PUBLIC = re.compile(
    r"/(|healthz|readyz|swagger.*|\.well-known/localai\.json|api/instructions.*|app.*|browse.*|login|invite/.*|explorer|favicon\.svg"
    r"|assets/.*|locales/.*|static/.*|api/branding|branding/asset/.*|api/auth/status|api/auth/(github|oidc)/(login|callback))"
)
_PUBLIC_POST = re.compile(r"/api/auth/(token-login|register|login)")
_QUIET = {"/healthz", "/readyz", "/api/operations", "/api/resources"}
_DRAIN = 262_144  # bytes of an unread body that are swallowed so that the connection can be used again
_IDLE = 120  # seconds after which an idle connection is closed


def is_public(method: str, path: str) -> bool:
    """Whether `path` needs no key. A HEAD is not a GET here, except for /."""
    if path.startswith("/api/node/"):
        return True
    if method == "GET":
        return bool(_PUBLIC.fullmatch(path))
    if method == "POST":
        return bool(_PUBLIC_POST.fullmatch(path))
    return (method == "HEAD" and path == "/") or (method == "OPTIONS" and path.startswith("/api/auth/"))


class Router:
    """Finds the route of a path. `:name` takes one segment, a last `*` takes the rest."""

    def __init__(self, routes: Routes) -> None:
        self._fixed = {pattern: methods for pattern, methods in routes.items() if ":" not in pattern and "*" not in pattern}
        self._patterns = [(_compile(pattern), pattern, methods) for pattern, methods in routes.items() if pattern not in self._fixed]

    def find(self, path: str) -> Optional[tuple[str, Mapping[str, Handler], dict[str, str]]]:
        """(pattern, handlers by method, parameters) of `path`, or None."""
        if path in self._fixed:
            return path, self._fixed[path], {}
        for expression, pattern, methods in self._patterns:
            match = expression.fullmatch(path)
            if match:
                return pattern, methods, match.groupdict()
        return None


def _compile(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*", ".*")
    return re.compile(re.sub(r":([A-Za-z]+)", r"(?P<\1>[^/]+)", escaped))


def strip(path: str, prefix: str) -> str:
    """The path that is routed: without the forwarded prefix, without a trailing slash."""
    prefix = prefix.rstrip("/")
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix):] or "/"
    return path.rstrip("/") or "/"


class Server(ThreadingHTTPServer):
    """The listening server; a request runs in a thread of its own."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, settings: Settings, keys: Keys, metrics: Metrics, routes: Routes) -> None:
        self.settings, self.keys, self.metrics, self.router = settings, keys, metrics, Router(routes)
        super().__init__(settings.address, Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nothing to report."""
        log.debug("connection ended", client=client_address[0])


class _Refused(Exception):
    """The request is answered by the HTTP layer itself."""

    def __init__(self, response: Response, pattern: str = "") -> None:
        super().__init__()
        self.response, self.pattern = response, pattern


class Connection(BaseHTTPRequestHandler):
    """One client connection, kept alive."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    disable_nagle_algorithm = True
    server: Server

    def handle_expect_100(self) -> bool:
        """Ask for the body only when it is wanted (see `_read_body`)."""
        return True

    def log_message(self, format: str, *args: Any) -> None:
        """No log line of the base class."""

    def do_GET(self) -> None:
        """Serve one request of any method."""
        self._started = time.monotonic()
        self._unread = int(self.headers.get("Content-Length") or 0) if not self._chunked else -1
        self._path = strip(urlsplit(self.path).path or "/", self.headers.get("X-Forwarded-Prefix") or "")
        pattern = ""
        try:
            self._check_size()
            self._check_key()
            pattern, response = self._serve()
        except _Refused as refused:
            pattern, response = refused.pattern, refused.response
        self._send(response)
        self._note(pattern, response.status)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_GET

    @property
    def _chunked(self) -> bool:
        return "chunked" in (self.headers.get("Transfer-Encoding") or "").lower()

    def _check_size(self) -> None:
        if self._unread > self.server.settings.body_limit:
            raise _Refused(self._error(echo_error(413, "Request Entity Too Large")))

    def _check_key(self) -> None:
        keys = self.server.keys
        if keys.required and not is_public(self.command, self._path) and not keys.accepts(self.headers):
            problem = RequestError(401, "An authentication key is required", "invalid_request_error", {"Www-Authenticate": "Bearer"})
            raise _Refused(self._error(problem))

    def _serve(self) -> tuple[str, Response]:
        found = self.server.router.find(self._path)
        if found is None:
            raise _Refused(self._error(not_found()))
        pattern, methods, parameters = found
        if self.command not in methods:
            allow = {"Allow": ", ".join(["OPTIONS", *methods])}
            raise _Refused(self._error(echo_error(405, "Method Not Allowed", allow)), pattern)
        query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        request = Request(self.command, self._path, query, self.headers, self._read_body(), Caller(self.connection), pattern, parameters)
        try:
            return pattern, methods[self.command](request)
        except RequestError as problem:
            return pattern, self._error(problem)
        except ClientGone:
            self.close_connection = True
            return pattern, Response(499)
        except Exception as problem:  # an error of this program: say so, as any server would
            log.error("handler failed", path=self._path, error=repr(problem))
            return pattern, self._error(RequestError(500, f"stand-in error: {problem!r}"))

    def _error(self, problem: RequestError) -> Response:
        hidden = self.server.settings["OPAQUE_ERRORS"] and not (problem.status == 404 and problem.kind)
        return Response(problem.status, b"", "", problem.headers) if hidden else answer(problem.body(), problem.status, problem.headers)

    def _read_body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue" and self._unread:
            self.send_response_only(100)
            self.end_headers()
        if not self._chunked:
            body, self._unread = self.rfile.read(self._unread), 0
            return body
        parts, size = [], 0
        while True:
            length = int(self.rfile.readline(64).split(b";")[0] or b"0", 16)
            parts.append(self.rfile.read(length))
            self.rfile.readline(8)
            size += length
            if size > self.server.settings.body_limit:
                raise _Refused(self._error(echo_error(413, "Request Entity Too Large")))
            if not length:
                self._unread = 0
                return b"".join(parts)

    def _send(self, response: Response) -> None:
        if response.status == 499:
            return
        self._settle_body()
        body, headers = self._packed(response)
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        for name, value in [*_HEADERS.items(), *self._extra(response), *headers.items(), *response.headers.items()]:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if response.events is not None:
            self._send_events(response.events)
        elif self.command != "HEAD":
            self.wfile.write(body)
        self._linger()

    def _extra(self, response: Response) -> list[tuple[str, str]]:
        found = [] if response.events is not None else [("Vary", "Accept-Encoding")]
        if response.status != 401:
            found.append(("Vary", "Origin"))
        if self.server.settings["MACHINE_TAG"]:
            found.append(("Machine-Tag", self.server.settings["MACHINE_TAG"]))
        if self.command == "POST" and response.status != 401:
            found.append(("X-Correlation-Id", self.headers.get("X-Correlation-Id") or str(uuid.uuid4())))
        return found

    def _packed(self, response: Response) -> tuple[bytes, dict[str, str]]:
        """The body as sent, and the headers that describe it."""
        if response.events is not None:
            return b"", {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Connection": "keep-alive", "Transfer-Encoding": "chunked"}
        headers = {"Content-Type": response.content_type} if response.content_type else {}
        body = response.body
        settings = self.server.settings
        wanted = "gzip" in (self.headers.get("Accept-Encoding") or "") and not settings["DISABLE_HTTP_COMPRESSION"]
        if wanted and len(body) >= settings["HTTP_COMPRESSION_MIN_LENGTH"]:
            body = gzip.compress(body, 5)
            headers["Content-Encoding"] = "gzip"
        return body, {**headers, "Content-Length": str(len(body))}

    def _send_events(self, events: Iterable[bytes]) -> None:
        try:
            for event in events:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.write(b"0\r\n\r\n")
        except (ClientGone, OSError):
            self.close_connection = True
        finally:
            close = getattr(events, "close", None)
            if close:
                close()

    def _settle_body(self) -> None:
        """Swallow a small unread body; with a large one the connection ends after the answer."""
        if 0 < self._unread <= _DRAIN and not self.headers.get("Expect"):
            self.rfile.read(self._unread)
            self._unread = 0
        if self._unread:
            self.close_connection = True

    def _linger(self) -> None:
        """Let a client that still sends its body read the answer: half-close, then swallow for a moment."""
        if not self._unread:
            return
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(0.5)
        end = time.monotonic() + 2.0
        try:
            while time.monotonic() < end and self.connection.recv(1 << 16):
                pass
        except OSError:
            pass

    def _note(self, pattern: str, status: int) -> None:
        self.server.metrics.call(self.command, pattern, time.monotonic() - self._started)
        quiet = self._path in _QUIET and status == 200
        log.write("debug" if quiet else "info", "HTTP request", method=self.command, path=self._path, status=status)
