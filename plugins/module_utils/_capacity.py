# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a host can give: cores, quota, NUMA, instruction sets, memory, disk.

Read from files under one root and never guessed: what no file tells is None.
Sources: proc(5), sysfs (Documentation/ABI/testing/sysfs-devices-system-cpu), cgroups(7).
"""
from __future__ import annotations

import math
import os
import re
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Iterable, Mapping, Optional

from ._cgroup import (
    MAX_CPU,
    UNLIMITED_BYTES,
    GroupMemory,
    MemoryLevel,
    Tree,
    cpu_list,
    cpu_mask,
    cpuset,
    effective,
    memory_levels,
    quota_cores,
    to_int,
)
from ._channels import read_channels
from ._deployed import other_load, own_groups, own_memory, read_json
from ._errors import FleetError
from ._form import misfit

SCHEMA = 1
READ = "Read it with localai.fleet.capacity_facts."
SYSTEM_CPU = "/sys/devices/system/cpu"
SYSTEM_NODE = "/sys/devices/system/node"
FAST_SHARE = 0.8  # a core of at least this share of the top capacity is a performance core
MAX_CPUINFO_BYTES = 1024 * 1024  # six hundred CPUs; of those beyond them, all that is needed stands in sysfs
MAX_BLOCKS = 8192
MAX_SIBLINGS = 64  # no CPU has more than 8 threads a core: a longer list tells no core
CPUINFO_LINE = re.compile(
    r"^[ \t]*(processor|flags|features|core id|physical id|model name|model|hardware|cpu implementer|cpu architecture|cpu part)[ \t]*:(.*)", re.M | re.I)

# name in the plan → any of these words in the flags or Features line of /proc/cpuinfo
ISA = {
    "sse42": ("sse4_2",),
    "avx": ("avx",),
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "avx512_vnni": ("avx512_vnni",),
    "amx": ("amx_tile", "amx_int8"),
    "neon": ("asimd", "neon"),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
    "sve": ("sve",),
}
CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
CONTAINER_GROUP = re.compile(r"/(docker[/-]|lxc([/.]|$)|lxc\.payload|kubepods|libpod|crio-)")
MACHINE_VIRTUAL = re.compile(
    r"\b(qemu|kvm|vmware|virtualbox|xen|bochs|parallels|bhyve|virtual machine|openstack|google compute engine|"
    r"amazon ec2|apple virtualization|dummy-virt|vserver|digitalocean|linode|scaleway|nutanix)\b"
)


@dataclass(frozen=True)
class NumaNode:
    """One memory node: its CPUs as the kernel lists them, its memory in bytes (None when not told)."""

    id: int
    cpus: tuple[int, ...]
    memory_bytes: Optional[int]


@dataclass(frozen=True)
class Core:
    """One physical core: those of its logical CPUs that may be used, and whether it is one of the fast ones."""

    cpus: tuple[int, ...]
    performance: bool


@dataclass(frozen=True)
class Capacity:
    """What a host, or one of its memory nodes, can give. Memory and disk are bytes; None is unknown or unlimited.

    `smt` and `sockets` describe the host, all other CPU fields what this process may use. `cores` holds the
    `physical_cores_allowed` one by one. `numa_nodes` lack those whose memory this process may not have; what the others have is a
    limit then. `memory_available_bytes` already holds `memory_used_by_deployment_bytes`: a new plan may use it again.
    `numa_hugepages_bytes` is in the order of `numa_nodes`. `numa_node` is set by `node_capacity` alone. `memory_channels` are of
    64 bits; the bandwidth is what they move at most. `other_load_cores` is what other programs keep busy now, for a warning and
    never for a plan. `tuning` is what state/tuning.json of the store holds, unchecked (False when damaged): `_tuning.usable`
    judges it.
    """

    arch: Optional[str]
    isa: tuple[str, ...]
    cpu_model: Optional[str]
    logical_cpus_online: Optional[int]
    allowed_cpus: tuple[int, ...]
    physical_cores_allowed: Optional[int]
    performance_cores_allowed: Optional[int]
    usable_cores: int
    smt: bool
    sockets: Optional[int]
    numa_nodes: tuple[NumaNode, ...]
    quota_cores: Optional[float]
    memory_total_bytes: Optional[int]
    memory_limit_bytes: Optional[int]
    memory_available_bytes: Optional[int]
    memory_used_by_deployment_bytes: int
    hugepages_reserved_bytes: int
    swap_total_bytes: Optional[int]
    memory_channels: Optional[int]
    store_free_bytes: Optional[int]
    virtualization: Optional[str]
    cores: tuple[Core, ...] = ()
    numa_hugepages_bytes: tuple[int, ...] = ()
    numa_node: Optional[int] = None
    memory_bandwidth_bytes_per_second: Optional[int] = None
    other_load_cores: Optional[float] = None
    tuning: Any = field(default=None, hash=False)  # a dictionary has no hash
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON-safe values: lists for tuples."""
        data = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        for name in ("numa_nodes", "cores"):
            data[name] = [{**item, "cpus": list(item["cpus"])} for item in data[name]]
        return data

    @classmethod
    def from_dict(cls, data: Any, where: str = "capacity") -> Capacity:
        """The inverse of `as_dict`; fields that later versions add are left out. `where` tells in errors where it stands.

        :raises FleetError: no mapping, another schema, a field that is missing or has the wrong form.
        """
        if not isinstance(data, Mapping):
            raise FleetError("This is no capacity", where, repr(data)[:80], READ)
        if data.get("schema") != SCHEMA:
            raise FleetError("This capacity was read by another version", f"{where}.schema", repr(data.get("schema"))[:80],
                             f"Read the host again; this version knows schema {SCHEMA}.")
        missing = [item.name for item in fields(cls) if item.name not in data and item.default is MISSING]
        if missing:
            raise FleetError("This capacity lacks fields", where, ", ".join(missing), READ)
        check_capacity(data, where)
        known = {item.name: data[item.name] for item in fields(cls) if item.name in data}
        known = {name: tuple(value) if isinstance(value, list) and name != "tuning" else value for name, value in known.items()}
        nodes = [NumaNode(node["id"], tuple(node["cpus"]), node["memory_bytes"]) for node in known["numa_nodes"]]
        cores = [Core(tuple(core["cpus"]), core["performance"]) for core in known.get("cores", ())]
        return cls(**{**known, "numa_nodes": tuple(nodes), "cores": tuple(cores)})


