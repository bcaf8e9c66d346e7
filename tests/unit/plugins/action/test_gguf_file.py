"""The action plugin of gguf_file: when it prints, what it prints, and what survives the death of the controller."""
from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import hub_repository
import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.localai.fleet.plugins.action import gguf_file

from tests.lab import hub

ROOT = Path(__file__).resolve().parents[4]
BODY = hashlib.sha256(b"seed").digest() * 100_000
SIZE = len(BODY)
SHA256 = hashlib.sha256(BODY).hexdigest()
REPO, FILE = "acme/Tiny-GGUF", "tiny-Q4_K_M.gguf"
SECRET = "hf_nobody-may-see-me"


def progress(**change: Any) -> dict[str, Any]:
    base = {"phase": "fetching", "name": "gemma-3-270m", "bytes": 108838600, "total": 253113024, "rate": 22020096.0, "eta": 6.6, "message": ""}
    return {**base, **change}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "ai1: gemma-3-270m 43 % of 0.24 GiB, 21.0 MiB/s, ETA 7 s"),
        ({"eta": None, "rate": 0.0}, "ai1: gemma-3-270m 43 % of 0.24 GiB, 0.0 MiB/s"),
        ({"eta": 600.0}, "ai1: gemma-3-270m 43 % of 0.24 GiB, 21.0 MiB/s, ETA 10 min"),
        ({"eta": 9000.0}, "ai1: gemma-3-270m 43 % of 0.24 GiB, 21.0 MiB/s, ETA 2 h 30 min"),
        ({"message": "from ai2"}, "ai1: gemma-3-270m 43 % of 0.24 GiB, 21.0 MiB/s, ETA 7 s, from ai2"),
        ({"phase": "waiting", "message": "ai2"}, "ai1: gemma-3-270m 43 % of 0.24 GiB, waiting for ai2"),
        ({"phase": "checking"}, "ai1: gemma-3-270m 43 % of 0.24 GiB, checking"),
        ({"phase": "retrying", "message": "hub answered 503"}, "ai1: gemma-3-270m 43 % of 0.24 GiB, trying again: hub answered 503"),
    ],
)
def test_line(change: dict[str, Any], text: str) -> None:
    assert gguf_file.line("ai1", progress(**change)) == text


@pytest.mark.parametrize(
    ("now", "percent", "phase", "eta", "due"),
    [
        (100.5, 30.0, "fetching", 10.0, False),
        (101.5, 20.0, "fetching", 10.0, True),
        (102.0, 15.0, "fetching", 10.0, False),
        (105.0, 11.0, "fetching", 10.0, True),
        (105.0, 10.0, "fetching", 10.0, False),
        (105.0, 11.0, "fetching", 400.0, False),
        (120.0, 11.0, "fetching", 400.0, True),
        (150.0, 11.0, "fetching", 90000.0, False),
        (160.0, 11.0, "fetching", 90000.0, True),
        (102.0, 10.0, "retrying", None, True),
    ],
)
def test_is_due(now: float, percent: float, phase: str, eta: float | None, due: bool) -> None:
    assert gguf_file.is_due(now, percent, phase, eta, gguf_file.Line(100.0, 10.0, "fetching")) is due


@pytest.mark.parametrize(
    ("job", "finished"),
    [
        ({}, False),
        ({"started": 1, "finished": 0, "ansible_job_id": "j1.2"}, False),
        ({"started": 1, "finished": 1, "msg": "killed"}, True),
        ({"changed": True}, True),
    ],
)
def test_is_finished(job: dict[str, Any], finished: bool) -> None:
    assert gguf_file.is_finished(job) is finished


@pytest.mark.parametrize(("text", "value"), [("", {}), ("{", {}), ("[1]", {}), ('{"a": 1}', {"a": 1})])
def test_parse(text: str, value: dict[str, Any]) -> None:
    assert gguf_file.parse(text) == value


@pytest.mark.parametrize(("rate", "size"), [(0.0, 1 << 25), (2e6, 2_000_000), (1000.0, 1 << 18), (1e9, 1 << 25)])
def test_piece_size(rate: float, size: int) -> None:
    assert gguf_file.piece_size(rate) == size


def test_progress_of_what_the_controller_sends() -> None:
    told = gguf_file.sent("tiny", 600, 1000, (10.0, 200), 12.0)
    assert (told["rate"], told["eta"], gguf_file.line("ai1", told)) == (200.0, 2.0, "ai1: tiny 60 % of 0.00 GiB, 0.0 MiB/s, ETA 2 s, from the controller")


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Hold a blob
      localai.fleet.gguf_file:
        dest_dir: "{dest_dir}"
        name: tiny
        {source}
        sha256: "{sha256}"
        size: {size}
        token: "{token}"
        reserve_bytes: 0
        retries: 1
