# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A blob from other hosts before its origin: whom to ask next, and when to wait. Standard library only: it runs on the hosts.

The hosts of a site form a line (see `_distribution`). Each takes the blob from the one before it while that one still fetches, so
all links carry it once in each direction at the same time, and the whole site takes little longer than one host. A
host that is gone or falls behind is passed over; the first one with nobody before it who works asks the origin.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from ._errors import FleetError
from ._pace import Clock
from ._share import Look, Peer, Unreachable
from ._transport import Again, Answer, Later, Source

LAG = 1 << 25
LAG_SHARE = 16
FRESH_NEAR, FRESH_FAR, GONE = 0.2, 2.0, 30.0


@dataclass(frozen=True)
class Candidate:
    """What one peer says, seen from the asking host: `waits` as in Peer, `trusted` unless its bytes were wrong before."""

    name: str
    look: Look
    waits: bool = True
    trusted: bool = True


@dataclass(frozen=True)
class Choice:
    """`do`: take (from `index`), wait (for it), fail (for its reason) or origin."""

    do: str
    index: int = -1


def choose(candidates: Sequence[Candidate], offset: int, size: int) -> Choice:
    """Whom to ask for the bytes from `offset` on; candidates are in order of preference.

    The first one that has more, or that is about to have more and is worth waiting for, unless somebody else is ahead of it by more
    than the larger of 32 MiB and a sixteenth of the file. Nobody: the reason of the farthest one whose source failed, else the origin.
    """
    lag = max(LAG, size // LAG_SHARE)
    free = [one.look.have for one in candidates if one.trusted and not one.look.busy]
    best = max(free, default=0)
    for index, one in enumerate(candidates):
        can_give = one.trusted and one.look.have > offset
        at = max(offset, one.look.have if can_give and not one.look.busy else 0)
        if best - at > lag:
            continue
        if can_give and not one.look.busy:
            return Choice("take", index)
        if can_give or (one.waits and one.look.state in ("growing", "coming")):
            return Choice("wait", index)
    failed = [index for index, one in enumerate(candidates) if one.waits and one.look.state == "failed"]
    return Choice("fail", failed[-1]) if failed else Choice("origin")


class Sharing:
    """A source that asks peers first, nearest first, and `origin` when none of them has the blob or is about to."""

    def __init__(self, sha256: str, peers: Sequence[Peer], origin: Source, timeout: float, clock: Clock = Clock()) -> None:
        self._sha256, self._peers, self._origin, self._timeout, self._clock = sha256, list(peers), origin, timeout, clock
        self._known: dict[int, tuple[float, Look]] = {}
        self._used: dict[int, str] = {}
        self._wrong: dict[int, str] = {}
        self._last = (-1, -1)
        self.shown = origin.shown

    def open(self, offset: int, etag: str = "", etag_host: str = "") -> Answer:
        """From a peer or from the origin. Raises `Later` while one is about to have more, FleetError when the one who fetches failed."""
        if self._last[1] == offset:  # it was asked from here and gave nothing
            self._pass_over(self._last[0])
        candidates = [self._candidate(index) for index in range(len(self._peers))]
        choice = choose(candidates, offset, max((one.look.size for one in candidates), default=0))
        if choice.do == "origin":
            return self._origin.open(offset, etag, etag_host)
        peer = self._peers[choice.index]
        if choice.do == "wait":
            raise Later(peer.name)
        if choice.do == "fail":
            raise FleetError(f"{peer.name}, which fetches the blob for this site, could not", self._origin.shown,
                             candidates[choice.index].look.message, "Repair that, and run again.")
        return self._take(choice.index, offset)

    def distrust(self) -> bool:
        """Who gave bytes of something unfinished is not asked again until it is whole; who gave wrong bytes of something whole, never."""
        used, self._used, self._last = self._used, {}, (-1, -1)
        self._wrong.update(used)
        self._known.clear()
        return bool(used)

    def _candidate(self, index: int) -> Candidate:
        peer, look = self._peers[index], self._look(index)
        wrong = self._wrong.get(index)
        return Candidate(peer.name, look, peer.waits, wrong is None or (look.state == "whole" and wrong != "whole"))

    def _look(self, index: int) -> Look:
        """What a peer has; a moment old for those farther away, who are asked by many."""
        now = self._clock.now()
        until, look = self._known.get(index, (0.0, Look()))
        if now < until:
            return look
        try:
            look, fresh = self._peers[index].look(self._sha256), FRESH_FAR if index else FRESH_NEAR
        except Unreachable:
            look, fresh = Look(), GONE
        self._known[index] = (self._clock.now() + fresh, look)
        return look

    def _pass_over(self, index: int) -> None:
        self._known[index] = (self._clock.now() + GONE, Look())
        self._last = (-1, -1)

    def _take(self, index: int, offset: int) -> Answer:
        peer = self._peers[index]
        self._known.pop(index, None)
        try:
            look, stream = peer.read(self._sha256, offset, self._timeout)
        except Unreachable as error:
            self._pass_over(index)
            raise Again(f"{peer.name} cannot be asked: {error}", wait=0.0) from error
        if look.busy or look.have <= offset:
            stream.close()
            raise Later(peer.name)
        self._used[index], self._last = look.state, (index, offset)
        span = {"Content-Range": f"bytes {offset}-{look.size - 1}/{look.size}"}
        return Answer(stream, 206, span, f"//{peer.address}:{peer.port}", offset, peer.name, look.state != "whole")
