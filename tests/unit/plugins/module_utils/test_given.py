"""Values as a command line or a survey gives them."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._given import number, truth, words


@pytest.mark.parametrize("value, meant", [("4096", 4096), (4096, 4096), (" 2 ", 2), ("many", None), ("1.5", None), (True, None), (None, None)])
def test_number(value, meant):
    if meant is None:
        with pytest.raises(FleetError, match=r"A whole number is wanted \(context\): got"):
            number("context", value)
    else:
        assert number("context", value) == meant


@pytest.mark.parametrize("value, meant", [(True, True), ("Yes", True), ("1", True), (1, True), (False, False), ("no", False), ("0", False), ("maybe", None),
                                          ("", None)])
def test_truth(value, meant):
    if meant is None:
        with pytest.raises(FleetError, match=r"True or false is wanted \(offline\)"):
            truth("offline", value)
    else:
        assert truth("offline", value) is meant


@pytest.mark.parametrize("value, meant", [("a, b,,c ", ["a", "b", "c"]), (["a", " b ", ""], ["a", "b"]), (("a", 1), ["a", "1"]), ("", []), (7, ["7"])])
def test_words(value, meant):
    assert words(value) == meant
