# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Files of a host under one root, and control groups of version 1, 2 and both at once.

Source of the file formats: cgroups(7), proc(5), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of Linux.
Nothing here raises on a missing, unreadable or malformed file: the value is then unknown (None).
"""
from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Iterator, Mapping, Optional

MAX_FILE_BYTES = 64 * 1024  # the longest that is no list of CPUs, mounts or processes has 10 kB
MAX_LIST_BYTES = 8 * 1024 * 1024
MAX_LINKS = 40  # as the kernel's own limit (ELOOP)
MAX_PATH = 4096  # as the kernel's own limit (ENAMETOOLONG)
MAX_CPU = 8191  # no architecture of Linux takes more (CONFIG_NR_CPUS)
MAX_MOUNTS = 256
MAX_LEVELS = 64  # containers in containers have a dozen
UNLIMITED_BYTES = 1 << 62  # version 1 prints 2^63 less a page for "no limit"
SEARCH_DIRECTORIES = 500
SEARCH_DEPTH = 4
FALLBACK = "/sys/fs/cgroup"


class Tree:
    """The files under `root`; a symlink, absolute or relative, never leads out of it."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root).rstrip("/")
        self._links: dict[str, str] = {}

    def resolve(self, path: str) -> Optional[str]:
        """`path` with every link followed inside the root, or None when there is nothing or after too many links or parts."""
        todo, place, links = _steps(path), "", 0
        while todo:
            name = todo.pop()
            step = f"{place}/{name}" if name != ".." else place.rpartition("/")[0]
            target = self._link(step) if name != ".." else ""
            if target is None:
                return None
            if not target:
                place = step
                continue
            links += 1
            place = "" if target.startswith("/") else place
            todo += _steps(target)
            if links > MAX_LINKS or len(todo) > MAX_PATH:
                return None
        return place or "/"

    def _link(self, step: str) -> Optional[str]:
        """What the link at `step` points to; empty when it is no link; None when it is not there, which is asked anew each time."""
        if step not in self._links:
            try:
                self._links[step] = os.readlink(self.root + step)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    return None
                self._links[step] = ""
            except ValueError:
                return None
        return self._links[step]

    def outside(self, path: str) -> Optional[str]:
        """The path that the operating system understands, or None."""
        inside = self.resolve(path)
        return None if inside is None else self.root + inside

    def read_bytes(self, path: str, limit: int = MAX_FILE_BYTES) -> Optional[bytes]:
        """The first `limit` bytes of a regular file, or None when it cannot be read. Never waits for a pipe."""
        real = self.outside(path)
        try:
            if real is None or not stat.S_ISREG(os.lstat(real).st_mode):
                return None
            descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read(limit)
        except (OSError, ValueError):
            return None

    def read(self, path: str, limit: int = MAX_FILE_BYTES) -> Optional[str]:
        """The same as text."""
        data = self.read_bytes(path, limit)
        return None if data is None else data.decode("utf-8", "replace")

    def read_int(self, path: str) -> Optional[int]:
        """The one whole number that a file holds, or None."""
        return to_int(self.read(path))

    def names(self, path: str) -> list[str]:
        """The sorted names in a directory; empty when there is none."""
        real = self.outside(path)
        try:
            return sorted(os.listdir(real)) if real is not None else []
        except (OSError, ValueError):
            return []

    def directories(self, path: str) -> list[str]:
        """The sorted names of the directories in a directory, links left out."""
        real = self.outside(path)
        try:
            with os.scandir(real or "") as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except (OSError, ValueError):
            return []

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`."""
        real = self.outside(path)
        return real is not None and os.path.lexists(real)

    def is_directory(self, path: str) -> bool:
        """Whether `path` is a directory."""
        real = self.outside(path)
        return real is not None and os.path.isdir(real)


def _steps(path: str) -> list[str]:
    """The names of a path, the first one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def to_int(text: Optional[str]) -> Optional[int]:
    """`"12\\n"` → 12; anything else → None."""
    match = re.fullmatch(r"\s*(-?[0-9]{1,20})\s*", text or "")
    return int(match.group(1)) if match else None


def cpu_list(text: Optional[str], most: int = MAX_CPU + 1) -> Optional[frozenset[int]]:
    """`"0-3,8"` → {0,1,2,3,8}; None when missing, empty or malformed, and when it tells more than `most` CPUs."""
    cpus: set[int] = set()
    told = 0  # ranges that overlap are counted each time: they are work
    for part in (text or "").strip().split(","):
        match = re.fullmatch(r"\s*([0-9]{1,6})(?:-([0-9]{1,6}))?\s*", part)
        if match is None:
            return None
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        told += last - first + 1
        if last < first or last > MAX_CPU or told > most:
            return None
        cpus.update(range(first, last + 1))
    return frozenset(cpus)


def cpu_mask(text: Optional[str]) -> Optional[frozenset[int]]:
    """`"00000001,0000000f"` → {0,1,2,3,32}; None when missing, empty or malformed, and when it tells a CPU that no host can have."""
    digits = (text or "").strip().replace(",", "")
    if not re.fullmatch(r"[0-9a-fA-F]{1,16384}", digits):
        return None
    mask = int(digits, 16)  # kernels put zeros before it, so that its length tells nothing
    if mask.bit_length() > MAX_CPU + 1:
        return None
    return frozenset(cpu for cpu, bit in enumerate(bin(mask)[:1:-1]) if bit == "1") or None


def pairs(text: Optional[str]) -> dict[str, int]:
    """Lines of `name number` (memory.stat, cpu.stat) as a dictionary; without numbers below 0, which nothing counts to."""
    found = {}
    for line in (text or "").splitlines():
        words = line.split()
        number = to_int(words[1]) if len(words) == 2 else None
        if number is not None and number >= 0:
            found[words[0]] = number
    return found


@dataclass(frozen=True)
class Mount:
    """A mounted hierarchy: version 1 with its controllers, or version 2 (no controllers)."""

    version: int
    controllers: frozenset[str]
    root: str
    point: str


@dataclass(frozen=True)
class Level:
    """One directory in the chain of control groups above a process."""

    version: int
    path: str


@dataclass(frozen=True)
class MemoryLevel:
    """A level with a memory limit: all in bytes; `used` is usage without the inactive file pages."""

    path: str
    limit: int
    used: int


def _unescape(text: str) -> str:
    """Octal escapes of mountinfo: `\\040` is a blank."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def _mount(line: str) -> Optional[Mount]:
    left, dash, right = line.partition(" - ")
    fields, kind = left.split(" "), right.split()  # a path may hold other separators
    if not dash or len(fields) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
        return None
    names = kind[-1].split(",") if kind[0] == "cgroup" else []  # the source before these options may be empty
    version = 2 if kind[0] == "cgroup2" else 1
    return Mount(version, frozenset(names), _unescape(fields[3]), _unescape(fields[4]))


def _lines_with(text: str, word: str) -> Iterator[str]:
    """The lines that hold a word, without a look at the others: a host with many containers has thousands."""
    ended = f"{text}\n"
    at = ended.find(word)
    while at >= 0:
        end = ended.find("\n", at)
        yield ended[ended.rfind("\n", 0, at) + 1:end]
        at = ended.find(word, end)


@lru_cache(maxsize=4)  # asked for once a controller
def mounts(tree: Tree) -> tuple[Mount, ...]:
    """The mounted hierarchies by /proc/self/mountinfo, in its order."""
    lines = _lines_with(tree.read("/proc/self/mountinfo", MAX_LIST_BYTES) or "", " - cgroup")
    found = (_mount(line) for line in islice(lines, MAX_MOUNTS))
    return tuple(mount for mount in found if mount is not None)


def membership(tree: Tree, pid: str = "self") -> dict[str, str]:
    """Controller → path of the process's group; "" is version 2."""
    found = {}
    for line in (tree.read(f"/proc/{pid}/cgroup") or "").split("\n"):  # a name may hold every other separator
        fields = line.rstrip("\r").split(":", 2)
        if len(fields) == 3 and len(fields[2]) <= MAX_PATH:
            for name in fields[1].split(","):
                found[name] = fields[2]
    return found


def _assumed(tree: Tree, controller: str) -> list[Mount]:
    """Where distributions mount the hierarchies, for a host that does not tell its mounts.

    A process that is in groups, but in none of version 1 for this controller, has none: a directory of that name is a group of version 2.
    """
    member = membership(tree)
    names = [name for name in tree.names(FALLBACK) if controller in name.split(",")] if controller in member or not member else []
    found = [Mount(1, frozenset({controller}), "/", f"{FALLBACK}/{name}") for name in names]
    unified = f"{FALLBACK}/unified"
    return [*found, Mount(2, frozenset(), "/", unified if tree.is_directory(unified) else FALLBACK)]


def _candidates(tree: Tree, controller: str) -> list[Mount]:
    fitting = [m for m in mounts(tree) if m.version == 2 or controller in m.controllers]
    told = [mount for mount in fitting if tree.is_directory(mount.point)]
    versions = {mount.version for mount in told}
    return told + [mount for mount in _assumed(tree, controller) if mount.version not in versions]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _below(mount: Mount, path: str) -> Optional[list[str]]:
    """The parts of a group's path below the mount's own root, or None when it is elsewhere."""
    root, parts = _parts(mount.root), _parts(path)
    if parts[: len(root)] != root:
        return None
    rest = parts[len(root):]
    return None if ".." in rest else rest


def _levels(tree: Tree, mount: Mount, path: str) -> list[Level]:
    """The mount point's own level first, then each level down to the process."""
    parts = _below(mount, path)
    if parts is None:  # another namespace: the names below are not ours, unless they exist as told
        told = [] if ".." in path else _parts(path)
        parts = told if told and tree.is_directory("/".join([mount.point, *told])) else []
    point = mount.point.rstrip("/")
    paths = ["/".join([point, *parts[:count]]) for count in range(min(len(parts), MAX_LEVELS) + 1)]
    return [Level(mount.version, level) for level in paths]


def _chains(tree: Tree, controller: str, pid: str) -> list[list[Level]]:
    """The levels above a process by each mount that counts."""
    member, found = membership(tree, pid), []
    for version, key in ((1, controller), (2, "")):
        path = member.get(key, "/")
        fitting = [mount for mount in _candidates(tree, controller) if mount.version == version]
        ours = [mount for mount in fitting if _below(mount, path) is not None] or fitting
        found += [_levels(tree, mount, path) for mount in ours]
    return found


def chain(tree: Tree, controller: str, pid: str = "self") -> list[Level]:
    """All levels that bound a process for one controller, outermost first, in both versions."""
    return list(dict.fromkeys(level for levels in _chains(tree, controller, pid) for level in levels))


def own_groups(tree: Tree, controller: str, pid: str) -> list[str]:
    """The directories of the groups that a process itself is in."""
    return list(dict.fromkeys(levels[-1].path for levels in _chains(tree, controller, pid)))


def _quota(tree: Tree, level: Level) -> Optional[float]:
    if level.version == 2:
        words = (tree.read(f"{level.path}/cpu.max") or "").split()
        quota, period = (to_int(word) for word in words) if len(words) == 2 else (None, None)
    else:
        quota = tree.read_int(f"{level.path}/cpu.cfs_quota_us")
        period = tree.read_int(f"{level.path}/cpu.cfs_period_us")
    if quota is None or period is None or quota <= 0 or period <= 0:
        return None
    cores = quota / period
    return cores if cores <= MAX_CPU else None  # more than a host can have is no bound


def quota_cores(tree: Tree, pid: str = "self") -> Optional[float]:
    """The smallest CPU quota along the chain in cores, or None."""
    found = [_quota(tree, level) for level in chain(tree, "cpu", pid)]
    return min((quota for quota in found if quota is not None), default=None)


def _effective(tree: Tree, level: Level, kind: str) -> Optional[frozenset[int]]:
    return cpu_list(tree.read(f"{level.path}/cpuset.{f'{kind}.effective' if level.version == 2 else f'effective_{kind}'}"))


def effective(tree: Tree, kind: str, pid: str = "self") -> Optional[frozenset[int]]:
    """The `cpus` or `mems` (memory nodes) that the deepest group with such a list gives its processes now, or None. The kernel gives none that is offline."""
    found = (_effective(tree, level, kind) for level in reversed(chain(tree, "cpuset", pid)))
    return next((numbers for numbers in found if numbers), None)


def cpuset(tree: Tree, pid: str = "self") -> Optional[frozenset[int]]:
    """The CPUs that every group of the chain allows, or None when no group says.

    Above a partition the effective list lacks the CPUs that the partition took away: a level that would leave nothing
    is such a level, and the deeper one decides.
    """
    allowed: Optional[frozenset[int]] = None
    for level in reversed(chain(tree, "cpuset", pid)):
        cpus = _effective(tree, level, "cpus") or cpu_list(tree.read(f"{level.path}/cpuset.cpus"))
        if cpus:
            allowed = cpus if allowed is None else allowed & cpus or allowed
    return allowed


def _limit(tree: Tree, level: Level, stat_lines: Mapping[str, int]) -> Optional[int]:
    """The level's limit in bytes. Version 1 also tells the smallest of the levels above, seen from here or not.

    Above `memory.high` nobody is ended, but the kernel holds every process back: a model whose memory cannot be dropped stands still there.
    """
    names = ("memory.max", "memory.high") if level.version == 2 else ("memory.limit_in_bytes",)
    told = [*(tree.read_int(f"{level.path}/{name}") for name in names), stat_lines.get("hierarchical_memory_limit")]
    return min((limit for limit in told if limit is not None and 0 <= limit < UNLIMITED_BYTES), default=None)


def memory_levels(tree: Tree, pid: str = "self") -> list[MemoryLevel]:
    """The levels that limit memory, outermost first."""
    found = []
    for level in chain(tree, "memory", pid):
        stat_lines = pairs(tree.read(f"{level.path}/memory.stat"))
        limit = _limit(tree, level, stat_lines)
        if limit is None:
            continue
        name = "memory.current" if level.version == 2 else "memory.usage_in_bytes"
        usage = tree.read_int(f"{level.path}/{name}") or 0
        idle = stat_lines.get("total_inactive_file", stat_lines.get("inactive_file", 0))
        found.append(MemoryLevel(level.path, limit, max(0, usage - idle)))
    return found


@dataclass(frozen=True)
class GroupMemory:
    """What one group holds, in bytes: memory that cannot be dropped, and file pages."""

    path: str
    anonymous: int
    file: int
    active_file: int


def group_memory(tree: Tree, path: str) -> Optional[GroupMemory]:
    """Anonymous (with tmpfs) and file-backed memory of the group at `path`, or None."""
    stat = pairs(tree.read(f"{path}/memory.stat"))
    if not stat:
        return None

    def total(name: str) -> int:
        return stat.get(f"total_{name}", stat.get(name, 0))

    shared = total("shmem")
    if "anon" in stat:
        anonymous, cache = stat["anon"], stat.get("file", 0)
    else:
        anonymous, cache = total("rss"), total("cache")
    return GroupMemory(path, anonymous + shared, max(0, cache - shared), total("active_file"))


def _container_names(container: str) -> tuple[str, ...]:
    scope = f"docker-{container}.scope"
    return (f"docker/{container}", f"system.slice/{scope}", scope, container)


@lru_cache(maxsize=8)  # asked for once a container
def _below_top(tree: Tree, top: str) -> dict[str, str]:
    """Name → path of the groups below one, breadth first and bounded: engines with a parent group of their own are rare."""
    found: dict[str, str] = {}
    row, left = [top], SEARCH_DIRECTORIES
    for _depth in range(SEARCH_DEPTH):
        row, left = row[:left], left - len(row[:left])
        row = [f"{place}/{name}" for place in row for name in tree.directories(place)]
        for path in row:
            found.setdefault(path.rpartition("/")[2], path)
    return found


def container_group(tree: Tree, container: str) -> Optional[str]:
    """The memory group of a container by its full id, or None."""
    names = _container_names(container)
    tops = list(dict.fromkeys(level.path for level in chain(tree, "memory")))
    for top in tops:
        for name in names:
            if tree.is_directory(f"{top}/{name}"):
                return f"{top}/{name}"
    scopes = (container, f"docker-{container}.scope", f"libpod-{container}.scope")
    return next((_below_top(tree, top)[name] for top in tops[:2] for name in scopes if name in _below_top(tree, top)), None)
