"""An engine's error, as filters tell it."""
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.plugin_utils import _filters


def divide(number: int, by: int = 1) -> int:
    if not by:
        raise FleetError("Nothing divides by this", "by", "0", "Choose another.")
    return number // by


def test_arguments_and_result_pass() -> None:
    assert _filters.told(divide)(6, by=2) == 3


def test_the_sentence_is_ansibles_and_the_engines() -> None:
    with pytest.raises(AnsibleFilterError, match="Nothing divides by this") as error:
        _filters.told(divide)(6, 0)
    assert isinstance(error.value.__cause__, FleetError)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(TypeError):
        _filters.told(divide)("six", 2)
