"""The execution environment: built from what ships, and playbooks run in it as AWX runs them, in one that is thrown away after each run.

Collected only by its path (`make environment`): it builds an image of 1.2 GB.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Callable

import docker
import pytest
from deployed import STATE, Run, groups, on, recap_of

from tests.lab import environment, instance
from tests.lab.progress import Progress

USER = 1000  # the user of the image
PLACE = "/runner/lab"  # where the environment finds what the lab's inventory names
PLAYBOOK = "---\n- name: Run the playbook of the collection\n  ansible.builtin.import_playbook: localai.fleet.{name}\n"
KEPT = "/opt/localai/state/fleet.lock.yml"
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@pytest.fixture(scope="module")
def image() -> str:
    return environment.ensure(docker.from_env(timeout=600), Progress(quiet=True))


@pytest.fixture(scope="module")
def job(image: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """`job(playbook, *arguments) -> Run`, each in an environment of its own that can write nothing of what it was given."""
    given = tmp_path_factory.mktemp("job")
    repository(given)
    network = instance.load(STATE.name).network

    def run(name: str, *more: str) -> Run:
        mounts = [f"--volume={part}:/runner/{part.name}:ro" for part in sorted(given.iterdir())]
        command = ["docker", "run", "--rm", "--network", network, "--tmpfs", "/runner/artifacts:mode=1777", *mounts, image]
        done = subprocess.run(
            [*command, "ansible-runner", "run", "/runner", "-p", f"playbooks/{name}.yml", *more], check=False, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output = COLOURS.sub("", done.stdout).replace("\r", "")
        return Run(done.returncode, output, recap_of(output))

    return run


def repository(root: Path) -> None:
    """What AWX gives a job: a repository of one-line playbooks and an inventory without a lock, variables, and the way into the servers."""
    for name in ("site", "plan", "verify"):
        write(root / "project" / "playbooks" / f"{name}.yml", PLAYBOOK.format(name=name))
    for name in ("hosts.yml", "group_vars/localai.yml"):
        text = (STATE / "inventory" / name).read_text(encoding="utf-8").replace(str(STATE), PLACE)
        write(root / "inventory" / name, "".join(f"{line}\n" for line in text.splitlines() if "ansible_control_path_dir" not in line))
    for name in ("ca.crt", "ssh_key", "known_hosts"):
        write(root / "lab" / name, (STATE / name).read_text(encoding="utf-8"))
    write(root / "env" / "extravars", json.dumps({"fleet_lock_store": "primary", "common_plan_path": ""}))
    for path in (root, *root.rglob("*")):
        os.chown(path, USER, 0)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def test_the_environment_holds_what_the_collection_needs(image: str) -> None:
    script = ("ansible-galaxy collection list --format json; python3 -c 'import huggingface_hub; print(huggingface_hub.__version__)'; "
              "git --version; ssh -V; id -u")
    done = subprocess.run(["docker", "run", "--rm", "--network", "none", image, "bash", "-ec", script], capture_output=True, text=True, check=True, timeout=120)
    assert '"localai.fleet"' in done.stdout and '"awx.awx"' in done.stdout
    wanted = re.search(r"^huggingface_hub==(\S+)$", (environment.ROOT / "meta" / "requirements.txt").read_text(), re.MULTILINE)
    assert wanted and wanted.group(1) in done.stdout.split()
    assert "git version" in done.stdout and done.stdout.split()[-1] == str(USER)


def test_the_site_runs_in_it_and_the_next_one_changes_nothing(job: Callable[..., Run]) -> None:
    first, second = job("site"), job("site")
    assert first.code == 0, first.output[-4000:]
    assert (second.code, second.changed) == (0, 0), second.output[-4000:]
    assert set(second.recap) == set(groups()["localai_server"])


def test_a_verdict_needs_nothing_of_the_run_before(job: Callable[..., Run]) -> None:
    run = job("verify")
    assert (run.code, run.changed) == (0, 0), run.output[-4000:]


def test_the_lock_is_on_the_primary_host(job: Callable[..., Run]) -> None:
    primary = on(groups()["localai_gateway"][0])
    try:
        assert "gemma-3-270m" in primary.check_output("cat %s", KEPT)
        run = job("plan")
        assert run.code == 0 and "deployed: the same as this plan" in run.output, run.output[-4000:]
    finally:
        primary.run("rm -f %s", KEPT)  # the other checks keep the lock on the controller
