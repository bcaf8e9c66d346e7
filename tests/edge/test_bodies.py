"""The edge reads a body as LocalAI would, and sends on exactly one model; every other byte stays."""
from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.edge.harness import KEYS, wait
from tests.edge.test_routes import refused

pytestmark = pytest.mark.engine

PATH = "/v1/chat/completions"


def sent(edge, upstream, body: bytes) -> bytes:
    """What reaches the upstream for a body."""
    reply = edge.ask("POST", PATH, body)
    assert reply.status == 200, reply
    return upstream.seen[-1].body


@pytest.mark.parametrize(("body", "expected"), [
    (b'{"model":"gpt-4"}', b'{"model":"gpt-4"}'),
    (b' \t\r\n{ "model" : "gpt-4" , "n" : 1 } \n', b' \t\r\n{ "model" : "gpt-4" , "n" : 1 } \n'),
    (b' \t\r\n{ "Model" : "gpt-4" , "n" : 1 } \n', b'{"model":"gpt-4","n" : 1}'),
    (b'{"seed":12345678901234567890,"model":"gpt-4","x":1.10,"y":1E400}', b'{"seed":12345678901234567890,"model":"gpt-4","x":1.10,"y":1E400}'),
    (b'{"seed":12345678901234567890,"Model":"gpt-4","x":1.10,"y":1E400}', b'{"model":"gpt-4","seed":12345678901234567890,"x":1.10,"y":1E400}'),
    (b'{"model":"nope","model":"gpt-4"}', b'{"model":"gpt-4"}'),
    (b'{"model":"nope","Model":"gpt-4","messages":[]}', b'{"model":"gpt-4","messages":[]}'),
    (b'{"MODEL":"nope","a":{"model":"inner"},"mOdEl":"gpt-4"}', b'{"model":"gpt-4","a":{"model":"inner"}}'),
    (b'{"m\\u006fdel":"nope","\\u004dODEL":"gpt-4"}', b'{"model":"gpt-4"}'),
    (b'{"model":"gpt\\u002d4"}', b'{"model":"gpt-4"}'),
    (b'{"backend":"x","Backend":{"a":[1]},"BACKEND":null,"model":"gpt-4"}', b'{"model":"gpt-4"}'),
    ('{"bac\u212aend":"x","model":"gpt-4","b":1}'.encode(), b'{"model":"gpt-4","b":1}'),
    (b'{"model":"gpt-4","s":"a\\"}, \\"model\\": \\\\"}', b'{"model":"gpt-4","s":"a\\"}, \\"model\\": \\\\"}'),
    (b'{"model":"gpt-4","s":"[{\\\\\\"","t":[[{"}":"]"}],{}]}', b'{"model":"gpt-4","s":"[{\\\\\\"","t":[[{"}":"]"}],{}]}'),
    ('{"model":"gpt-4","s":"h\u00e9 \U0001f600 \u2028"}'.encode(), '{"model":"gpt-4","s":"h\u00e9 \U0001f600 \u2028"}'.encode()),
    (b'{"model":"gpt-4","":1,"__proto__":{"model":"x"},"stream":true}', b'{"model":"gpt-4","":1,"__proto__":{"model":"x"},"stream":true}'),
    (b'{"a":tru,"model":"gpt-4"}', b'{"a":tru,"model":"gpt-4"}'),
    (b'{"backend":1,"s":"abcdefghijklmnopqrstuv\\\\","t":"abcdefghijklmnopqrstu\\\"\\\\\\\"}","model":"gpt-4"}',
     b'{"model":"gpt-4","s":"abcdefghijklmnopqrstuv\\\\","t":"abcdefghijklmnopqrstu\\\"\\\\\\\"}"}'),
])
def test_one_model_and_the_rest_untouched(edge, upstream, body, expected) -> None:
    assert sent(edge, upstream, body) == expected
    assert upstream.seen[-1].header("Content-Length") == [str(len(expected))]


@pytest.mark.parametrize("body", [
    b'{"model":"gpt-4","model":"embedder"}', b'{"model":"gpt-4","Model":"nope"}', b'{"model":"gpt-4","MODEL":"chat-model.gguf"}',
    b'{"model":"gpt-4","model":null}', b'{"model":"gpt-4","model":""}',
])
def test_a_second_model_is_no_way_around(edge, upstream, body) -> None:
    assert edge.ask("POST", PATH, body).status in (400, 404)
    assert upstream.seen == []


