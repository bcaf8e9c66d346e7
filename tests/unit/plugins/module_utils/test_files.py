"""What must change in one directory."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _files
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

A = _files.Wanted("a.yaml", b"one\n", 0o640, "root", "root")
FOUND_A = _files.Found(b"one\n", 0o640, "root", "root")


@pytest.mark.parametrize(("wanted", "found", "owned", "expected"), [
    ([A], {}, [], [("create", "a.yaml")]),
    ([A], {"a.yaml": FOUND_A}, [], []),
    ([A], {"a.yaml": _files.Found(b"two\n", 0o640, "root", "root")}, [], [("replace", "a.yaml")]),
    ([A], {"a.yaml": _files.Found(b"one\n", 0o600, "root", "root")}, [], [("attributes", "a.yaml")]),
    ([A], {"a.yaml": FOUND_A, "b.yaml": FOUND_A}, [], []),
    ([A], {"a.yaml": FOUND_A, "b.yaml": FOUND_A, "keep.txt": FOUND_A}, ["*.yaml"], [("remove", "b.yaml")]),
    ([A], {"a.yaml": FOUND_A, ".a.yaml.partial": FOUND_A}, [], [("remove", ".a.yaml.partial")]),
    ([], {"b.yml": FOUND_A}, ["*.yaml", "*.yml"], [("remove", "b.yml")]),
])
def test_plan(wanted, found, owned, expected) -> None:
    assert [(a.kind, a.name) for a in _files.plan(wanted, found, owned)] == expected


def test_owner_none_is_left_alone() -> None:
    wanted = _files.Wanted("a.yaml", b"one\n", 0o640)
    assert _files.plan([wanted], {"a.yaml": _files.Found(b"one\n", 0o640, "somebody", "nobody")}, []) == []


def test_a_secret_is_never_in_an_action_for_people() -> None:
    wanted = _files.Wanted("k.env", b"KEY=hunter2\n", 0o600, secret=True)
    action = _files.plan([wanted], {"k.env": _files.Found(b"KEY=hunter1\n", 0o600, "root", "root")}, [])[0]
    assert "hunter" not in action.before + action.after
    assert action.before != action.after


@pytest.mark.parametrize(("text", "bits"), [("0640", 0o640), ("755", 0o755), ("0400", 0o400)])
def test_mode(text, bits) -> None:
    assert _files.parse_mode(text, "mode") == bits


@pytest.mark.parametrize("text", ["rw", "416x", "9", ""])
def test_bad_mode_is_a_sentence(text) -> None:
    with pytest.raises(FleetError, match="not octal"):
        _files.parse_mode(text, "mode")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "."])
def test_a_name_stays_in_the_directory(name) -> None:
    with pytest.raises(FleetError, match="not the name of a file"):
        _files.parse_files([{"name": name, "content": "", "mode": "0644"}], False, None, None)


def test_twice_is_refused() -> None:
    with pytest.raises(FleetError, match="twice"):
        _files.plan([A, A], {}, [])
