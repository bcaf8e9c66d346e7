"""Whom a host asks next for the bytes it lacks."""
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.localai.fleet.plugins.module_utils._peers import LAG, Candidate, Choice, choose
from ansible_collections.localai.fleet.plugins.module_utils._share import Look

SIZE = 100 * LAG
FAR = SIZE // 16


def one(state: str, have: int = 0, **more: Any) -> Candidate:
    look = Look(state, have, SIZE, more.pop("message", ""), more.pop("busy", False))
    return Candidate(state, look, **more)


@pytest.mark.parametrize(
    ("candidates", "offset", "choice"),
    [
        ([], 0, Choice("origin")),
        ([one("whole", SIZE), one("whole", SIZE)], 0, Choice("take", 0)),
        ([one("growing", 5), one("whole", 5)], 4, Choice("take", 0)),
        ([one("growing", 5), one("growing", 9)], 5, Choice("wait", 0)),
        ([one("coming"), one("growing", 9)], 5, Choice("wait", 0)),
        ([one("coming"), one("growing", 9 + FAR)], 5, Choice("take", 1)),
        ([one("growing", 5), one("growing", 7 + FAR)], 4, Choice("take", 1)),
        ([one("growing", 5), one("growing", 7 + FAR, busy=True)], 4, Choice("take", 0)),
        ([one("growing", 5), one("growing", 7 + FAR, busy=True)], 5, Choice("wait", 0)),
        ([one("whole", SIZE, busy=True)], 0, Choice("wait", 0)),
        ([one("whole", SIZE, busy=True), one("whole", SIZE)], 0, Choice("take", 1)),
        ([one("idle"), one("growing", 3)], 3, Choice("wait", 1)),
        ([one("idle", 9), one("idle", 4)], 5, Choice("take", 0)),
        ([one("idle", 9)], 9, Choice("origin")),
        ([one("growing", 3, waits=False)], 3, Choice("origin")),
        ([one("growing", 4, waits=False)], 3, Choice("take", 0)),
        ([one("coming", waits=False)], 0, Choice("origin")),
        ([one("idle"), one("failed", 3), one("failed", 2)], 3, Choice("fail", 2)),
        ([one("failed", 3)], 2, Choice("take", 0)),
        ([one("failed"), one("growing")], 0, Choice("wait", 1)),
        ([one("failed", waits=False)], 0, Choice("origin")),
        ([one("growing", 9, trusted=False)], 3, Choice("wait", 0)),
        ([one("whole", SIZE, trusted=False)], 3, Choice("origin")),
        ([one("whole", SIZE, trusted=False), one("idle", 4)], 3, Choice("take", 1)),
    ],
)
def test_choose(candidates: list[Candidate], offset: int, choice: Choice) -> None:
    assert choose(candidates, offset, SIZE) == choice
