"""Files of hosts of every kind, as dictionaries of path and text, for the engines that read a host."""
from __future__ import annotations

from pathlib import Path

KIB, MIB, GIB = 1024, 1024**2, 1024**3
CG = "/sys/fs/cgroup"
CPU = "/sys/devices/system/cpu"
ID = "ab12" * 16
X86 = "fpu lm sse4_2 avx avx2"
NO_LIMIT_V1 = "9223372036854771712\n"


def spread(cpus) -> str:
    return ",".join(str(cpu) for cpu in sorted(cpus))


def cpus(count, threads=1, sockets=1, flags=X86, offline=(), model="Test CPU", stride=None):
    """A host with `count` logical CPUs: siblings are `stride` apart, sockets take equal blocks of cores."""
    stride = stride or count // threads
    files = {f"{CPU}/online": spread(set(range(count)) - set(offline)) + "\n", f"{CPU}/possible": f"0-{count - 1}\n"}
    blocks = []
    for cpu in sorted(set(range(count)) - set(offline)):
        core = cpu % stride
        siblings = set(range(core, count, stride)) - set(offline)
        base = f"{CPU}/cpu{cpu}/topology"
        files[f"{base}/thread_siblings_list"] = spread(siblings) + "\n"
        files[f"{base}/physical_package_id"] = f"{core * sockets // stride}\n"
        blocks.append(f"processor\t: {cpu}\nmodel name\t: {model}\nflags\t\t: {flags}\n")
    files["/proc/cpuinfo"] = "\n".join(blocks) + "\n"
    return files


def arm(count, features="fp asimd", capacities=None, model=None, part="0xd08"):
    blocks = [f"processor\t: {n}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {part}\n"
              for n in range(count)]
    files = {f"{CPU}/online": f"0-{count - 1}\n"}
    for cpu in range(count):
        files[f"{CPU}/cpu{cpu}/topology/core_cpus_list"] = f"{cpu}\n"
        files[f"{CPU}/cpu{cpu}/topology/physical_package_id"] = "0\n"
        if capacities:
            files[f"{CPU}/cpu{cpu}/cpu_capacity"] = f"{capacities[cpu]}\n"
    files["/proc/cpuinfo"] = "\n".join(blocks) + (f"\nModel\t\t: {model}\n" if model else "\n")
    return files


def memory(total=16 * GIB, available=12 * GIB, swap=0, **more):
    lines = {"MemTotal": total // KIB, "MemAvailable": available // KIB, "SwapTotal": swap // KIB}
    text = "".join(f"{name}:{value:>12} kB\n" for name, value in lines.items())
    return {"/proc/meminfo": text + "".join(f"{name}:{value}\n" for name, value in more.items())}


def process(groups="0::/\n", allowed="0-1023", mounts=""):
    files = {"/proc/self/status": f"Name:\tpython3\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n",
             "/proc/self/cgroup": groups}
    return {**files, "/proc/self/mountinfo": mounts} if mounts else files


def host(*parts, **files):
    merged = {}
    for part in (cpus(4), memory(), process(), *parts):
        merged.update(part)
    return {**merged, **files}


def v1_mounts(root="/", names=("cpu,cpuacct", "memory", "cpuset")):
    lines = [f"3{n} 31 0:3{n} {root} {CG}/{name} ro - cgroup cgroup rw,{name}\n" for n, name in enumerate(names)]
    return f"31 23 0:28 / {CG} ro - tmpfs tmpfs rw\n" + "".join(lines)


def v1_groups(path):
    return f"5:cpuset:{path}\n4:memory:{path}\n3:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::{path}\n"


V2_MOUNT = f"31 23 0:28 / {CG} rw - cgroup2 cgroup2 rw,nsdelegate\n"
P_E = {"/sys/devices/cpu_core/cpus": "0-7\n", "/sys/devices/cpu_atom/cpus": "8-15\n"}


def hybrid_cpus():
    """4 P cores with 2 threads each (0-7) and 8 E cores (8-15)."""
    files = cpus(16)
    for cpu in range(8):
        files[f"{CPU}/cpu{cpu}/topology/thread_siblings_list"] = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n"
    return {**files, **P_E}


def nodes(*lists, memory_kib=4194304):
    files = {"/sys/devices/system/node/online": f"0-{len(lists) - 1}\n"}
    for number, text in enumerate(lists):
        files[f"/sys/devices/system/node/node{number}/cpulist"] = f"{text}\n"
        files[f"/sys/devices/system/node/node{number}/meminfo"] = f"Node {number} MemTotal:       {memory_kib} kB\n"
    return files


def without(files, *parts):
    return {path: text for path, text in files.items() if not any(part in path for part in parts)}


def plant(root: Path, files: dict[str, str]) -> str:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return str(root)
