"""The container itself: what must be writable, what stops a start, files that change under a running server, and how it ends.

Every fact here was seen on LocalAI v4.9.0; what only the stand-in does is checked with its unit tests.
"""
from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable

import pytest

from tests.contract.localai.client import Client
from tests.contract.localai.server import ALIAS, CHAT, KEY, OTHER, Server, model_yaml

Make = Callable[..., Server]


def _two(server: Server) -> dict[str, str]:
    return {f"{name}.yaml": model_yaml(name, server.images.blob) for name in (CHAT, OTHER)}


def _write_two(server: Server) -> Server:
    for name, text in _two(server).items():
        server.write(name, text)
    return server


# -- the file system ---------------------------------------------------------------------------------------------------


def test_without_tmp_it_does_not_start(server: Make) -> None:
    one = server(tmp=False).start()
    assert one.exit_code() == 1
    assert "unable to create ImageDir" in one.log


def test_data_need_not_be_writable(server: Make) -> None:
    one = server(data_writable=False).started()
    assert "failed to persist local user id" in one.log
    assert one.client.chat(CHAT).status == 200


def test_backends_may_lie_in_the_other_path(server: Make) -> None:
    one = server(backend_path="/backends").started()
    assert one.client.chat(CHAT).status == 200


def test_a_model_file_that_cannot_be_read_is_left_out(server: Make) -> None:
    one = server()
    one.write(f"{CHAT}.yaml", model_yaml(CHAT, one.images.blob), mode=0o600)
    one.started()
    assert one.client.listed() == {ALIAS}
    assert "permission denied" in one.log.lower()


def test_weights_that_cannot_be_read_fail_and_then_cool_down(server: Make) -> None:
    one = server()
    secret = one.root / "models" / "secret.gguf"
    secret.write_bytes(b"GGUF")
    secret.chmod(0o600)
    one.write(f"{CHAT}.yaml", model_yaml(CHAT, "secret.gguf"))
    one.started()
    answer = one.client.chat(CHAT)
    assert answer.status == 500
    assert "could not load model: rpc error: code = Internal desc = Failed to load model: /models/secret.gguf" in answer.error[1]
    answer = one.client.chat(CHAT)
    assert answer.status == 503
    assert 0 < int(answer.headers["retry-after"]) <= 10
    assert "load is in cooldown after a recent failure; retry after" in answer.error[1]
    assert one.client.get("/readyz").status == 200


def test_without_the_backend_a_request_fails(server: Make) -> None:
    one = server()
    empty = one.root / "empty"
    (empty / "other").mkdir(parents=True)
    one.backend_source = empty
    one.started()
    answer = one.client.chat(CHAT)
    assert answer.status == 500
    assert answer.error[1].endswith("failed to load model with internal loader: backend not found: llama-cpp")


def test_a_backend_that_is_not_executable_fails(server: Make) -> None:
    one = server()
    source = one.root / "plain"
    (source / "llama-cpp").mkdir(parents=True)
    (source / "llama-cpp" / "run.sh").write_text("#!/bin/bash\n")
    (source / "llama-cpp" / "run.sh").chmod(0o644)
    one.backend_source = source
    one.started()
    answer = one.client.chat(CHAT)
    assert answer.status == 500
    assert "chmod /var/lib/local-ai/backends/llama-cpp/run.sh: read-only file system" in answer.error[1]


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("LOCALAI_THREADS", "abc", 1), ("LOCALAI_UPLOAD_LIMIT", "15M", 1), ("LOCALAI_LOG_LEVEL", "loud", 80), ("LOCALAI_LOAD_TO_MEMORY", "no-such-model", 1)],
)
def test_a_bad_value_stops_the_start(server: Make, name: str, value: str, code: int) -> None:
    assert server(environment={name: value}).start().exit_code() == code


def test_a_watchdog_duration_matters_only_with_the_watchdog(server: Make) -> None:
    timeout = {"LOCALAI_WATCHDOG_IDLE_TIMEOUT": "banana"}
    server(environment=timeout).started()
    one = server(environment={**timeout, "LOCALAI_WATCHDOG_IDLE": "true"}).start()
    assert one.exit_code() == 1
    assert "invalid duration" in one.log


def test_a_model_can_be_loaded_before_the_port_opens(server: Make) -> None:
    one = server(environment={"LOCALAI_LOAD_TO_MEMORY": CHAT}).started()
    assert one.client.loaded() == {CHAT}


def test_without_a_key_the_server_is_open(server: Make) -> None:
    one = server(environment={"LOCALAI_API_KEY": ""}).started()
    anyone = Client(one.base_url)
    assert anyone.get("/system").status == 200
    assert anyone.request("HEAD", "/readyz").status == 405


def test_several_keys_are_equal(server: Make) -> None:
    one = server(environment={"LOCALAI_API_KEY": f"{KEY},second"}).started()
    assert Client(one.base_url, "second").get("/system").status == 200
    assert one.client.get("/system").status == 200


