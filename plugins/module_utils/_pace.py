# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How fast a download may be, how slow, and at which hours. Standard library only: it runs on the hosts."""
from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import Callable

from ._errors import FleetError

_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kMGT]i?)?(bit|b|B)?(?:/s|ps)?", re.IGNORECASE)
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_AHEAD = 0.1
_SMALLEST, _LARGEST = 1 << 12, 1 << 20


@dataclass(frozen=True)
class Clock:
    """Time, replaceable in tests: `now` in monotonic seconds, `sleep` for seconds, `local` the host's wall clock."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    local: Callable[[], time.struct_time] = time.localtime


def parse_rate(text: str, where: str = "bandwidth_limit") -> float:
    """Bytes a second of `20MB/s`, `20MiB/s`, `160Mbit/s` or a plain number of bytes; 0 (no limit) for an empty text.

    `kB`, `MB`, `GB` are powers of 1000, `KiB`, `MiB`, `GiB` of 1024; `bit` (or a small `b` after a prefix) is an eighth. FleetError for anything else,
    and below 1 kB/s.
    """
    text = str(text or "").strip()
    if not text:
        return 0.0
    found = _RATE.fullmatch(text)
    if found:
        prefix, unit = (found.group(2) or "").lower(), found.group(3) or "B"
        rate = float(found.group(1)) * (1024 if prefix.endswith("i") else 1000) ** _POWERS[prefix[:1]]
        rate = rate if unit == "B" else rate / 8
        if rate >= 1000:
            return rate
    raise FleetError("The rate cannot be used", where, text, "Give bytes or bits a second of 1 kB/s or more, as in 20MB/s, 20MiB/s or 160Mbit/s.")


@dataclass(frozen=True)
class Window:
    """Hours of the day, in minutes since midnight of the host's local time: from `start` until before `end`, over midnight too."""

    start: int
    end: int

    @classmethod
    def parse(cls, text: str, where: str = "time_window") -> Window | None:
        """`22:00-06:00`; None for an empty text. FleetError for anything else."""
        text = str(text or "").strip()
        if not text:
            return None
        found = _WINDOW.fullmatch(text)
        hours = [int(part) for part in found.groups()] if found else [0, 0, 0, 0]
        window = cls(hours[0] * 60 + hours[1], hours[2] * 60 + hours[3])
        if window.start == window.end:
            raise FleetError("The time window cannot be used", where, text, "Give two different times of the day, as in 22:00-06:00.")
        return window

    def __str__(self) -> str:
        return "-".join(f"{minutes // 60:02d}:{minutes % 60:02d}" for minutes in (self.start, self.end))

    def is_open(self, now: time.struct_time) -> bool:
        """Whether the time of day is within."""
        minute = now.tm_hour * 60 + now.tm_min
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


class Pacer:
    """Keeps a flow of bytes, of one or of many threads together, below a rate in bytes a second; 0 is no limit."""

    def __init__(self, rate: float, clock: Clock = Clock()) -> None:
        self._rate, self._clock, self._lock = rate, clock, threading.Lock()
        self._free_at = clock.now()

    @property
    def block(self) -> int:
        """Bytes to move at once, so that the flow is even."""
        return int(max(_SMALLEST, min(_LARGEST, self._rate / 20))) if self._rate else _LARGEST

    def take(self, size: int) -> None:
        """Wait until `size` more bytes fit into the rate. What was not used a tenth of a second ago is lost."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock.now()
            self._free_at = max(self._free_at, now - _AHEAD) + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            self._clock.sleep(wait)


class Floor:
    """Notices a flow that stays below `minimum` bytes a second for `span` seconds."""

    def __init__(self, minimum: float, span: float, clock: Clock = Clock()) -> None:
        self._minimum, self._span, self._clock = minimum, span, clock
        self._since, self._bytes = clock.now(), 0

    def add(self, size: int) -> float | None:
        """Count `size` more bytes: None, or the rate of the last span when it was too low."""
        self._bytes += size
        passed = self._clock.now() - self._since
        if passed < self._span:
            return None
        rate = self._bytes / passed
        self._since, self._bytes = self._clock.now(), 0
        return rate if rate < self._minimum else None
