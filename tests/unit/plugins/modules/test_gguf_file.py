"""The module gguf_file: predicted equals real, sentences for bad input, and a download that is killed half-way."""
from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import hub_repository
import pytest

from tests.lab import hub

ROOT = Path(__file__).resolve().parents[4]
BODY = hashlib.sha256(b"seed").digest() * 100_000
SIZE = len(BODY)
SHA256 = hashlib.sha256(BODY).hexdigest()
REPO, FILE = "acme/Tiny-GGUF", "tiny-Q4_K_M.gguf"
Module = Callable[..., dict[str, Any]]
OURS = ("changed", "path", "bytes_fetched", "resumed_from", "retries", "diff")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[hub.HubServer]:
    with hub_repository.serving(tmp_path / "hub", REPO, FILE, BODY) as running:
        yield running


@pytest.fixture
def args(server: hub.HubServer, tmp_path: Path) -> dict[str, Any]:
    return {
        "dest_dir": str(tmp_path / "store" / "models" / "gguf"), "name": "tiny", "sha256": SHA256, "size": SIZE,
        "url": f"{server.url}/{REPO}/resolve/main/{FILE}", "reserve_bytes": 0,
    }


def test_quartet(run_module: Module, args: dict[str, Any], tmp_path: Path) -> None:
    predicted = run_module("gguf_file", args, check=True)
    assert not (tmp_path / "store").exists()
    real = run_module("gguf_file", args)
    assert real["changed"] is True
    assert {key: predicted[key] for key in OURS} == {key: real[key] for key in OURS}
    assert real["path"] == f"{args['dest_dir']}/{SHA256}.gguf"
    assert (real["bytes_fetched"], real["resumed_from"], real["diff"]["before"]) == (SIZE, 0, "")
    assert f"name: tiny\nsize: {SIZE}\nmode: 0644\n" in real["diff"]["after"]
    for check in (True, False):
        again = run_module("gguf_file", args, check=check)
        assert (again["changed"], again["bytes_fetched"]) == (False, 0)
        assert again["diff"]["before"] == again["diff"]["after"]


def test_quartet_of_removal(run_module: Module, args: dict[str, Any]) -> None:
    run_module("gguf_file", args)
    absent = {"dest_dir": args["dest_dir"], "sha256": SHA256, "state": "absent"}
    path = Path(args["dest_dir"]) / f"{SHA256}.gguf"
    predicted = run_module("gguf_file", absent, check=True)
    assert path.exists()
    real = run_module("gguf_file", absent)
    assert not path.exists()
    assert {key: predicted[key] for key in OURS} == {key: real[key] for key in OURS}
    assert [run_module("gguf_file", absent, check=check)["changed"] for check in (True, False)] == [False, False]


def test_removal_takes_what_an_unfinished_download_left(run_module: Module, args: dict[str, Any]) -> None:
    part = Path(args["dest_dir"]) / ".partial" / f"{SHA256}.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    absent = {"dest_dir": args["dest_dir"], "sha256": SHA256, "state": "absent"}
    assert [run_module("gguf_file", absent)["changed"] for dummy in range(2)] == [True, False]
    assert list(part.parent.iterdir()) == []


def test_permissions_are_kept(run_module: Module, args: dict[str, Any]) -> None:
    run_module("gguf_file", args)
    path = Path(args["dest_dir"]) / f"{SHA256}.gguf"
    path.chmod(0o600)
    predicted = run_module("gguf_file", args, check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    real = run_module("gguf_file", args)
    assert (predicted["changed"], real["changed"], real["bytes_fetched"]) == (True, True, 0)
    assert ("mode: 0600" in real["diff"]["before"], "mode: 0644" in real["diff"]["after"]) == (True, True)
    assert path.stat().st_mode & 0o777 == 0o644


def test_verify_repairs_a_damaged_blob(run_module: Module, args: dict[str, Any]) -> None:
    run_module("gguf_file", args)
    path = Path(args["dest_dir"]) / f"{SHA256}.gguf"
    path.write_bytes(b"\0" * SIZE)
    assert run_module("gguf_file", args)["changed"] is False
    verify = {**args, "verify": True}
    results = [run_module("gguf_file", verify, check=check) for check in (True, False, True, False)]
    assert [(r["changed"], r["bytes_fetched"]) for r in results] == [(True, SIZE), (True, SIZE), (False, 0), (False, 0)]
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sha256": "abc"}, "The sha256 is not one (sha256): got abc. Give 64 hexadecimal digits."),
        ({"size": 0}, "The size must be positive (size): got 0."),
        ({"bandwidth_limit": "fast"}, "The rate cannot be used (bandwidth_limit): got fast."),
        ({"time_window": "at night"}, "The time window cannot be used (time_window): got at night."),
        ({"mode": "u=rw"}, "The mode is not octal (mode): got u=rw."),
        ({"url": "ftp://host/x"}, "The URL cannot be fetched (ftp://host/x)"),
        ({"reserve_bytes": 1 << 60}, "There is not enough disk space for tiny"),
        ({"ahead_bytes": 1 << 60}, "There is not enough disk space for tiny and what comes after it"),
        ({"url": ...}, "state is present but any of the following are missing: url, src"),
    ],
)
def test_bad_input(run_module: Module, args: dict[str, Any], tmp_path: Path, change: dict[str, Any], sentence: str, check: bool) -> None:
    given = {key: value for key, value in {**args, **change}.items() if value is not ...}
    result = run_module("gguf_file", given, check=check)
    assert result["failed"] is True
    assert sentence in result["msg"]
    assert not list((tmp_path / "store").rglob("*.gguf"))


