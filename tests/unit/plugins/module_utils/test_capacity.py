"""Capacity of hosts of every kind: each case is a tree of files in a dictionary."""
from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _capacity, _cgroup
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from host_cases import FURTHER
from host_trees import (
    CG,
    CPU,
    GIB,
    ID,
    NO_LIMIT_V1,
    V2_MOUNT,
    X86,
    arm,
    cpus,
    host,
    hybrid_cpus,
    memory,
    nodes,
    plant,
    process,
    v1_groups,
    v1_mounts,
    without,
)

CASES = {
    "plain, no groups": (
        host(),
        {"logical_cpus_online": 4, "allowed_cpus": [0, 1, 2, 3], "physical_cores_allowed": 4, "usable_cores": 4,
         "performance_cores_allowed": 4, "smt": False, "sockets": 1, "quota_cores": None, "arch": "x86_64",
         "isa": ["sse42", "avx", "avx2"], "memory_total_bytes": 16 * GIB, "memory_limit_bytes": None,
         "memory_available_bytes": 12 * GIB, "numa_nodes": [], "cpu_model": "Test CPU", "virtualization": "none"},
    ),
    "SMT": (host(cpus(8, threads=2)), {"physical_cores_allowed": 4, "usable_cores": 4, "smt": True}),
    "1 CPU": (host(cpus(1)), {"logical_cpus_online": 1, "usable_cores": 1, "allowed_cpus": [0], "smt": False}),
    "256 CPUs in groups": (
        host(cpus(256, threads=2, sockets=2)),
        {"logical_cpus_online": 256, "physical_cores_allowed": 128, "sockets": 2, "smt": True, "usable_cores": 128},
    ),
    "dual socket": (
        host(cpus(32, threads=2, sockets=2), nodes("0-7,16-23", "8-15,24-31")),
        {"sockets": 2, "physical_cores_allowed": 16, "numa_nodes": [
            {"id": 0, "cpus": [*range(8), *range(16, 24)], "memory_bytes": 4 * GIB},
            {"id": 1, "cpus": [*range(8, 16), *range(24, 32)], "memory_bytes": 4 * GIB}]},
    ),
    "NPS4: one socket, four nodes": (
        host(cpus(32, threads=2), nodes("0-3,16-19", "4-7,20-23", "8-11,24-27", "12-15,28-31")),
        {"sockets": 1, "numa": 4, "physical_cores_allowed": 16},
    ),
    "node without CPUs (memory only)": (host(nodes("0-3", "")), {"numa": 2}),
    "offline CPUs": (
        host(cpus(8, threads=2, offline=(5, 6, 7)), process(allowed="0-7")),
        {"logical_cpus_online": 5, "allowed_cpus": [0, 1, 2, 3, 4], "physical_cores_allowed": 4, "smt": True},
    ),
    "siblings switched off": (
        host(cpus(8, threads=2, offline=(4, 5, 6, 7))),
        {"logical_cpus_online": 4, "physical_cores_allowed": 4, "smt": False},
    ),
    "affinity narrower than the host": (
        host(cpus(8, threads=2), process(allowed="0,4")),
        {"allowed_cpus": [0, 4], "physical_cores_allowed": 1, "usable_cores": 1, "smt": True},
    ),
    "affinity as a mask only": (
        host(**{"/proc/self/status": "Cpus_allowed:\t3\n"}),
        {"allowed_cpus": [0, 1]},
    ),
    "one sibling of each core": (
        host(cpus(8, threads=2), process(allowed="0-3")), {"physical_cores_allowed": 4, "smt": True},
    ),
    "cpuset v2 narrower than the host": (
        host(process("0::/a/b\n", mounts=V2_MOUNT), {f"{CG}/a/cpuset.cpus.effective": "2-3\n"}),
        {"allowed_cpus": [2, 3], "usable_cores": 2, "logical_cpus_online": 4},
    ),
    "cpuset v2: a partition's parent lost its CPUs": (
        host(process("0::/a/b\n", mounts=V2_MOUNT),
             {f"{CG}/a/cpuset.cpus.effective": "0-1\n", f"{CG}/a/b/cpuset.cpus.effective": "2-3\n"}),
        {"allowed_cpus": [2, 3]},
    ),
    "cpuset v1 narrower than the host": (
        host(process(v1_groups("/docker/x"), mounts=v1_mounts()), {f"{CG}/cpuset/docker/x/cpuset.cpus": "1\n"}),
        {"allowed_cpus": [1], "usable_cores": 1},
    ),
    "quota v2": (
        host(process("0::/a\n", mounts=V2_MOUNT), {f"{CG}/a/cpu.max": "250000 100000\n"}),
        {"quota_cores": 2.5, "usable_cores": 2},
    ),
    "quota v2 on a parent only": (
        host(process("0::/a/b/c\n", mounts=V2_MOUNT),
             {f"{CG}/a/cpu.max": "150000 100000\n", f"{CG}/a/b/cpu.max": "max 100000\n", f"{CG}/a/b/c/cpu.max": "max 100000\n"}),
        {"quota_cores": 1.5, "usable_cores": 1},
    ),
    "quota v2: the smallest of the chain": (
        host(process("0::/a/b\n", mounts=V2_MOUNT),
             {f"{CG}/a/cpu.max": "300000 100000\n", f"{CG}/a/b/cpu.max": "20000 10000\n"}),
        {"quota_cores": 2.0, "usable_cores": 2},
    ),
    "quota below one core": (
        host(process("0::/a\n", mounts=V2_MOUNT), {f"{CG}/a/cpu.max": "50000 100000\n"}),
        {"quota_cores": 0.5, "usable_cores": 1},
    ),
    "quota above the host": (
        host(process("0::/a\n", mounts=V2_MOUNT), {f"{CG}/a/cpu.max": "800000 100000\n"}),
        {"quota_cores": 8.0, "usable_cores": 4},
    ),
    "quota and limit v1": (
        host(process(v1_groups("/docker/x"), mounts=v1_mounts()), {
            f"{CG}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", f"{CG}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            f"{CG}/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "150000\n",
            f"{CG}/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
            f"{CG}/memory/memory.limit_in_bytes": NO_LIMIT_V1,
            f"{CG}/memory/docker/x/memory.limit_in_bytes": f"{3 * GIB}\n",
            f"{CG}/memory/docker/x/memory.usage_in_bytes": f"{2 * GIB}\n",
            f"{CG}/memory/docker/x/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}\n"}),
        {"quota_cores": 1.5, "usable_cores": 1, "memory_limit_bytes": 3 * GIB, "memory_available_bytes": 2 * GIB},
    ),
    "v1, own namespace: the mount point is the container's group": (
        host(process(v1_groups("/"), mounts=v1_mounts()), {
            "/proc/meminfo": memory(64 * GIB, 60 * GIB)["/proc/meminfo"],
            f"{CG}/cpu,cpuacct/cpu.cfs_quota_us": "150000\n", f"{CG}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            f"{CG}/memory/memory.limit_in_bytes": f"{3 * GIB}\n", f"{CG}/memory/memory.usage_in_bytes": f"{GIB}\n"}),
        {"quota_cores": 1.5, "memory_total_bytes": 64 * GIB, "memory_limit_bytes": 3 * GIB,
         "memory_available_bytes": 2 * GIB},
    ),
    "v1, host namespace, mounted at the container's group": (
        host(process(v1_groups("/docker/x"), mounts=v1_mounts("/docker/x")), {
            f"{CG}/cpu,cpuacct/cpu.cfs_quota_us": "100000\n", f"{CG}/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}),
        {"quota_cores": 1.0, "usable_cores": 1, "virtualization": "container"},
    ),
    "v1 without a list of mounts": (
        host(process(v1_groups("/a")), {
            f"{CG}/cpu/a/cpu.cfs_quota_us": "200000\n", f"{CG}/cpu/a/cpu.cfs_period_us": "100000\n"}),
        {"quota_cores": 2.0},
    ),
    "v2 without a list of mounts": (
        host(process("0::/a\n"), {f"{CG}/cgroup.controllers": "cpu\n", f"{CG}/a/cpu.max": "200000 100000\n"}),
        {"quota_cores": 2.0},
    ),
    "v2, namespace shows the root": (
        host(process("0::/\n", mounts=V2_MOUNT), {
            f"{CG}/cpu.max": "200000 100000\n", f"{CG}/memory.max": f"{4 * GIB}\n", f"{CG}/memory.current": f"{GIB}\n",
            f"{CG}/memory.stat": f"anon 1\ninactive_file {GIB // 2}\n"}),
        {"quota_cores": 2.0, "memory_limit_bytes": 4 * GIB, "memory_available_bytes": 4 * GIB - GIB // 2},
    ),
    "v2, process outside its namespace": (
        host(process("0::/../..\n", mounts=V2_MOUNT), {f"{CG}/cpu.max": "100000 100000\n"}), {"quota_cores": 1.0},
    ),
    "v2, limit on a parent": (
        host(process("0::/a/b\n", mounts=V2_MOUNT), {
            f"{CG}/a/memory.max": f"{8 * GIB}\n", f"{CG}/a/memory.current": f"{5 * GIB}\n",
            f"{CG}/a/b/memory.max": "max\n", f"{CG}/a/b/memory.current": f"{4 * GIB}\n"}),
        {"memory_limit_bytes": 8 * GIB, "memory_available_bytes": 3 * GIB},
    ),
    "v2, the parent's room is smaller than the child's": (
        host(process("0::/a/b\n", mounts=V2_MOUNT), {
            f"{CG}/a/memory.max": f"{8 * GIB}\n", f"{CG}/a/memory.current": f"{7 * GIB}\n",
            f"{CG}/a/b/memory.max": f"{4 * GIB}\n", f"{CG}/a/b/memory.current": f"{GIB}\n"}),
        {"memory_limit_bytes": 4 * GIB, "memory_available_bytes": GIB},
    ),
    "usage above the limit": (
        host(process("0::/a\n", mounts=V2_MOUNT),
             {f"{CG}/a/memory.max": f"{GIB}\n", f"{CG}/a/memory.current": f"{2 * GIB}\n"}),
        {"memory_available_bytes": 0},
    ),
    "held back before the limit": (
        host(process("0::/a/b\n", mounts=V2_MOUNT), {
            f"{CG}/a/memory.max": f"{8 * GIB}\n", f"{CG}/a/memory.high": f"{4 * GIB}\n", f"{CG}/a/memory.current": f"{GIB}\n",
            f"{CG}/a/b/memory.max": "max\n", f"{CG}/a/b/memory.high": "max\n"}),
        {"memory_limit_bytes": 4 * GIB, "memory_available_bytes": 3 * GIB},
    ),
    "a burst above the quota does not last": (
        host(cpus(4), process("0::/a\n", mounts=V2_MOUNT), {f"{CG}/a/cpu.max": "200000 100000\n", f"{CG}/a/cpu.max.burst": "100000\n"}),
        {"quota_cores": 2.0, "usable_cores": 2},
    ),
    "the siblings of all cores are offline": (
        host(cpus(4), {f"{CPU}/online": "0-3\n", **{f"{CPU}/cpu{cpu}/topology/core_cpus_list": f"{cpu}\n" for cpu in range(4)},
                       **{f"{CPU}/cpu{cpu}/topology/core_cpus_list": f"{cpu - 4},{cpu}\n" for cpu in range(4, 8)}}),
        {"allowed_cpus": [0, 1, 2, 3], "physical_cores_allowed": 4, "smt": False},
    ),
    "hybrid groups: processors v1, the rest v2": (
        host(process("3:cpu,cpuacct:/s\n0::/s/u\n",
                     mounts=f"31 23 0:28 / {CG}/unified rw - cgroup2 cgroup2 rw\n" + v1_mounts(names=("cpu,cpuacct",))), {
            f"{CG}/cpu,cpuacct/s/cpu.cfs_quota_us": "300000\n", f"{CG}/cpu,cpuacct/s/cpu.cfs_period_us": "100000\n",
            f"{CG}/unified/s/memory.max": f"{2 * GIB}\n"}),
        {"quota_cores": 3.0, "memory_limit_bytes": 2 * GIB, "memory_available_bytes": 2 * GIB},
    ),
    "Kubernetes v2": (
        host(process("0::/kubepods/burstable/pod1/ctr\n", mounts=V2_MOUNT),
             {f"{CG}/kubepods/burstable/pod1/cpu.max": "100000 100000\n"}),
        {"quota_cores": 1.0, "virtualization": "container"},
    ),
    "LXC": (
        host(process("0::/lxc.payload.c1/system.slice/ssh.service\n", allowed="2-3"),
             {"/proc/1/environ": "TERM=linux\0container=lxc\0", f"{CG}/lxc.payload.c1/cpu.max": "100000 100000\n"}),
        {"virtualization": "container", "allowed_cpus": [2, 3], "quota_cores": 1.0},
    ),
    "LXC with renumbered CPUs": (
        host(cpus(2), process(allowed="4-5"), {"/run/systemd/container": "lxc"}),
        {"allowed_cpus": [4, 5], "usable_cores": 2, "virtualization": "container"},
    ),
    "VM": (host(cpus(4, flags=X86 + " hypervisor")), {"virtualization": "vm"}),
    "VM by its firmware": (
        host(arm(4), {"/sys/class/dmi/id/sys_vendor": "QEMU\n"}), {"virtualization": "vm", "arch": "aarch64"},
    ),
    "rented metal": (
        host(arm(4), {"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "c7g.metal\n"}),
        {"virtualization": "none"},
    ),
    "VM without topology": (
        without(host(cpus(4, flags=X86 + " hypervisor")), "topology"),
        {"physical_cores_allowed": 4, "usable_cores": 4, "virtualization": "vm"},
    ),
    "topology in cpuinfo only": (
        {**without(host(), CPU), "/proc/cpuinfo": "".join(
            f"processor: {n}\nphysical id: {n // 4}\ncore id: {n % 2}\nflags: lm avx2\n\n" for n in range(8))},
        {"logical_cpus_online": 8, "physical_cores_allowed": 4, "sockets": 2, "smt": True},
    ),
    "core numbers without sibling lists": (
        {**without(host(cpus(4)), "thread_siblings"), **{f"{CPU}/cpu{n}/topology/core_id": f"{n % 2}\n" for n in range(4)}},
        {"physical_cores_allowed": 2, "smt": True},
    ),
    "sibling masks": (
        {**without(host(cpus(4)), "thread_siblings"),
         **{f"{CPU}/cpu{n}/topology/thread_siblings": f"{'5' if n % 2 == 0 else 'a'}\n" for n in range(4)}},
        {"physical_cores_allowed": 2, "smt": True},
    ),
    "P and E cores": (
        host(hybrid_cpus()),
        {"physical_cores_allowed": 12, "performance_cores_allowed": 4, "usable_cores": 4, "smt": True, "cores": [
            *({"cpus": [n, n + 1], "performance": True} for n in range(0, 8, 2)),
            *({"cpus": [n], "performance": False} for n in range(8, 16))]},
    ),
    "P and E cores, allowed on E cores only": (
        host(hybrid_cpus(), process(allowed="8-13")),
        {"physical_cores_allowed": 6, "performance_cores_allowed": 6, "usable_cores": 6},
    ),
    "P and E cores, one P core allowed": (
        host(hybrid_cpus(), process(allowed="0-1,8-15")),
        {"physical_cores_allowed": 9, "performance_cores_allowed": 1, "usable_cores": 1},
    ),
    "big.LITTLE": (
        host(arm(8, capacities=[446] * 4 + [1024] * 4)),
        {"arch": "aarch64", "isa": ["neon"], "physical_cores_allowed": 8, "performance_cores_allowed": 4},
    ),
    "three kinds of cores": (
        host(arm(8, capacities=[250] * 3 + [820] * 4 + [1024])), {"performance_cores_allowed": 5},
    ),
    "big.LITTLE, allowed on small cores only": (
        host(arm(8, capacities=[446] * 4 + [1024] * 4), process(allowed="0-3")), {"performance_cores_allowed": 4},
    ),
    "ARM server": (
        host(arm(4, features="fp asimd asimddp sve i8mm")),
        {"isa": ["neon", "dotprod", "i8mm", "sve"], "cpu_model": "implementer 0x41 part 0xd08", "virtualization": None},
    ),
    "Raspberry Pi: memory groups off": (
        host(arm(4, features="fp asimd crc32", model="Raspberry Pi 4 Model B"), memory(4 * GIB, 3 * GIB),
             process("0::/user.slice\n", mounts=V2_MOUNT), {f"{CG}/cgroup.controllers": "cpuset cpu io pids\n"}),
        {"memory_limit_bytes": None, "memory_available_bytes": 3 * GIB, "virtualization": "none", "usable_cores": 4},
    ),
    "32-bit ARM": (
        host({"/proc/cpuinfo": "processor: 0\nFeatures: half neon\nCPU implementer: 0x41\nCPU architecture: 7\n"}),
        {"arch": "armv7l", "isa": ["neon"]},
    ),
    "server instruction sets": (
        host(cpus(4, flags=X86 + " avx512f avx512_vnni amx_tile")),
        {"isa": ["sse42", "avx", "avx2", "avx512", "avx512_vnni", "amx"]},
    ),
    "CPUs with unequal instruction sets": (
        host({"/proc/cpuinfo": "processor: 0\nflags: lm avx avx2 avx512f\n\nprocessor: 1\nflags: lm avx avx2\n"}),
        {"isa": ["avx", "avx2"]},
    ),
    "huge pages of two sizes and swap": (
        host(memory(swap=2 * GIB, HugePages_Total=" 512", Hugepagesize=" 2048 kB"), {
            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "512\n",
            "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "2\n"}),
        {"hugepages_reserved_bytes": 3 * GIB, "swap_total_bytes": 2 * GIB, "memory_available_bytes": 12 * GIB},
    ),
    "huge pages in meminfo only": (
        host(memory(HugePages_Total=" 512", Hugepagesize=" 2048 kB")), {"hugepages_reserved_bytes": GIB},
    ),
    "memory channels by EDAC": (
        host({f"/sys/devices/system/edac/mc/mc{c}/dimm{d}/{name}": text for c in (0, 1) for d in range(4)
              for name, text in (("dimm_location", f"channel {d // 2} slot {d % 2}\n"), ("size", f"{16384 * (d % 2)}\n"))}),
        {"memory_channels": 4},
    ),
    "nothing in the channels": (
        host({"/sys/devices/system/edac/mc/mc0/dimm0/dimm_location": "channel 0\n"}), {"memory_channels": None},
    ),
    "our deployment is added back": (
        host(memory(16 * GIB, 6 * GIB), process("0::/user.slice\n", mounts=V2_MOUNT), {
            "/opt/localai/state/instances.json": json.dumps({"instances": [{"name": "localai", "container_id": ID}]}),
            f"{CG}/system.slice/docker-{ID}.scope/memory.stat": f"anon {4 * GIB}\nfile {2 * GIB}\nactive_file {GIB}\n"}),
        {"memory_available_bytes": 10 * GIB, "memory_used_by_deployment_bytes": 4 * GIB},
    ),
    "our deployment below a limited level (v1)": (
        host(memory(64 * GIB, 60 * GIB), process(v1_groups("/"), mounts=v1_mounts()), {
            "/opt/localai/state/instances.json": json.dumps({"instances": [{"name": "localai", "container_id": ID}]}),
            f"{CG}/memory/memory.limit_in_bytes": f"{3 * GIB}\n",
            f"{CG}/memory/memory.usage_in_bytes": f"{2 * GIB}\n",
            f"{CG}/memory/memory.stat": f"total_inactive_file {GIB // 4}\n",
            f"{CG}/memory/docker/{ID}/memory.stat": f"total_rss {GIB}\ntotal_cache {GIB // 2}\ntotal_active_file {GIB // 4}\n"}),
        {"memory_available_bytes": 3 * GIB - GIB // 2, "memory_used_by_deployment_bytes": GIB},
    ),
    "our deployment beside a limited level": (
        host(process("0::/user\n", mounts=V2_MOUNT), {
            "/opt/localai/state/instances.json": json.dumps({"instances": [{"name": "localai", "container_id": ID}]}),
            f"{CG}/user/memory.max": f"{GIB}\n", f"{CG}/docker/{ID}/memory.stat": f"anon {2 * GIB}\n"}),
        {"memory_available_bytes": GIB, "memory_used_by_deployment_bytes": 2 * GIB},
    ),
    "state that names a container that is gone": (
        host({"/opt/localai/state/instances.json": json.dumps({"instances": [{"name": "x", "container_id": ID}]})}),
        {"memory_used_by_deployment_bytes": 0},
    ),
    "state that is no state": (
        host({"/opt/localai/state/instances.json": '{"instances": [{"container_id": "../../etc"}, 5]}'}),
        {"memory_used_by_deployment_bytes": 0, "memory_available_bytes": 12 * GIB},
    ),
    "missing: system CPU files": (
        without(host(), CPU), {"logical_cpus_online": 4, "physical_cores_allowed": 4, "sockets": 1},
    ),
    "missing: cpuinfo": (
        without(host(), "cpuinfo"), {"logical_cpus_online": 4, "isa": [], "cpu_model": None, "virtualization": None},
    ),
    "missing: status": (without(host(), "/proc/self/status"), {"allowed_cpus": [0, 1, 2, 3]}),
    "missing: online list": (
        {**without(host(), f"{CPU}/online"), f"{CPU}/cpu3/online": "0\n"}, {"logical_cpus_online": 3},
    ),
    "missing: meminfo": (
        without(host(), "meminfo"),
        {"memory_total_bytes": None, "memory_available_bytes": None, "swap_total_bytes": None},
    ),
    "missing: everything": (
        {}, {"logical_cpus_online": None, "allowed_cpus": [], "physical_cores_allowed": None, "usable_cores": 1,
             "performance_cores_allowed": None, "sockets": None, "arch": None, "memory_total_bytes": None,
             "memory_channels": None, "virtualization": None, "quota_cores": None, "numa_nodes": []},
    ),
    "malformed files": (
        host(process("nonsense\n4:\n", allowed="many", mounts="31 23\n- cgroup2\n"), {
            f"{CPU}/online": "0-x\n", "/proc/meminfo": "MemTotal: lots\n", f"{CG}/cpu.max": "quick 100000\n",
            f"{CG}/memory.max": "-5\n", f"{CPU}/cpu0/topology/thread_siblings_list": "9-1\n"}),
        {"logical_cpus_online": 4, "quota_cores": None, "memory_limit_bytes": None, "memory_total_bytes": None},
    ),
}


CASES.update(FURTHER)


@pytest.mark.parametrize("name", CASES)
def test_read_capacity(tmp_path, name):
    files, want = CASES[name]
    got = _capacity.read_capacity(plant(tmp_path, files)).as_dict()
    got["numa"] = len(got["numa_nodes"])
    assert {key: got[key] for key in want} == want


@pytest.mark.parametrize("name", CASES)
def test_the_fields_agree(tmp_path, name):
    got = _capacity.read_capacity(plant(tmp_path, CASES[name][0]))
    assert {cpu for core in got.cores for cpu in core.cpus} == set(got.allowed_cpus)
    assert (len(got.cores) or None, sum(core.performance for core in got.cores) or None) == (got.physical_cores_allowed, got.performance_cores_allowed)
    assert 1 <= got.usable_cores <= max(1, got.performance_cores_allowed or 0) and got.usable_cores <= max(1, got.quota_cores or got.usable_cores)
    assert _capacity.Capacity.from_dict(got.as_dict()) == got


@pytest.mark.parametrize("name", ["SMT", "dual socket", "P and E cores", "missing: everything"])
def test_as_dict_and_back(tmp_path, name):
    capacity = _capacity.read_capacity(plant(tmp_path, CASES[name][0]))
    told = json.loads(json.dumps(capacity.as_dict()))
    assert _capacity.Capacity.from_dict({**told, "later": 1}) == capacity


@pytest.mark.parametrize("change, text", [({"schema": 2}, "schema"), ({"isa": None}, "isa")])
def test_from_dict_refuses(tmp_path, change, text):
    data = _capacity.read_capacity(str(tmp_path)).as_dict()
    data.update(change)
    data = {key: value for key, value in data.items() if value is not None or key != "isa"}
    with pytest.raises(FleetError, match=text):
        _capacity.Capacity.from_dict(data)


def test_unreadable_files_are_unknown(tmp_path):
    root = plant(tmp_path, without(host(process("0::/a\n", mounts=V2_MOUNT)), "meminfo"))
    for path in ("proc/meminfo", "sys/fs/cgroup/a/cpu.max", "sys/fs/cgroup/a/memory.max"):
        (tmp_path / path).mkdir(parents=True)
    got = _capacity.read_capacity(root)
    assert (got.quota_cores, got.memory_limit_bytes, got.memory_total_bytes) == (None, None, None)


def test_links_of_the_host_are_followed_inside_the_root(tmp_path):
    root = plant(tmp_path, host(process(v1_groups("/")), {
        f"{CG}/cpu,cpuacct/cpu.cfs_quota_us": "200000\n", f"{CG}/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}))
    (tmp_path / "sys/fs/cgroup/cpu").symlink_to("cpu,cpuacct")
    (tmp_path / "proc/42").mkdir()
    (tmp_path / "proc/self/status").rename(tmp_path / "proc/42/status")
    (tmp_path / "proc/self/status").symlink_to("/proc/42/status")
    assert _capacity.read_capacity(root).quota_cores == 2.0


def test_a_disk_of_any_size_is_of_unknown_size(tmp_path, monkeypatch):
    """As file systems tell it that keep their files elsewhere."""
    monkeypatch.setattr(_capacity.os, "statvfs", lambda _place: SimpleNamespace(f_bavail=1 << 52, f_frsize=1 << 12))
    assert _capacity.read_capacity(str(tmp_path)).store_free_bytes is None


def test_store_free_is_of_the_nearest_directory(tmp_path):
    assert _capacity.read_capacity(str(tmp_path)).store_free_bytes > 0


@pytest.mark.parametrize("text, told", [(None, None), ('{"threads": 2}', {"threads": 2}), ("{", False), ("[" * 100_000, False)])
def test_the_measurement_of_threads_is_told_as_it_is(tmp_path, text, told):
    plant(tmp_path, {} if text is None else {"/srv/ai/state/tuning.json": text})
    found = _capacity.read_capacity(str(tmp_path), "/srv/ai")
    assert found.tuning == told
    assert _capacity.Capacity.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert hash(found) is not None


def test_reads_nothing_outside_the_root(tmp_path, monkeypatch):
    root = plant(tmp_path, CASES["our deployment is added back"][0])
    seen, opened = [], _cgroup.os.open
    monkeypatch.setattr(_cgroup.os, "open", lambda path, *rest: seen.append(path) or opened(path, *rest))
    _capacity.read_capacity(root)
    assert seen and all(path.startswith(root) for path in seen)


def test_a_large_host_is_read_fast(tmp_path):
    root = plant(tmp_path, CASES["256 CPUs in groups"][0])
    start = time.process_time()
    _capacity.read_capacity(root)
    assert time.process_time() - start < 1  # the promise is 0.1 s; a busy machine gets ten times that


def two_nodes(tmp_path, *parts, **change):
    huge = {f"/sys/devices/system/node/node1/hugepages/hugepages-2048kB/{name}": text
            for name, text in (("nr_hugepages", "512\n"), ("free_hugepages", "512\n"))}
    files = host(cpus(32, threads=2, sockets=2), nodes("0-7,16-23", "8-15,24-31", memory_kib=8 << 20), huge, *parts)
    return replace(_capacity.read_capacity(plant(tmp_path, files)), **change)


def test_node_capacity(tmp_path):
    whole = two_nodes(tmp_path, memory_channels=12, memory_limit_bytes=10 * GIB)
    node = _capacity.node_capacity(whole, 1)
    assert (node.numa_node, node.allowed_cpus) == (1, (*range(8, 16), *range(24, 32)))
    assert (node.physical_cores_allowed, node.performance_cores_allowed, node.usable_cores) == (8, 8, 8)
    assert node.cores[0] == _capacity.Core((8, 24), True)
    assert (node.memory_total_bytes, node.memory_limit_bytes, node.memory_available_bytes) == (8 * GIB, 5 * GIB, 6 * GIB)
    assert (node.hugepages_reserved_bytes, _capacity.node_capacity(whole, 0).hugepages_reserved_bytes) == (GIB, 0)
    assert (node.memory_channels, node.quota_cores, node.sockets, node.smt) == (6, None, 2, True)
    assert _capacity.Capacity.from_dict(json.loads(json.dumps(node.as_dict()))) == node


@pytest.mark.parametrize("quota, share, usable", [(8.0, 4.0, 4), (3.0, 1.5, 1), (64.0, 32.0, 8)])
def test_a_node_gets_its_share_of_the_quota(tmp_path, quota, share, usable):
    node = _capacity.node_capacity(two_nodes(tmp_path, quota_cores=quota), 0)
    assert (node.quota_cores, node.usable_cores) == (share, usable)


def test_a_node_with_fewer_allowed_cpus(tmp_path):
    whole = two_nodes(tmp_path, process(allowed="0-3,16-19,8"), quota_cores=5.0)
    small = _capacity.node_capacity(whole, 1)
    assert (small.allowed_cpus, small.usable_cores, small.quota_cores) == ((8,), 1, 1.0)
    assert _capacity.node_capacity(whole, 0).quota_cores == 4.0


@pytest.mark.parametrize("allowed, node, text", [("0-31", 7, "no such memory node.*Its nodes are 0, 1"), ("0-7", 1, "No CPU")])
def test_a_node_that_cannot_be_used(tmp_path, allowed, node, text):
    with pytest.raises(FleetError, match=text):
        _capacity.node_capacity(two_nodes(tmp_path, process(allowed=allowed)), node)


@pytest.mark.parametrize("lists, allowed, quota, want", [
    (("0-1", "2-3"), "0-3", None, (0, 1)),
    (("0-1", "2-3", ""), "0-3", None, (0, 1)),
    (("0-1", "2-3"), "0-3", 2.0, (0, 1)),
    (("0-1", "2-3"), "0-3", 1.9, ()),
    (("0-1", "2-3"), "0-1", None, ()),
    (("0-1", "2-3"), "0,2-3", 2.0, ()),
    (("0-1", "2-3"), "0,2-3", 3.0, (0, 1)),
    (("0-1", "2-3"), "0,2-3", None, (0, 1)),
    (("0-3",) * 8, "0-3", None, ()),
    (("0-1", "2-3", "0-1", "2-3"), "0-3", None, ()),
    (("0-1", "1-3"), "0-3", None, ()),
    (("0-1", "1-3"), "0,2-3", None, (0, 1)),
    (("0-3",), "0-3", None, ()),
    ((), "0-3", None, ()),
])
def test_usable_nodes(tmp_path, lists, allowed, quota, want):
    capacity = _capacity.read_capacity(plant(tmp_path, host(nodes(*lists), process(allowed=allowed))))
    assert _capacity.usable_nodes(replace(capacity, quota_cores=quota)) == want
