"""Blobs once from the Hub, then from host to host, from the controller, or from a mirror; and a seed that is killed."""
from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from deployed import Run, groups, hub, kill, on, started, until

BLOBS = "/opt/localai/models/gguf"
PORT = 8710
RATE = 24 << 20
SLACK = 4 << 20
SERVERS = groups().get("localai_server", [])
TOKEN = "a-token-of-the-mirror"
pytestmark = pytest.mark.skipif(len(SERVERS) < 2, reason="needs two servers")


@pytest.fixture
def model(playbook: Callable[..., Run]) -> Iterator[tuple[str, int]]:
    """SHA-256 and size of the first blob, which no server has any more; what comes after finds everything in place."""
    names = on(SERVERS[0]).check_output("ls %s", BLOBS).split()
    size = on(SERVERS[0]).file(f"{BLOBS}/{names[0]}").size
    for name in SERVERS:
        on(name).check_output("rm -rf %s/%s %s/.partial", BLOBS, names[0], BLOBS)
    hub("/__requests__", method="DELETE")
    yield names[0].removesuffix(".gguf"), size
    hub("/__switch__", {"drip": False})
    assert playbook("site", "--tags", "models").code == 0


def sent() -> int:
    """Bytes that left the Hub."""
    return sum(request["bytes"] for request in hub("/__requests__"))


def assert_whole(sha256: str) -> None:
    for name in SERVERS:
        assert on(name).check_output("sha256sum %s/%s.gguf", BLOBS, sha256).split()[0] == sha256


def listening(name: str) -> str:
    """Processes of a server that listen at the file service's port."""
    return on(name).check_output("ss -Hltnp 'sport = :%s'", str(PORT))


def test_one_download_a_site(playbook: Callable[..., Run], model: tuple[str, int]) -> None:
    seed = ("site", "--tags", "models", "-e", "models_distribution=seed")
    assert playbook(*seed, "--check").recap[SERVERS[1]]["changed"] >= 1
    assert sent() == 0
    run = playbook(*seed, "--diff", "-vvv")
    assert run.code == 0, run.output
    assert sent() == model[1]
    assert f"{SERVERS[0]}: {model[1]}" in run.output, "who gave it"
    assert_whole(model[0])
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in run.output
    assert not re.search(r"secret\W+[0-9a-f]{64}", run.output), "the secret of a file service"
    assert [listening(name) for name in SERVERS] == [""] * len(SERVERS)
    again = playbook(*seed)
    assert (again.code, again.changed) == (0, 0), again.output


def test_a_host_that_has_it_is_the_seed(playbook: Callable[..., Run], model: tuple[str, int]) -> None:
    playbook("site", "--tags", "models")
    on(SERVERS[0]).check_output("rm %s/%s.gguf", BLOBS, model[0])
    hub("/__requests__", method="DELETE")
    run = playbook("site", "--tags", "models", "-e", "models_distribution=seed")
    assert (run.code, sent()) == (0, 0), run.output
    assert_whole(model[0])


