"""Requests to an engine process, and what its answers mean to LocalAI."""
from __future__ import annotations

import http.client
import json
import select
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional

from .errors import RequestError, engine_error
from .process import EngineProcess

_EOF = "error reading from server: EOF"
_TIMEOUT = 7200.0  # seconds between two bytes of an answer


@dataclass(frozen=True)
class Piece:
    """A part of a generated answer: text, thoughts, or tool calls in OpenAI's shape."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class End:
    """The end of a generated answer. Times in milliseconds."""

    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_ms: float = 0.0
    completion_ms: float = 0.0


class ClientGone(Exception):
    """Nobody hears the answer: the client closed its connection (ours to the engine is closed too), or the server gave up at its end."""


@dataclass
class Caller:
    """The client's connection, watched while the engine works. Without a socket (a call of our own) nothing is watched."""

    sock: Optional[socket.socket] = None
    gone: threading.Event = field(default_factory=threading.Event)

    def watch(self, connection: http.client.HTTPConnection, done: threading.Event) -> None:
        """Close `connection` as soon as the client is gone."""
        if self.sock is not None:
            threading.Thread(target=self._watch, args=(connection, done), name="caller", daemon=True).start()

    def _watch(self, connection: http.client.HTTPConnection, done: threading.Event) -> None:
        while not done.wait(0.1):
            if not _closed(self.sock):
                continue
            self.gone.set()
            upstream = connection.sock
            if upstream is not None:
                try:
                    upstream.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            return


def _closed(sock: Optional[socket.socket]) -> bool:
    try:
        readable = select.select([sock], [], [], 0)[0]
        return bool(readable) and sock is not None and sock.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def call(process: EngineProcess, path: str, body: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """POST `body` and return the JSON answer. Raises `RequestError`, `ClientGone`."""
    with process, _Exchange(process, path, body, caller) as response:
        return json.loads(response.read())


def stream(process: EngineProcess, path: str, body: Mapping[str, Any], caller: Caller) -> Iterator[dict[str, Any]]:
    """POST `body` with `stream: true` and yield each event. Raises `RequestError`, `ClientGone`."""
    with process, _Exchange(process, path, {**body, "stream": True}, caller) as response:
        whole = False
        for line in response:
            event = _event(line)
            if event is not None:
                yield event
            whole = whole or line.startswith(b"data: [DONE]") or bool(event and event.get("stop"))
        if not whole:
            raise ConnectionError("the answer broke off")


def _event(line: bytes) -> Optional[dict[str, Any]]:
    name, text = line.strip().partition(b": ")[::2]
    if name not in (b"data", b"error") or text == b"[DONE]":
        return None
    found = json.loads(text)
    if name == b"error" or (isinstance(found, dict) and found.get("error")):
        raise _refused(found.get("error", found))
    return found


class _Exchange:
    """One request to the engine: the answer as context, errors in LocalAI's words."""

    def __init__(self, process: EngineProcess, path: str, body: Mapping[str, Any], caller: Caller) -> None:
        self._process, self._caller = process, caller
        self._path, self._body = path, json.dumps(body).encode()
        self._connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=_TIMEOUT)
        self._done = threading.Event()

    def __enter__(self) -> http.client.HTTPResponse:
        try:
            self._connection.connect()
        except OSError as problem:
            self._close()
            raise self._dial_error() from problem
        self._caller.watch(self._connection, self._done)
        try:
            self._connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            if response.status != 200:
                raise _refused(_error_of(response))
            return response
        except BaseException as problem:
            self._close()
            raise self._meaning(problem) from problem

    def __exit__(self, _kind: object, problem: Optional[BaseException], _trace: object) -> None:
        self._close()
        if problem is None and self._caller.gone.is_set():
            raise ClientGone
        if problem is not None and not isinstance(problem, GeneratorExit):
            meaning = self._meaning(problem)
            if meaning is not problem:
                raise meaning from problem

    def _meaning(self, problem: BaseException) -> BaseException:
        if self._caller.gone.is_set() or self._process.given_up:
            return ClientGone()
        if isinstance(problem, (OSError, http.client.HTTPException, ValueError)):
            return engine_error("Unavailable", _EOF)
        return problem

    def _dial_error(self) -> RequestError:
        text = f"dial tcp 127.0.0.1:{self._process.port}: connect: connection refused"
        return engine_error("Unavailable", f'connection error: desc = "transport: Error while dialing: {text}"')

    def _close(self) -> None:
        self._done.set()
        self._connection.close()


def _error_of(response: http.client.HTTPResponse) -> Mapping[str, Any]:
    text = response.read().decode("utf-8", "replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return {"code": response.status, "message": text, "type": "server_error"}


_CODES = {"invalid_request_error": "InvalidArgument", "not_supported_error": "Unimplemented", "unavailable_error": "Unavailable"}


def _refused(error: Mapping[str, Any]) -> RequestError:
    return engine_error(_CODES.get(str(error.get("type")), "Internal"), str(error.get("message")))


def media_marker(process: EngineProcess) -> str:
    """What the engine takes for an image in a prompt: a text of its own at each start."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10.0)
    try:
        connection.request("GET", "/props")
        return str(json.loads(connection.getresponse().read())["media_marker"])
    except (OSError, http.client.HTTPException, ValueError, KeyError) as problem:
        raise engine_error("Unavailable", _EOF) from problem
    finally:
        connection.close()


def completion(process: EngineProcess, body: Mapping[str, Any], caller: Caller) -> Iterator[object]:
    """Generate from a prompt: `Piece`s, then one `End`."""
    for event in stream(process, "/completion", body, caller):
        if event.get("content"):
            yield Piece(text=event["content"])
        if event.get("stop"):
            timings = event.get("timings") or {}
            finish = "length" if event.get("stop_type") == "limit" else "stop"
            yield End(
                finish, event.get("tokens_evaluated", 0), event.get("tokens_predicted", 0), timings.get("prompt_ms", 0.0), timings.get("predicted_ms", 0.0),
            )


def chat(process: EngineProcess, body: Mapping[str, Any], caller: Caller) -> Iterator[object]:
    """Generate from messages with the GGUF's own template: `Piece`s, then one `End`."""
    finish, usage, timings = "stop", {}, {}
    for event in stream(process, "/v1/chat/completions", {**body, "stream_options": {"include_usage": True}}, caller):
        for choice in event.get("choices") or []:
            finish = choice.get("finish_reason") or finish
            delta = choice.get("delta") or {}
            piece = Piece(delta.get("content") or "", delta.get("reasoning_content") or "", tuple(delta.get("tool_calls") or ()))
            if piece != Piece():
                yield piece
        usage = event.get("usage") or usage
        timings = event.get("timings") or timings
    yield End(finish, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0), timings.get("prompt_ms", 0.0), timings.get("predicted_ms", 0.0))
