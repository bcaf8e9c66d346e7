"""The edge from outside, as a client that the product does not know."""
from __future__ import annotations

import json
import socket

import pytest
from deployed import Edge, edge_of, groups
from testinfra.host import Host


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Edge:
    return edge_of(groups()["localai_gateway"][0], tmp_path_factory.mktemp("edge"))


@pytest.mark.parametrize("model", ["gemma-3-270m", "gpt-3.5-turbo", "gpt-4"])
def test_every_served_name_answers(edge: Edge, model: str) -> None:
    answer, body = edge.ask("POST", "/v1/chat/completions", {
        "model": model, "max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": "Say hello in one short sentence."}]})
    told = json.loads(body)
    assert answer.status == 200, told
    assert told["model"] == model
    assert told["choices"][0]["message"]["content"]


def test_a_stream_arrives_in_pieces(edge: Edge) -> None:
    answer, body = edge.ask("POST", "/v1/chat/completions", {
        "model": "gpt-4", "max_tokens": 16, "temperature": 0, "stream": True, "messages": [{"role": "user", "content": "Say hello in one short sentence."}]})
    events = [line for line in body.decode().split("\n\n") if line.startswith("data: ")]
    assert answer.getheader("Content-Type").startswith("text/event-stream")
    assert events[-1] == "data: [DONE]"
    assert len(events) > 5


@pytest.mark.parametrize("key", ["", "sk-wrong"])
def test_nobody_passes_without_a_key(edge: Edge, key: str) -> None:
    answer, body = edge.ask("GET", "/v1/models", key=key)
    assert answer.status == 401
    assert set(json.loads(body)["error"]) >= {"message", "type"}


@pytest.mark.parametrize("path", ["/system", "/metrics", "/models/apply", "/backends", "/v1/mcp/servers", "/swagger/index.html", "/"])
def test_what_is_not_listed_is_closed(edge: Edge, path: str) -> None:
    assert edge.ask("GET", path)[0].status == 404


def test_a_prefix_from_the_client_opens_nothing(edge: Edge) -> None:
    assert edge.ask("GET", "/readyz/system", **{"X-Forwarded-Prefix": "/readyz"})[0].status == 404


def test_the_edge_keeps_hashes_and_no_keys(edge: Edge, gateway: Host) -> None:
    assert gateway.run("grep -rF -- %s /opt/localai/config /opt/localai/compose", edge.key).rc != 0
    assert gateway.run("docker logs proxy 2>&1 | grep -F -- %s", edge.key).rc != 0


def test_a_consumers_key_is_no_key_of_localai(edge: Edge, gateway: Host) -> None:
    gateway.check_output("umask 077; printf 'header = \"Authorization: Bearer %%s\"' %s > /run/probe", edge.key)
    try:
        address = gateway.check_output("docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' localai").split()[0]
        assert gateway.check_output("curl -s -m 10 -K /run/probe -o /dev/null -w '%%{http_code}' http://%s:8080/v1/models", address) == "401"
    finally:
        gateway.check_output("rm -f /run/probe")


def test_only_the_gateway_answers_from_outside() -> None:
    for name in groups()["localai_server"]:
        with socket.socket() as probe:
            probe.settimeout(3)
            closed = probe.connect_ex((groups()["variables"][name]["ansible_host"], 443)) != 0
        assert closed == (name not in groups()["localai_gateway"])


def test_the_container_can_do_little(gateway: Host) -> None:
    container = json.loads(gateway.check_output("docker inspect proxy"))[0]
    limits = container["HostConfig"]
    assert limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"] and not limits["Privileged"]
    assert limits["SecurityOpt"] == ["no-new-privileges:true"]
    assert limits["Memory"] == limits["MemorySwap"] > 0 and limits["NanoCpus"] > 0 and limits["PidsLimit"] > 0
    assert container["Config"]["User"] == gateway.check_output("echo $(id -u localai):$(id -g localai)")
    assert not [mount for mount in container["Mounts"] if mount["RW"]]
    assert "@sha256:" in container["Config"]["Image"]


@pytest.mark.parametrize(("path", "mode"), [
    ("secrets", 0o700), ("secrets/authority/ca.key", 0o400), ("secrets/consumers", 0o700), ("secrets/consumers/default.key", 0o400),
    ("secrets/proxy", 0o750), ("secrets/proxy/internal.key", 0o400), ("config/proxy/ca.crt", 0o644), ("compose/proxy/compose.yaml", 0o640),
])
def test_files_are_as_closed_as_they_can_be(gateway: Host, path: str, mode: int) -> None:
    assert gateway.file(f"/opt/localai/{path}").mode == mode
