"""The engine: hardened, and what an operator had set is kept."""
from __future__ import annotations

import json

from testinfra.host import Host

SETTINGS = "/etc/docker/daemon.json"


def settings(host: Host) -> dict:
    return json.loads(host.check_output("cat %s", SETTINGS))


def test_the_engine_and_compose_answer(server: Host) -> None:
    assert server.check_output("docker version --format '{{.Server.Version}}'")
    assert server.check_output("docker compose version --short").lstrip("v") >= "2"


def test_the_engine_is_hardened(server: Host) -> None:
    found = settings(server)
    assert found["live-restore"] is True
    assert found["userland-proxy"] is False
    assert found["no-new-privileges"] is True
    assert found["log-opts"]["max-size"] and found["log-opts"]["max-file"]
    assert server.check_output("docker info --format '{{.LiveRestoreEnabled}}'") == "true"


def test_an_operators_settings_are_kept(server: Host, playbook) -> None:
    name = server.check_output("hostname")
    before = settings(server)
    server.check_output("cp %s %s.test", SETTINGS, SETTINGS)
    try:
        write = json.dumps({**before, "labels": ["owner=operations"], "max-concurrent-downloads": 2})
        server.check_output("printf %s " + repr(write) + " > " + SETTINGS)
        run = playbook("site", "--tags", "docker", "-e", json.dumps({"docker_engine_daemon": {"max-concurrent-downloads": 4}}))
        assert run.code == 0, run.output
        after = settings(server)
        assert after == {**before, "labels": ["owner=operations"], "max-concurrent-downloads": 4}, name
        again = playbook("site", "--tags", "docker", "-e", json.dumps({"docker_engine_daemon": {"max-concurrent-downloads": 4}}))
        assert (again.code, again.changed) == (0, 0), again.output
    finally:
        server.check_output("mv %s.test %s", SETTINGS, SETTINGS)
        server.check_output("systemctl restart docker")
