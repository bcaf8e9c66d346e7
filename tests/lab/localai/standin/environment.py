"""The environment of LocalAI v4.9: every `LOCALAI_*` variable by name, what kind of value it takes, and what this stand-in does with it.

Three kinds of support:
* used: obeyed as LocalAI does;
* inert: accepted; it changes nothing that can be seen without a GPU, a network or the web UI;
* absent: known to LocalAI, not built here; anything but its harmless value is refused, so that no test believes it was tried.
A variable `LOCALAI_*` that LocalAI does not know is refused too (LocalAI itself says nothing).
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping

from .errors import StartError

USED, INERT, ABSENT = "used", "inert", "absent"

_HARMLESS = {"", "false", "0", "[]", "{}"}


@dataclass(frozen=True)
class Variable:
    """One variable. `kind`: text, list, boolean, integer, number, duration, level, layout."""

    name: str
    kind: str
    default: Any
    support: str = USED
    aliases: tuple[str, ...] = ()
    lazy: bool = False  # checked only where it is used

    def read(self, environ: Mapping[str, str]) -> Any:
        """Its value, the default when it is unset or empty. Raises `StartError` on a bad value."""
        for name in (self.name, *self.aliases):
            if environ.get(name, "") != "":
                return environ[name] if self.lazy else parse(self, environ[name])
        return self.default


def _used(kind: str, default: Any, *names: str, lazy: bool = False) -> Variable:
    return Variable(names[0], kind, default, aliases=names[1:], lazy=lazy)


def _off(*names: str) -> list[Variable]:
    return [Variable(name, "text", "", ABSENT) for name in names]


_USED = [
    _used("level", "info", "LOCALAI_LOG_LEVEL"),
    _used("layout", "default", "LOCALAI_LOG_FORMAT"),
    _used("boolean", False, "LOCALAI_DEBUG", "DEBUG"),
    _used("text", "/models", "LOCALAI_MODELS_PATH", "MODELS_PATH"),
    _used("text", "/backends", "LOCALAI_BACKENDS_PATH", "BACKENDS_PATH"),
    _used("text", "/var/lib/local-ai/backends", "LOCALAI_BACKENDS_SYSTEM_PATH", "BACKEND_SYSTEM_PATH"),
    _used("text", "/data", "LOCALAI_DATA_PATH"),
    _used("text", "/configuration", "LOCALAI_CONFIG_DIR"),
    _used("duration", 0.0, "LOCALAI_CONFIG_DIR_POLL_INTERVAL"),
    _used("text", "", "LOCALAI_GENERATED_CONTENT_PATH", "GENERATED_CONTENT_PATH"),
    _used("text", "", "LOCALAI_UPLOAD_PATH", "UPLOAD_PATH"),
    _used("list", [], "LOCALAI_LOAD_TO_MEMORY", "LOAD_TO_MEMORY"),
    _used("text", None, "LOCALAI_GALLERIES", "GALLERIES"),
    _used("text", None, "LOCALAI_BACKEND_GALLERIES", "BACKEND_GALLERIES"),
    _used("integer", 0, "LOCALAI_THREADS", "THREADS"),
    _used("integer", 0, "LOCALAI_CONTEXT_SIZE", "CONTEXT_SIZE"),
    _used("boolean", False, "LOCALAI_F16", "F16"),
    _used("integer", 0, "LOCALAI_MAX_ACTIVE_BACKENDS"),
    _used("boolean", False, "LOCALAI_SINGLE_ACTIVE_BACKEND", "SINGLE_ACTIVE_BACKEND"),
    _used("boolean", False, "LOCALAI_FORCE_EVICTION_WHEN_BUSY"),
    _used("integer", 30, "LOCALAI_LRU_EVICTION_MAX_RETRIES"),
    _used("duration", 1.0, "LOCALAI_LRU_EVICTION_RETRY_INTERVAL"),
    _used("boolean", False, "LOCALAI_WATCHDOG_IDLE", "WATCHDOG_IDLE"),
    _used("duration", "15m", "LOCALAI_WATCHDOG_IDLE_TIMEOUT", "WATCHDOG_IDLE_TIMEOUT", lazy=True),
    _used("boolean", False, "LOCALAI_WATCHDOG_BUSY", "WATCHDOG_BUSY"),
    _used("duration", "5m", "LOCALAI_WATCHDOG_BUSY_TIMEOUT", "WATCHDOG_BUSY_TIMEOUT", lazy=True),
    _used("duration", "500ms", "LOCALAI_WATCHDOG_INTERVAL", lazy=True),
    _used("duration", 10.0, "LOCALAI_MODEL_LOAD_FAILURE_COOLDOWN"),
    _used("integer", 1024, "LOCALAI_MAX_CONCURRENT_BACKEND_REQUESTS"),
    _used("text", ":8080", "LOCALAI_ADDRESS", "ADDRESS"),
    _used("list", [], "LOCALAI_API_KEY", "API_KEY"),
    _used("integer", 15, "LOCALAI_UPLOAD_LIMIT", "UPLOAD_LIMIT"),
    _used("boolean", False, "LOCALAI_DISABLE_HTTP_COMPRESSION"),
    _used("integer", 1024, "LOCALAI_HTTP_COMPRESSION_MIN_LENGTH"),
    _used("boolean", False, "LOCALAI_DISABLE_WEBUI", "DISABLE_WEBUI"),
    _used("boolean", False, "LOCALAI_DISABLE_GALLERY_ENDPOINT", "DISABLE_GALLERY_ENDPOINT"),
    _used("boolean", False, "LOCALAI_DISABLE_RUNTIME_SETTINGS"),
    _used("boolean", False, "LOCALAI_DISABLE_METRICS_ENDPOINT", "DISABLE_METRICS_ENDPOINT"),
    _used("boolean", False, "LOCALAI_DISABLE_MCP"),
    _used("boolean", False, "LOCALAI_OPAQUE_ERRORS"),
    _used("text", "", "LOCALAI_MACHINE_TAG", "MACHINE_TAG"),
    _used("boolean", False, "LOCALAI_FORCE_BACKEND_SHUTDOWN"),
    _used("boolean", False, "LOCALAI_DISABLE_GUESSING"),
]

_INERT = [
    Variable(name, kind, default, INERT, aliases)
    for kind, default, name, *aliases in [
        ("text", "", "LOCALAI_LOG_DEDUP"),
        ("boolean", True, "LOCALAI_AUTOLOAD_GALLERIES"),
        ("boolean", True, "LOCALAI_AUTOLOAD_BACKEND_GALLERIES"),
        ("text", "latest", "LOCALAI_BACKEND_IMAGES_RELEASE_TAG"),
        ("text", "master", "LOCALAI_BACKEND_IMAGES_BRANCH_TAG"),
        ("text", "development", "LOCALAI_BACKEND_DEV_SUFFIX"),
        ("boolean", False, "LOCALAI_AUTO_UPGRADE_BACKENDS"),
        ("boolean", False, "LOCALAI_PREFER_DEV_BACKENDS"),
        ("integer", 1, "LOCALAI_ARTIFACT_DOWNLOAD_CONCURRENCY"),
        ("boolean", False, "LOCALAI_SIZE_AWARE_EVICTION"),
        ("boolean", False, "LOCALAI_ALLOW_INSECURE_PUBLIC_BIND"),
        ("boolean", False, "LOCALAI_CORS", "CORS"),
        ("text", "", "LOCALAI_CORS_ALLOW_ORIGINS", "CORS_ALLOW_ORIGINS"),
        ("boolean", False, "LOCALAI_DISABLE_CSRF"),
        ("boolean", False, "LOCALAI_DISABLE_ASSISTANT"),
        ("boolean", False, "LOCALAI_DISABLE_AGENTS"),
        ("boolean", False, "LOCALAI_SUBTLE_KEY_COMPARISON"),
        ("boolean", False, "LOCALAI_DISABLE_PREDOWNLOAD_SCAN"),
        ("boolean", False, "LOCALAI_REQUIRE_BACKEND_INTEGRITY"),
        ("text", "", "LOCALAI_BASE_URL"),
        ("integer", 1024, "LOCALAI_TRACING_MAX_ITEMS"),
        ("integer", 65536, "LOCALAI_TRACING_MAX_BODY_BYTES"),
        ("integer", 30, "LOCALAI_AGENT_JOB_RETENTION_DAYS"),
        ("duration", 0.0, "LOCALAI_OPEN_RESPONSES_STORE_TTL"),
        ("boolean", False, "LOCALAI_DISABLE_HARDWARE_DEFAULTS"),
        ("integer", 300, "LOCALAI_VRAM_WARM_LIMIT"),
        ("integer", 4, "LOCALAI_VRAM_WARM_CONCURRENCY"),
        ("text", "", "LOCALAI_FORCE_META_BACKEND_CAPABILITY"),
        ("text", "", "LOCALAI_FORCE_META_BACKEND_CAPABILITY_RUN_FILE"),
        ("boolean", True, "LOCALAI_BACKEND_PARENT_WATCH"),
        ("duration", 0.0, "LOCALAI_BACKEND_PARENT_WATCH_INTERVAL"),
        ("integer", 0, "LOCALAI_PARALLEL_REQUESTS"),
        ("integer", 360, "LOCALAI_P2P_DHT_INTERVAL"),
        ("integer", 9000, "LOCALAI_P2P_OTP_INTERVAL"),
        ("boolean", False, "LOCALAI_P2P_DISABLE_DHT"),
        ("text", "", "LOCALAI_P2P_LOGLEVEL"),
        ("text", "", "LOCALAI_P2P_LIB_LOGLEVEL"),
        ("boolean", False, "LOCALAI_P2P_ENABLE_LIMITS"),
        ("text", "", "LOCALAI_WEBRTC_NAT_1TO1_IPS"),
        ("text", "", "LOCALAI_WEBRTC_ICE_INTERFACES"),
        ("integer", 0, "LOCALAI_WEBRTC_UDP_PORT"),
    ]
]

_ABSENT = [
    # installing things from a network
    *_off("LOCALAI_MODELS_CONFIG_FILE", "LOCALAI_MODELS", "LOCALAI_PRELOAD_MODELS", "LOCALAI_PRELOAD_MODELS_CONFIG", "LOCALAI_PRELOAD_BACKEND_ONLY"),
    *_off("LOCALAI_EXTERNAL_BACKENDS", "LOCALAI_EXTERNAL_GRPC_BACKENDS", "LOCALAI_PREFETCH_MODELS"),
    # guards that need a GPU or count the host's memory
    *_off("LOCALAI_MEMORY_RECLAIMER", "LOCALAI_GPU_RECLAIMER", "LOCALAI_MEMORY_RECLAIMER_THRESHOLD", "LOCALAI_VRAM_BUDGET"),
    # features of the API
    *_off("LOCALAI_ENABLE_TRACING", "LOCALAI_OLLAMA_API_ROOT_ENDPOINT", "LOCALAI_MITM_LISTEN", "LOCALAI_MITM_CA_DIR", "LOCALAI_PII_DEFAULT_DETECTORS"),
    *_off("LOCALAI_DISABLE_API_KEY_REQUIREMENT_FOR_HTTP_GET", "LOCALAI_HTTP_GET_EXEMPTED_ENDPOINTS", "LOCALAI_CSRF"),
    # users
    *_off("LOCALAI_AUTH", "LOCALAI_AUTH_DATABASE_URL", "LOCALAI_AUTH_HMAC_SECRET", "LOCALAI_ADMIN_EMAIL", "LOCALAI_REGISTRATION_MODE"),
    *_off("LOCALAI_OIDC_ISSUER", "LOCALAI_OIDC_CLIENT_ID", "LOCALAI_OIDC_CLIENT_SECRET", "LOCALAI_DISABLE_LOCAL_AUTH", "LOCALAI_DEFAULT_API_KEY_EXPIRY"),
    # peers and federation
    *_off("LOCALAI_P2P", "LOCALAI_P2P_TOKEN", "LOCALAI_P2P_NETWORK_ID", "LOCALAI_P2P_BOOTSTRAP_PEERS_MADDRS", "LOCALAI_P2P_LISTEN_MADDRS"),
    *_off("LOCALAI_P2P_DHT_ANNOUNCE_MADDRS", "LOCALAI_FEDERATED", "LOCALAI_RANDOM_WORKER", "LOCALAI_TARGET_WORKER"),
    *_off("LOCALAI_POOL_DATABASE", "LOCALAI_CONNECTION_TIMEOUT", "LOCALAI_CONNECTION_ERROR_THRESHOLD", "LOCALAI_WITH_SYNC", "LOCALAI_ONLY_SYNC"),
    *_off("LOCALAI_TOKEN", "LOCALAI_NO_RUNNER", "LOCALAI_RUNNER_ADDRESS", "LOCALAI_RUNNER_PORT", "LOCALAI_EXTRA_LLAMA_CPP_ARGS", "LOCALAI_EXTRA_DS4_ARGS"),
    # distributed mode
    *_off("LOCALAI_DISTRIBUTED", "LOCALAI_DISTRIBUTED_REQUIRE_AUTH", "LOCALAI_DISTRIBUTED_SHARED_MODELS", "LOCALAI_DISTRIBUTED_PREFIX_CACHE"),
    *_off("LOCALAI_DISTRIBUTED_PREFIX_CACHE_TTL", "LOCALAI_DISTRIBUTED_DISK_HEADROOM_CHECK", "LOCALAI_INSTANCE_ID", "LOCALAI_EXPOSE_NODE_HEADER"),
    *_off("LOCALAI_NATS_URL", "LOCALAI_NATS_REQUIRE_AUTH", "LOCALAI_NATS_ACCOUNT_SEED", "LOCALAI_NATS_SERVICE_JWT", "LOCALAI_NATS_SERVICE_SEED"),
    *_off("LOCALAI_NATS_WORKER_JWT_TTL", "LOCALAI_NATS_TLS_CA", "LOCALAI_NATS_TLS_CERT", "LOCALAI_NATS_TLS_KEY"),
    *_off("LOCALAI_NATS_BACKEND_INSTALL_TIMEOUT", "LOCALAI_NATS_BACKEND_UPGRADE_TIMEOUT", "LOCALAI_NATS_MODEL_LOAD_TIMEOUT", "LOCALAI_MODEL_LOAD_WAIT"),
    *_off("LOCALAI_STORAGE_URL", "LOCALAI_STORAGE_BUCKET", "LOCALAI_STORAGE_REGION", "LOCALAI_STORAGE_ACCESS_KEY", "LOCALAI_STORAGE_SECRET_KEY"),
    *_off("LOCALAI_MODEL_SCHEDULING", "LOCALAI_MODEL_SCHEDULING_CONFIG", "LOCALAI_AUTO_APPROVE_NODES", "LOCALAI_REGISTRATION_TOKEN"),
    *_off("LOCALAI_REGISTRATION_REQUIRE_AUTH", "LOCALAI_REGISTER_TO", "LOCALAI_ADDR", "LOCALAI_SERVE_ADDR", "LOCALAI_ADVERTISE_ADDR"),
    *_off("LOCALAI_ADVERTISE_HTTP_ADDR", "LOCALAI_HTTP_ADDR", "LOCALAI_GRPC_MAX_PORT", "LOCALAI_NODE_NAME", "LOCALAI_NODE_LABELS"),
    *_off("LOCALAI_MAX_REPLICAS_PER_MODEL", "LOCALAI_HEARTBEAT_INTERVAL", "LOCALAI_GRPC_AUTH_TOKEN"),
    *_off("LOCALAI_FILE_TRANSFER_TIMEOUT", "LOCALAI_FILE_TRANSFER_RETRIES"),
    # agents and training
    *_off("LOCALAI_AGENT_HUB_URL", "LOCALAI_API_URL", "LOCALAI_API_TOKEN", "LOCALAI_MCP_CI_JOB_TIMEOUT"),
    *_off("LOCALAI_DATASET_DIR", "LOCALAI_TRL_ALLOW_INLINE_REWARD"),
]

_PREFIXES_ABSENT = ("LOCALAI_AGENT_POOL_",)

VARIABLES: dict[str, Variable] = {variable.name: variable for variable in (*_USED, *_INERT, *_ABSENT)}

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_TRUE, _FALSE = {"true", "1", "yes", "y", "on"}, {"false", "0", "no", "n", "off"}


def duration(text: str) -> float:
    """Seconds of a duration such as `1m30s`. Raises `ValueError`."""
    if text == "0":
        return 0.0
    if not text or _DURATION.sub("", text):
        raise ValueError(f"time: invalid duration {text!r}")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _DURATION.findall(text))


def parse(variable: Variable, text: str) -> Any:
    """The value of `variable` from its text. Raises `StartError` with LocalAI's exit status."""
    flag = variable.name.replace("LOCALAI_", "").lower().replace("_", "-")
    try:
        return _PARSERS[variable.kind](text)
    except ValueError as problem:
        raise StartError(f"local-ai: error: --{flag}: {problem} (environment variable {variable.name})", 80 if variable.kind == "level" else 1) from None


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"bool value must be true, 1, yes, false, 0 or no but got {text!r}")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a valid 64 bit int but got {text!r}") from None


def _one_of(*allowed: str) -> Any:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)} but got {text!r}")
        return text

    return read


_PARSERS: dict[str, Any] = {
    "text": str,
    "list": lambda text: [item for item in text.split(",") if item],
    "boolean": _boolean,
    "integer": _integer,
    "duration": duration,
    "level": _one_of("error", "warn", "info", "debug", "trace"),
    "layout": _one_of("default", "text", "json"),
}


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Value of every used variable by name. Raises `StartError` on unknown, absent and bad ones."""
    for name in sorted(environ):
        if name.startswith("LOCALAI_"):
            _check(name, environ[name])
    return {variable.name: variable.read(environ) for variable in VARIABLES.values() if variable.support != ABSENT}


def _check(name: str, text: str) -> None:
    variable = VARIABLES.get(name)
    absent = (variable is not None and variable.support == ABSENT) or (variable is None and name.startswith(_PREFIXES_ABSENT))
    if variable is None and not absent:
        raise StartError(f"local-ai: error: environment variable {name} is unknown to LocalAI v4.9; correct its name or remove it")
    if absent and text.lower() not in _HARMLESS:
        raise StartError(f"local-ai: error: {name} is known to LocalAI v4.9, but this stand-in has no such feature; it takes the real image")
