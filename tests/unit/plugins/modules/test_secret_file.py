"""A secret made once and kept in a file."""
from __future__ import annotations

import base64

import pytest
from ansible_collections.localai.fleet.plugins.modules import secret_file

GIVEN = "from-the-vault-0123456789"


def told(result) -> str:
    """The secret of a result."""
    return base64.b64decode(result["content"]).decode()


def test_quartet(run_module, tmp_path) -> None:
    args = {"path": str(tmp_path / "secrets" / "admin.key")}
    assert run_module("secret_file", args, check=True)["changed"] and not (tmp_path / "secrets").exists()
    made = run_module("secret_file", args)
    assert made["changed"] and (tmp_path / "secrets" / "admin.key").read_text().strip() == told(made)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "secrets" / "admin.key").stat().st_mode & 0o777 == 0o400
    for check in (True, False):
        again = run_module("secret_file", args, check=check)
        assert (again["changed"], told(again)) == (False, told(made))


def test_a_given_secret_wins_and_stays(run_module, tmp_path) -> None:
    path = str(tmp_path / "admin.key")
    run_module("secret_file", {"path": path})
    given = run_module("secret_file", {"path": path, "value": GIVEN})
    assert (given["changed"], told(given)) == (True, GIVEN)
    assert told(run_module("secret_file", {"path": path})) == GIVEN


def test_open_permissions_are_closed_again(run_module, tmp_path) -> None:
    path = tmp_path / "admin.key"
    run_module("secret_file", {"path": str(path)})
    path.chmod(0o644)
    assert run_module("secret_file", {"path": str(path)})["changed"]
    assert path.stat().st_mode & 0o777 == 0o400


def test_the_first_of_two_wins(tmp_path) -> None:
    path = tmp_path / "admin.key"
    assert secret_file.write(str(path), "first", replace=False)
    assert not secret_file.write(str(path), "second", replace=False)
    assert path.read_text() == "first\n"
    assert [p.name for p in tmp_path.iterdir()] == ["admin.key"]


@pytest.mark.parametrize("value", [GIVEN, "bad value"])
def test_the_plain_secret_is_in_no_result(run_module, tmp_path, value) -> None:
    assert value not in str(run_module("secret_file", {"path": str(tmp_path / "k"), "value": value}))
