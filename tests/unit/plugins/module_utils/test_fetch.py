"""Downloads against the lab's hub, one fault at a time: what arrives, what is kept, what is said."""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Iterator

import pytest

from ansible_collections.localai.fleet.plugins.module_utils import _fetch
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._fetch import Blob, Clock, Limits, Progress
from ansible_collections.localai.fleet.plugins.module_utils._pace import Window, parse_rate

from tests.lab import hub

BODY = hashlib.sha256(b"seed").digest() * 100_000
SIZE = len(BODY)
SHA256 = hashlib.sha256(BODY).hexdigest()
REPO, FILE = "acme/Tiny-GGUF", "tiny-Q4_K_M.gguf"
HALF = SIZE // 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "hub" / REPO
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(BODY)
    return tmp_path / "hub"


@pytest.fixture
def server(root: Path) -> Iterator[hub.HubServer]:
    with hub.running(root) as running:
        yield running


class Run:
    """One blob and what happens to it: waits are recorded instead of waited for."""

    def __init__(self, url: str, store: Path) -> None:
        self.blob = Blob(url, store / f"{SHA256}.gguf", SHA256, SIZE, "tiny")
        self.waits: list[float] = []
        self.seen: list[Progress] = []
        self.early: list[Progress] = []

    def __call__(self, **options: Any) -> _fetch.Fetched:
        options.setdefault("reserve_bytes", 0)
        options.setdefault("timeout", 5.0)
        options.setdefault("redirect_hosts", ["localhost"])
        options.setdefault("progress", self.watch)
        options.setdefault("clock", Clock(sleep=self.waits.append))
        return _fetch.fetch(self.blob, **options)

    def watch(self, progress: Progress) -> None:
        """Keep what is told, and what is told while the target has its name already."""
        self.seen.append(progress)
        if self.blob.target.exists():
            self.early.append(progress)

    def error(self, **options: Any) -> str:
        with pytest.raises(FleetError) as error:
            self(**options)
        assert not self.blob.target.exists()
        return str(error.value)

    def part(self, content: bytes, etag: str = "", host: str = "") -> None:
        self.blob.folder.mkdir(parents=True, exist_ok=True)
        self.blob.part.write_bytes(content)
        if etag:
            self.blob.origin.write_text(json.dumps({"etag": etag, "host": host}))

    def left(self) -> list[str]:
        return sorted(p.name.replace(SHA256, "S") for p in self.blob.folder.iterdir())


@pytest.fixture
def run(server: hub.HubServer, tmp_path: Path) -> Run:
    return Run(f"{server.url}/{REPO}/resolve/main/{FILE}", tmp_path / "store" / "gguf")


def bodies(server: hub.HubServer) -> list[tuple[int, int]]:
    """Status and bytes of each answer that a link led to."""
    return [(e.status, e.bytes) for e in server.log.entries if e.path.startswith("/__cdn__")]


def test_fresh(server: hub.HubServer, run: Run) -> None:
    done = run()
    assert done == _fetch.Fetched(run.blob.target, SIZE, 0, 0)
    assert run.blob.target.read_bytes() == BODY
    assert run.blob.target.stat().st_mode & 0o777 == 0o644
    assert run.blob.folder.stat().st_mode & 0o777 == 0o700
    assert run.left() == []
    assert [p.phase for p in run.seen][::len(run.seen) - 1] == ["connecting", "verifying"]
    assert run.seen[-1].bytes == run.seen[-1].total == SIZE
    assert run.early == [], "the name was given before the sha256 was verified"


def test_present_blobs_are_trusted_by_name_and_size(server: hub.HubServer, run: Run) -> None:
    run.blob.target.parent.mkdir(parents=True)
    run.blob.target.write_bytes(b"x" * SIZE)
    assert run().bytes_fetched == 0
    assert server.log.entries == []


def test_wrong_size_is_replaced(run: Run) -> None:
    run.blob.target.parent.mkdir(parents=True)
    run.blob.target.write_bytes(b"x")
    assert run().bytes_fetched == SIZE
    assert run.blob.target.read_bytes() == BODY


def test_resume_asks_for_the_rest_only(server: hub.HubServer, run: Run) -> None:
    run.part(BODY[:HALF], f'"{SHA256}"', server.url.partition("//")[2])
    assert run() == _fetch.Fetched(run.blob.target, SIZE - HALF, HALF, 0)
    assert bodies(server) == [(206, SIZE - HALF)]
    assert [p.phase for p in run.seen][0] == "checking"


