"""The filter store_state."""
from __future__ import annotations

from ansible_collections.localai.fleet.plugins.filter.store_state import FilterModule


def test_store_state() -> None:
    wanted = [{"sha256": "a" * 64, "size": "10"}]
    assert FilterModule().filters()["store_state"]([], wanted) == {"missing": ["a" * 64], "ahead": {"a" * 64: 0}, "abandoned": []}
