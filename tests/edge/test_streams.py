"""An answer reaches the client as it is made, and a client that goes away is told on."""
from __future__ import annotations

import http.client
import threading
import time

import pytest
from tests.edge.harness import KEYS, wait

pytestmark = pytest.mark.engine

PATH = "/v1/chat/completions"
HEADERS = {"Authorization": f"Bearer {KEYS['all']}", "Content-Type": "application/json"}
GAP = 0.3  # seconds between events; an event is late when it comes with the next one
EVENTS = 5


def event(number: int) -> bytes:
    return b'data: {"number":%d,"s":"\\u003c \xc3\xa9"}\n\n' % number


def stream(handler, _seen) -> None:
    """Server-sent events as LocalAI sends them: nothing before the first token, then chunk by chunk."""
    time.sleep(GAP)
    handler.send_response(200)
    for name, value in (("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"), ("Transfer-Encoding", "chunked")):
        handler.send_header(name, value)
    handler.end_headers()
    for number in range(EVENTS):
        chunk = event(number)
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        handler.wfile.flush()
        time.sleep(GAP)
    handler.wfile.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def post(edge, timeout: float = 15) -> http.client.HTTPConnection:
    connection = edge.open(timeout)
    connection.request("POST", PATH, body=b'{"model":"gpt-4","stream":true}', headers={**HEADERS, "Accept-Encoding": "gzip"})
    return connection


def test_events_come_one_by_one_and_unchanged(edge, upstream) -> None:
    upstream.answer = stream
    answer = post(edge).getresponse()
    assert (answer.status, answer.getheader("Content-Type"), answer.getheader("Content-Encoding")) == (200, "text/event-stream", None)
    assert answer.getheader("Cache-Control") == "no-cache"
    arrivals, text = [], b""
    while piece := answer.read1(65536):
        arrivals.append((time.monotonic(), piece))
        text += piece
    assert text == b"".join(event(number) for number in range(EVENTS)) + b"data: [DONE]\n\n"
    assert [arrival[1] for arrival in arrivals[:EVENTS]] == [event(number) for number in range(EVENTS)]
    gaps = [later[0] - earlier[0] for earlier, later in zip(arrivals, arrivals[1:EVENTS])]
    assert min(gaps) > GAP / 2, gaps


def test_a_client_that_goes_away_ends_the_request(edge, upstream) -> None:
    gone = threading.Event()

    def answer(handler, _seen) -> None:
        handler.connection.settimeout(10)
        try:
            if handler.connection.recv(1) == b"":
                gone.set()
        except OSError:
            gone.set()

    upstream.answer = answer
    connection = post(edge)
    wait(lambda: len(upstream.seen) == 1, "the request arrives")
    connection.close()
    connection.sock = None
    assert gone.wait(3), "the upstream still has its connection 3 s after the client left"


def test_a_client_that_goes_away_in_a_stream(edge, upstream) -> None:
    gone = threading.Event()

    def answer(handler, _seen) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for number in range(100):
                chunk = event(number)
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                time.sleep(0.05)
        except OSError:
            gone.set()

    upstream.answer = answer
    connection = post(edge)
    response = connection.getresponse()
    assert response.read1(100)
    response.close()
    connection.close()
    assert gone.wait(3)


def test_a_stream_that_breaks_is_seen_as_broken(edge, upstream) -> None:
    def answer(handler, _seen) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(event(1)), event(1)))
        handler.close_connection = True

    upstream.answer = answer
    with pytest.raises((http.client.IncompleteRead, ConnectionError, OSError)):
        post(edge).getresponse().read()


def test_connections_to_localai_are_kept(edge, upstream) -> None:
    ports = set()

    def answer(handler, _seen) -> None:
        ports.add(handler.client_address[1])
        handler.reply(200, b"{}")

    upstream.answer = answer
    for dummy in range(8):
        assert edge.ask("POST", PATH, {"model": "gpt-4"}).status == 200
    assert len(ports) <= 4  # one a worker at most, but one may just have been closed


def test_a_reload_ends_no_stream(start, upstream) -> None:
    """What the role does with a changed configuration."""
    edge = start({"": [upstream.address]})
    upstream.answer = stream
    answer = post(edge).getresponse()
    first = answer.read1(65536)
    code, out = edge.nginx("-s", "reload")
    assert code == 0, out
    assert first + answer.read() == b"".join(event(number) for number in range(EVENTS)) + b"data: [DONE]\n\n"
    upstream.answer = lambda handler, _: handler.reply(200, b"{}")
    assert edge.ask("POST", PATH, {"model": "gpt-4"}).status == 200


def test_http2_clients_are_served(edge) -> None:
    edge.context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with edge.connect() as sock:
            assert sock.selected_alpn_protocol() == "h2"
    finally:
        edge.context.set_alpn_protocols(["http/1.1"])
