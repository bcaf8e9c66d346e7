# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Gives blobs of a host's store to other hosts while a play runs. Standard library only: it runs on the hosts.

It reads only, and only the blobs it was started for; whole ones, and unfinished ones as they grow (whoever takes them verifies
the sha256). It ends when it is told to, when nothing happened for `idle` seconds, and in any case after two days.
"""
from __future__ import annotations

import io
import ipaddress
import json
import os
import secrets
import signal
import socket
import socketserver
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence

from ._errors import FleetError
from ._fetch import Blob, failure, is_held, is_present
from ._pace import Clock, Pacer
from ._share import GREETING, LINE_LIMIT, Look, Unreachable, proof, proven, read_line

TIME_LIMIT = 48 * 3600.0
STREAMS = 2
MESSAGE_LIMIT = 500  # an answer is one line of 4 KiB, in which a letter may take six bytes
CONNECTIONS = 64
QUESTION_LIMIT = 10.0
GRACE = 30.0
TICK = 0.2
GROWTH_TICK = 0.02
GROWTH_LIMIT = 10.0


@dataclass
class Offer:
    """A blob that may be asked for; `coming`: this host will fetch it in this run; `begun`: it was seen doing so."""

    blob: Blob
    coming: bool = False
    begun: bool = False


def offer(folder: Path, sha256: str, size: int, coming: bool = False) -> Offer:
    """A blob of the store `folder` as an offer."""
    return Offer(Blob("", folder / f"{sha256}.gguf", sha256, size), coming)


class Service(socketserver.ThreadingTCPServer):
    """The file service: bound when it is made, so that `port` is known, and running in `serve`.

    `rate`: most bytes a second to all others together, 0 for no limit. `streams`: to how many at once. `idle`: seconds without
    a question and without a download on this host after which it ends.
    """

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, offers: Sequence[Offer], secret: str, address: str = "", port: int = 0, rate: float = 0.0, streams: int = STREAMS,
        idle: float = 7200.0, clock: Clock = Clock(),
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)
        self.offers = {one.blob.sha256: one for one in offers}
        self.secret, self.idle, self.clock, self.pacer = secret, idle, clock, Pacer(rate, clock)
        self.streams, self.connections = _Slots(streams), _Slots(CONNECTIONS)
        self.started = self.asked = self.worked = clock.now()
        self.started_at = time.time()
        self.stopping = threading.Event()

    @property
    def port(self) -> int:
        """The TCP port it listens at."""
        return int(self.server_address[1])

    def serve(self) -> None:
        """Answer until it ends, in the calling thread."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": TICK}, daemon=True).start()
        while not self.stopping.wait(TICK) and not self._is_over():
            for one in self.offers.values():
                self._notice(one)
        self.shutdown()
        self.server_close()

    def look(self, sha256: str) -> Look:
        """What this host has of a blob; idle and nothing for one that is not offered."""
        one = self.offers.get(sha256)
        if one is None:
            return Look(message="this blob is not offered")
        if is_present(one.blob):
            return Look("whole", one.blob.size, one.blob.size, busy=self.streams.full)
        held = self._notice(one)
        message = "" if held else failure(one.blob, self.started_at)[:MESSAGE_LIMIT]
        state = "growing" if held else "failed" if message else "coming" if self._is_coming(one) else "idle"
        return Look(state, one.blob.bytes_present(), one.blob.size, message, self.streams.full)

    def _notice(self, one: Offer) -> bool:
        """Whether somebody on this host fetches the blob now. That keeps the service alive, and is remembered."""
        held = is_held(one.blob)
        if held:
            one.begun, self.worked = True, self.clock.now()
        return held

    def _is_coming(self, one: Offer) -> bool:
        """Not begun yet, and the host is busy with other blobs or was so a moment ago."""
        return one.coming and not one.begun and self.clock.now() - self.worked < GRACE

    def _is_over(self) -> bool:
        now = self.clock.now()
        return now - max(self.asked, self.worked) > self.idle or now - self.started > TIME_LIMIT

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread of its own, unless there are too many: then the connection is closed."""
        if self.connections.take():
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room for the next one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.give()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event: nobody reads what this process says."""


class _Slots:
    """So many at once."""

    def __init__(self, count: int) -> None:
        self._free, self._lock = count, threading.Lock()

    @property
    def full(self) -> bool:
        return self._free < 1

    def take(self) -> bool:
        with self._lock:
            if self._free < 1:
                return False
            self._free -= 1
            return True

    def give(self) -> None:
        with self._lock:
            self._free += 1


