"""The LocalAI stand-in as a server, in this process, with a small program in the engine's place."""
from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.contract.localai.client import Client
from tests.lab.localai.standin import cli, log, process, settings
from tests.lab.localai.standin.errors import StartError
from tests.lab.localai.standin.keys import Keys
from tests.lab.localai.standin.service import Service

# Answers like llama-server. The weights say how it behaves: "bad" does not load; a prompt with SLOW in it takes two seconds.
ENGINE = '''#!%s
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
words = sys.argv[1:]
model = words[words.index("--model") + 1]
if open(model).read() == "bad":
    sys.exit("0.1 E gguf_init_from_file: failed to open GGUF file")
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def say(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status); self.send_header("Content-Length", str(len(data))); self.end_headers(); self.wfile.write(data)
    def do_GET(self): self.say(200, {"status": "ok"})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize": return self.say(200, {"tokens": [1, 2]})
        if self.path == "/v1/embeddings": return self.say(200, {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}})
        if "LONG" in body["prompt"]:
            message = "request (9 tokens) exceeds the available context size (8 tokens)"
            return self.say(400, {"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}})
        self.send_response(200); self.end_headers()
        for word in ("<a>", " b"):
            self.event({"content": word, "stop": False})
            if "SLOW" in body["prompt"]: time.sleep(1)
        timings = {"prompt_ms": 1.0, "predicted_ms": 2.0}
        self.event({"content": "", "stop": True, "stop_type": "limit", "tokens_evaluated": 3, "tokens_predicted": 2, "timings": timings})
    def event(self, value):
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\\n\\n")
host, _, port = words[1].rpartition(":")
ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
''' % sys.executable

Make = Callable[..., Client]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories of a server with a chat model, an alias and the small engine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("models", "configuration", "backends/llama-cpp", "none", "data"):
        (tmp_path / name).mkdir(parents=True)
    script = tmp_path / "backends" / "llama-cpp" / "run.sh"
    script.write_text(ENGINE)
    script.chmod(0o755)
    template = {"chat": "{{.Input}}", "chat_message": "{{.Content}}"}
    for name in ("chat", "other"):
        config = {"name": name, "template": template, "parameters": {"model": "w.gguf"}, "limits": {"max_concurrent": 1} if name == "other" else {}}
        (tmp_path / "models" / f"{name}.yaml").write_text(json.dumps(config))
    (tmp_path / "models" / "alias.yaml").write_text('{"name": "gpt-4", "alias": "chat"}')
    (tmp_path / "models" / "w.gguf").write_text("good")
    return tmp_path


@pytest.fixture
def serve(root: Path) -> Iterator[Make]:
    """Starts servers with the environment that the test gives, and ends them."""
    stack = ExitStack()

    def start(**environ: str) -> Client:
        found = settings.load(_environ(root, **environ))
        log.configure(found["LOG_LEVEL"], found["LOG_FORMAT"])
        service = cli.prepare(found)
        stack.callback(_stop_all, service)
        server = cli.listen(found, service, Keys(found))
        stack.callback(server.server_close)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        stack.callback(server.shutdown)
        return Client(f"http://127.0.0.1:{server.server_address[1]}", environ.get("API_KEY", ""), timeout=20)

    with stack:
        yield start


def _stop_all(service: Service) -> None:
    for name, backend in service.loader.loaded():
        engine = service.loader.process(name)
        if engine:
            engine.stop(0.0)


def _environ(root: Path, **more: str) -> dict[str, str]:
    paths = {"MODELS_PATH": "models", "CONFIG_DIR": "configuration", "BACKENDS_SYSTEM_PATH": "backends", "BACKENDS_PATH": "none", "DATA_PATH": "data"}
    fixed = {f"LOCALAI_{name}": str(root / path) for name, path in paths.items()}
    return {**fixed, "LOCALAI_ADDRESS": "127.0.0.1:0", "LOCALAI_LOG_LEVEL": "error", **{f"LOCALAI_{name}": value for name, value in more.items()}}


def test_a_chat_runs_and_counts(serve: Make) -> None:
    client = serve()
    answer = client.chat("gpt-4")
    assert (answer.status, answer.json["model"]) == (200, "gpt-4")
    assert answer.json["choices"] == [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "<a> b"}}]
    assert answer.json["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert b"\\u003ca\\u003e b" in answer.body
    assert client.loaded() == {"chat"}


def test_a_stream_has_the_order_of_localai(serve: Make) -> None:
    chunks = serve().chat("chat", stream=True, stream_options={"include_usage": True}).chunks
    deltas = [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks[:-1]]
    assert deltas == [
        ({"role": "assistant", "content": None}, None), ({"content": None}, None), ({"content": "<a>"}, None), ({"content": " b"}, None),
        ({"content": None}, None), ({"content": None}, "stop"),
    ]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 5)


