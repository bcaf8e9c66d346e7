"""The filter compose_env."""
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.compose_env import FilterModule

compose_env = FilterModule().filters()["compose_env"]


def test_text() -> None:
    assert compose_env({"A": "b"}) == "A='b'\n"


def test_error_is_the_engines_sentence() -> None:
    with pytest.raises(AnsibleFilterError, match="name is not usable"):
        compose_env({"A-B": "c"})
