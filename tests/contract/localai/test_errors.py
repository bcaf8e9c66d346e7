"""Bad requests: status, code, message and type of the error body."""
from __future__ import annotations

import json

import pytest

from tests.contract.localai.client import Client

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
LONG = "word " * 40_000


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings"])
def test_an_unknown_model_is_404(admin: Client, path: str) -> None:
    answer = admin.post(path, {"model": "no-such-model", "messages": [], "prompt": "", "input": ""})
    assert answer.status == 404
    text = 'model "no-such-model" not found. To see available models, call GET /v1/models'
    assert answer.error == (404, text, "invalid_request_error")


def test_no_model_means_any_model(admin: Client) -> None:
    """Why the edge must insist on a model."""
    assert admin.post(CHAT, {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}).status != 400


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_a_content_type_is_taken(admin: Client, model: str, kind: str) -> None:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1})
    assert admin.post(CHAT, body, {"Content-Type": kind}).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "text/json", "APPLICATION/JSON", ""])
def test_a_content_type_is_refused(admin: Client, model: str, kind: str) -> None:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1})
    answer = admin.post(CHAT, body, {"Content-Type": kind})
    assert answer.status == 400
    assert "415" in answer.error[1]


def test_broken_json_is_400(admin: Client) -> None:
    answer = admin.post(CHAT, '{broken', JSON)
    assert answer.status == 400
    code, message, kind = answer.error
    assert (code, kind) == (400, "")
    assert message.startswith("code=400, message=failed parsing request body: code=400, message=Syntax error: offset=2")


def test_a_wrong_type_is_400(admin: Client, model: str) -> None:
    answer = admin.post(CHAT, {"model": model, "messages": "hello"})
    assert answer.status == 400
    assert "Unmarshal type error: expected=[]schema.Message, got=string, field=messages" in answer.error[1]


@pytest.mark.parametrize(("path", "field"), [(CHAT, {"messages": [{"role": "user", "content": LONG}]}), ("/v1/completions", {"prompt": LONG})])
def test_a_prompt_longer_than_the_context_is_500(admin: Client, model: str, path: str, field: dict[str, object]) -> None:
    answer = admin.post(path, {"model": model, "max_tokens": 1, **field})
    assert answer.status == 500
    code, message, kind = answer.error
    assert (code, kind) == (500, "")
    assert message.startswith("rpc error: code = Internal desc = request (")
    assert "exceeds the available context size" in message


def test_a_prompt_longer_than_the_context_in_a_stream_is_an_event(admin: Client, model: str) -> None:
    answer = admin.chat(model, LONG, stream=True)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    chunks = answer.chunks
    assert chunks[-1]["error"]["type"] == chunks[-1]["error"]["code"] == "server_error"
    assert "exceeds the available context size" in chunks[-1]["error"]["message"]
    assert "exceeds the available context size" in chunks[-2]["choices"][0]["delta"]["content"]


def test_a_negative_limit_is_500(admin: Client, model: str) -> None:
    answer = admin.chat(model, max_tokens=-5)
    assert answer.status == 500
    assert "code = InvalidArgument desc = Field 'n_predict'" in answer.error[1]


def test_reranking_without_a_reranker_is_500(admin: Client, model: str) -> None:
    answer = admin.post("/v1/rerank", {"model": model, "query": "a", "documents": ["b"], "top_n": 1})
    assert answer.status == 500
    assert "Unimplemented" in answer.error[1]


def test_an_image_for_a_text_model_is_500(admin: Client, model: str) -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    answer = admin.post(CHAT, {"model": model, "messages": [{"role": "user", "content": parts}], "max_tokens": 1})
    assert answer.status == 500
    assert "InvalidArgument" in answer.error[1]


def test_a_bad_grammar_is_500(admin: Client, model: str) -> None:
    assert admin.chat(model, grammar="root ::= (").status == 500
