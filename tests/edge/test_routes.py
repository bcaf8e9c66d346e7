"""What the edge lets through, and how it refuses the rest."""
from __future__ import annotations

import pytest

pytestmark = pytest.mark.engine

CHAT = {"model": "chat-model", "messages": []}
OPEN = [
    ("/v1/chat/completions", "chat-model"), ("/v1/completions", "chat-model"), ("/v1/responses", "chat-model"),
    ("/v1/messages", "chat-model"), ("/v1/tokenize", "chat-model"), ("/v1/completions", "base"), ("/v1/tokenize", "base"),
    ("/v1/embeddings", "embedder"), ("/v1/rerank", "ranker"), ("/v1/chat/completions", "gpt-4"),
]
CLOSED = [
    ("/v1/embeddings", "chat-model"), ("/v1/rerank", "chat-model"), ("/v1/chat/completions", "base"), ("/v1/messages", "base"),
    ("/v1/embeddings", "base"), ("/v1/chat/completions", "embedder"), ("/v1/completions", "embedder"), ("/v1/embeddings", "ranker"),
    ("/v1/embeddings", "gpt-4"),
]
NOWHERE = [
    ("GET", "/"), ("GET", "/app"), ("GET", "/system"), ("GET", "/metrics"), ("GET", "/version"), ("GET", "/swagger/index.html"),
    ("GET", "/models"), ("GET", "/models/available"), ("POST", "/models/apply"), ("POST", "/models/reload"), ("POST", "/models/delete/chat-model"),
    ("POST", "/backend/shutdown"), ("POST", "/v1/backend/shutdown"), ("GET", "/backends"), ("POST", "/backends/apply"), ("GET", "/api/settings"),
    ("GET", "/api/tags"), ("POST", "/api/chat"), ("GET", "/.well-known/localai.json"), ("POST", "/stores/set"), ("GET", "/ws/backend-logs"),
    ("POST", "/chat/completions"), ("POST", "/v1/edits"), ("POST", "/v1/images/generations"), ("POST", "/v1/audio/speech"),
    ("POST", "/v1/detokenize"), ("GET", "/v1/models/capabilities/x"), ("POST", "/v1/models"), ("DELETE", "/v1/models/chat-model"),
    ("GET", "/v1/chat/completions"), ("PUT", "/v1/chat/completions"), ("OPTIONS", "/v1/chat/completions"), ("HEAD", "/v1/models"),
    ("POST", "/V1/chat/completions"), ("POST", "/v1/chat/completions/"), ("POST", "/_infer/rewritten"), ("POST", "/_infer/as_it_is"),
    ("GET", "/_infer/"), ("GET", "/_refuse/404"), ("POST", "/readyz"),
    ("POST", "/models/chat-model/v1"), ("POST", "/models/chat-model/chat/completions"), ("POST", "/v1/models/chat-model/"),
    ("POST", "/v1/engines/chat-model/completions"), ("GET", "/v1/responses/1"), ("GET", "/healthz"), ("POST", "/v1/constructor"),
    ("POST", "//models//apply"), ("POST", "/v1/../models/apply"), ("POST", "/models/%61pply"), ("GET", "/v1/models/..%2f..%2fsystem"),
]


def refused(reply, code: int) -> str:
    """The sentence of a refusal in the shape of the OpenAI API."""
    assert reply.status == code, reply
    assert reply.header("Content-Type") == ["application/json"]
    assert set(reply.json["error"]) == {"code", "message", "type", "param"} and reply.json["error"]["code"] == code
    assert reply.json["error"]["message"].endswith(".")
    return reply.json["error"]["message"]


@pytest.mark.parametrize(("path", "model"), OPEN)
def test_a_model_answers_what_its_kind_can(edge, upstream, path, model) -> None:
    assert edge.ask("POST", path, {"model": model}).status == 200
    assert [(seen.method, seen.path, seen.body) for seen in upstream.seen] == [("POST", path, b'{"model": "%s"}' % model.encode())]


@pytest.mark.parametrize(("path", "model"), CLOSED)
def test_a_model_is_never_asked_what_its_kind_cannot(edge, upstream, path, model) -> None:
    assert model in refused(edge.ask("POST", path, {"model": model}), 400)
    assert upstream.seen == []


@pytest.mark.parametrize(("method", "path"), NOWHERE)
@pytest.mark.parametrize("key", ["all", None])
def test_everything_else_is_404(edge, upstream, method, path, key) -> None:
    reply = edge.ask(method, path, CHAT if method in ("POST", "PUT") else None, key=key)
    assert reply.status == 404
    if method != "HEAD":
        refused(reply, 404)
    assert upstream.seen == []


