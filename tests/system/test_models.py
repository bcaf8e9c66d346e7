"""Blobs: named by what they hold, and nothing else beside them."""
from __future__ import annotations

from testinfra.host import Host

STORE = "/opt/localai/models"


def blobs(host: Host) -> list[str]:
    return [line for line in host.check_output("find %s/gguf -name '*.gguf'", STORE).splitlines() if line]


def test_a_blob_is_named_by_what_it_holds(server: Host) -> None:
    found = blobs(server)
    assert found
    for path in found:
        assert path == f"{STORE}/gguf/{server.check_output('sha256sum %s', path).split()[0]}.gguf"
        assert server.file(path).mode == 0o644
        assert server.file(path).user == "root"


def test_nothing_half_written_lies_beside_the_blobs(server: Host) -> None:
    assert set(server.check_output("ls -A %s/gguf", STORE).split()) - {".partial"} == {path.rsplit("/", 1)[1] for path in blobs(server)}
