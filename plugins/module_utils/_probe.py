# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Questions that a client asks an OpenAI-compatible address, and what the answers prove.

A wrong answer, an unreachable host, a bad certificate is a failed check with a cure, never an exception.
The key is in no check: every text is cleaned of it.
"""
from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Sequence
from urllib.parse import urlsplit

from ._errors import FleetError

CONNECT_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 15.0
RETRIES = 2
MAX_BODY_BYTES = 16 * 1024 * 1024
KINDS = ("chat", "completion", "embedding", "rerank")
WRONG_KEY = "sk-0000000000000000"
ADMIN_ROUTES = ("/models/apply", "/backends/apply", "/system", "/metrics", "/backend/shutdown",
                "/swagger/index.html", "/api/settings")
# LocalAI strips the prefix that this header names before it routes: a filter by path alone is passed
PREFIX_TRICKS = (("/v1/models/apply", "/v1"), ("/v1/backend/shutdown", "/v1"), ("/v1/system", "/v1"),
                 ("/readyz/v1/models", "/readyz"))
CHANGING = ("/models/apply", "/backends/apply", "/backend/shutdown")


@dataclass(frozen=True)
class Target:
    """Where to ask. `base_url` without `/v1`; `resolve_to` an address (with port if another) to dial instead of the name.

    The certificate is always checked for the name in `base_url`, by `ca_file` or the system's authorities.
    """

    base_url: str
    key: str = field(default="", repr=False)
    ca_file: str = ""
    resolve_to: str = ""
    timeout: float = 300.0


@dataclass(frozen=True)
class Wanted:
    """A served model: its name, its kind, its other names, and how often to ask it by its name."""

    name: str
    kind: str = "chat"
    aliases: tuple[str, ...] = ()
    times: int = 1


@dataclass(frozen=True)
class Options:
    """What is asked: an empty `ready_path` or `closed` leaves that check out."""

    prompt: str = "Say hello in one short sentence."
    max_tokens: int = 16
    stream: bool = True
    ready_path: str = "/readyz"
    closed: tuple[str, ...] = ADMIN_ROUTES


@dataclass(frozen=True)
class Check:
    """One check. `cure` is a sentence, empty when ok; `answered` is false when no HTTP answer came at all.

    The last three are of a stream, None elsewhere.
    """

    name: str
    target: str
    ok: bool
    got: str
    want: str
    seconds: float
    cure: str = ""
    answered: bool = True
    first_token_seconds: Optional[float] = None
    tokens_per_second: Optional[float] = None
    tokens: Optional[int] = None

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON-safe values."""
        return asdict(self)

    def without(self, secret: str) -> Check:
        """The check with a secret struck out of each text."""
        if not secret:
            return self
        texts = {name: value.replace(secret, "***") for name, value in asdict(self).items() if isinstance(value, str)}
        return replace(self, **texts)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body as JSON, or None."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Unanswered(Exception):
    """No HTTP answer came: what was seen, and the cure."""

    def __init__(self, got: str, cure: str) -> None:
        super().__init__(got)
        self.got, self.cure = got, cure


# --- connection


class _Connection(http.client.HTTPConnection):
    """Dials one address and names another: TLS and the Host header keep the name."""

    def __init__(self, name: str, port: int, dial: tuple[str, int], tls: Optional[ssl.SSLContext], timeout: float) -> None:
        super().__init__(name, port, timeout=timeout)
        self.dial, self.tls = dial, tls
        self.default_port = 443 if tls else 80  # the Host header names any other port

    def connect(self) -> None:
        wait = float(self.timeout or CONNECT_SECONDS)
        self.sock = socket.create_connection(self.dial, min(CONNECT_SECONDS, wait))
        if self.tls is not None:
            self.sock = self.tls.wrap_socket(self.sock, server_hostname=self.host)
        self.sock.settimeout(wait)


