"""What the tests of interruptions share: the hub's switches and log, waiting for a condition, killing a run."""
from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from conftest import ROOT, STATE, command, environment, groups


def hub(path: str, body: Any = None, method: str = "") -> Any:
    """Ask the lab's hub: `GET /__requests__`, `DELETE /__requests__`, `PUT /__switch__`."""
    address = groups()["variables"][groups()["localai_server"][0]]["models_hub_endpoint"]
    request = urllib.request.Request(
        address + path, data=None if body is None else json.dumps(body).encode(),
        method=method or ("GET" if body is None else "PUT"), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20, context=ssl.create_default_context(cafile=STATE / "ca.crt")) as answer:
        return json.loads(answer.read() or b"null")


def until(true: Callable[[], Any], seconds: float = 90) -> Any:
    """The first truthy value, polled; AssertionError when none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"nothing came within {seconds} seconds")


@contextmanager
def started(name: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A playbook run in a process group of its own; what is left of it is killed at the end."""
    with subprocess.Popen(
        command(name, *more), cwd=ROOT, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of the run and of everything it started on the controller."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(timeout=20)
