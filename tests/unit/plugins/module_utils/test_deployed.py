"""What our own containers use, and what others do."""
from __future__ import annotations

import json

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _capacity
from host_trees import CG, ID, V2_MOUNT, host, plant, process

OURS = {"/opt/localai/state/instances.json": json.dumps({"instances": [{"name": "localai", "container_id": ID}]})}
GROUP = f"{CG}/system.slice/docker-{ID}.scope"


def ran(pid, states, ticks=0, started=0, name="llama (x) R"):
    """A process with a thread in each state, `ticks` of CPU time (half user, half system) and its start in ticks."""
    line = f"{pid} ({name}) {{state}} " + "1 " * 10 + f"{ticks // 2} {ticks - ticks // 2} 0 0 20 0 9 0 {started} 0\n"
    files = {f"/proc/{pid}/task/{pid + n}/stat": line.format(state=state) for n, state in enumerate(states)}
    return {**files, f"/proc/{pid}/stat": line.format(state=states[0])}


def read(root, loads, *parts, pids="7\n8\n"):
    files = host(process("0::/\n", mounts=V2_MOUNT), {"/proc/loadavg": loads, "/proc/uptime": "1000.00 5.0\n"}, OURS,
                 {f"{GROUP}/cgroup.procs": pids, f"{GROUP}/memory.stat": "anon 1\n"}, *parts)
    return _capacity.read_capacity(plant(root, files))


@pytest.mark.parametrize("loads, parts, want", [
    ("0.00 0.00 0.00 1/100 5\n", [], 0.0),
    ("3.00 2.00 9.00 1/100 5\n", [], 2.0),
    ("0.30 2.00 2.00 1/100 5\n", [], 0.3),
    ("4.00 4.00 4.00 1/100 5\n", [ran(7, "RRSS"), ran(8, "S")], 2.0),
    ("4.00 4.00 4.00 1/100 5\n", [ran(7, "SSSS", ticks=75_000, started=50_000)], 2.5),
    ("4.00 4.00 4.00 1/100 5\n", [ran(7, "RRRR", ticks=50_000, started=50_000)], 0.0),
    ("1.00 1.00 1.00 1/100 5\n", [ran(7, "RRR")], 0.0),
    ("2.00 2.00 2.00 1/100 5\n", [ran(9, "RR")], 2.0),
    ("2.00 2.00 2.00 1/100 5\n", [{"/proc/7/stat": "7 (x) S 1\n"}], 2.0),
    ("2.00 2.00 2.00 1/100 5\n", [ran(7, "S", ticks=1 << 40), {"/proc/uptime": "soon\n"}], 2.0),
    ("2.00 2.00 2.00 1/100 5\n", [ran(7, "S", started=999_999_999)], 2.0),
    ("many 2.00\n", [], None),
    ("2.00\n", [], None),
    ("", [], None),
    ("1e5 nan 2\n", [], None),
    ("2.00 2.00 2.00 1/100 5\n", [process("0::/\n", allowed="0-1", mounts=V2_MOUNT)], None),
])
def test_other_load(tmp_path, loads, parts, want):
    assert read(tmp_path, loads, *parts).other_load_cores == want


def test_process_ids_that_are_none(tmp_path):
    assert read(tmp_path, "2.00 2.00 2.00 1/9 5\n", pids="../7\nx\n-1\n").other_load_cores == 2.0
