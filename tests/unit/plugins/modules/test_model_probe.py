"""Asking models: streams with their times, embeddings, reranks, and answers that do not come."""
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.localai.fleet.plugins.module_utils._gate import prompts_for

KEY = "sk-test-4711"


def events(words: list[str], finish: str = "stop") -> bytes:
    """A stream as LocalAI sends it."""
    said = [{"choices": [{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": None}}]}]
    said += [{"choices": [{"index": 0, "finish_reason": None, "delta": {"content": word}}]} for word in words]
    said += [{"choices": [{"index": 0, "finish_reason": finish, "delta": {"content": None}}]},
             {"choices": [], "usage": {"completion_tokens": len(words)}}]
    return b"".join(f"data: {json.dumps(item)}\n\n".encode() for item in said) + b"data: [DONE]\n\n"


class Handler(BaseHTTPRequestHandler):
    asked: list[tuple[str, Any]] = []

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        status, data = self.answer(body)
        self.send_response(status if self.headers.get("Authorization") == f"Bearer {KEY}" else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self, body: Any) -> tuple[int, bytes]:
        if body["model"] == "broken":
            return 500, json.dumps({"error": {"message": f"no, says {KEY}"}}).encode()
        if self.path == "/v1/embeddings":
            return 200, json.dumps({"data": [{"embedding": vector} for vector in ([1, 0], [1, 0.1], [0, 1])]}).encode()
        if self.path == "/v1/rerank":
            return 200, json.dumps({"results": [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.8}]}).encode()
        if self.path == "/v1/completions":
            return 200, (b'data: {"choices":[{"index":0,"finish_reason":null,"text":" Paris"}]}\n\n'
                         b'data: {"choices":[{"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        return 200, events(["The", " capital", " is", " Paris", "."])


@pytest.fixture
def url() -> Iterator[str]:
    Handler.asked = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def arguments(url: str, kind: str = "chat", **more: Any) -> dict[str, Any]:
    prompts = [prompt.as_dict() for prompt in prompts_for("m", kind, [])][:1]
    return {"base_url": url, "key": KEY, "models": ["m", "m.1a2b3c4d"], "prompts": prompts, "timeout": 5, **more}


def without_times(result: dict[str, Any]) -> Any:
    return {model: {name: {key: value for key, value in seen.items() if "second" not in key} for name, seen in found.items()}
            for model, found in result["answers"].items()}


def test_quartet(run_module: Callable[..., Any], url: str) -> None:
    results = [run_module("model_probe", arguments(url), check=check) for check in (True, False, True, False)]
    for result in results:
        assert result["changed"] is False and KEY not in json.dumps(result["answers"])
        assert without_times(result) == without_times(results[0])
    seen = results[0]["answers"]["m.1a2b3c4d"]["capital"]
    assert (seen["error"], seen["text"], seen["tokens"], seen["stopped"]) == ("", "The capital is Paris.", 5, True)
    assert seen["first_token_seconds"] >= 0


def test_each_prompt_goes_to_every_model_without_chance(run_module: Callable[..., Any], url: str) -> None:
    prompts = [prompt.as_dict() for prompt in prompts_for("m", "chat", [])][:2]
    run_module("model_probe", arguments(url, prompts=prompts))
    first, second = Handler.asked[:2], Handler.asked[2:]
    for asked in (first, second):
        assert {body["model"] for _path, body in asked} == {"m", "m.1a2b3c4d"}
        assert len({str(body["messages"]) for _path, body in asked}) == 1
    assert {body["temperature"] for _path, body in Handler.asked} == {0}


def test_what_max_tokens_cut_has_not_stopped_by_itself(run_module: Callable[..., Any], url: str) -> None:
    prompt = {"name": "p", "prompt": "?", "max_tokens": 5, "system": "Be short."}
    result = run_module("model_probe", arguments(url, prompts=[prompt]))
    assert result["answers"]["m"]["p"]["stopped"] is False
    assert Handler.asked[0][1]["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": "?"}]


@pytest.mark.parametrize("kind, path, key, value", [
    ("completion", "/v1/completions", "text", " Paris"),
    ("rerank", "/v1/rerank", "first", 1),
])
def test_other_kinds(run_module: Callable[..., Any], url: str, kind: str, path: str, key: str, value: Any) -> None:
    (seen,) = run_module("model_probe", arguments(url, kind))["answers"]["m"].values()
    assert (seen["error"], seen[key], Handler.asked[0][0]) == ("", value, path)


def test_an_embedding_is_compared(run_module: Callable[..., Any], url: str) -> None:
    (seen,) = run_module("model_probe", arguments(url, "embedding"))["answers"]["m"].values()
    near, far = seen["similarities"]
    assert near > 0.99 and far == 0 and seen["error"] == ""


@pytest.mark.parametrize("kind", ["chat", "completion", "embedding", "rerank"])
def test_a_model_that_fails_is_told_and_the_other_is_asked(run_module: Callable[..., Any], url: str, kind: str) -> None:
    result = run_module("model_probe", arguments(url, kind, models=["broken", "m"]))
    (broken,), (good,) = (result["answers"][name].values() for name in ("broken", "m"))
    assert "500" in broken["error"] and good["error"] == ""
    assert KEY not in json.dumps(result["answers"])


def test_nobody_there_is_an_error_in_words(run_module: Callable[..., Any]) -> None:
    result = run_module("model_probe", arguments("http://127.0.0.1:1"))
    assert "connection refused" in result["answers"]["m"]["capital"]["error"]


def test_a_prompt_that_cannot_be_judged_is_refused(run_module: Callable[..., Any], url: str) -> None:
    result = run_module("model_probe", arguments(url, prompts=[{"name": "p", "prompt": "?", "contians": "x"}]))
    assert result["failed"] and "contians" in result["msg"]
    assert not Handler.asked
