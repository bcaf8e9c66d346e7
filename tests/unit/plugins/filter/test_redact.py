"""The filter redact."""
from __future__ import annotations

from ansible_collections.localai.fleet.plugins.filter.redact import FilterModule


def test_redact() -> None:
    assert FilterModule().filters()["redact"]("the key is hunter2!", ["hunter2"]) == "the key is ********!"
