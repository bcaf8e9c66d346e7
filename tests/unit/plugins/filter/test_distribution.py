"""The filters by which the role learns who fetches what from whom."""
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter import distribution

FILTERS = distribution.FilterModule().filters()


def test_distribution_and_peers_meet() -> None:
    file = {"name": "m", "sha256": "a" * 64, "size": 5, "url": "https://h/x"}
    stores = {name: {"mode": "seed", "site": "default", "files": [file], "found": []} for name in ("ai1", "ai2")}
    links = FILTERS["distribution"](stores)["hosts"]["ai2"]["peers"]["a" * 64]
    service = {"address": "192.0.2.11", "port": 8710, "secret": "s"}
    assert FILTERS["peers"](links, {"ai1": service}) == [{"name": "ai1", "waits": True, **service}]


def test_pace() -> None:
    assert FILTERS["pace"]("160Mbit/s", "22:00-06:00") == {"bytes_per_second": 20e6, "window": "22:00-06:00"}
    assert FILTERS["pace"]("", "") == {"bytes_per_second": 0.0, "window": ""}
    with pytest.raises(AnsibleFilterError, match="models_time_window.*got at night"):
        FILTERS["pace"]("", "at night")
