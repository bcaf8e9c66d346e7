"""The file service between hosts and its clients: who gets an answer, what it gives, when it ends; and downloads through it."""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator

import hub_repository
import pytest

from ansible_collections.localai.fleet.plugins.module_utils import _fetch, _share_service
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._fetch import Blob, Clock, Limits
from ansible_collections.localai.fleet.plugins.module_utils._share import GREETING, Look, Peer, Unreachable, proof
from ansible_collections.localai.fleet.plugins.module_utils._share_service import Service, offer

from tests.lab import hub

BODY = hashlib.sha256(b"seed").digest() * 100_000
SIZE, HALF = len(BODY), len(BODY) // 2
SHA256 = hashlib.sha256(BODY).hexdigest()
REPO, FILE = "acme/Tiny-GGUF", "tiny-Q4_K_M.gguf"
SECRET = "a secret of this run"


class Store:
    """A host's folder of blobs and its service."""

    def __init__(self, name: str, folder: Path, url: str = "") -> None:
        self.name, self.folder = name, folder
        self.blob = Blob(url, folder / f"{SHA256}.gguf", SHA256, SIZE, "tiny")
        self.blob.folder.mkdir(parents=True)
        self.service: "Service | None" = None
        self.result: Any = None

    def peer(self, waits: bool = True, secret: str = SECRET) -> Peer:
        return Peer(self.name, "127.0.0.1", self.service.port if self.service else 9, secret, waits)

    def fetch(self, *peers: Peer, **options: Any) -> _fetch.Fetched:
        return _fetch.fetch(self.blob, peers=peers, reserve_bytes=0, timeout=5.0, **options)

    @contextmanager
    def fetching(self, *peers: Peer, **options: Any) -> Iterator[threading.Thread]:
        """A download in a thread; its result or error is in `result`."""

        def run() -> None:
            try:
                self.result = self.fetch(*peers, **options)
            except FleetError as error:
                self.result = str(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread
        finally:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[hub.HubServer]:
    with hub_repository.serving(tmp_path / "hub", REPO, FILE, BODY) as running:
        yield running


@pytest.fixture
def hosts(server: hub.HubServer, tmp_path: Path) -> Iterator[Any]:
    """`hosts(names, coming=..., **options)`: a store and a running service each."""
    threads = []

    def make(names: str, coming: bool = False, **options: Any) -> list[Store]:
        stores = [Store(name, tmp_path / name, f"{server.url}/{REPO}/resolve/main/{FILE}") for name in names]
        for store in stores:
            store.service = Service([offer(store.folder, SHA256, SIZE, coming)], SECRET, "127.0.0.1", **options)
            threads.append((store.service, threading.Thread(target=store.service.serve)))
            threads[-1][1].start()
        return stores

    yield make
    for service, thread in threads:
        service.stopping.set()
        thread.join(10)
        assert not thread.is_alive()


def sent(server: hub.HubServer) -> int:
    return sum(entry.bytes for entry in server.log.entries if entry.path.startswith("/__cdn__"))


@contextmanager
def held(blob: Blob) -> Iterator[None]:
    """As if a process of that host worked on the blob."""
    handle = os.open(blob.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


# --- who gets an answer ---------------------------------------------------------------------------------------------


def exchange(store: Store, line: bytes) -> bytes:
    """What the service answers to a raw line; the greeting apart."""
    with socket.create_connection(("127.0.0.1", store.peer().port), 5) as connection:
        stream = connection.makefile("rb")
        assert stream.readline().decode().split()[0] == GREETING
        try:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            return stream.read()
        except OSError:
            return b""


def asked(do: str = "look") -> str:
    return json.dumps({"do": do, "sha256": SHA256, "offset": 0, "nonce": "n"})


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"GET / HTTP/1.1\r\n\r\n", b"0 {}\n", f"{'0' * 64} {asked('read')}\n".encode(), b"\xff" * 200 + b"\n", b"a" * 9000 + b"\n",
     f"{proof('another secret', 'client', 'nonce', asked())} {asked()}\n".encode()],
    ids=["nothing", "empty", "http", "no proof", "wrong proof", "no text", "too long", "another secret"],
)
def test_who_proves_nothing_gets_no_answer(hosts: Any, line: bytes) -> None:
    (one,) = hosts("a")
    one.blob.target.write_bytes(BODY)
    assert exchange(one, line) == b""


