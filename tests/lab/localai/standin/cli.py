"""The command line: `run` and nothing else. Starts, serves, and stops as LocalAI does."""
from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Sequence

from . import VERSION, backends, log, process, routes, settings
from .configs import ConfigError
from .errors import RequestError, StartError
from .keys import Keys
from .service import Service
from .settings import Settings
from .web import Server


def main(words: Sequence[str]) -> int:
    """Run one command; the exit status."""
    try:
        if list(words) not in ([], ["run"]):
            raise StartError(
                f"local-ai: error: {' '.join(words)!r}: this stand-in of LocalAI has the command run only, without flags "
                "(LocalAI itself would take an unknown word as a model to install)"
            )
        return serve(settings.load(os.environ))
    except StartError as problem:
        print(problem, file=sys.stderr, flush=True)
        return problem.code


def serve(found: Settings) -> int:
    """Prepare everything, listen, and stop at SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    log.configure(found["LOG_LEVEL"], found["LOG_FORMAT"])
    log.info("LocalAI stand-in", version=VERSION, threads=found.threads, models_path=str(found.models))
    service = prepare(found)
    keys = Keys(found)
    server = listen(found, service, keys)
    keys.watch()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    log.info("LocalAI is started and running", address=found["ADDRESS"])
    stopping.wait()
    service.loader.shutdown_all()  # requests are still taken, as by the real server
    log.info("stopped")
    return 0


def prepare(found: Settings) -> Service:
    """Directories, model files and what is loaded before the port opens. Raises `StartError`."""
    try:
        process.writable_tmp()
    except OSError as problem:
        text = f'mkdir {problem.filename}: {(problem.strerror or "").lower()}'
        raise StartError(f'LocalAI failed to start: unable to create ImageDir: "{text}"') from problem
    backends.require_directory(found)
    _check_galleries(found)
    _note_data(Path(found["DATA_PATH"]))
    service = Service(found)
    try:
        service.catalog.read_all()
    except (ConfigError, OSError) as problem:
        raise StartError(f"LocalAI failed to start: {problem}") from problem
    service.loader.watch()
    if found.max_active != 1:
        _load_to_memory(found, service)
    return service


def _load_to_memory(found: Settings, service: Service) -> None:
    for name in found["LOAD_TO_MEMORY"]:
        try:
            config = service.catalog.configs().get(name)
            if config is None:
                raise StartError(f"LocalAI failed to start: error loading model {name} to memory: model not found")
            service.loader.get(config)
        except RequestError as problem:
            raise StartError(f"LocalAI failed to start: error loading model {name} to memory: {problem.message}") from problem


def _check_galleries(found: Settings) -> None:
    """Without `[]` LocalAI asks hosts of the internet at start; there is no network here, so the outcome is its warning."""
    for name in ("GALLERIES", "BACKEND_GALLERIES"):
        text = found[name]
        try:
            if text is None or json.loads(text):
                log.warn("gallery source unreachable", setting=f"LOCALAI_{name}")
        except ValueError:
            log.error("unable to parse galleries", setting=f"LOCALAI_{name}", value=text)


def _note_data(path: Path) -> None:
    """LocalAI keeps an id and traces here; without them it only warns."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".local_user_id").write_text("stand-in\n", encoding="utf-8")
        (path / "traces" / "api").mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        log.warn("failed to persist local user id; will regenerate next start", path=str(path / ".local_user_id"), error=str(problem))
        log.warn(f"Failed to initialize API trace persistence error=mkdir {path}/traces: {(problem.strerror or '').lower()}")


def listen(found: Settings, service: Service, keys: Keys) -> Server:
    """The HTTP server, its port open. Raises `StartError`."""
    try:
        return Server(found, keys, service.metrics, routes.table(service))
    except OSError as problem:
        raise StartError(f"LocalAI failed to start: listen tcp {found['ADDRESS']}: {problem.strerror}") from problem
