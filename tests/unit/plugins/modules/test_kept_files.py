"""kept_files in a real folder."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

LOCK, OLD = "fleet.lock.yml", "fleet.lock.previous.yml"
NAMES = [LOCK, "models.yml"]


@pytest.fixture
def args(tmp_path: Path) -> dict[str, Any]:
    return {"path": str(tmp_path / "opt" / "state"), "names": NAMES, "previous": [LOCK]}


def there(args: dict[str, Any]) -> dict[str, str]:
    folder = Path(args["path"])
    return {path.name: path.read_text() for path in sorted(folder.iterdir())} if folder.exists() else {}


def test_quartet(run_module, args) -> None:
    read = run_module("kept_files", args)
    assert not read["changed"] and read["files"] == read["previous"] == {} and there(args) == {}
    change = {**args, "files": {LOCK: "one\n"}, "revision": read["revision"]}
    predicted = run_module("kept_files", change, check=True)
    assert predicted["changed"] and there(args) == {}
    real = run_module("kept_files", change)
    assert real == predicted and there(args) == {LOCK: "one\n"} and real["written"] == [LOCK]
    assert (os.stat(f"{args['path']}/{LOCK}").st_mode & 0o777, os.stat(args["path"]).st_mode & 0o777) == (0o644, 0o755)
    for check in (True, False):
        again = run_module("kept_files", change, check=check)
        assert not again["changed"] and again["revision"] == real["revision"] and there(args) == {LOCK: "one\n"}


def test_the_text_before_the_last_change_is_kept(run_module, args) -> None:
    for text in ("one\n", "two\n", "three\n"):
        result = run_module("kept_files", {**args, "files": {LOCK: text, "models.yml": text}})
    assert there(args) == {OLD: "two\n", LOCK: "three\n", "models.yml": "three\n"}
    assert result["previous"] == run_module("kept_files", args)["previous"] == {LOCK: "two\n"}
    predicted = run_module("kept_files", {**args, "files": {LOCK: "four\n"}}, check=True)
    assert predicted["previous"] == {LOCK: "three\n"} and there(args)[OLD] == "two\n"


def test_a_file_is_taken_away(run_module, args) -> None:
    run_module("kept_files", {**args, "files": {LOCK: "one\n", "models.yml": "m\n"}})
    result = run_module("kept_files", {**args, "files": {LOCK: None, "models.yml": "m\n"}})
    assert result["changed"] and result["files"] == {"models.yml": "m\n"} and result["written"] == [LOCK] and result["diff"][0]["after"] == ""
    assert there(args) == {OLD: "one\n", "models.yml": "m\n"}
    assert not run_module("kept_files", {**args, "files": {LOCK: None}})["changed"]


@pytest.mark.parametrize("theirs", [{LOCK: "theirs\n"}, {"models.yml": "theirs\n"}])
def test_what_someone_else_changed_is_not_overwritten(run_module, args, theirs) -> None:
    run_module("kept_files", {**args, "files": {LOCK: "one\n"}})
    read = run_module("kept_files", args)
    run_module("kept_files", {**args, "files": theirs, "revision": read["revision"]})
    before = there(args)
    for check in (True, False):
        result = run_module("kept_files", {**args, "files": {LOCK: "mine\n"}, "revision": read["revision"]}, check=check)
        assert result["failed"] and "changed by someone else since it was read, so nothing was written" in result["msg"] and args["path"] in result["msg"]
    assert there(args) == before


def test_the_same_change_by_two_is_no_conflict(run_module, args) -> None:
    revision = run_module("kept_files", args)["revision"]
    assert run_module("kept_files", {**args, "files": {LOCK: "one\n"}, "revision": revision})["changed"]
    assert not run_module("kept_files", {**args, "files": {LOCK: "one\n"}, "revision": revision})["changed"]


def test_diff_mode_shows_texts_or_the_lines_that_are_given(run_module, args) -> None:
    result = run_module("kept_files", {**args, "files": {"models.yml": "a: 1\n"}})
    assert [(each["before"], each["after"], each["after_header"]) for each in result["diff"]] == [("", "a: 1\n", f"{args['path']}: models.yml")]
    result = run_module("kept_files", {**args, "files": {LOCK: "one\n"}, "changes": ["model tiny: added"]})
    assert result["diff"] == {"prepared": f"{args['path']}:\n  model tiny: added\n"}


def test_a_link_stays_a_link(run_module, args, tmp_path) -> None:
    os.makedirs(args["path"])
    real = tmp_path / "real.yml"
    real.write_text("one\n")
    os.symlink(real, f"{args['path']}/{LOCK}")
    assert run_module("kept_files", {**args, "files": {LOCK: "two\n"}})["changed"]
    assert os.path.islink(f"{args['path']}/{LOCK}") and real.read_text() == "two\n"


@pytest.mark.parametrize("change, words", [
    ({"names": ["../x"]}, ("not the name of a file", "/x")), ({"files": {"x": ""}}, ("not looked at", "got x", LOCK)),
    ({"previous": ["x"]}, ("not looked at",)), ({"files": {LOCK: {"a": 1}}}, ("content is not text", LOCK, "dict")),
    ({"path": "/proc/nowhere", "files": {LOCK: "x"}}, ("The folder cannot be used", "/proc/nowhere")),
])
def test_bad_input_is_a_sentence(run_module, args, change, words) -> None:
    result = run_module("kept_files", {**args, **change})
    assert result["failed"] and there(args) == {}
    for word in words:
        assert word in result["msg"]


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_told(run_module, args, content) -> None:
    os.makedirs(args["path"])
    path = Path(args["path"], LOCK)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert "cannot be read" in run_module("kept_files", args)["msg"]
