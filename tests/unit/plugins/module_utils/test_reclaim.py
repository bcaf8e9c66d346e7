"""Blobs that may go, and the reasons of those that stay."""
from __future__ import annotations

import json

import pytest

from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._reclaim import DAY, Retention, reclaim, references

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
NOW = 1_800_000_000.0
GIB = 1 << 30


def blob(name: str, days: float = 100, size: int = GIB) -> dict:
    return {"path": f"/opt/localai/models/gguf/{name}.gguf", "size": size, "mtime": NOW - days * DAY}


def locked(sha256: str, projector: str | None = None, *more: str) -> dict:
    files = [{"path": "x.gguf", "size": GIB, "sha256": name} for name in (sha256, *more)]
    return {"models": {"chat": {"files": files, "projector": {"path": "p.gguf", "size": 1, "sha256": projector} if projector else None}}}


def test_what_nothing_needs_goes_and_everything_else_says_why_it_stays() -> None:
    why = references({"the lock": locked(A), "the previous lock": locked(B)})
    found = reclaim([blob(A), blob(B), blob(C, size=2 * GIB)], why, NOW).as_dict()
    assert found["remove"] == [C]
    assert found["bytes"] == 2 * GIB
    assert {item["sha256"]: item["kept"] for item in found["blobs"]} == {
        A: "the lock has it for chat", B: "the previous lock has it for chat", C: ""}
    assert found["lines"][-1] == "2.0 GiB of 4.0 GiB can be freed"


@pytest.mark.parametrize("why", [
    references({"the lock": locked(A)}),
    references({"the proposal": locked(B, A)}),
    references({"the lock": locked(B, None, A)}),
    references({}, [{"instances": [{"name": "localai", "models": [{"name": "chat", "sha256": A}]}]}]),
    references({}, [{"instances": [{"name": "localai", "models": [{"name": "chat", "sha256": B, "files": [B, A]}]}]}]),
    references({}, [{"instances": [{"name": "localai", "models": [{"name": "chat", "sha256": B, "files": [B], "projector": A}]}]}]),
    references({}, (), [f"parameters:\n  model: gguf/{A}.gguf\n"]),
], ids=["lock", "projector", "second part", "running", "its second part", "its projector", "settings"])
def test_a_reference_always_keeps_a_blob(why: dict) -> None:
    assert reclaim([blob(A, days=10_000)], why, NOW, Retention(0, 0)).as_dict()["remove"] == []


def test_an_empty_lock_and_missing_ones_refer_to_nothing() -> None:
    assert references({"the lock": {}, "the previous lock": {"models": None}}) == {}


@pytest.mark.parametrize("retention, gone", [
    (Retention(0, 0), [A, B, C]),
    (Retention(0, 30), [C]),
    (Retention(1, 0), [B, C]),
    (Retention(2, 0), [C]),
    (Retention(2, 1000), []),
])
def test_retention_by_age_and_by_number(retention: Retention, gone: list[str]) -> None:
    found = reclaim([blob(A, 1), blob(B, 29), blob(C, 31)], {}, NOW, retention)
    assert sorted(item.sha256 for item in found.gone) == gone


def test_the_newest_are_the_ones_that_number_keeps() -> None:
    assert [item.sha256 for item in reclaim([blob(B, 5), blob(A, 6)], {}, NOW, Retention(1, 0)).gone] == [A]


def test_only_blobs_are_looked_at() -> None:
    others = [{"path": path, "size": 5, "mtime": 0} for path in (
        f"/store/gguf/.partial/{A}.gguf.part", "/store/gguf/mine.gguf", f"/store/gguf/{A}.gguf.bak", "/store/notes.txt")]
    assert reclaim(others, {}, NOW, Retention(0, 0)).blobs == ()


@pytest.mark.parametrize("retention", [Retention(-1, 0), Retention(0, -1)])
def test_a_negative_retention_is_refused(retention: Retention) -> None:
    with pytest.raises(FleetError, match="less than nothing"):
        reclaim([blob(A)], {}, NOW, retention)


def test_the_result_is_plain_and_the_same_each_time() -> None:
    found = [blob(name, days) for name, days in ((D, 3), (A, 40), (C, 40), (B, 40))]
    one, other = reclaim(found, {A: "x"}, NOW).as_dict(), reclaim(list(reversed(found)), {A: "x"}, NOW).as_dict()
    assert one == other == json.loads(json.dumps(one))
