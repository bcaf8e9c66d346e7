"""How a running LocalAI comes to serve what its models folder holds."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._reload import Decision, Running, decide, record

NOW = Running("localai", "c1", "2026-11-23T04:00:00.5Z", 1000.5)
KNOWN = {"m": "1", "gpt-4": "2"}


@pytest.mark.parametrize(("wanted", "recorded", "written", "expected"), [
    (KNOWN, record(KNOWN, NOW), 2000, Decision()),
    ({**KNOWN, "m": "9"}, record(KNOWN, NOW), 2000, Decision(reload=True, stop=("m",))),
    ({**KNOWN, "n": "3"}, record(KNOWN, NOW), 2000, Decision(reload=True)),
    ({"m": "1"}, record(KNOWN, NOW), 2000, Decision(restart=True)),
    ({"m": "9", "n": "3"}, record(KNOWN, NOW), 2000, Decision(restart=True)),
    (KNOWN, None, 1000.0, Decision()),
    (KNOWN, None, 1001.0, Decision(restart=True)),
    (KNOWN, {**record(KNOWN, NOW), "container_id": "c0"}, 1000.0, Decision()),
    (KNOWN, {**record(KNOWN, NOW), "started_at": "earlier"}, 1001.0, Decision(restart=True)),
    ({**KNOWN, "m": "9"}, {**record(KNOWN, NOW), "started_at": "earlier"}, 1000.0, Decision()),
])
def test_decide(wanted, recorded, written, expected) -> None:
    assert decide(wanted, recorded, NOW, written) == expected


@pytest.mark.parametrize(("decision", "text"), [
    (Decision(), "nothing"), (Decision(restart=True), "restart"), (Decision(reload=True, stop=("a", "b")), "reload, stop a, stop b"),
])
def test_a_decision_in_words(decision, text) -> None:
    assert str(decision) == text
    assert decision.changed is (text != "nothing")