@pytest.mark.parametrize("body", [
    b"{}", b'{"messages":[]}', b'{"backend":"x"}', b'{"model":7}', b'{"model":null}', b'{"model":""}', b'{"model":["gpt-4"]}', b'{"model":{}}',
    b"", b"null", b"[]", b'"gpt-4"', b"bad", b'{"model":"gpt-4"', b'{"model":"gpt-4"}}', b'{"model":"gpt-4"} {"model":"x"}', b'{"model":"gpt-4",}',
    b'{"model" "gpt-4"}', b"{model:1}", b'{"model":"gpt-4" "a":1}', b'{"model":}', b'{"model":gpt-4}', b'{"a":[1,"model":"gpt-4"}',
    b'{"model":"gpt-4","a":"unfinished}', b'\xef\xbb\xbf{"model":"gpt-4"}', b'{"\\x":1,"model":"gpt-4"}', b"{,}", b"\x00",
])
def test_400_with_a_sentence(edge, upstream, body) -> None:
    refused(edge.ask("POST", PATH, body), 400)
    assert upstream.seen == []


@pytest.mark.parametrize("model", ["nope", "gpt", "gpt-4 ", "GPT-4", "chat-model.gguf", "../x", "toString", "x" * 5000, "h\u00e9\"\\"])
def test_404_for_what_is_not_served(edge, upstream, model) -> None:
    assert len(refused(edge.ask("POST", PATH, {"model": model}), 404)) < 300
    assert upstream.seen == []


@pytest.mark.parametrize("headers", [
    {"Content-Type": "text/plain"}, {"Content-Type": "text/json"}, {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "multipart/form-data; boundary=x"}, {"Content-Type": "application/jsonp"}, {"Content-Type": None},
    {"Content-Type": "application/json", "Content-Encoding": "gzip"},
])
def test_415_for_anything_but_json(edge, upstream, headers) -> None:
    body = gzip.compress(b'{"model":"gpt-4"}') if "Content-Encoding" in headers else b'{"model":"gpt-4"}'
    refused(edge.ask("POST", PATH, body, headers=headers), 415)
    assert upstream.seen == []


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;charset=utf-8"])
def test_json_by_any_spelling_goes_on_as_json(edge, upstream, kind) -> None:
    assert edge.ask("POST", PATH, b'{"model":"gpt-4"}', headers={"Content-Type": kind}).status == 200
    assert upstream.seen[0].header("Content-Type") == ["application/json"]


def test_413_above_the_limit_and_not_below(edge, upstream) -> None:
    def body(size: int) -> bytes:
        head = b'{"model":"gpt-4","p":"'
        return head + b"x" * (size - len(head) - 2) + b'"}'

    assert sent(edge, upstream, body(15_000_000)) == body(15_000_000)
    upstream.seen.clear()
    assert "15 MB" in refused(edge.ask("POST", PATH, body(15_000_001)), 413)
    assert upstream.seen == []


