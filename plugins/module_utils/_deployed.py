# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What our own containers hold of a host's memory and cores: a new plan may use it again.

Which containers are ours stands in the store's `state/instances.json`, written by the localai role.
"""
from __future__ import annotations

import json
import re
from typing import Any, Optional

from ._cgroup import GroupMemory, Tree, container_group, group_memory, to_int

TICKS = 100  # a second has as many in /proc/PID/stat on every architecture (USER_HZ)
MAX_JSON_BYTES = 2 * 1024 * 1024  # what a host keeps of a plan with forty models is a tenth of it
MAX_CONTAINERS = 64
MAX_PROCESSES = 64
MAX_THREADS = 1024


def read_json(tree: Tree, path: str) -> Any:
    """What a JSON file holds; None without a file, False when it is damaged or has numbers that JSON does not have."""
    text = tree.read(path, MAX_JSON_BYTES)
    try:
        data = None if text is None else json.loads(text)
        json.dumps(data, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return data


def own_groups(tree: Tree, store: str) -> list[str]:
    """The memory groups of our running containers."""
    data = read_json(tree, f"{store}/state/instances.json")
    listed = data.get("instances") if isinstance(data, dict) else None
    ids = [entry.get("container_id") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    safe = [name for name in ids if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{12,64}", name)]
    groups = [container_group(tree, name) for name in list(dict.fromkeys(safe))[:MAX_CONTAINERS]]
    return [path for path in groups if path is not None]


def own_memory(tree: Tree, groups: list[str]) -> list[GroupMemory]:
    """What each of the groups holds."""
    return [memory for memory in (group_memory(tree, path) for path in groups) if memory is not None]


def other_load(tree: Tree, groups: list[str]) -> Optional[float]:
    """Cores that programs other than our containers keep busy, or None when no file tells.

    The smaller of the load averages of one and of five minutes (a burst or an old load alone is no neighbour), less our own
    part: the threads that run or wait for a core now, or the cores that our processes used in their lifetime, whichever is more.
    """
    words = (tree.read("/proc/loadavg") or "").split()[:2]
    if len(words) < 2 or not all(re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", word) for word in words):
        return None
    loads = [float(word) for word in words]
    own = sum(_busy(tree, path) for path in groups)
    return round(max(0.0, min(loads) - own), 2)


def _busy(tree: Tree, group: str) -> float:
    lines = (tree.read(f"{group}/cgroup.procs") or "").split()[:MAX_PROCESSES]
    pids = [pid for pid in lines if re.fullmatch(r"[0-9]{1,9}", pid)]
    return max(float(sum(_running(tree, pid) for pid in pids)), sum(_mean(tree, pid) for pid in pids))


def _stat(tree: Tree, path: str) -> list[str]:
    """State and what follows it; the name before it may hold blanks and brackets."""
    return (tree.read(path) or "").rpartition(")")[2].split()


def _running(tree: Tree, pid: str) -> int:
    threads = tree.names(f"/proc/{pid}/task")[:MAX_THREADS]
    return sum(_stat(tree, f"/proc/{pid}/task/{thread}/stat")[:1] == ["R"] for thread in threads)


def _mean(tree: Tree, pid: str) -> float:
    """Cores that a process used on average since it started."""
    fields = _stat(tree, f"/proc/{pid}/stat")
    user, system, started = (to_int(field) for field in (fields[11:13] + fields[19:20])) if len(fields) > 19 else (None,) * 3
    uptime = to_int((tree.read("/proc/uptime") or "").partition(".")[0])
    if user is None or system is None or started is None or uptime is None:
        return 0.0
    return max(0, user + system) / max(TICKS, uptime * TICKS - started)
