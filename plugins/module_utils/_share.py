# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How hosts ask each other for blobs: the words on the wire and the asking side. Standard library only: it runs on the hosts.

One connection, one question. Both sides prove with HMAC-SHA256 that they know the service's secret, which is never sent:

    service: localai.fleet/1 NONCE
    client:  PROOF {"do": "look" | "read" | "stop", "sha256": ..., "offset": ..., "nonce": ...}
    service: PROOF {"state": ..., "have": ..., "size": ..., "message": ...}      and after `read` the bytes, until it closes

A proof covers the side, the service's nonce and the text after it, the service's also the client's nonce: nothing can be
repeated, turned round or changed. A client without proof gets no answer at all. The bytes themselves are no
secret; who fetches them verifies their sha256 before they get a name.
"""
from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Mapping

from ._errors import FleetError
from ._transport import why

GREETING = "localai.fleet/1"
LINE_LIMIT = 4096
STATES = ("whole", "growing", "coming", "failed", "idle")


class Unreachable(Exception):
    """A peer that cannot be asked now: nobody there, no proof, no answer in time. Its text says why."""


@dataclass(frozen=True)
class Look:
    """What a host says about a blob: `have` bytes of `size` are there.

    `state`: whole (verified), growing (being fetched right now), coming (it will be fetched in this run), failed (its source
    refused, `message` says why), idle (nobody works on it). `busy`: it serves as many others as it may already.
    """

    state: str = "idle"
    have: int = 0
    size: int = 0
    message: str = ""
    busy: bool = False

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Look:
        """From the service's answer. Unreachable for one that makes no sense."""
        try:
            look = cls(str(value["state"]), int(value["have"]), int(value["size"]), str(value["message"]), bool(value["busy"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Unreachable("an answer that makes no sense") from error
        if look.state not in STATES:
            raise Unreachable(f"an unknown state {look.state[:20]}")
        return look

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def proof(secret: str, side: str, *parts: str) -> str:
    """HMAC-SHA256 over the side and the parts, none of which may hold a line feed."""
    return hmac.new(secret.encode(), "\n".join((side, *parts)).encode(), hashlib.sha256).hexdigest()


def proven(line: str, secret: str, side: str, *parts: str) -> str:
    """The text of `PROOF TEXT` when the proof is right. Unreachable otherwise."""
    given, _blank, text = line.partition(" ")
    if not hmac.compare_digest(given.encode(), proof(secret, side, *parts, text).encode()):
        raise Unreachable("no proof that it belongs to this run")
    return text


def read_line(stream: BinaryIO) -> str:
    """One line of text without its end. Unreachable when there is none within the limit."""
    raw = stream.readline(LINE_LIMIT)
    if not raw.endswith(b"\n"):
        raise Unreachable("no whole line")
    return raw[:-1].decode("utf-8", "replace")


@dataclass(frozen=True)
class Peer:
    """A host that may have the blob. `waits`: whether it is worth waiting for what it is about to fetch."""

    name: str
    address: str
    port: int
    secret: str = field(repr=False)
    waits: bool = True

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Peer:
        """From a module's option. FleetError for a port that is none."""
        port = int(value["port"])
        if not 0 < port < 65536:
            raise FleetError("The port of a peer is none", f"peer {value['name']}", str(port), "Give one from 1 to 65535.")
        return cls(str(value["name"]), str(value["address"]), port, str(value["secret"]), bool(value.get("waits", True)))

    def look(self, sha256: str, timeout: float = 5.0) -> Look:
        """What it has of the blob. Raises Unreachable."""
        look, stream = self._ask({"do": "look", "sha256": sha256, "offset": 0}, timeout)
        stream.close()
        return look

    def read(self, sha256: str, offset: int, timeout: float = 30.0) -> tuple[Look, BinaryIO]:
        """What it has, and the bytes from `offset` on as they come: until its end, or as far as it gets. Raises Unreachable."""
        return self._ask({"do": "read", "sha256": sha256, "offset": offset}, timeout)

    def stop(self, timeout: float = 5.0) -> None:
        """End its service. Raises Unreachable."""
        self._ask({"do": "stop", "sha256": "", "offset": 0}, timeout)[1].close()

    def _ask(self, question: dict[str, Any], timeout: float) -> tuple[Look, BinaryIO]:
        try:
            connection = socket.create_connection((self.address, self.port), min(timeout, 5.0))
        except OSError as error:
            raise Unreachable(why(error)) from error
        with connection:  # the stream keeps it open
            connection.settimeout(timeout)
            stream = connection.makefile("rb")
            try:
                return self._exchange(connection, stream, question), stream
            except (OSError, ValueError, Unreachable) as error:
                stream.close()
                raise Unreachable(why(error)) from error

    def _exchange(self, connection: socket.socket, stream: BinaryIO, question: dict[str, Any]) -> Look:
        greeting, _blank, theirs = read_line(stream).partition(" ")
        if greeting != GREETING:
            raise Unreachable("another service answers there")
        nonce = secrets.token_hex(16)
        text = json.dumps({**question, "nonce": nonce})
        connection.sendall(f"{proof(self.secret, 'client', theirs, text)} {text}\n".encode())
        return Look.from_dict(json.loads(proven(read_line(stream), self.secret, "service", theirs, nonce)))