FORMS = {"Capacity": Capacity, "Core": Core, "NumaNode": NumaNode}


def check_capacity(capacity: Any, where: str) -> None:
    """Whether each field of a Capacity, or of a mapping that has all of them, has the form of its type: people write and change such files.

    :raises FleetError: names the first that has not.
    """
    wrong = misfit(capacity, "Capacity", FORMS, {"NumaNode": ("id", "cpus", "memory_bytes"), "Core": ("cpus", "performance")})
    given = capacity if isinstance(capacity, Mapping) else getattr(capacity, "__dict__", {})
    if wrong is None and not 1 <= given["usable_cores"] <= MAX_CPU + 1:
        wrong = ".usable_cores"
    if wrong is not None:
        got = given.get(wrong[1:])
        raise FleetError("A field of a capacity has the wrong form", f"{where}{wrong}", "" if got is None else repr(got)[:80],
                         f"{READ} Sizes are whole numbers of bytes, and a host has a core.")


@dataclass(frozen=True)
class _Cpu:
    """One logical CPU of the host: the CPUs of its core, its socket, its relative speed."""

    siblings: frozenset[int]
    package: Optional[int]
    speed: Optional[int]


@dataclass(frozen=True)
class _CpuInfo:
    """/proc/cpuinfo: one dictionary of lower-case names for each processor, with the names that are needed."""

    blocks: tuple[dict[str, str], ...]

    def first(self, *names: str) -> Optional[str]:
        """The first value of the first name that any block has."""
        return next((b[name] for name in names for b in self.blocks if b.get(name)), None)

    def flags(self) -> frozenset[str]:
        """The words that every CPU with a flags line has: a process may land on any of them."""
        lines = {block.get("flags") or block.get("features") for block in self.blocks} - {None, ""}
        sets = [frozenset((line or "").split()) for line in lines]
        return frozenset.intersection(*sets) if sets else frozenset()

    def by_cpu(self) -> dict[int, dict[str, str]]:
        """Logical CPU → its block."""
        numbered = [(to_int(block.get("processor")), block) for block in self.blocks]
        return {number: block for number, block in numbered if number is not None and 0 <= number <= MAX_CPU}