def test_who_drips_a_question_is_not_waited_for(hosts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_share_service, "QUESTION_LIMIT", 0.3)
    (one,) = hosts("a")
    with socket.create_connection(("127.0.0.1", one.service.port), 5) as connection:
        assert connection.recv(100).startswith(GREETING.encode())
        with pytest.raises(OSError):  # it hangs up, so one of the next bytes has nowhere to go
            for _byte in range(100):
                connection.sendall(b"x")
                time.sleep(0.05)
    assert one.peer().look(SHA256).state == "idle"


def test_another_secret_proves_nothing(hosts: Any) -> None:
    (one,) = hosts("a")
    with pytest.raises(Unreachable, match="no whole line"):
        one.peer(secret="that of another run").look(SHA256)


def test_a_proof_cannot_be_repeated_or_turned_round(hosts: Any) -> None:
    (one,) = hosts("a")
    one.blob.target.write_bytes(BODY)
    seen: list[bytes] = []

    class Wire(threading.Thread):
        """Passes one conversation on and writes it down."""

        def __init__(self) -> None:
            super().__init__()
            self.listener = socket.create_server(("127.0.0.1", 0))

        def run(self) -> None:
            client, _address = self.listener.accept()
            with client, socket.create_connection(("127.0.0.1", one.peer().port)) as service:
                for source, sink in ((service, client), (client, service), (service, client)):
                    seen.append(source.recv(65536))
                    sink.sendall(seen[-1])

    wire = Wire()
    wire.start()
    with wire.listener:
        look = replace(one.peer(), port=wire.listener.getsockname()[1]).look(SHA256)
    wire.join()
    assert look == Look("whole", SIZE, SIZE)
    assert SECRET.encode() not in b"".join(seen)
    assert exchange(one, seen[1]) == b"", "the same words, another nonce"
    assert exchange(one, seen[2]) == b"", "the service's own proof sent back"


def test_the_client_refuses_a_service_without_proof(tmp_path: Path) -> None:
    answers = [
        (b"HTTP/1.1 200 OK\n", "another service answers there"),
        (f"{GREETING} nonce\n{'0' * 64} {json.dumps(Look('whole', 9, 9).as_dict())}\n".encode(), "no proof that it belongs to this run"),
        (b"", "no whole line"),
    ]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            for text, _reason in answers:
                client, _address = listener.accept()
                with client:
                    client.sendall(text)
                    if text:
                        client.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        for _text, reason in answers:
            with pytest.raises(Unreachable, match=reason):
                Peer("x", "127.0.0.1", listener.getsockname()[1], SECRET).look(SHA256, 2.0)
        thread.join()


def test_the_secret_is_not_in_what_is_printed_of_a_peer() -> None:
    assert SECRET not in repr(Peer("x", "127.0.0.1", 1, SECRET))


@pytest.mark.parametrize("sha256", ["0" * 64, "../../etc/shadow", ""])
def test_only_what_is_offered_is_given(hosts: Any, sha256: str) -> None:
    (one,) = hosts("a")
    (one.folder / f"{'0' * 64}.gguf").write_bytes(b"not offered")
    look, stream = one.peer().read(sha256, 0)
    assert (look.state, look.have, stream.read()) == ("idle", 0, b"")


# --- what it says and gives -----------------------------------------------------------------------------------------


def test_states(hosts: Any) -> None:
    (one,) = hosts("a", coming=True)
    assert one.peer().look(SHA256).state == "coming"
    one.blob.part.write_bytes(BODY[:HALF])
    with held(one.blob):
        assert one.peer().look(SHA256) == Look("growing", HALF, SIZE)
    assert one.peer().look(SHA256) == Look("idle", HALF, SIZE)
    one.blob.progress.write_text(json.dumps({"phase": "failed", "message": "404"}))
    assert one.peer().look(SHA256) == Look("failed", HALF, SIZE, "404")
    one.blob.progress.write_text(json.dumps({"phase": "failed", "message": "\u00e9" * 5000}))
    assert one.peer().look(SHA256).message == "\u00e9" * 500, "an answer is one short line"
    os.utime(one.blob.progress, (1, 1))
    assert one.peer().look(SHA256).state == "idle", "a failure of an earlier run"
    one.blob.target.write_bytes(BODY)
    assert one.peer().look(SHA256) == Look("whole", SIZE, SIZE)


