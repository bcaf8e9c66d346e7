"""How long reading a host's capacity takes."""
from __future__ import annotations

import tempfile
from pathlib import Path

from ansible_collections.localai.fleet.plugins.module_utils._capacity import read_capacity

from host_trees import V2_MOUNT, cpus, host, nodes, plant, process
from tests.bench.tables import show, timed


def run() -> None:
    """This machine, and a host with 256 CPUs, a deep chain of groups and 3,000 mounts."""
    rows = [["HOST", "CPUS", "CORES", "MILLISECONDS"]]
    mounts = "".join(f"{n} 23 0:28 / /var/lib/docker/overlay2/{n:064}/merged rw - overlay overlay rw,lowerdir=/a\n" for n in range(3000))
    flags = " ".join(f"flag{n}" for n in range(130))
    files = host(cpus(256, threads=2, sockets=2, flags=f"lm avx {flags}"), nodes("0-63,128-191", "64-127,192-255"),
                 process("0::" + "/part.slice" * 12 + "\n", mounts=mounts + V2_MOUNT))
    with tempfile.TemporaryDirectory() as place:
        for name, root in (("this machine", "/"), ("256 CPUs, 12 levels, 3,000 mounts", plant(Path(place), files))):
            capacity, seconds = timed(lambda root=root: read_capacity(root))
            rows.append([name, str(capacity.logical_cpus_online), str(capacity.physical_cores_allowed), f"{seconds * 1000:.1f}"])
    show("Reading a host's capacity", rows)
