"""The filter choice: the engine's answer as plain data, its error as Ansible's."""
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.choice import FilterModule


def test_a_choice_and_one_that_cannot_be_meant():
    choice = FilterModule().filters()["choice"]
    assert choice({"choose_models": "1", "choose_aliases": "gpt-4=1"}) == {
        "models": "1", "aliases": {"gpt-4": "1"}, "presets": ["all"], "search": None, "options": {}, "only": False, "overwrite": False}
    with pytest.raises(AnsibleFilterError, match="Did you mean choose_models"):
        choice({"choose_model": "1"})