"""


class Controller:
    """Runs of one playbook against this machine."""

    def __init__(self, server: hub.HubServer, tmp_path: Path, source: str = "") -> None:
        self.store, self.home = tmp_path / "gguf", tmp_path / "home"
        self.home.mkdir()
        self.target = self.store / f"{SHA256}.gguf"
        self.progress = self.store / ".partial" / f"{SHA256}.progress.json"
        self.playbook = tmp_path / "play.yml"
        source = source or f"url: {server.url}/{REPO}/resolve/main/{FILE}"
        self.playbook.write_text(PLAY.format(dest_dir=self.store, source=source, sha256=SHA256, size=SIZE, token=SECRET))

    def start(self, *options: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_HOME": str(self.home), "HOME": str(self.home), "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(self.playbook)]
        return subprocess.Popen(
            [*command, "-e", f"ansible_python_interpreter={sys.executable}", *options], env=environment, cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )

    def run(self, *options: str) -> str:
        return self.start(*options).communicate(timeout=90)[0]

    def pid(self) -> int:
        """The process on the host that fetches."""
        return int(json.loads(self.progress.read_text())["pid"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[hub.HubServer]:
    with hub_repository.serving(tmp_path / "hub", REPO, FILE, BODY) as running:
        yield running


@pytest.fixture
def controller(server: hub.HubServer, tmp_path: Path) -> Controller:
    return Controller(server, tmp_path)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def under_way(server: hub.HubServer) -> bool:
    return any(e.bytes > SIZE // 8 for e in server.log.entries if e.path.startswith("/__cdn__"))


def sent(server: hub.HubServer) -> list[int]:
    return [e.bytes for e in server.log.entries if e.path.startswith("/__cdn__")]


def test_predicts_fetches_and_rests(server: hub.HubServer, controller: Controller) -> None:
    assert "changed=1" in controller.run("--check", "--diff")
    assert not controller.store.exists()
    server.switches.set({"drip": {"bytes_per_second": 1_500_000}})
    output = controller.run("--diff", "-vvv")
    assert "changed=1" in output and f"+size: {SIZE}" in output
    assert any(text.startswith("localhost: tiny ") and " % of 0.00 GiB, " in text and " MiB/s" in text for text in output.splitlines())
    assert SECRET not in output
    assert controller.target.read_bytes() == BODY
    assert list((controller.home / ".ansible_async").iterdir()) == []
    assert "changed=0" in controller.run("--diff")
    assert sent(server) == [SIZE]


def test_the_controller_dies_and_the_next_one_watches_on(server: hub.HubServer, controller: Controller) -> None:
    server.switches.set({"drip": {"bytes_per_second": 50_000}})
    first = controller.start()
    wait_for(lambda: under_way(server))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=10)
    second = controller.start()
    watched = any(line.startswith("localhost: tiny ") for line in second.stdout)
    server.switches.clear()
    assert watched and not controller.target.exists()
    # Whether this run counts as a change depends on which of the two jobs looked first. communicate() would lose what is buffered.
    assert "failed=0" in second.stdout.read()
    assert second.wait(timeout=60) == 0
    assert controller.target.read_bytes() == BODY
    assert sent(server) == [SIZE]


def test_the_process_on_the_host_dies_and_the_next_run_resumes(server: hub.HubServer, controller: Controller) -> None:
    server.switches.set({"drip": {"bytes_per_second": 1_000_000}})
    first = controller.start()
    wait_for(lambda: under_way(server) and controller.progress.exists())
    os.kill(controller.pid(), signal.SIGKILL)
    output = first.communicate(timeout=60)[0]
    assert "failed=1" in output and "Run again to resume" in output
    kept = (controller.store / ".partial" / f"{SHA256}.gguf.part").stat().st_size
    assert 0 < kept < SIZE and not controller.target.exists()
    server.switches.clear()
    assert "changed=1" in controller.run()
    assert sent(server)[1:] == [SIZE - kept]
    assert controller.target.read_bytes() == BODY


def test_errors_are_sentences(server: hub.HubServer, controller: Controller) -> None:
    server.switches.set({"wrong_bytes": True})
    output = controller.run()
    assert "failed=1" in output and "another sha256 than the lock says" in output
    assert not controller.target.exists()


@pytest.fixture
def sender(server: hub.HubServer, tmp_path: Path) -> Controller:
    """A controller that has the file itself and sends 500 kB a second."""
    (tmp_path / "cached.gguf").write_bytes(BODY)
    return Controller(server, tmp_path, f"src: {tmp_path}/cached.gguf\n        bandwidth_limit: 500kB/s")


def test_a_file_of_the_controller_comes_in_pieces(server: hub.HubServer, sender: Controller) -> None:
    assert "changed=1" in sender.run("--check")
    assert not sender.store.exists()
    output = sender.run("-vvv")
    assert "changed=1" in output and SECRET not in output
    assert any(text.startswith("localhost: tiny ") and text.endswith(", from the controller") for text in output.splitlines())
    assert sender.target.read_bytes() == BODY
    assert list((sender.store / ".partial").iterdir()) == []
    assert "changed=0" in sender.run()
    assert server.log.entries == []


def test_sending_goes_on_where_a_killed_controller_stopped(sender: Controller) -> None:
    part = sender.store / ".partial" / f"{SHA256}.gguf.part"
    first = sender.start()
    wait_for(lambda: part.exists() and part.stat().st_size > 0)
    workers = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    for pid in (first.pid, *map(int, workers)):  # a worker has a session of its own
        os.kill(pid, signal.SIGKILL)
    first.communicate(timeout=10)
    kept = part.stat().st_size
    assert 0 < kept < SIZE and not sender.target.exists()
    output = sender.run("-vvv")
    assert "changed=1" in output and f"resumed_from: {kept}" in output
    assert sender.target.read_bytes() == BODY


def test_a_file_that_ends_while_it_is_sent_ends_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cached.gguf").write_bytes(BODY)
    action = object.__new__(gguf_file.ActionModule)
    monkeypatch.setattr(action, "_send_piece", lambda *_args: {"bytes_present": 1000})
    with pytest.raises(AnsibleActionFail, match=f"ended while it was sent .*got 1000 of {SIZE} bytes"):
        action._send({"src": f"{tmp_path}/cached.gguf", "size": SIZE, "sha256": SHA256}, {"resumed_from": 0}, {"inventory_hostname": "ai1"})


def test_a_controller_without_the_file_says_so(sender: Controller, tmp_path: Path) -> None:
    (tmp_path / "cached.gguf").unlink()
    assert "changed=1" in sender.run("--check"), "it would be fetched first"
    assert "The controller does not have the file" in sender.run()
    assert not sender.target.exists()