class _Handler(socketserver.StreamRequestHandler):
    """One connection, one question."""

    server: Service
    timeout = 30

    def handle(self) -> None:
        nonce = secrets.token_hex(16)
        try:
            self.wfile.write(f"{GREETING} {nonce}\n".encode())
            question = json.loads(proven(self._line(), self.server.secret, "client", nonce))
            self.server.asked = self.server.clock.now()
            self._answer(question, nonce)
        except (OSError, ValueError, KeyError, TypeError, Unreachable):
            return  # who cannot ask properly gets no answer

    def _line(self) -> str:
        """The question's line, in time as a whole: who drips it would hold a connection for hours. Raises Unreachable or OSError."""
        until, raw = time.monotonic() + QUESTION_LIMIT, b""
        while not raw.endswith(b"\n") and len(raw) < LINE_LIMIT:
            self.connection.settimeout(max(0.001, until - time.monotonic()))
            piece = self.connection.recv(LINE_LIMIT - len(raw))
            if not piece:
                break
            raw += piece
        self.connection.settimeout(self.timeout)
        return read_line(io.BytesIO(raw))

    def _answer(self, question: dict[str, Any], nonce: str) -> None:
        do, sha256, offset, theirs = question["do"], str(question["sha256"]), int(question["offset"]), str(question["nonce"])
        look = self.server.look(sha256)
        if do == "read" and 0 <= offset < look.have and self.server.streams.take():
            try:
                self._reply(replace(look, busy=False), nonce, theirs)
                self._pour(self.server.offers[sha256].blob, offset)
            finally:
                self.server.streams.give()
            return
        self._reply(look, nonce, theirs)
        if do == "stop":
            self.server.stopping.set()

    def _reply(self, look: Look, nonce: str, theirs: str) -> None:
        text = json.dumps(look.as_dict())
        self.wfile.write(f"{proof(self.server.secret, 'service', nonce, theirs, text)} {text}\n".encode())

    def _pour(self, blob: Blob, offset: int) -> None:
        """The bytes from `offset` on, as they come, until the end or until they stop coming."""
        clock, pacer = self.server.clock, self.server.pacer
        with (blob.target if is_present(blob) else blob.part).open("rb", buffering=0) as handle:
            handle.seek(offset)
            grown = clock.now()
            while offset < blob.size:
                block = handle.read(min(pacer.block, blob.size - offset))
                if block:
                    pacer.take(len(block))
                    self.wfile.write(block)
                    offset, grown = offset + len(block), clock.now()
                    self.server.asked = grown
                elif clock.now() - grown > GROWTH_LIMIT or (clock.now() - grown > TICK and not is_held(blob)):
                    return
                else:
                    clock.sleep(GROWTH_TICK)


def listen(address: str, port: int, **options: Any) -> Service:
    """A service at `address` and `port`; at any address of the host where it has not this one, at a free port where this one is taken.

    `options` are those of Service. FleetError when it cannot listen at all.
    """
    anywhere = "::" if ":" in address else ""
    own = address if _is_address(address) else anywhere  # a name may mean the loopback address on its own host
    for place in ((own, port), (anywhere, port), (own, 0), (anywhere, 0)):
        try:
            return Service(address=place[0], port=place[1], **options)
        except OSError as error:
            reason = error.strerror or str(error)
    raise FleetError("The file service cannot listen", f"{address} port {port}", reason, "Check models_share_address and models_share_port.")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def detach(service: Service) -> int:
    """Serve in a process of its own, which outlives this one; returns its id. Nothing of this process stays open in it.

    FleetError when the host has no room for a process.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            grandchild = os.fork()
            if grandchild:
                os.write(writing, str(grandchild).encode())
            else:
                _let_go(service.fileno())
                service.serve()
        finally:
            os._exit(0)
    os.close(writing)  # or the read below would wait for ever for a child that could not write
    os.waitpid(child, 0)
    told = os.read(reading, 20)
    os.close(reading)
    service.server_close()
    if not told:
        raise FleetError("The file service cannot be started", "this host", "no process for it", "Look at how many processes the host may have.")
    return int(told)


def _let_go(keep: int) -> None:
    """Close everything but one handle; input and output are nowhere."""
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(3, keep)
    os.closerange(keep + 1, min(os.sysconf("SC_OPEN_MAX"), 1 << 16))
