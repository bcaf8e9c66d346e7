"""The wanted files of one directory, on a real directory."""
from __future__ import annotations

from pathlib import Path

import pytest


def wanted(path: Path, **changes):
    """Arguments for two files, one of them secret."""
    return {
        "path": str(path / "conf"), "mode": "0750", "purge": ["*.yaml"],
        "files": [{"name": "a.yaml", "content": "one\n", "mode": "0640"}],
        "secret_files": [{"name": "a.env", "content": "KEY='hunter2'\n", "mode": "0600"}],
        **changes,
    }


def test_quartet(run_module, tmp_path) -> None:
    args = wanted(tmp_path)
    predicted = run_module("config_files", args, check=True)
    assert predicted["changed"] and not (tmp_path / "conf").exists()
    real = run_module("config_files", args)
    assert (real["written"], real["diff"]) == (predicted["written"], predicted["diff"]) == (["a.yaml", "a.env"], real["diff"])
    assert (tmp_path / "conf" / "a.yaml").read_text() == "one\n"
    assert (tmp_path / "conf").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "conf" / "a.env").stat().st_mode & 0o777 == 0o600
    assert not run_module("config_files", args, check=True)["changed"]
    assert not run_module("config_files", args)["changed"]


def test_what_is_no_longer_wanted_is_removed(run_module, tmp_path) -> None:
    run_module("config_files", wanted(tmp_path))
    (tmp_path / "conf" / "gguf").mkdir()
    result = run_module("config_files", wanted(tmp_path, files=[]))
    assert result["removed"] == ["a.yaml"]
    assert sorted(p.name for p in (tmp_path / "conf").iterdir()) == ["a.env", "gguf"]


def test_a_failed_check_changes_nothing(run_module, tmp_path) -> None:
    run_module("config_files", wanted(tmp_path))
    files = [{"name": "a.yaml", "content": "two\n"}, {"name": "b.yaml", "content": "x", "validate": "grep -q two %s"}]
    result = run_module("config_files", wanted(tmp_path, files=files))
    assert result["failed"] and "did not pass its check" in result["msg"]
    assert (tmp_path / "conf" / "a.yaml").read_text() == "one\n"
    assert sorted(p.name for p in (tmp_path / "conf").iterdir()) == ["a.env", "a.yaml"]


def test_what_a_killed_run_left_is_taken_away(run_module, tmp_path) -> None:
    run_module("config_files", wanted(tmp_path))
    (tmp_path / "conf" / ".a.yaml.partial").write_text("on")
    assert run_module("config_files", wanted(tmp_path))["removed"] == [".a.yaml.partial"]


def test_an_unknown_owner_is_a_sentence(run_module, tmp_path) -> None:
    args = wanted(tmp_path, files=[{"name": "a.yaml", "content": "", "owner": "no-such-user"}])
    assert run_module("config_files", args, check=True)["changed"]
    assert "does not exist" in run_module("config_files", args)["msg"]


@pytest.mark.parametrize("check", [True, False])
def test_a_secret_is_in_no_result(run_module, tmp_path, check) -> None:
    assert "hunter2" not in str(run_module("config_files", wanted(tmp_path), check=check))
