"""A sweep as a module, with a `docker` of the test's own and a LocalAI on the loopback whose speed depends on the model's name."""
from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.localai.fleet.plugins.modules import thread_sweep

IMAGE = "quay.io/a/local-ai@sha256:" + "1" * 64
SPEEDS = {"threads-1": 50.0, "threads-2": 90.5, "threads-3": 91.0}
LIKE = {
    "State": {"Running": True, "Pid": 7}, "Config": {
        "User": "", "Image": IMAGE, "Env": [
            "PATH=/usr/bin", "LOCALAI_API_KEY=deployed-key", "LOCALAI_THREADS=4", "LOCALAI_MAX_ACTIVE_BACKENDS=1", "LOCALAI_CORS=true"]},
    "HostConfig": {"PidsLimit": 1024}, "NetworkSettings": {"Networks": {"localai": {"IPAddress": "127.0.0.1"}}},
    "Mounts": [{"Type": "bind", "Source": "/srv/settings", "Destination": "/models"}, {"Type": "bind", "Source": "/srv/old", "Destination": "/data"},
               {"Type": "bind", "Source": "/srv/models/gguf", "Destination": "/models/gguf"},
               {"Type": "bind", "Source": "/srv/b", "Destination": "/var/lib/local-ai/backends/llama-cpp"},
               {"Type": "bind", "Source": "/srv/empty", "Destination": "/backends"}],
}


