"""Chat, completions and streams: shapes, counts, and the known oddities."""
from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.localai.client import Client

HEAD = {"created", "object", "id", "model", "choices"}


def test_a_chat_has_the_shape_of_openai(admin: Client, model: str) -> None:
    answer = admin.chat(model)
    assert answer.status == 200
    found = answer.json
    assert set(found) == HEAD | {"usage"}
    assert (found["object"], found["model"], type(found["created"])) == ("chat.completion", model, int)
    (choice,) = found["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] in ("length", "stop")
    assert choice["message"]["role"] == "assistant"
    assert isinstance(choice["message"]["content"], str)


def test_a_chat_counts_its_tokens(admin: Client, model: str) -> None:
    usage = admin.chat(model).json["usage"]
    assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert usage["prompt_tokens"] > 0
    assert 0 < usage["completion_tokens"] <= 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_chat_that_the_limit_cut_says_so(admin: Client, model: str) -> None:
    found = admin.chat(model, "Count: one two three four five six seven", max_tokens=2).json
    assert found["usage"]["completion_tokens"] <= 2
    assert found["choices"][0]["finish_reason"] == ("length" if found["usage"]["completion_tokens"] == 2 else "stop")


def test_an_alias_is_answered_under_its_own_name_by_the_target(admin: Client, alias: str) -> None:
    answer = admin.chat(alias)
    assert (answer.status, answer.json["model"]) == (200, alias)
    assert alias not in admin.loaded()


def test_equal_requests_at_temperature_0_get_equal_answers(admin: Client, model: str, alias: str) -> None:
    first, second = (admin.chat(name, max_tokens=8, seed=1).json["choices"][0]["message"]["content"] for name in (model, alias))
    assert first == second


def test_timings_come_when_asked_for(admin: Client, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    usage = admin.post("/v1/chat/completions", body, {"Extra-Usage": "true"}).json["usage"]
    assert usage["timing_token_generation"] > 0
    assert "timing_prompt_processing" in usage


def test_a_correlation_id_is_echoed_or_made(admin: Client, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    assert admin.post("/v1/chat/completions", body, {"X-Correlation-Id": "abc-123"}).headers["x-correlation-id"] == "abc-123"
    assert admin.post("/v1/chat/completions", body).headers["x-correlation-id"]


def test_two_answers_asked_for_are_one(admin: Client, model: str) -> None:
    assert len(admin.chat(model, n=2).json["choices"]) == 1


def _contents(chunks: list[Any]) -> list[Any]:
    return [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]


def test_a_chat_streams(admin: Client, model: str) -> None:
    answer = admin.chat(model, stream=True)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["transfer-encoding"] == "chunked"
    chunks = answer.chunks
    assert all(set(chunk) == HEAD and chunk["object"] == "chat.completion.chunk" and chunk["model"] == model for chunk in chunks)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert any(_contents(chunks))


def test_a_stream_says_the_same_as_a_plain_answer(admin: Client, model: str) -> None:
    plain = admin.chat(model, max_tokens=8, seed=1).json["choices"][0]["message"]["content"]
    streamed = admin.chat(model, max_tokens=8, seed=1, stream=True).chunks
    assert "".join(text for text in _contents(streamed) if text).strip() == plain.strip()


def test_a_stream_counts_only_when_asked(admin: Client, model: str) -> None:
    assert not [chunk for chunk in admin.chat(model, stream=True).chunks if chunk.get("usage")]
    last = admin.chat(model, stream=True, stream_options={"include_usage": True}).chunks[-1]
    assert (last["choices"], last["object"]) == ([], "chat.completion.chunk")
    assert last["usage"]["prompt_tokens"] > 0
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]


def test_tokens_come_one_by_one(admin: Client, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "One two three"}], "stream": True, "max_tokens": 32}
    lines = admin.lines("/v1/chat/completions", body)
    assert json.loads(next(lines).removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"
    lines.close()
    assert admin.chat(model).status == 200


def test_a_completion_has_no_counts_and_stops(admin: Client, model: str) -> None:
    """As seen: usage is 0/0/0 and the reason is stop, even when the limit cut it."""
    answer = admin.complete(model)
    assert answer.status == 200
    found = answer.json
    assert set(found) == HEAD | {"usage"}
    assert (found["object"], found["model"]) == ("text_completion", model)
    assert found["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    (choice,) = found["choices"]
    assert (choice["index"], choice["finish_reason"], bool(choice["text"])) == (0, "stop", True)


def test_a_completion_streams(admin: Client, model: str) -> None:
    chunks = admin.complete(model, stream=True, stream_options={"include_usage": True}).chunks
    *texts, last, usage = chunks
    assert all(chunk["object"] == "text_completion" for chunk in chunks[:-1])
    assert "".join(chunk["choices"][0].get("text") or "" for chunk in texts)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_the_tokenizer_answers_both_ways(admin: Client, model: str) -> None:
    tokens = admin.post("/v1/tokenize", {"model": model, "content": "Hello world"}).json["tokens"]
    assert tokens and all(isinstance(token, int) for token in tokens)
    assert "Hello world" in admin.post("/v1/detokenize", {"model": model, "tokens": tokens}).json["content"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "Hello", "max_output_tokens": 4}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}),
    ],
)
def test_other_dialects_count_their_tokens(admin: Client, model: str, path: str, body: dict[str, Any]) -> None:
    answer = admin.post(path, {"model": model, **body})
    assert answer.status == 200
    assert answer.json["usage"]["input_tokens"] > 0
    assert 0 < answer.json["usage"]["output_tokens"] <= 4
