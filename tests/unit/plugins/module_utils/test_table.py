"""The plan as lines for people."""
from __future__ import annotations

from ansible_collections.localai.fleet.plugins.module_utils import _table

MODEL = {"name": "m", "threads": 2, "context": 4096, "slots": 1, "memory": {"anonymous": 1 << 29, "file_backed": 1 << 28}}
PLAN = {
    "hosts": {
        "b": {"instances": []},
        "a": {"instances": [{"name": "localai", "memory_limit": 3 << 30, "models": [MODEL, {**MODEL, "name": "a-longer-name"}]}]},
    },
    "refused": [{"model": "n", "host": "b", "reason": "The model n is 1 byte too large for b."}],
    "warnings": [{"host": "b", "message": "It has 1 core."}],
    "advice": ["One host more.", {"message": "Or two."}],
}


def test_plan_lines() -> None:
    assert _table.plan_lines(PLAN) == [
        "host  instance  model          threads  context  slots    memory      file     limit",
        "a     localai   m                    2     4096      1  0.50 GiB  0.25 GiB  3.00 GiB",
        "a     localai   a-longer-name        2     4096      1  0.50 GiB  0.25 GiB  3.00 GiB",
        "b     -         -                    -        -      -         -         -         -",
        "refused: The model n is 1 byte too large for b.",
        "warning: b: It has 1 core.",
        "advice: One host more.",
        "advice: Or two.",
    ]


def test_gib() -> None:
    assert _table.gib(1 << 30) == "1.00 GiB"