def test_what_is_coming_does_not_come_for_ever(hosts: Any) -> None:
    now = [1000.0]
    (one,) = hosts("a", coming=True, clock=Clock(now=lambda: now[0]))
    now[0] += _share_service.GRACE - 1
    assert one.peer().look(SHA256).state == "coming"
    now[0] += 2
    assert one.peer().look(SHA256).state == "idle"


@pytest.mark.parametrize("offset", [0, 1, HALF, SIZE - 1])
def test_bytes_from_anywhere(hosts: Any, offset: int) -> None:
    (one,) = hosts("a")
    one.blob.target.write_bytes(BODY)
    look, stream = one.peer().read(SHA256, offset)
    assert (look.state, stream.read() == BODY[offset:]) == ("whole", True)


def test_it_serves_so_many_at_once(hosts: Any) -> None:
    (one,) = hosts("a", rate=1e6)
    one.blob.target.write_bytes(BODY)
    streams = [one.peer().read(SHA256, 0) for _turn in range(3)]
    assert [look.busy for look, _stream in streams] == [False, False, True]
    assert streams[2][1].read() == b""
    assert one.peer().look(SHA256).busy is True
    for _look, stream in streams:
        stream.close()


def test_it_ends_on_its_deadline_and_when_it_is_told(tmp_path: Path) -> None:
    for end in ("deadline", "told"):
        service = Service([], SECRET, "127.0.0.1", idle=0.5 if end == "deadline" else 3600.0)
        thread = threading.Thread(target=service.serve)
        thread.start()
        peer = Peer("x", "127.0.0.1", service.port, SECRET)
        if end == "told":
            peer.stop()
        thread.join(10)
        assert not thread.is_alive()
        with pytest.raises(Unreachable, match="Connection refused"):
            peer.look(SHA256)


def test_a_download_on_its_host_keeps_it_alive(tmp_path: Path) -> None:
    store = Store("a", tmp_path / "a")
    service = Service([offer(store.folder, SHA256, SIZE)], SECRET, "127.0.0.1", idle=2.0)
    thread = threading.Thread(target=service.serve)
    thread.start()
    with held(store.blob):
        thread.join(4.0)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


def test_a_taken_port_leads_to_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = _share_service.listen("127.0.0.1", port, offers=[], secret=SECRET)
        assert service.port not in (0, port)
        service.server_close()


@pytest.mark.parametrize(("address", "bound"), [("127.0.0.1", "127.0.0.1"), ("192.0.2.1", "0.0.0.0"), ("localhost", "0.0.0.0"), ("", "0.0.0.0")])
def test_it_listens_where_it_can_be_reached(address: str, bound: str) -> None:
    service = _share_service.listen(address, 0, offers=[], secret=SECRET)
    assert service.server_address[0] == bound
    service.server_close()


# --- downloads through it -------------------------------------------------------------------------------------------


