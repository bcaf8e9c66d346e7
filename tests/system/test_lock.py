"""The lock kept on the primary host and in a Git repository: changed once, quiet after, with a way back, and nothing on the controller."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from deployed import INVENTORY, STATE, Run, groups
from testinfra.host import Host

KEPT = "/opt/localai/state/fleet.lock.yml"
OLD = "/opt/localai/state/fleet.lock.previous.yml"


@pytest.fixture
def primary(gateway: Host) -> Iterator[Host]:
    """The primary host, without a lock that a test left there."""
    clean = f"rm -f {KEPT} {OLD}"
    gateway.check_output(clean)
    yield gateway
    gateway.check_output(clean)


@pytest.fixture
def plan(playbook, tmp_path: Path) -> Any:
    """`plan(store, variables) -> Run`, on a controller that has nothing."""

    def run(store: str, *more: str, **variables: Any) -> Run:
        given = {"fleet_lock_store": store, "common_plan_path": "", "common_lock_path": str(tmp_path / "fleet.lock.yml"), **variables}
        done = playbook("plan", "-e", json.dumps(given), *more)
        assert done.code == 0, done.output[-4000:]
        assert not list(tmp_path.iterdir())
        return done

    return run


def more_models() -> list[dict[str, Any]]:
    """The instance's wanted models, and one of them under a second name."""
    wanted = groups()["variables"][groups()["localai_server"][0]]["models_wanted"]
    return [*wanted, {**wanted[0], "name": "second", "aliases": []}]


def test_on_the_primary_host(plan, primary: Host) -> None:
    assert plan("primary", "--check").changed == 1 and not primary.file(KEPT).exists
    assert plan("primary").changed == 1
    lock = primary.file(KEPT)
    assert (lock.user, lock.mode) == ("root", 0o644) and yaml.safe_load(lock.content_string)["models"] and not primary.file(OLD).exists
    first = lock.content_string
    assert plan("primary").changed == 0
    run = plan("primary", "--diff", models_wanted=more_models())
    assert run.changed == 1 and "model second: added" in run.output
    assert primary.file(OLD).content_string == first and "second" in yaml.safe_load(primary.file(KEPT).content_string)["models"]


def test_in_a_git_repository(plan, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("git") / "fleet.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", folder], check=True)
    where = {"url": f"file://{folder}", "path": "inventory"}

    def git(*words: str) -> str:
        return subprocess.run(["git", "--git-dir", folder, *words], check=True, capture_output=True, text=True).stdout.strip()

    assert plan("git", "--check", fleet_lock_git=where).changed == 1 and git("for-each-ref") == ""
    assert plan("git", fleet_lock_git=where).changed == 1
    assert plan("git", fleet_lock_git=where).changed == 0 and git("rev-list", "--count", "main") == "1"
    assert plan("git", fleet_lock_git=where, models_wanted=more_models()).changed == 1
    assert git("log", "--format=%s", "-1", "main") == "Change model second" and "- model second: added, " in git("log", "--format=%B", "-1", "main")
    assert git("ls-tree", "-r", "--name-only", "main") == "inventory/fleet.lock.yml"
    lock = yaml.safe_load(git("show", "main:inventory/fleet.lock.yml"))
    assert set(lock["models"]) == {item["name"] for item in more_models()}
    assert yaml.safe_load(INVENTORY.with_name("fleet.lock.yml").read_text(encoding="utf-8"))["images"] == lock["images"]


def test_a_git_server_with_an_unknown_key(playbook, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    address = groups()["variables"][groups()["localai_gateway"][0]]["ansible_host"]
    where = {"url": f"ssh://root@{address}/srv/fleet.git", "ssh_key": str(STATE / "ssh_key"), "known_hosts": str(empty)}
    run = playbook("plan", "-e", json.dumps({"fleet_lock_store": "git", "fleet_lock_git": where, "common_plan_path": ""}))
    assert run.code != 0 and run.changed == 0
    assert "The host key of the Git server is not known" in run.told
