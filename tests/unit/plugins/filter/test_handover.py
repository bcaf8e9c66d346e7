"""The filters give the engine's sentence in Ansible's own error family."""
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.handover import FilterModule

FILTERS = FilterModule().filters()


def test_a_filter_returns_what_the_engine_returns() -> None:
    assert FILTERS["listen_address"]("a", ["b"], {"a": "192.0.2.1"}) == "192.0.2.1"


def test_an_error_is_told_as_a_sentence() -> None:
    plan = {"hosts": {"b": {"instances": [{"name": "localai", "models": [{"name": "m", "aliases": [], "kind": "chat"}]}]}}}
    with pytest.raises(AnsibleFilterError, match="The server has no address that a gateway can use"):
        FILTERS["routes"](plan, "a", {}, 8080)
