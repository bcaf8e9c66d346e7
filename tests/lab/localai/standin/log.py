"""Log lines on standard output, as text or as JSON objects."""
from __future__ import annotations

import json
import sys
import threading
import time

LEVELS = ("error", "warn", "info", "debug", "trace")

_lock = threading.Lock()
_state = {"level": LEVELS.index("info"), "format": "default"}


def configure(level: str, layout: str) -> None:
    """Set the threshold (one of `LEVELS`) and the layout (default, text, json)."""
    _state.update(level=LEVELS.index(level), format=layout)


def write(level: str, message: str, **fields: object) -> None:
    """One line, when `level` is at or above the threshold."""
    if LEVELS.index(level) > int(_state["level"]):
        return
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if _state["format"] == "json":
        line = json.dumps({"time": stamp, "level": level.upper(), "msg": message, **fields}, default=str)
    else:
        line = " ".join([stamp, level.upper().ljust(5), message, *(f"{key}={json.dumps(value, default=str)}" for key, value in fields.items())])
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def info(message: str, **fields: object) -> None:
    """A line at level info."""
    write("info", message, **fields)


def warn(message: str, **fields: object) -> None:
    """A line at level warn."""
    write("warn", message, **fields)


def error(message: str, **fields: object) -> None:
    """A line at level error."""
    write("error", message, **fields)


def debug(message: str, **fields: object) -> None:
    """A line at level debug."""
    write("debug", message, **fields)
