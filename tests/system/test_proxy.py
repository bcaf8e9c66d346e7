"""The edge on the primary gateway, looked at on the host and asked as a client."""
from __future__ import annotations

import http.client
import json
import socket
import ssl

import pytest

ROOT = "/opt/localai"


@pytest.fixture
def ask(gateway, variables):
    """`ask(path, key=None) -> (status, body)`, trusting only the authority that the gateway publishes."""
    context = ssl.create_default_context(cadata=gateway.file(f"{ROOT}/config/proxy/ca.crt").content_string)

    def call(path: str, key: str | None = None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection(variables["proxy_domain"], timeout=10)
        plain = socket.create_connection((variables["ansible_host"], variables.get("proxy_port", 443)), timeout=10)
        connection.sock = context.wrap_socket(plain, server_hostname=variables["proxy_domain"])
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")

    return call


@pytest.fixture
def container(gateway) -> dict:
    return json.loads(gateway.check_output("docker inspect proxy"))[0]


def test_only_a_consumer_is_answered(gateway, ask) -> None:
    key = gateway.file(f"{ROOT}/secrets/consumers/default.key").content_string.strip()
    assert ask("/readyz") == (200, {})
    assert ask("/v1/models")[0] == 401 and ask("/system", key)[0] == 404
    status, listed = ask("/v1/models", key)
    assert status == 200 and {model["object"] for model in listed["data"]} <= {"model"}


def test_the_container_can_do_little(gateway, container) -> None:
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges:true"] and not host["Privileged"]
    assert host["Memory"] == host["MemorySwap"] > 0 and host["NanoCpus"] > 0 and host["PidsLimit"] > 0
    assert container["Config"]["User"] == gateway.check_output("echo $(id -u localai):$(id -g localai)")
    assert all(not mount["RW"] for mount in container["Mounts"]) and container["State"]["Health"]["Status"] == "healthy"
    assert "@sha256:" in container["Config"]["Image"]


@pytest.mark.parametrize(("path", "mode"), [
    ("secrets", 0o700), ("secrets/authority/ca.key", 0o400), ("secrets/consumers", 0o700), ("secrets/consumers/default.key", 0o400),
    ("secrets/proxy", 0o750), ("secrets/proxy/internal.key", 0o400), ("config/proxy/ca.crt", 0o644), ("compose/proxy/compose.yaml", 0o640),
])
def test_modes(gateway, path, mode) -> None:
    assert gateway.file(f"{ROOT}/{path}").mode == mode


def test_the_edge_does_not_know_the_key(gateway) -> None:
    key = gateway.file(f"{ROOT}/secrets/consumers/default.key").content_string.strip()
    assert gateway.run("grep -rlF -e %s %s --exclude-dir=consumers", key, ROOT).stdout == ""
    assert key not in gateway.check_output("docker inspect proxy; docker logs proxy 2>&1; ps axww")
