"""A running LocalAI: found by its container, asked with its key."""
from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Sequence

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._cgroup import Tree
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._reload import Running
from ansible_collections.localai.fleet.plugins.module_utils._server import SPARE_BYTES, Server, find, moment, room

STARTED = "2026-11-23T04:00:00.5Z"
CONTAINER = {"Id": "c" * 64, "State": {"Running": True, "StartedAt": STARTED, "Pid": 7}, "HostConfig": {"Memory": 1 << 30},
             "NetworkSettings": {"Networks": {"a": {"IPAddress": ""}, "b": {"IPAddress": "10.0.0.2"}}}}


class Answers(Server):
    """A server whose answers are given: path → list of answers, the last of them for ever. Time passes by sleeping."""

    def __init__(self, **answers: Any) -> None:
        super().__init__("localai", "127.0.0.1", 1, "secret-key", self.pause, lambda: self.now)
        self.now, self.asked = 0.0, []
        self.answers = {f"/{path.replace('_', '/')}": list(given) for path, given in answers.items()}

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> tuple[int, Any]:
        self.asked.append((path, body))
        given = self.answers[path]
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def loaded(*names: str) -> tuple[int, Any]:
    return 200, {"loaded_models": [{"id": name} for name in names]}


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01T00:00:10Z", 10.0), ("1970-01-01T00:00:10.25Z", 10.25), ("1970-01-01T00:00:00.123456789Z", 0.123456789),
])
def test_moment(text, seconds) -> None:
    assert moment(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("code", "changes", "expected"), [
    (0, {}, (Running("localai", "c" * 64, STARTED, moment(STARTED), 7, 1 << 30), "10.0.0.2")),
    (0, {"State": {"Running": False}}, None),
    (1, {}, None),
    (0, {"NetworkSettings": {"Networks": None}, "HostConfig": {}}, (Running("localai", "c" * 64, STARTED, moment(STARTED), 7, 0), "")),
])
def test_find(code, changes, expected) -> None:
    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        assert list(argv) == ["docker", "inspect", "--type", "container", "localai"]
        return code, json.dumps([{**CONTAINER, **changes}]) if code == 0 else "", ""

    assert find(run, "localai") == expected


@pytest.mark.parametrize(("limit", "expected"), [(1 << 30, (1 << 30) - 4096 * 3 - SPARE_BYTES), (0, None)])
def test_room_is_what_the_limit_leaves(tmp_path, limit, expected) -> None:
    group = tmp_path / "sys/fs/cgroup/docker"
    group.mkdir(parents=True)
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text("0::/docker\n")
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("memory cpu\n")
    (group / "memory.current").write_text("99999\n")
    (group / "memory.stat").write_text(f"anon {4096 * 3}\nfile 4096\nshmem 0\ninactive_file 0\n")
    assert room(Running("localai", "c", STARTED, 0.0, 7, limit), Tree(str(tmp_path))) == expected


def test_room_is_unknown_without_a_process(tmp_path) -> None:
    assert room(Running("localai", "c", STARTED, 0.0, 0, 1), Tree(str(tmp_path))) is None


def test_known() -> None:
    server = Answers(api_aliases=[(200, [{"name": "gpt-4", "target": "m.0a1b2c3d"}])], v1_models=[(200, {"data": [{"id": "gpt-4"}, {"id": "m.0a1b2c3d"}]})],
                     system=[loaded("m.0a1b2c3d")])
    known = server.known()
    assert (known.listed, known.aliases, known.loaded) == ({"gpt-4", "m.0a1b2c3d"}, {"gpt-4": "m.0a1b2c3d"}, {"m.0a1b2c3d"})


def test_an_empty_server_knows_nothing() -> None:
    assert not Answers(api_aliases=[(200, None)], v1_models=[(200, {"data": None})], system=[(200, {"loaded_models": []})]).known().listed


@pytest.mark.parametrize(("act", "answers", "sentence"), [
    (lambda s: s.known(), {"api_aliases": [(401, {"error": {"message": "no key"}})]}, "does not tell what it serves.*status 401: no key"),
    (lambda s: s.reload(), {"models_reload": [(500, {"error": "broken"})]}, "refused to take its new settings.*status 500: broken"),
    (lambda s: s.load("m", 9), {"backend_load": [(500, {"message": "no file"})]}, "does not load.*status 500: no file"),
    (lambda s: s.stop(["m"], 9), {"system": [loaded("m")], "backend_shutdown": [(403, None)]}, "does not stop a model.*status 403"),
    (lambda s: s.stop(["m"], 9), {"system": [loaded("m")], "backend_shutdown": [(500, None)]}, "still busy.*, m.: got 9 s"),
    (lambda s: s.await_ready(2), {"readyz": [FleetError("LocalAI does not answer")]}, "not ready in time.*2 s"),
])
def test_errors_are_sentences(act, answers, sentence) -> None:
    with pytest.raises(FleetError, match=sentence) as caught:
        act(Answers(**answers))
    assert "secret-key" not in str(caught.value.as_dict())


def test_ready_in_the_end() -> None:
    server = Answers(readyz=[FleetError("LocalAI does not answer"), (503, None), (200, None)])
    server.await_ready(10)
    assert server.now == 1.0


def test_stop_waits_for_busy_ones_and_for_those_that_come_back() -> None:
    server = Answers(system=[loaded("m", "other"), loaded("m", "other"), loaded("other"), loaded("other")], backend_shutdown=[(500, None), (200, {})])
    server.stop(["m", "gone"], 60)
    assert [body for path, body in server.asked if path == "/backend/shutdown"] == [{"model": "m"}] * 2


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(FleetError, match="does not answer"):
        Server("localai", "127.0.0.1", 1, "k").reload()


def test_an_answer_that_is_no_json(localai_like) -> None:
    assert Server("localai", "127.0.0.1", localai_like, "k").ask("GET", "/readyz") == (200, None)


@pytest.fixture
def localai_like():
    """A port that answers one request with a text."""
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        link, _peer = listener.accept()
        link.recv(65536)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        link.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(5)
    listener.close()


def test_an_answer_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.localai.fleet.plugins.module_utils._server.ANSWER_BYTES", 10)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * int(self.path[1:]))

        def log_message(self, *_args: Any) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        Thread(target=web.serve_forever, daemon=True).start()
        server = Server("localai", "127.0.0.1", web.server_address[1], "secret-key")
        assert server.ask("GET", "/10") == (200, None)
        with pytest.raises(FleetError, match="answer is too long.*more than 10 bytes"):
            server.ask("GET", "/11")
        web.shutdown()
