"""A `docker` command of the test's own, and a LocalAI that keeps models as the real one does and runs none."""
from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _git
from git_server import BareRepository


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a shell script named docker first on the path; returns the log of its calls, one line each."""

    def make(script: str) -> Path:
        folder, log = tmp_path / "bin", tmp_path / "docker.log"
        folder.mkdir(exist_ok=True)
        (folder / "docker").write_text(f'#!/bin/sh\necho "$*" >> {log}\n{script}\n')
        (folder / "docker").chmod(0o755)
        log.touch()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return log

    return make


@pytest.fixture
def repository(tmp_path: Path) -> BareRepository:
    """A fleet's Git repository with its lock."""
    made = BareRepository(tmp_path / "fleet.git")
    made.push({"README.md": "hello\n", "inv/fleet.lock.yml": "one\n"})
    return made


@pytest.fixture
def someone_faster(repository: BareRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone else pushes between our commit and our push."""
    push = _git.Repository._push

    def beaten(self: _git.Repository, commit: str) -> None:
        repository.push({"README.md": "first\n"})
        push(self, commit)

    monkeypatch.setattr(_git.Repository, "_push", beaten)


class FakeLocalAI(ThreadingHTTPServer):
    """What it was asked is in `asked`. `refuses`: revision → why it does not load; `busy`: how often a stop of it ends in vain;
    `late`: revisions that a late request loads again once; `statuses`: path → status of an answer; `loads` is called at each load."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = Path("/nonexistent")
        self.memory: dict[str, str] = {}
        self.loaded: set[str] = set()
        self.asked: list[tuple[str, Any]] = []
        self.refuses: dict[str, str] = {}
        self.busy: dict[str, int] = {}
        self.late: list[str] = []
        self.statuses: dict[str, int] = {}
        self.forgets = True
        self.loads: Callable[[str], Any] = lambda name: None

    def listed(self) -> set[str]:
        return set(self.memory)

    def aliases(self) -> dict[str, str]:
        found = {name: text.partition("alias: ")[2].strip().strip('"') for name, text in self.memory.items()}
        return {name: target for name, target in found.items() if target}

    def read(self, name: str) -> None:
        path = self.folder / f"{name}.yaml"
        if path.exists():
            self.memory[name] = path.read_text()

    def told(self, path: str) -> Any:
        return {"/api/aliases": [{"name": name, "target": target} for name, target in self.aliases().items()],
                "/v1/models": {"data": [{"id": name, "object": "model"} for name in self.memory]},
                "/system": {"backends": [], "loaded_models": [{"id": name} for name in self.loaded]}}.get(path, {})

    def do(self, path: str, name: str) -> tuple[int, Any]:
        if path == "/models/reload":
            for file in self.folder.glob("*.yaml"):
                self.read(file.stem)
        elif path == "/backend/load":
            if name not in self.memory:
                self.read(name)
            if name in self.refuses:
                return 500, {"message": f"failed to load model: {self.refuses[name]}"}
            self.loaded.add(name)
            self.loads(name)
        elif path == "/backend/shutdown":
            return self.stop(name)
        elif path.startswith("/models/delete/") and self.forgets:
            self.memory.pop(path.rpartition("/")[2], None)
        return 200, {}

    def stop(self, name: str) -> tuple[int, Any]:
        if name not in self.loaded:
            return 404, {"error": {"message": "Resource not found"}}
        if self.busy.get(name, 0) > 0:
            self.busy[name] -= 1
            return 500, {"error": {"message": "model is still busy"}}
        self.loaded.discard(name)
        if name in self.late:
            self.late.remove(name)
            self.loaded.add(name)
        return 200, {}


class _Handler(BaseHTTPRequestHandler):
    server: FakeLocalAI

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        status, data = 200, self.server.told(self.path)
        if self.command == "POST":
            self.server.asked.append((self.path, body))
            status, data = self.server.do(self.path, (body or {}).get("model", ""))
        self.send_response(self.server.statuses.get(self.path, status))
        self.end_headers()
        self.wfile.write(json.dumps(data).encode())

    do_GET = do_POST = answer

    def log_message(self, *_words: Any) -> None:
        return


@pytest.fixture
def localai() -> Iterator[FakeLocalAI]:
    """A LocalAI on the loopback."""
    server = FakeLocalAI()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