@pytest.mark.parametrize(
    ("environment", "path", "status"),
    [
        ({"LOCALAI_DISABLE_METRICS_ENDPOINT": "true"}, "/metrics", 404),
        ({"LOCALAI_DISABLE_WEBUI": "true", "LOCALAI_OPAQUE_ERRORS": "true"}, "/app", 404),
    ],
)
def test_a_route_can_be_closed(server: Make, environment: dict[str, str], path: str, status: int) -> None:
    assert server(environment=environment).started().client.get(path).status == status


def test_errors_can_be_opaque_but_an_unknown_model_is_named(server: Make) -> None:
    one = server(environment={"LOCALAI_OPAQUE_ERRORS": "true"}).started()
    answer = Client(one.base_url).get("/v1/models")
    assert (answer.status, answer.body) == (401, b"")
    assert one.client.chat("no-such-model").error[0] == 404


def test_one_active_backend_evicts_the_other(server: Make) -> None:
    one = _write_two(server(environment={"LOCALAI_MAX_ACTIVE_BACKENDS": "1"})).started()
    for name in (CHAT, OTHER, CHAT):
        assert one.client.chat(name).status == 200
        assert one.client.loaded() == {name}


def test_an_idle_model_is_stopped_by_the_watchdog(server: Make) -> None:
    one = server(environment={"LOCALAI_WATCHDOG_IDLE": "true", "LOCALAI_WATCHDOG_IDLE_TIMEOUT": "2s", "LOCALAI_WATCHDOG_INTERVAL": "500ms"}).started()
    assert one.client.chat(CHAT).status == 200
    _until(lambda: not one.client.loaded(), 20)
    assert one.client.chat(CHAT).status == 200


def test_requests_beyond_the_ceiling_are_sent_away(server: Make) -> None:
    one = server(environment={"LOCALAI_MAX_CONCURRENT_BACKEND_REQUESTS": "1"}).started()
    lines = _busy(one.client)
    answer = one.client.chat(CHAT)
    lines.close()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.error[1] == "backend inference capacity reached (max_concurrent=1); retry after 1s"


# -- files that change -------------------------------------------------------------------------------------------------


def _until(condition: Callable[[], Any], seconds: float) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "not within the time"
        time.sleep(0.1)
    return time.monotonic() - begin


def test_keys_in_the_file_change_while_it_runs(server: Make) -> None:
    one = server().started()
    extra = Client(one.base_url, "file-key")
    assert extra.get("/system").status == 401
    one.write_keys(["file-key"])
    _until(lambda: extra.get("/system").status == 200, 20)
    one.write_keys(["another"])
    _until(lambda: extra.get("/system").status == 401, 20)
    assert one.client.get("/system").status == 200


def test_without_its_only_keys_the_server_is_open(server: Make) -> None:
    """Why the collection keeps a key in the environment."""
    one = server(environment={"LOCALAI_API_KEY": ""})
    one.write_keys(["file-key"])
    one.started()
    anyone = Client(one.base_url)
    assert anyone.get("/system").status == 401
    one.write_keys(None)
    _until(lambda: anyone.get("/system").status == 200, 20)


def test_a_new_model_is_listed_after_a_reload_and_served_before(server: Make) -> None:
    one = server().started()
    one.write(f"{OTHER}.yaml", model_yaml(OTHER, one.images.blob))
    one.write("third.yaml", model_yaml("third", one.images.blob))
    assert one.client.listed() == {CHAT, ALIAS}
    assert one.client.chat(OTHER).status == 200
    assert one.client.post("/models/reload", None).status == 200
    assert one.client.listed() == {CHAT, ALIAS, OTHER, "third"}


def test_an_edit_needs_a_reload_and_a_stop(server: Make) -> None:
    """A prompt that fits the larger context only tells which options the process has."""
    one = server()
    one.write(f"{CHAT}.yaml", model_yaml(CHAT, one.images.blob, context_size=256))
    one.started()
    prompt = "word " * 300
    assert one.client.chat(CHAT, prompt).status == 500
    one.write(f"{CHAT}.yaml", model_yaml(CHAT, one.images.blob, context_size=512))
    one.client.post("/backend/shutdown", {"model": CHAT})
    assert one.client.chat(CHAT, prompt).status == 500
    one.client.post("/models/reload", None)
    assert one.client.chat(CHAT, prompt).status == 500
    one.client.post("/backend/shutdown", {"model": CHAT})
    assert one.client.chat(CHAT, prompt).status == 200


def test_a_removed_model_stays_until_the_next_start(server: Make) -> None:
    one = server().started()
    (one.root / "models" / f"{ALIAS}.yaml").unlink()
    one.client.post("/models/reload", None)
    assert ALIAS in one.client.listed()
    one.running.restart(timeout=10)
    one.client.wait()
    assert one.client.listed() == {CHAT}


