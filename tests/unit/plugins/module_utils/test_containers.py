"""What `docker inspect` and the counters of a container become."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _cgroup, _containers

ID = "ab12" * 16
CG = "/sys/fs/cgroup"
DIGEST = "sha256:" + "1" * 64
INSPECTED = {
    "Id": ID, "Name": "/localai", "Image": "sha256:" + "2" * 64, "RestartCount": 1,
    "State": {"Running": True, "Pid": 42, "OOMKilled": False, "StartedAt": "2026-11-23T04:00:00Z", "Health": {"Status": "healthy"}},
    "Config": {"Image": f"registry:5000/local-ai@{DIGEST}", "User": "999:999", "Env": ["KEY=hunter2", "LOCALAI_THREADS=2", "LOCALAI_MAX_ACTIVE_BACKENDS=1"]},
    "HostConfig": {"Memory": 1000, "NanoCpus": 1500000000, "CpusetCpus": "0-1", "PidsLimit": 256, "ReadonlyRootfs": True,
                   "CapDrop": ["ALL"], "CapAdd": None, "SecurityOpt": ["no-new-privileges:true"],
                   "PortBindings": {"8080/tcp": [{"HostIp": "10.0.0.5", "HostPort": "8080"}]}},
}
V1 = {
    "/proc/42/cgroup": f"4:memory:/docker/{ID}\n1:cpu:/docker/{ID}\n",
    f"{CG}/cpu/docker/{ID}/cpu.stat": "nr_periods 23\nnr_throttled 21\nthrottled_time 9\n",
    f"{CG}/memory/docker/{ID}/memory.stat": "rss 1\ncache 1\ntotal_rss 100\ntotal_cache 50\ntotal_shmem 20\n",
    f"{CG}/memory/docker/{ID}/cgroup.procs": "42\n43\n77\n",
    "/proc/42/status": "Name:\tlocal-ai\nThreads:\t9\nRssAnon:\t  51 kB\nRssFile:\t  76 kB\n",
    "/proc/43/status": "Name:\tllama\n",
}
V2 = {
    "/proc/42/cgroup": f"0::/system.slice/docker-{ID}.scope\n",
    "/proc/self/mountinfo": f"31 23 0:28 / {CG} rw - cgroup2 cgroup2 rw\n",
    f"{CG}/system.slice/docker-{ID}.scope/cpu.stat": "usage_usec 5\nnr_periods 23\nnr_throttled 21\n",
    f"{CG}/system.slice/docker-{ID}.scope/memory.stat": "anon 100\nfile 50\nshmem 20\n",
    f"{CG}/system.slice/docker-{ID}.scope/cgroup.procs": "42\n43\n",
    "/proc/42/status": V1["/proc/42/status"],
    "/proc/43/status": V1["/proc/43/status"],
}


def plant(root: Path, files: dict[str, str]) -> _cgroup.Tree:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return _cgroup.Tree(str(root))


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_a_running_instance(tmp_path, files):
    got = _containers.describe(INSPECTED, [], plant(tmp_path, files))
    assert (got.pop("tmp_used_bytes"), got.pop("tmp_size_bytes")) == (None, None)
    assert got == {
        "name": "localai", "id": ID, "running": True, "health": "healthy", "oom_killed": False, "restart_count": 1,
        "started_at": "2026-11-23T04:00:00Z", "image": f"registry:5000/local-ai@{DIGEST}", "image_digest": DIGEST,
        "user": "999:999", "threads_env": 2, "max_active_env": 1, "memory_limit": 1000, "cpus": 1.5, "cpuset": "0-1", "pids_limit": 256,
        "read_only": True, "privileged": False, "cap_drop": ["ALL"], "cap_add": [], "security_opt": ["no-new-privileges:true"],
        "ports": ["10.0.0.5:8080->8080/tcp"], "nr_periods": 23, "nr_throttled": 21, "memory_anonymous_bytes": 120,
        "memory_file_bytes": 30, "models": [], "processes": [
            {"pid": 42, "name": "local-ai", "threads": 9, "rss_anonymous_bytes": 51 * 1024, "rss_file_bytes": 76 * 1024},
            {"pid": 43, "name": "llama", "threads": None, "rss_anonymous_bytes": None, "rss_file_bytes": None}],
    }
    assert "hunter2" not in json.dumps(got)


FOLDER = "/opt/localai/config/localai/localai"
SHA, OTHER = "a" * 64, "b" * 64
OLD, NEW = "m.0a1b2c3d", "m.9f8e7d6c"


def settings(sha: str, place: str = "gguf/{}.gguf") -> str:
    return f"# managed\nname: x\nparameters:\n  model: {place.format(sha)}\n  batch: 512\n"


def engine(*shas: str) -> str:
    return "".join(f"7f00-7f01 r--p 00000000 08:01 1    /models/gguf/{sha}.gguf\n" for sha in shas)


@pytest.mark.parametrize(("files", "expected"), [
    ({f"{OLD}.yaml": settings(SHA), "m.yaml": f"name: m\nalias: {OLD}\n", "gpt-4.yaml": f'name: "gpt-4"\nalias: "{OLD}"\n'},
     [(OLD, ["gpt-4", "m"], False, None)]),
    ({f"{OLD}.yaml": settings(SHA), "m.yaml": f"name: m\nalias: {OLD}\n", 43: engine(SHA, SHA)}, [(OLD, ["m"], True, 43)]),
    ({f"{OLD}.yaml": settings(SHA), f"{NEW}.yaml": settings(OTHER), 43: engine(SHA), 42: ""}, [(OLD, [], True, 43), (NEW, [], False, None)]),
    ({f"{OLD}.yaml": settings(SHA), f"{NEW}.yaml": settings(SHA), 43: engine(SHA)}, [(OLD, [], None, None), (NEW, [], None, None)]),
    ({f"{OLD}.yaml": settings(SHA), f"{NEW}.yaml": settings(SHA), 42: engine(SHA), 43: engine(SHA)}, [(OLD, [], True, None), (NEW, [], True, None)]),
    ({f"{OLD}.yaml": settings(SHA, "split/{}/model-00001-of-00002.gguf"), 43: engine(SHA, OTHER), "notes": "alias: x\n"}, [(OLD, [], True, 43)]),
    ({}, []),
])
def test_the_revisions_of_an_instance(tmp_path, files, expected) -> None:
    plant(tmp_path, {f"/proc/{name}/maps" if isinstance(name, int) else f"{FOLDER}/{name}": text for name, text in files.items()})
    mounted = {**INSPECTED, "Mounts": [{"Destination": "/data", "Source": "/x"}, {"Destination": "/models", "Source": FOLDER}]}
    found = _containers.describe(mounted, [], plant(tmp_path, V1))["models"]
    assert [(model["revision"], model["names"], model["loaded"], model["pid"]) for model in found] == expected


def test_the_memory_of_an_engine(tmp_path) -> None:
    plant(tmp_path, {f"{FOLDER}/{OLD}.yaml": settings(SHA), "/proc/42/maps": engine(SHA)})
    tree = plant(tmp_path, V1)
    assert _containers.engines(tree, "42") == [{"pid": 42, "rss_anonymous_bytes": 51 << 10, "rss_file_bytes": 76 << 10, "blobs": [SHA]}]
    found = _containers.describe({**INSPECTED, "Mounts": [{"Destination": "/models", "Source": FOLDER}]}, [], tree)["models"]
    assert found == [{"revision": OLD, "names": [], "sha256": SHA, "loaded": True, "pid": 42, "rss_anonymous_bytes": 51 << 10, "rss_file_bytes": 76 << 10}]


def test_a_stopped_container_without_limits(tmp_path):
    stopped = {"Id": ID, "Name": "/x", "State": {"Running": False, "Pid": 0}, "Config": {"Env": None}, "HostConfig": {"PidsLimit": -1}}
    got = _containers.describe(stopped, [f"registry/x@{DIGEST}"], plant(tmp_path, V1))
    assert (got["running"], got["health"], got["nr_periods"], got["memory_anonymous_bytes"]) == (False, None, None, None)
    assert (got["memory_limit"], got["cpus"], got["pids_limit"], got["threads_env"], got["max_active_env"]) == (None,) * 5
    assert got["ports"] == []
    assert (got["image_digest"], got["processes"]) == (DIGEST, [])


@pytest.mark.parametrize(
    "changes, key, want",
    [
        ({"NanoCpus": 0, "CpuQuota": 50000, "CpuPeriod": 100000}, "cpus", 0.5),
        ({"NanoCpus": 0, "CpuQuota": 50000}, "cpus", 0.5),
        ({"NanoCpus": 0, "CpuQuota": -1}, "cpus", None),
        ({"Privileged": True}, "privileged", True),
        ({"PortBindings": {"8080/tcp": [{"HostPort": "80"}], "9/tcp": None}}, "ports", ["0.0.0.0:80->8080/tcp"]),
    ],
)
def test_limits(tmp_path, changes, key, want):
    inspected = {**INSPECTED, "HostConfig": {**INSPECTED["HostConfig"], **changes}}
    assert _containers.describe(inspected, [], _cgroup.Tree(str(tmp_path)))[key] == want


def test_a_process_that_is_restarting_does_not_run(tmp_path):
    inspected = {**INSPECTED, "State": {"Running": True, "Restarting": True, "Pid": 0}}
    assert _containers.describe(inspected, [], _cgroup.Tree(str(tmp_path)))["running"] is False


def test_the_room_in_tmp_is_that_of_its_own_file_system(tmp_path):
    (tmp_path / "proc/42/root/tmp").mkdir(parents=True)
    got = _containers.describe(INSPECTED, [], plant(tmp_path, V1))
    found = os.statvfs(tmp_path)
    assert got["tmp_size_bytes"] == found.f_blocks * found.f_frsize
    assert 0 < got["tmp_used_bytes"] <= got["tmp_size_bytes"]
