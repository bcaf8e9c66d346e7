"""What is noted of a stream and of vectors."""
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _measure
from ansible_collections.localai.fleet.plugins.module_utils._gate import Prompt
from ansible_collections.localai.fleet.plugins.module_utils._probe import Client, Target


def event(**choice: Any) -> str:
    return json.dumps({"choices": [{"index": 0, **choice}]})


def test_a_stream_keeps_its_text_and_its_end() -> None:
    heard = _measure._Heard()
    for data, now in ((event(delta={"role": "assistant", "content": None}), 0.1), (event(delta={"content": "Hi"}), 0.2),
                      (event(delta={"reasoning_content": " so"}), 0.3), (event(text=" there"), 0.4), ("not json", 0.45),
                      (event(delta={"content": None}, finish_reason="length"), 0.5), ("[DONE]", 0.6)):
        heard.take(data, now)
    assert (heard.text, heard.finish, heard.times, heard.tokens, heard.done) == ("Hi so there", "length", [0.2, 0.3, 0.4], 3, True)
    assert heard.error == "an event that is no JSON"


@pytest.mark.parametrize("one, other, cosine", [
    ([1, 0], [1, 0], 1.0), ([1, 0], [0, 2], 0.0), ([1, 0], [-1, 0], -1.0), ([1, 0], [1], None), (None, [1], None), ([0, 0], [1, 0], None), ([], [], None),
])
def test_cosine(one: Any, other: Any, cosine: Any) -> None:
    assert _measure._cosine(one, other) == (cosine if cosine is None else pytest.approx(cosine))


def test_all_models_are_asked_at_the_same_moment() -> None:
    """The server answers nobody before both are there."""
    both = threading.Barrier(2)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            both.wait(timeout=10)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"data: {event(delta={'content': 'Hi'}, finish_reason='stop')}\n\ndata: [DONE]\n\n".encode())

        def log_message(self, *_words: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        client = Client(Target(f"http://127.0.0.1:{server.server_port}", "", timeout=20))
        found = _measure.measure(client, ["old", "new"], [Prompt("hello", "Hi")])
    finally:
        server.shutdown()
        server.server_close()
    assert [(name, said["hello"]["text"], said["hello"]["error"]) for name, said in found.items()] == [("old", "Hi", ""), ("new", "Hi", "")]