@pytest.mark.parametrize("path", [
    "/v1/models/embedder/embeddings", "/models/embedder/v1/embeddings", "//models//embedder/v1/embeddings", "/v1/models/embedde%72/embeddings"])
@pytest.mark.parametrize("body", [{"input": "x"}, {"model": "chat-model", "MODEL": "other", "input": "x"}])
def test_the_model_of_the_path_wins(edge, upstream, path, body) -> None:
    assert edge.ask("POST", path, body).status == 200
    assert (upstream.seen[0].path, upstream.seen[0].body) == ("/v1/embeddings", b'{"model":"embedder","input": "x"}')


@pytest.mark.parametrize("path", ["/v1/models/gpt-4/chat/completions", "/models/gpt-4/v1/chat/completions", "/models/chat-model/v1/completions"])
def test_chat_by_path(edge, upstream, path) -> None:
    assert edge.ask("POST", path, {"messages": []}).status == 200
    assert upstream.seen[0].body in (b'{"model":"gpt-4","messages": []}', b'{"model":"chat-model","messages": []}')


@pytest.mark.parametrize("path", ["/v1/models/nope/chat/completions", "/models/apply/v1/chat/completions", "/models/__proto__/v1/completions"])
def test_an_unknown_model_in_the_path(edge, upstream, path) -> None:
    refused(edge.ask("POST", path, {"messages": []}), 404)
    assert upstream.seen == []


def test_the_list_is_what_a_consumer_may_use(edge, upstream) -> None:
    reply = edge.ask("GET", "/v1/models")
    assert reply.json == {"object": "list", "data": [
        {"id": name, "object": "model"} for name in ("base", "chat-model", "embedder", "gpt-4", "ranker", "seer")]}
    assert [model["id"] for model in edge.ask("GET", "/v1/models?filter=.*", key="few").json["data"]] == ["chat-model", "gpt-4"]
    assert [model["id"] for model in edge.ask("GET", "/models/gpt-4/v1/models").json["data"]] == ["gpt-4"]
    assert upstream.seen == []


def test_one_model(edge) -> None:
    assert edge.ask("GET", "/v1/models/gpt-4", key="few").json == {"id": "gpt-4", "object": "model"}
    assert edge.ask("GET", "/models/gpt-4/v1/models/gpt-4").json == {"id": "gpt-4", "object": "model"}
    for path in ("/v1/models/nope", "/v1/models/capabilities", "/v1/models/toString", "/models/gpt-4/v1/models/base"):
        refused(edge.ask("GET", path), 404)
    assert "embedder" in refused(edge.ask("GET", "/v1/models/embedder", key="few"), 404)


@pytest.mark.parametrize(("model", "status"), [("chat-model", 200), ("gpt-4", 200), ("base", 404), ("embedder", 404), ("nope", 404)])
def test_a_consumer_uses_its_models_only(edge, upstream, model, status) -> None:
    assert edge.ask("POST", "/v1/completions", {"model": model}, key="few").status == status
    assert len(upstream.seen) == (1 if status == 200 else 0)


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "Bearer "}, {"Authorization": "sk-" + "a" * 64},
    {"Authorization": "Basic c2s6"}, {"x-api-key": "nope"}, {"Cookie": "token=sk-" + "a" * 64}, {"Authorization": "Bearer constructor"},
    {"Authorization": "Bearer internal-admin-key-0123456789abcdef"},
])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/v1/models/gpt-4")])
def test_401_without_a_valid_key(edge, upstream, headers, method, path) -> None:
    reply = edge.ask(method, path, CHAT if method == "POST" else None, key=None, headers=headers)
    refused(reply, 401)
    assert reply.header("Www-Authenticate") == ["Bearer"]
    assert upstream.seen == []


@pytest.mark.parametrize("headers", [
    {"Authorization": "Bearer sk-" + "a" * 64}, {"Authorization": "bearer  sk-" + "a" * 64}, {"x-api-key": "sk-" + "a" * 64},
    {"X-API-Key": "sk-" + "a" * 64},
])
def test_both_forms_of_a_key(edge, headers) -> None:
    assert edge.ask("POST", "/v1/messages", CHAT, key=None, headers=headers).status == 200


def test_ready_without_a_key(edge, upstream) -> None:
    assert edge.ask("GET", "/readyz", key=None).status == 200
    assert upstream.seen == []