@pytest.mark.parametrize("size", [10, 200_000, 3_000_000])
def test_a_chunked_body(edge, upstream, size) -> None:
    text = b'{"p":"' + b"y" * size + b'","model":"nope","Model":"gpt-4"}'
    connection = edge.open()
    connection.request("POST", PATH, body=(text[at:at + 65536] for at in range(0, len(text), 65536)), encode_chunked=True, headers={
        "Authorization": f"Bearer {KEYS['all']}", "Content-Type": "application/json", "Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 200
    assert upstream.seen[0].body == b'{"model":"gpt-4","p":"' + b"y" * size + b'"}'
    assert upstream.seen[0].header("Transfer-Encoding") == []


def test_a_chunked_body_above_the_limit(edge, upstream) -> None:
    connection = edge.open(timeout=30)
    try:
        connection.request("POST", PATH, body=(b"z" * 1_000_000 for dummy in range(17)), encode_chunked=True, headers={
            "Authorization": f"Bearer {KEYS['all']}", "Content-Type": "application/json", "Transfer-Encoding": "chunked"})
    except (BrokenPipeError, ConnectionResetError, socket.timeout):
        pass  # the answer came before the body ended
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, 413)
    assert upstream.seen == []


def test_a_body_of_many_small_parts_is_read_in_time(edge, upstream) -> None:
    """A worker must not be busy for long with one body: others wait for it."""
    text = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": 'h\u00e9 "q" '} for dummy in range(150_000)]}, ensure_ascii=False).encode()
    begin = time.monotonic()
    assert json.loads(sent(edge, upstream, text)) == json.loads(text)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("length", range(14, 30))
@pytest.mark.parametrize("tail", ["\\", "\\\\", '"', '\\"', '"\\'])
def test_the_end_of_a_string_wherever_its_escapes_are(edge, upstream, length, tail) -> None:
    body = {"backend": 1, "s": "x" * length + tail, "model": "gpt-4", "t": tail * length}
    assert json.loads(sent(edge, upstream, json.dumps(body).encode())) == {key: value for key, value in body.items() if key != "backend"}


def test_only_so_many_large_bodies_at_once(start, upstream) -> None:
    """They stay in memory until the answer ends, so the rest waits outside."""
    edge = start({"": [upstream.address]}, __proxy_large_bodies=2)
    gate = threading.Event()
    upstream.answer = lambda handler, _: gate.wait(20) and handler.reply(200, b"{}")
    body = b'{"model":"gpt-4","p":"' + b"x" * 1_000_000 + b'"}'
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(edge.ask, "POST", PATH, body) for dummy in range(2)]
        wait(lambda: len(upstream.seen) == 2, "two large bodies are held")
        reply = edge.ask("POST", PATH, body)
        refused(reply, 429)
        assert reply.header("Retry-After") == ["1"]
        gate.set()
        assert edge.ask("POST", PATH, b'{"model":"gpt-4"}').status == 200
        assert [one.result().status for one in held] == [200, 200]


def test_a_body_of_too_many_members(edge, upstream) -> None:
    members = ",".join(f'"a{number}":1' for number in range(1000))
    assert "1000" in refused(edge.ask("POST", PATH, ('{"model":"gpt-4",' + members + "}").encode()), 400)


def test_deep_values_pass(edge, upstream) -> None:
    body = b'{"model":"gpt-4","a":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert sent(edge, upstream, body) == body


def test_nobody_without_a_key_sends_a_body(edge) -> None:
    """The refusal comes before the body: nothing of it is kept."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: ai.example.com\r\nContent-Type: application/json\r\nContent-Length: 14000000\r\n\r\n"
    assert edge.raw(head).startswith(b"HTTP/1.1 401 ")


def picture(model: str, url: str, **more: object) -> dict:
    """A chat with an image, as OpenAI's clients send it."""
    return {"model": model, "messages": [{"role": "user", "content": [
        {"type": "text", "text": 'an "image_url": "http://x"'}, {"type": "image_url", "image_url": {**more, "url": url}}]}]}


@pytest.mark.parametrize("body", [
    picture("seer", "data:image/png;base64," + "A" * 9_000_000), picture("seer", "data:image/jpeg;base64,AAAA", detail="low"),
    {"model": "seer", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}]},
    {"model": "seer", "messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]},
    {"model": "gpt-4", "messages": [{"role": "user", "content": 'say "image_url": "http://x" and "image_url"'}]},
    {"model": "gpt-4", "tools": [{"type": "function", "function": {"parameters": {"source": {"type": "string"}, "image_url": 1, "url": "http://x"}}}]},
], ids=["9 MB", "detail", "responses", "messages", "in a text", "in a tool"])
def test_images_as_data_reach_a_model_that_reads_them_untouched(edge, upstream, body) -> None:
    raw = json.dumps(body).encode()
    assert sent(edge, upstream, raw) == raw


@pytest.mark.parametrize(("body", "words"), [
    (picture("seer", "https://example.com/x.png"), "data: URL"), (picture("seer", "http://127.0.0.1:8080/system"), "data: URL"),
    (picture("seer", "HTTP://x", detail="low"), "data: URL"),
    ({"model": "seer", "input": [{"content": [{"type": "input_image", "image_url": "http://x/y"}]}]}, "data: URL"),
    ({"model": "seer", "messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "https://x/y"}}]}]}, "data: URL"),
    (picture("gpt-4", "data:image/png;base64,AAAA"), "does not read images"), (picture("gpt-4", "https://x/y"), "does not read images"),
    ({"model": "gpt-4", "messages": [{"content": [{"source": {"media_type": "image/png", "data": "AAAA"}}]}]}, "does not read images"),
])
def test_images_that_would_not_be_seen_are_refused(edge, upstream, body, words) -> None:
    assert words in refused(edge.ask("POST", PATH, body), 400)
    assert upstream.seen == []
