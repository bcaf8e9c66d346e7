"""A real sshd on loopback with keys of its own, for this user only."""
from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/fleet.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


@dataclass(frozen=True)
class SshServer:
    """`folder` has the keys: `host` of the server, `fleet` that opens it, `stranger` that opens nothing; and `known_hosts`."""

    folder: Path
    port: int

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def key(self, name: str = "fleet") -> str:
        return str(self.folder / name)

    def known_hosts(self, name: str = "host") -> str:
        """A file that has a key as this server's."""
        path = self.folder / f"known_hosts_{name}"
        path.write_text(f"[127.0.0.1]:{self.port} {(self.folder / f'{name}.pub').read_text()}")
        return str(path)


@contextmanager
def running(folder: Path) -> Iterator[SshServer]:
    """The server, answering."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd, "sshd is missing: make setup installs openssh-server"
    for name in ("host", "fleet", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it wants this as root, and only its service file makes it
    server = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=(folder / "sshd.log").open("w"))
    try:
        _await(server, port, folder / "sshd.log")
        yield SshServer(folder, port)
    finally:
        server.terminate()
        server.wait(10)


def _await(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
