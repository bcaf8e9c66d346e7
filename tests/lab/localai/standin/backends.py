"""Backends on disk: directories with a `run.sh`, found in the system path first and then in the backends path."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Iterator

from .errors import RequestError, StartError
from .settings import Settings

_LOAD_FAILED = "failed to load model with internal loader: "


def require_directory(settings: Settings) -> None:
    """Refuse to start without any directory in which a backend could be. Raises `StartError`."""
    system, own = Path(settings["BACKENDS_SYSTEM_PATH"]), Path(settings["BACKENDS_PATH"])
    if not system.is_dir() and not any(_directories(own)):
        raise StartError(
            f"LocalAI failed to start: no backends directory: {system} is missing and {own} holds no backend; mount one "
            "(LocalAI itself would start and fail at the first request)"
        )


def _directories(path: Path) -> Iterator[Path]:
    try:
        found = sorted(path.iterdir())
    except OSError:
        return
    yield from (item for item in found if item.is_dir() and (_there(item / "run.sh") or _there(item / "metadata.json")))


def _there(path: Path) -> bool:
    """Whether `path` exists and this user may see it."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def names(settings: Settings) -> list[str]:
    """Names of all backends that can be started."""
    return sorted(_scripts(settings))


def _scripts(settings: Settings) -> dict[str, Path]:
    """run.sh by backend name: directory name, and the alias or meta name that its metadata gives."""
    found: dict[str, Path] = {}
    for root in (Path(settings["BACKENDS_SYSTEM_PATH"]), Path(settings["BACKENDS_PATH"])):
        for directory in _directories(root):
            about = _metadata(directory)
            script = (root / about["meta_backend_for"] if about.get("meta_backend_for") else directory) / "run.sh"
            if _there(script):
                found.setdefault(directory.name, script)
                found.setdefault(about.get("alias") or directory.name, script)
    return found


def _metadata(directory: Path) -> dict[str, str]:
    try:
        return json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def run_script(settings: Settings, backend: str) -> Path:
    """The executable run.sh of `backend`. Raises `RequestError` as LocalAI words it."""
    script = _scripts(settings).get(backend)
    if script is None:
        raise RequestError(500, f"{_LOAD_FAILED}backend not found: {backend}")
    if not script.stat().st_mode & 0o111:
        try:
            os.chmod(script, 0o700)
        except OSError as problem:
            raise RequestError(500, f"{_LOAD_FAILED}chmod {script}: {(problem.strerror or '').lower()}") from problem
    return script
