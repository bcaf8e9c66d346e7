"""Trees of further hosts, how containers, large machines and unusual kernels look, with what is to be read of them."""
from __future__ import annotations

import os

from host_trees import CG, CPU, GIB, NO_LIMIT_V1, V2_MOUNT, X86, arm, cpus, host, memory, nodes, process, v1_groups, v1_mounts, without

PODMAN = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ab.scope/container"
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/cri-containerd-ab.scope"
SNC = ("0-9,40-49", "10-19,50-59", "20-29,60-69", "30-39,70-79")


def capacities(**by_cpu):
    """`c0=250` → the relative speed of CPU 0."""
    return {f"{CPU}/cpu{name[1:]}/cpu_capacity": f"{speed}\n" for name, speed in by_cpu.items()}


def mems(told):
    """A process whose group may have the memory of these nodes."""
    return {**process("0::/a\n", mounts=V2_MOUNT), f"{CG}/a/cpuset.mems.effective": f"{told}\n"}


def own_cores(count, *parts):
    """Intel hybrid without SMT: every CPU is a core."""
    return host(cpus(count), {"/sys/devices/cpu_core/cpus": "0-7\n", "/sys/devices/cpu_atom/cpus": f"8-{count - 1}\n"}, *parts)


def level(path, quota=None, period=100000, limit=None, used=None, idle=0, version=2):
    """The files of one control group."""
    files = {}
    if quota is not None and version == 2:
        files[f"{CG}{path}/cpu.max"] = f"{quota} {period}\n"
    elif quota is not None:
        files.update({f"{CG}/cpu,cpuacct{path}/cpu.cfs_quota_us": f"{quota}\n", f"{CG}/cpu,cpuacct{path}/cpu.cfs_period_us": f"{period}\n"})
    names = ("memory.max", "memory.current", "") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes", "/memory")
    if limit is not None:
        files[f"{CG}{names[2]}{path}/{names[0]}"] = f"{limit}\n"
    if used is not None:
        files[f"{CG}{names[2]}{path}/{names[1]}"] = f"{used}\n"
        files[f"{CG}{names[2]}{path}/memory.stat"] = f"inactive_file {idle // 2}\ntotal_inactive_file {idle}\n" if version == 1 else f"inactive_file {idle}\n"
    return files