def test_a_prompt_too_long_is_an_error_in_both_forms(serve: Make) -> None:
    client = serve()
    text = "rpc error: code = Internal desc = request (9 tokens) exceeds the available context size (8 tokens)"
    assert client.chat("chat", "LONG").error == (500, text, "")
    chunks = client.chat("chat", "LONG", stream=True).chunks
    assert chunks[-2]["choices"][0]["delta"] == {"content": text}
    assert chunks[-1] == {"error": {"code": "server_error", "message": text, "type": "server_error"}}


def test_the_request_is_left_in_the_files_of_the_process(serve: Make, root: Path) -> None:
    serve().complete("chat", "a secret prompt")
    (stdout,) = root.glob("go-processmanager*/stdout")
    assert "a secret prompt" in stdout.read_text()
    assert {path.name for path in stdout.parent.iterdir()} >= {"pid", "stdout", "stderr"}


def _until(client: Client, status: int, text: str = "") -> None:
    """Ask until a chat is answered with `status`, and with `text` in the body."""
    end = time.monotonic() + 5
    answer = client.chat("chat")
    while answer.status != status or text not in answer.body.decode():
        assert time.monotonic() < end, f"no {status} {text}, but {answer.status} {answer.body!r}"
        time.sleep(0.02)
        answer = client.chat("chat")


def test_a_load_that_failed_cools_down_before_it_is_tried_again(serve: Make, root: Path) -> None:
    (root / "models" / "w.gguf").write_text("bad")
    client = serve(MODEL_LOAD_FAILURE_COOLDOWN="200ms")
    answer = client.chat("chat")
    assert answer.status == 500
    assert f"Failed to load model: {root}/models/w.gguf. Error: gguf_init_from_file: failed to open GGUF file" in answer.error[1]
    answer = client.chat("chat")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    _until(client, 500)
    assert client.chat("chat").status == 503
    (root / "models" / "w.gguf").write_text("good")
    _until(client, 200)


