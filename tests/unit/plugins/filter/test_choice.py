"""What was chosen, and what is kept: the engine's answer as plain data, its error as Ansible's."""
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


@pytest.mark.parametrize("text, models", [
    ("", []), ("---\nmodels_wanted: []\n", []),
    ('models_wanted:\n  - {name: m, source: "hf://a/b", template: {chat: !unsafe "{{.Input}}"}}\n',
     [{"name": "m", "source": "hf://a/b", "template": {"chat": "{{.Input}}"}}]),
])
def test_kept_models_are_plain_data(text, models):
    found = FilterModule().filters()["kept_models"](text)
    assert found == models and {type(item["template"]["chat"]) for item in found} <= {str}


def test_a_kept_file_that_holds_something_else_is_told():
    with pytest.raises(AnsibleFilterError, match="holds something else .models.yml"):
        FilterModule().filters()["kept_models"]("- a\n")