def test_a_host_without_room_for_a_process_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fork fails, in the child: it must end there, and who waits for it must not wait for ever."""
    fork, calls = os.fork, []

    def full() -> int:
        calls.append(1)
        if len(calls) > 1:
            raise BlockingIOError("Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", full)
    with pytest.raises(FleetError, match="cannot be started"):
        _share_service.detach(_share_service.listen("127.0.0.1", 0, offers=[], secret="s"))


def test_a_whole_blob_comes_from_the_neighbour(server: hub.HubServer, hosts: Any) -> None:
    one, two = hosts("ab")
    one.blob.target.write_bytes(BODY)
    done = two.fetch(one.peer())
    assert (done.bytes_fetched, done.sources) == (SIZE, {"a": SIZE})
    assert two.blob.target.read_bytes() == BODY
    assert server.log.entries == []


def test_a_line_takes_it_while_it_grows(server: hub.HubServer, hosts: Any) -> None:
    one, two, three = hosts("abc", coming=True)
    server.switches.set({"drip": {"bytes_per_second": 400_000}})
    with three.fetching(two.peer(), one.peer()), two.fetching(one.peer()), one.fetching():
        until(lambda: three.blob.part.exists() and three.blob.bytes_present() > SIZE // 10)
        early = one.blob.bytes_present()
        server.switches.clear()
    assert SIZE // 10 <= early < SIZE // 2, "the last one had its share before the first one had half"
    assert [store.blob.target.read_bytes() == BODY for store in (one, two, three)] == [True] * 3
    assert sent(server) == SIZE
    assert two.result.sources == {"a": SIZE}
    assert set(three.result.sources) <= {"a", "b"}


def test_the_neighbour_dies_half_way(server: hub.HubServer, hosts: Any) -> None:
    """Its service and its download are gone: the next one goes on at the origin where it stands."""
    one, two, three = hosts("abc")
    one.blob.part.write_bytes(BODY[:HALF])
    with three.fetching(two.peer(), one.peer()), held(one.blob):
        with two.fetching(one.peer()):
            until(lambda: two.blob.bytes_present() == HALF and three.blob.bytes_present() == HALF)
            one.service.stopping.set()
    assert (two.result.sources["a"], three.result.bytes_fetched) == (HALF, SIZE)
    assert sent(server) == SIZE - HALF
    assert set(three.result.sources) <= {"a", "b"}


def until(true: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_a_killed_download_of_the_neighbour_is_no_end(server: hub.HubServer, hosts: Any) -> None:
    one, two = hosts("ab")
    one.blob.part.write_bytes(BODY[:HALF])
    done = two.fetch(one.peer())
    assert list(done.sources.values()) == [HALF, SIZE - HALF]
    assert sent(server) == SIZE - HALF


def test_the_reason_of_who_fetches_reaches_all(server: hub.HubServer, hosts: Any) -> None:
    one, two, three = hosts("abc", coming=True)
    server.switches.set({"gated": True})
    with three.fetching(two.peer(), one.peer()), two.fetching(one.peer()), one.fetching():
        pass
    assert "401 Access to model" in one.result
    for other in (two, three):
        assert "a, which fetches the blob for this site, could not" in other.result and "401 Access to model" in other.result
    assert len(server.log.entries) == 1


def test_a_neighbour_that_promises_and_gives_nothing_is_passed_over(server: hub.HubServer, hosts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = hosts("ab")
    one.blob.target.write_bytes(BODY)
    monkeypatch.setattr(_share_service._Handler, "_pour", lambda *_args: None)
    done = two.fetch(one.peer())
    assert (done.retries, sent(server)) == (1, SIZE)


def test_wrong_bytes_of_a_neighbour_are_thrown_away(server: hub.HubServer, hosts: Any) -> None:
    one, two = hosts("ab")
    one.blob.target.write_bytes(b"\0" * SIZE)
    done = two.fetch(one.peer())
    assert two.blob.target.read_bytes() == BODY
    assert (done.sources["a"], sent(server)) == (SIZE, SIZE)


def test_wrong_bytes_of_an_unfinished_neighbour_are_awaited_again(server: hub.HubServer, hosts: Any) -> None:
    one, two = hosts("ab")
    one.blob.part.write_bytes(b"\0" * SIZE)
    with held(one.blob), two.fetching(one.peer()):
        until(lambda: two.blob.progress.exists() and json.loads(two.blob.progress.read_text())["phase"] == "waiting")
        one.blob.target.write_bytes(BODY)
    assert two.result.sources == {"a": 2 * SIZE}
    assert server.log.entries == []


def test_wrong_bytes_at_the_source_reach_no_store(server: hub.HubServer, hosts: Any) -> None:
    one, two = hosts("ab", coming=True)
    server.switches.set({"wrong_bytes": True})
    with two.fetching(one.peer()), one.fetching(limits=Limits(rate=3e6)):
        pass
    assert "another sha256 than the lock says" in one.result and "another sha256 than the lock says" in two.result
    assert not one.blob.target.exists() and not two.blob.target.exists()
    assert sent(server) == SIZE


def test_neighbours_at_full_speed_keep_within_their_rate(hosts: Any) -> None:
    one, two = hosts("ab", rate=4e6)
    one.blob.target.write_bytes(BODY)
    start = time.monotonic()
    two.fetch(one.peer())
    assert time.monotonic() - start > 0.7 * SIZE / 4e6


def test_a_closed_window_lets_neighbours_give(server: hub.HubServer, hosts: Any) -> None:
    one, two = hosts("ab")
    one.blob.target.write_bytes(BODY)
    noon = Clock(local=lambda: time.struct_time((2026, 1, 1, 12, 0, 0, 3, 1, 0)))
    night = Limits(window=_fetch.Window.parse("22:00-06:00"))
    assert two.fetch(one.peer(), limits=night, clock=noon).sources == {"a": SIZE}
