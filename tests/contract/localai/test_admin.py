"""Loading, stopping, reloading, metrics."""
from __future__ import annotations

import time

from tests.contract.localai.client import Client


def test_a_model_is_loaded_stopped_and_loaded_by_a_request(admin: Client, model: str) -> None:
    admin.post("/backend/shutdown", {"model": model})
    answer = admin.post("/backend/load", {"model": model})
    assert (answer.status, answer.json) == (200, {"loaded": [model], "message": "model loaded"})
    assert model in admin.loaded()
    answer = admin.post("/backend/shutdown", {"model": model})
    assert (answer.status, answer.json) == (200, {"message": "model stopped"})
    assert model not in admin.loaded()
    assert admin.chat(model).status == 200
    assert model in admin.loaded()


def test_stopping_needs_a_loaded_model(admin: Client, model: str, alias: str) -> None:
    assert admin.chat(model).status == 200
    for name in ("no-such-model", alias):
        answer = admin.post("/backend/shutdown", {"model": name})
        assert answer.status == 404
        assert answer.error == (404, "Resource not found", "")
    answer = admin.post("/backend/shutdown", {})
    assert answer.status == 400
    assert answer.error[1] == "code=400, message=model is required"


def test_reload_says_success_and_keeps_what_is_loaded(admin: Client, model: str) -> None:
    assert admin.chat(model).status == 200
    answer = admin.post("/models/reload", None)
    assert (answer.status, answer.json) == (200, {"success": True, "message": "Model configurations reloaded successfully"})
    assert model in admin.loaded()
    assert admin.get("/models/reload").status == 405


def test_the_monitor_is_of_no_use(admin: Client, model: str) -> None:
    assert admin.chat(model).status == 200
    assert admin.get(f"/backend/monitor?model={model}").status == 500
    answer = admin.get("/backend/monitor?model=no-such-model")
    assert answer.status == 500
    assert "backend no-such-model is not currently loaded" in answer.error[1]


def test_metrics_count_requests_and_tokens(admin: Client, model: str) -> None:
    assert admin.chat(model).status == 200
    answer = admin.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    assert 'path="/v1/chat/completions"' in text
    assert "api_call_bucket{" in text
    lines = [line for line in text.splitlines() if f'served_model="{model}"' in line]
    assert any(line.startswith("localai_billed_requests_total{") for line in lines)
    assert {kind for line in lines for kind in ("prompt", "completion") if f'kind="{kind}"' in line} == {"prompt", "completion"}


def test_embeddings_of_a_chat_model_end_its_engine_until_it_is_stopped(admin: Client, model: str) -> None:
    """Why the edge opens embeddings for embedding models only."""
    assert admin.chat(model).status == 200
    answer = admin.post("/v1/embeddings", {"model": model, "input": "Hello"})
    assert answer.status == 500
    assert "error reading from server: EOF" in answer.error[1]
    assert admin.get("/readyz").status == 200
    admin.post("/backend/shutdown", {"model": model})
    end = time.monotonic() + 60
    while admin.chat(model).status != 200:
        assert time.monotonic() < end, "the model did not come back"
        time.sleep(1)
