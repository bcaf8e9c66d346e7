"""What the server runs with: the environment, and `runtime_settings.json` where the environment says nothing."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from . import environment, log
from .environment import duration
from .errors import StartError

# runtime_settings.json → the variable that wins over it when it is set to something else than its default.
_RUNTIME = {
    "threads": "LOCALAI_THREADS",
    "context_size": "LOCALAI_CONTEXT_SIZE",
    "max_active_backends": "LOCALAI_MAX_ACTIVE_BACKENDS",
    "single_backend": "LOCALAI_SINGLE_ACTIVE_BACKEND",
    "force_eviction_when_busy": "LOCALAI_FORCE_EVICTION_WHEN_BUSY",
    "watchdog_idle_enabled": "LOCALAI_WATCHDOG_IDLE",
    "watchdog_busy_enabled": "LOCALAI_WATCHDOG_BUSY",
}
# Seen on a real server: for these the file wins even when the variable is set.
_RUNTIME_WINS = {
    "watchdog_idle_timeout": "LOCALAI_WATCHDOG_IDLE_TIMEOUT",
    "watchdog_busy_timeout": "LOCALAI_WATCHDOG_BUSY_TIMEOUT",
    "watchdog_interval": "LOCALAI_WATCHDOG_INTERVAL",
}
_RUNTIME_INERT = {
    "watchdog_enabled", "auto_upgrade_backends", "prefer_development_backends", "memory_reclaimer_enabled", "memory_reclaimer_threshold",
    "size_aware_eviction", "lru_eviction_max_retries", "lru_eviction_retry_interval", "artifact_download_concurrency", "vram_budget", "f16",
    "debug", "enable_tracing", "tracing_max_items", "tracing_max_body_bytes", "enable_backend_logging", "cors", "csrf", "cors_allow_origins",
    "p2p_token", "p2p_network_id", "federated", "galleries", "backend_galleries", "autoload_galleries", "autoload_backend_galleries",
    "open_responses_store_ttl", "mitm_listen", "pii_default_detectors",
}


@dataclass(frozen=True)
class Settings:
    """Read once at start. Durations in seconds, sizes in bytes."""

    values: Mapping[str, Any]
    engine_environment: Mapping[str, str]
    runtime_keys: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values["LOCALAI_" + name]

    @property
    def models(self) -> Path:
        return Path(self["MODELS_PATH"])

    @property
    def configuration(self) -> Path:
        return Path(self["CONFIG_DIR"])

    @property
    def threads(self) -> int:
        """Threads of a model whose file names none: the setting, else the physical cores of the machine (not of the container)."""
        return self["THREADS"] if self["THREADS"] > 0 else physical_cores()

    @property
    def max_active(self) -> int:
        """Models that may be loaded at once; 0: any number."""
        return 1 if self["SINGLE_ACTIVE_BACKEND"] else max(0, self["MAX_ACTIVE_BACKENDS"])

    @property
    def body_limit(self) -> int:
        """Bytes of a request body (the framework counts a megabyte as 1,000,000)."""
        return self["UPLOAD_LIMIT"] * 1_000_000

    @property
    def address(self) -> tuple[str, int]:
        host, port = self["ADDRESS"].rpartition(":")[::2]
        return host or "0.0.0.0", int(port)

    def watchdog(self, name: str) -> float:
        """Seconds of one of the watchdog's durations, checked only when a watchdog runs. Raises `StartError`."""
        try:
            return duration(str(self[name]))
        except ValueError as problem:
            raise StartError(f"LocalAI failed to start: {problem}") from None


def load(environ: Mapping[str, str]) -> Settings:
    """The settings of this start. Raises `StartError`."""
    values = environment.read(environ)
    if values["LOCALAI_DEBUG"] and values["LOCALAI_LOG_LEVEL"] == "info":
        values["LOCALAI_LOG_LEVEL"] = "debug"
    keys = _merge_runtime(values, Path(values["LOCALAI_CONFIG_DIR"]) / "runtime_settings.json")
    engine = {name: value for name, value in environ.items() if not name.startswith(("LLAMA_ARG_", "LOCALAI_"))}
    return Settings(values, engine, keys)


def _merge_runtime(values: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Let the file set what the environment left at its default; the keys it adds."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as problem:
        log.error("failed reading runtime_settings.json", path=str(path), error=str(problem))
        return ()
    for key, value in found.items():
        if key in _RUNTIME_WINS:
            values[_RUNTIME_WINS[key]] = value
        elif key in _RUNTIME:
            if values[_RUNTIME[key]] == environment.VARIABLES[_RUNTIME[key]].default:
                values[_RUNTIME[key]] = value
        elif key != "api_keys" and key not in _RUNTIME_INERT and not key.startswith("agent_"):
            raise StartError(f"LocalAI failed to start: {path}: unknown key {key!r}")
    return tuple(found.get("api_keys") or ())


def physical_cores() -> int:
    """Cores of the machine by its topology, whatever the container may use."""
    cores = set()
    for cpu in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        try:
            cores.add(((cpu / "physical_package_id").read_text(), (cpu / "core_id").read_text()))
        except OSError:
            continue
    return len(cores) or os.cpu_count() or 1