def test_a_whole_part_needs_no_request(server: hub.HubServer, run: Run) -> None:
    run.part(BODY)
    assert run() == _fetch.Fetched(run.blob.target, 0, SIZE, 0)
    assert server.log.entries == []


@pytest.mark.parametrize("part", [b"\0" * HALF, BODY + b"more", b"\0" * SIZE], ids=["damaged", "too long", "whole but damaged"])
def test_a_damaged_part_gets_one_new_chance(run: Run, part: bytes) -> None:
    run.part(part)
    assert run().path.read_bytes() == BODY
    assert run.left() == []


def test_a_changed_file_starts_anew(server: hub.HubServer, run: Run) -> None:
    run.part(BODY[:HALF], '"another"', server.url.partition("//")[2])
    done = run()
    assert (done.bytes_fetched, done.resumed_from) == (SIZE, 0)
    assert bodies(server) == [(200, SIZE)]


def test_the_tag_of_another_host_does_not_guard(server: hub.HubServer, run: Run) -> None:
    run.part(BODY[:HALF], '"another"', "cdn.example.com")
    assert run().resumed_from == HALF


@pytest.mark.parametrize(
    ("switch", "part", "fetched", "retries", "waits"),
    [
        ({"rate_limit": {"times": 2, "retry_after": 9}}, 0, SIZE, 2, [9.0, 9.0]),
        ({"rate_limit": {"times": 1, "retry_after": 4, "header": "RateLimit"}}, 0, SIZE, 1, [5.0]),
        ({"error_500": 1}, 0, SIZE, 1, None),
        ({"error_503": {"times": 1, "retry_after": 2}}, HALF, SIZE - HALF, 1, [2.0]),
        ({"truncate": 1}, 0, SIZE, 1, None),
        ({"truncate": 3}, HALF, SIZE - HALF, 3, None),
        ({"forbidden_resume": 2}, HALF, SIZE - HALF, 2, None),
        ({"forbidden_resume": True}, HALF, SIZE, 3, None),
        ({"ignore_range": True}, HALF, SIZE, 0, []),
        ({"no_content_range": True}, HALF, SIZE - HALF, 0, []),
        ({"unsatisfiable": True}, HALF, SIZE, 1, [0.0]),
        ({"no_etag": True}, HALF, SIZE - HALF, 0, []),
        ({"redirect_host": True}, HALF, SIZE - HALF, 0, []),
    ],
)
def test_faults_that_pass(
    server: hub.HubServer, run: Run, switch: dict[str, Any], part: int, fetched: int, retries: int, waits: list[float] | None,
) -> None:
    server.switches.set(switch)
    run.part(BODY[:part])
    done = run()
    assert (done.bytes_fetched, done.retries) == (fetched, retries)
    assert done.path.read_bytes() == BODY
    assert run.left() == []
    assert waits is None or run.waits == waits


def test_waits_grow(server: hub.HubServer, run: Run) -> None:
    server.switches.set({"error_503": 5})
    run()
    assert [round(wait / 2**n) for n, wait in enumerate(run.waits)] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("switch", "sentence", "kept"),
    [
        ({"error_500": True}, "did not get on after 7 attempts", HALF),
        ({"truncate": {"after": 0}}, "got the connection closed early", HALF),
        ({"ignore_range": True, "truncate": True}, "did not get on after 7 attempts", HALF),
        ({"wrong_bytes": True}, f"{SHA256} was expected", None),
        ({"redirect_loop": True}, "redirects in a circle", HALF),
        ({"gated": True}, "401 Access to model acme/Tiny-GGUF is restricted", HALF),
        ({"redirect_host": {"to": "http://169.254.169.254"}}, "redirects to an address of this host's own link", HALF),
        ({"redirect_host": {"to": "ftp://elsewhere"}}, "redirects out of a protected connection", HALF),
    ],
)
def test_faults_that_stay(server: hub.HubServer, run: Run, switch: dict[str, Any], sentence: str, kept: int | None) -> None:
    server.switches.set(switch)
    run.part(BODY[:HALF])
    assert sentence in run.error()
    size = run.blob.part.stat().st_size if run.blob.part.exists() else None
    assert size == kept
    assert not run.blob.lock.exists()


@pytest.mark.parametrize("name", ["", "127.0.0.2", "host"])
def test_a_redirect_to_a_host_that_nobody_named(server: hub.HubServer, run: Run, name: str) -> None:
    server.switches.set({"redirect_host": True})
    sentence = run.error(redirect_hosts=[name] if name else [])
    assert "redirects to a host that nobody named" in sentence
    assert "got localhost. If it belongs to the source, add it to models_redirect_hosts." in sentence
    assert bodies(server) == []


