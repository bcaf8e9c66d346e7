"""A store of blobs against what it must hold."""
from __future__ import annotations

import pytest

from ansible_collections.localai.fleet.plugins.module_utils._store import store_state

A, B, C, D = (letter * 64 for letter in "abcd")


def blob(sha256: str, size: int) -> dict[str, object]:
    return {"path": f"/opt/models/gguf/{sha256}.gguf", "size": size}


def part(sha256: str, size: int) -> dict[str, object]:
    return {"path": f"/opt/models/gguf/.partial/{sha256}.gguf.part", "size": size}


WANTED = [{"sha256": A, "size": 10}, {"sha256": B, "size": 20}, {"sha256": C, "size": 30}]


@pytest.mark.parametrize(
    ("found", "missing", "ahead", "abandoned"),
    [
        ([], [A, B, C], {A: 50, B: 30, C: 0}, []),
        ([blob(A, 10), blob(B, 20), blob(C, 30)], [], {}, []),
        ([blob(B, 20)], [A, C], {A: 30, C: 0}, []),
        ([blob(A, 11), blob(B, 20), blob(C, 30)], [A], {A: 0}, []),
        ([part(C, 25), part(B, 40)], [A, B, C], {A: 5, B: 5, C: 0}, []),
        ([part(D, 5), blob(A, 10), blob(B, 20), blob(C, 30)], [], {}, [D]),
        ([part(D, 5), blob(D, 50), blob(A, 10), blob(B, 20), blob(C, 30)], [], {}, []),
        ([{"path": "/opt/models/gguf/.partial/x.lock", "size": 0}], [A, B, C], {A: 50, B: 30, C: 0}, []),
    ],
)
def test_store_state(found: list, missing: list, ahead: dict, abandoned: list) -> None:
    assert store_state(found, WANTED).as_dict() == {"missing": missing, "ahead": ahead, "abandoned": abandoned}
