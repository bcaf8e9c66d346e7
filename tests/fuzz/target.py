"""What one fuzz input does and what must hold for it. Needs neither atheris nor Ansible.

Bytes of an input: scenario, how the source behaves, the size it claims, then the scenario's own bytes: a header, the raw answers
of a server, or the parts of a split set; the last two are divided by `BREAK`.
"""
from __future__ import annotations

import http.client
import io
import json
import socket
import urllib.request
from typing import Any, Callable, Iterator

from plugins.module_utils import _gguf
from plugins.module_utils._errors import FleetError
from plugins.module_utils._http import CarefulRedirects

BREAK = b"\xff\xfe\xfd"
HEADER, SERVER, SPLIT = range(3)
LIMITS = _gguf.Limits(total_bytes=1 << 18, seconds=10.0)
"""As in use, but for what makes an input slow: 256 KB instead of 64 MB."""
STEPS = (1 << 20, 1 << 20, 1 << 20, 13, 64, 200, 500, 1000)
"""The most bytes that one read of a source gives."""
SIZES = (0, 1, 100, 1 << 20, 1 << 32, 1 << 50, 1 << 63)
"""Bytes that a file claims besides those that are there."""


class Source:
    """Gives few bytes a read, claims a size, and has zeros where it has no bytes."""

    label, counted = "fuzz", True

    def __init__(self, data: bytes, behaviour: int, claim: int) -> None:
        self.data, self.step, self.sparse = data, STEPS[behaviour % 8], bool(behaviour & 8)
        self.counted = bool(behaviour & 16)
        self.size = None if claim == 255 else len(data) + SIZES[claim % len(SIZES)]

    def read_at(self, offset: int, count: int, deadline: float) -> bytes:
        """Up to `count` bytes from `offset`."""
        count = min(count, self.step)
        part = self.data[offset:offset + count]
        if self.sparse and self.size is not None:
            part += bytes(min(count, max(0, self.size - offset)) - len(part))
        return part


class _Socket:
    """Gives the bytes that a server sent."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, *_args: Any, **_more: Any) -> io.BytesIO:
        return io.BytesIO(self.raw)

    def sendall(self, _data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class _Connections(urllib.request.HTTPHandler):
    """Real HTTP over answers that are given; each connection takes the next one."""

    answers: Iterator[bytes] = iter(())

    def http_open(self, req: Any) -> Any:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **_more: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host)
        connection.connect = self._connected(connection)  # type: ignore[method-assign]
        return connection

    def _connected(self, connection: Any) -> Callable[[], None]:
        def connect() -> None:
            answer = next(self.answers, b"")
            if answer == b"refused":
                raise ConnectionRefusedError(111, "Connection refused")
            if answer == b"slow":
                raise socket.timeout("timed out")
            connection.sock = _Socket(answer)
        return connect


class _Server(_gguf.HttpSource):
    """Reads in the thread that asks: another one a request would take most of the fuzzer's time."""

    def read_at(self, offset: int, count: int, deadline: float) -> bytes:
        found = self._outcome(offset, count, deadline)
        if isinstance(found, Exception):
            raise found
        return found


CONNECTIONS, OPENER = _Connections(), urllib.request.OpenerDirector()
for _handler in (CONNECTIONS, CarefulRedirects(), urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()):
    OPENER.add_handler(_handler)


def server(answers: list[bytes], claim: int) -> _gguf.HttpSource:
    """A server of those raw answers; there is one at a time."""
    CONNECTIONS.answers = iter(answers)
    size = None if claim % 2 else len(answers[0]) + SIZES[claim // 2 % len(SIZES)]
    return _Server("http://fuzz.example/m.gguf?signature=s3cret", {"Authorization": "Bearer s3cret"}, size=size, opener=OPENER)


def sources(data: bytes) -> Callable[[], Any]:
    """Makes the source or the sources that an input describes, anew at each call."""
    scenario, behaviour, claim, rest = data[0] % 3, data[1], data[2], data[3:]
    parts = rest.split(BREAK)[:16]
    if scenario == SERVER:
        return lambda: server(parts, claim)
    if scenario == SPLIT:
        return lambda: [Source(part, behaviour, claim) for part in parts]
    return lambda: Source(rest, behaviour, claim)


def outcome(make: Callable[[], Any], exact: bool) -> _gguf.Header | None:
    """The header, checked on its own; None when there was a sentence, which is checked too."""
    try:
        header = _gguf.read_header(make(), LIMITS, exact=exact)
    except FleetError as error:
        text = str(error)
        assert text.isprintable() and len(text) < 1_500 and error.what and error.where and error.do, repr(text)
        assert "s3cret" not in text, "a secret in a message"
        assert "took too long" not in text, "no answer"
        return None
    told = header.as_dict()
    text = json.dumps(told, allow_nan=False)
    assert text.isprintable() and _gguf.Header.from_dict(json.loads(text)) == header == _gguf.Header.from_dict(told)
    assert 0 < header.bytes_read <= LIMITS.total_bytes
    return header


def agree(plan: _gguf.Header, exact: _gguf.Header) -> None:
    """What plan mode knows is what exact mode knows."""
    skipped = ("bytes_read", "complete", "tensors", "parameters", "file_size", "schema")
    first, second = plan.as_dict(), exact.as_dict()
    wrong = {name: (first[name], second.get(name)) for name in first if name not in skipped and first[name] is not None and first[name] != second.get(name)}
    assert not wrong, wrong
    assert all(exact.parameters.get(name) == value for name, value in plan.parameters.items())
    assert exact.complete and exact.tensors is not None and plan.tensors is None


def check(data: bytes) -> None:
    """Run one input in both modes; `AssertionError` or anything but `FleetError` is a finding."""
    if len(data) < 3:
        return
    make = sources(data)
    plan, exact = outcome(make, False), outcome(make, True)
    if plan and exact:
        agree(plan, exact)
    assert plan or not exact or data[0] % 3 == SERVER, "exact mode reads what plan mode refuses"
