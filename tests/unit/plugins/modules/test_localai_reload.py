"""LocalAI brought up to date, with a `docker` of the test's own and a server on the loopback."""
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

KEY = "admin-key-0123456789"


@pytest.fixture
def localai():
    """A server that keeps the requests it got; `answers` maps a path to a status."""
    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/readyz":
                server.asked.append((self.path, json.loads(body), self.headers["Authorization"] == f"Bearer {KEY}"))
            self.send_response(server.answers.get(self.path, 200))
            self.end_headers()

        do_GET = do_POST = answer

        def log_message(self, format, *args):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answers = [], {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def deployed(tmp_path, localai, fake_docker):
    """A container that started after its settings folder was last written; `restart` makes it a younger one."""
    (tmp_path / "settings" / "localai").mkdir(parents=True)
    container = [{"Id": "c" * 64, "State": {"Running": True, "StartedAt": "2099-01-01T00:00:00.123456789Z"},
                  "NetworkSettings": {"Networks": {"localai": {"IPAddress": "127.0.0.1"}}}}]
    (tmp_path / "inspect.json").write_text(json.dumps(container))
    log = fake_docker(f'case "$1" in inspect) cat {tmp_path}/inspect.json;; restart) sed -i s/2099-01-01/2099-01-02/ {tmp_path}/inspect.json;; esac')
    args = {"path": str(tmp_path / "settings"), "state": str(tmp_path / "state" / "instances.json"),
            "api_key": KEY, "port": localai.server_address[1], "timeout": 10,
            "containers": [{"name": "localai", "files": [{"name": "m.yaml", "content": "threads: 1\n", "mode": "0640"},
                                                         {"name": "gpt-4.yaml", "content": "alias: m\n"}]}]}
    return args, log


def with_files(args, **contents):
    """The arguments with other files."""
    return {**args, "containers": [{"name": "localai", "files": [{"name": f"{name}.yaml", "content": text} for name, text in contents.items()]}]}


def test_quartet(run_module, deployed, localai) -> None:
    args, _log = deployed
    assert run_module("localai_reload", args, check=True)["changed"]
    first = run_module("localai_reload", args)
    assert (first["changed"], first["actions"], first["addresses"]) == (True, {"localai": "nothing"}, {"localai": "127.0.0.1"})
    for check in (True, False):
        assert not run_module("localai_reload", args, check=check)["changed"]
    assert localai.asked == []


def test_a_changed_model_is_reloaded_then_stopped(run_module, deployed, localai) -> None:
    args, log = deployed
    run_module("localai_reload", args)
    localai.answers["/backend/shutdown"] = 404
    changed = with_files(args, **{"m": "threads: 2\n", "gpt-4": "alias: m\n", "new": "threads: 1\n"})
    assert run_module("localai_reload", changed, check=True)["actions"] == {"localai": "reload, stop m"}
    assert localai.asked == []
    assert run_module("localai_reload", changed)["changed"]
    assert localai.asked == [("/models/reload", {}, True), ("/backend/shutdown", {"model": "m"}, True)]
    assert "restart" not in log.read_text()
    assert not run_module("localai_reload", changed)["changed"]


def test_a_removed_model_needs_a_restart(run_module, deployed, localai) -> None:
    args, log = deployed
    run_module("localai_reload", args)
    result = run_module("localai_reload", with_files(args, m="threads: 1\n"))
    assert result["actions"] == {"localai": "restart"}
    assert "restart --time 90 localai" in log.read_text()
    assert result["instances"][0]["started_at"].startswith("2099-01-02")
    assert not run_module("localai_reload", with_files(args, m="threads: 1\n"))["changed"]


def test_what_was_not_finished_is_done_by_the_next_run(run_module, deployed, localai) -> None:
    args, _log = deployed
    run_module("localai_reload", args)
    localai.answers["/models/reload"] = 500
    changed = with_files(args, **{"m": "threads: 2\n", "gpt-4": "alias: m\n"})
    assert "refused to take its new settings" in run_module("localai_reload", changed)["msg"]
    localai.answers.clear()
    assert run_module("localai_reload", changed)["actions"] == {"localai": "reload, stop m"}


def test_each_container_has_settings_of_its_own(run_module, deployed, localai) -> None:
    args, log = deployed
    both = {**args, "containers": args["containers"] + [{"name": "localai-ondemand", "files": [{"name": "n.yaml", "content": "threads: 1\n"}]}]}
    run_module("localai_reload", both)
    both["containers"][1]["files"][0]["content"] = "threads: 2\n"
    assert run_module("localai_reload", both)["actions"] == {"localai": "nothing", "localai-ondemand": "reload, stop n"}
    assert localai.asked == [("/models/reload", {}, True), ("/backend/shutdown", {"model": "n"}, True)]
    assert [entry["name"] for entry in run_module("localai_reload", args)["instances"]] == ["localai"]
    assert "restart" not in log.read_text()


def test_only_its_own_folder_makes_a_container_older(run_module, deployed, tmp_path) -> None:
    args, _log = deployed
    (tmp_path / "inspect.json").write_text((tmp_path / "inspect.json").read_text().replace("2099-01-01", "2001-01-01"))
    (tmp_path / "settings" / "other").mkdir()
    (tmp_path / "settings" / "localai").rmdir()
    assert run_module("localai_reload", args, check=True)["actions"] == {"localai": "nothing"}


def test_an_unknown_older_container_is_restarted(run_module, deployed, tmp_path) -> None:
    args, _log = deployed
    (tmp_path / "inspect.json").write_text((tmp_path / "inspect.json").read_text().replace("2099-01-01", "2001-01-01"))
    assert run_module("localai_reload", args, check=True)["actions"] == {"localai": "restart"}


def test_without_a_container(run_module, deployed, tmp_path) -> None:
    args, _log = deployed
    (tmp_path / "inspect.json").write_text("[{\"State\": {\"Running\": false}}]")
    assert run_module("localai_reload", args, check=True)["changed"]
    assert "does not run" in run_module("localai_reload", args)["msg"]
    assert not (tmp_path / "state").exists()


def test_the_key_is_in_no_result_and_no_command(run_module, deployed) -> None:
    args, log = deployed
    assert KEY not in str(run_module("localai_reload", args))
    assert KEY not in log.read_text()
