"""Files under a root, and the parsers of control groups."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _cgroup


def plant(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


@pytest.mark.parametrize(
    "text, cpus",
    [
        ("0\n", {0}),
        ("0-3,8\n", {0, 1, 2, 3, 8}),
        (" 4 - 5 ", None),
        ("", None),
        (None, None),
        ("3-1", None),
        ("0-99999999999", None),
        ("0-70000", None),
        ("abc", None),
        ("-1", None),
    ],
)
def test_cpu_list(text, cpus):
    assert _cgroup.cpu_list(text) == (None if cpus is None else frozenset(cpus))


@pytest.mark.parametrize(
    "text, cpus",
    [("f", {0, 1, 2, 3}), ("00000001,00000003\n", {0, 1, 32}), ("0", None), ("", None), ("xyz", None), (None, None),
     ("0" * 16000 + "3", {0, 1}), ("8" + "0" * 2047, {8191}), ("1" + "0" * 2048, None)],
)
def test_cpu_mask(text, cpus):
    assert _cgroup.cpu_mask(text) == (None if cpus is None else frozenset(cpus))


def test_links_stay_inside_the_root(tmp_path):
    (tmp_path / "secret").write_text("outside")
    root = plant(tmp_path / "root", {"/etc/real": "inside", "/secret": "inside too"})
    (root / "absolute").symlink_to("/etc/real")
    (root / "upwards").symlink_to("../../../secret")
    (root / "folder").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    (root / "outside").symlink_to(str(tmp_path / "secret"))
    tree = _cgroup.Tree(str(root))
    assert tree.read("/absolute") == "inside"
    assert tree.read("/upwards") == "inside too"
    assert tree.read("/folder/real") == "inside"
    assert tree.read("/folder/../secret") == "inside too"
    assert tree.read("/loop") is None
    assert tree.read("/outside") is None
    assert tree.read("/../../secret") == "inside too"


def test_odd_files_are_unknown(tmp_path):
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")
    tree = _cgroup.Tree(str(tmp_path))
    assert tree.read("/directory") is None
    assert tree.read_int("/binary") is None
    assert tree.read_int("/pipe") is None
    assert tree.read("/a\0b") is None
    assert tree.names("/nowhere") == []
    assert tree.directories("/nowhere") == []


MOUNT2 = "31 23 0:28 {root} {point} rw - cgroup2 cgroup2 rw\n"
MOUNT1 = "32 31 0:29 {root} {point} rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    "mount, member, want",
    [
        (MOUNT2.format(root="/", point="/cg"), "0::/a/b\n", ["/cg", "/cg/a", "/cg/a/b"]),
        (MOUNT2.format(root="/pod/x", point="/cg"), "0::/pod/x/b\n", ["/cg", "/cg/b"]),
        (MOUNT2.format(root="/pod/x", point="/cg"), "0::/pod/xy\n", ["/cg"]),
        (MOUNT2.format(root="/", point="/cg"), "0::/../..\n", ["/cg"]),
        (MOUNT2.format(root="/../..", point="/cg"), "0::/../../a\n", ["/cg", "/cg/a"]),
        (MOUNT2.format(root="/../..", point="/cg"), "0::/\n", ["/cg"]),
        (MOUNT2.format(root="/x", point="/cg"), "0::/a\n", ["/cg", "/cg/a"]),
        (MOUNT1.format(root="/", point="/cg"), "4:cpu,cpuacct:/a\n", ["/cg", "/cg/a"]),
        (MOUNT2.format(root="/", point=r"/c\040g"), "0::/\n", ["/c g"]),
        (MOUNT2.format(root="/pod\u2028x", point="/cg"), "0::/pod\u2028x/b\n", ["/cg", "/cg/b"]),
        ("32 31 0:29 / /cg rw - cgroup  rw,cpu\n", "4:cpu:/a\n", ["/cg", "/cg/a"]),
    ],
)
def test_chain(tmp_path, mount, member, want):
    plant(tmp_path, {"/proc/self/mountinfo": mount, "/proc/self/cgroup": member, "/cg/a/b/x": "", "/c g/x": ""})
    levels = [level.path for level in _cgroup.chain(_cgroup.Tree(str(tmp_path)), "cpu")]
    assert [path for path in levels if not path.startswith(_cgroup.FALLBACK)] == want


ID = "0123456789ab" * 5 + "0123"


@pytest.mark.parametrize(
    "place",
    [
        f"/docker/{ID}",
        f"/system.slice/docker-{ID}.scope",
        f"/custom.slice/docker-{ID}.scope",
        f"/a/b/c/{ID}",
        f"/user.slice/libpod-{ID}.scope",
    ],
)
def test_container_group(tmp_path, place):
    plant(tmp_path, {
        "/proc/self/cgroup": "0::/\n",
        f"/sys/fs/cgroup{place}/memory.stat": "anon 5\nfile 7\nshmem 2\nactive_file 3\n",
    })
    tree = _cgroup.Tree(str(tmp_path))
    path = _cgroup.container_group(tree, ID)
    assert path == f"/sys/fs/cgroup{place}"
    assert _cgroup.group_memory(tree, path) == _cgroup.GroupMemory(path, 7, 5, 3)


def test_container_group_gone(tmp_path):
    plant(tmp_path, {f"/sys/fs/cgroup/slice{n}/memory.stat": "anon 1\n" for n in range(600)})
    assert _cgroup.container_group(_cgroup.Tree(str(tmp_path)), ID) is None
