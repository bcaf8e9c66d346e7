"""What goes over the wire between the handlers and the HTTP layer, and JSON as Go writes it."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional

from .engine import Caller

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class Request:
    """A request after the key check. `path` as sent, without prefix and trailing slash; `parameters` from the route's pattern."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: Caller
    pattern: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type") or ""


@dataclass(frozen=True)
class Response:
    """An answer: `events` (server-sent, already encoded) or `body`."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    events: Optional[Iterator[bytes]] = None


def encode(value: Any) -> str:
    """JSON without spaces, UTF-8, and with the characters escaped that Go escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def answer(value: Any, status: int = 200, headers: Optional[Mapping[str, str]] = None) -> Response:
    """A JSON answer; its body ends with a newline."""
    return Response(status, (encode(value) + "\n").encode(), "application/json", headers or {})


def event(value: Any) -> bytes:
    """One server-sent event."""
    return f"data: {encode(value)}\n\n".encode()


DONE = b"data: [DONE]\n\n"
