"""Whom a host asks next for the bytes it lacks."""
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.localai.fleet.plugins.module_utils._peers import LAG, Candidate, Choice, Sharing, choose
from ansible_collections.localai.fleet.plugins.module_utils._share import Look, Peer, Unreachable
from ansible_collections.localai.fleet.plugins.module_utils._transport import Again, FileSource

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


def test_a_peer_that_goes_between_two_questions_is_passed_over(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_args: Any) -> Any:
        raise Unreachable("Connection refused")

    (tmp_path / "origin").write_bytes(b"bytes")
    monkeypatch.setattr(Peer, "look", lambda *_args: Look("whole", 5, 5))
    monkeypatch.setattr(Peer, "read", gone)
    source = Sharing("0" * 64, [Peer("ai1", "192.0.2.1", 8710, "secret")], FileSource(str(tmp_path / "origin")), 1.0)
    with pytest.raises(Again, match="ai1 cannot be asked: Connection refused") as again:
        source.open(0)
    assert again.value.wait == 0.0
    with source.open(0) as answer:
        assert (answer.peer, answer.read(5)) == ("", b"bytes")
