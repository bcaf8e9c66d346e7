"""A `docker` command of the test's own."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest


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
