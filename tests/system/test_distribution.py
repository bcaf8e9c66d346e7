"""Blobs once from the Hub, then from server to server, from the controller or from a mirror; and a seed that is killed with its service."""
from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import docker
import pytest
from deployed import STATE, Run, groups, hub, on, started, until

from tests.lab import registry
from tests.lab.instance import load

BLOBS = "/opt/localai/models/gguf"
RATE = 8 << 20
SLACK = 4 << 20
SERVERS = groups().get("localai_server", [])
# Ids of the processes that listen at port 8710.
LISTENING = """
import glob, os
tables = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}")]
sockets = {f"socket:[{row[9]}]" for row in tables if row[1].endswith(":2206") and row[3] == "0A"}
for path in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        if os.readlink(path) in sockets:
            print(path.split("/")[2])
    except OSError:
        pass
"""
pytestmark = pytest.mark.skipif(len(SERVERS) < 2, reason="needs two servers")


@pytest.fixture
def model(playbook: Callable[..., Run]) -> Iterator[tuple[str, int]]:
    """SHA-256 and size of the first blob, which no server has any more; what comes after finds everything in place."""
    names = on(SERVERS[0]).check_output("ls %s", BLOBS).split()
    size = on(SERVERS[0]).file(f"{BLOBS}/{names[0]}").size
    forget(names[0])
    yield names[0].removesuffix(".gguf"), size
    hub("/__switch__", {"drip": False})
    if not all(on(name).file(f"{BLOBS}/{names[0]}").exists for name in SERVERS):
        playbook("site", "--tags", "models")  # what comes after must not suffer


def forget(blob: str) -> None:
    """No server has this blob, and the Hub was asked for nothing yet."""
    for name in SERVERS:
        on(name).check_output("rm -rf %s/%s %s/.partial", BLOBS, blob, BLOBS)
    hub("/__requests__", method="DELETE")


def sent() -> int:
    """Bytes that left the Hub."""
    return sum(request["bytes"] for request in hub("/__requests__"))


def assert_whole(sha256: str) -> None:
    for name in SERVERS:
        assert on(name).check_output("sha256sum %s/%s.gguf", BLOBS, sha256).split()[0] == sha256


def services(name: str) -> list[str]:
    """Processes of a server that listen at the file service's port."""
    return on(name).check_output("python3 -c %s", LISTENING).split()


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
    assert [services(name) for name in SERVERS] == [[]] * len(SERVERS)
    again = playbook(*seed)
    assert (again.code, again.changed) == (0, 0), again.output


def test_a_killed_seed_loses_nothing(playbook: Callable[..., Run], model: tuple[str, int]) -> None:
    sha256, size = model
    first, second = on(SERVERS[0]), on(SERVERS[1])
    hub("/__switch__", {"drip": {"times": -1, "bytes_per_second": RATE}})
    with started("site", "--tags", "models", "-e", "models_distribution=seed") as run:
        until(lambda: partial_bytes(second) > size // 4)
        assert first.run("pkill -9 -f gguf_file").rc == 0
        (service,) = services(SERVERS[0])
        first.check_output("kill -9 %s", service)
        until(lambda: run.poll() is not None, 300)
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


def partial_bytes(host: Any) -> int:
    """Bytes of the unfinished download."""
    return max(map(int, host.check_output("find %s/.partial -name '*.part' -printf '%%s\\n' 2>/dev/null || true", BLOBS).split()), default=0)


@contextmanager
def mirror(folder: Path, token: str) -> Iterator[str]:
    """The address of nginx in front of a folder, for those who have the token."""
    for place in (folder, *folder.parents[:3]):
        place.chmod(0o755)
    settings = folder.parent / "mirror.conf"
    settings.write_text(f'server {{ listen 80; root /mirror; if ($http_authorization != "Bearer {token}") {{ return 403; }} }}\n', encoding="utf-8")
    network = load(STATE.name).network
    made = docker.from_env().containers.run(
        registry.image("nginx", os.environ), name=f"{network}-mirror", network=network, detach=True, remove=True,
        volumes={str(folder): {"bind": "/mirror", "mode": "ro"}, str(settings): {"bind": "/etc/nginx/conf.d/default.conf", "mode": "ro"}})
    try:
        made.reload()
        yield f"http://{made.attrs['NetworkSettings']['Networks'][network]['IPAddress']}"
    finally:
        made.remove(force=True)


def test_by_the_controller_and_from_a_mirror_of_its_cache(playbook: Callable[..., Run], model: tuple[str, int], tmp_path: Path) -> None:
    by = ("site", "--tags", "models", "-e", "models_distribution=controller", "-e", f"models_controller_cache={tmp_path}/cache")
    run = playbook(*by)
    assert run.code == 0, run.output
    assert (sent(), (tmp_path / "cache" / f"{model[0]}.gguf").stat().st_size) == (model[1], model[1])
    assert ", from the controller" in run.output
    assert_whole(model[0])
    assert playbook(*by).changed == 0

    forget(f"{model[0]}.gguf")
    by = ("site", "--tags", "models", "-e", "models_distribution=mirror")
    with mirror(tmp_path / "cache", "mirror-secret-1") as address:
        refused = playbook(*by, "-e", f"models_mirror_url={address}", "-e", "models_mirror_token=mirror-secret-2")
        assert refused.code != 0 and "403" in refused.told and "mirror-secret" not in refused.output, refused.output
        run = playbook(*by, "-e", f"models_mirror_url={address}", "-e", "models_mirror_token=mirror-secret-1", "-vvv")
    assert run.code == 0, run.output
    assert sent() == 0 and "mirror-secret" not in run.output.replace("models_mirror_token=mirror-secret-1", "")
    assert_whole(model[0])