def test_an_expired_link_is_asked_for_anew(server: hub.HubServer, run: Run) -> None:
    """403 on the resume: the next attempt starts at the Hub, which gives a new link."""
    server.switches.set({"forbidden_resume": 1})
    run.part(BODY[:HALF])
    assert run().resumed_from == HALF
    links = [entry.path for entry in server.log.entries if entry.path.startswith("/__cdn__")]
    assert len(set(links)) == 2
    assert [entry.path.partition("?")[0].partition("/resolve/")[1] for entry in server.log.entries] == ["/resolve/", "", "/resolve/", ""]


NOON, NIGHT = (time.struct_time((2026, 1, 1, hour, 0, 0, 3, 1, 0)) for hour in (12, 23))


def test_outside_its_hours_nothing_is_asked(server: hub.HubServer, run: Run) -> None:
    run.part(BODY[:HALF])
    sentence = run.error(limits=Limits(window=Window.parse("22:00-06:00")), clock=Clock(local=lambda: NOON))
    assert "tiny may not be fetched at this time of the day (models_time_window 22:00-06:00, local time of the host): got 12:00" in sentence
    assert f"{HALF} of {SIZE} bytes are kept: run again within it." in sentence
    assert server.log.entries == []


def test_at_the_end_of_its_hours_it_stops_and_keeps(server: hub.HubServer, run: Run) -> None:
    hours = iter([NIGHT] * 2)
    night = Clock(local=lambda: next(hours, NOON))
    assert "may not be fetched at this time" in run.error(limits=Limits(window=Window.parse("22:00-06:00")), clock=night)
    kept = run.blob.bytes_present()
    assert 0 < kept < SIZE
    assert run(limits=Limits(window=Window.parse("22:00-06:00")), clock=Clock(local=lambda: NIGHT)).resumed_from == kept


