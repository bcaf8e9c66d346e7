"""Capacity of hosts where files are hostile."""
from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _capacity
from host_cases import level
from host_trees import GIB, V2_MOUNT, cpus, host, nodes, plant, process

ODD = ("proc/cpuinfo", "proc/meminfo", "proc/self/status", "proc/self/cgroup", "proc/self/mountinfo", "proc/loadavg", "sys/devices/system/cpu/online",
       "sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "sys/fs/cgroup/a/cpu.max", "sys/fs/cgroup/a/memory.max",
       "sys/fs/cgroup/a/cpuset.cpus.effective", "sys/devices/system/node/node0/meminfo", "opt/localai/state/instances.json",
       "opt/localai/state/tuning.json", "sys/firmware/dmi/tables/DMI")
GARBAGE = {"empty": b"", "binary": bytes(range(256)) * 16, "long line": b"9" * (9 << 20), "many lines": b"0,\n" * (1 << 20), "no text": b"\xff\xfe" * 100,
           "brackets": b"[" * (1 << 20), "blank lines": b"\n \t" * (1 << 20)}


@pytest.fixture(name="tree")
def _tree(tmp_path):
    return plant(tmp_path, host(process("0::/a\n", mounts=V2_MOUNT), nodes("0-3"), level("/a", quota=200000, limit=GIB, used=1)))


def read(root):
    """The capacity without what others change meanwhile."""
    return replace(_capacity.read_capacity(root), store_free_bytes=None)


def odd(tmp_path, path):
    """The place of a file that is not there any more."""
    place = tmp_path / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    return place


@pytest.mark.parametrize("path", ODD)
def test_no_file_of_another_kind_is_opened(tmp_path, tree, path):
    """A pipe would wait for its other end; a link to what a process itself opened leads out of the root."""
    os.mkfifo(odd(tmp_path, path))
    piped = read(tree)
    odd(tmp_path, path).symlink_to(os.path.basename(path))
    looped = read(tree)
    odd(tmp_path, path).mkdir()
    assert piped == looped == read(tree)


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("path", ODD)
def test_garbage_is_unknown_and_soon_read(tmp_path, tree, path, kind):
    odd(tmp_path, path).write_bytes(GARBAGE[kind])
    start = time.process_time()
    assert _capacity.read_capacity(tree).usable_cores >= 1
    assert time.process_time() - start < 1


CONTAINERS = b'{"instances": [%s]}' % b",".join(b'{"container_id": "%012x"}' % number for number in range(30_000))
LABOUR = {
    "ranges that overlap": ("sys/devices/system/cpu/online", b"0-65535," * 8192),
    "the same mount again and again": ("proc/self/mountinfo", b"".join(b"1 2 0:3 / /sys rw - cgroup c rw,cpu,c%d\n" % number for number in range(99_999))),
    "groups in groups in groups": ("proc/self/cgroup", b"0::" + b"/a" * 2000 + b"\n"),
    "a mask of all that it can hold": ("proc/self/status", b"Cpus_allowed:\t" + b"f" * 16384 + b"\n"),
    "nothing but processors": ("proc/cpuinfo", b"processor:7\n\n" * (1 << 20)),
    "containers by the thousand": ("opt/localai/state/instances.json", CONTAINERS),
}


@pytest.mark.parametrize("name", LABOUR)
def test_no_file_makes_long_work(tmp_path, tree, name):
    path, content = LABOUR[name]
    odd(tmp_path, path).write_bytes(content)
    start = time.process_time()
    _capacity.read_capacity(tree)
    assert time.process_time() - start < 1  # the promise is 0.1 s; a busy machine gets ten times that


def test_half_a_line_of_flags_is_left_out(tmp_path, tree):
    block = "processor : 0\nflags : lm avx avx2\n\n"
    filled = " " * (_capacity.MAX_CPUINFO_BYTES - len(block) - len("flags : lm avx"))
    odd(tmp_path, "proc/cpuinfo").write_text(f"{block}{filled}flags : lm avx avx2\n")
    assert _capacity.read_capacity(tree).isa == ("avx", "avx2")


def test_links_out_of_the_root_are_not_followed(tmp_path):
    secret = plant(tmp_path / "outside", host(cpus(64)))
    root = tmp_path / "root"
    for path in ("proc", "sys", "opt"):
        root.mkdir(exist_ok=True)
        (root / path).symlink_to(f"{secret}/{path}")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert read(str(root)) == read(str(empty))


def test_a_link_of_two_thousand_parts(tmp_path):
    root = plant(tmp_path, host())
    odd(tmp_path, "proc/meminfo").symlink_to("a/" * 2000 + "b")
    assert _capacity.read_capacity(root).memory_total_bytes is None