def test_a_killed_seed_loses_nothing(playbook: Callable[..., Run], model: tuple[str, int]) -> None:
    sha256, size = model
    first, second = on(SERVERS[0]), on(SERVERS[1])
    hub("/__switch__", {"drip": {"times": -1, "bytes_per_second": RATE}})
    with started("site", "--tags", "models", "-e", "models_distribution=seed") as run:
        until(lambda: partial_bytes(second) > size // 4)
        assert first.run("pkill -9 -f gguf_file").rc == 0
        service = listening(SERVERS[0]).split("pid=")[1].split(",")[0]
        first.check_output("kill -9 %s", service)
        until(lambda: run.poll() is not None, 120)
    assert run.returncode != 0, "the seed's own download was killed"
    assert not first.file(f"{BLOBS}/{sha256}.gguf").exists
    kept = partial_bytes(first)
    assert kept > size // 4
    assert second.check_output("sha256sum %s/%s.gguf", BLOBS, sha256).split()[0] == sha256
    assert size <= sent() <= size + SLACK, "the second server went on where the seed had come to"
    hub("/__requests__", method="DELETE")
    again = playbook("site", "--tags", "models", "-e", "models_distribution=seed")
    assert (again.code, sent()) == (0, 0), again.output
    assert_whole(sha256)


def test_a_killed_controller_leaves_no_service(playbook: Callable[..., Run], model: tuple[str, int]) -> None:
    """Its services end by themselves later; the next run has services of its own and attaches to the downloads that go on."""
    hub("/__switch__", {"drip": {"times": -1, "bytes_per_second": RATE}})
    with started("site", "--tags", "models", "-e", "models_distribution=seed") as run:
        until(lambda: partial_bytes(on(SERVERS[1])) > model[1] // 8)
        kill(run)
    again = playbook("site", "--tags", "models", "-e", "models_distribution=seed")
    assert again.code == 0, again.output
    assert model[1] <= sent() <= model[1] + SLACK
    assert_whole(model[0])
    for name in SERVERS:
        for process in listening(name).split("pid=")[1:]:
            on(name).check_output("kill %s", process.split(",")[0])


def partial_bytes(host: Any) -> int:
    """Bytes of the unfinished download."""
    return max(map(int, host.check_output("find %s/.partial -name '*.part' -printf '%%s\\n' 2>/dev/null || true", BLOBS).split()), default=0)


def test_by_the_controller(playbook: Callable[..., Run], model: tuple[str, int], tmp_path: Path) -> None:
    by = ("site", "--tags", "models", "-e", "models_distribution=controller", "-e", f"models_controller_cache={tmp_path}")
    assert playbook(*by, "--check").code == 0
    run = playbook(*by)
    assert run.code == 0, run.output
    assert (sent(), (tmp_path / f"{model[0]}.gguf").stat().st_size) == (model[1], model[1])
    assert ", from the controller" in run.output
    assert_whole(model[0])
    assert playbook(*by).changed == 0


class Mirror(SimpleHTTPRequestHandler):
    """Gives files to those who have the token."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            super().do_GET()
        else:
            self.send_error(401)

    def log_message(self, *_args: Any) -> None:
        """Silent."""


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """A web server over a folder, at this machine's address as the servers see it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((groups()["variables"][SERVERS[0]]["ansible_host"], 9))
        address = route.getsockname()[0]
    with ThreadingHTTPServer((address, 0), partial(Mirror, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_address[1]}"
        server.shutdown()


def test_from_a_mirror(playbook: Callable[..., Run], model: tuple[str, int], tmp_path: Path) -> None:
    cache = ("-e", f"models_controller_cache={tmp_path}")
    assert playbook("site", "--tags", "models", "-e", "models_distribution=controller", *cache).code == 0
    for name in SERVERS:
        on(name).check_output("rm %s/%s.gguf", BLOBS, model[0])
    hub("/__requests__", method="DELETE")
    with mirror(tmp_path) as url:
        by = ("site", "--tags", "models", "-e", "models_distribution=mirror", "-e", f"models_mirror_url={url}")
        refused = playbook(*by)
        assert refused.code != 0 and "401" in refused.output
        run = playbook(*by, "-e", f"models_mirror_token={TOKEN}")
    assert (run.code, sent()) == (0, 0), run.output
    assert_whole(model[0])


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("models_time_window=00:00-00:00", "The time window cannot be used"),
        ("models_bandwidth_limit=fast", "The rate cannot be used"),
        ("models_distribution=mirror", "models_mirror_url is no http(s) URL: got nothing. Set it."),
        ("models_distribution=torrent", "value of models_distribution must be one of: direct, seed, controller, mirror, got: torrent"),
    ],
)
def test_bad_input(playbook: Callable[..., Run], variable: str, sentence: str) -> None:
    run = playbook("site", "--tags", "models", "-e", variable)
    assert run.code != 0
    assert sentence in " ".join(run.output.split())
