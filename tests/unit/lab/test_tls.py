"""The instance's authority: a strict client trusts its servers at their address and nobody else."""
from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.lab import tls


@pytest.fixture
def made(tmp_path: Path) -> Path:
    tls.ensure_ca(tmp_path / "ca.crt", tmp_path / "ca.key")
    tls.ensure_certificate(tmp_path, "registry", "127.0.0.1", tmp_path / "ca.crt", tmp_path / "ca.key")
    return tmp_path


def handshake(place: Path, name: str) -> None:
    """A TLS handshake in memory; raises ssl.SSLError when the client refuses."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(place / "registry-127.0.0.1.crt", place / "registry-127.0.0.1.key")
    client_context = ssl.create_default_context(cafile=str(place / "ca.crt"))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.parametrize("name", ["127.0.0.1", "registry.lab.test"])
def test_strict_client_trusts_it(made: Path, name: str) -> None:
    handshake(made, name)


def test_another_name_is_refused(made: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, "127.0.0.2")


def test_made_once_and_keys_are_private(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    tls.ensure_ca(made / "ca.crt", made / "ca.key")
    tls.ensure_certificate(made, "registry", "127.0.0.1", made / "ca.crt", made / "ca.key")
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before
    assert {path.stat().st_mode & 0o777 for path in made.glob("*.key")} == {0o600}


def test_ssh_key(tmp_path: Path) -> None:
    line = tls.ensure_ssh_key(tmp_path / "ssh_key")
    assert line.startswith("ssh-ed25519 ")
    assert tls.ensure_ssh_key(tmp_path / "ssh_key") == line
    assert (tmp_path / "ssh_key").stat().st_mode & 0o777 == 0o600
