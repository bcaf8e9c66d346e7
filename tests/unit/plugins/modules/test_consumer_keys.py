"""Keys of consumers: made once, kept for root alone, never told."""
from __future__ import annotations

import hashlib
import re

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _consumers
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

GIVEN = "sk-from-the-vault-0123456789"


def args(tmp_path, *consumers) -> dict:
    return {"path": str(tmp_path / "secrets" / "consumers"), "consumers": list(consumers)}


def keys(tmp_path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in sorted((tmp_path / "secrets" / "consumers").iterdir())}


def told(result) -> dict[str, str]:
    return {consumer["name"]: consumer["sha256"] for consumer in result["consumers"]}


def test_quartet(run_module, tmp_path) -> None:
    wanted = args(tmp_path, {"name": "team-a"}, {"name": "team-b", "key": GIVEN, "models": ["m"]})
    checked = run_module("consumer_keys", wanted, check=True)
    assert checked["changed"] and not (tmp_path / "secrets").exists()
    made = run_module("consumer_keys", wanted)
    assert made["changed"] and made["diff"] == checked["diff"]
    found = keys(tmp_path)
    assert re.fullmatch(r"sk-[0-9a-f]{64}", found["team-a.key"]) and found["team-b.key"] == GIVEN
    assert told(made) == {name: hashlib.sha256(found[f"{name}.key"].encode()).hexdigest() for name in ("team-a", "team-b")}
    assert made["consumers"][1]["models"] == ["m"]
    for check in (True, False):
        again = run_module("consumer_keys", wanted, check=check)
        assert (again["changed"], told(again)) == (False, told(made)) and keys(tmp_path) == found


def test_only_root_reads_them(run_module, tmp_path) -> None:
    run_module("consumer_keys", args(tmp_path, {"name": "a"}))
    folder = tmp_path / "secrets" / "consumers"
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "a.key")] == [0o700, 0o400]
    (folder / "a.key").chmod(0o644)
    folder.chmod(0o755)
    assert run_module("consumer_keys", args(tmp_path, {"name": "a"}))["changed"]
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "a.key")] == [0o700, 0o400]
    assert not run_module("consumer_keys", args(tmp_path, {"name": "a"}))["changed"]


def test_keys_of_others_go(run_module, tmp_path) -> None:
    run_module("consumer_keys", args(tmp_path, {"name": "a"}, {"name": "b"}))
    before = keys(tmp_path)["a.key"]
    (tmp_path / "secrets" / "consumers" / "note.txt").write_text("x")
    assert run_module("consumer_keys", args(tmp_path, {"name": "a"}), check=True)["changed"]
    assert run_module("consumer_keys", args(tmp_path, {"name": "a"}))["diff"]["after"] == "a\n"
    assert keys(tmp_path) == {"a.key": before, "note.txt": "x"}


def test_a_key_from_a_vault_replaces_and_stays(run_module, tmp_path) -> None:
    run_module("consumer_keys", args(tmp_path, {"name": "a"}))
    assert run_module("consumer_keys", args(tmp_path, {"name": "a", "key": GIVEN}))["changed"]
    assert not run_module("consumer_keys", args(tmp_path, {"name": "a"}))["changed"]
    assert keys(tmp_path) == {"a.key": GIVEN}


@pytest.mark.parametrize("consumers", [
    [{"name": "a", "key": GIVEN}], [{"name": "a", "key": "bad value that is long"}], [{"name": "a", "key": GIVEN}, {"name": "b", "key": GIVEN}],
    [{"name": "a"}],
])
def test_no_key_is_in_a_result(run_module, tmp_path, consumers) -> None:
    for check in (True, False):
        result = str(run_module("consumer_keys", args(tmp_path, *consumers), check=check))
        for secret in (GIVEN, "bad value", *(keys(tmp_path).values() if not check and (tmp_path / "secrets").exists() else ())):
            assert secret not in result.replace(str(tmp_path), "")


@pytest.mark.parametrize(("wanted", "found", "words"), [
    ([{"name": "../a"}], {}, ("name is not usable",)),
    ([{"name": "a"}, {"name": "a"}], {}, ("named twice",)),
    ([{"name": "a", "key": "short"}], {}, ("proxy_consumers, a", "5 characters")),
    ([{"name": "a"}], {"a": _consumers.Found("", True)}, ("a.key", "remove the file")),
    ([{"name": "a", "key": GIVEN}, {"name": "b", "key": GIVEN}], {}, ("same key", "a and b")),
])
def test_bad_input_is_a_sentence(wanted, found, words) -> None:
    with pytest.raises(FleetError) as error:
        _consumers.plan(wanted, found)
    assert all(word in str(error.value) for word in words) and GIVEN not in str(error.value)
