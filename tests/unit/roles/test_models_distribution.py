"""The role models on three hosts that are folders of this machine: who fetches what from whom, in the role's own words, against the lab's hub."""
from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Iterator

import pytest

from tests.lab import hub
from tests.lab.tls import ensure_ca, ensure_certificate

ROOT = Path(__file__).resolve().parents[3]
BODY = hashlib.sha256(b"seed").digest() * 100_000
SIZE = len(BODY)
SHA256 = hashlib.sha256(BODY).hexdigest()
REPO, FILE = "acme/Tiny-GGUF", "tiny-Q4_K_M.gguf"
NAMES = ("ai1", "ai2", "ai3")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the role gives blobs to root")


class Fleet:
    """Three hosts, each a folder, and runs of the role."""

    def __init__(self, server: hub.HubServer, place: Path) -> None:
        self.place, self.server = place, server
        files = [{"name": "tiny", "sha256": SHA256, "size": SIZE, "url": f"{server.url}/{REPO}/resolve/main/{FILE}"}]
        hosts = {name: {"ansible_connection": "local", "common_root": str(place / name)} for name in NAMES}
        common = {"ansible_python_interpreter": sys.executable, "models_files": files, "models_hub_endpoint": server.url,
                  "models_share_address": "127.0.0.1", "models_share_port": 0, "models_controller_cache": str(place / "cache")}
        (place / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
        for entry in ("main", "remove"):
            role = {"name": "localai.fleet.models", "tasks_from": entry}
            (place / f"{entry}.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [
                {"name": "The role", "ansible.builtin.import_role": role}]}]))

    def start(self, mode: str, *options: str, play: str = "main", **variables: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ, **variables, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_HOME": str(self.place / "home"), "HOME": str(self.place / "home"), "ANSIBLE_NOCOLOR": "1",
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.place / "hosts.json"), str(self.place / f"{play}.yml")]
        return subprocess.Popen(
            [*command, "-e", f"models_distribution={mode}", *options], env=environment, cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def run(self, mode: str, *options: str, play: str = "main", **variables: str) -> str:
        return self.start(mode, *options, play=play, **variables).communicate(timeout=180)[0]

    def blob(self, name: str) -> Path:
        return self.place / name / "models" / "gguf" / f"{SHA256}.gguf"

    def part(self, name: str) -> int:
        path = self.blob(name).parent / ".partial" / f"{SHA256}.gguf.part"
        return path.stat().st_size if path.exists() else 0

    def pid(self, name: str) -> int:
        """The process of a host that fetches."""
        return int(json.loads((self.blob(name).parent / ".partial" / f"{SHA256}.progress.json").read_text())["pid"])

    def whole(self) -> list[str]:
        return [name for name in NAMES if self.blob(name).exists() and self.blob(name).read_bytes() == BODY]

    def sent(self) -> int:
        """Bytes of the file that left the hub."""
        return sum(entry.bytes for entry in self.server.log.entries if entry.path.startswith("/__cdn__"))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    folder = tmp_path / "hub" / REPO
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(BODY)
    with hub.running(tmp_path / "hub") as server:
        yield Fleet(server, tmp_path)


def changes(output: str) -> list[int]:
    """`changed` of each host."""
    return [int(count) for count in re.findall(r"changed=(\d+)", output)]


def test_seed(fleet: Fleet) -> None:
    assert "failed=0" in fleet.run("seed", "--check")
    assert (fleet.sent(), fleet.whole()) == (0, [])
    fleet.server.switches.set({"drip": {"bytes_per_second": 800_000}})
    output = fleet.run("seed", "--diff", "-vvv")
    assert fleet.whole() == list(NAMES), output
    assert fleet.sent() == SIZE, "one of them asked the hub"
    assert re.search(r"ai2: tiny .* from ai1$", output, re.MULTILINE)
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    assert not re.search(r"secret\W+[0-9a-f]{64}", output)
    assert changes(fleet.run("seed")) == [0, 0, 0]


def test_a_killed_seed_loses_nothing(fleet: Fleet) -> None:
    fleet.server.switches.set({"drip": {"bytes_per_second": 400_000}})
    run = fleet.start("seed")
    end = time.monotonic() + 90
    while not SIZE // 4 < fleet.part("ai3") < SIZE // 2:
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
    os.kill(fleet.pid("ai1"), signal.SIGKILL)
    output = run.communicate(timeout=120)[0]
    assert "The download ended on ai1 without a result" in output
    assert fleet.whole() == ["ai2", "ai3"], output
    assert fleet.part("ai1") > SIZE // 4
    assert SIZE <= fleet.sent() <= SIZE * 1.1
    before = fleet.sent()
    fleet.run("seed")
    assert (fleet.whole(), fleet.sent()) == (list(NAMES), before)


def test_by_the_controller(fleet: Fleet) -> None:
    output = fleet.run("controller")
    assert (fleet.whole(), fleet.sent()) == (list(NAMES), SIZE), output
    assert (fleet.place / "cache" / f"{SHA256}.gguf").read_bytes() == BODY
    assert changes(fleet.run("controller")) == [0, 0, 0]


class Mirror(SimpleHTTPRequestHandler):
    """Gives files to those who have the token."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == "Bearer of-the-mirror":
            super().do_GET()
        else:
            self.send_error(401)

    def log_message(self, *_args: Any) -> None:
        """Silent."""


@contextmanager
def mirror(fleet: Fleet, tls: ssl.SSLContext | None = None) -> Iterator[list[str]]:
    """A mirror that has the blob; yields the options that name it."""
    folder = fleet.place / "mirror"
    folder.mkdir()
    (folder / f"{SHA256}.gguf").write_bytes(BODY)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=str(folder))) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        yield ["-e", f"models_mirror_url={'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"]
        server.shutdown()


TOKEN = ("-e", "models_mirror_token=of-the-mirror")


def refusal(fleet: Fleet, *options: str) -> str:
    """What a run says that brings nothing."""
    output = " ".join(fleet.run("mirror", "--limit", "ai1", *options).split())
    assert "failed=1" in output and fleet.whole() == [] and fleet.sent() == 0, output
    return output


def test_from_a_mirror(fleet: Fleet) -> None:
    with mirror(fleet) as url:
        output = fleet.run("mirror", *url, *TOKEN, "-vvv")
    assert (fleet.whole(), fleet.sent()) == (list(NAMES), 0), output
    assert "of-the-mirror" not in output.replace(TOKEN[1], "")


def test_a_mirror_with_an_authority_of_its_own(fleet: Fleet) -> None:
    ca, key, folder = fleet.place / "ca.crt", fleet.place / "ca.key", fleet.place / "tls"
    ensure_ca(ca, key)
    ensure_certificate(folder, "mirror", "127.0.0.1", ca, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mirror-127.0.0.1.crt", folder / "mirror-127.0.0.1.key")
    with mirror(fleet, context) as url:
        output = refusal(fleet, *url, *TOKEN)
        assert "The certificate of the source is not trusted" in output and "models_mirror_ca" in output
        trusting = (*url, *TOKEN, "--limit", "ai1", "-e", f"models_mirror_ca={ca}")
        output = fleet.run("mirror", *trusting)
        assert (fleet.whole(), fleet.sent()) == (["ai1"], 0), output
        assert changes(fleet.run("mirror", *trusting)) == [0]
    assert changes(fleet.run("mirror", "--limit", "ai1", play="remove")) == [2]
    assert [path.name for path in (fleet.place / "ai1").rglob("*")] == ["config"]


def test_a_password_in_the_address_of_a_mirror_is_refused_and_not_told(fleet: Fleet) -> None:
    output = refusal(fleet, "-e", json.dumps({"models_mirror_url": "http://ann:hidden-word@127.0.0.1:9/gguf"}), "-vvv")
    assert "got http://127.0.0.1:9/gguf" in output and "models_mirror_token" in output and "hidden-word" not in output, output
    assert not (fleet.place / "ai1").exists()


def test_hosts_that_come_in_turns(fleet: Fleet) -> None:
    """As when a new model is rolled out one host after the other: those to come have said nothing yet, those before have ended their services."""
    (play,) = json.loads((fleet.place / "main.yml").read_text())
    (fleet.place / "main.yml").write_text(json.dumps([{**play, "serial": [1, 2]}]))
    output = fleet.run("seed")
    assert (fleet.whole(), fleet.sent()) == (list(NAMES), 2 * SIZE), output


@pytest.mark.parametrize("variable, value, words", [
    ("models_bandwidth_limit", "fast", "The rate cannot be used (models_bandwidth_limit): got fast."),
    ("models_time_window", "22-6", "The time window cannot be used (models_time_window): got 22-6."),
])
def test_a_limit_that_cannot_be_read_changes_nothing(fleet: Fleet, variable: str, value: str, words: str) -> None:
    output = " ".join(fleet.run("direct", "--limit", "ai1", "-e", f"{variable}={value}").split())
    assert words in output and "failed=1" in output, output
    assert not (fleet.place / "ai1").exists()


@pytest.mark.parametrize("mode", ["direct", "controller"])
def test_a_failed_download_does_not_tell_the_query_of_its_address(fleet: Fleet, mode: str) -> None:
    inventory = json.loads((fleet.place / "hosts.json").read_text())
    inventory["all"]["vars"]["models_files"][0]["url"] = f"{fleet.server.url}/{REPO}/resolve/main/gone.gguf?signature=hidden-word"
    (fleet.place / "hosts.json").write_text(json.dumps(inventory))
    output = fleet.run(mode, "--limit", "ai1")
    assert "failed=1" in output and "gone.gguf" in output and "hidden-word" not in output, output


def test_the_token_of_the_environment_is_the_hosts_too(fleet: Fleet) -> None:
    output = fleet.run("direct", "--limit", "ai1", HF_TOKEN="hf_hidden_word")
    assert fleet.whole() == ["ai1"] and "hf_hidden_word" not in output, output
    asked = [entry for entry in fleet.server.log.as_list() if "/resolve/" in entry["path"]]
    assert asked and all(entry["authorization"] for entry in asked)
