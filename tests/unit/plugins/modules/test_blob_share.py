"""The module blob_share: a service in the background that gives blobs to those who know its secret, and ends."""
from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.localai.fleet.plugins.module_utils._share import Peer, Unreachable

BODY = hashlib.sha256(b"seed").digest() * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
Module = Callable[..., dict[str, Any]]


@pytest.fixture
def args(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / f"{SHA256}.gguf").write_bytes(BODY)
    return {"dest_dir": str(tmp_path), "blobs": [{"sha256": SHA256, "size": len(BODY)}], "address": "127.0.0.1"}


@pytest.fixture
def started(run_module: Module, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
    service = run_module("blob_share", args)
    yield service
    run_module("blob_share", stopped(service))


def stopped(service: dict[str, Any]) -> dict[str, Any]:
    return {"state": "stopped", **{key: service[key] for key in ("address", "port", "secret")}}


def peer(service: dict[str, Any]) -> Peer:
    return Peer("here", service["address"], service["port"], service["secret"])


def test_quartet(run_module: Module, args: dict[str, Any]) -> None:
    predicted = run_module("blob_share", args, check=True)
    assert (predicted["changed"], predicted.get("port")) == (True, None)
    real = run_module("blob_share", args)
    assert (real["changed"], real["diff"]) == (True, predicted["diff"])
    assert peer(real).read(SHA256, 0)[1].read() == BODY
    known = {**args, "port": real["port"], "secret": real["secret"]}
    for check in (True, False):
        again = run_module("blob_share", known, check=check)
        assert (again["changed"], again["port"]) == (False, real["port"])
        assert real["secret"] not in json.dumps(again)
    ends = [run_module("blob_share", stopped(real), check=check)["changed"] for check in (True, False, True, False)]
    assert ends == [True, True, False, False]
    with pytest.raises(Unreachable):
        peer(real).look(SHA256)


def test_each_start_makes_a_secret_of_its_own(run_module: Module, args: dict[str, Any], started: dict[str, Any]) -> None:
    other = run_module("blob_share", args)
    assert other["secret"] != started["secret"] and len(other["secret"]) == 64
    with pytest.raises(Unreachable):
        peer({**other, "secret": started["secret"]}).look(SHA256)
    run_module("blob_share", stopped(other))


def test_its_process_holds_nothing_of_the_one_that_started_it(started: dict[str, Any]) -> None:
    process = Path(f"/proc/{started['pid']}")
    handles = [os.readlink(path) for path in (process / "fd").iterdir()]
    assert [name for name in handles if not name.startswith(("socket:", "/dev/null", "anon_inode:"))] == []
    assert os.readlink(process / "cwd") == "/"
    assert started["secret"].encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert os.getsid(started["pid"]) != os.getsid(0)


def test_it_ends_by_itself(run_module: Module, args: dict[str, Any]) -> None:
    service = run_module("blob_share", {**args, "deadline": 1})
    end = time.monotonic() + 20
    while Path(f"/proc/{service['pid']}").exists() and "Z" not in Path(f"/proc/{service['pid']}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(Unreachable):
        peer(service).look(SHA256)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"blobs": [{"sha256": "/etc/shadow", "size": 9}]}, "A blob cannot be offered (blobs): got /etc/shadow of 9 bytes."),
        ({"blobs": [{"sha256": "a" * 64, "size": 0}]}, "A blob cannot be offered"),
        ({"port": 70000}, "The port is none (port): got 70000."),
        ({"streams": 0}, "The number must be positive (streams): got 0."),
        ({"deadline": 0}, "The number must be positive (deadline): got 0."),
        ({"bandwidth_limit": "much"}, "The rate cannot be used (bandwidth_limit): got much."),
        ({"dest_dir": ...}, "state is started but all of the following are missing: dest_dir"),
        ({"state": "stopped"}, "state is stopped but all of the following are missing: secret"),
    ],
)
def test_bad_input(run_module: Module, args: dict[str, Any], change: dict[str, Any], sentence: str, check: bool) -> None:
    given = {key: value for key, value in {**args, **change}.items() if value is not ...}
    result = run_module("blob_share", given, check=check)
    assert result["failed"] is True
    assert sentence in result["msg"]