FURTHER = {
    "LXC: cpuinfo of lxcfs shows fewer CPUs than sysfs": (
        host(cpus(16, threads=2), process("0::/\n", allowed="2-3,10-11", mounts=V2_MOUNT), level("/", quota=300000),
             {"/proc/cpuinfo": cpus(4)["/proc/cpuinfo"], "/run/systemd/container": "lxc", f"{CG}/cpuset.cpus.effective": "2-3,10-11\n"}),
        {"logical_cpus_online": 16, "allowed_cpus": [2, 3, 10, 11], "physical_cores_allowed": 2, "usable_cores": 2, "quota_cores": 3.0,
         "virtualization": "container", "smt": True},
    ),
    "systemd: quota on a slice, limit on the service": (
        host(process("0::/batch.slice/ai.slice/run.service\n", mounts=V2_MOUNT), level("/batch.slice", quota=175000, limit="max", used=9 * GIB),
             level("/batch.slice/ai.slice", quota="max"), level("/batch.slice/ai.slice/run.service", limit=4 * GIB, used=3 * GIB, idle=2 * GIB)),
        {"quota_cores": 1.75, "usable_cores": 1, "memory_limit_bytes": 4 * GIB, "memory_available_bytes": 3 * GIB},
    ),
    "Kubernetes v2, own namespace": (
        host(process("0::/\n", mounts=V2_MOUNT), level("/", quota=250000, limit=2 * GIB, used=GIB),
             {"/proc/1/environ": "KUBERNETES_SERVICE_HOST=10.0.0.1\0"}),
        {"quota_cores": 2.5, "usable_cores": 2, "memory_limit_bytes": 2 * GIB, "memory_available_bytes": GIB},
    ),
    "Kubernetes v2, node's namespace, limit on the pod": (
        host(process(f"0::{POD}\n", mounts=V2_MOUNT), level(os.path.dirname(POD), quota=150000, limit=3 * GIB, used=GIB), level(POD, quota="max", limit="max")),
        {"quota_cores": 1.5, "memory_limit_bytes": 3 * GIB, "virtualization": "container"},
    ),
    "Kubernetes v1: the pod's limit is seen through its hierarchy only": (
        host(process(v1_groups("/kubepods/podx/c"), mounts=v1_mounts("/kubepods/podx/c")),
             {f"{CG}/memory/memory.limit_in_bytes": NO_LIMIT_V1, f"{CG}/memory/memory.usage_in_bytes": f"{GIB}\n",
              f"{CG}/memory/memory.stat": f"inactive_file 0\nhierarchical_memory_limit {2 * GIB}\n"}),
        {"memory_limit_bytes": 2 * GIB, "memory_available_bytes": GIB, "virtualization": "container"},
    ),
    "Docker in Docker v1: the outer quota is the smaller": (
        host(process(v1_groups("/docker/out/docker/in"), mounts=v1_mounts()), level("/docker/out", quota=100000, version=1),
             level("/docker/out/docker/in", quota=400000, version=1)),
        {"quota_cores": 1.0, "virtualization": "container"},
    ),
    "Docker in Docker v1: groups of the outer container are the root": (
        host(process(v1_groups("/docker/out/docker/in"), mounts=v1_mounts("/docker/out")), level("", quota=300000, version=1),
             level("/docker/in", quota=200000, version=1, limit=3 * GIB, used=2 * GIB, idle=GIB)),
        {"quota_cores": 2.0, "memory_limit_bytes": 3 * GIB, "memory_available_bytes": 2 * GIB},
    ),
    "Docker in Docker v2": (
        host(process("0::/docker/in\n", mounts=V2_MOUNT), level("", quota=350000), level("/docker/in", quota="max"), {"/.dockerenv": ""}),
        {"quota_cores": 3.5, "usable_cores": 3, "virtualization": "container"},
    ),
    "Podman without root": (
        host(process(f"0::{PODMAN}\n", mounts=V2_MOUNT), level("/user.slice/user-1000.slice", quota=200000), {"/run/.containerenv": ""}),
        {"quota_cores": 2.0, "virtualization": "container"},
    ),
    "hybrid groups: quota in both versions": (
        host(process("3:cpu,cpuacct:/a\n0::/b\n", mounts=f"30 23 0:9 / {CG}/unified rw - cgroup2 cgroup2 rw\n" + v1_mounts(names=("cpu,cpuacct",))),
             level("/a", quota=300000, version=1), {f"{CG}/unified/b/cpu.max": "200000 100000\n"}),
        {"quota_cores": 2.0},
    ),
    "a group that was deleted": (
        host(process("0::/a/b (deleted)\n", mounts=V2_MOUNT), level("/a", quota=200000)), {"quota_cores": 2.0},
    ),
    "a group with a colon and blanks in its name": (
        host(process("0::/a:b/c d\n", mounts=V2_MOUNT), level("/a:b/c d", quota=300000)), {"quota_cores": 3.0},
    ),
    "the same hierarchy mounted twice": (
        host(process("0::/x\n", mounts=V2_MOUNT + "40 23 0:28 / /run/cg rw - cgroup2 cgroup2 rw\n"), {"/run/cg/x/cpu.max": "100000 100000\n"},
             level("/x", quota=200000)),
        {"quota_cores": 1.0},
    ),
    "quota of zero, negative and without a period": (
        host(process("0::/a/b/c\n", mounts=V2_MOUNT), level("/a", quota=0), level("/a/b", quota=-1), {f"{CG}/a/b/c/cpu.max": "100000\n"}),
        {"quota_cores": None, "usable_cores": 4},
    ),
    "a quota line of another form": (
        host(process("0::/a\n", mounts=V2_MOUNT), {f"{CG}/a/cpu.max": "12 34 56\n"}), {"quota_cores": None},
    ),
    "groups of version 2 that are named as controllers of version 1": (
        host(process("0::/run.service\n", mounts=V2_MOUNT), {f"{CG}/cpuset/cpuset.cpus": "0\n"}), {"allowed_cpus": [0, 1, 2, 3]},
    ),
    "quota with a period of its own": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", quota=7500, period=5000)), {"quota_cores": 1.5, "usable_cores": 1},
    ),
    "a limit of 2^62 is none, one less is one": (
        host(process("0::/a/b\n", mounts=V2_MOUNT), level("/a", limit=1 << 62), level("/a/b", limit=(1 << 62) - 1)),
        {"memory_limit_bytes": (1 << 62) - 1, "memory_available_bytes": 12 * GIB},
    ),
    "a limit of zero": (host(process("0::/a\n", mounts=V2_MOUNT), level("/a", limit=0)), {"memory_limit_bytes": 0, "memory_available_bytes": 0}),
    "more inactive files than usage": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", limit=4 * GIB, used=GIB, idle=2 * GIB)), {"memory_available_bytes": 4 * GIB},
    ),
    "fewer inactive files than none": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", limit=4 * GIB, used=GIB, idle=-2 * GIB)), {"memory_available_bytes": 3 * GIB},
    ),
    "cpuset: each level is narrower": (
        host(cpus(16), process("0::/a/b\n", mounts=V2_MOUNT), {f"{CG}/cpuset.cpus.effective": "0-15\n", f"{CG}/a/cpuset.cpus": "4-11\n",
                                                               f"{CG}/a/b/cpuset.cpus.effective": "8-15\n"}),
        {"allowed_cpus": [8, 9, 10, 11]},
    ),
    "cpuset: the deepest level says nothing": (
        host(process("0::/a/b\n", mounts=V2_MOUNT), {f"{CG}/a/cpuset.cpus.effective": "1-2\n", f"{CG}/a/b/cpuset.cpus": "\n"}), {"allowed_cpus": [1, 2]},
    ),
    "cpuset v1 wider than the affinity": (
        host(process(v1_groups("/a"), allowed="3", mounts=v1_mounts()), {f"{CG}/cpuset/a/cpuset.cpus": "0-3\n"}),
        {"allowed_cpus": [3], "usable_cores": 1},
    ),
    "isolated CPUs": (host(cpus(8, threads=2), process(allowed="0-1,4-5")), {"allowed_cpus": [0, 1, 4, 5], "physical_cores_allowed": 2}),
    "hybrid without SMT": (
        own_cores(16), {"physical_cores_allowed": 16, "performance_cores_allowed": 8, "usable_cores": 8, "smt": False},
    ),
    "hybrid: P cores by the E cores' list": (
        without(own_cores(12), "cpu_core"), {"physical_cores_allowed": 12, "performance_cores_allowed": 8},
    ),
    "hybrid: E cores only": (without(host(cpus(4), {"/sys/devices/cpu_atom/cpus": "0-3\n"}), "cpu_core"), {"performance_cores_allowed": 4}),
    "hybrid: quota below the P cores": (
        own_cores(16, process("0::/a\n", mounts=V2_MOUNT), level("/a", quota=350000)), {"performance_cores_allowed": 8, "usable_cores": 3},
    ),
    "hybrid: P cores are offline": (
        host(cpus(12, offline=range(8)), {"/sys/devices/cpu_core/cpus": "0-7\n"}, process(allowed="0-11")),
        {"logical_cpus_online": 4, "allowed_cpus": [8, 9, 10, 11], "performance_cores_allowed": 4},
    ),
    "hybrid: low power cores are no fast ones while the P cores are offline": (
        host(cpus(8), {f"/sys/devices/{name}/cpus": told for name, told in (("cpu_core", "\n"), ("cpu_atom", "0-5\n"), ("cpu_lowpower", "6-7\n"))}),
        {"physical_cores_allowed": 8, "performance_cores_allowed": 8},
    ),
    "capacity of the top by one point": (
        host(arm(4, capacities=[1000, 800, 799, 0])), {"performance_cores_allowed": 2, "physical_cores_allowed": 4},
    ),
    "three kinds of cores, the fastest not allowed": (
        host(arm(8, capacities=[250] * 3 + [820] * 4 + [1024]), process(allowed="0-6")), {"physical_cores_allowed": 7, "performance_cores_allowed": 4},
    ),
    "three kinds of cores, none fast allowed": (
        host(arm(8, capacities=[250] * 4 + [700] * 3 + [1024]), process(allowed="2-5")), {"performance_cores_allowed": 4},
    ),
    "speeds that are no numbers": (host(cpus(4), capacities(c0="fast", c1="", c2="-5")), {"performance_cores_allowed": 4}),
    "Ampere: 80 cores, two nodes": (
        host(arm(80, features="fp asimd asimddp", part="0xd0c"), nodes("0-39", "40-79")),
        {"arch": "aarch64", "isa": ["neon", "dotprod"], "usable_cores": 80, "numa": 2, "smt": False, "sockets": 1},
    ),
    "Graviton": (
        host(arm(64, features="fp asimd asimddp sve i8mm bf16"),
             {"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "m7g.16xlarge\n"}),
        {"isa": ["neon", "dotprod", "i8mm", "sve"], "usable_cores": 64, "virtualization": "vm"},
    ),
    "Raspberry Pi 5 with a desktop's cgroup v2": (
        host(arm(4, features="fp asimd asimddp", model="Raspberry Pi 5 Model B"), memory(8 * GIB, 7 * GIB),
             process("0::/user.slice/user-1000.slice\n", mounts=V2_MOUNT), level("/user.slice", limit="max", used=GIB)),
        {"memory_limit_bytes": None, "memory_available_bytes": 7 * GIB, "memory_channels": None, "isa": ["neon", "dotprod"]},
    ),
    "two sockets, sub-NUMA clusters": (
        host(cpus(80, threads=2, sockets=2), nodes(*SNC)),
        {"sockets": 2, "numa": 4, "physical_cores_allowed": 40, "smt": True},
    ),
    "CXL: a node with memory alone, one with CPUs alone": (
        host(cpus(4), nodes("0-1", "", "2-3"), {"/sys/devices/system/node/node2/meminfo": "Node 2 MemTotal:       0 kB\n"}),
        {"numa_nodes": [{"id": 0, "cpus": [0, 1], "memory_bytes": 4 * GIB}, {"id": 1, "cpus": [], "memory_bytes": 4 * GIB},
                        {"id": 2, "cpus": [2, 3], "memory_bytes": 0}]},
    ),
    "nodes that are not numbered in a row": (
        host({"/sys/devices/system/node/node8/cpulist": "0-3\n", "/sys/devices/system/node/node8/meminfo": "Node 8 MemTotal: 12 kB\n",
              "/sys/devices/system/node/has_cpu": "8\n", "/sys/devices/system/node/node8x/cpulist": "1\n"}),
        {"numa_nodes": [{"id": 8, "cpus": [0, 1, 2, 3], "memory_bytes": 12288}]},
    ),
    "a node by its CPU mask, its memory not told": (
        host({"/sys/devices/system/node/node0/cpumap": "0000000f\n"}), {"numa_nodes": [{"id": 0, "cpus": [0, 1, 2, 3], "memory_bytes": None}]},
    ),
    "four siblings a core": (host(cpus(64, threads=4)), {"physical_cores_allowed": 16, "smt": True}),
    "siblings in pairs": (
        host(cpus(4), {f"{CPU}/cpu{n}/topology/thread_siblings_list": f"{n // 2 * 2}-{n // 2 * 2 + 1}\n" for n in range(4)}),
        {"physical_cores_allowed": 2, "smt": True},
    ),
    "siblings that disagree": (
        host(cpus(4), {f"{CPU}/cpu0/topology/thread_siblings_list": "0-1\n"}), {"physical_cores_allowed": 4, "smt": True},
    ),
    "a sibling that cannot be read is told by the other": (
        host(cpus(4), {f"{CPU}/cpu0/topology/thread_siblings_list": "0-1\n", f"{CPU}/cpu1/topology/thread_siblings_list": "\n"}),
        {"physical_cores_allowed": 3, "smt": True},
    ),
    "a core that leaves its own CPU out": (
        host(cpus(4), {f"{CPU}/cpu0/topology/thread_siblings_list": "2-3\n", f"{CPU}/cpu0/topology/core_cpus_list": "7\n"}),
        {"physical_cores_allowed": 4},
    ),
    "a sibling that is offline is no sibling now": (
        host(cpus(4), {f"{CPU}/online": "0,2\n", f"{CPU}/cpu0/topology/thread_siblings_list": "0-1\n", f"{CPU}/cpu2/topology/thread_siblings_list": "2-3\n"}),
        {"logical_cpus_online": 2, "physical_cores_allowed": 2, "smt": False},
    ),
    "sockets that a virtual machine makes of its CPUs": (host(cpus(4, sockets=4)), {"sockets": 4}),
    "a socket number of -1": (host(cpus(2), {f"{CPU}/cpu{n}/topology/physical_package_id": "-1\n" for n in (0, 1)}), {"sockets": 1}),
    "meminfo of an old kernel": (
        host({"/proc/meminfo": "MemTotal: 1024 kB\nMemFree: 512 kB\n"}), {"memory_total_bytes": 1 << 20, "memory_available_bytes": None},
    ),
    "meminfo of an old kernel, a limit of more than the host has": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", limit=4 * GIB, used=GIB), {"/proc/meminfo": "MemTotal: 1024 kB\nMemFree: 512 kB\n"}),
        {"memory_limit_bytes": 4 * GIB, "memory_available_bytes": 1 << 20},
    ),
    "numbers of five thousand digits": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", quota="9" * 5000, limit="9" * 5000, used="9" * 5000),
             {"/proc/meminfo": f"MemTotal: {'9' * 5000} kB\nMemAvailable: 4 kB\nHugePages_Total: {'9' * 5000}\n", f"{CPU}/cpu0/cpu_capacity": "9" * 5000,
              "/proc/cpuinfo": f"processor: {'9' * 5000}\nflags: lm avx\n\nprocessor: -7\nflags: lm avx\n",
              "/sys/devices/system/node/node0/meminfo": f"Node 0 MemTotal: {'9' * 5000} kB\n"}),
        {"quota_cores": None, "memory_limit_bytes": None, "memory_total_bytes": None, "memory_available_bytes": 4096, "isa": ["avx"]},
    ),
    "digits of other scripts and Python's own": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", quota="1_000_000", limit="٤٠٩٦"), {f"{CPU}/online": "٠-٣\n"}),
        {"quota_cores": None, "memory_limit_bytes": None, "logical_cpus_online": 4},
    ),
    "names that lead upwards": (
        host(process("0::/../../../etc\n", mounts=f"31 23 0:28 /../.. {CG}/../../../.. rw - cgroup2 cgroup2 rw\n"), {"/etc/cpu.max": "100000 100000\n"}),
        {"quota_cores": None},
    ),
    "a group of ten thousand parts": (
        host(process("0::" + "/a" * 10_000 + "\n", mounts=V2_MOUNT), level("", quota=200000)), {"quota_cores": 2.0},
    ),
    "tuning and state of other kinds": (
        host({"/opt/localai/state/tuning.json": '{"a": 1e999}', "/opt/localai/state/instances.json": '[{"container_id": null}]'}),
        {"tuning": False, "memory_used_by_deployment_bytes": 0},
    ),
    "LXC: lxcfs numbers the online CPUs anew": (
        host(cpus(12), process(allowed="2-5", mounts=V2_MOUNT), {f"{CPU}/online": "0-3\n", f"{CG}/cpuset.cpus.effective": "2-5\n"}),
        {"logical_cpus_online": 4, "allowed_cpus": [2, 3, 4, 5], "physical_cores_allowed": 4, "smt": False},
    ),
    "cpuset: a CPU that is offline by now is in the wish alone": (
        host(cpus(4, offline=(3,)), process("0::/a\n", allowed="0-3", mounts=V2_MOUNT),
             {f"{CG}/a/cpuset.cpus": "2-3\n", f"{CG}/cpuset.cpus.effective": "0-2\n", f"{CG}/a/cpuset.cpus.effective": "2\n"}),
        {"logical_cpus_online": 3, "allowed_cpus": [2]},
    ),
    "cpuset: no effective list, the wish names CPUs that are offline": (
        host(cpus(4, offline=(3,)), process("0::/a\n", mounts=V2_MOUNT), {f"{CG}/a/cpuset.cpus": "2-3\n"}), {"logical_cpus_online": 3, "allowed_cpus": [2]},
    ),
    "as many CPUs as there can be, by a list alone": (
        {f"{CPU}/online": "0-8191\n"}, {"logical_cpus_online": 8192, "usable_cores": 8192},
    ),
    "siblings of more CPUs than a core has": (
        host(cpus(4), {f"{CPU}/cpu{n}/topology/{name}": text for n in range(4)
                       for name, text in (("thread_siblings_list", "0-8191\n"), ("core_cpus", "f" * 17 + "\n"))}),
        {"physical_cores_allowed": 4, "smt": False},
    ),
    "core numbers of -1 in cpuinfo": (
        {"/proc/cpuinfo": "".join(f"processor: {n}\nphysical id: 0\ncore id: -1\nflags: lm\n\n" for n in range(4))},
        {"physical_cores_allowed": 4, "usable_cores": 4, "smt": False, "sockets": 1},
    ),
    "an affinity of more CPUs than a host can have": (
        host({"/proc/self/status": f"Cpus_allowed:\t{'f' * 16384}\n"}), {"allowed_cpus": [0, 1, 2, 3]},
    ),
    "numbers that no host can have": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", quota="9" * 20, period=1), memory(HugePages_Total="9" * 15, Hugepagesize="999999999 kB"), {
            "/sys/kernel/mm/hugepages/hugepages-999999999kB/nr_hugepages": "9" * 20,
            "/sys/devices/system/node/node0/hugepages/hugepages-999999999kB/nr_hugepages": "9" * 20,
            "/opt/localai/state/instances.json": '{"instances": [{"container_id": "abcdef012345"}]}',
            f"{CG}/docker/abcdef012345/memory.stat": f"anon {'9' * 20}\nshmem 1\n"}),
        {"quota_cores": None, "hugepages_reserved_bytes": 0, "numa_hugepages_bytes": [0], "memory_used_by_deployment_bytes": 0,
         "memory_available_bytes": 12 * GIB},
    ),
    "a quota of as many cores as there can be": (
        host(process("0::/a\n", mounts=V2_MOUNT), level("/a", quota=8191, period=1)), {"quota_cores": 8191.0, "usable_cores": 4},
    ),
    "a container of ours that holds most of what can be counted, all of the host not told": (
        host(process("0::/\n", mounts=V2_MOUNT), {
            "/proc/meminfo": f"MemAvailable: {'9' * 15} kB\n", "/opt/localai/state/instances.json": '{"instances": [{"container_id": "abcdef012345"}]}',
            f"{CG}/docker/abcdef012345/memory.stat": f"anon {(1 << 62) - 1}\n"}),
        {"memory_used_by_deployment_bytes": (1 << 62) - 1, "memory_available_bytes": 1 << 62},
    ),
    "a container of ours that holds less than nothing": (
        host(process("0::/\n", mounts=V2_MOUNT), {
            "/opt/localai/state/instances.json": '{"instances": [{"container_id": "abcdef012345"}]}',
            f"{CG}/docker/abcdef012345/memory.stat": "anon -4096\nfile -1\nshmem -1\nactive_file -9\n"}),
        {"memory_used_by_deployment_bytes": 0, "memory_available_bytes": 12 * GIB},
    ),
    **{f"a group with the separator {mark!r} in its name": (
        host(process(f"0::/a{mark}b\n", mounts=V2_MOUNT), level(f"/a{mark}b", quota=100000)), {"quota_cores": 1.0},
    ) for mark in ("\x0b", "\x1c", "\x85", "\u2028")},
    "lines of a group that end in both ways": (
        host(process("0::/a\r\n", mounts=V2_MOUNT), level("/a", quota=100000)), {"quota_cores": 1.0},
    ),
    "memory of one of two nodes": (
        host(memory(8 * GIB, 6 * GIB), nodes("0-1", "2-3"), mems("0"),
             {"/sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages": "1\n"}),
        {"numa": 1, "numa_hugepages_bytes": [GIB], "allowed_cpus": [0, 1, 2, 3], "memory_total_bytes": 8 * GIB, "memory_limit_bytes": 3 * GIB,
         "memory_available_bytes": 3 * GIB},
    ),
    "memory of all nodes": (
        host(memory(8 * GIB, 6 * GIB), nodes("0-1", "2-3"), mems("0-1")), {"numa": 2, "memory_limit_bytes": None, "memory_available_bytes": 6 * GIB},
    ),
    "memory of nodes that are not there": (
        host(memory(8 * GIB, 6 * GIB), nodes("0-1", "2-3"), mems("4-5")), {"numa": 2, "memory_limit_bytes": None, "memory_available_bytes": 6 * GIB},
    ),
    "a node without memory is no node that is kept from a process": (
        host(nodes("0-1", "2-3"), mems("0"), {"/sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:       0 kB\n"}),
        {"numa": 2, "memory_limit_bytes": None},
    ),
    **{f"rented machine of {vendor}": (
        host(arm(4), {"/sys/class/dmi/id/sys_vendor": f"{vendor}\n", "/sys/class/dmi/id/product_name": f"{product}\n"}), {"virtualization": "vm"},
    ) for vendor, product in (("Hetzner", "vServer"), ("DigitalOcean", "Droplet"), ("Linode", "Compute Instance"), ("Scaleway", "COPARM1-2C-8G"),
                              ("Nutanix", "AHV"))},
    "a machine of Hetzner that is no part of one": (host(arm(4), {"/sys/class/dmi/id/sys_vendor": "Hetzner\n"}), {"virtualization": "none"}),
    "Xen: the first domain has the machine itself": (
        host(cpus(4, flags=X86 + " hypervisor"), {"/sys/hypervisor/type": "xen\n", "/proc/xen/capabilities": "control_d\n"}), {"virtualization": "none"},
    ),
    "Xen: another domain": (
        host(cpus(4, flags=X86 + " hypervisor"), {"/sys/hypervisor/type": "xen\n", "/proc/xen/capabilities": "\n"}), {"virtualization": "vm"},
    ),
    "PowerVM: a partition": (
        host({"/proc/cpuinfo": "processor: 0\ncpu: POWER9 (architected)\nmodel: IBM,9009-42A\n", "/proc/device-tree/compatible": "IBM,9009-42A\0",
              "/proc/device-tree/ibm,partition-name": "lpar1\0"}),
        {"virtualization": "vm"},
    ),
    "a container that is not in the list's form does not hide the next": (
        host(process("0::/\n", mounts=V2_MOUNT), {
            "/opt/localai/state/instances.json": '{"instances": [7, {"container_id": 5}, {"container_id": "abcdef012345"}]}',
            f"{CG}/docker/abcdef012345/memory.stat": "anon 4096\n"}),
        {"memory_used_by_deployment_bytes": 4096},
    ),
}
