"""The probe as a module: it changes nothing, asks in check mode too, and never tells the key."""
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

KEY = "sk-test-4711"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        known = self.headers.get("Authorization") == f"Bearer {KEY}"
        bodies = {"/v1/models": {"data": [{"id": "m"}]}, "/v1/chat/completions": {"choices": [{"message": {"content": "Hi"}}]}}
        status = 200 if self.path in bodies else 404
        data = json.dumps(bodies.get(self.path, {})).encode() if known else b"{}"
        self.send_response(status if known else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = answer


@pytest.fixture
def url():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def stable(result):
    """The result without what a clock measures."""
    return [{**check, "seconds": 0} for check in result["checks"]]


def test_quartet(run_module, url):
    args = {"base_url": url, "key": KEY, "models": [{"name": "m", "times": 2}], "stream": False, "ready_path": "", "timeout": 5}
    results = [run_module("chat_probe", args, check=check) for check in (True, False, True, False)]
    for result in results:
        assert (result["changed"], result["ok"], result["failed_checks"]) == (False, True, 0)
        assert stable(result) == stable(results[0])
        assert KEY not in json.dumps(result)
    assert [check["name"] for check in results[0]["checks"]][:5] == ["models", "chat", "chat", "no_key", "wrong_key"]


def test_failed_checks_do_not_fail_the_module(run_module, url):
    result = run_module("chat_probe", {"base_url": url, "key": KEY, "models": [{"name": "gone"}], "timeout": 5})
    assert "failed" not in result and not result["ok"] and result["failed_checks"] >= 2
    assert all(check["cure"] for check in result["checks"] if not check["ok"])


def test_bad_input_is_a_sentence(run_module):
    result = run_module("chat_probe", {"base_url": "ai.example.com", "key": KEY})
    assert result["failed"] and "base_url" in result["msg"] and KEY not in json.dumps(result)
