"""Checks of a deployed lab instance, from outside: by SSH on the servers, by HTTPS at the edge. LAB_INSTANCE names the instance."""
from __future__ import annotations

import subprocess
from typing import Any, Callable

import pytest
from deployed import INVENTORY, ROOT, Run, command, environment, groups, on, recap_of
from testinfra.host import Host


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
