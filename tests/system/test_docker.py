"""The engine: hardened, and what an operator had set is kept."""
from __future__ import annotations

import json

from deployed import groups, on
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


def test_an_operators_settings_are_kept(playbook) -> None:
    wish = ("--tags", "docker", "-e", json.dumps({"docker_engine_daemon": {"max-concurrent-downloads": 4}}))
    hosts = [on(name) for name in groups()["localai_server"]]
    before = [settings(host) for host in hosts]
    try:
        for host, found in zip(hosts, before):
            host.check_output("cp %s %s.test", SETTINGS, SETTINGS)
            put(host, {**found, "labels": ["owner=operations"], "max-concurrent-downloads": 2})
        run = playbook("site", *wish)
        assert run.code == 0, run.output
        assert [settings(host) for host in hosts] == [
            {**found, "labels": ["owner=operations"], "max-concurrent-downloads": 4} for found in before]
        again = playbook("site", *wish)
        assert (again.code, again.changed) == (0, 0), again.output
    finally:
        for host in hosts:
            host.check_output("mv %s.test %s", SETTINGS, SETTINGS)
            host.check_output("systemctl reset-failed docker && systemctl restart docker")


def put(host: Host, found: dict) -> None:
    """Write the engine's settings as an operator would; the service's counter of quick restarts is set back too."""
    host.check_output("printf %s %s > %s && systemctl reset-failed docker", "%s", json.dumps(found), SETTINGS)