def test_a_broken_model_file_harms_no_other(server: Make) -> None:
    one = server().started()
    one.write("broken.yaml", "name: [unfinished\n")
    answer = one.client.post("/models/reload", None)
    assert (answer.status, answer.json["success"]) == (200, True)
    assert one.client.chat(CHAT).status == 200


def test_an_alias_turns_with_a_reload(server: Make) -> None:
    one = _write_two(server()).started()
    assert one.client.chat(ALIAS).status == 200
    assert one.client.loaded() == {CHAT}
    one.write(f"{ALIAS}.yaml", json.dumps({"name": ALIAS, "alias": OTHER}))
    one.client.post("/models/reload", None)
    assert one.client.chat(ALIAS).status == 200
    assert one.client.loaded() == {CHAT, OTHER}


def test_an_alias_to_nothing_is_listed_and_400(server: Make) -> None:
    one = server()
    one.write("bad.yaml", json.dumps({"name": "bad", "alias": "nothing"}))
    one.started()
    assert "bad" in one.client.listed()
    answer = one.client.chat("bad")
    assert answer.status == 400
    assert answer.error == (400, 'alias "bad" points to unknown model "nothing"', "invalid_request_error")


# -- names that reach more than they should ---------------------------------------------------------------------------


def test_a_file_name_is_a_model_of_its_own(server: Make) -> None:
    """Why the edge allows names from its list only: this starts a second engine without the file's limits."""
    one = server()
    (one.root / "models" / "loose.gguf").hardlink_to(one.root / "models" / one.images.blob)
    one.started()
    assert one.client.complete("loose.gguf", max_tokens=1).status == 200
    assert "loose.gguf" not in one.client.listed()


def test_the_query_names_the_model_when_the_body_does_not(server: Make) -> None:
    one = _write_two(server()).started()
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    assert one.client.post(f"/v1/chat/completions?model={OTHER}", body).status == 200
    assert one.client.loaded() == {OTHER}


def test_runtime_settings_bring_keys(server: Make) -> None:
    """Why the collection owns that file."""
    one = server()
    path = one.root / "configuration" / "runtime_settings.json"
    path.write_text(json.dumps({"api_keys": ["hidden"], "max_active_backends": 1}))
    path.chmod(0o644)
    one.started()
    assert Client(one.base_url, "hidden").get("/system").status == 200


# -- the end -----------------------------------------------------------------------------------------------------------


def _busy(client: Client, tokens: int = 800) -> Any:
    """A long stream, read as far as its first words."""
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Once upon a time"}], "stream": True, "max_tokens": tokens, "ignore_eos": True}
    lines = client.lines("/v1/chat/completions", body)
    for line in lines:
        if '"content":"' in line:
            break
    return lines


def test_an_idle_server_ends_at_once(server: Make) -> None:
    one = server().started()
    assert one.client.chat(CHAT).status == 200
    assert one.stop() < 15
    assert one.exit_code() == 0


def test_a_running_stream_is_finished_before_the_end(server: Make) -> None:
    one = server().started()
    assert one.client.chat(CHAT).status == 200
    lines = _busy(one.client, 100)
    stopping = threading.Thread(target=one.stop)
    stopping.start()
    time.sleep(0.3)
    assert one.client.get("/readyz").status == 200
    rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    stopping.join(60)
    assert one.exit_code() == 0


def test_a_client_that_leaves_frees_the_engine(server: Make) -> None:
    one = server().started()
    assert one.client.chat(CHAT).status == 200
    _busy(one.client).close()
    begin = time.monotonic()
    assert one.client.chat(CHAT, max_tokens=1).status == 200
    assert time.monotonic() - begin < 10


def test_the_record_of_requests_can_be_emptied_while_it_runs(server: Make) -> None:
    """The cure that the collection names when /tmp fills: each request's text is kept there."""
    one = server().started()

    def kept() -> int:
        return int(one.running.exec_run(["sh", "-c", "cat /tmp/go-processmanager*/std* | wc -c"]).output)

    prompt = "word " * 400
    assert one.client.chat(CHAT, prompt).status == 200
    assert kept() > len(prompt)
    assert one.running.exec_run(["sh", "-c", "truncate -s 0 /tmp/go-processmanager*/std*"]).exit_code == 0
    assert kept() < len(prompt)
    assert one.client.chat(CHAT).status == 200
    assert 0 < kept() < len(prompt)


def test_the_engine_runs_without_rights(server: Make) -> None:
    """The engine process of the container: no capability, no new privileges, seccomp on."""
    one = server().started()
    assert one.client.chat(CHAT).status == 200
    engines = [row for row in one.running.top(ps_args="-eo pid,args")["Processes"] if "llama-cpp" in " ".join(row)]
    assert len(engines) == 1
    with open(f"/proc/{engines[0][0]}/status", encoding="ascii") as stream:
        status = dict(line.split(":\t") for line in stream.read().splitlines() if ":\t" in line)
    assert (int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, "1", "2")
    assert set(status["Uid"].split()) == {"10001"}
