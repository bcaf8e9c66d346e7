"""A bare Git repository in a folder, looked at by git itself, and served over HTTP to who has the password."""
from __future__ import annotations

import base64
import gzip
import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

WHO = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", "someone"), ("EMAIL", "someone@example.com"))}


class BareRepository:
    """`url` is how a client reaches it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", folder], check=True)

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def git(self, *arguments: str, given: str = "") -> str:
        """What a git command on it prints."""
        done = subprocess.run(["git", "--git-dir", self.folder, *arguments], input=given, check=True, capture_output=True, text=True,
                              env={**os.environ, **WHO})
        return done.stdout

    def push(self, files: dict[str, str], branch: str = "main", text: str = "by hand\n") -> str:
        """What someone else does: a commit of files on top of a branch."""
        head = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").strip()
        self.git("read-tree", *([head] if head else ["--empty"]))
        for path, content in files.items():
            blob = self.git("hash-object", "-w", "--stdin", given=content).strip()
            self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        commit = self.git("commit-tree", self.git("write-tree").strip(), *(["-p", head] if head else []), given=text).strip()
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def text(self, path: str, branch: str = "main") -> str:
        """A file of a branch."""
        return self.git("show", f"{branch}:{path}")

    def count(self, branch: str = "main") -> int:
        """Commits of a branch."""
        return int(self.git("rev-list", "--count", branch))


@contextmanager
def serving(repository: BareRepository, user: str, password: str, moved_to: str = "") -> Iterator[str]:
    """The repository on loopback by Git's smart protocol, whatever path is asked for; yields the address.

    `moved_to`: where it says that the repository is, to who asks for another path than that.
    """
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, service: str, body: bytes, advertise: bool) -> None:
            if moved_to and not self.path.startswith(f"{moved_to}/"):
                self.send_response(301)
                self.send_header("Location", moved_to + self.path[self.path.index("/info/"):])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            command = ["git", service.removeprefix("git-"), "--stateless-rpc", *(["--advertise-refs"] if advertise else []), repository.folder]
            out = subprocess.run(command, input=body, check=True, capture_output=True).stdout
            line = f"# service={service}\n"
            out = (f"{len(line) + 4:04x}{line}0000".encode() if advertise else b"") + out
            self.send_response(200)
            self.send_header("Content-Type", f"application/x-{service}-{'advertisement' if advertise else 'result'}")
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        def do_GET(self) -> None:
            self._answer(self.path.rpartition("=")[2], b"", True)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            self._answer(self.path.rpartition("/")[2], plain, False)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
