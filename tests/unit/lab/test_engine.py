"""What is said, and done, when no Docker engine answers."""
from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lab import engine
from tests.lab.recipe import LabError


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without an engine."""
    monkeypatch.setattr(engine, "connect", lambda url="": None)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    return monkeypatch


def done(code: int, error: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], code, "", error)


def test_running_engine_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setattr(engine, "connect", lambda url="": "client")
    assert (engine.ensure_engine(tmp_path / "log", said.append), said) == ("client", [])


def test_docker_host_of_the_user_is_not_replaced(silent: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent.setenv("DOCKER_HOST", "tcp://other:2375")
    with pytest.raises(LabError, match="No Docker engine answers at DOCKER_HOST=tcp://other:2375"):
        engine.ensure_engine(tmp_path / "log", print)


def test_only_root_can_start_one(silent: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent.setattr(engine.os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="only root can install and start one"):
        engine.ensure_engine(tmp_path / "log", print)


def test_it_says_so_first_then_installs_and_starts(silent: pytest.MonkeyPatch, tmp_path: Path) -> None:
    did: list[str] = []
    silent.setattr(engine, "_which", lambda program: None)
    silent.setattr(engine, "install", lambda packages, say: did.append(" ".join(packages)))
    silent.setattr(engine, "start_daemon", lambda log, say: did.append("dockerd"))
    silent.setattr(engine, "start_service", lambda say: did.append("dockerd"))
    engine.ensure_engine(tmp_path / "log", did.append)
    assert did == ["No Docker engine answers on this machine: installing what is missing and starting one", "docker.io iproute2 iptables", "dockerd"]


def test_engine_that_dies_is_told_with_its_last_line(silent: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "dockerd"
    program.write_text("#!/bin/sh\necho no space left >&2\nexit 3\n")
    program.chmod(0o755)
    silent.setattr(engine, "_which", lambda _name: str(program))
    with pytest.raises(LabError, match="ended at once with code 3: no space left The whole log is"):
        engine.start_daemon(tmp_path / "log", lambda text: None)


@pytest.mark.parametrize(("answers", "commands", "error"), [
    ([0], ["install"], ""),
    ([1, 0, 0], ["install", "update", "install"], ""),
    ([1, 1], ["install", "update"], "apt-get update failed"),
    ([1, 0, 1], ["install", "update", "install"], "could not install jq: no such package"),
])
def test_install(monkeypatch: pytest.MonkeyPatch, answers: list[int], commands: list[str], error: str) -> None:
    ran: list[str] = []
    codes = iter(answers)

    def apt(command: list[str]) -> subprocess.CompletedProcess[str]:
        ran.append(command[1])
        return done(next(codes), "no such package")

    monkeypatch.setattr(engine, "_apt", apt)
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "shutil", SimpleNamespace(which=lambda *_a, **_k: "/usr/bin/apt-get"))
    if error:
        with pytest.raises(LabError, match=error):
            engine.install(["jq"], print)
    else:
        engine.install(["jq"], print)
    assert ran == commands


def test_require_installs_only_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[list[str]] = []
    monkeypatch.setattr(engine, "_which", lambda program: None if program == "tool" else "/bin/x")
    monkeypatch.setattr(engine, "install", lambda packages, say: installed.append(list(packages)))
    engine.require({"tool": "tool-package", "tar": "tar"}, print)
    assert installed == [["tool-package"]]