def read_capacity(root: str = "/", store: str = "/opt/localai") -> Capacity:
    """Read the capacity of the host whose files are under `root`; `store` is the collection's directory there.

    Reads files only, below `root` only, and never raises on a missing or malformed one.
    """
    tree = Tree(root)
    info, groups = _cpuinfo(tree), own_groups(tree, store)
    cpus = _cpu_fields(tree, info)
    channels = read_channels(tree, cpus["sockets"])
    told = _numa_nodes(tree)
    numa = _numa_fields(tree, _allowed_nodes(tree, told))
    return Capacity(
        arch=_arch(tree, info),
        isa=tuple(name for name, words in ISA.items() if info.flags() & set(words)),
        cpu_model=_cpu_model(info),
        **cpus,
        **numa,
        **_memory_fields(tree, groups, None if numa["numa_nodes"] == told else _without_huge_pages(numa)),
        memory_channels=channels.count,
        memory_bandwidth_bytes_per_second=channels.bytes_per_second,
        store_free_bytes=_store_free(tree, store),
        virtualization=_virtualization(tree, info),
        other_load_cores=_other_load(tree, groups, cpus),
        tuning=read_json(tree, f"{store}/state/tuning.json"),
    )


# --- one memory node of a host


def usable_nodes(capacity: Capacity) -> tuple[int, ...]:
    """The memory nodes that can each have an instance of their own; empty when the host is better used as a whole.

    A node needs CPUs that may be used and memory of its own (neither CXL memory nor a socket without modules), no two may
    share a CPU (nodes that the kernel only emulates do), and the share of the quota must give each of them a core. Fewer than two
    such nodes are none: there is nothing to keep apart.
    """
    allowed = frozenset(capacity.allowed_cpus)
    usable = {node.id: allowed & frozenset(node.cpus) for node in capacity.numa_nodes if node.memory_bytes}
    found = {number: cpus for number, cpus in usable.items() if cpus}
    shared = sum(map(len, found.values())) > len(frozenset().union(*found.values()))
    quotas = [_node_quota(capacity, _cores_within(capacity.cores, cpus)) for cpus in found.values()]
    starved = any(quota is not None and quota < 1 for quota in quotas)
    return () if len(found) < 2 or shared or starved else tuple(found)


def _node_quota(capacity: Capacity, cores: Iterable[Core]) -> Optional[float]:
    """The share of the quota, in cores, of a node with these cores."""
    fast = sum(core.performance for core in cores)
    return _part(capacity.quota_cores, fast, capacity.performance_cores_allowed or fast)


def node_capacity(capacity: Capacity, node_id: int) -> Capacity:
    """What one memory node of a host gives to an instance that stays on it.

    Its allowed CPUs and their cores, its memory and its huge pages. Of what the host has as a whole, the node gets a share:
    quota by performance cores, limit, available and own memory by memory, channels evenly over the nodes with memory and CPUs.

    :raises FleetError: no such node, or none of its CPUs may be used.
    """
    index = next((place for place, node in enumerate(capacity.numa_nodes) if node.id == node_id), None)
    if index is None:
        known = ", ".join(str(node.id) for node in capacity.numa_nodes)
        raise FleetError("The host has no such memory node", "node", str(node_id), f"Its nodes are {known or 'not known'}.")
    node, allowed = capacity.numa_nodes[index], frozenset(capacity.allowed_cpus)
    cpus = tuple(sorted(allowed & frozenset(node.cpus)))
    cores = _cores_within(capacity.cores, frozenset(cpus))
    if not cores:
        raise FleetError("No CPU of this memory node may be used", "node", str(node_id), "Use the node's memory from another node.")
    fast = sum(core.performance for core in cores)
    quota = _node_quota(capacity, cores)
    huge = capacity.numa_hugepages_bytes[index] if index < len(capacity.numa_hugepages_bytes) else 0
    return replace(
        capacity, numa_node=node_id, numa_nodes=(node,), numa_hugepages_bytes=(huge,), allowed_cpus=cpus, cores=cores,
        physical_cores_allowed=len(cores), performance_cores_allowed=fast, quota_cores=quota, usable_cores=usable_cores(fast, quota),
        hugepages_reserved_bytes=huge, **_node_memory(capacity, node))


