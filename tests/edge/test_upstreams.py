"""Instances that are gone, busy, new at another address; and what the edge's own failures look like."""
from __future__ import annotations

import hashlib
import json
import os
import socket
from typing import Iterator

import pytest
import yaml
from tests.edge import harness
from tests.edge.harness import wait
from tests.edge.test_routes import refused

pytestmark = pytest.mark.engine

PATH = "/v1/chat/completions"
ASK = {"model": "gpt-4"}
STUB = """pid /tmp/nginx.pid; events {{}} http {{ access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; server {{ listen 8080; location / {{ default_type application/json; return 200 '{{"from":"{name}"}}'; }} }} }}"""


def closed_port(host: str) -> str:
    """An address where nothing listens."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        return f"{host}:{sock.getsockname()[1]}"


@pytest.fixture
def second(network) -> Iterator[harness.Upstream]:
    server = harness.Upstream(harness.gateway(network))
    yield server
    server.close()


@pytest.fixture(scope="module")
def failing(start, network, _upstream) -> harness.Edge:
    """One model behind a dead instance and a good one, one behind a dead one alone."""
    dead = closed_port(harness.gateway(network))
    return start({"chat-model": [dead, _upstream.address], "base": [dead], "": [_upstream.address]})


def test_a_dead_instance_is_passed_over(failing, upstream) -> None:
    for dummy in range(12):
        assert failing.ask("POST", PATH, ASK).status == 200
    assert len(upstream.seen) == 12


def test_the_log_names_the_dead_instance(failing, upstream) -> None:
    assert failing.ask("POST", PATH, ASK).status == 200
    assert any(", " in line["ua"] and line["us"] == "502, 200" for line in failing.lines())


def test_502_in_shape_when_none_is_left(failing, upstream) -> None:
    reply = failing.ask("POST", "/v1/completions", {"model": "base"})
    refused(reply, 502)
    assert reply.header("Retry-After") == ["5"]


def test_a_request_that_was_sent_is_never_sent_again(start, upstream, second) -> None:
    def cut(handler, _seen) -> None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    edge = start({"": [upstream.address, second.address]})
    upstream.answer = second.answer = cut
    for asked in range(1, 5):
        refused(edge.ask("POST", PATH, ASK), 502)
        assert len(upstream.seen) + len(second.seen) == asked


def test_an_instance_that_says_503_stays(start, upstream, second) -> None:
    edge = start({"": [upstream.address, second.address]})
    busy = b'{"error":{"code":503,"message":"loading","type":""}}'
    for server in (upstream, second):
        server.answer = lambda handler, _: handler.reply(503, busy, Retry_After="10")
    for dummy in range(10):
        reply = edge.ask("POST", PATH, ASK)
        assert (reply.status, reply.body) == (503, busy)
    assert len(upstream.seen) + len(second.seen) == 10 and upstream.seen and second.seen


def test_requests_are_spread_by_open_ones(start, upstream, second) -> None:
    edge = start({"": [upstream.address, second.address]})
    for dummy in range(10):
        assert edge.ask("POST", PATH, ASK).status == 200
    assert abs(len(upstream.seen) - len(second.seen)) <= 2


def stub(client, image, network, folder, name: str, address: str | None = None):
    """An instance in a container of its own, known on the network as `localai`."""
    conf = folder / f"{name}.conf"
    conf.write_text(STUB.format(name=name))
    for parent in (conf, *conf.parents[:3]):
        parent.chmod(0o755)
    container = client.containers.create(
        image.id, command=["nginx", "-e", "stderr", "-c", "/conf", "-g", "daemon off;"], name=f"edge-test-{os.getpid()}-{name}",
        volumes={str(conf): {"bind": "/conf", "mode": "ro"}})
    network.connect(container, aliases=["localai"])
    client.networks.get("bridge").disconnect(container)
    container.start()
    return container


def test_an_instance_made_anew_at_another_address(client, image, network, start, tmp_path) -> None:
    edge = start({"": ["localai:8080"]})
    refused(edge.ask("POST", PATH, ASK), 502)  # the edge starts without it
    first = stub(client, image, network, tmp_path, "first")
    blocker = None
    try:
        wait(lambda: edge.ask("POST", PATH, ASK).body == b'{"from":"first"}', "the instance is found", edge.log)
        first.reload()
        before = first.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
        first.remove(force=True, v=True)
        blocker = stub(client, image, network, tmp_path, "blocker")  # takes the freed address ...
        network.disconnect(blocker)
        network.connect(blocker)  # ... without the name
        first = stub(client, image, network, tmp_path, "second")
        first.reload()
        assert first.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"] != before
        wait(lambda: edge.ask("POST", PATH, ASK).body == b'{"from":"second"}', "the new instance is found", edge.log)
    finally:
        for container in (first, blocker):
            if container:
                container.remove(force=True, v=True)


def test_an_edge_without_models(start) -> None:
    everyone = [{"name": "all", "sha256": hashlib.sha256(harness.KEYS["all"].encode()).hexdigest()}]
    edge = start({"": []}, proxy_routes=[], __proxy_keys={"consumers": everyone})
    assert edge.ask("GET", "/v1/models", key="all").json == {"object": "list", "data": []}
    refused(edge.ask("POST", PATH, ASK), 404)


def test_the_log_has_no_secret_and_no_words_of_the_client(start, upstream) -> None:
    edge = start({"": [upstream.address], "base": [closed_port(upstream.host)]})
    word = "platypus"
    key = harness.KEYS["all"]
    for path, body in ((f"{PATH}?api_key={key}", {"model": "gpt-4", "messages": [word]}), (f"/v1/completions?key={key}", {"model": "base", "p": word}),
                       (f"/nowhere/{word}?key={key}", {}), (f"{PATH}?k={key}", {"model": word}), (f"{PATH}?k={key}", b"bad " + word.encode())):
        edge.ask("POST", path, body)
        edge.ask("POST", path, body, key="sk-wrong-" + word)
        edge.ask("POST", path, body, headers={"Content-Type": word, "User-Agent": word, "Referer": word, "Cookie": key})
    edge.raw(b"GET /v1/models?key=" + key.encode() + b" HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: Bearer " + key.encode() + b"\r\n\r\n")
    log = edge.log()
    for secret in (word, key, key[3:], "sk-", harness.ADMIN_KEY):
        assert secret not in log
    line = edge.lines()[1]
    assert (line["key"], line["route"], line["model"], line["method"], line["status"]) == ("all", PATH, "gpt-4", "POST", 200)
    assert line["ua"] == upstream.address and line["us"] == "200" and len(line["req_id"]) == 32
    statuses = {line["status"] for line in edge.lines()}
    assert {200, 400, 401, 404, 415, 502} <= statuses
    assert all(line["fault"] == "" for line in edge.lines()), json.dumps(edge.lines()[-5:])


def test_nothing_but_tmp_is_writable_and_nothing_is_privileged(shared) -> None:
    shared.container.reload()
    host = shared.container.attrs["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == host["MemorySwap"] > 0 and host["PidsLimit"] > 0 and shared.container.attrs["Config"]["User"] == harness.USER
    code, out = shared.container.exec_run(["bash", "-c", "id -u; touch /etc/proxy/x /run/proxy/x /x; echo ' '; ls /run/proxy"])
    assert out.startswith(b"12345\n") and out.count(b"Read-only file system") == 3


def test_the_health_check_of_the_container(shared) -> None:
    compose = yaml.safe_load(harness.render("compose.yaml.j2", {
        **shared.values, "proxy_image": "x", "__proxy_ids": "1:1", "__proxy_root": "/r", "__proxy_secrets": "/s"}))
    command = [word.replace("$$", "$") for word in compose["services"]["proxy"]["healthcheck"]["test"][1:]]
    assert shared.container.exec_run(command)[0] == 0
    assert shared.container.exec_run([word.replace("/readyz", "/nothing") for word in command])[0] != 0
