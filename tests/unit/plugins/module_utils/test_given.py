"""Values as a command line or a survey gives them."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._given import amount, folder, number, one_of, truth, words


@pytest.mark.parametrize("value, meant", [("4096", 4096), (4096, 4096), (" 2 ", 2), ("many", None), ("1.5", None), (True, None), (None, None)])
def test_number(value, meant):
    if meant is None:
        with pytest.raises(FleetError, match=r"A whole number is wanted \(context\): got .*\. Give digits alone"):
            number("context", value)
    else:
        assert number("context", value) == meant


@pytest.mark.parametrize("value, meant", [(True, True), ("Yes", True), ("1", True), (1, True), (False, False), ("no", False), ("0", False), ("maybe", None),
                                          ("", None)])
def test_truth(value, meant):
    if meant is None:
        with pytest.raises(FleetError, match=r"True or false is wanted \(offline\).* Say true or false\."):
            truth("offline", value)
    else:
        assert truth("offline", value) is meant


@pytest.mark.parametrize("value, meant", [("0.5", 0.5), (2, 2.0), ("near", None), ("inf", None), ("nan", None), (True, None)])
def test_amount(value, meant):
    if meant is None:
        with pytest.raises(FleetError, match=r"A number is wanted \(ms\): got .*\. Give one such as 0\.5\."):
            amount("ms", value)
    else:
        assert amount("ms", value) == meant


def test_one_of_several_words():
    assert one_of("topology", "auto", ("auto", "sharded")) == "auto"
    for value, got in (("ring", "ring"), ("", "nothing"), (["auto"], r"\['auto'\]")):
        with pytest.raises(FleetError, match=f"topology must be auto, sharded or replicated: got {got}"):
            one_of("topology", value, ("auto", "sharded", "replicated"))


@pytest.mark.parametrize("value, taken", [("/opt/localai", True), ("opt/localai", False), ("~/x", False), ("", False), ("/", False), (None, False)])
def test_folder(value, taken):
    if taken:
        assert folder("common_root", value) == value
    else:
        with pytest.raises(FleetError, match="common_root must be an absolute path: got .*Give the folder from / on"):
            folder("common_root", value)


@pytest.mark.parametrize("value, meant", [("a, b,,c ", ["a", "b", "c"]), (["a", " b ", ""], ["a", "b"]), (("a", 1), ["a", "1"]), ("", []), (7, ["7"])])
def test_words(value, meant):
    assert words(value) == meant
