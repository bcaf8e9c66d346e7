# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a running container is: its limits and hardening as the engine tells them, its use as the kernel counts it.

Of the environment two numbers are returned, LOCALAI_THREADS and LOCALAI_MAX_ACTIVE_BACKENDS: other values may be secrets.
"""
from __future__ import annotations

import os
import re
from typing import Any, Mapping, Optional, Sequence

from ._cgroup import MAX_LIST_BYTES, Tree, group_memory, own_groups, pairs, to_int

THREADS = "LOCALAI_THREADS="
MAX_ACTIVE = "LOCALAI_MAX_ACTIVE_BACKENDS="
PROCESSES = 64  # more are not listed
_ALIAS = re.compile(r"""^alias: ["']?(?P<to>[^"'\n]+)""", re.MULTILINE)
_FILE = re.compile(r"""^ +model: ["']?(?:gguf|split)/(?P<blob>[0-9a-f]{64})\b""", re.MULTILINE)
_BLOB = re.compile(r"/gguf/([0-9a-f]{64})\.gguf")


def describe(inspected: Mapping[str, Any], digests: Sequence[str], tree: Tree) -> dict[str, Any]:
    """One entry of `docker inspect` (container), the image's repository digests, and the host's files → one dictionary.

    Sizes are bytes, `cpus` is cores; None is unlimited, or unknown because the container does not run.
    """
    state, config = inspected.get("State") or {}, inspected.get("Config") or {}
    pid = str(state.get("Pid") or "")
    return {
        "name": str(inspected.get("Name", "")).lstrip("/"),
        "id": inspected.get("Id"),
        "running": bool(state.get("Running")) and not state.get("Restarting"),
        "health": (state.get("Health") or {}).get("Status"),
        "oom_killed": bool(state.get("OOMKilled")),
        "restart_count": int(inspected.get("RestartCount") or 0),
        "started_at": state.get("StartedAt"),
        "image": config.get("Image"),
        "image_digest": _digest(str(config.get("Image") or ""), digests),
        "user": config.get("User") or "",
        "threads_env": _number(config.get("Env") or [], THREADS),
        "max_active_env": _number(config.get("Env") or [], MAX_ACTIVE),
        **_limits(inspected.get("HostConfig") or {}),
        **_use(tree, pid or None),
        **_tmp(tree, pid),
        "models": _models(tree, _settings_folder(inspected), pid),
    }


def _digest(reference: str, digests: Sequence[str]) -> Optional[str]:
    """The digest that the image was named by, else the one that the engine knows for it."""
    named = re.search(r"@(sha256:[0-9a-f]{64})$", reference)
    if named:
        return named.group(1)
    known = [digest.partition("@")[2] for digest in digests if "@sha256:" in digest]
    return known[0] if known else None


def _number(environment: Sequence[str], start: str) -> Optional[int]:
    return next((to_int(entry[len(start):]) for entry in environment if entry.startswith(start)), None)


def _cpus(host: Mapping[str, Any]) -> Optional[float]:
    if host.get("NanoCpus"):
        return host["NanoCpus"] / 1e9
    quota, period = host.get("CpuQuota") or 0, host.get("CpuPeriod") or 100000
    return quota / period if quota > 0 else None


def _limits(host: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `docker inspect` that bounds and hardens."""
    pids = host.get("PidsLimit")
    ports = host.get("PortBindings") or {}
    return {
        "memory_limit": host.get("Memory") or None,
        "cpus": _cpus(host),
        "cpuset": host.get("CpusetCpus") or None,
        "pids_limit": pids if pids and pids > 0 else None,
        "read_only": bool(host.get("ReadonlyRootfs")),
        "privileged": bool(host.get("Privileged")),
        "cap_drop": list(host.get("CapDrop") or []),
        "cap_add": list(host.get("CapAdd") or []),
        "security_opt": list(host.get("SecurityOpt") or []),
        "ports": sorted(f"{bind.get('HostIp') or '0.0.0.0'}:{bind.get('HostPort') or ''}->{port}"
                        for port, binds in ports.items() for bind in binds or []),
    }


def _use(tree: Tree, pid: Optional[str]) -> dict[str, Any]:
    """What the kernel counts for the groups of a container's first process."""
    cpu: dict[str, int] = {}
    memory, processes = None, []
    if pid is not None:
        stats = [pairs(tree.read(f"{path}/cpu.stat")) for path in own_groups(tree, "cpu", pid)]
        cpu = next((stat for stat in stats if "nr_periods" in stat), {})
        groups = own_groups(tree, "memory", pid)
        memory = next((found for found in (group_memory(tree, path) for path in groups) if found), None)
        processes = _processes(tree, groups)
    return {
        "nr_periods": cpu.get("nr_periods"),
        "nr_throttled": cpu.get("nr_throttled"),
        "memory_anonymous_bytes": memory.anonymous if memory else None,
        "memory_file_bytes": memory.file if memory else None,
        "processes": processes,
    }


def _settings_folder(inspected: Mapping[str, Any]) -> str:
    """Where the container has its models' settings on the host; empty for one without."""
    return next((str(mount.get("Source")) for mount in inspected.get("Mounts") or [] if mount.get("Destination") == "/models"), "")


def _models(tree: Tree, folder: str, pid: str) -> list[dict[str, Any]]:
    """The revisions of the settings folder, by name: `{revision, names, sha256, loaded, pid, rss_anonymous_bytes, rss_file_bytes}`.

    A process is known by the blob that it has mapped. Where several revisions share one and not all of them are loaded, `loaded` is None; where
    several are, the process of each is.
    """
    texts = {name[:-len(".yaml")]: tree.read(f"{folder}/{name}") or "" for name in (tree.names(folder) if folder else ()) if name.endswith(".yaml")}
    targets = {name: found["to"] for name, found in ((name, _ALIAS.search(text)) for name, text in texts.items()) if found}
    blobs = {name: found["blob"] for name, found in ((name, _FILE.search(text)) for name, text in texts.items()) if found}
    running = engines(tree, pid) if pid.strip("0") else []
    return [{"revision": name, "names": sorted(served for served, target in targets.items() if target == name), "sha256": blobs[name],
             **_engine_of([process for process in running if blobs[name] in process["blobs"]], list(blobs.values()).count(blobs[name]))}
            for name in sorted(blobs)]


def _engine_of(processes: Sequence[Mapping[str, Any]], sharing: int) -> dict[str, Any]:
    """What is known of the engine of one of `sharing` revisions, of whose blob these processes are."""
    loaded = None if 0 < len(processes) < sharing else bool(processes)
    only = processes[0] if len(processes) == sharing == 1 else {}
    return {"loaded": loaded, **{name: only.get(name) for name in ("pid", "rss_anonymous_bytes", "rss_file_bytes")}}


def engines(tree: Tree, pid: str) -> list[dict[str, Any]]:
    """The processes of the container with this first process that have a model's file mapped, by pid: `{pid, rss_anonymous_bytes, rss_file_bytes}` and
    `blobs`, the digests of those files."""
    found = []
    for process in _processes(tree, own_groups(tree, "memory", pid)):
        blobs = sorted(set(_BLOB.findall(tree.read(f"/proc/{process['pid']}/maps", MAX_LIST_BYTES) or "")))
        if blobs:
            found.append({**{name: process[name] for name in ("pid", "rss_anonymous_bytes", "rss_file_bytes")}, "blobs": blobs})
    return found


def _tmp(tree: Tree, pid: str) -> dict[str, Optional[int]]:
    """What lies in the container's /tmp and what it can hold. /proc/PID/root looks like a link and is more, so it is not resolved as one."""
    try:
        found = os.statvfs(f"{tree.root}/proc/{pid}/root/tmp")
    except OSError:
        return {"tmp_used_bytes": None, "tmp_size_bytes": None}
    return {"tmp_used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize, "tmp_size_bytes": found.f_blocks * found.f_frsize}


def _processes(tree: Tree, groups: Sequence[str]) -> list[dict[str, Any]]:
    """The processes of the container, by pid; their arguments are left out, they may hold secrets."""
    listed = next((text for text in (tree.read(f"{path}/cgroup.procs") for path in groups) if text), "")
    numbers = sorted(int(word) for word in listed.split() if word.isdigit())[:PROCESSES]
    return [process for process in (_process(tree, number) for number in numbers) if process is not None]


def _process(tree: Tree, pid: int) -> Optional[dict[str, Any]]:
    lines = (tree.read(f"/proc/{pid}/status") or "").splitlines()
    status = {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
    if "Name" not in status:
        return None

    def size(name: str) -> Optional[int]:
        number = to_int(status.get(name, "").partition(" ")[0])
        return None if number is None else number * 1024

    return {"pid": pid, "name": status["Name"], "threads": to_int(status.get("Threads")),
            "rss_anonymous_bytes": size("RssAnon"), "rss_file_bytes": size("RssFile")}
