"""Checks of a deployed lab instance, from outside: by SSH on the servers, by HTTPS at the edge. LAB_INSTANCE names the instance."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import pytest
import testinfra
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab" / os.environ.get("LAB_INSTANCE", "test")
INVENTORY = STATE / "inventory" / "hosts.yml"
BIN = Path(sys.executable).parent
GROUPS: dict[str, list[str]] = {}


def groups() -> dict[str, list[str]]:
    """Hosts of each group of the instance's inventory."""
    if not GROUPS:
        done = subprocess.run([BIN / "ansible-inventory", "-i", INVENTORY, "--list"], cwd=ROOT, check=True, capture_output=True, text=True)
        listed = json.loads(done.stdout)
        GROUPS.update({name: group["hosts"] for name, group in listed.items() if "hosts" in group})
        GROUPS["variables"] = listed["_meta"]["hostvars"]
    return GROUPS


def on(name: str) -> Host:
    """A server of the lab as testinfra sees it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY))


@dataclass(frozen=True)
class Run:
    """What a playbook run left: exit code, everything it printed, and the recap."""

    code: int
    output: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """Tasks that changed something, all hosts together."""
        return sum(host["changed"] for host in self.recap.values())


def recap_of(output: str) -> dict[str, dict[str, int]]:
    """Counters of the PLAY RECAP by host."""
    lines = output.split("PLAY RECAP", 1)[-1].splitlines()[1:]
    found = {}
    for line in lines:
        name, counters = line.partition(":")[::2]
        if "ok=" in counters:
            found[name.strip()] = {key: int(value) for key, value in (word.split("=") for word in counters.split())}
    return found


def command(name: str, *more: str) -> list[str]:
    """The command line of one of the product's playbooks against the instance."""
    return [str(BIN / "ansible-playbook"), "-i", str(INVENTORY), f"playbooks/{name}.yml", *more]


def environment(**more: str) -> dict[str, str]:
    """The environment of a run: the checkout's own configuration."""
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true", **more}


@pytest.fixture(scope="session")
def playbook() -> Callable[..., Run]:
    """`playbook(name, *arguments, **environment) -> Run`."""

    def run(name: str, *more: str, **variables: str) -> Run:
        done = subprocess.run(
            command(name, *more), cwd=ROOT, env=environment(**variables), check=False, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return Run(done.returncode, done.stdout, recap_of(done.stdout))

    return run


@pytest.fixture(params=groups().get("localai_server", []) if INVENTORY.exists() else [])
def server(request: pytest.FixtureRequest) -> Host:
    """Each server in turn."""
    return on(request.param)


@pytest.fixture
def gateway() -> Host:
    """The primary gateway."""
    return on(groups()["localai_gateway"][0])


@pytest.fixture
def variables() -> dict[str, Any]:
    """The inventory's variables as the primary gateway has them."""
    return groups()["variables"][groups()["localai_gateway"][0]]
