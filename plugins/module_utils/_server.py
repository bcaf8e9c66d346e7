# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A running LocalAI: its container, and what is asked of it with the admin key. Standard library only."""
from __future__ import annotations

import http.client
import json
import time
from datetime import datetime, timezone
from typing import Any, Callable, Collection, Mapping, Optional, Sequence

from ._cgroup import Tree, group_memory, own_groups
from ._errors import FleetError
from ._reload import Known, Running

Run = Callable[[Sequence[str]], tuple[int, str, str]]

ASK_SECONDS = 60.0  # stopping a busy engine waits for its answers for up to 30 seconds
ANSWER_BYTES = 16 << 20
SETTLE_SECONDS = 3.0
"""A request that read a name just before it moved has reached its engine after that time; with one second a stream was cut once, on two busy cores."""

SPARE_BYTES = 32 << 20  # for what grows while a second engine starts


def moment(text: str) -> float:
    """The engine's time stamp, with up to nine decimals, in seconds since 1970."""
    whole, _dot, fraction = text.rstrip("Z").partition(".")
    start = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return start.timestamp() + float(f"0.{fraction or 0}")


def find(run: Run, name: str) -> Optional[tuple[Running, str]]:
    """The running container of this name and its address on its first network, or None."""
    code, out, _err = run(["docker", "inspect", "--type", "container", name])
    found = json.loads(out)[0] if code == 0 else None
    if not found or not found["State"]["Running"]:
        return None
    networks = (found["NetworkSettings"].get("Networks") or {}).values()
    address = next((network["IPAddress"] for network in networks if network.get("IPAddress")), "")
    state, limit = found["State"], (found.get("HostConfig") or {}).get("Memory") or 0
    return Running(name, found["Id"], state["StartedAt"], moment(state["StartedAt"]), state.get("Pid") or 0, limit), address


def room(running: Running, tree: Tree) -> Optional[int]:
    """Bytes of memory that cannot be dropped for which the container has room beside what it holds; None is unlimited or unknown."""
    groups = own_groups(tree, "memory", str(running.pid)) if running.pid else []
    used = next((found for found in (group_memory(tree, path) for path in groups) if found), None)
    return running.memory_limit - used.anonymous - SPARE_BYTES if running.memory_limit and used else None


class Server:
    """LocalAI in the container `name`, asked at `address`. FleetError when it does not answer as it must; the key is in none."""

    headers: Mapping[str, str] = {}
    """Sent with every request."""

    def __init__(self, name: str, address: str, port: int, key: str, sleep: Callable[[float], None] = time.sleep,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.address, self.port = name, address, port
        self._key, self._sleep, self._clock = key, sleep, clock
        self.advice = f"Look at docker logs {name}."

    def ask(self, method: str, path: str, body: Any = None, timeout: float = ASK_SECONDS) -> tuple[int, Any]:
        """Status and JSON (None for anything else) of one request."""
        link = http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **self.headers}
        try:
            link.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
            answer = link.getresponse()
            text = answer.read(ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise FleetError("LocalAI does not answer", f"container {self.name}, {path}", str(error) or type(error).__name__, self.advice) from error
        finally:
            link.close()
        if len(text) > ANSWER_BYTES:
            raise FleetError("LocalAI's answer is too long", f"container {self.name}, {path}", f"more than {ANSWER_BYTES} bytes", self.advice)
        try:
            return answer.status, json.loads(text or b"null")
        except ValueError:
            return answer.status, None

    def await_ready(self, seconds: float) -> None:
        """Wait until it is ready."""
        end = self._clock() + seconds
        while self._clock() < end:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except FleetError:
                pass
            self._sleep(0.5)
        raise FleetError("LocalAI was not ready in time", f"container {self.name}", f"{seconds:.0f} s", self.advice)

    def known(self) -> Known:
        """What it lists, what its aliases point to, what is loaded."""
        aliases = {entry["name"]: entry["target"] for entry in self._got("/api/aliases") or []}
        listed = frozenset(entry["id"] for entry in (self._got("/v1/models") or {}).get("data") or [])
        return Known(listed, aliases, self.loaded())

    def loaded(self) -> frozenset[str]:
        """Names of the loaded models."""
        return frozenset(entry["id"] for entry in (self._got("/system") or {}).get("loaded_models") or [])

    def _got(self, path: str) -> Any:
        status, data = self.ask("GET", path)
        if status != 200:
            raise self._refused("LocalAI does not tell what it serves", path, status, data)
        return data

    def _refused(self, what: str, place: str, status: int, data: Any) -> FleetError:
        said = data.get("error", data.get("message", "")) if isinstance(data, Mapping) else ""
        text = said.get("message", "") if isinstance(said, Mapping) else said
        got = f"status {status}{': ' if text else ''}{str(text)[:400]}"
        return FleetError(what, f"container {self.name}, {place}", got, self.advice)

    def reload(self) -> None:
        """Have it read its settings folder: adds and overwrites."""
        status, data = self.ask("POST", "/models/reload", {})
        if status != 200:
            raise self._refused("LocalAI refused to take its new settings", "/models/reload", status, data)

    def load(self, name: str, seconds: float) -> None:
        """Load a revision, whose settings it reads from its folder when it does not know them yet, and wait for it."""
        status, data = self.ask("POST", "/backend/load", {"model": name}, seconds)
        if status != 200:
            raise self._refused("A model does not load", name, status, data)

    def stop(self, names: Collection[str], seconds: float) -> None:
        """Stop the engines of these revisions, each when it is idle, and again one that a late request started anew."""
        end = self._clock() + seconds
        left = frozenset(names) & self.loaded()
        while left:
            for name in sorted(left):
                status, data = self.ask("POST", "/backend/shutdown", {"model": name})
                if status not in (200, 404, 500):  # 404: not loaded, 500: busy for longer than it waits
                    raise self._refused("LocalAI does not stop a model", name, status, data)
            if self._clock() > end:
                raise FleetError("A model is still busy, so it was not stopped", f"container {self.name}, {', '.join(sorted(left))}", f"{seconds:g} s",
                                 "Run again when its answers have ended; the new one serves already.")
            self._sleep(0.2)
            left = frozenset(names) & self.loaded()

    def forget(self, name: str) -> None:
        """Drop a name from its memory. Its file is gone and the folder is read-only for LocalAI, so it has nothing to delete."""
        self.ask("POST", f"/models/delete/{name}", {})

    def settle(self) -> None:
        """Wait for requests that read a name before it moved."""
        self._sleep(SETTLE_SECONDS)