def test_a_wrong_digest_names_both(run_module: Module, args: dict[str, Any], server: hub.HubServer) -> None:
    server.switches.set({"wrong_bytes": True})
    result = run_module("gguf_file", args)
    assert f"{SHA256} was expected" in result["msg"]
    assert result["failure"]["what"] == "tiny has another sha256 than the lock says"
    assert [path.name for path in (Path(args["dest_dir"]) / ".partial").iterdir()] == [f"{SHA256}.progress.json"], "why, and nothing of the file"


def test_the_token_is_never_told(run_module: Module, args: dict[str, Any], server: hub.HubServer) -> None:
    server.switches.set({"gated": True})
    secret = {**args, "token": "nobody-knows-me", "headers": {"X-Key": "nor-me"}}
    refused = json.dumps(run_module("gguf_file", secret))
    assert "403 Access to model" in refused
    accepted = json.dumps(run_module("gguf_file", {**secret, "token": "hf_nobody-knows-me"}))
    assert '"changed": true' in accepted
    assert "knows-me" not in refused + accepted and "nor-me" not in refused + accepted


CHILD = """
import sys, json
from ansible.module_utils.testing import patch_module_args
from ansible_collections.localai.fleet.plugins.modules import gguf_file
with patch_module_args(json.loads(sys.argv[1])):
    gguf_file.main()
"""


def start(args: dict[str, Any], largest: int = -1) -> "subprocess.Popen[str]":
    """The module in a process of its own, which may write files of `largest` bytes."""
    path = os.pathsep.join([str(ROOT / ".ansible" / "collections"), *filter(None, sys.path)])
    full = {**args, "_ansible_check_mode": False, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
    return subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(full)], env={**os.environ, "PYTHONPATH": path},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)))


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.95])
def test_killed_and_resumed(run_module: Module, args: dict[str, Any], server: hub.HubServer, share: float) -> None:
    server.switches.set({"drip": {"bytes_per_second": 3_000_000}})
    target = Path(args["dest_dir"]) / f"{SHA256}.gguf"
    part = Path(args["dest_dir"]) / ".partial" / f"{SHA256}.gguf.part"
    child = start(args)
    wait_for(lambda: part.exists() and part.stat().st_size > SIZE * share)
    assert not target.exists()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=10)
    kept = part.stat().st_size
    assert SIZE * share < kept < SIZE and BODY.startswith(part.read_bytes())
    assert not target.exists()

    server.switches.clear()
    server.log.clear()
    predicted = run_module("gguf_file", args, check=True)
    done = run_module("gguf_file", args)
    for result in (predicted, done):
        assert (result["changed"], result["resumed_from"], result["bytes_fetched"]) == (True, kept, SIZE - kept)
    sent = [(e.range, e.status, e.bytes) for e in server.log.entries if e.path.startswith("/__cdn__")]
    assert sent == [(f"bytes={kept}-", 206, SIZE - kept)]
    assert target.read_bytes() == BODY
    assert list(part.parent.iterdir()) == []


def test_a_disk_that_takes_no_more_keeps_what_it_took(run_module: Module, args: dict[str, Any]) -> None:
    """The kernel refuses a write in mid-download, as a full disk does."""
    result = json.loads(start(args, largest=SIZE // 3).communicate(timeout=30)[0])
    assert "tiny could not be written" in result["msg"] and "make room or repair the file system and run again" in result["msg"]
    part = Path(args["dest_dir"]) / ".partial" / f"{SHA256}.gguf.part"
    kept = part.read_bytes()
    assert 0 < len(kept) <= SIZE // 3 and BODY.startswith(kept)
    assert not list(Path(args["dest_dir"]).glob("*.gguf"))
    assert run_module("gguf_file", args)["resumed_from"] == len(kept)


def test_a_neighbour_gives_it_first(run_module: Module, args: dict[str, Any], server: hub.HubServer, tmp_path: Path) -> None:
    (tmp_path / f"{SHA256}.gguf").write_bytes(BODY)
    service = run_module("blob_share", {"dest_dir": str(tmp_path), "address": "127.0.0.1", "blobs": [{"sha256": SHA256, "size": SIZE}]})
    peer = {"name": "ai1", **{key: service[key] for key in ("address", "port", "secret")}}
    real = run_module("gguf_file", {**args, "peers": [peer]})
    run_module("blob_share", {"state": "stopped", **{key: peer[key] for key in ("address", "port", "secret")}})
    assert (real["changed"], real["sources"]) == (True, {"ai1": SIZE})
    assert peer["secret"] not in json.dumps(real)
    assert server.log.entries == []
    wrong = run_module("gguf_file", {**args, "dest_dir": str(tmp_path / "other"), "peers": [{**peer, "port": 0}]})
    assert "The port of a peer is none (peer ai1): got 0." in wrong["msg"]


def test_a_file_of_the_controller_needs_the_action_plugin(run_module: Module, args: dict[str, Any]) -> None:
    del args["url"]
    assert run_module("gguf_file", {**args, "src": "/cache/x"}, check=True)["bytes_fetched"] == SIZE
    assert "comes in pieces only" in run_module("gguf_file", {**args, "src": "/cache/x"})["msg"]


def test_two_runs_at_once_fetch_once(run_module: Module, args: dict[str, Any], server: hub.HubServer) -> None:
    server.switches.set({"drip": {"bytes_per_second": 3_000_000}})
    part = Path(args["dest_dir"]) / ".partial" / f"{SHA256}.gguf.part"
    first = start(args)
    wait_for(lambda: part.exists() and part.stat().st_size > 0)
    second = run_module("gguf_file", args)
    first_result = json.loads(first.communicate(timeout=30)[0])
    assert (first_result["bytes_fetched"], second["bytes_fetched"]) == (SIZE, 0)
    assert sum(e.bytes for e in server.log.entries if e.path.startswith("/__cdn__")) == SIZE