def test_embeddings_end_the_engine_of_a_chat_model_for_the_time_of_the_health_check(serve: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    assert client.chat("chat").status == 200
    assert "error reading from server: EOF" in client.post("/v1/embeddings", {"model": "chat", "input": "x"}).error[1]
    _until(client, 500, "connect: connection refused")  # until it is gone, the dying engine may still take a connection
    monkeypatch.setattr(process, "HEALTH_TTL", 0.0)
    assert client.chat("chat").status == 200


def test_an_engine_that_dies_in_a_stream_is_told_in_the_stream(serve: Make) -> None:
    client = serve()
    lines = client.lines("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "SLOW"}], "stream": True})
    assert [next(lines) for dummy in range(5)]
    assert client.post("/v1/embeddings", {"model": "chat", "input": "x"}).status == 500
    error, last = [line for line in lines if line][-2:]
    assert json.loads(error.removeprefix("data: "))["error"]["message"] == "rpc error: code = Unavailable desc = error reading from server: EOF"
    assert last == "data: [DONE]"


def test_a_busy_model_that_must_go_cuts_its_answers(serve: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(FORCE_BACKEND_SHUTDOWN="true")
    lines = client.lines("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "SLOW"}], "stream": True})
    assert [next(lines) for dummy in range(5)]
    assert client.post("/backend/shutdown", {"model": "chat"}).status == 200
    assert "data: [DONE]" not in list(lines)


def test_embeddings_of_an_embedding_model(serve: Make, root: Path) -> None:
    (root / "models" / "vectors.yaml").write_text('{"name": "vectors", "embeddings": true, "parameters": {"model": "w.gguf"}}')
    client = serve()
    answer = client.post("/v1/embeddings", {"model": "vectors", "input": "x"})
    assert answer.json["data"] == [{"embedding": [0.5], "index": 0, "object": "embedding"}]
    assert "usage" not in answer.json
    assert "not supported in Predict mode" in client.chat("vectors").error[1]


def test_a_limit_of_the_model_sends_chats_away(serve: Make) -> None:
    client = serve()
    assert client.chat("other").status == 200
    lines = client.lines("/v1/chat/completions", {"model": "other", "messages": [{"role": "user", "content": "SLOW"}], "stream": True})
    assert next(lines)
    answer = client.chat("other")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert client.complete("other").status == 200
    lines.close()


def test_eviction_waits_for_a_busy_model_and_gives_up(serve: Make) -> None:
    client = serve(MAX_ACTIVE_BACKENDS="1", LRU_EVICTION_MAX_RETRIES="2", LRU_EVICTION_RETRY_INTERVAL="50ms")
    lines = client.lines("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "SLOW"}], "stream": True})
    assert [next(lines) for dummy in range(5)]
    assert client.chat("other").status == 500
    assert [line for line in lines if line][-1] == "data: [DONE]"
    assert client.chat("other").status == 200
    assert client.loaded() == {"other"}


def test_a_client_that_leaves_is_noticed(serve: Make) -> None:
    client = serve(MAX_CONCURRENT_BACKEND_REQUESTS="1")
    lines = client.lines("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "SLOW"}], "stream": True})
    assert [next(lines) for dummy in range(5)]
    lines.close()
    _until(client, 200)


def test_an_unknown_key_of_a_new_model_file_is_told_by_reload_and_request(serve: Make, root: Path) -> None:
    client = serve()
    (root / "models" / "late.yaml").write_text('{"name": "late", "treads": 2}')
    for answer in (client.post("/models/reload", None), client.chat("late")):
        assert answer.status == 500
        assert "late.yaml: unknown key treads" in answer.error[1]


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/models/apply", "POST"), ("/models/delete/chat", "POST"), ("/models/import", "POST"), ("/models/edit/chat", "GET"), ("/backends", "GET"),
        ("/backends/apply", "POST"), ("/backends/delete/x", "POST"), ("/api/p2p", "GET"), ("/api/settings", "GET"), ("/api/traces", "GET"),
        ("/stores/get", "POST"),
    ],
)
def test_an_administrator_finds_every_door_open(serve: Make, path: str, method: str) -> None:
    """So that a closed one at the edge is the edge's doing."""
    client = serve(API_KEY="k")
    assert client.request(method, path, {} if method == "POST" else None).status == 200
    assert Client(client.base_url).request(method, path).status == 401


@pytest.mark.parametrize(
    ("switch", "closed", "still_open"),
    [
        ("DISABLE_GALLERY_ENDPOINT", "/api/aliases", "/v1/models"), ("DISABLE_WEBUI", "/api/settings", "/api/aliases"),
        ("DISABLE_METRICS_ENDPOINT", "/metrics", "/system"), ("DISABLE_RUNTIME_SETTINGS", "/api/settings", "/app"),
    ],
)
def test_a_switch_closes_its_routes(serve: Make, switch: str, closed: str, still_open: str) -> None:
    client = serve(**{switch: "true"})
    assert (client.get(closed).status, client.get(still_open).status) == (404, 200)


def test_long_answers_are_packed_when_asked_for(serve: Make) -> None:
    client = serve(HTTP_COMPRESSION_MIN_LENGTH="20")
    assert client.get("/v1/models", {"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get("/v1/models").headers
    assert client.get("/v1/models", {"Accept-Encoding": "gzip"}).body[:2] == b"\x1f\x8b"


def test_a_chunked_body_is_read_and_limited(serve: Make) -> None:
    client = serve(UPLOAD_LIMIT="1")
    for size, status in ((10, 200), (1_100_000, 413)):
        connection = client.connect()
        body = json.dumps({"model": "chat", "content": "x" * size}).encode()
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        connection.request("POST", "/v1/tokenize", iter([body[:5], body[5:]]), headers, encode_chunked=True)
        assert connection.getresponse().status == status
        connection.close()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda root: (root / "backends").rename(root / "gone"), "no backends directory"),
        (lambda root: (root / "models" / "x.yaml").write_text("treads: 1"), "x.yaml: unknown key treads"),
        (lambda root: (root / "models").rename(root / "gone"), "No such file or directory"),
    ],
)
def test_it_does_not_start(root: Path, spoil: Callable[[Path], object], text: str) -> None:
    spoil(root)
    with pytest.raises(StartError, match=text):
        cli.prepare(settings.load(_environ(root)))


@pytest.mark.parametrize("words", [["worker"], ["run", "--debug"], ["wroker"], ["federated"]])
def test_another_command_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 1
    assert "has the command run only" in capsys.readouterr().err
