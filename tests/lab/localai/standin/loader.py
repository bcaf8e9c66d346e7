"""Loaded models: at most one engine process for each, with LocalAI's cooldown, eviction, watchdogs and way of stopping."""
from __future__ import annotations

import math
import threading
import time
from typing import Optional

from . import backends, log
from .configs import ModelConfig, engine_setup
from .errors import RequestError, not_found
from .options import arguments
from .process import STOP_WAIT, EngineProcess
from .settings import Settings

_MAX_COOLDOWN = 300.0  # seconds
_FORCED_EXIT = 15.0  # seconds that a real server still takes after it gave up on a busy model


class Loader:
    """Engine processes by model name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[str, tuple[EngineProcess, ModelConfig]] = {}
        self._failed: dict[str, tuple[float, float]] = {}  # name → (when, cooldown in seconds)
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def loaded(self) -> list[tuple[str, str]]:
        """(model, backend) of every loaded model."""
        with self._lock:
            return [(name, config.backend) for name, (process, config) in self._loaded.items()]

    def process(self, name: str) -> Optional[EngineProcess]:
        """The process of a loaded model."""
        with self._lock:
            found = self._loaded.get(name)
        return found[0] if found else None

    def config(self, name: str) -> Optional[ModelConfig]:
        """The configuration with which a loaded model was loaded."""
        with self._lock:
            found = self._loaded.get(name)
        return found[1] if found else None

    def get(self, config: ModelConfig) -> EngineProcess:
        """The process that serves `config`, started when there is none. Raises `RequestError`."""
        with self._lock:
            lock = self._locks.setdefault(config.name, threading.Lock())
        with lock:
            process = self.process(config.name)
            if process and process.believed_healthy():
                process.last_used = time.monotonic()
                return process
            if process:
                self._drop(config.name)
            return self._load(config)

    def _drop(self, name: str) -> None:
        with self._lock:
            self._loaded.pop(name, None)

    def _load(self, config: ModelConfig) -> EngineProcess:
        self._check_cooldown(config.name)
        script = backends.run_script(self._settings, config.backend)
        self._make_room(config.name)
        setup = engine_setup(config, self._settings)
        log.info(
            "effective runtime tuning", modelID=config.name, context=setup.context, n_batch=setup.batch, parallel=setup.options.text("parallel"),
            threads=setup.threads, flash_attention=setup.flash_attention, f16=bool(config.get("f16")),
        )
        process = EngineProcess(config.name, script, arguments(setup), self._settings.engine_environment)
        try:
            process.wait_ready()
        except RequestError as problem:
            self._note_failure(config.name)
            process.forget_files()
            raise RequestError(500, f"failed to load model with internal loader: could not load model: {problem.message}") from problem
        with self._lock:
            self._failed.pop(config.name, None)
            self._loaded[config.name] = (process, config)
        return process

    def _check_cooldown(self, name: str) -> None:
        when, cooldown = self._failed.get(name, (0.0, 0.0))
        left = when + cooldown - time.monotonic()
        if left > 0:
            seconds = math.ceil(left)
            text = f'model "{name}" load is in cooldown after a recent failure; retry after {seconds}s'
            raise RequestError(503, text, headers={"Retry-After": str(seconds)})

    def _note_failure(self, name: str) -> None:
        first = self._settings["MODEL_LOAD_FAILURE_COOLDOWN"]
        last = self._failed.get(name, (0.0, first / 2))[1]
        self._failed[name] = (time.monotonic(), min(last * 2, _MAX_COOLDOWN))

    def _make_room(self, coming: str) -> None:
        """Evict the least recently used model while the limit is reached; a busy one is waited for. Raises `RequestError`."""
        limit = self._settings.max_active
        for attempt in range(max(1, self._settings["LRU_EVICTION_MAX_RETRIES"])):
            with self._lock:
                others = sorted((item for item in self._loaded.values() if item[1].name != coming), key=lambda item: item[0].last_used)
            if not limit or len(others) < limit:
                return
            idle = [item for item in others if not item[0].busy or self._settings["FORCE_EVICTION_WHEN_BUSY"]]
            if idle:
                log.info("evicting least recently used model", model=idle[0][1].name)
                self._drop(idle[0][1].name)
                idle[0][0].stop(0.0)
            else:
                time.sleep(self._settings["LRU_EVICTION_RETRY_INTERVAL"])
        raise RequestError(500, "failed to load model with internal loader: all models busy, cannot evict")

    def shutdown(self, name: str) -> None:
        """Stop one model; unknown and not loaded are the same. A busy one is waited for, and requests that come meanwhile wait behind that;
        one that stays busy goes on. Raises `RequestError`."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            process = self.process(name)
            if process is None:
                raise not_found()
            if not self._settings["FORCE_BACKEND_SHUTDOWN"] and process.alive and not process.wait_idle(STOP_WAIT):
                raise RequestError(500, f"model is still busy: {name}: context deadline exceeded")
            process.stop(0.0)
            self._drop(name)

    def shutdown_all(self) -> None:
        """Stop every model, one after the other, as at the end of the server. Requests are still taken meanwhile."""
        forced = False
        for name, backend in self.loaded():
            process = self.process(name)
            if process and not process.stop(0.0 if self._settings["FORCE_BACKEND_SHUTDOWN"] else 30.0):
                log.error("error while shutting down application", error=f"model is still busy: {name}: context deadline exceeded")
                forced = True
            self._drop(name)
        if forced and not self._settings["FORCE_BACKEND_SHUTDOWN"]:
            time.sleep(_FORCED_EXIT)

    def watch(self) -> None:
        """Start the watchdogs that the settings ask for. Raises `StartError` on a bad duration."""
        idle = self._settings.watchdog("WATCHDOG_IDLE_TIMEOUT") if self._settings["WATCHDOG_IDLE"] else 0.0
        busy = self._settings.watchdog("WATCHDOG_BUSY_TIMEOUT") if self._settings["WATCHDOG_BUSY"] else 0.0
        if idle or busy:
            interval = self._settings.watchdog("WATCHDOG_INTERVAL")
            threading.Thread(target=self._watch, args=(idle, busy, interval), name="watchdog", daemon=True).start()

    def _watch(self, idle: float, busy: float, interval: float) -> None:
        pause = threading.Event()
        while not pause.wait(interval):
            for name, backend in self.loaded():
                process = self.process(name)
                if process and ((idle and process.idle_for > idle) or (busy and process.busy_for > busy)):
                    log.warn("watchdog stops a model", model=name)
                    self._drop(name)
                    process.stop(0.0)