def _cores_within(cores: Iterable[Core], cpus: frozenset[int]) -> tuple[Core, ...]:
    """The cores with these CPUs; all count as fast ones when none is."""
    parts = [Core(tuple(cpu for cpu in core.cpus if cpu in cpus), core.performance) for core in cores if cpus & frozenset(core.cpus)]
    fast = any(core.performance for core in parts)
    return tuple(Core(core.cpus, core.performance or not fast) for core in parts)


def _part(whole: Any, share: int, of: int) -> Any:
    """`whole * share / of` in the type of `whole`: bytes are rounded down."""
    if whole is None or share >= of:
        return whole
    return whole * share // of if isinstance(whole, int) else whole * share / of


def _node_memory(capacity: Capacity, node: NumaNode) -> dict[str, Any]:
    known = sum(other.memory_bytes or 0 for other in capacity.numa_nodes)
    size, homes = node.memory_bytes or 0, max(1, sum(bool(n.memory_bytes and n.cpus) for n in capacity.numa_nodes))
    names = ("memory_limit_bytes", "memory_available_bytes", "memory_used_by_deployment_bytes")
    shares = {name: _part(getattr(capacity, name), size, known) for name in names}
    channels = capacity.memory_channels and max(1, capacity.memory_channels // homes)
    return {**shares, "memory_total_bytes": node.memory_bytes, "memory_channels": channels}


# --- processors


def _cpuinfo(tree: Tree) -> _CpuInfo:
    text = tree.read("/proc/cpuinfo", MAX_CPUINFO_BYTES) or ""
    whole = text if len(text) < MAX_CPUINFO_BYTES else text.rpartition("\n")[0]  # half a line of flags would hide the other half
    blocks: list[dict[str, str]] = [{}]
    for match in CPUINFO_LINE.finditer(whole):
        name = match.group(1).lower()
        if name == "processor" and len(blocks) >= MAX_BLOCKS:
            break
        if name == "processor":
            blocks.append({})
        blocks[-1][name] = match.group(2).strip()
    return _CpuInfo(tuple(block for block in blocks if block))


def _arch(tree: Tree, info: _CpuInfo) -> Optional[str]:
    told = (tree.read("/proc/sys/kernel/arch") or "").strip()  # Linux 6.1 and later
    if told:
        return told
    if tree.root == "":
        return os.uname().machine
    flags = info.flags()
    if info.first("flags"):
        return "x86_64" if any(re.match(r"lm$|sse4|avx", flag) for flag in flags) else None
    if info.first("cpu implementer"):
        wide = "asimd" in flags or (info.first("cpu architecture") == "8" and not flags)
        return "aarch64" if wide else "armv7l"
    return None


def _cpu_model(info: _CpuInfo) -> Optional[str]:
    if info.first("model name"):
        return info.first("model name")
    parts = sorted({(b["cpu implementer"], b.get("cpu part", "?")) for b in info.blocks if b.get("cpu implementer")})
    return ", ".join(f"implementer {vendor} part {part}" for vendor, part in parts) or None


def _online(tree: Tree, info: _CpuInfo) -> frozenset[int]:
    """The CPUs that run. A group gives no other: a list from 0 on that lacks some of its CPUs and has others is a container's own numbering (lxcfs)."""
    told, given = cpu_list(tree.read(f"{SYSTEM_CPU}/online")), effective(tree, "cpus") or frozenset()
    if told:
        return given if given - told and told - given and max(told) < len(told) else told
    names = [re.fullmatch(r"cpu(\d{1,5})", name) for name in tree.names(SYSTEM_CPU)]
    present = [int(match.group(1)) for match in names if match]
    listed = [cpu for cpu in present if tree.read_int(f"{SYSTEM_CPU}/cpu{cpu}/online") != 0]
    return frozenset(listed or info.by_cpu())


def _affinity(tree: Tree) -> Optional[frozenset[int]]:
    status = dict(line.split(":", 1) for line in (tree.read("/proc/self/status") or "").splitlines() if ":" in line)
    return cpu_list(status.get("Cpus_allowed_list")) or cpu_mask(status.get("Cpus_allowed"))


def _allowed(tree: Tree, online: frozenset[int]) -> frozenset[int]:
    """Affinity ∩ online ∩ cpuset. A set that would leave nothing comes from another numbering and is left out."""
    affinity = _affinity(tree)
    allowed = affinity if affinity is not None else online
    for bound in (online, cpuset(tree)):
        allowed = (allowed & bound if bound else allowed) or allowed
    return allowed


def _siblings(tree: Tree, cpu: int) -> frozenset[int]:
    base = f"{SYSTEM_CPU}/cpu{cpu}/topology"
    for name in ("core_cpus", "thread_siblings"):
        told = cpu_list(tree.read(f"{base}/{name}_list"), MAX_SIBLINGS) or cpu_mask(tree.read(f"{base}/{name}"))
        if told and cpu in told and len(told) <= MAX_SIBLINGS:
            return told
    return frozenset()


def _core_key(tree: Tree, cpu: int, block: Mapping[str, str]) -> Optional[tuple[Optional[int], ...]]:
    """What tells a core where no sibling list does: package, die, cluster and core number."""
    base = f"{SYSTEM_CPU}/cpu{cpu}/topology"
    core = tree.read_int(f"{base}/core_id")
    if core is not None and core >= 0:
        names = ("physical_package_id", "die_id", "cluster_id")
        return (*(tree.read_int(f"{base}/{name}") for name in names), core)
    core = to_int(block.get("core id"))
    return None if core is None or core < 0 else (to_int(block.get("physical id")), None, None, core)


def _package(tree: Tree, cpu: int, block: Mapping[str, str]) -> Optional[int]:
    told = tree.read_int(f"{SYSTEM_CPU}/cpu{cpu}/topology/physical_package_id")
    number = to_int(block.get("physical id")) if told is None else told
    return None if number is None or number < 0 else number


def _cores(tree: Tree, numbers: Iterable[int], blocks: Mapping[int, dict[str, str]]) -> dict[int, frozenset[int]]:
    """CPU → the CPUs of its core: by its own sibling list or that of a sibling, else by core numbers, else itself alone."""
    listed = {cpu: _siblings(tree, cpu) for cpu in numbers}
    named = {sibling: siblings for siblings in listed.values() for sibling in siblings}
    listed = {cpu: siblings or named.get(cpu, siblings) for cpu, siblings in listed.items()}
    groups: dict[tuple[Optional[int], ...], list[int]] = {}
    for cpu in (cpu for cpu, siblings in listed.items() if not siblings):
        key = _core_key(tree, cpu, blocks.get(cpu, {})) or (cpu,)
        groups.setdefault(key, []).append(cpu)
    grouped = {cpu: frozenset(group) for group in groups.values() for cpu in group}
    return {**listed, **grouped}


def _cpus(tree: Tree, numbers: Iterable[int], info: _CpuInfo) -> dict[int, _Cpu]:
    blocks = info.by_cpu()
    cores = _cores(tree, numbers, blocks)
    return {
        cpu: _Cpu(
            siblings=siblings,
            package=_package(tree, cpu, blocks.get(cpu, {})),
            speed=tree.read_int(f"{SYSTEM_CPU}/cpu{cpu}/cpu_capacity"),
        )
        for cpu, siblings in cores.items()
    }


def _fast(tree: Tree, host: Mapping[int, _Cpu]) -> Optional[frozenset[int]]:
    """The performance CPUs of a host with unequal cores; None when all are alike."""
    for base in ("/sys/devices", "/sys/bus/event_source/devices"):
        quick, *slow = (cpu_list(tree.read(f"{base}/{kind}/cpus")) or frozenset() for kind in ("cpu_core", "cpu_atom", "cpu_lowpower"))
        if quick or any(slow):
            return quick or frozenset(host).difference(*slow)
    speeds = {cpu: entry.speed for cpu, entry in host.items() if entry.speed}
    if not speeds:
        return None
    top = max(speeds.values())
    return frozenset(cpu for cpu, speed in speeds.items() if speed >= FAST_SHARE * top)


def _cpu_fields(tree: Tree, info: _CpuInfo) -> dict[str, Any]:
    online = _online(tree, info)
    allowed = _allowed(tree, online)
    host = _cpus(tree, online | allowed, info)
    fast = _fast(tree, host)
    quick = {host[cpu].siblings for cpu in allowed if fast is None or cpu in fast}
    sets = sorted({host[cpu].siblings for cpu in allowed}, key=lambda core: sorted(core & allowed))
    cores = tuple(Core(tuple(sorted(core & allowed)), core in quick or not quick) for core in sets)
    performance = sum(core.performance for core in cores)
    quota = quota_cores(tree)
    packages = {entry.package for entry in host.values()} - {None}
    return {
        "logical_cpus_online": len(online) or None,
        "allowed_cpus": tuple(sorted(allowed)),
        "physical_cores_allowed": len(cores) or None,
        "performance_cores_allowed": performance or None,
        "usable_cores": usable_cores(performance, quota),
        "smt": any(len(entry.siblings & online) > 1 for entry in host.values()),
        "sockets": len(packages) or (1 if host else None),
        "quota_cores": quota,
        "cores": cores,
    }


def _other_load(tree: Tree, groups: list[str], cpus: Mapping[str, Any]) -> Optional[float]:
    """Unknown where only a part of the CPUs may be used: the load average tells of all together."""
    return other_load(tree, groups) if len(cpus["allowed_cpus"]) == cpus["logical_cpus_online"] else None


def usable_cores(performance: int, quota: Optional[float]) -> int:
    """min(performance cores, max(1, floor(quota))); at least 1, because something runs this."""
    bound = performance if quota is None else min(performance, max(1, math.floor(quota)))
    return max(1, bound)


def _numa_fields(tree: Tree, nodes: tuple[NumaNode, ...]) -> dict[str, Any]:
    places = [f"{SYSTEM_NODE}/node{node.id}/hugepages" for node in nodes]
    return {"numa_nodes": nodes, "numa_hugepages_bytes": tuple(_huge_pages_in(tree, place) for place in places)}


def _allowed_nodes(tree: Tree, nodes: tuple[NumaNode, ...]) -> tuple[NumaNode, ...]:
    """The nodes without those whose memory this process may not have. A list that would leave no memory comes from another numbering."""
    allowed = effective(tree, "mems")
    found = tuple(node for node in nodes if allowed is None or node.id in allowed or not node.memory_bytes)
    return found if any(node.memory_bytes for node in found) else nodes


def _without_huge_pages(numa: Mapping[str, Any]) -> int:
    """Bytes of memory of these nodes, as a control group's limit counts them."""
    return max(0, sum(node.memory_bytes or 0 for node in numa["numa_nodes"]) - sum(numa["numa_hugepages_bytes"]))


def _numa_nodes(tree: Tree) -> tuple[NumaNode, ...]:
    names = [re.fullmatch(r"node(\d{1,5})", name) for name in tree.names(SYSTEM_NODE)]
    numbers = sorted(int(match.group(1)) for match in names if match)
    online = cpu_list(tree.read(f"{SYSTEM_NODE}/online"))
    nodes = []
    for number in numbers:
        if online is not None and number not in online:
            continue
        base = f"{SYSTEM_NODE}/node{number}"
        cpus = cpu_list(tree.read(f"{base}/cpulist")) or cpu_mask(tree.read(f"{base}/cpumap")) or frozenset()
        match = re.search(r"MemTotal:\s*([0-9]{1,15}) kB", tree.read(f"{base}/meminfo") or "")
        nodes.append(NumaNode(number, tuple(sorted(cpus)), int(match.group(1)) * 1024 if match else None))
    return tuple(nodes)


# --- memory and disk


def _meminfo(tree: Tree) -> dict[str, int]:
    """Name → bytes (names without a unit: the number)."""
    found = {}
    for line in (tree.read("/proc/meminfo") or "").splitlines():
        match = re.fullmatch(r"([^:]{1,64}):\s*([0-9]{1,15})( kB)?\s*", line)
        if match:
            found[match.group(1)] = int(match.group(2)) * (1024 if match.group(3) else 1)
    return found


def _huge_pages_in(tree: Tree, place: str) -> int:
    """Bytes of the huge pages of every size that one sysfs directory counts; none where they are more than a host can have."""
    total = 0
    for name in tree.names(place):
        match = re.fullmatch(r"hugepages-(\d{1,9})kB", name)
        if match:
            total += int(match.group(1)) * 1024 * max(0, tree.read_int(f"{place}/{name}/nr_hugepages") or 0)
    return _possible(total)


def _possible(size: int) -> int:
    """So many bytes; 0 for a number that only a damaged file tells."""
    return size if size < UNLIMITED_BYTES else 0


def _hugepages(tree: Tree, info: Mapping[str, int]) -> int:
    """Reserved huge pages of every size in bytes: the kernel tells them in up to three places."""
    default = _possible(info.get("HugePages_Total", 0) * info.get("Hugepagesize", 0))
    return max(_huge_pages_in(tree, "/sys/kernel/mm/hugepages"), default, info.get("Hugetlb", 0))


def _left(level: MemoryLevel, ours: Iterable[GroupMemory]) -> int:
    """What a limited level leaves when our own containers below it are gone."""
    inside = [group for group in ours if group.path.startswith(level.path.rstrip("/") + "/")]
    back = sum(group.anonymous + group.active_file for group in inside)
    return max(0, level.limit - max(0, level.used - back))


def _memory_fields(tree: Tree, groups: list[str], nodes: Optional[int]) -> dict[str, Any]:
    """`nodes`: bytes of the memory nodes that may be used, None where all may."""
    info, levels, ours = _meminfo(tree), memory_levels(tree), own_memory(tree, groups)
    own = _possible(sum(group.anonymous for group in ours))
    limits = [level.limit for level in levels] + ([] if nodes is None else [nodes])
    bounds = [_left(level, ours) for level in levels] + ([] if nodes is None else [nodes])
    if "MemAvailable" in info:
        # reserved huge pages are no part of MemAvailable: they are not taken off again
        bounds.append(min(info["MemAvailable"] + own, info.get("MemTotal", UNLIMITED_BYTES)))
    elif bounds and "MemTotal" in info:  # before Linux 3.14: a group's limit may be more than the host has
        bounds.append(info["MemTotal"])
    return {
        "memory_total_bytes": info.get("MemTotal"),
        "memory_limit_bytes": min(limits, default=None),
        "memory_available_bytes": min(bounds, default=None),
        "memory_used_by_deployment_bytes": own,
        "hugepages_reserved_bytes": _hugepages(tree, info),
        "swap_total_bytes": info.get("SwapTotal"),
    }


def _store_free(tree: Tree, store: str) -> Optional[int]:
    """Free bytes for the store: of the nearest directory above it that exists."""
    place = "/" + store.strip("/")
    while place != "/" and not tree.is_directory(place):
        place = os.path.dirname(place)
    try:
        room = os.statvfs(tree.outside(place) or "")
    except OSError:
        return None
    free = room.f_bavail * room.f_frsize
    return free if free < UNLIMITED_BYTES else None  # what keeps its files elsewhere tells any number


# --- what kind of host


def _in_container(tree: Tree) -> bool:
    if any(tree.exists(path) for path in CONTAINER_FILES):
        return True
    if re.search(r"(^|\0)container=[^\0]", tree.read("/proc/1/environ") or ""):
        return True
    paths = [line.split(":", 2)[-1] for line in (tree.read("/proc/self/cgroup") or "").splitlines()]
    return any(CONTAINER_GROUP.search(path) for path in paths)


def _machine_words(tree: Tree) -> str:
    """What the firmware calls the machine, in lower case; empty when it tells nothing."""
    places = ["/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name", "/sys/class/dmi/id/bios_vendor",
              "/proc/device-tree/compatible", "/proc/device-tree/model", "/proc/device-tree/hypervisor/compatible"]
    return " ".join((tree.read(place) or "").replace("\0", " ").strip() for place in places).strip().lower()


def _below_hypervisor(tree: Tree, info: _CpuInfo) -> bool:
    """Whether the kernel sees a hypervisor and is no part of it: Xen's first domain has the machine itself."""
    seen = "hypervisor" in info.flags() or bool((tree.read("/sys/hypervisor/type") or "").strip())
    return seen and "control_d" not in (tree.read("/proc/xen/capabilities") or "")


def _virtualization(tree: Tree, info: _CpuInfo) -> Optional[str]:
    if _in_container(tree):
        return "container"
    words = _machine_words(tree)
    named = MACHINE_VIRTUAL.search(words) and ".metal" not in words  # clouds also rent whole machines
    if named or tree.exists("/proc/device-tree/ibm,partition-name") or _below_hypervisor(tree, info):
        return "vm"
    known = bool(words or info.first("flags") or info.first("model", "hardware"))
    return "none" if known else None