def test_a_download_keeps_below_its_rate(server: hub.HubServer, run: Run) -> None:
    now, waits = [100.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    run(limits=Limits(rate=400_000.0), clock=Clock(now=lambda: now[0], sleep=sleep))
    assert SIZE / 400_000 - 0.2 <= sum(waits) <= SIZE / 400_000


def test_a_source_that_drips_is_given_up_with_a_sentence(server: hub.HubServer, run: Run) -> None:
    server.switches.set({"drip": {"bytes_per_second": 400_000}})
    ticks = iter(range(1_000_000))
    clock = Clock(now=lambda: 10.0 * next(ticks), sleep=run.waits.append)
    sentence = run.error(limits=Limits(minimum_rate=1e9), clock=clock, retries=1)
    assert "did not get on after" in sentence and "bytes a second, less than 1000000000" in sentence and "are kept" in sentence


@pytest.mark.parametrize("limit", ["", "1MB/s"])
def test_a_source_within_its_rate_is_not_given_up(server: hub.HubServer, run: Run, limit: str) -> None:
    assert run(limits=Limits(rate=parse_rate(limit), minimum_rate=1e5)).retries == 0


def test_the_reason_of_a_failure_is_kept_for_others(server: hub.HubServer, run: Run) -> None:
    server.switches.set({"gated": True})
    before = time.time() - 1
    sentence = run.error(progress=None)
    assert _fetch.failure(run.blob, before) == sentence
    assert _fetch.failure(run.blob, time.time() + 60) == ""
    server.switches.clear()
    run(progress=None)
    assert _fetch.failure(run.blob, before) == ""


def test_whether_somebody_works_on_it(run: Run) -> None:
    assert _fetch.is_held(run.blob) is False
    run.part(b"x")
    handle = os.open(run.blob.lock, os.O_RDWR | os.O_CREAT)
    assert _fetch.is_held(run.blob) is False
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert _fetch.is_held(run.blob) is True
    os.close(handle)
    assert _fetch.is_held(run.blob) is False


def piece(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "piece"
    path.write_bytes(content)
    return path


def test_pieces_make_a_blob(run: Run, tmp_path: Path) -> None:
    have = 0
    for end in (10, HALF, HALF, SIZE):
        have = _fetch.receive(run.blob, piece(tmp_path, BODY[have:end]), have, "/cache/x", 0)
        assert (have, run.blob.target.exists()) == (end, end == SIZE)
    assert run.blob.target.read_bytes() == BODY
    assert run.left() == []
    assert _fetch.receive(run.blob, piece(tmp_path, b"more"), SIZE, "/cache/x", 0) == SIZE


def test_a_piece_that_does_not_fit_is_left_out(run: Run, tmp_path: Path) -> None:
    run.part(BODY[:HALF])
    assert _fetch.receive(run.blob, piece(tmp_path, b"x"), 3, "/cache/x", 0) == HALF
    assert run.blob.part.read_bytes() == BODY[:HALF]


def test_a_wrong_piece_is_found_at_the_end(run: Run, tmp_path: Path) -> None:
    run.part(BODY[:HALF])
    with pytest.raises(FleetError, match="another sha256 than the lock says .*/cache/x"):
        _fetch.receive(run.blob, piece(tmp_path, b"\0" * (SIZE - HALF)), HALF, "/cache/x", 0)
    assert not run.blob.target.exists() and run.left() == []


def test_another_size_at_the_source(run: Run) -> None:
    run.blob = replace(run.blob, size=SIZE + 1)
    assert "tiny has another size at its source" in run.error()
    assert f"{SIZE} bytes, {SIZE + 1} were expected" in run.error()


def test_not_found(run: Run) -> None:
    run.blob = replace(run.blob, url=run.blob.url.replace(FILE, "absent.gguf"))
    assert "404 absent.gguf does not exist" in run.error()


def test_nobody_answers(run: Run) -> None:
    run.blob = replace(run.blob, url="http://127.0.0.1:9/x")
    assert "127.0.0.1:9 cannot be reached: Connection refused" in run.error(retries=1)


def test_a_hub_that_is_gone_takes_nothing_away(run: Run) -> None:
    run.blob = replace(run.blob, url="http://127.0.0.1:9/x")
    run.part(BODY[:HALF])
    assert f"{HALF} of {SIZE} bytes are kept: run again when the source answers." in run.error(retries=2)
    assert run.blob.part.read_bytes() == BODY[:HALF]


def test_the_token_stays_with_its_host(server: hub.HubServer, run: Run) -> None:
    server.switches.set({"gated": True, "redirect_host": True})
    run(headers={"Authorization": "Bearer hf_secret"})
    assert [(e.path.startswith("/__cdn__"), e.authorization) for e in server.log.entries] == [(False, True), (True, False)]


def test_no_space(run: Run) -> None:
    sentence = run.error(reserve_bytes=1 << 60)
    assert "not enough disk space for tiny" in sentence
    assert f"{SIZE} needed" in sentence and "Free " in sentence


def test_no_space_counts_what_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs

    def tight(path: Any) -> Any:
        stat = real(path)
        return os.statvfs_result([*stat[:1], 1, stat[2], stat[3], SIZE - HALF, *stat[5:]])

    monkeypatch.setattr(os, "statvfs", tight)
    assert "not enough disk space" in run.error()
    run.part(BODY[:HALF])
    assert run().resumed_from == HALF


def test_a_disk_that_fills_up_keeps_the_part(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "could not be written" in run.error()
    assert run.blob.part.exists()


def test_a_store_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    assert "The model store cannot be made" in run.error()


def test_waits_for_the_run_that_holds_the_lock(server: hub.HubServer, run: Run) -> None:
    run.part(b"")
    handle = os.open(run.blob.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)

    def other_finishes(_seconds: float) -> None:
        run.blob.target.write_bytes(BODY)
        run.blob.lock.unlink()
        os.close(handle)

    done = _fetch.fetch(run.blob, reserve_bytes=0, clock=Clock(sleep=other_finishes))
    assert (done.bytes_fetched, done.resumed_from) == (0, SIZE)
    assert server.log.entries == []


def test_a_lock_that_goes_while_it_is_looked_at_is_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder removes the file between two looks of who waits."""
    run.part(b"")
    flock, gone = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        flock(handle, how)
        if not gone:
            gone.append(run.blob.lock.unlink())

    monkeypatch.setattr(fcntl, "flock", late)
    monkeypatch.setattr(Path, "exists", lambda self: self == run.blob.lock or os.path.exists(self))
    assert run().bytes_fetched == SIZE and run.waits == [1.0]


def test_discard(run: Run) -> None:
    run()
    run.part(BODY[:10])
    _fetch.discard(run.blob)
    assert run.left() == [] and not run.blob.target.exists()


def test_discard_refuses_while_another_run_fetches(run: Run) -> None:
    run.part(b"x")
    handle = os.open(run.blob.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(FleetError, match="tiny is being fetched by another run"):
        _fetch.discard(run.blob)
    os.close(handle)
    assert run.blob.part.exists()


def test_progress_is_written_by_rename_and_not_too_often(tmp_path: Path) -> None:
    now = [100.0]
    path = tmp_path / "p.json"
    write = _fetch.ProgressFile(path, every=0.5, clock=Clock(now=lambda: now[0]))
    told = []
    for at, phase in [(100.0, "fetching"), (100.2, "fetching"), (100.3, "retrying"), (100.9, "retrying")]:
        now[0] = at
        path.unlink(missing_ok=True)
        write(Progress(phase, "tiny", 5, 10, 2.0, 2.5))
        told.append(path.exists())
    assert told == [True, False, True, True]
    assert json.loads(path.read_text()) == {
        "phase": "retrying", "name": "tiny", "bytes": 5, "total": 10, "rate": 2.0, "eta": 2.5, "message": "", "pid": os.getpid(),
    }
    assert [p.name for p in tmp_path.iterdir()] == ["p.json"]


def test_rate_and_what_is_left(server: hub.HubServer, tmp_path: Path, run: Run) -> None:
    ticks = iter(range(100_000))
    _fetch.fetch(run.blob, reserve_bytes=0, progress=run.seen.append, clock=Clock(now=lambda: float(next(ticks))))
    some = next(p for p in run.seen if p.phase == "fetching" and p.bytes < SIZE)
    assert some.rate > 0 and some.eta == pytest.approx((SIZE - some.bytes) / some.rate)


def test_tls_by_a_private_authority(root: Path, tmp_path: Path, tls_files: tuple[Path, Path]) -> None:
    cert, key = tls_files
    with hub.running(root, cert=cert, key=key) as server:
        run = Run(f"{server.url}/{REPO}/resolve/main/{FILE}", tmp_path / "store")
        assert "certificate of the source is not trusted" in (error := run.error()) and "models_mirror_ca" in error and "models_hub_ca" in error
        assert run(ca_path=str(cert)).bytes_fetched == SIZE


class Mirror(SimpleHTTPRequestHandler):
    """A plain web server that knows no ranges and wants a token."""

    def do_GET(self) -> None:
        super().do_GET() if self.headers.get("Authorization") == "Bearer of-the-mirror" else self.send_error(401)

    def log_message(self, *_args: Any) -> None:
        """Silent."""


@pytest.mark.parametrize("name, token, sentence", [
    (f"{SHA256}.gguf", "", "got 401 Unauthorized. Give a token that may read it, at a mirror as models_mirror_token"),
    (f"{SHA256}.gguf", "another", "got 401 Unauthorized. Give a token that may read it"),
    ("absent.gguf", "of-the-mirror", "got 404 File not found. Check the address: at a mirror that it has SHA256.gguf"),
    (f"{SHA256}.gguf", "of-the-mirror", ""),
])
def test_a_plain_server_as_a_mirror(tmp_path: Path, name: str, token: str, sentence: str) -> None:
    """What is there of an earlier run is no harm where the server knows no ranges."""
    (tmp_path / f"{SHA256}.gguf").write_bytes(BODY)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        run, headers = Run(f"http://127.0.0.1:{server.server_address[1]}/{name}", tmp_path / "store"), {"Authorization": f"Bearer {token}"}
        run.part(BODY[:HALF])
        if sentence:
            assert sentence in (error := run.error(headers=headers)) and "another" not in error
        else:
            assert (run(headers=headers).resumed_from, run.blob.target.read_bytes()) == (0, BODY)
        server.shutdown()


def test_https_is_not_left(root: Path, tmp_path: Path, tls_files: tuple[Path, Path]) -> None:
    cert, key = tls_files
    with hub.running(root, cert=cert, key=key) as server:
        server.switches.set({"redirect_host": {"to": "http://127.0.0.1:9"}})
        run = Run(f"{server.url}/{REPO}/resolve/main/{FILE}", tmp_path / "store")
        assert "redirects out of a protected connection" in run.error(ca_path=str(cert))


def test_a_file_of_the_host(run: Run, root: Path) -> None:
    run.blob = replace(run.blob, url=(root / REPO / FILE).as_uri())
    run.part(BODY[:HALF])
    assert run() == _fetch.Fetched(run.blob.target, SIZE - HALF, HALF, 0)
    assert run.blob.target.read_bytes() == BODY