def _address(text: str, port: int) -> tuple[str, int]:
    """`10.0.0.1`, `10.0.0.1:8443`, `[::1]:8443` or `::1` → host and port."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, port
    parts = urlsplit(f"//{text}")
    return parts.hostname or text, parts.port or port


class Client:
    """Asks one target; a connection for each question, as separate clients would."""

    def __init__(self, target: Target, sleep: Callable[[float], None] = time.sleep) -> None:
        """:raises FleetError: a URL that names no http or https host, or an address that is none."""
        parts = urlsplit(target.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FleetError("The base URL is no http or https URL", "base_url", repr(target.base_url),
                             "Give one like https://ai.example.com.")
        self.target, self.sleep, self.name = target, sleep, parts.hostname
        prefix = parts.path.rstrip("/")
        self.prefix = prefix[:-3] if prefix.endswith("/v1") else prefix
        self.secure = parts.scheme == "https"
        try:
            self.port = parts.port or (443 if self.secure else 80)
            self.dial = _address(target.resolve_to, self.port) if target.resolve_to else (self.name, self.port)
        except ValueError as error:
            raise FleetError("A port is no number from 1 to 65535", "base_url or resolve_to", str(error),
                             "Correct the port.") from error

    def _tls(self) -> Optional[ssl.SSLContext]:
        if not self.secure:
            return None
        try:
            return ssl.create_default_context(cafile=self.target.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise Unanswered(f"the CA file {self.target.ca_file} cannot be used ({error})",
                             "Give ca_file the path of the authority's PEM certificate on the machine that probes.") from error

    def _headers(self, key: Optional[str], extra: Mapping[str, str], body: Any) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "localai.fleet", **extra}
        secret = self.target.key if key is None else key
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        return {**headers, "Content-Type": "application/json"} if body is not None else headers

    def open(self, method: str, path: str, body: Any = None, key: Optional[str] = None,
             extra: Optional[Mapping[str, str]] = None) -> tuple[_Connection, http.client.HTTPResponse]:
        """Send a request and wait for the answer's head. `key` None sends the target's key, "" none.

        :raises Unanswered: no connection, no trust or no HTTP.
        """
        link = _Connection(self.name, self.port, self.dial, self._tls(), self.target.timeout)
        data = None if body is None else json.dumps(body).encode()
        try:
            link.request(method, self.prefix + path, data, self._headers(key, extra or {}, body))
            return link, link.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            link.close()
            raise self.unanswered(error) from error

    def ask(self, method: str, path: str, body: Any = None, key: Optional[str] = None,
            extra: Optional[Mapping[str, str]] = None) -> Answer:
        """One whole answer. :raises Unanswered: as `open`."""
        start = time.monotonic()
        link, response = self.open(method, path, body, key, extra)
        try:
            content = response.read(MAX_BODY_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self.unanswered(error) from error
        finally:
            link.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, content, time.monotonic() - start)

    def ask_patiently(self, path: str, body: Any) -> Answer:
        """Post, and again when the server says that it is busy for a short time."""
        for _attempt in range(RETRIES):
            answer = self.ask("POST", path, body)
            wait = answer.headers.get("retry-after", "")
            if answer.status not in (429, 503) or not wait.isdigit() or int(wait) > LONGEST_RETRY_SECONDS:
                return answer
            self.sleep(float(wait))
        return self.ask("POST", path, body)

    def unanswered(self, error: Exception) -> Unanswered:
        """What a failed connection means, in words."""
        place = f"{self.dial[0]}:{self.dial[1]}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return Unanswered(f"the certificate of {place} is refused for {self.name}: {error.verify_message}",
                              "Give ca_file the authority that signed it, or install a certificate for this name.")
        if isinstance(error, ssl.SSLError):
            return Unanswered(f"no TLS with {place}: {getattr(error, 'reason', None) or error}",
                              "Check that the proxy serves https on this port, and its certificate and key.")
        if isinstance(error, socket.gaierror):
            return Unanswered(f"the name {self.dial[0]} has no address",
                              "Create its DNS record, or give resolve_to the gateway's address.")
        if isinstance(error, ConnectionRefusedError):
            return Unanswered(f"connection refused by {place}",
                              "Start the proxy on the gateway, and check its port and the firewall.")
        if isinstance(error, (socket.timeout, TimeoutError)):
            return Unanswered(f"no answer from {place} in time ({self.target.timeout:g} s)",
                              "Look at the load of the servers and at the firewall, then probe again with a longer timeout.")
        return Unanswered(f"no HTTP answer from {place}: {error or type(error).__name__}",
                          "Read the proxy's log on the gateway and LocalAI's log on its servers.")


# --- what an answer means


def cure_for(status: int) -> str:
    """The cure for an HTTP status that was not wanted."""
    cures = {
        401: "Give the key of a consumer of this gateway; site.yml writes it and tells where.",
        403: "Give this consumer the right to use the model, or probe with another key.",
        404: "Run site.yml again: the gateway does not serve this name, or its upstream list is old.",
        413: "Raise the gateway's limit for request bodies.",
        429: "Wait, or raise the consumer's limits.",
        502: "Start LocalAI on the servers of this model and read its log: the gateway cannot reach it.",
        503: "LocalAI is busy or its last load failed: read its log, then probe again.",
        504: "Raise the gateway's read timeout, or lower the load of the servers.",
    }
    if status in cures:
        return cures[status]
    return "Read LocalAI's log on the model's servers." if status >= 500 else "Compare the gateway's address with base_url."


def _said(answer: Answer) -> str:
    """The status and, when there is one, the error's message."""
    data = answer.json()
    error = data.get("error") if isinstance(data, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f"{answer.status}: {str(message)[:200]}" if message else str(answer.status)


def _dig(data: Any, *path: Any) -> Any:
    """The value at a path of keys and indexes, or None."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _question(kind: str, name: str, options: Options) -> tuple[str, dict[str, Any]]:
    """Route and body that a model of this kind must be able to answer."""
    if kind == "embedding":
        return "/v1/embeddings", {"model": name, "input": options.prompt}
    if kind == "rerank":
        return "/v1/rerank", {"model": name, "query": options.prompt, "documents": [options.prompt, "No."], "top_n": 2}
    limit = {"model": name, "max_tokens": options.max_tokens, "temperature": 0}
    if kind == "completion":
        return "/v1/completions", {**limit, "prompt": options.prompt}
    return "/v1/chat/completions", {**limit, "messages": [{"role": "user", "content": options.prompt}]}


def _result(kind: str, data: Any) -> str:
    """What a model answered in a few words; empty when it answered nothing of its kind."""
    if kind == "embedding":
        vector = _dig(data, "data", 0, "embedding")
        alive = isinstance(vector, list) and any(isinstance(x, (int, float)) and x != 0 for x in vector)
        return f"{len(vector)} dimensions" if alive else ""
    if kind == "rerank":
        results = _dig(data, "results")
        return f"{len(results)} results" if isinstance(results, list) and results else ""
    text = _text(_dig(data, "choices", 0), "message").strip()
    return json.dumps(text[:60], ensure_ascii=False) if text else ""


def _text(choice: Any, part: str) -> str:
    """The text of a choice: of a chat (`part` is message or delta), with its reasoning, or of a completion."""
    found = [_dig(choice, part, "reasoning_content"), _dig(choice, part, "content"), _dig(choice, "text")]
    return "".join(text for text in found if isinstance(text, str))


# --- checks


def _timed(name: str, place: str, want: str, body: Callable[[], Check]) -> Check:
    start = time.monotonic()
    try:
        check = body()
    except Unanswered as error:
        check = Check(name, place, False, error.got, want, 0.0, error.cure, answered=False)
    return replace(check, seconds=round(time.monotonic() - start, 3))


def _check(name: str, place: str, want: str, ask: Callable[[], tuple[bool, str, str]]) -> Check:
    """A check from a question that returns ok, what was got, and the cure."""

    def body() -> Check:
        ok, got, cure = ask()
        return Check(name, place, ok, got, want, 0.0, "" if ok else cure)

    return _timed(name, place, want, body)


def _ready(client: Client, path: str) -> Check:
    def ask() -> tuple[bool, str, str]:
        answer = client.ask("GET", path)
        return answer.status == 200, _said(answer), cure_for(answer.status)

    return _check("ready", path, "200", ask)


def _listed(client: Client, wanted: Sequence[Wanted]) -> Check:
    def ask() -> tuple[bool, str, str]:
        answer = client.ask("GET", "/v1/models")
        data = _dig(answer.json(), "data")
        if answer.status != 200 or not isinstance(data, list):
            return False, _said(answer), cure_for(answer.status if answer.status != 200 else 404)
        names = {_dig(entry, "id") for entry in data}
        missing = [name for model in wanted for name in (model.name, *model.aliases) if name not in names]
        got = f"not listed: {', '.join(missing)}" if missing else f"200, {len(names)} names"
        return not missing, got, cure_for(404)

    return _check("models", "/v1/models", "200 with every wanted name", ask)


def _answers(client: Client, name: str, kind: str, options: Options, place: str = "") -> Check:
    def ask() -> tuple[bool, str, str]:
        answer = client.ask_patiently(*_question(kind, name, options))
        result = _result(kind, answer.json()) if answer.status == 200 else ""
        cure = cure_for(answer.status) if answer.status != 200 else \
            "Ask the model by hand: an empty answer points to its chat template, its stop words or max_tokens."
        return bool(result), f"200, {result}" if result else f"{_said(answer)}, no {kind} answer", cure

    return _check(kind, place or name, f"200 with a {kind} answer", ask)


def _refused(client: Client, name: str, key: str) -> Check:
    def ask() -> tuple[bool, str, str]:
        answer = client.ask("GET", "/v1/models", key=key)
        return answer.status == 401, _said(answer), "Anyone can use this service: run the proxy role again, then rotate keys."

    return _check(name, "/v1/models", "401", ask)


def _closed(client: Client, route: str, prefix: str = "") -> Check:
    extra = {"X-Forwarded-Prefix": prefix} if prefix else {}
    changing = route in CHANGING or (prefix and route[len(prefix):] in CHANGING)
    cure = "An admin route is open to consumers: run the proxy role again and compare its list of routes."

    def ask() -> tuple[bool, str, str]:
        answer = client.ask("GET", route, extra=extra)
        if answer.status != 404:  # a route that exists would say 405 to GET: nothing is posted to it then
            return False, f"GET {answer.status}", cure
        if not changing:
            return True, "404", ""
        answer = client.ask("POST", route, body={}, extra=extra)
        return answer.status in (404, 405), f"POST {answer.status}", cure

    return _check("closed", f"{route} (X-Forwarded-Prefix: {prefix})" if prefix else route, "404", ask)


# --- streams


@dataclass
class _Stream:
    """What was seen of a stream of events; times in seconds since the request."""

    times: list[float] = field(default_factory=list)
    tokens: int = 0
    done: bool = False
    error: str = ""

    def take(self, data: str, now: float) -> None:
        """Count one event."""
        if data == "[DONE]":
            self.done = True
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            self.error = self.error or "an event that is no JSON"
            return
        if _dig(event, "error"):
            self.error = str(_dig(event, "error", "message") or "an error event")[:200]
        if _text(_dig(event, "choices", 0), "delta"):
            self.times.append(now)
        used = _dig(event, "usage", "completion_tokens")
        self.tokens = used if isinstance(used, int) and used > 0 else max(self.tokens, len(self.times))

    def speed(self) -> Optional[float]:
        """Tokens per second after the first token, or None for fewer than two chunks."""
        span = self.times[-1] - self.times[0] if len(self.times) > 1 else 0.0
        return round((self.tokens - 1) / span, 2) if span > 0 and self.tokens > 1 else None

    def problem(self) -> str:
        """Why the stream is not whole; empty when it is."""
        if self.error:
            return f"an error in the stream: {self.error}"
        if not self.times:
            return "no chunk with text"
        return "" if self.done else f"{len(self.times)} chunks, then the end without [DONE]"


def _events(response: http.client.HTTPResponse) -> Iterator[str]:
    """The data of each server-sent event, as it arrives."""
    while True:
        line = response.readline(MAX_BODY_BYTES)
        if not line:
            return
        if line.startswith(b"data:"):
            yield line[5:].strip().decode("utf-8", "replace")


def _listen(client: Client, response: http.client.HTTPResponse, start: float, seen: _Stream) -> None:
    """Let `seen` take each event until the stream is done, ends, or takes longer than the target's time-out."""
    try:
        for data in _events(response):
            now = time.monotonic() - start
            seen.take(data, now)
            if seen.done or now > client.target.timeout:
                break
    except (OSError, http.client.HTTPException) as error:
        raise client.unanswered(error) from error


def _stream(client: Client, model: Wanted, options: Options) -> Check:
    """A stream arrives in chunks and ends with [DONE]."""
    want = "text/event-stream in chunks, then [DONE]"

    def body() -> Check:
        path, question = _question(model.kind, model.name, options)
        asked = {**question, "stream": True, "stream_options": {"include_usage": True}}
        start, seen = time.monotonic(), _Stream()
        link, response = client.open("POST", path, asked, extra={"Accept": "text/event-stream"})
        try:
            if response.status != 200 or "event-stream" not in (response.getheader("Content-Type") or ""):
                got = f"{response.status} {response.getheader('Content-Type') or 'without a type'}"
                return Check("stream", model.name, False, got, want, 0.0, cure_for(response.status))
            _listen(client, response, start, seen)
        finally:
            link.close()
        return _streamed(model.name, want, seen)

    return _timed("stream", model.name, want, body)


def _streamed(name: str, want: str, seen: _Stream) -> Check:
    problem = seen.problem()
    cure = "Read LocalAI's log on the model's servers, and check that the gateway does not buffer or cut streams."
    return Check(
        "stream", name, not problem, problem or f"{len(seen.times)} chunks, {seen.tokens} tokens, [DONE]", want, 0.0,
        cure if problem else "",
        first_token_seconds=round(seen.times[0], 3) if seen.times else None,
        tokens_per_second=seen.speed(),
        tokens=seen.tokens,
    )


def _model_checks(client: Client, model: Wanted, options: Options) -> Iterator[Check]:
    for name in (model.name, *model.aliases):
        yield _answers(client, name, model.kind, options)
    for time_ in range(2, model.times + 1):
        yield _answers(client, model.name, model.kind, options, f"{model.name}, time {time_} of {model.times}")
    if options.stream and model.kind in ("chat", "completion"):
        yield _stream(client, model, options)


def _checks(client: Client, wanted: Sequence[Wanted], options: Options) -> Iterator[Check]:
    if options.ready_path:
        yield _ready(client, options.ready_path)
    yield _listed(client, wanted)
    for model in wanted:
        yield from _model_checks(client, model, options)
    if client.target.key:
        yield _refused(client, "no_key", "")
        yield _refused(client, "wrong_key", WRONG_KEY)
    for route in options.closed:
        yield _closed(client, route)
    for route, prefix in PREFIX_TRICKS if options.closed else ():
        yield _closed(client, route, prefix)


def probe(target: Target, wanted: Iterable[Wanted] = (), options: Options = Options(),
          sleep: Callable[[float], None] = time.sleep) -> list[Check]:
    """Ask everything and return the checks in the order of asking.

    When the first question gets no HTTP answer at all, its failed check is the only one: the others would only wait.

    :raises FleetError: a base URL, an address or a kind that is none.
    """
    models = list(wanted)
    for model in models:
        if model.kind not in KINDS:
            raise FleetError("A model's kind is unknown", f"models: {model.name}", repr(model.kind),
                             f"Give one of {', '.join(KINDS)}.")
    client, checks = Client(target, sleep), []
    for check in _checks(client, models, options):
        checks.append(check.without(target.key))
        if len(checks) == 1 and not check.answered:
            break
    return checks