@pytest.fixture
def localai(tmp_path):
    """A server that keeps what it was asked, and throttles its control group with two threads and more."""
    stat = tmp_path / "root/sys/fs/cgroup/x/cpu.stat"

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
            if self.path != "/readyz":
                server.first.set()
                server.asked.append((self.path, body, self.headers["Authorization"], self.headers["Extra-Usage"]))
            data = b"{}"
            if self.path == "/v1/chat/completions":
                server.periods += 10
                server.throttled += 0 if body["model"] == "threads-1" else 5
                stat.write_text(f"nr_periods {server.periods}\nnr_throttled {server.throttled}\n")
                usage = {"completion_tokens": body["max_tokens"], "timing_token_generation": 1000 * body["max_tokens"] / SPEEDS[body["model"]]}
                data = json.dumps({"usage": usage} if server.status == 200 else {"error": {"message": "out of luck"}}).encode()
            self.send_response(server.status if body else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def log_message(self, format, *args):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.status, server.periods, server.throttled, server.first = [], 200, 0, 0, threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on by a hundredth of a second whenever the module looks at it, however slow the machine is."""
    ticks = itertools.count()
    monkeypatch.setattr(thread_sweep, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100, sleep=lambda seconds: None))


@pytest.fixture
def sweep(tmp_path, localai, fake_docker, ticking):
    """Arguments, and the log of the docker commands; `run` keeps a copy of the folder as it was then."""
    plant = {"proc/7/cgroup": "0::/x\n", "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "sys/fs/cgroup/x/cpu.stat": ""}
    for name, text in plant.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    (tmp_path / "like.json").write_text(json.dumps([LIKE]))
    log = fake_docker(f'case "$1" in inspect) cat {tmp_path}/like.json;; run) cp -a {tmp_path}/tuning {tmp_path}/seen;; logs) echo "the last line";; esac')
    args = {
        "image": IMAGE, "backend": "/srv/backends/2", "folder": str(tmp_path / "tuning"), "root": str(tmp_path / "root"), "cpus": 2.5, "loaded": 3,
        "memory_limit": 1 << 30, "seconds": 1, "port": localai.server_address[1],
        "candidates": [{"threads": count, "settings": f"threads: {count}\n"} for count in (1, 2, 3)]}
    return args, log


def test_quartet(run_module, sweep, localai, tmp_path) -> None:
    args, log = sweep
    for check in (True, False, True, False):
        localai.asked.clear()
        result = run_module("thread_sweep", args, check=check)
        assert result["changed"] is False
        done = (result["threads"], bool(result["measured"]), bool(result["text"]), bool(localai.asked))
        assert done == ((None, False, False, False) if check else (2, True, True, True))
        assert not (tmp_path / "tuning").exists()
    assert log.read_text().count("run --detach") == 2


def test_what_is_measured(run_module, sweep, localai) -> None:
    args, _log = sweep
    result = run_module("thread_sweep", args)
    assert [(one["threads"], round(one["tokens_per_second"]), one["throttled"]) for one in result["measured"]] == [(1, 50, 0.0), (2, 90, 0.5), (3, 91, 0.5)]
    assert all(one["turns"] >= 2 for one in result["measured"])
    assert "<- best" in result["text"][2]
    path, body, _key, extra = localai.asked[0]
    assert (path, body["model"], body["max_tokens"], body["ignore_eos"], extra) == ("/v1/chat/completions", "threads-1", 8, True, "true")


def test_one_at_a_time_is_unloaded(run_module, sweep, localai) -> None:
    args, _log = sweep
    run_module("thread_sweep", {**args, "loaded": 1})
    assert ("/backend/shutdown", {"model": "threads-1"}) in [asked[:2] for asked in localai.asked]


def test_the_container_is_as_hardened_as_the_deployed_one(run_module, sweep, tmp_path) -> None:
    args, log = sweep
    run_module("thread_sweep", {**args, "cpuset": "0-3"})
    line = next(line for line in log.read_text().splitlines() if line.startswith("run "))
    for words in ("--detach --name localai-tuning", "--init --read-only --cap-drop ALL --security-opt no-new-privileges:true --pids-limit 1024", "--cpus 2.5",
                  "--cpuset-cpus 0-3", f"--memory {1 << 30} --memory-swap {1 << 30}", "--tmpfs /tmp:size=134217728,mode=1777,noexec,nosuid,nodev",
                  "--network localai", f"type=bind,source={tmp_path}/tuning/models,target=/models,readonly",
                  "type=bind,source=/srv/models/gguf,target=/models/gguf,readonly", "type=bind,source=/srv/empty,target=/backends,readonly",
                  "type=bind,source=/srv/backends/2,target=/var/lib/local-ai/backends/llama-cpp,readonly"):
        assert words in line
    assert line.endswith(IMAGE)
    assert "--publish" not in line and "/srv/old" not in line and "/srv/settings" not in line and "source=/srv/b," not in line
    assert line.count("type=bind") == line.count(",readonly")


def test_the_key_is_random_and_in_a_closed_file_only(run_module, sweep, localai, tmp_path) -> None:
    args, log = sweep
    seen = []
    for _run in range(2):
        result = run_module("thread_sweep", args)
        key = localai.asked[-1][2].removeprefix("Bearer ")
        environment = tmp_path / "seen" / "env"
        assert environment.stat().st_mode & 0o777 == 0o600
        assert environment.read_text().splitlines() == ["PATH=/usr/bin", "LOCALAI_CORS=true", f"LOCALAI_API_KEY={key}"]
        assert len(key) == 48 and key not in log.read_text() and key not in str(result)
        assert (tmp_path / "seen" / "models" / "threads-2.yaml").read_text() == "threads: 2\n"
        subprocess.run(["rm", "-r", tmp_path / "seen"], check=True)
        seen.append(key)
    assert len(set(seen)) == 2


def test_what_a_killed_run_left_is_removed_first(run_module, sweep, tmp_path) -> None:
    args, log = sweep
    (tmp_path / "tuning" / "models" / "gguf").mkdir(parents=True)
    (tmp_path / "tuning" / "env").write_text("LOCALAI_API_KEY=old\n")
    assert run_module("thread_sweep", args)["threads"] == 2
    calls = [line.split()[0] for line in log.read_text().splitlines()]
    assert calls.index("rm") < calls.index("run") and calls[-1] == "rm"
    assert set(line for line in log.read_text().splitlines() if line.startswith("rm")) == {"rm --force --volumes localai-tuning"}


@pytest.mark.parametrize("status, seconds, told", [
    (500, 5, "LocalAI gave no measurable answer (1 threads): got 500: out of luck. Its log ended with: the last line"),
    (200, 0.1, "too short to measure every number of threads (tuning_seconds)"),
])
def test_a_failed_sweep_is_a_sentence_and_leaves_nothing(run_module, sweep, localai, tmp_path, status, seconds, told) -> None:
    args, log = sweep
    localai.status = status
    result = run_module("thread_sweep", {**args, "seconds": seconds, "loaded": 1})
    assert result["failed"] and told in result["msg"]
    assert not (tmp_path / "tuning").exists()
    assert log.read_text().splitlines()[-1] == "rm --force --volumes localai-tuning"


def test_without_the_deployed_container(run_module, sweep, tmp_path) -> None:
    args, log = sweep
    (tmp_path / "like.json").write_text(json.dumps([{**LIKE, "State": {"Running": False}}]))
    result = run_module("thread_sweep", args)
    assert "The container does not run (localai). It is to be measured like this one: deploy it with localai.fleet.site." in result["msg"]
    assert "run --detach" not in log.read_text()


def test_a_terminated_run_removes_what_it_started(sweep, localai, tmp_path) -> None:
    args, log = sweep
    (tmp_path / "args.json").write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**args, "seconds": 60}}))
    code = ("import runpy, sys; from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder as F; "
            "F(paths=[sys.argv[2]])._install(); from ansible.module_utils import basic; basic._ANSIBLE_ARGS = open(sys.argv[1], 'rb').read(); "
            "basic._ANSIBLE_PROFILE = 'legacy'; "
            "runpy.run_module('ansible_collections.localai.fleet.plugins.modules.thread_sweep', run_name='__main__')")
    collections = Path(__file__).parents[4] / ".ansible" / "collections"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "args.json", collections], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert localai.first.wait(timeout=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert not (tmp_path / "tuning").exists()
    assert log.read_text().splitlines()[-1] == "rm --force --volumes localai-tuning"
