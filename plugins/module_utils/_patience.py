# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How long to wait for a server that limits or fails, as it says itself, and when to stop. Pure but for `Patience.spend`."""
from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import Mapping

PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Answers that another try may turn into a better one."""
BACKOFF = (1.0, 2.0, 4.0)
"""Seconds before the tries after the first, where the server names no time."""
_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*(\d{1,9})\s*;\s*t\s*=\s*(\d{1,9})')


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait, None when it does not: RateLimit when nothing is left, else Retry-After in either form.

    `now` is the time (seconds since 1970) that a date is compared with.
    """
    named = {name.lower(): value for name, value in headers.items()}
    limit = _RATE_LIMIT.search(named.get("ratelimit", ""))
    if limit and limit[1] == "0":
        return float(limit[2]) + 1
    after = named.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", after):
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - now) if after else None
    except (TypeError, ValueError, OverflowError, IndexError):  # the last one from Python 3.9, by "Apr 0000 , +0800"
        return None


class Patience:
    """Seconds that may be waited in all, over every request that shares it."""

    def __init__(self, seconds: float) -> None:
        self.left = float(seconds)

    def wait(self, attempt: int, asked: float | None) -> float | None:
        """How long to wait before try `attempt` (the second is 1), None when it is time to stop: no try or no patience is left."""
        if attempt > len(BACKOFF):
            return None
        seconds = BACKOFF[attempt - 1] if asked is None else asked
        return seconds if seconds <= self.left else None

    def spend(self, seconds: float) -> None:
        """Wait so long."""
        self.left -= seconds
        time.sleep(seconds)
